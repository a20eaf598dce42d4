"""`--augment robust` against NumPy in float64, image by image: equal to the last bit, so all products are exact."""

import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.fork_server import run_code

from mnist_mlp.engine import augmentation
from mnist_mlp.engine.disturbance import DRAWS, WORDS, disturb

pytestmark = pytest.mark.numerics
Y, X = np.mgrid[0:28, 0:28].astype(float)


def whole(values):
    return np.clip(np.round(values), 0, 255)


def blurred(image):
    framed = np.pad(image, 1)
    weights = [1, 2, 1]
    parts = [a * b * framed[i : i + 28, j : j + 28] for i, a in enumerate(weights) for j, b in enumerate(weights)]
    return whole(sum(parts) / 16)


def stroke(row, column, angle, length, width, ink):
    cos, sin = (round(f(2 * math.pi * angle / 256) * 256) / 256 for f in (math.cos, math.sin))
    down, across = Y - row * 7 // 8 / 8, X - column * 7 // 8 / 8
    beside, along = np.abs(cos * down - sin * across), np.abs(sin * down + cos * across)
    edge = np.floor(np.clip(1 + width // 16 / 16 - beside, 0, 1) * 256) / 256
    return whole(edge * (96 + ink * 5 // 8)) * (along <= 2 + length // 16)


def expected(image, draws):
    """One image, disturbed as its words say: their first bytes, in order."""
    words = iter((draws[:WORDS] >> 24).tolist())
    calm, blur, twice, covered, tinted, noisy, *struck = (next(words) for _ in range(8))
    strokes = [[next(words) for _ in range(6)] for _ in range(2)]
    cover, paper, strength = [next(words) for _ in range(6)], [next(words) for _ in range(4)], next(words)
    if calm < 64:
        return image
    if blur < 64:
        image = blurred(image) if twice < 128 else blurred(blurred(image))
    for chance, numbers in zip(struck, strokes, strict=True):
        if chance < 80:
            image = np.maximum(image, stroke(*numbers))
    if covered < 80:
        row, column, height, width, empty, grey = cover
        inside = (np.abs(Y - row * 7 // 64) <= 1 + height // 32) & (np.abs(X - column * 7 // 64) <= 1 + width // 32)
        image = np.where(inside, 0 if empty < 80 else grey, image)
    if tinted < 140:
        grey, right, below, left = paper
        shade = whole(grey * 5 // 8 + (right - 128) // 8 / 4 * (X - 13.5) + (below - 128) // 8 / 4 * (Y - 13.5))
        image = whole(shade + np.round((255 - shade) * (1 - left * 5 // 8 / 256)) * image / 256)
    if noisy < 128:
        sums = draws[WORDS:].astype("<u4").view(np.uint8).reshape(784, 4).sum(1, dtype=int) - 510
        image = whole(image + sums.reshape(28, 28) * (strength * 3 // 8) / 256)
    return image


def words(count, seed=0):
    return np.random.default_rng(seed).integers(0, 2**32, (count, DRAWS), np.uint32)


def test_as_numpy_has_it(digits, full):
    count = 400 if full else 150
    images, draws = digits.train.images[:count].astype("float32"), words(count)
    compiled = tf.function(disturb, autograph=False)
    found = [keras.ops.convert_to_numpy(each(images, draws)) for each in (disturb, compiled)]
    wanted = np.stack([expected(*pair) for pair in zip(images.astype(float), draws, strict=True)])
    for each in found:
        np.testing.assert_array_equal(each, wanted)
    np.testing.assert_array_equal(wanted, np.round(wanted))
    assert wanted.min() == 0 and wanted.max() == 255
    unchanged = (wanted == images).all((1, 2)).mean()
    assert 0.25 < unchanged < 0.5  # the calm ones, and those that no chance has hit
    assert np.abs(wanted - images).mean() > 15


@pytest.mark.slow
def test_as_numpy_has_it_on_jax_and_as_tensorflow_has_it(digits):
    code = """
import json, jax, numpy as np
from mnist_mlp.config import Config
from mnist_mlp.data.dataset import load
from mnist_mlp.engine.augmentation import distort
images = load(Config(dataset="digits")).train.images[:60].astype("float32")
found = jax.jit(lambda images, index: distort(images, "robust", 7, 9, index))(images, np.arange(60, dtype=np.int32))
print(json.dumps(np.asarray(found).astype(int).tolist()))
"""
    done = run_code(code, backend="jax")
    assert done.returncode == 0, done.stderr
    images, index = digits.train.images[:60].astype("float32"), np.arange(60, dtype=np.int32)
    found = keras.ops.convert_to_numpy(augmentation.distort(images, "robust", 7, 9, index))
    np.testing.assert_array_equal(json.loads(done.stdout.splitlines()[-1]), found)
    moved = augmentation.UNIFORM_DRAWS + 2 * augmentation.MODES**2
    draws = keras.ops.convert_to_numpy(augmentation.random_words(7, 9, index, moved + DRAWS))
    calm = draws[:, moved] >> 24 < 64
    assert 5 < calm.sum() < 30 and (found[calm][:, 0, 0] == 0).all()  # their paper stays white
