"""Write SavedModel and LiteRT files with TensorFlow operators.

They are built from the plain layers, not from the Keras model: so runs on JAX or in bfloat16 export like any other, and
the files do not depend on how a version of Keras traces its layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mnist_mlp.export.formats import OUTPUTS
from mnist_mlp.models.portable import Array, Layer


def write_saved_model(layers: Sequence[Layer], directory: Path) -> None:
    """Write the network with the signature serving_default: images uint8 [n, 28, 28] → probabilities float32 [n, 10]
    and class int32 [n].

    The function `serve`, which Keras' TFSMLayer calls, returns the probabilities alone. The weights are constants of
    the graph.
    """
    import tensorflow as tf

    images = tf.TensorSpec([None, 28, 28], tf.uint8, name="images")

    @tf.function(input_signature=[images], autograph=False)
    def predict(images: Any) -> dict[str, Any]:
        x = logits = tf.cast(images, tf.float32)
        for layer in layers:
            if layer.kind == "softmax":
                logits = x
            x = apply(layer, x)
        return {"probabilities": x, "class": tf.argmax(logits, axis=-1, output_type=tf.int32)}

    @tf.function(input_signature=[images], autograph=False)
    def serve(images: Any) -> Any:
        return predict(images)["probabilities"]

    module = tf.Module()
    module.serve = serve
    tf.saved_model.save(module, str(directory), signatures={"serving_default": predict})


def apply(layer: Layer, x: Any) -> Any:
    """Apply one layer with TensorFlow operators."""
    import tensorflow as tf

    if layer.kind == "scale":
        return x * np.float32(layer.number)
    if layer.kind == "flatten":
        return tf.reshape(x, [-1, int(np.prod(x.shape[1:]))])
    if layer.kind == "channel":
        return tf.reshape(x, [-1, 28, 28, 1])
    if layer.kind == "pool":
        size = int(layer.number)
        return tf.nn.max_pool2d(x, size, size, "VALID")
    if layer.kind == "softmax":
        return tf.nn.softmax(x)
    kernel, bias = layer.weights
    z = (tf.matmul(x, kernel) if layer.kind == "dense" else tf.nn.conv2d(x, kernel, 1, "VALID")) + bias
    return z if layer.activation == "linear" else getattr(tf.nn, layer.activation)(z)


def write_litert(saved_model: Path, file: Path, images: Array | None = None) -> None:
    """Convert a SavedModel to LiteRT, with the same signature, and with the probabilities as output 0.

    With `images`, uint8 [n, 28, 28], weights and activations are quantised to int8 (full-integer quantisation);
    the images calibrate the ranges of the activations and must not be test images. Input and output stay uint8 and
    float32.
    """
    import tensorflow as tf

    def calibration() -> Iterator[dict[str, Array]]:
        for image in images if images is not None else ():
            yield {"images": image[np.newaxis]}

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    if images is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = calibration
    file.write_bytes(with_output_order(converter.convert()))


def with_output_order(model: bytes) -> bytes:
    """Return a LiteRT model with its inputs and outputs named and ordered as in our other formats.

    The converter sorts the outputs of a signature by name, so `class` would come first, and names the tensors after the
    operators that compute them. But clients take output 0 for the probabilities.
    """
    from tensorflow.lite.tools import flatbuffer_utils

    content = flatbuffer_utils.convert_bytearray_to_object(model)
    (signature,), (graph,) = content.signatureDefs, content.subgraphs
    tensor_of = {each.name.decode(): each.tensorIndex for each in (*signature.inputs, *signature.outputs)}
    for name, tensor in tensor_of.items():
        graph.tensors[tensor].name = name
    graph.outputs = [tensor_of[name] for name in OUTPUTS]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(content))
