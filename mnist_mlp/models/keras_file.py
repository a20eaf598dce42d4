"""Save and load .keras files: the same bytes on every backend, and checked before Keras reads them."""

from __future__ import annotations

import contextlib
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from mnist_mlp.errors import UserError
from mnist_mlp.models import file_check


def save(model: keras.Model, file: Path) -> None:
    """Write the model as a .keras file, always with the same bytes, which older versions of Keras can read, too."""
    with without_tensorflow():
        model.save(file)
    with zipfile.ZipFile(file) as archive:
        parts = {part: archive.read(part) for part in archive.infolist()}
    with zipfile.ZipFile(file, "w") as archive:
        for part, content in parts.items():
            if part.filename == "config.json":
                content = json.dumps(portable(json.loads(content), shared={})).encode()
            if part.filename == "metadata.json":  # without the date
                content = json.dumps({"keras_version": keras.__version__}).encode()
            part.date_time = (1980, 1, 1, 0, 0, 0)
            archive.writestr(part, content)


def portable(config: Any, shared: dict[int, int]) -> Any:
    """Return a saved config without initializer settings that are None, and with shared objects numbered from 1.

    Keras 3.15 writes such a setting, input_axes, for GlorotUniform; 3.13 (on Colab) refuses to read it, set or not. And
    it numbers shared objects by their addresses.
    """
    if isinstance(config, list):
        return [portable(value, shared) for value in config]
    if not isinstance(config, dict):
        return config
    values = {key: portable(value, shared) for key, value in config.items()}
    if values.get("module") == "keras.initializers":
        values["config"] = {key: value for key, value in values["config"].items() if value is not None}
    if "shared_object_id" in values:
        values["shared_object_id"] = shared.setdefault(values["shared_object_id"], len(shared) + 1)
    return values


@contextlib.contextmanager
def without_tensorflow() -> Iterator[None]:
    """Keep Keras on another backend from importing TensorFlow (2 s) for a type check only."""
    hidden = "tensorflow" not in sys.modules
    if hidden:
        sys.modules["tensorflow"] = None  # type: ignore[assignment]  # Python takes None for "not installed"
    try:
        yield
    finally:
        if hidden:
            del sys.modules["tensorflow"]


def load(file: Path) -> keras.Model:
    """Return the model in a .keras file, without running code from it. Raise `UserError` if it is damaged."""
    wrote = file_check.check(file, keras.__version__)
    try:
        with without_tensorflow():
            model = keras.saving.load_model(file, compile=False, safe_mode=True)
    except OSError as error:
        raise UserError(f"{file}: cannot read this model: {error.strerror or error}") from None
    except Exception as error:  # Keras raises many types if a part does not fit
        raise file_check.unreadable(file, error, wrote, keras.__version__) from None
    shapes = (getattr(model, "input_shape", None), getattr(model, "output_shape", None))
    names = [layer.name for layer in getattr(model, "layers", ())]
    names = [name for name in names if name != "temperature"]  # an export of a calibrated run has it
    if shapes != ((None, 28, 28), (None, 10)) or names[-2:-1] != ["logits"]:
        raise UserError(f"{file}: expected a model written by mnist_mlp.train, received another Keras model")
    return model
