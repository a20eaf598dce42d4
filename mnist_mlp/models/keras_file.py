"""A model as Keras' own file: saved without what ties it to one backend, loaded with a check."""

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
    """Writes the model as a .keras file that older versions of Keras can read too, and the same bytes each time."""
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
    """A saved configuration without the settings of initialisers that are None; shared objects count from 1.

    Keras 3.15 writes such a setting for GlorotUniform, input_axes, which 3.13 (Colab's) refuses to read, set or not;
    and it numbers shared objects by their addresses.
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
    """Keeps Keras on another backend from importing TensorFlow (2 s) only to ask whether a value is of its types."""
    hidden = "tensorflow" not in sys.modules
    if hidden:
        sys.modules["tensorflow"] = None  # type: ignore[assignment]  # which Python takes for "not installed"
    try:
        yield
    finally:
        if hidden:
            del sys.modules["tensorflow"]


def load(file: Path) -> keras.Model:
    """The model in a .keras file. Raises `UserError` where it is damaged; never runs code from it."""
    wrote = file_check.check(file, keras.__version__)
    try:
        with without_tensorflow():
            model = keras.saving.load_model(file, compile=False, safe_mode=True)
    except OSError as error:
        raise UserError(f"{file}: expected the model of a run, received: {error.strerror or error}") from None
    except Exception as error:  # whatever a part that does not fit makes Keras raise
        raise file_check.unreadable(file, error, wrote, keras.__version__) from None
    shapes = (getattr(model, "input_shape", None), getattr(model, "output_shape", None))
    if shapes != ((None, 28, 28), (None, 10)) or model.layers[-2].name != "logits":
        raise UserError(f"{file}: expected a network that mnist_mlp.train wrote, received another Keras model")
    return model
