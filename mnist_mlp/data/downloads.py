"""Download with Keras or TensorFlow Datasets (TFDS), and read prepared TFDS directories.

Each library runs in a child process, which leaves its results in files. Imported here, it would choose a Keras backend
and start TensorFlow's devices before the run has chosen its own, and print to standard output, where the JSON result
goes. Besides, only ending its process ends a stalled download.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.cli.child_process import Child
from mnist_mlp.data import sets
from mnist_mlp.data.array_files import Arrays, NotFound, check_labels, read_idx_directory, read_npz, shapes_of
from mnist_mlp.errors import UserError
from mnist_mlp.files import user_dirs
from mnist_mlp.files.archives import times

MEGABYTES = {"mnist": 11, "fashion_mnist": 30, "kmnist": 21, "emnist_digits": 562, "emnist_mnist": 562}
EMNIST = "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip"
KERAS_HOST = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
CHECKED_URLS = {  # a URL of each download, checked before its library is started
    ("Keras", "mnist"): KERAS_HOST + "mnist.npz",
    ("Keras", "fashion_mnist"): KERAS_HOST + "t10k-labels-idx1-ubyte.gz",
    ("TFDS", "mnist"): "https://storage.googleapis.com/cvdf-datasets/mnist/t10k-labels-idx1-ubyte.gz",
    ("TFDS", "fashion_mnist"): ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-labels-idx1-ubyte.gz"),
    ("TFDS", "kmnist"): "http://codh.rois.ac.jp/kmnist/dataset/kmnist/t10k-labels-idx1-ubyte.gz",
    ("TFDS", "emnist_digits"): EMNIST,
    ("TFDS", "emnist_mnist"): EMNIST,
}
URL_CHECK_SECONDS = 4.0  # per library, so that a machine without a network gets its answer within 10 s
STALL_SECONDS = 120.0  # a download that writes nothing for this long is aborted; a slow one is not
READERS = {"tfrecord": "tensorflow", "array_record": "array_record"}  # TFDS' format: the package that reads it


def keras_home() -> Path:
    """Return the directory of Keras' files."""
    return user_dirs.of_library("KERAS_HOME", ".keras")


def tfds_home() -> Path:
    """Return the directory of TFDS' prepared data sets."""
    return user_dirs.of_library("TFDS_DATA_DIR", "tensorflow_datasets")


def read_keras_cache(name: str, home: Path | None = None) -> Arrays:
    """Return the arrays that keras.datasets.NAME.load_data() left on disk. Raise `NotFound` if there are none."""
    path = (home or keras_home()) / "datasets" / sets.find(name).keras
    return read_npz(path) if path.suffix == ".npz" else read_idx_directory(path)


def find_tfds(name: str, directory: Path) -> Path | None:
    """Return the prepared data set in a directory that is or holds NAME/VERSION, NAME or VERSION, else None.

    A data set without a name there, which is the user's own, is the one that the directory is or holds.
    """
    known = sets.find(name).tfds
    if not known and name != "custom":
        return None
    _, _, configuration = known.partition("/")
    patterns = [f"{known}/[0-9]*", *([f"{configuration}/[0-9]*"] if configuration else [])] if known else ["*/[0-9]*"]
    for pattern in ("", "[0-9]*", *patterns):
        found = sorted(directory.glob(f"{pattern}/dataset_info.json".lstrip("/")))
        if found:
            return found[-1].parent
    return None


def read_tfds(name: str, directory: Path) -> Arrays:
    """Return the arrays in a prepared TFDS directory. Raise `NotFound` if there is none.

    The tfrecord format needs TensorFlow, array_record does not.
    """
    prepared = find_tfds(name, directory)
    if prepared is None:
        raise NotFound(f"no prepared {name} in {directory}")
    check_readable(name, prepared)
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch, "arrays.npz")
        try:
            _run(_tfds_to_npz, prepared, output)
        except ChildFailed as error:
            raise UserError(
                f"{prepared}: expected a prepared TFDS directory, received one that cannot be read ({error})"
            ) from None
        with np.load(output) as arrays:
            return _from_tfds(arrays, prepared, shapes_of(name))


def tfds_classes(name: str, directory: Path) -> tuple[str, ...]:
    """Return the names of the classes in a prepared TFDS directory, () if they are not noted or not ten."""
    prepared = find_tfds(name, directory)
    try:
        lines = (prepared / "label.labels.txt").read_text(encoding="utf-8").splitlines() if prepared else []
    except (OSError, ValueError):
        return ()
    return tuple(lines) if len(lines) == 10 and all(line.isprintable() and len(line) <= 40 for line in lines) else ()


def download(library: str, name: str) -> Arrays:
    """Download with a library ("Keras" or "TFDS") into its own cache, and return the arrays.

    Announce it on standard error. Raise `NotFound`, with the reason, if it fails; nothing half-written remains.
    """
    known = sets.find(name)
    home, created, work, called = {
        "Keras": (keras_home(), f"datasets/{known.keras}", _keras_download, name),
        "TFDS": (tfds_home(), known.tfds, _tfds_download, known.tfds),
    }[library]
    reason = _missing_package(library) or _check_url(CHECKED_URLS[library, name])
    if reason:
        raise NotFound(f"download by {library}: {reason}")
    print(f"downloading {sets.title_of(name)} ({MEGABYTES[name]} MB) with {library} …", file=sys.stderr, flush=True)
    with _scratch(home) as scratch:
        try:
            _run(work, called, scratch, watched=scratch, KERAS_HOME=str(scratch))
        except ChildFailed as error:
            raise NotFound(f"download by {library}: {error}") from None
        arrays = read_keras_cache(name, scratch) if library == "Keras" else read_tfds(name, scratch)
        with contextlib.suppress(OSError):  # the cache is not writable: the next run downloads again
            (home / created).parent.mkdir(parents=True, exist_ok=True)
            os.replace(scratch / created, home / created)
    return arrays


class ChildFailed(Exception):
    """A child process failed; the message says how."""


def _run(work: Callable[..., None], *arguments: object, watched: Path | None = None, **environment: str) -> None:
    """Call one of the functions at this module's end in a silent child process that sees no accelerator."""
    environment = {
        **os.environ,
        **{"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"},
        **environment,
    }
    code = f"import sys; from mnist_mlp.data import downloads; downloads.{work.__name__}(*sys.argv[1:])"
    with Child(["-c", code, *map(str, arguments)], environment) as child:
        _wait(child, watched)
        if child.returncode:
            raise ChildFailed(child.outcome)


def _wait(child: Child, watched: Path | None) -> None:
    """Wait for the child. Raise `ChildFailed` if nothing in the watched directory grows for STALL_SECONDS."""
    size, since = -1, time.monotonic()
    while True:
        try:
            child.wait(timeout=None if watched is None else 0.5)
            return
        except subprocess.TimeoutExpired:
            now = _size(watched) if watched else 0
        if now != size:
            size, since = now, time.monotonic()
        elif time.monotonic() - since > STALL_SECONDS:
            raise ChildFailed(f"no data arrived for {STALL_SECONDS:.0f} s")


def _size(directory: Path) -> int:
    """Return the bytes in a directory that another process writes."""
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):  # the file may vanish meanwhile
            total += path.stat().st_size
    return total


@contextlib.contextmanager
def _scratch(home: Path) -> Iterator[Path]:
    """Make a temporary directory inside `home`, so that a rename is atomic; elsewhere if `home` is read-only."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=home, prefix=".download-")
    except OSError:
        scratch = tempfile.TemporaryDirectory()
    with scratch as name:
        yield Path(name)


def _check_url(url: str) -> str:
    """Return why the URL does not answer within URL_CHECK_SECONDS, or "" if it does."""
    import urllib.error  # takes 30 ms, which only a download should pay
    import urllib.request

    answer: list[str] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(url, timeout=URL_CHECK_SECONDS) as response:
                response.read(1)
            answer.append("")
        except Exception as error:  # a missing network shows in many ways; each is a reason
            reason = error.reason if type(error) is urllib.error.URLError else error
            if not isinstance(reason, TimeoutError):  # reported below
                answer.append(" ".join(str(reason).split()) or type(reason).__name__)

    # In a thread, since the timeout of a socket does not cover name resolution.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(URL_CHECK_SECONDS)
    reason = answer[0] if answer else f"no answer within {URL_CHECK_SECONDS:.0f} s"
    return reason and f"{urlsplit(url).hostname}: {reason}"


def _missing_package(library: str) -> str:
    """Return why a library cannot be imported, or "" if it is installed."""
    package, install = {
        "Keras": ("keras", "keras"),
        "TFDS": ("tensorflow_datasets", "tensorflow-datasets"),
    }[library]
    return "" if _installed(package) else f"not installed (pip install {install})"


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # blocked by a finder, or a broken installation
        return False


def check_readable(name: str, prepared: Path) -> None:
    """Raise `UserError` unless the packages that read this directory are installed. Import none of them."""
    path = prepared / "dataset_info.json"
    try:
        info = json.loads(path.read_text())
        received, file_format = info["name"], info.get("fileFormat", "tfrecord")
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise UserError(f"{path}: expected the JSON of TFDS, received a damaged file ({error})") from None
    received = "/".join(each for each in (received, info.get("configName")) if each)
    wanted = sets.find(name).tfds or received
    if received != wanted or file_format not in READERS:
        raise UserError(f"{path}: expected {wanted} as tfrecord or array_record, received {received} as {file_format}")
    for package in ("tensorflow_datasets", READERS[file_format]):
        if not _installed(package):
            install = package.replace("tensorflow_datasets", "tensorflow-datasets")
            raise UserError(
                f"{prepared}: reading TFDS files of format {file_format} needs {package}, which is not installed; "
                f"run: pip install {install}"
            )


def _from_tfds(arrays: Any, prepared: Path, shapes: Mapping[str, Sequence[int | None]]) -> Arrays:
    """Return TFDS' images [n, 28, 28, 1] and int64 labels in the form that all sources share."""
    result = {}
    for key, expected in shapes.items():
        if key not in arrays:  # without a test split
            continue
        array: NDArray[Any] = arrays[key]
        shape = tuple(want or got for want, got in zip(expected, array.shape, strict=False))
        received = array.shape[:3]  # without the channel
        if received != shape or array.size != np.prod(shape):
            wanted = times(expected)
            raise UserError(f"{prepared}: expected {key} of shape {wanted}, received {times(array.shape)}")
        if len(shape) == 1:
            check_labels(array, prepared)
        elif array.dtype != np.uint8:
            raise UserError(f"{prepared}: expected {key} as uint8, received {array.dtype}")
        result[key] = array.reshape(shape).astype(np.uint8, copy=False)
    return result


# The functions below run in child processes. `_run` calls them with strings.


def _keras_download(name: str, scratch: str) -> None:
    """Download into KERAS_HOME, which `download` has set to `scratch`."""
    backends = [backend for backend in ("tensorflow", "jax", "torch") if _installed(backend)]
    os.environ.setdefault("KERAS_BACKEND", [*backends, "numpy"][0])
    import keras

    getattr(keras.datasets, name).load_data()


def _tfds_download(name: str, scratch: str) -> None:
    import tensorflow_datasets as tfds

    file_format = None if _installed("tensorflow") else "array_record"
    tfds.builder(name, data_dir=scratch, file_format=file_format, try_gcs=False).download_and_prepare()


def _tfds_to_npz(prepared: str, output: str) -> None:
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(prepared)  # reads its JSON, without network or builder code
    arrays = {}
    for split in [split for split in ("train", "test") if split in builder.info.splits]:
        whole = tfds_split(builder, split)
        arrays[f"x_{split}"], arrays[f"y_{split}"] = whole["image"], whole["label"]
    np.savez(output, **arrays)  # type: ignore[arg-type]  # its stub takes the arrays for allow_pickle


def tfds_split(builder: Any, split: str) -> Any:
    """Return the images and labels of one split of TFDS: {"image": …, "label": …}."""
    import tensorflow_datasets as tfds

    if builder.info.file_format is not tfds.core.FileFormat.ARRAY_RECORD:
        return tfds.as_numpy(builder.as_dataset(split, batch_size=-1))
    source = builder.as_data_source(split)  # also without TensorFlow
    examples = source.__getitems__(range(len(source)))  # all at once, which is 2.4 times as fast
    return {key: np.stack([example[key] for example in examples]) for key in ("image", "label")}
