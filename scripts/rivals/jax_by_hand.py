"""The network in JAX alone, written by hand: an epoch is one `lax.scan`, Adam is ten lines."""

from stopwatch import Stopwatch

watch = Stopwatch(compiles=True)

import functools  # noqa: E402
import sys  # noqa: E402

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

watch.end("import")

file, epochs, batch_size, pixels = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
with np.load(file) as data:
    x_train, y_train, x_test, y_test = (jnp.asarray(data[name]) for name in ("x_train", "y_train", "x_test", "y_test"))
scale = 255.0 if pixels == "unit" else 1.0
x_train, x_test = x_train.astype(jnp.float32) / scale, x_test.astype(jnp.float32) / scale
watch.end("load")


def init(key, sizes=(784, 128, 64, 10)):
    keys = jax.random.split(key, len(sizes) - 1)
    limits = [(6 / (n + m)) ** 0.5 for n, m in zip(sizes, sizes[1:], strict=False)]
    return [
        (jax.random.uniform(k, (n, m), minval=-limit, maxval=limit), jnp.zeros(m))
        for k, n, m, limit in zip(keys, sizes, sizes[1:], limits, strict=False)
    ]


def logits_of(weights, images):
    x = images.reshape(len(images), 784)
    for w, b in weights[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = weights[-1]
    return x @ w + b


def loss_of(weights, images, labels, used):
    each = -(jax.nn.one_hot(labels, 10) * jax.nn.log_softmax(logits_of(weights, images))).sum(1)
    return (each * used).sum() / used.sum()


def adam(weights, slopes, m, v, t, rate=1e-3, b1=0.9, b2=0.999, small=1e-7):
    m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, slopes)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, v, slopes)
    size = rate * jnp.sqrt(1 - b2**t) / (1 - b1**t)
    weights = jax.tree.map(lambda w, m, v: w - size * m / (jnp.sqrt(v) + small), weights, m, v)
    return weights, m, v


@functools.partial(jax.jit, donate_argnums=0)
def train_epoch(state, order, x, y):
    def step(state, chosen):
        weights, m, v, t = state
        used = chosen >= 0  # the last batch may be smaller
        loss, slopes = jax.value_and_grad(loss_of)(weights, x[chosen], y[chosen], used)
        return (*adam(weights, slopes, m, v, t + 1), t + 1), loss

    return jax.lax.scan(step, state, order)


steps = -(-len(x_train) // batch_size)
random = np.random.default_rng(0)
weights = init(jax.random.key(0))
state = (weights, jax.tree.map(jnp.zeros_like, weights), jax.tree.map(jnp.zeros_like, weights), jnp.float32(0))
watch.end("compile")

for _ in range(epochs):
    watch.epoch_begins()
    order = np.full(steps * batch_size, -1, np.int32)
    order[: len(x_train)] = random.permutation(len(x_train))
    state, losses = train_epoch(state, order.reshape(steps, batch_size), x_train, y_train)
    jax.block_until_ready((state, losses))
    watch.epoch_ends()
watch.end("train")

accuracy = (jax.jit(logits_of)(state[0], x_test).argmax(1) == y_test).mean()
accuracy = float(accuracy)
watch.end("evaluate")

(device,) = x_train.devices()
platform = {"cuda": "GPU", "rocm": "GPU"}.get(device.platform, device.platform.upper())
watch.tell(steps, accuracy, "CPU" if platform == "CPU" else f"{platform}: {device.device_kind}")
