"""Feed damaged files to every reader of files: the result must equal what NumPy reads, or be one `UserError`.

    python tests/helpers/fuzz.py                            # 100,000 inputs, split evenly between all targets
    python tests/helpers/fuzz.py npz --inputs 20000         # one target
    python tests/helpers/fuzz.py npz --program 00ff3a…      # the input that a failure names
    python tests/helpers/fuzz.py npz --engine atheris       # guided by coverage, if atheris is installed

A few edits turn a valid file into an input; a string of bytes, the program, determines them: flip bits, replace numbers
in headers, delete, move or insert pieces of this file or another. Most edits are made before packing, so that checksums
are valid and the code behind them is reached. Hypothesis or atheris generates the programs.
"""

from __future__ import annotations

import argparse
import copy
import csv
import dataclasses
import gzip
import hashlib
import importlib.util
import io
import json
import os
import re
import resource
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import typing
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mnist_mlp import config, options
from mnist_mlp.data import array_files, containers, layouts, tables
from mnist_mlp.errors import UserError
from mnist_mlp.files import archives, atomic, members
from mnist_mlp.files.archives import checksum
from mnist_mlp.models import file_check
from mnist_mlp.runs import checkpoint, result, saved

Parts = dict[str, bytes]
IMAGES = np.arange(3 * 28 * 28).reshape(3, 28, 28).astype(np.uint8)
NUMBERS = [0, 1, 2, 3, 27, 28, 784, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1]
VALUES: list[object] = [
    *(None, True, False, 0, 1, -1, 3, 2.5, 1e308, float("nan"), 10**30),
    *("", "x", "\ud800", "a\nb", [], {}, [[]], [None]),
    *({"class_name": "Lambda", "module": "keras.layers", "config": {}}, {"class_name": "function", "config": "exec"}),
    *({"class_name": [], "module": {}}, {"module": "os", "class_name": "system", "config": {}}),
]


class Draw:
    """Reads decisions from a program; after its end, every decision is 0."""

    def __init__(self, program: bytes) -> None:
        self.rest = io.BytesIO(program)

    def below(self, count: int) -> int:
        """Return one of 0, 1, …, count - 1."""
        return int.from_bytes(self.rest.read(1 if count <= 256 else 3), "little") % max(count, 1)

    def offset(self, length: int) -> int:
        """Return an offset in a file, mostly near its start or end, where the headers are."""
        near = min(length, 200)
        return [self.below(near), length - 1 - self.below(near), self.below(length)][self.below(3)] if length else 0


@dataclasses.dataclass(frozen=True)
class Seed:
    """A valid file: its parts, and how to pack them."""

    parts: Parts
    pack: Callable[[Parts], bytes] = lambda parts: parts[""]

    def content(self) -> bytes:
        return self.pack(self.parts)


def plain(content: bytes) -> Seed:
    return Seed({"": content})


def gzipped(content: bytes) -> Seed:
    return Seed({"": content}, lambda parts: gzip.compress(parts[""], 1, mtime=0))


def zipped(parts: Parts, packing: int = zipfile.ZIP_STORED) -> Seed:
    def pack(parts: Parts) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", packing) as archive:
            for name, content in parts.items():
                archive.writestr(zipfile.ZipInfo(name), content, packing)
        return stream.getvalue()

    return Seed(parts, pack)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(arrays: dict[str, np.ndarray], packing: int = zipfile.ZIP_STORED) -> Seed:
    return zipped({f"{name}.npy": npy(array) for name, array in arrays.items()}, packing)


def damaged(seeds: list[Seed], program: bytes) -> bytes:
    """Return the file that a program makes from one of the seeds."""
    draw = Draw(program)
    seed = seeds[draw.below(len(seeds))]
    where = draw.below(4)  # 0: edit the packed file; 3: both; otherwise the parts, which are then packed correctly
    parts = dict(seed.parts)
    donors = [content for other in seeds for content in other.parts.values()]
    for _ in range(1 + draw.below(3) if where else 0):
        name = list(parts)[draw.below(len(parts))]
        parts[name] = (edit_json if name.endswith(".json") and draw.below(4) else edit)(parts[name], draw, donors)
    if len(parts) > 1 and not draw.below(8):
        del parts[list(parts)[draw.below(len(parts))]]
    content = seed.pack(parts)
    for _ in range(0 if where in (1, 2) else 1 + draw.below(3)):
        content = edit(content, draw, donors)
    return content


def edit(content: bytes, draw: Draw, donors: list[bytes]) -> bytes:
    """Make one edit of a file."""
    kind, at, changed = draw.below(8), draw.offset(len(content)), bytearray(content)
    if kind == 0 and content:
        changed[at] ^= 1 << draw.below(8)
    elif kind == 1 and content:
        changed[at] = draw.below(256)
    elif kind == 2:  # a binary number in a header
        size = (2, 4, 8)[draw.below(3)]
        number = NUMBERS[draw.below(len(NUMBERS))] + draw.below(3) - 1
        changed[at : at + size] = (number % 2 ** (8 * size)).to_bytes(size, ("little", "big")[draw.below(2)])
    elif kind == 3:  # a decimal number
        found = list(re.finditer(rb"\d+", content[:20_000]))
        if found:
            match = found[draw.below(len(found))]
            changed[match.start() : match.end()] = b"%d" % (NUMBERS[draw.below(len(NUMBERS))] - draw.below(2))
    elif kind == 4:
        del changed[at:]
    elif kind == 5:
        del changed[at : at + 1 + draw.below(64)]
    elif kind == 6:  # a piece of this file or of another
        donor = [content, donors[draw.below(len(donors))]][draw.below(2)]
        start, length = draw.offset(len(donor)), 1 + draw.below(64)
        changed[at : at + length * draw.below(2)] = donor[start : start + length]
    else:
        changed[at:at] = bytes(draw.below(256) for _ in range(1 + draw.below(8)))
    return bytes(changed)


def edit_json(content: bytes, draw: Draw, donors: list[bytes]) -> bytes:
    """Replace or delete a value somewhere in a JSON text; now and then, nest it too deep for parsers."""
    try:
        root = {"": json.loads(content)}
    except (ValueError, RecursionError):  # after an earlier edit
        return content
    entries: list[tuple[typing.Any, typing.Any]] = []
    stack: list[typing.Any] = [root]
    while stack:
        value = stack.pop()
        entries += [(value, key) for key in (value if isinstance(value, dict) else range(len(value)))]
        stack += [value[key] for key in (value if isinstance(value, dict) else range(len(value))) if holds(value[key])]
    inside, key = entries[draw.below(len(entries))]
    kind = draw.below(4)
    if kind == 0 and inside is not root:
        del inside[key]
    elif kind == 1:
        other, name = entries[draw.below(len(entries))]
        inside[key] = json.loads(json.dumps(other[name]))
    else:
        inside[key] = copy.deepcopy(VALUES[draw.below(len(VALUES))])
    text = json.dumps(root.get(""))
    deep = "[" * 100_000 if not draw.below(64) else ""
    return (deep + text).encode()


def holds(value: object) -> bool:
    return isinstance(value, (dict, list)) and len(value) > 0


def same(array: np.ndarray, other: np.ndarray) -> bool:
    return array.dtype == other.dtype and array.shape == other.shape and array.tobytes() == other.tobytes()


def read_idx(path: Path) -> None:
    """Read IDX images. Oracle: the same bytes by position."""
    array = array_files.read_idx(path, (None, 28, 28))
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    assert content[:4] == b"\0\0\x08\x03" and struct.unpack(">3I", content[4:16]) == array.shape
    assert content[16:] == array.tobytes()


def read_images(path: Path) -> None:
    """Read a user's images. Oracle: np.load, and grey levels computed again."""
    images = array_files.read_images(path)
    assert images.dtype == np.uint8 and images.shape[1:] == (28, 28) and len(images)
    loaded = np.load(path, allow_pickle=False)
    if not isinstance(loaded, np.ndarray):
        loaded = loaded[next(name for name in ("images", "x_test", *loaded.files) if name in loaded.files)]
    levels = loaded.ravel().astype(np.float64)
    if levels.max() <= 1:  # ink, exactly; half grey and float16 may round either way
        levels = levels * 255
    assert np.abs(levels - images.ravel()).max() <= (0.5001 if loaded.dtype.itemsize > 2 else 0.6)


def read_npz(path: Path) -> None:
    """Read MNIST as Keras ships it, here with three images. Oracle: np.load."""
    real, array_files.SHAPES = array_files.SHAPES, SMALL
    try:
        arrays = array_files.read_npz(path)
    finally:
        array_files.SHAPES = real
    with np.load(path, allow_pickle=False) as loaded:
        assert all(same(array, loaded[name]) for name, array in arrays.items())
    assert {name: array.shape for name, array in arrays.items()} == SMALL


def read_arrays(path: Path) -> None:
    """Read what np.savez wrote. Oracle: np.load."""
    arrays = archives.read_arrays(path)
    with np.load(path, allow_pickle=False) as loaded:
        assert set(loaded.files) == set(arrays)
        assert all(same(array, loaded[name]) for name, array in arrays.items())
    assert sum(array.nbytes for array in arrays.values()) <= path.stat().st_size


def read_table(path: Path) -> None:
    """Read a CSV table of images. Oracle: Python's csv and float."""
    with path.open("rb") as stream:
        table = tables.read_csv(stream, str(path))
    text = path.read_bytes().decode("utf-8-sig", "replace").replace("\r\n", "\n")
    lines = [line for line in text.split("\n") if line.strip(" \t\r")]
    separator = max(",;\t", key=lines[0].count)
    rows = [next(csv.reader([line.replace("\r", " ")], delimiter=separator)) for line in lines]
    values = np.array([[float(field) for field in row] for row in rows[len(rows) - len(table.images) :]])
    assert len(rows) - len(table.images) in (0, 1)
    if table.labels is not None:
        assert (table.labels == values[:, 0]).all()
        values = values[:, 1:]
    levels = np.rint(values * 255) if values.max() <= 1 else values
    assert (levels == table.images.reshape(len(values), 784)).all()


def read_archive(path: Path) -> None:
    """Read a data set from a zip or tar archive. Oracle: zipfile and tarfile."""
    content = path.read_bytes()
    archive = path.with_suffix(".zip" if content.startswith(b"PK") else ".tar.gz")
    archive.write_bytes(content)
    try:
        for found in layouts.in_archive("custom", archive, layouts.FORMATS):
            arrays = containers.read("custom", found).arrays
            assert arrays["x_train"].shape[1:] == (28, 28) and arrays["y_train"].ndim == 1
            if found.format != layouts.IDX:
                continue
            for key, (file,) in found.files.items():
                if archive.suffix == ".zip":
                    with zipfile.ZipFile(archive) as theirs:
                        read = theirs.read(file.member)
                else:
                    with tarfile.open(archive) as theirs:
                        read = theirs.extractfile(file.member).read()
                assert read.endswith(arrays[key].tobytes())
    finally:
        archive.unlink()


def read_config(path: Path) -> None:
    """Read a Config from a JSON object. Oracle: its dictionary gives the same Config again."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise UserError("not JSON") from None
    if not isinstance(values, dict):
        raise UserError("not an object")
    read = config.Config.from_dict(values)
    assert config.Config.from_dict(read.to_dict()) == read


def read_run(path: Path) -> None:
    """Read the files of a finished run, concatenated in the input. Oracle: the types of the results."""
    run = path.parent / "run"
    run.mkdir(exist_ok=True)
    for name in RUN:
        (run / name).unlink(missing_ok=True)
    for part in re.split(rb"\n--- ", path.read_bytes())[1:]:
        name, _, content = part.partition(b"\n")
        if name.decode("latin-1") in RUN:
            (run / name.decode()).write_bytes(content)
    _, read, done = saved.read_run(str(run))
    assert isinstance(read, config.Config) and isinstance(done, result.Result)
    saved.data_of_run(read, done)


def read_checkpoint(path: Path) -> None:
    """Read a checkpoint. Oracle: a round trip gives the same bytes."""
    arrays = checkpoint.read(path).to_arrays()
    again = checkpoint.Checkpoint.from_arrays(arrays).to_arrays()
    assert arrays.keys() == again.keys() and all(same(array, again[name]) for name, array in arrays.items())


def check_model(path: Path) -> None:
    """Check a .keras file before Keras reads it. Oracle: its classes are those of the valid file."""
    assert re.fullmatch(r"\d[\w.+]*", file_check.check(path, "3.15.1"))
    with zipfile.ZipFile(path) as archive:
        text = archive.read("config.json").decode()
    named = {value for key, value in pairs_in(json.loads(text)) if key == "class_name"}
    assert named <= {"Functional", "InputLayer", "Flatten", "Dense", "Softmax", "Zeros"}, named


def pairs_in(value: typing.Any) -> typing.Iterator[tuple[str, typing.Any]]:
    """Yield all keys and values in a JSON value, at any depth."""
    for key, inner in value.items() if isinstance(value, dict) else (("", item) for item in value):
        yield key, inner if isinstance(inner, str) else repr(inner)
        if isinstance(inner, (dict, list)):
            yield from pairs_in(inner)


SMALL = {"x_train": (3, 28, 28), "y_train": (3,), "x_test": (2, 28, 28), "y_test": (2,)}
TOGETHER = 5  # programs that Hypothesis draws at once, since drawing takes longer than most targets
RUN = ("config.json", "model.keras", "result.json")


def run_seed() -> Seed:
    """Return a finished run: its three files, concatenated."""
    kinds = typing.get_type_hints(result.Result)
    done: dict[str, typing.Any] = {name: (typing.get_origin(kind) or kind)() for name, kind in kinds.items()}
    done["dataset"] = {"name": "digits", "train_examples": 2, "validation_examples": 0, "test_examples": 1}
    done |= {"test": {"correct": 1, "confusion": [[1]]}, "model_sha256": hashlib.sha256(b"model").hexdigest()}
    files = {"config.json": config.Config().to_dict(), "result.json": done}
    parts = {name: json.dumps(value).encode() for name, value in files.items()} | {"model.keras": b"model"}

    def pack(parts: Parts) -> bytes:
        return b"".join(b"\n--- %s\n%s" % (name.encode(), with_checksum(parts[name])) for name in parts)

    return Seed(parts, pack)


def with_checksum(content: bytes) -> bytes:
    """Add the checksum that a run's files have to a JSON object; return anything else unchanged."""
    try:
        values = json.loads(content)
        return json.dumps({**values, "sha256": atomic.checksum(values)}).encode()
    except (ValueError, TypeError, RecursionError):
        return content


def checkpoint_seed() -> Seed:
    """Return a checkpoint in the middle of the second epoch; packing recomputes its digest after edits."""
    row = {"epoch": 1, "loss": 0.5, "accuracy": 0.75, "seconds": 1.25}
    progress = checkpoint.Progress(1, 2, np.array([1.5, 2.5]), 3, 4, 0.5, [row])
    arguments = (5, CHECKPOINT, config.Config(), {"name": "digits"}, {"backend": "jax"}, [{"step": 3}])
    arrays = checkpoint.Checkpoint(progress, *arguments).to_arrays()
    parts = {f"{name}.npy": npy(array) for name, array in arrays.items()} | {"about.json": arrays["about"].tobytes()}
    del parts["about.npy"]

    def pack(parts: Parts) -> bytes:
        about = parts.get("about.json", b"")
        try:
            warnings.simplefilter("ignore")  # NumPy's, about impossible lengths
            named = {name.removesuffix(".npy"): parts[name] for name in parts if name != "about.json"}
            found = {name: np.load(io.BytesIO(content), allow_pickle=False) for name, content in named.items()}
            values = {key: value for key, value in json.loads(about).items() if key != "sha256"}
            about = json.dumps({**values, "sha256": checksum(values, found)}).encode()
        except Exception:  # no digest is possible after some edits
            pass
        members = {name: content for name, content in parts.items() if name != "about.json"}
        return zipped({**members, "about.npy": npy(np.frombuffer(about, np.uint8))}).content()

    return Seed(parts, pack)


def model_seed() -> Seed:
    """Return a small network as Keras writes it: 784 → 2 → 10."""
    import h5py

    def layer(kind: str, **settings: object) -> dict[str, object]:
        size = {"hidden_1": 784, "logits": 2}.get(settings["name"])  # type: ignore[call-overload]
        built = {"build_config": {"input_shape": [None, size]}} if size else {}
        return {"module": "keras.layers", "class_name": kind, "config": settings, "registered_name": None, **built}

    zeros = {"module": "keras.initializers", "class_name": "Zeros", "config": {}, "registered_name": None}
    layers = [
        layer("InputLayer", name="image", batch_shape=[None, 28, 28]),
        layer("Flatten", name="flatten"),
        layer("Dense", name="hidden_1", units=2, use_bias=True, bias_initializer=zeros),
        layer("Dense", name="logits", units=10, use_bias=True, bias_initializer=zeros),
        layer("Softmax", name="probabilities"),
    ]
    network = {"module": "keras.src.models.functional", "class_name": "Functional", "registered_name": "Functional"}
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for name, shape in {"dense": (784, 2), "dense_1": (2, 10)}.items():
            variables = file.create_group(f"layers/{name}/vars")
            variables.attrs["name"] = name
            variables["0"], variables["1"] = np.ones(shape, np.float32), np.zeros(shape[1:], np.float32)
    return zipped(
        {
            "metadata.json": b'{"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"}',
            "config.json": json.dumps(network | {"config": {"name": "mlp", "layers": layers}}).encode(),
            "model.weights.h5": stream.getvalue(),
        }
    )


LEVELS = IMAGES[:1].astype(np.float64) / 255
MNIST = {name: np.zeros(shape, np.uint8) for name, shape in SMALL.items()}
IDX = bytes([0, 0, 8, 3]) + struct.pack(">3I", *IMAGES.shape) + IMAGES.tobytes()
CHECKPOINT = {"model/hidden_1/kernel": LEVELS[0].astype(np.float32), "step": np.int64(3), "empty": np.zeros((0, 3))}

LINES = [",".join(map(str, [label, *image.ravel()])) for label, image in zip((7, 0, 9), IMAGES, strict=True)]
NAMES = ",".join(["label", *map(str, range(784))])
LABELS = bytes([0, 0, 8, 1]) + struct.pack(">I", 3) + bytes([7, 0, 9])
FOUR = {f"a/{name}": LABELS if "labels" in name else IDX for name in array_files.IDX_NAMES.values()}


def tarred(parts: Parts) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


TARGETS: dict[str, tuple[list[Seed], Callable[[Path], None]]] = {
    "idx": ([plain(IDX), gzipped(IDX)], read_idx),
    "images": (
        [
            *(plain(npy(IMAGES)), plain(npy(LEVELS)), plain(npy(np.asfortranarray(IMAGES[0], np.int16)))),
            *(npz({"images": IMAGES[:1]}), npz({"a": IMAGES[0], "x_test": IMAGES[:2]}, zipfile.ZIP_DEFLATED)),
        ],
        read_images,
    ),
    "npz": ([npz(MNIST), npz(MNIST, zipfile.ZIP_DEFLATED)], read_npz),
    "arrays": ([npz(CHECKPOINT)], read_arrays),
    "table": (
        [
            *(plain("\n".join([NAMES, *LINES]).encode()), plain(("\r\n\r\n".join(LINES) + "\r\n").encode())),
            plain("\n".join(re.sub(r",(\d+)", r";\1.0", line) for line in LINES).encode()),
        ],
        read_table,
    ),
    "archive": (
        [zipped(FOUR), zipped(FOUR, zipfile.ZIP_DEFLATED), Seed(FOUR, lambda parts: gzip.compress(tarred(parts), 1))],
        read_archive,
    ),
    "config": ([Seed({".json": json.dumps(config.Config().to_dict()).encode()}, lambda p: p[".json"])], read_config),
    "run": ([run_seed()], read_run),
    "checkpoint": ([checkpoint_seed()], read_checkpoint),
    "model": ([model_seed()], check_model),
}


class Failure(Exception):
    """A target neither read the input correctly nor raised a `UserError`."""


@dataclasses.dataclass
class Tally:
    """Counts of what a target did with its inputs."""

    target: str
    inputs: int = 0
    accepted: int = 0
    slowest: float = 0.0
    refusals: Counter[str] = dataclasses.field(default_factory=Counter)
    began: float = dataclasses.field(default_factory=time.perf_counter)

    def __str__(self) -> str:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        return (
            f"{self.target:<10} {self.inputs:>7,} inputs {time.perf_counter() - self.began:>6.1f} s, {self.accepted:,} "
            f"accepted, {len(self.refusals)} distinct refusals; slowest {self.slowest:.3f} s, peak {memory} MB"
        )


def feed(tally: Tally, program: bytes, path: Path) -> None:
    """Feed one input to a target. Raise `Failure` unless it is read correctly, or refused in one line."""
    seeds, target = TARGETS[tally.target]
    path.write_bytes(damaged(seeds, program))
    began = time.perf_counter()
    try:
        target(path)
        tally.accepted += 1
    except UserError as error:
        message = str(error).replace(str(path.parent), "")
        if "\n" in message or len(message) > 1000 or not message:
            raise Failure(f"{tally.target}: the error message is not one short line: {message[:1000]!r}") from error
        tally.refusals[re.sub(r"'.*'|\\\w+|\d+", "…", message)] += 1
    except BaseException as error:
        again = f"python tests/helpers/fuzz.py {tally.target} --program {program.hex()}"
        raise Failure(f"{tally.target}: {type(error).__name__}: {error}; to repeat, run {again}") from error
    tally.inputs += 1
    tally.slowest = max(tally.slowest, time.perf_counter() - began)


def scratch() -> tempfile.TemporaryDirectory[str]:
    """Make a directory for the inputs, in memory if possible."""
    return tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)


def with_hypothesis(target: str, inputs: int, seed: int = 0) -> Tally:
    """Feed inputs to a target. Raise `Failure` for the shortest failing program found."""
    import hypothesis
    from hypothesis import strategies

    tally = Tally(target)
    with scratch() as directory:
        path = Path(directory) / "file.keras"

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=-(-inputs // TOGETHER),
            database=None,
            deadline=None,
            phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
            suppress_health_check=list(hypothesis.HealthCheck),
            print_blob=False,
        )
        @hypothesis.given(strategies.binary(min_size=40 * TOGETHER, max_size=40 * TOGETHER))
        def test(programs: bytes) -> None:
            for start in range(0, len(programs), 40):
                feed(tally, programs[start : start + 40], path)

        test()
    return tally


def with_atheris(target: str, inputs: int) -> None:
    """Do the same with programs that reach new code. End the process, as libFuzzer does."""
    import atheris

    for module in (
        archives,
        members,
        array_files,
        tables,
        layouts,
        file_check,
        config,
        options,
        saved,
        result,
        zipfile,
        gzip,
    ):
        for value in vars(module).values():
            if callable(value) and hasattr(value, "__code__"):
                atheris.instrument_func(value)
    tally, directory = Tally(target), scratch()

    def one(program: bytes) -> None:
        feed(tally, program, Path(directory.name) / "file.keras")
        if tally.inputs == inputs:
            print(tally, flush=True)

    atheris.Setup([sys.argv[0], f"-runs={inputs}", "-max_len=64", "-verbosity=0"], one)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(TARGETS)} (default: all)")
    parser.add_argument(
        "--inputs", type=int, default=100_000, help="number of inputs, over all targets (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of Hypothesis; another seed gives other inputs")
    parser.add_argument("--engine", choices=("hypothesis", "atheris"), default="hypothesis")
    parser.add_argument("--program", type=bytes.fromhex, help="a single input, from the message of a failure")
    options = parser.parse_args()
    names = options.targets or list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"expected targets among {', '.join(TARGETS)}, received {', '.join(unknown)}")
    if importlib.util.find_spec(options.engine) is None:
        print(f"{options.engine} is not installed; run: pip install {options.engine}", file=sys.stderr)
        return 2
    share = max(1, options.inputs // len(names))
    for name in names:
        if options.program is not None:
            with scratch() as directory:
                feed(tally := Tally(name), options.program, Path(directory) / "file.keras")
            print(tally, *tally.refusals)
        elif options.engine == "hypothesis":
            print(with_hypothesis(name, share, options.seed), flush=True)
        elif len(names) == 1:
            with_atheris(name, share)
        elif code := subprocess.call([sys.executable, __file__, name, f"--inputs={share}", "--engine=atheris"]):
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
