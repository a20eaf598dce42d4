"""A process that loads one exported file with its own runtime, and nothing else, and predicts images with it.

It takes inputs and outputs as the usual clients of the runtime do: ONNX and LiteRT by position, a SavedModel by name.

python -m mnist_mlp.export.verify_worker FORMAT FILE IMAGES ANSWERS
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mnist_mlp.cli import program
from mnist_mlp.cli.load_framework import importing
from mnist_mlp.models.portable import Array

TIMED = (1, 256)  # batch sizes of the timed calls
SINGLE = 100  # number of calls with one image
Call = Callable[[Array], tuple[Any, Any]]  # uint8 [n, 28, 28] → probabilities [n, 10], class [n]


def main(argv: Sequence[str]) -> None:
    name, file, images, answers = argv
    call, runtime = READERS[name.removesuffix("_int8")](Path(file))
    predictions: dict[str, Any] = predict(call, np.load(images)["images"])
    np.savez(answers, **predictions, runtime=np.array(runtime))


def predict(call: Call, images: Array) -> dict[str, Array]:
    """Predict the images in batches of 1, 3, 256 and the rest, which shows that the batch dimension is free.

    Return probabilities [n, 10] and classes [n], and the sizes [calls] and seconds [calls] of all calls, measured from
    images in memory to predictions in memory. An unmeasured call of each size comes first: some runtimes prepare then.
    """
    parts = list(sizes(len(images)))
    for size in dict.fromkeys(parts):
        call(images[:size])
    probabilities, classes, seconds, start = [], [], [], 0
    for size in parts:
        part = images[start : start + size]
        began = time.perf_counter()
        shares, labels = call(part)
        seconds.append(time.perf_counter() - began)
        probabilities.append(np.asarray(shares))
        classes.append(np.asarray(labels))
        start += size
    return {
        "probabilities": np.concatenate(probabilities),
        "classes": np.concatenate(classes),
        "sizes": np.array(parts),
        "seconds": np.array(seconds),
    }


def sizes(n: int) -> Iterator[int]:
    """Yield the batch sizes for n images: 1, 1, …, 3, 256, 256, …, the rest."""
    one, many = TIMED
    for size in [one] * SINGLE + [3] + [many] * (n // many + 1):
        if n > 0:
            yield min(size, n)
        n -= size


def read_saved_model(file: Path) -> tuple[Call, str]:
    import tensorflow as tf

    serve = tf.saved_model.load(str(file)).signatures["serving_default"]

    def call(images: Array) -> tuple[Any, Any]:
        outputs = serve(images=tf.constant(images))
        return outputs["probabilities"].numpy(), outputs["class"].numpy()

    return call, f"tensorflow {tf.__version__}"


def read_onnx(file: Path) -> tuple[Call, str]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def call(images: Array) -> tuple[Any, Any]:
        probabilities, classes = session.run(None, {name: images})
        return probabilities, classes

    return call, f"onnxruntime {onnxruntime.__version__}"


def read_litert(file: Path) -> tuple[Call, str]:
    import importlib.metadata

    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(file), num_threads=os.cpu_count())
    index = interpreter.get_input_details()[0]["index"]
    probabilities, classes = (details["index"] for details in interpreter.get_output_details())

    def call(images: Array) -> tuple[Any, Any]:
        interpreter.resize_tensor_input(index, images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(index, images)
        interpreter.invoke()
        return interpreter.get_tensor(probabilities), interpreter.get_tensor(classes)

    return call, f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}"


def read_keras(file: Path) -> tuple[Call, str]:
    with importing():
        import keras

    from mnist_mlp.models.keras_file import load

    model = load(file)

    def call(images: Array) -> tuple[Any, Any]:
        probabilities = model.predict_on_batch(images)
        return probabilities, probabilities.argmax(axis=-1)

    return call, f"keras {keras.__version__} on {keras.backend.backend()}"


def read_weights(file: Path) -> tuple[Call, str]:
    from mnist_mlp.models import numpy_forward, portable

    layers = portable.read(file)

    def call(images: Array) -> tuple[Any, Any]:
        probabilities = numpy_forward.probabilities(layers, images)
        return probabilities, probabilities.argmax(axis=-1)

    return call, f"numpy {np.__version__}"


READERS: dict[str, Callable[[Path], tuple[Call, str]]] = {
    "saved_model": read_saved_model,
    "onnx": read_onnx,
    "litert": read_litert,
    "keras": read_keras,
    "weights": read_weights,
}


if __name__ == "__main__":
    program.run(main)
