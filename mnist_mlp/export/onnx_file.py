"""Write ONNX files layer by layer with the `onnx` package.

No converter is used: Keras 3.15 exports with tf2onnx on TensorFlow and with jax2onnx on JAX, so the graph of the same
run would depend on the backend. Our networks need a dozen operators, which every ONNX runtime has. The `onnx` package
needs neither framework, runs on Python 3.10 to 3.13 and accepts the protobuf versions that TensorFlow needs.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mnist_mlp.models.portable import Array, Layer

OPSET, IR_VERSION = 17, 8  # of 2022: runtimes read older files, and no newer operator is needed
QUANTISED = ["Conv", "Flatten", "Gemm", "MaxPool", "Relu", "Reshape", "Transpose"]  # the softmax stays in float32


class Graph:
    """The nodes and constants of a graph under construction; `x` is the name of the current value."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.x = "images"

    def add(self, operator: str, output: str, *constants: tuple[str, Array], **attributes: Any) -> str:
        """Append an operator on x and constants; its output becomes x."""
        from onnx import helper, numpy_helper

        self.constants += [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants]
        inputs = [self.x, *(name for name, _ in constants)]
        self.nodes.append(helper.make_node(operator, inputs, [output], name=f"{output}:{operator}", **attributes))
        self.x = output
        return output


def write(layers: Sequence[Layer], file: Path) -> None:
    """Write the network: images uint8 [n, 28, 28] → probabilities float32 [n, 10] and class int64 [n].

    Equal networks give equal bytes.
    """
    import onnx
    from onnx import TensorProto, helper

    graph = Graph()
    graph.add("Cast", "pixels", to=TensorProto.FLOAT)
    logits = ""
    for layer in layers:
        if layer.kind == "softmax":
            logits = graph.x
            graph.add("Softmax", "probabilities", axis=-1)
        else:
            append(graph, layer)
    graph.x = logits
    graph.add("ArgMax", "class", axis=-1, keepdims=0)
    outputs = [
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 10]),
        helper.make_tensor_value_info("class", TensorProto.INT64, ["n"]),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 28, 28])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "mnist_mlp", [images], outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="mnist_mlp",
    )
    onnx.checker.check_model(model, full_check=True)
    file.write_bytes(model.SerializeToString(deterministic=True))


def append(graph: Graph, layer: Layer) -> None:
    """Append the operators of one layer. ONNX orders images [n, channels, height, width], Keras channels last."""
    name = layer.name
    if layer.kind == "scale":
        graph.add("Mul", name, (f"{name}.factor", np.array(layer.number, "float32")))
    elif layer.kind == "channel":
        graph.add("Reshape", name, (f"{name}.shape", np.array([-1, 1, 28, 28])))
    elif layer.kind == "flatten":
        if any(node.op_type == "Conv" for node in graph.nodes):
            graph.add("Transpose", f"{name}.keras_order", perm=[0, 2, 3, 1])
        graph.add("Flatten", name, axis=1)
    elif layer.kind == "pool":
        window = [int(layer.number)] * 2
        graph.add("MaxPool", name, kernel_shape=window, strides=window)
    else:
        kernel, bias = layer.weights
        operator, kernel = ("Gemm", kernel) if layer.kind == "dense" else ("Conv", kernel.transpose(3, 2, 0, 1))
        linear = layer.activation == "linear"
        graph.add(operator, name if linear else f"{name}.sums", (f"{name}.kernel", kernel), (f"{name}.bias", bias))
        if not linear:
            graph.add(layer.activation.capitalize(), name)  # Relu, Sigmoid, Tanh


def quantise(source: Path, file: Path, images: Array) -> None:
    """Write `source` with int8 weights and activations (static quantisation, QDQ).

    `images`, uint8 [n, 28, 28], calibrate the ranges of the activations; they must not be test images.
    """
    logging.getLogger().setLevel(logging.ERROR)  # hides advice on preprocessing, which our graphs do not need
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Images(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            self.left = iter(images)

        def get_next(self) -> dict[str, Array] | None:
            image = next(self.left, None)
            return None if image is None else {"images": image[np.newaxis]}

    quantize_static(
        source,
        file,
        Images(),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=QUANTISED,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
