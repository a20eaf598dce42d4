"""The distortions against NumPy and plain Python, and what they must leave alone."""

import dataclasses
import functools
import json
import math

import keras
import numpy as np
import pytest
from helpers.fork_server import run_code
from helpers.programs import Collector
from PIL import Image

from mnist_mlp.config import AUGMENT, Config
from mnist_mlp.data.batches import batch_indices
from mnist_mlp.engine import augmentation
from mnist_mlp.engine.augmentation import STRENGTHS, Strength, distort
from mnist_mlp.engine.base import DeviceSet, Recipe
from mnist_mlp.engine.keras_fit import FitEngine
from mnist_mlp.engine.tensorflow.engine import TensorFlowEngine
from mnist_mlp.models import networks
from mnist_mlp.train import train_and_evaluate
from mnist_mlp.training import optimizers

pytestmark = pytest.mark.numerics

KINDS = tuple(STRENGTHS)
WORD = 2**32


def scrambled(word):
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        word = (word ^ (word >> shift)) * factor % WORD
    return word ^ (word >> 16)


def random_words(seed, step, index, count):
    """The words of one example, in Python's whole numbers."""
    key = scrambled(index ^ scrambled(step ^ scrambled(seed)))
    return [scrambled((key + place * 0x9E3779B9) % WORD) for place in range(1, count + 1)]


def grid(value, bits=10):
    return np.round(np.asarray(value) * 2**bits) / 2**bits


def as_it_is(value, bits=10):
    return np.asarray(value)


def fields(kind, seed, step, index, grid=grid):
    """How far each pixel of one image is displaced, float64 [28, 28] twice: across and down.

    As it is with `grid=as_it_is`; else with all that goes into a product rounded, as float32 needs it to be exact.
    """
    strength, modes = STRENGTHS[kind], augmentation.MODES
    words = random_words(seed, step, index, 6 + 2 * modes**2)
    to_right, to_below, turn, wide, high, lean = ((2 * (word >> 24) - 255) / 256 for word in words[:6])
    if strength.whole:
        n = int(2 * strength.shift + 1)
        return [np.full((28, 28), math.floor(n * (u + 1) / 2) - strength.shift) for u in (to_right, to_below)]
    angle = math.radians(strength.degrees * turn)
    cos, sin = grid(math.cos(angle)), grid(math.sin(angle))
    sheared_and_turned = grid(np.array([[cos, -sin], [sin, cos]]) @ [[1, grid(strength.shear * lean)], [0, 1]])
    matrix = grid(np.diag(grid([1 + strength.scale * wide, 1 + strength.scale * high])) @ sheared_and_turned)
    y, x = np.mgrid[0:28, 0:28] - 13.5
    across = matrix[0, 0] * x + matrix[0, 1] * y - x + grid(strength.shift * to_right)
    down = matrix[1, 0] * x + matrix[1, 1] * y - y + grid(strength.shift * to_below)
    if strength.wave:
        sums = np.array([sum(word.to_bytes(4, "little")) - 510 for word in words[6:]]).reshape(2, modes, modes)
        across, down = (f + wave(strength, s, grid) for f, s in ((across, sums[0]), (down, sums[1])))
    return [grid(across, 8), grid(down, 8)]


def wave(strength, sums, grid):
    """A random sum of cosines, each weakened as by a Gaussian, of mean variance `strength.wave` squared."""
    shapes = waves_of(strength, *sums.shape)
    deviation = math.sqrt(4 * (256**2 - 1) / 12)  # of the sum of four bytes
    return sum(s * each for s, each in zip(sums.ravel(), grid(shapes / deviation, 18), strict=True))


@functools.cache
def waves_of(strength, *shape):
    """What each sum of bytes is multiplied with: float64 [n, 28, 28]."""
    waves, place = [], (np.arange(28) + 0.5) / 28
    for i, j in np.ndindex(shape):
        one = np.outer(np.cos(np.pi * i * place), np.cos(np.pi * j * place))
        one *= math.sqrt(2) ** ((i > 0) + (j > 0))
        waves.append(one * math.exp(-((strength.smooth * np.pi / 28) ** 2) * (i**2 + j**2) / 2))
    return np.array(waves) * strength.wave / math.sqrt((np.array(waves) ** 2).sum(0).mean())


def sampled(image, across, down):
    """The image at displaced places, bilinearly; 0 outside."""
    framed = np.zeros((28 + 200, 28 + 200))
    framed[100:128, 100:128] = image
    found = np.zeros((28, 28))
    for y, x in np.ndindex(28, 28):
        at_y, at_x = y + 100 + down[y, x], x + 100 + across[y, x]
        top, left = int(at_y), int(at_x)
        square = framed[top : top + 2, left : left + 2]
        found[y, x] = [1 - (at_y - top), at_y - top] @ square @ [1 - (at_x - left), at_x - left]
    return found


def expected(images, kind, seed, step, index):
    return np.stack([sampled(i, *fields(kind, seed, step, int(k))) for i, k in zip(images, index, strict=True)])


INDEX = np.array([0, 3, 1436, 59_999], np.int32)


def images_of(what, digits):
    """Digits, with nothing near the edge, or what has ink up to it."""
    edges = {"white": np.full((4, 28, 28), 255), "noise": np.random.default_rng(0).integers(0, 256, (4, 28, 28))}
    return {"digits": digits.train.images[:4], **edges}[what].astype("float32")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "what, seed, step", [("digits", 0, 0), ("digits", 7, 2**20), ("white", WORD - 1, 1), ("noise", 1, 2)]
)
def test_as_numpy_has_it(kind, what, seed, step, digits):
    images = images_of(what, digits)
    found = keras.ops.convert_to_numpy(distort(images, kind, seed, step, INDEX))
    assert np.abs(found - images).mean() > 5  # it does something
    np.testing.assert_array_equal(found, expected(images, kind, seed, step, INDEX))


@pytest.mark.parametrize("kind", KINDS)
def test_the_grid_is_fine_enough(kind, full):
    """What it moves is far below what a bilinear image shows, and there is no room lost: products stay exact."""
    for index in range(300 if full else 100):
        for found, exact in zip(fields(kind, 5, 6, index), fields(kind, 5, 6, index, as_it_is), strict=True):
            np.testing.assert_allclose(found, exact, atol=0.03)
    strength = STRENGTHS[kind]
    largest = 510 * np.abs(augmentation.elastic(strength)).sum(0).max() if strength.wave else 0
    assert 2 * largest < 2**24 / 2**18


@pytest.mark.slow
def test_as_numpy_has_it_on_jax(digits):
    code = """
import json, sys, jax, numpy as np
from mnist_mlp.config import Config
from mnist_mlp.data.dataset import load
from mnist_mlp.engine.augmentation import STRENGTHS, distort
images, index = load(Config(dataset="digits")).train.images[:4].astype("float32"), np.array(json.loads(sys.argv[1]))
compiled = {kind: jax.jit(lambda *of, kind=kind: distort(of[0], kind, 7, 9, of[1])) for kind in STRENGTHS}
print(json.dumps({kind: np.asarray(of(images, index)).tolist() for kind, of in compiled.items()}))
"""
    done = run_code(code, json.dumps(INDEX.tolist()), backend="jax")
    assert done.returncode == 0, done.stderr
    for kind, found in json.loads(done.stdout.splitlines()[-1]).items():
        images = digits.train.images[:4].astype("float32")
        np.testing.assert_array_equal(found, expected(images, kind, 7, 9, INDEX))


def test_the_flag_has_each_kind():
    assert augmentation.KINDS == AUGMENT


def test_known_words():
    """Of the hash, by hand: a change of it would change every run."""
    found = keras.ops.convert_to_numpy(augmentation.random_words(1, 2, np.array([3], np.int32), 3))[0].tolist()
    assert found == random_words(1, 2, 3, 3) == [601243762, 1861410110, 4108338714]


def test_the_draws_are_even_and_normal():
    words = augmentation.random_words(5, 11, np.arange(20_000, dtype=np.int32), 12)
    columns = [augmentation.uniform(words[:, i], augmentation.LEVELS) for i in range(12)]
    even = np.concatenate([keras.ops.convert_to_numpy(column)[:, 0] for column in columns], axis=1)
    normal = keras.ops.convert_to_numpy(augmentation.normal(words)) / augmentation.DEVIATION
    assert -1 <= even.min() < -0.99 and 0.99 < even.max() < 1 and len(np.unique(even)) == 256
    np.testing.assert_allclose(even.mean(0), 0, atol=0.02)
    np.testing.assert_allclose(even.var(0), 1 / 3, atol=0.01)
    np.testing.assert_allclose(normal.mean(0), 0, atol=0.03)
    np.testing.assert_allclose(normal.var(0), 1, atol=0.04)
    for draws in (even, normal):
        others = np.corrcoef(draws.T) - np.eye(12)
        assert np.abs(others).max() < 0.04  # of independent ones the deviation is 0.007
        assert abs(np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]) < 0.04  # from example to example


@pytest.mark.slow
def test_an_elastic_displacement_is_as_strong_as_it_says(monkeypatch):
    """Of a ramp the distorted image is the displacement itself."""
    monkeypatch.setitem(STRENGTHS, "elastic", Strength(wave=1.5, smooth=5.0))
    ramp = np.broadcast_to(np.arange(28, dtype="float32"), (4000, 28, 28))
    moved = keras.ops.convert_to_numpy(distort(ramp, "elastic", 0, 0, np.arange(4000, dtype=np.int32)))
    displaced = (moved - ramp)[:, 8:20, 8:20]  # where no edge is near
    centre = augmentation.basis(5.0).reshape(-1, 28, 28)[:, 8:20, 8:20]
    assert displaced.std() == pytest.approx(1.5 * math.sqrt((centre**2).sum(0).mean()), rel=0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_background_stays_and_no_value_is_new(kind):
    index = np.arange(64, dtype=np.int32)
    full = np.full((64, 28, 28), 255, "float32")
    found = keras.ops.convert_to_numpy(distort(full, kind, 3, 4, index))
    assert found.min() == 0 and found.max() == 255
    assert (found[:, 10:18, 10:18] == 255).all()
    empty = keras.ops.convert_to_numpy(distort(0 * full, kind, 3, 4, index))
    assert (empty == 0).all()


def test_an_example_looks_otherwise_in_each_step_and_for_each_seed(digits):
    images, index = digits.train.images[:8].astype("float32"), np.arange(8, dtype=np.int32)
    seen = [
        keras.ops.convert_to_numpy(distort(images, "affine", *key, index)) for key in ((0, 0), (0, 1), (1, 0), (0, 0))
    ]
    np.testing.assert_array_equal(seen[0], seen[3])
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (np.abs(seen[one] - seen[other]).reshape(8, -1).max(1) > 20).all()
    again = keras.ops.convert_to_numpy(distort(images[::-1], "affine", 0, 0, index[::-1]))
    np.testing.assert_array_equal(again[::-1], seen[0])  # the place in a batch does not count


# ---- in the engines ----


def start(engine_class, digits, recipe):
    """An engine with a network that has no edges: rounding changes it as little as it changes the numbers."""
    model, optimizer = networks.build("softmax", seed=1), optimizers.make_optimizer("adam", None)
    return engine_class(model, optimizer, {"train": digits.train}, 32, DeviceSet("CPU"), recipe)


def after_two_epochs(engine, digits):
    """The weights after the first ten steps of two epochs, and the mean loss in the second of them."""
    for epoch in range(2):
        sums = engine.train(batch_indices(1, epoch, len(digits.train), 32)[:10])
    weights = [variable.numpy().ravel() for variable in engine.model.trainable_variables]
    return np.concatenate(weights), sums.loss_sum / sums.seen


@pytest.fixture(scope="module")
def undistorted(digits):
    return after_two_epochs(start(TensorFlowEngine, digits, Recipe()), digits)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("elastic", 0.1, 5),
        pytest.param(Recipe("shift", seed=6), marks=pytest.mark.full),
        pytest.param(Recipe("none", 0.2), marks=pytest.mark.full),
    ],
)
def test_compiled_agrees_with_fit(recipe, digits, undistorted):
    """Model.fit, on images that are distorted beforehand, one step's after the other."""
    found, loss = after_two_epochs(start(TensorFlowEngine, digits, recipe), digits)
    fit, loss_of_fit = after_two_epochs(start(FitEngine, digits, recipe), digits)
    size = np.linalg.norm(fit)
    assert np.linalg.norm(undistorted - fit) / size > 0.005  # the recipe makes a difference
    assert np.linalg.norm(found - fit) / size < 5e-6
    assert loss == pytest.approx(loss_of_fit, rel=1e-5)


@pytest.mark.slow
def test_another_seed_needs_no_new_program(digits):
    engine = start(TensorFlowEngine, digits, Recipe("affine"))
    batches, at_start = batch_indices(0, 0, len(digits.train), 32), engine.state()
    found = []
    for seed in (0, 2**32 - 1, 0):
        engine.seed = seed
        engine.restore(at_start)
        found.append(engine.train(batches).losses)
    np.testing.assert_array_equal(found[0], found[2])
    assert np.abs(found[0] - found[1]).max() > 0.1


# ---- the picture ----


@pytest.mark.slow
def test_the_picture_shows_what_the_engine_sees(digits, tmp_path):
    config = Config(dataset="digits", model="softmax", epochs=0, augment="elastic", seed=3, strategy="cpu")
    config, told = dataclasses.replace(config, backend="tensorflow", engine="fit"), []
    train_and_evaluate(config, tmp_path / "run", reporter=Collector(told))
    assert "recipe   elastic distortions (distortions.png)\n" in told[0]
    with Image.open(tmp_path / "run" / "distortions.png") as file:
        picture = 255 - np.asarray(file)
    for row, column in ((0, 0), (9, 0), (2, 1), (7, 11)):
        first = int(np.argmax(digits.train.labels == row))
        image = digits.train.images[first].astype("float64")
        if column:
            image = sampled(image, *fields("elastic", 3, column - 1, first))
        x, y = 4 + column * 60 + (8 if column else 0), 4 + row * 60
        found = picture[y : y + 56 : 2, x : x + 56 : 2]
        np.testing.assert_array_equal(found, np.round(image))
