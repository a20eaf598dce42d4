"""A floor for one step: its eight matrix products in NumPy's BLAS, and one pass of Adam in C. It learns nothing.

Three products forward, five backward (none for the gradient of the pixels), each into memory that is there already;
no batch is gathered, no bias added, no activation, loss or sum computed.
"""

from stopwatch import Stopwatch

watch = Stopwatch()

import ctypes  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

watch.end("import")

file, epochs, batch_size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with np.load(file) as data:
    images = len(data["y_train"])
steps = -(-images // batch_size)
watch.end("load")

with tempfile.TemporaryDirectory() as place:
    library = Path(place) / "adam.so"
    source = Path(__file__).with_name("adam.c")
    # -ffast-math: without it the square root is not vectorised, and the floor would be too high.
    options = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
    subprocess.run(["cc", *options, str(source), "-o", str(library), "-lm"], check=True)
    adam = ctypes.CDLL(str(library)).adam
pointer = ctypes.POINTER(ctypes.c_float)
adam.argtypes, adam.restype = [ctypes.c_long, *[pointer] * 4, ctypes.c_float], None

random = np.random.default_rng(0)
draw = lambda *shape: random.standard_normal(shape, np.float32)  # noqa: E731
sizes = (784, 128, 64, 10)
x, *a = (draw(batch_size, size) for size in sizes)  # activations
w = [draw(n, m) for n, m in zip(sizes, sizes[1:], strict=False)]
da = [np.empty_like(each) for each in a]  # their gradients
da[2][:] = draw(batch_size, 10)
dw = [np.empty_like(each) for each in w]
count = sum(n * m + m for n, m in zip(sizes, sizes[1:], strict=False))  # 109,386
state = [np.abs(draw(count)) for _ in range(4)]
pointers = [each.ctypes.data_as(pointer) for each in state]


def step() -> None:
    np.matmul(x, w[0], out=a[0])
    np.matmul(a[0], w[1], out=a[1])
    np.matmul(a[1], w[2], out=a[2])
    np.matmul(a[1].T, da[2], out=dw[2])
    np.matmul(da[2], w[2].T, out=da[1])
    np.matmul(a[0].T, da[1], out=dw[1])
    np.matmul(da[1], w[1].T, out=da[0])
    np.matmul(x.T, da[0], out=dw[0])
    adam(count, *pointers, 0.001)


watch.end("compile")
for _ in range(epochs):
    watch.epoch_begins()
    for _ in range(steps):
        step()
    watch.epoch_ends()
watch.end("train")
watch.tell(steps, None)
