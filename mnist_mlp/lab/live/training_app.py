"""The routes of the room where the lecture's network learns, for two kinds of people.

Who sits at the machine of the server starts and steers the runs; everybody else looks on. The directory of the runs is
made and locked when the room is first entered: the other rooms need none.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from mnist_mlp.errors import UserError
from mnist_mlp.lab.live.training.redaction import without_paths
from mnist_mlp.lab.live.training.routes import PREFIX, routes
from mnist_mlp.lab.live.training.runner import Runner
from mnist_mlp.serve import responses
from mnist_mlp.serve.origins import host_name, is_loopback

PATHS = (PREFIX, f"{PREFIX}/{{rest:path}}")
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")  # by a proxy


class TrainingApp:
    """Answers PATHS. `folder` is the directory of the runs, `operator` are options that every run has.

    `everyone`: other machines may start and steer runs, too. `behind_proxy`: every request comes from a proxy, whatever
    address and headers it has.
    """

    def __init__(self, folder: Path, *, everyone: bool = False, behind_proxy: bool = False, **operator: Any):
        self.folder, self.everyone, self.behind_proxy, self.operator = folder, everyone, behind_proxy, operator
        self.runner: Runner | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self.enter()
        except UserError as error:
            message = without_paths(str(error), (str(self.folder), str(self.folder.resolve())))
            await responses.error(503, message)(scope, receive, send)
            return
        steers = self.everyone or (sits_here(scope) and not self.behind_proxy)
        await (self.steering if steers else self.watching)(scope, receive, send)

    def enter(self) -> None:
        """Find the runs, the first time. Raise `UserError` if the directory cannot be used."""
        if self.runner is None:
            self.runner = Runner(self.folder, **self.operator)
            self.steering = Router(routes(self.runner), redirect_slashes=False)
            self.watching = Router(routes(self.runner, read_only=True), redirect_slashes=False)

    def close(self) -> None:
        """Let runs that are under way stop by themselves, saved."""
        if self.runner is not None:
            self.runner.close()


def sits_here(scope: Scope) -> bool:
    """Whether a request comes from this machine itself, not through a proxy on it."""
    host = (scope.get("client") or ("",))[0]
    headers = Headers(scope=scope)
    if any(name in headers for name in FORWARDED):
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    here = (getattr(address, "ipv4_mapped", None) or address).is_loopback
    return here and is_loopback(host_name(headers.get("host", "")))
