"""The folder of a run in the room: what was ordered, the run directory itself, its events, and its newest weights.

20261130-184210-731-3f9a52c1/
  order.json      the options, and when they were ordered
  run/            the run directory, as `python -m mnist_mlp.train` writes it
  events.jsonl    see `events`
  weights.npz     the newest weights while the run trains, as `export` writes them
  output.txt      what the process printed, for whoever runs the server
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnist_mlp.config import ONE_PROCESS, PRESETS, Config, with_preset
from mnist_mlp.errors import UserError
from mnist_mlp.files.atomic import DAMAGED, read_json, write_json
from mnist_mlp.options import tagged
from mnist_mlp.text import nearest, quoted

NAME = re.compile(r"\d{8}-\d{6}-\d{3}-[0-9a-f]{8}")
ORDER, RUN, WEIGHTS, OUTPUT = "order.json", "run", "weights.npz", "output.txt"

# What only the operator of the server may choose: paths and addresses, which would let a page read files or open
# connections; what belongs to one process; and options whose files nobody can fetch from here.
NOT_FROM_A_PAGE = {
    *tagged(Config, affects="process"),
    *("data_dir", "data_source", "init_from", "tpu", "workers", "start_timeout"),
    *("tensorboard", "profile", "csv"),
}
FROM_A_PAGE = tuple(name for name in Config.__dataclass_fields__ if name not in NOT_FROM_A_PAGE)


def config_of(given: Mapping[str, Any], **operator: Any) -> Config:
    """Return the config for the options that a page gives, on top of their preset and of what the operator set.

    Raise `UserError` with `Config`'s own message for a wrong value, and for an option that no page may set.
    """
    for name in given:
        if name not in FROM_A_PAGE:
            known = name in Config.__dataclass_fields__
            why = "; only who starts the server can set it" if known else nearest(str(name), FROM_A_PAGE)
            raise UserError(f"expected an option of a training run, received {quoted(name)}{why}")
    if given.get("strategy") == "multiworker":
        raise UserError(f"--strategy: expected one of {', '.join(ONE_PROCESS)} here, received 'multiworker'")
    if "preset" in given and not (isinstance(given["preset"], str) and given["preset"] in PRESETS):
        Config(**given)  # raises, with the message of the options
    return with_preset(PRESETS, {**operator, **given})


def new_name() -> str:
    """Return a name that no other run has, later ones after earlier ones: the time, and random digits."""
    now = time.time()
    return f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}-{int(now * 1000) % 1000:03}-{secrets.token_hex(4)}"


def write(folder: Path, config: Config) -> None:
    """Write order.json."""
    write_json(folder / ORDER, {"options": config.to_dict(), "ordered": round(time.time(), 3)})


def read(folder: Path) -> tuple[Config, float]:
    """Return the config of an order and when it was made, in seconds since 1970. Raise `UserError`."""
    try:
        order = read_json(folder / ORDER)
        return Config.from_dict(order["options"]), float(order["ordered"])
    except DAMAGED as error:
        raise UserError(f"{folder / ORDER} is damaged ({error}); remove {folder}") from None
    except OSError as error:
        raise UserError(f"{folder / ORDER} cannot be read: {error.strerror}") from None


def folders(room: Path) -> list[Path]:
    """Return the folders of the room's runs, the newest first."""
    found = [path for path in room.iterdir() if NAME.fullmatch(path.name) and (path / ORDER).is_file()]
    return sorted(found, key=lambda path: path.name, reverse=True)
