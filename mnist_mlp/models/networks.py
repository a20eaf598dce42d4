"""The networks, in plain Keras: the same on every backend.

A model maps images with pixels from 0 to 255, [n, 28, 28], to ten probabilities, [n, 10]. Scaling the pixels is part of
the model, so that a saved model cannot get the wrong range. The last two layers are always "logits" (Dense 10) and
"probabilities" (softmax), together the lecture's Dense(10, softmax): training computes the loss from the logits, which
is exact even if a probability rounds to 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import keras
from keras import layers

from mnist_mlp.config import UNITS, Config
from mnist_mlp.models.initialization import initialize, zero_weights


def set_conventions() -> None:
    """Set Keras' defaults: another choice in ~/.keras/keras.json, or in this process, would change the numbers."""
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_epsilon(1e-7)


def dense_stack(
    dtype: keras.DTypePolicy, units: Sequence[int], *, dropout: float = 0.0, **dense: object
) -> list[keras.Layer]:
    """Return Flatten and a Dense layer for each width in `units`, each followed by dropout if `dropout` > 0."""
    stack = [layers.Flatten(name="flatten", dtype=dtype)]
    for index, width in enumerate(units, start=1):
        stack.append(layers.Dense(width, name=f"hidden_{index}", dtype=dtype, **{"activation": "relu", **dense}))
        if dropout:
            stack.append(layers.Dropout(dropout, name=f"dropout_{index}", dtype=dtype))
    return stack


def softmax(dtype: keras.DTypePolicy) -> list[keras.Layer]:
    """Logistic regression, no hidden layer: 785·10 = 7,850 (lecture, part 4)."""
    return dense_stack(dtype, [])


def mlp(dtype: keras.DTypePolicy, units: Sequence[int] = UNITS["mlp"]) -> list[keras.Layer]:
    """The lecture's network: 785·128 + 129·64 + 65·10 = 109,386 (lecture, part 4)."""
    return dense_stack(dtype, units)


def wide(dtype: keras.DTypePolicy, units: Sequence[int] = UNITS["wide"]) -> list[keras.Layer]:
    """785·512 + 513·512 + 513·10 = 669,706 (the widths of Keras' old MLP example)."""
    return dense_stack(dtype, units)


def deep(dtype: keras.DTypePolicy, units: Sequence[int] = UNITS["deep"]) -> list[keras.Layer]:
    """785·128 + 129·128 + 129·64 + 65·64 + 65·32 + 33·10 = 131,818: five hidden layers."""
    return dense_stack(dtype, units)


def mlp_sigmoid(dtype: keras.DTypePolicy, units: Sequence[int] = UNITS["mlp_sigmoid"]) -> list[keras.Layer]:
    """`mlp` with sigmoids, which saturate (lecture, part 3): 109,386."""
    return dense_stack(dtype, units, activation="sigmoid")


def mlp_tanh(dtype: keras.DTypePolicy, units: Sequence[int] = UNITS["mlp_tanh"]) -> list[keras.Layer]:
    """`mlp` with tanh: 109,386."""
    return dense_stack(dtype, units, activation="tanh")


def mlp_dropout(dtype: keras.DTypePolicy, units: Sequence[int] = UNITS["mlp_dropout"]) -> list[keras.Layer]:
    """`mlp` with dropout 0.2 after each hidden layer (Srivastava et al., JMLR 2014): 109,386."""
    return dense_stack(dtype, units, dropout=0.2)


def mlp_l2(dtype: keras.DTypePolicy, units: Sequence[int] = UNITS["mlp_l2"]) -> list[keras.Layer]:
    """`mlp` with the penalty 1e-4·Σw² on the kernels of its hidden layers: 109,386."""
    return dense_stack(dtype, units, kernel_regularizer=keras.regularizers.L2(1e-4))


def mlp_zeros(dtype: keras.DTypePolicy, units: Sequence[int] = UNITS["mlp_zeros"]) -> list[keras.Layer]:
    """`mlp` with zero initial weights: no gradient reaches a kernel (lecture, exercise 10): 109,386."""
    return dense_stack(dtype, units, kernel_initializer="zeros")


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


MODELS: dict[str, Callable[..., list[keras.Layer]]] = {
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


def build(
    name: str,
    *,
    units: Sequence[int] | None = None,
    pixels: str = "unit",
    precision: str = "float32",
    seed: int = 0,
) -> keras.Model:
    """Return the model `name`, with initial weights drawn from `seed`.

    `units`: widths of the hidden layers, first to last, of a model in `config.UNITS` (default: the model's own).
    `pixels`: "unit" scales them to [0, 1] in the first layer, "raw" leaves them at 0–255. `precision`: "bfloat16"
    computes the layers in bfloat16 on float32 weights (Keras' mixed_bfloat16), and the logits in float32.
    """
    kernel = "zeros" if name == "mlp_zeros" else "glorot_uniform"
    stack = partial(MODELS[name], units=units) if units else MODELS[name]
    return network(stack, name=name, pixels=pixels, precision=precision, seed=seed, kernel_initializer=kernel)


def from_config(config: Config) -> keras.Model:
    """Return the model of a run, as `build` does."""
    return build(
        config.model, units=config.layer_units, pixels=config.pixels, precision=config.precision, seed=config.seed
    )


def network(
    stack: Callable[[keras.DTypePolicy], list[keras.Layer]],
    *,
    name: str,
    pixels: str = "unit",
    precision: str = "float32",
    seed: int = 0,
    **logits: object,
) -> keras.Model:
    """Return a model as `build` does, with the layers of `stack` between image and logits. `logits` are arguments of
    the Dense layer "logits"."""
    policy = keras.DTypePolicy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    image = keras.Input((28, 28), name="image", dtype="float32")
    x = layers.Rescaling(1 / 255, name="rescaling", dtype=policy)(image) if pixels == "unit" else image
    for layer in [*stack(policy), layers.Dense(10, name="logits", dtype="float32", **logits)]:
        with zero_weights(layer):
            x = layer(x)
    probabilities = layers.Softmax(name="probabilities", dtype="float32")(x)
    model = keras.Model(image, probabilities, name=name)
    initialize(model, seed)
    return model


def to_logits(model: keras.Model) -> keras.Model:
    """Return the network up to its logits, float32 [n, 10], with the same variables."""
    return keras.Model(model.input, model.get_layer("logits").output, name="logits_of_" + model.name)


def with_temperature(model: keras.Model, temperature: float) -> keras.Model:
    """Return the network with the same variables, whose probabilities are softmax(logits / temperature).

    One factor for all logits keeps their order, and rounding does not change it either, so the class stays the same.
    """
    scale = layers.Rescaling(1 / temperature, name="temperature", dtype="float32")
    softmax = layers.Softmax(name="probabilities", dtype="float32")
    return keras.Model(model.input, softmax(scale(model.get_layer("logits").output)), name=model.name)


def hidden_layers(model: keras.Model) -> list[keras.Layer]:
    """Return the layers with neurons between image and logits."""
    return [
        layer for layer in model.layers if isinstance(layer, layers.Dense | layers.Conv2D) and layer.name != "logits"
    ]


def with_hidden(model: keras.Model) -> keras.Model:
    """Return the network with the same variables, whose outputs are those of its hidden layers, float32 [n, units]
    each, and the probabilities, float32 [n, 10]. Each channel of a convolution is reduced to its maximum."""
    hidden = [layer.output for layer in hidden_layers(model)]
    hidden = [keras.ops.max(x, axis=(1, 2)) if len(x.shape) == 4 else x for x in hidden]
    outputs = [*(keras.ops.cast(x, "float32") for x in hidden), model.output]
    return keras.Model(model.input, outputs, name="layers_of_" + model.name)
