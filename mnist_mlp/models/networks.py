"""The networks, written with Keras alone: the same object on every backend.

A model takes images with pixels from 0 to 255, [n, 28, 28], and gives ten probabilities, [n, 10]. The scaling of the
pixels is part of the model, so a saved model cannot be fed the wrong range. The last two layers are always "logits"
(Dense 10) and "probabilities" (softmax), which together are the lecture's Dense(10, softmax): training takes the
loss from the logits, exact where a probability rounds to 0.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from mnist_mlp.errors import UserError
from mnist_mlp.models import file_check


def set_conventions() -> None:
    """float32 and channels last, whatever ~/.keras/keras.json says: it would change the numbers."""
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")


def dense_stack(
    dtype: keras.DTypePolicy, units: Sequence[int], *, dropout: float = 0.0, **dense: object
) -> list[keras.Layer]:
    """Flatten, then a Dense layer for each width in `units`, each followed by dropout if asked for."""
    stack = [layers.Flatten(name="flatten", dtype=dtype)]
    for index, width in enumerate(units, start=1):
        stack.append(layers.Dense(width, name=f"hidden_{index}", dtype=dtype, **{"activation": "relu", **dense}))
        if dropout:
            stack.append(layers.Dropout(dropout, name=f"dropout_{index}", dtype=dtype))
    return stack


def softmax(dtype: keras.DTypePolicy) -> list[keras.Layer]:
    """Logistic regression, no hidden layer: 785·10 = 7,850 (lecture, part 4)."""
    return dense_stack(dtype, [])


def mlp(dtype: keras.DTypePolicy) -> list[keras.Layer]:
    """The lecture's network: 785·128 + 129·64 + 65·10 = 109,386 (lecture, part 4)."""
    return dense_stack(dtype, [128, 64])


def wide(dtype: keras.DTypePolicy) -> list[keras.Layer]:
    """785·512 + 513·512 + 513·10 = 669,706 (the widths of Keras' old MLP example)."""
    return dense_stack(dtype, [512, 512])


def deep(dtype: keras.DTypePolicy) -> list[keras.Layer]:
    """785·128 + 129·128 + 129·64 + 65·64 + 65·32 + 33·10 = 131,818: five hidden layers."""
    return dense_stack(dtype, [128, 128, 64, 64, 32])


def mlp_sigmoid(dtype: keras.DTypePolicy) -> list[keras.Layer]:
    """`mlp` with sigmoids, which saturate (lecture, part 3): 109,386."""
    return dense_stack(dtype, [128, 64], activation="sigmoid")


def mlp_tanh(dtype: keras.DTypePolicy) -> list[keras.Layer]:
    """`mlp` with tanh: 109,386."""
    return dense_stack(dtype, [128, 64], activation="tanh")


def mlp_dropout(dtype: keras.DTypePolicy) -> list[keras.Layer]:
    """`mlp` with dropout 0.2 behind each hidden layer (Srivastava et al., JMLR 2014): 109,386."""
    return dense_stack(dtype, [128, 64], dropout=0.2)


def mlp_l2(dtype: keras.DTypePolicy) -> list[keras.Layer]:
    """`mlp` with the penalty 1e-4·Σw² on the kernels of its hidden layers: 109,386."""
    return dense_stack(dtype, [128, 64], kernel_regularizer=keras.regularizers.L2(1e-4))


def mlp_zeros(dtype: keras.DTypePolicy) -> list[keras.Layer]:
    """`mlp` with all weights 0 at the start: no gradient reaches a kernel (lecture, exercise 10): 109,386."""
    return dense_stack(dtype, [128, 64], kernel_initializer="zeros")


def cnn(dtype: keras.DTypePolicy) -> list[keras.Layer]:
    """Two convolutions, the lecture's "next": (3·3·1+1)·32 + (3·3·32+1)·64 + 1601·10 = 34,826."""
    return [
        layers.Reshape((28, 28, 1), name="channel", dtype=dtype),
        layers.Conv2D(32, 3, activation="relu", name="conv_1", dtype=dtype),  # [n, 26, 26, 32]
        layers.MaxPooling2D(2, name="pool_1", dtype=dtype),  # [n, 13, 13, 32]
        layers.Conv2D(64, 3, activation="relu", name="conv_2", dtype=dtype),  # [n, 11, 11, 64]
        layers.MaxPooling2D(2, name="pool_2", dtype=dtype),  # [n, 5, 5, 64]
        layers.Flatten(name="flatten", dtype=dtype),  # [n, 1600]
    ]


MODELS: dict[str, Callable[[keras.DTypePolicy], list[keras.Layer]]] = {
    "softmax": softmax,
    "mlp": mlp,
    "wide": wide,
    "deep": deep,
    "mlp_sigmoid": mlp_sigmoid,
    "mlp_tanh": mlp_tanh,
    "mlp_dropout": mlp_dropout,
    "mlp_l2": mlp_l2,
    "mlp_zeros": mlp_zeros,
    "cnn": cnn,
}


def build(name: str, *, pixels: str = "unit", precision: str = "float32", seed: int = 0) -> keras.Model:
    """The model `name` with the initial weights that `seed` draws.

    `pixels`: "unit" scales them to [0, 1] in the first layer, "raw" leaves them at 0–255. `precision`: "bfloat16"
    computes the layers in bfloat16 on float32 weights (Keras' mixed_bfloat16), the logits always in float32.
    """
    start = "zeros" if name == "mlp_zeros" else "glorot_uniform"
    return network(MODELS[name], name=name, pixels=pixels, precision=precision, seed=seed, kernel_initializer=start)


def network(
    stack: Callable[[keras.DTypePolicy], list[keras.Layer]],
    *,
    name: str,
    pixels: str = "unit",
    precision: str = "float32",
    seed: int = 0,
    **logits: object,
) -> keras.Model:
    """As `build`, of any layers that `stack` gives between the image and the logits; `logits` are arguments of the
    Dense layer that computes these."""
    policy = keras.DTypePolicy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    image = keras.Input((28, 28), name="image", dtype="float32")
    x = layers.Rescaling(1 / 255, name="rescaling", dtype=policy)(image) if pixels == "unit" else image
    for layer in [*stack(policy), layers.Dense(10, name="logits", dtype="float32", **logits)]:
        with drawing_nothing(layer):
            x = layer(x)
    probabilities = layers.Softmax(name="probabilities", dtype="float32")(x)
    model = keras.Model(image, probabilities, name=name)
    initialise(model, seed)
    return model


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


def to_logits(model: keras.Model) -> keras.Model:
    """The same network, the same variables, up to its logits, float32 [n, 10]."""
    return keras.Model(model.input, model.get_layer("logits").output, name="logits_of_" + model.name)


def hidden_layers(model: keras.Model) -> list[keras.Layer]:
    """Those with neurons between the image and the logits."""
    return [
        layer for layer in model.layers if isinstance(layer, layers.Dense | layers.Conv2D) and layer.name != "logits"
    ]


def with_hidden(model: keras.Model) -> keras.Model:
    """The same network, the same variables, with what its hidden layers give, float32 [n, units] each, before the
    probabilities, float32 [n, 10]. A channel of a convolution counts by its largest value."""
    given = [layer.output for layer in hidden_layers(model)]
    given = [keras.ops.max(x, axis=(1, 2)) if len(x.shape) == 4 else x for x in given]
    outputs = [*(keras.ops.cast(x, "float32") for x in given), model.output]
    return keras.Model(model.input, outputs, name="layers_of_" + model.name)


def initialise(model: keras.Model, seed: int) -> None:
    """Draws all weights with NumPy from the layers' initialisers, so that they are the same on every backend.

    The n-th weight depends on `seed`, n, its shape and its initialiser alone. Dropout starts from `seed` as well.
    """
    index = 0
    for layer in model.layers:
        for variable in layer.trainable_variables:
            rng = np.random.default_rng([seed, index])
            variable.assign(draw(getattr(layer, f"{variable.name}_initializer"), variable.shape, rng))
            index += 1
        if isinstance(layer, layers.Dropout):
            layer.seed_generator.state.assign(np.array([seed, index], "uint32"))


@contextlib.contextmanager
def drawing_nothing(layer: keras.Layer) -> Iterator[None]:
    """Within it a layer builds its weights of zeros: `initialise` draws them afterwards.

    Keras would draw them on the device, for nothing: JAX compiles a program for each shape, which takes a second.
    """
    there = vars(layer)
    initializers = {name: there[name] for name in ("kernel_initializer", "bias_initializer") if name in there}
    for name in initializers:
        setattr(layer, name, lambda shape, dtype=None: np.zeros(shape, dtype))
    try:
        yield
    finally:
        for name, initializer in initializers.items():
            setattr(layer, name, initializer)


def draw(initializer: keras.Initializer, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """float32 array of that shape, from the distribution that a Keras initialiser stands for."""
    if isinstance(initializer, keras.initializers.Zeros):
        return np.zeros(shape, "float32")
    if isinstance(initializer, keras.initializers.Constant):
        return np.full(shape, initializer.value, "float32")
    if isinstance(initializer, keras.initializers.RandomNormal):
        return rng.normal(initializer.mean, initializer.stddev, shape).astype("float32")
    if not isinstance(initializer, keras.initializers.VarianceScaling):  # Glorot, He and LeCun are of this kind
        raise ValueError(
            f"Expected an initialiser of the kinds Zeros, Constant, RandomNormal or VarianceScaling. "
            f"Received {initializer}."
        )
    receptive = math.prod(shape[:-2])  # 1 for a Dense kernel
    fan_in, fan_out = receptive * shape[-2], receptive * shape[-1]
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[initializer.mode]
    variance = initializer.scale / max(1.0, fan)
    if initializer.distribution == "uniform":
        limit = math.sqrt(3 * variance)
        return rng.uniform(-limit, limit, shape).astype("float32")
    values = rng.normal(0.0, 1.0, shape)
    if initializer.distribution == "truncated_normal":  # at two deviations, then scaled back to the variance
        while (outside := np.abs(values) > 2).any():
            values[outside] = rng.normal(0.0, 1.0, outside.sum())
        values /= 0.87962566103423978
    return (math.sqrt(variance) * values).astype("float32")
