"""Keep what pictures were read as, from one run to the next: a reading takes a tenth of a second.

A reading is known by the bytes of the picture's file, so a file that changes is read again, and one that moves is not.
The cache belongs to this version of the reader and of the libraries that it uses: any other has its own. Nothing
depends on it: it is safe to delete at any time, and without a place for it (`user_dirs.cache_directory`) every picture
is read. Refusals are not kept, since some of them come from the machine and not from the picture.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.data.pictures import decode, inputs
from mnist_mlp.errors import UserError
from mnist_mlp.files import atomic, user_dirs
from mnist_mlp.files.archives import open_archive, read_member

MOST = 50_000  # readings of a cache: 40 MB, some 10 MB compressed
KEEP = 3  # caches of other versions and settings
KEY = 32  # bytes
EVERY = 30.0  # seconds after which readings are kept while others go on, since a process may be killed; 0.8 s for MOST
Readings = dict[bytes, NDArray[np.uint8]]  # by the hash of a file's content: [28, 28]


@contextlib.contextmanager
def opened(settings: inputs.Settings) -> Iterator[Callable[[Path], NDArray[np.uint8]]]:
    """Yield what returns the digit in a picture, uint8 [28, 28], or raises `UserError`.

    What was read is kept every half a minute and when the block ends, also if it fails.
    """
    file = _file(settings)
    known = _stored(file) if file else {}
    used: Readings = {}
    kept_at = time.monotonic()

    def read(path: Path) -> NDArray[np.uint8]:
        nonlocal kept_at
        content = decode.content_of(path)
        key = hashlib.blake2b(content, digest_size=KEY).digest()
        if key not in used:
            image = known.get(key)
            if image is None:
                levels = decode.read(io.BytesIO(content), str(path))
                image = inputs.one_digit(str(path), levels, settings).image
            used[key] = image
            if file and time.monotonic() - kept_at > EVERY:
                _store(file, used)
                kept_at = time.monotonic()
        return used[key]

    try:
        yield read
    finally:
        if file and not used.keys() <= known.keys():
            _store(file, used)


def _file(settings: inputs.Settings) -> Path | None:
    """Return the file of the cache for this reader, or None if there can be none."""
    root = user_dirs.cache_directory()
    if root is None:
        return None
    try:
        name = hashlib.sha256(f"{_reader()} {dataclasses.astuple(settings)}".encode()).hexdigest()[:32]
        return root / "pictures" / f"{name}.npz" if user_dirs.private(root / "pictures") else None
    except (OSError, ModuleNotFoundError):
        return None


def _reader() -> str:
    """Return what identifies the reader: a hash of its code and the versions of what it uses."""
    code = sorted(path for path in Path(__file__).parent.iterdir() if path.suffix in (".py", ".npz"))
    digests = [atomic.digest(path) for path in code]
    return " ".join([*digests, *(f"{name} {version(name)}" for name in ("numpy", "scipy", "pillow"))])


def _stored(file: Path) -> Readings:
    """Return the readings in a cache; {} for one that is absent or damaged."""
    with contextlib.suppress(Exception), file.open("rb") as stream, open_archive(stream) as archive:
        keys, images = (read_member(archive, name, file) for name in ("keys", "images"))
        if keys.dtype == images.dtype == np.uint8 and keys.shape == (len(images), KEY):
            return {key.tobytes(): image for key, image in zip(keys, images.reshape(-1, 28, 28), strict=True)}
    return {}


def _store(file: Path, used: Readings) -> None:
    """Write the readings of this run, and as many of others as there is room for; without a word if it fails.

    Another process may have stored some since this one began.
    """
    known = _stored(file)
    readings = list((used | {key: known[key] for key in known.keys() - used.keys()}).items())[:MOST]
    arrays: dict[str, Any] = {
        "keys": np.frombuffer(b"".join(key for key, _ in readings), np.uint8).reshape(-1, KEY),
        "images": np.stack([image for _, image in readings]),
    }
    with contextlib.suppress(UserError, OSError):
        atomic.write_file(file, lambda temporary: np.savez_compressed(temporary, **arrays))
        others = sorted(file.parent.glob("*.npz"), key=lambda path: path.stat().st_mtime)
        for old in others[: -KEEP - 1]:
            old.unlink()
