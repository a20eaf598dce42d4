"""The routes of the room, for the application of `lab.live` to mount: `routes(Runner(directory))`.

Hosts, origins, headers and metrics are the business of the middleware of `serve` around that application.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mnist_mlp.cli.flags import convert
from mnist_mlp.config import ONE_PROCESS, PRESETS, Config
from mnist_mlp.errors import UserError
from mnist_mlp.lab.live.training import orders
from mnist_mlp.lab.live.training.plan import plan
from mnist_mlp.lab.live.training.predicting import Weights
from mnist_mlp.lab.live.training.redaction import without_paths
from mnist_mlp.lab.live.training.runner import COMMANDS, IN_VIEW, Runner
from mnist_mlp.lab.live.training.watching import HEADERS, Stream, seen
from mnist_mlp.options import expected
from mnist_mlp.serve import responses
from mnist_mlp.serve.limits import WAITING, Limits, Refused
from mnist_mlp.serve.request_bodies import BodyReader
from mnist_mlp.serve.request_images import described

PREFIX = "/training"
RUN = f"{PREFIX}/runs/{{name}}"
Endpoint = Callable[[Request], Awaitable[ASGIApp]]


class Room:
    """The endpoints. `read_only`: for an audience, which sees everything and changes nothing."""

    def __init__(self, runner: Runner, *, read_only: bool = False, limits: Limits | None = None):
        self.runner, self.read_only = runner, read_only
        self.bodies = BodyReader(limits or Limits())
        self.weights = Weights()
        self.thread = ThreadPoolExecutor(1, "room")  # one: plans and drawn digits must not crowd out the training
        self.waiting = 0

    async def about(self, request: Request) -> Response:
        """What can be chosen, and what this server allows."""
        fields = {field.name: field for field in dataclasses.fields(Config) if field.name in orders.FROM_A_PAGE}
        return responses.json(
            {
                "read_only": self.read_only,
                "in_view": IN_VIEW,
                "at_once": self.runner.at_once,
                "commands": [] if self.read_only else COMMANDS,
                "presets": {
                    name: {key: value for key, value in preset.to_dict().items() if key in fields}
                    for name, preset in PRESETS.items()
                },
                "options": [described_option(field) for field in fields.values()],
            }
        )

    async def plan(self, request: Request) -> Response:
        """What a run with these options will be; the options are query parameters, as flags have them."""
        given = options_in(request)
        config = orders.config_of(given, **self.runner.operator)
        found = await self.in_thread(plan, config)
        shown = {name: found["options"][name] for name in orders.FROM_A_PAGE}
        return responses.json({**found, "options": shown})

    async def runs(self, request: Request) -> Response:
        """The runs in view, or with POST a new one."""
        if request.method == "POST":
            body = await self.object_in(request)
            return responses.json(self.runner.order(body).summary(), 201)
        self.runner.see_to_runs()
        return responses.json({"runs": [run.summary() for run in self.runner.in_view()]})

    async def run(self, request: Request) -> Response:
        """One run, or with POST a command to it."""
        name = request.path_params["name"]
        if request.method == "POST":
            run = self.runner.command(name, await self.object_in(request))
            return responses.json(run.summary(), 202)
        return responses.json(self.runner.find(name).summary())

    async def result(self, request: Request) -> Response:
        """The result of a finished run, as result.json has it, without the paths of this machine."""
        run = self.runner.find(request.path_params["name"])
        if run.state != "finished" or "result" not in run.tail.last:
            raise Refused(409, f"expected a finished run, this one is {run.state}")
        return responses.json(run.tail.last["result"]["result"])

    async def events(self, request: Request) -> ASGIApp:
        """The events of one run."""
        run = self.runner.find(request.path_params["name"])
        return self.stream(request, run)

    async def all_events(self, request: Request) -> ASGIApp:
        """The events of all runs in view, now and later."""
        return self.stream(request, None)

    def stream(self, request: Request, run: Any) -> ASGIApp:
        positions = seen(last_event_id(request), one=run is not None)
        if request.method == "HEAD":
            return Response(headers=HEADERS)
        self.runner.check_watchers()
        return Stream(self.runner, run, positions)

    async def predict(self, request: Request) -> Response:
        """What all runs in view make of one drawn digit."""
        images = (await self.bodies.read(request, drawing=True)).images
        if len(images) != 1:
            raise Refused(400, f"expected one image, received {len(images):,}")
        runs = self.runner.in_view()
        found = await self.in_thread(self.weights.answers, [run.folder for run in runs], images[0])
        rows = [{"run": run.name, "state": run.state, "answer": found[run.name]} for run in runs]
        return responses.json({"image": images[0], "runs": rows})

    async def in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call something that takes a while. Raise `Refused` if too many wait for that."""
        if self.waiting >= WAITING:
            raise Refused(429, "too many requests are waiting; try again in a second")
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.thread, call, *arguments)
        finally:
            self.waiting -= 1

    async def object_in(self, request: Request) -> dict[str, Any]:
        """Return the JSON object in a request. Raise `Refused` for anything else."""
        found = await self.bodies.read_json(request)
        if type(found) is not dict:
            raise Refused(400, f"expected a JSON object, received {described(found)}")
        return found

    def answering(self, endpoint: Callable[[Request], Awaitable[ASGIApp]]) -> Callable[[Request], Awaitable[ASGIApp]]:
        """Return the endpoint with errors in the format of `serve`, and refusing to change anything if read-only."""

        async def answer(request: Request) -> ASGIApp:
            try:
                if self.read_only and request.method not in ("GET", "HEAD"):
                    raise Refused(403, "expected GET: this page is read-only; the lecturer's own page is not")
                return await endpoint(request)
            except Refused as error:
                return responses.refusal(error)
            except UserError as error:
                return responses.error(400, without_paths(str(error), self.runner.secrets))

        return answer


def routes(runner: Runner, *, read_only: bool = False, limits: Limits | None = None) -> list[Route]:
    """Return the routes of a room."""
    room = Room(runner, read_only=read_only, limits=limits)
    table: dict[str, tuple[Endpoint, list[str]]] = {
        PREFIX: (room.about, ["GET"]),
        f"{PREFIX}/plan": (room.plan, ["GET"]),
        f"{PREFIX}/runs": (room.runs, ["GET", "POST"]),
        f"{PREFIX}/events": (room.all_events, ["GET"]),
        f"{PREFIX}/predict": (room.predict, ["POST"]),
        RUN: (room.run, ["GET", "POST"]),
        f"{RUN}/events": (room.events, ["GET"]),
        f"{RUN}/result": (room.result, ["GET"]),
    }
    return [Route(path, room.answering(endpoint), methods=methods) for path, (endpoint, methods) in table.items()]


def last_event_id(request: Request) -> str:
    """Return the id of the last event that a watcher has: from the header that browsers send when they come back, or
    from the query for one that begins in the middle."""
    return request.headers.get("last-event-id") or request.query_params.get("last_event_id", "")


def options_in(request: Request) -> dict[str, Any]:
    """Return the options in a query, as a command line would have them. Raise `Refused` or `UserError`."""
    fields = {field.name: field for field in dataclasses.fields(Config)}
    given: dict[str, Any] = {}
    for name, text in request.query_params.multi_items():
        if name in given:
            raise Refused(400, f"expected each option once, received {name[:40]!r} twice")
        given[name] = text
        if name in fields:
            given[name] = switch(name, text) if fields[name].metadata["kind"] is bool else convert(fields[name], text)
    return given


def switch(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise Refused(400, f"--{name}: expected true or false, received {text[:40]!r}")
    return text == "true"


def described_option(field: dataclasses.Field[Any]) -> dict[str, Any]:
    """Return what a page needs for a form: an option as `train --help` describes it."""
    low, high = field.metadata["range"]
    choices = ONE_PROCESS if field.name == "strategy" else field.metadata["choices"]
    kind = field.metadata["kind"]
    return {
        "name": field.name,
        "kind": {int: "whole number", float: "number", bool: "switch", str: "text"}[kind],
        "default": field.default,
        "choices": list(choices),
        "low": low if kind in (int, float) and abs(low) < float("inf") else None,
        "high": high if kind in (int, float) and abs(high) < float("inf") else None,
        "expected": expected(field),
        "help": field.metadata["help"],
        "group": field.metadata["group"],
    }
