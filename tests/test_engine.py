"""The engines against each other and against NumPy."""

import contextlib
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from mnist_mlp import models, optimizers
from mnist_mlp.config import OPTIMIZERS
from mnist_mlp.data import Split, batch_order
from mnist_mlp.devices import Plan
from mnist_mlp.engine import Attached, calls, check_places
from mnist_mlp.engine.fit import FitEngine
from mnist_mlp.engine.tensorflow import TensorFlowEngine
from mnist_mlp.engine.tensorflow_devices import attach
from mnist_mlp.engine.tensorflow_programs import dropout_by_philox
from mnist_mlp.errors import UserError
from mnist_mlp.parity import oracle

ENGINES = {"compiled": TensorFlowEngine, "fit": FitEngine}
CPU = Attached("CPU")


def start(kind, model, split, batch_size, optimizer="adam", rate=None, xla=None):
    optimizer = optimizers.make_optimizer(optimizer, rate)
    attached = Attached("CPU", xla=xla)
    return ENGINES[kind](model, optimizer, {"train": split, "test": split}, batch_size, attached)


def weights(engine):
    return [variable.numpy().astype(np.float64) for variable in engine.model.trainable_variables]


def distance(a, b):
    """The largest relative distance of two lists of arrays, ‖a − b‖ / ‖b‖."""
    return max(np.linalg.norm(x - y) / np.linalg.norm(y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("name, l2", [("mlp", 0.0), ("mlp_l2", 1e-4), ("softmax", 0.0)])
def test_numpy_agrees_in_loss_and_gradients(kind, name, l2, digits):
    split = Split(digits.train.images[:153], digits.train.labels[:153])  # 4 batches of 32 and one of 25
    order = batch_order(0, 0, 153, 32)
    assert (order[-1] < 0).sum() == 7
    engine = start(kind, models.build(name), split, 32, "sgd", 0.5)
    for row in order:
        before = weights(engine)
        sums = engine.train(row[None])
        after = weights(engine)
        used = row[row >= 0]
        found = oracle.batch_pass(before, split.images[used].reshape(-1, 784) / 255, split.labels[used], l2=l2)
        assert sums.seen == len(used)
        assert sums.loss_sum / sums.seen == pytest.approx(found.losses.mean(), rel=1e-5)
        assert distance([(b - a) / 0.5 for a, b in zip(after, before, strict=True)], found.gradients) < 1e-4


@pytest.mark.parametrize(
    "name", ["mlp", "softmax", *(pytest.param(n, marks=pytest.mark.slow) for n in ("mlp_l2", "cnn"))]
)
def test_compiled_agrees_with_fit_after_100_steps(name, digits):
    """Three epochs of 45 steps, each with a ragged last batch."""
    ends = {}
    for kind in ENGINES:
        engine = start(kind, models.build(name, seed=1), digits.train, 32)
        for epoch in range(3):
            engine.train(batch_order(1, epoch, len(digits.train), 32))
        ends[kind] = weights(engine)
    start_weights = weights(start("fit", models.build(name, seed=1), digits.train, 32))
    assert distance(ends["fit"][:1], start_weights[:1]) > 0.01  # it has learned something
    assert distance(ends["compiled"], ends["fit"]) < 1e-5


@pytest.mark.parametrize("xla", [True, False])
def test_dropout_by_a_named_generator_draws_the_same_numbers(xla):
    """TensorFlow's own choice on a CPU is the one that is named; a version that chooses otherwise changes the run."""
    drop = tf.nn.experimental.stateless_dropout

    def draw(seed):
        return tf.nn.experimental.stateless_dropout(tf.ones((32, 65)), rate=0.2, seed=seed)

    for seed in ([0, 0], [5, 7], [2**31 + 5, 2**32 - 1]):
        unnamed = tf.function(draw, jit_compile=xla)(tf.constant(seed, tf.int64))
        with dropout_by_philox():
            assert tf.nn.experimental.stateless_dropout.keywords == {"rng_alg": "philox"}
            named = tf.function(draw, jit_compile=xla)(tf.constant(seed, tf.int64))
        np.testing.assert_array_equal(named, unnamed)
    assert tf.nn.experimental.stateless_dropout is drop


@pytest.mark.parametrize("name", ["mlp_l2", "mlp_dropout"])
def test_compiled_without_xla_is_fit_to_the_last_bit(name, digits):
    """The same kernels in the same order: what differs with XLA is rounding (and the bits that dropout draws)."""
    order = batch_order(2, 0, len(digits.train), 100)
    ends = []
    for kind, more in (("compiled", {"xla": False}), ("fit", {})):
        engine = start(kind, models.build(name), digits.train, 100, **more)
        engine.train(order[:-1])
        ends.append(engine.state())
    assert ends[0].keys() == ends[1].keys()
    for key in ends[0]:
        np.testing.assert_array_equal(ends[0][key], ends[1][key], err_msg=key)


def test_the_cut_into_calls_changes_nothing(digits):
    order = batch_order(0, 0, len(digits.train), 8)
    found = []
    for cuts in ([0, len(order)], [0, 1, 2, 70, 71, 150, len(order)]):
        engine = start("compiled", models.build("mlp_dropout"), digits.train, 8)
        parts = [engine.train(order, *cut) for cut in zip(cuts, cuts[1:], strict=False)]
        losses = np.concatenate([part.losses for part in parts])
        found.append((losses, sum(part.correct for part in parts), sum(part.seen for part in parts), engine.state()))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1:3] == found[1][1:3] and found[0][2] == len(digits.train)
    for key, value in found[0][3].items():
        np.testing.assert_array_equal(value, found[1][3][key])


def test_a_call_lasts_about_a_second():
    pace = calls.Pace()
    made = []
    for start_at, stop in calls.pieces(1000, pace):
        made.append(stop - start_at)
        pace.took = lambda steps, seconds: setattr(pace, "steps", 300)
    assert made == [8, 300, 300, 300, 92]
    pace = calls.Pace()
    pace.took(8, 0.001)
    assert pace.steps == 8 * calls.GROWTH
    pace.took(1600, 0.5)
    assert pace.steps == 3200
    pace.took(10, 30.0)
    assert pace.steps == 1
    assert list(calls.pieces(1000, None)) == [(0, 1000)]


@pytest.mark.parametrize("kind", ENGINES)
def test_padding_has_no_weight(kind, digits):
    """A step that is mostly padding is the step on its real examples alone."""
    row = np.full((1, 32), -1, np.int32)
    row[0, :3] = [5, 6, 7]
    padded, short = (start(kind, models.build("mlp"), digits.train, 32, "sgd", 0.1) for _ in range(2))
    padded.train(row)
    short.train(row[:, :3])
    assert distance(weights(padded), weights(short)) < 1e-6


@pytest.fixture(scope="module")
def untrained():
    """An untrained network, 10,000 random images, and their confusion matrix, counted without any engine."""
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 256, (10000, 28, 28), np.uint8), rng.integers(0, 10, 10000, np.uint8))
    model = models.build("mlp", seed=3)
    found = model.predict(split.images, batch_size=1000, verbose=0).argmax(1)
    expected = np.zeros((10, 10), np.int64)
    np.add.at(expected, (split.labels, found), 1)
    assert (expected.sum(0) > 0).sum() > 3  # it does not take all for one class
    return model, split, expected


BATCH_SIZES = [7, 20000, *(pytest.param(size, marks=pytest.mark.slow) for size in (1, 32, 333, 4096, 10000))]


def test_fit_refuses_an_order_that_it_would_cut_otherwise(digits):
    engine = start("fit", models.build("softmax"), digits.train, 2)
    with pytest.raises(ValueError, match="padding at the end"):
        engine.train(np.array([[0, -1], [1, 2]], np.int32))


def test_a_step_without_examples_leaves_the_weights_whole(digits):
    engine = start("compiled", models.build("mlp"), digits.train, 4, "sgd")
    before = weights(engine)
    engine.train(np.full((1, 4), -1, np.int32))
    assert distance(weights(engine)[::2], before[::2]) == 0


def test_a_gpu_that_tensorflow_cannot_use_is_refused_or_told():
    """Here TensorFlow has no GPU, whatever the plan says."""
    environment = {"KERAS_BACKEND": "tensorflow"}
    attached = attach(Plan("tensorflow", "gpu", "auto", environment), 1)
    assert attached.kind == "CPU"
    assert "this run is on the CPU; type pip install 'tensorflow[and-cuda]'" in attached.notes[0]
    with pytest.raises(UserError, match="--strategy=gpu: TensorFlow .* can use none of the GPUs of this machine"):
        attach(Plan("tensorflow", "gpu", "gpu", environment), 1)


def test_a_program_that_ran_elsewhere_is_refused(digits):
    engine = TensorFlowEngine(models.build("softmax"), None, {"test": digits.test}, 32, Attached("GPU: made up"))
    with pytest.raises(UserError, match="expected the weights on GPU: made up .*, found CPU:0; type python -m"):
        engine.compile()


@pytest.mark.parametrize(
    "weights_on, step_on, words",
    [
        (["GPU:0", "GPU:1"], ["GPU:0", "GPU:1"], ""),
        (["GPU:0", "GPU:1"], ["GPU:0", "CPU:0"], "expected the compiled step on GPU: 2 × X .*, found GPU:0, CPU:0"),
        (["CPU:0", "GPU:1"], ["GPU:0", "GPU:1"], "expected the weights on GPU: 2 × X .*, found CPU:0, GPU:1"),
        (["GPU:0"], ["GPU:0", "GPU:1"], "expected the weights on GPU: 2 × X .2 replicas., found GPU:0"),
        (["GPU:0", "GPU:1"], [], "expected the compiled step on GPU: 2 × X .2 replicas., found"),
    ],
)
def test_what_ended_elsewhere_is_an_error(weights_on, step_on, words):
    attached = Attached("GPU: 2 × X", replicas=2)
    engine = SimpleNamespace(attached=attached, weights_on=weights_on, step_on=step_on)
    with pytest.raises(UserError, match=words) if words else contextlib.nullcontext():
        check_places(engine)


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_every_test_image_counts_once(batch_size, untrained):
    model, split, expected = untrained
    counts = TensorFlowEngine(model, None, {"test": split}, batch_size, CPU).evaluate("test")
    np.testing.assert_array_equal(counts.confusion, expected)
    assert counts.total == 10000


@pytest.mark.parametrize("batch_size", [333, 20000])
@pytest.mark.slow
def test_the_oracle_counts_every_image_once_too(batch_size, untrained):
    model, split, expected = untrained
    counts = FitEngine(model, None, {"test": split}, batch_size, CPU).evaluate("test")
    np.testing.assert_array_equal(counts.confusion, expected)


@pytest.mark.parametrize("kind", ENGINES)
def test_predictions_are_probabilities_and_agree_with_the_counts(kind, digits):
    engine = start(kind, models.build("mlp"), digits.train, 50)
    engine.train(batch_order(0, 0, len(digits.train), 50))
    found = engine.predict(digits.train.images)
    assert found.shape == (1437, 10) and found.dtype == np.float32
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    assert (found.argmax(1) == digits.train.labels).sum() == engine.evaluate("train").correct


@pytest.mark.slow
def test_state_and_restore_go_on_to_the_same_weights(digits):
    order = batch_order(0, 0, len(digits.train), 32)
    straight = start("compiled", models.build("mlp_dropout"), digits.train, 32)
    straight.train(order[:20])
    middle = straight.state()
    straight.train(order[20:])
    resumed = start("compiled", models.build("mlp_dropout", seed=9), digits.train, 32)
    resumed.restore(middle)
    resumed.train(order[20:])
    for key, value in straight.state().items():
        np.testing.assert_array_equal(value, resumed.state()[key], err_msg=key)


def test_zero_weights_learn_nothing_but_the_class_frequencies(digits):
    engine = start("compiled", models.build("mlp_zeros"), digits.train, 32)
    engine.train(batch_order(0, 0, len(digits.train), 32))
    *hidden, logits_kernel, logits_bias = weights(engine)
    assert not any(w.any() for w in hidden) and not logits_kernel.any() and logits_bias.any()


def test_xla_is_off_where_it_is_slower(digits):
    on = {name: start("compiled", models.build(name), digits.train, 32).xla for name in ("mlp", "cnn")}
    assert on == {"mlp": True, "cnn": False}


@pytest.mark.parametrize("name", sorted(set(OPTIMIZERS) - {"adam"}))
@pytest.mark.slow
def test_other_optimizers_train_in_one_program(name, digits):
    ends = []
    try:
        optimizers.make_optimizer(name, None)
    except UserError:
        pytest.skip(f"this Keras has no {name}")
    for kind in ENGINES:
        engine = start(kind, models.build("softmax"), digits.train, 32, name)
        engine.train(batch_order(0, 0, len(digits.train), 32)[:10])
        ends.append(weights(engine))
    assert distance(*ends) < 1e-3
    assert keras.ops.all(keras.ops.isfinite(ends[0][0]))
