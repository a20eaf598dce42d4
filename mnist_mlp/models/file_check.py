"""Check a .keras file before Keras reads it: nothing in it may run, or take more memory than the file has bytes.

A .keras file is a zip archive of metadata.json, config.json (class names of the objects to build) and model.weights.h5.
The safe mode of Keras has let code through in several versions, and Keras allocates whatever config.json and the HDF5
headers claim. This check accepts only what our own networks consist of.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mnist_mlp.errors import UserError
from mnist_mlp.files.archives import MAX_BYTES, STORED, names_in, open_archive, read_up_to, reason_of, truncated

MEMBERS = {"metadata.json": 2**20, "config.json": 2**20, "model.weights.h5": MAX_BYTES}  # at most this many bytes
CLASSES: dict[str | None, set[str]] = {  # what Keras 3.10 to 3.15 write for our networks, by module
    "keras": {"DTypePolicy"},
    "keras.initializers": {"GlorotUniform", "Zeros"},
    "keras.layers": {
        *("InputLayer", "Rescaling", "Flatten", "Dense", "Dropout", "Reshape", "Conv2D", "MaxPooling2D", "Softmax"),
    },
    "keras.regularizers": {"L2"},
    "keras.src.models.functional": {"Functional"},
    None: {"__keras_tensor__"},  # an edge of the graph: only a shape and a dtype
}
CODE = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "function", "__lambda__"}


def check(path: Path, installed: str) -> str:
    """Return the version of Keras that wrote the file, if Keras `installed` can safely load it.

    Raise `UserError` if the file is damaged or contains anything that no network of this package has.
    """
    wrote = ""
    try:
        if path.exists() and not path.is_file():  # opening a named pipe would block
            raise UserError(f"{path}: cannot read this model: not a file")
        parts = _parts(path)
        wrote = _version(json.loads(parts["metadata.json"]))
        config, weights = json.loads(parts["config.json"]), parts["model.weights.h5"]
        if config["class_name"] != "Functional":
            raise ValueError("config.json does not describe a network")
        for value in _objects(config):
            _check_class(value, path, wrote, installed)
        if sum(map(_weights, _objects(config))) * 4 > _size_of_hdf5(weights):  # float32 in every precision
            raise ValueError("config.json claims more weights than the file contains")
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot read this model: {error.strerror or error}") from None
    except Exception as error:  # parsers raise many types on damaged bytes
        raise unreadable(path, error, installed, installed) from None
    return wrote


def unreadable(path: Path, error: Exception, wrote: str, installed: str) -> UserError:
    """Return the error for a file written by Keras `wrote` that Keras `installed` cannot read."""
    reason = reason_of(error)
    if wrote == installed:
        return UserError(f"{path} is damaged ({reason}); train again into a new directory")
    return UserError(
        f"{path} was written by Keras {wrote}, and Keras {installed} cannot read it ({reason}); "
        f"run pip install keras=={wrote}"
    )


def _parts(path: Path) -> dict[str, bytearray]:
    """Return the members of the archive, with verified checksums. Uncompressed, none is larger than the file."""
    with path.open("rb") as file, open_archive(file) as archive:
        if sorted(archive.namelist()) != sorted(MEMBERS):
            raise ValueError(f"it should contain {', '.join(MEMBERS)}, not {names_in(archive.namelist())}")
        size, parts = path.stat().st_size, {}
        for member in archive.infolist():
            if member.compress_type != STORED:
                raise ValueError(f"{member.filename} is compressed")
            if member.file_size > min(size, MEMBERS[member.filename]):
                raise ValueError(f"{member.filename} claims {member.file_size} bytes")
            with archive.open(member) as stream:
                parts[member.filename] = read_up_to(stream, member.file_size)
            if len(parts[member.filename]) != member.file_size:
                raise ValueError(f"{member.filename} is truncated")
    return parts


def _version(metadata: Any) -> str:
    """Return the version of Keras in metadata.json, which becomes part of a command in an error message."""
    version = metadata["keras_version"]
    if not re.fullmatch(r"\d[\w.+]{0,40}", version, re.ASCII):
        raise ValueError("metadata.json has no Keras version")
    return str(version)


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Yield each dictionary anywhere in config.json that Keras may take for an object."""
    stack = [config]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if not {"class_name", "module", "registered_name"}.isdisjoint(value):
                yield value
            stack += value.values()
        elif isinstance(value, list):
            stack += value


def _check_class(value: dict[str, Any], path: Path, wrote: str, installed: str) -> None:
    """Raise an error unless the object is one of CLASSES."""
    module, name, registered = (value.get(key) for key in ("module", "class_name", "registered_name"))
    if not isinstance(name, str) or not isinstance(module, str | None):
        raise ValueError("config.json has an object without a class")
    if name in CLASSES.get(module, ()) and registered in (None, name):
        return
    named = truncated(name, 60)
    if name in CODE or str(module or "keras").split(".")[0] != "keras" or registered not in (None, name):
        kind = "function" if name == "function" else f"{named} layer" if name in CODE else f"{named} object"
        raise UserError(
            f"{path} contains a {kind}, which may run code; use the --run_dir of a run that mnist_mlp.train wrote"
        )
    if wrote != installed:
        raise unreadable(path, ValueError(f"it contains {named}"), wrote, installed)
    raise UserError(f"{path}: expected a model written by mnist_mlp.train, received another Keras model ({named})")


def _weights(value: dict[str, Any]) -> int:
    """Return how many weights Keras allocates for an object, before it opens the HDF5 file."""
    if value["class_name"] not in ("Dense", "Conv2D"):
        return 0
    settings = value["config"]
    if settings.get("lora_rank") or settings.get("quantization_config"):  # more weights, of other types
        raise ValueError("config.json has weights of an unknown kind")
    channels = value["build_config"]["input_shape"][-1]  # Keras builds the layer from this
    units, window = (settings["units"], []) if value["class_name"] == "Dense" else _filters(settings)
    lengths = [units, channels, *window]
    if not all(type(length) is int and length > 0 for length in lengths):
        raise ValueError("config.json has a layer without a size")
    return math.prod(lengths) + (units if settings["use_bias"] else 0)


def _filters(settings: dict[str, Any]) -> tuple[Any, list[Any]]:
    window = settings["kernel_size"]
    return settings["filters"], window if isinstance(window, list) else [window, window]


def _size_of_hdf5(content: bytearray) -> int:
    """Return the bytes of the arrays in an HDF5 file. Raise ValueError for anything but groups and complete arrays."""
    import h5py  # comes with Keras

    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            groups, seen, size = [file], {h5py.h5o.get_info(file.id).addr}, 0
            while groups:
                group = groups.pop()
                for name in group:
                    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                        raise ValueError("it contains a soft or external link")
                    value = group[name]
                    address = h5py.h5o.get_info(value.id).addr
                    if address in seen:
                        raise ValueError("two of its names refer to one object")
                    seen.add(address)
                    if isinstance(value, h5py.Group):
                        groups.append(value)
                    else:
                        size += _size_of_array(value)
                    if size > len(content):
                        raise ValueError("its arrays claim to be larger than the file")
    except Exception as error:  # of many types if the file is damaged
        raise ValueError(f"model.weights.h5: {error}") from None
    return size


def _size_of_array(value: Any) -> int:
    """Return the bytes of an array in an HDF5 file. Raise ValueError unless it is stored here, contiguously."""
    import h5py

    if not isinstance(value, h5py.Dataset):
        raise ValueError("it contains something other than arrays")
    plan = value.id.get_create_plist()
    if plan.get_external_count() or plan.get_layout() not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT):
        raise ValueError("an array is stored externally or in chunks")
    if value.dtype.kind not in "fiu" or len(value.attrs):
        raise ValueError("an array does not consist of plain numbers")
    size = math.prod(value.shape) * value.dtype.itemsize
    if size != value.id.get_storage_size():  # missing data is filled in, at any length
        raise ValueError(f"an array claims {size} bytes and has {value.id.get_storage_size()}")
    return size
