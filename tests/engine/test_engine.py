"""The engines against each other and against NumPy."""

import contextlib
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from helpers import steps
from helpers.steps import FLOAT32

from mnist_mlp.config import OPTIMIZERS
from mnist_mlp.data import Split
from mnist_mlp.data.batches import batch_indices
from mnist_mlp.devices import Plan
from mnist_mlp.engine import batching
from mnist_mlp.engine.base import DeviceSet, check_placement, read_state, write_state
from mnist_mlp.engine.create import EngineSpec, create_engine
from mnist_mlp.engine.keras_fit import FitEngine
from mnist_mlp.engine.tensorflow import devices
from mnist_mlp.engine.tensorflow.devices import attach
from mnist_mlp.engine.tensorflow.engine import TensorFlowEngine
from mnist_mlp.engine.tensorflow.programs import dropout_by_philox
from mnist_mlp.errors import UserError
from mnist_mlp.models import networks
from mnist_mlp.parity import oracle, rounding
from mnist_mlp.training import optimizers

pytestmark = pytest.mark.numerics

ENGINES = {"compiled": TensorFlowEngine, "fit": FitEngine}
CPU = DeviceSet("CPU")


def start(kind, model, split, batch_size, optimizer="adam", rate=None, xla=None):
    optimizer = optimizers.make_optimizer(optimizer, rate)
    devices = DeviceSet("CPU", xla=xla)
    return ENGINES[kind](model, optimizer, {"train": split, "test": split}, batch_size, devices)


def weights(engine):
    return [variable.numpy().astype(np.float64) for variable in engine.model.trainable_variables]


def distance(a, b):
    """The largest relative distance of two lists of arrays, ‖a − b‖ / ‖b‖."""
    return max(np.linalg.norm(x - y) / np.linalg.norm(y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(
    "kind, name, l2",
    [
        pytest.param("compiled", "mlp_l2", 1e-4, marks=pytest.mark.slow),
        ("compiled", "softmax", 0.0),
        pytest.param("fit", "mlp_l2", 1e-4, marks=pytest.mark.slow),
        pytest.param("fit", "softmax", 0.0, marks=pytest.mark.slow),
    ],
)
def test_numpy_agrees_in_loss_and_gradients(kind, name, l2, digits):
    """Within what float32 rounds, as `parity` knows it. In two of the batches some of the places are empty, or most."""
    split = Split(digits.train.images[:92], digits.train.labels[:92])
    batches = batch_indices(0, 0, 92, 32)
    batches = np.concatenate([batches, np.where(np.arange(32) < 3, batches[:1], -1)])
    assert list((batches < 0).sum(1)) == [0, 0, 4, 29]
    engine = start(kind, networks.build(name), split, 32, "sgd", 0.5)
    for row in batches:
        before = weights(engine)
        sums = engine.train(row[None])
        after = weights(engine)
        images, labels = split.images[row[row >= 0]].reshape(-1, 784) / 255, split.labels[row[row >= 0]]
        found = oracle.batch_pass(before, images, labels, l2=l2)
        bounds = rounding.bounds(found, before, "relu", rounding.Precision())
        assert sums.seen == len(labels)
        assert sums.loss_sum / sums.seen == pytest.approx(found.losses.mean(), rel=4 * FLOAT32, abs=bounds.loss)
        two = np.sort(found.sums[-1])[:, -2:]
        unclear = (two[:, 1] - two[:, 0] < 2 * bounds.logits.max(1)).sum()
        assert abs(sums.correct - (found.sums[-1].argmax(1) == labels).sum()) <= unclear
        for old, new, gradient, bound in zip(before, after, found.gradients, bounds.gradients, strict=True):
            assert (abs((old - new) / 0.5 - gradient) <= bound + 4 * FLOAT32 * abs(new) / 0.5).all()


@pytest.mark.slow
def test_compiled_agrees_with_fit_in_steps_of_adam_on_convolutions(digits):
    """No formula in NumPy has this network. The third batch has 3 examples."""
    split = Split(digits.train.images[:19], digits.train.labels[:19])
    engines = [start(kind, steps.smooth("cnn"), split, 8) for kind in ENGINES]
    rows = np.concatenate([batch_indices(1, epoch, 19, 8) for epoch in range(2)])
    apart, where = steps.furthest(engines, rows)
    assert apart <= 1, where
    # And with the very network, whose logits have no edges, whatever its gradients have.
    images = split.images[:9]
    logits = [start(kind, networks.build("cnn", seed=1), split, 8).logits(images) for kind in ENGINES]
    np.testing.assert_allclose(*logits, rtol=1e-5, atol=1e-5 * abs(logits[1]).max())


@pytest.mark.slow
def test_compiled_trains_whole_epochs_as_fit_does(digits):
    """Three epochs of 45 steps, each with a ragged last batch; on softmax regression by SGD, which is smooth and
    convex, roundings do not grow."""
    ends = {}
    for kind in ENGINES:
        engine = start(kind, networks.build("softmax", seed=1), digits.train, 32, "sgd", 0.1)
        first = weights(engine)
        told = [engine.train(batch_indices(1, epoch, len(digits.train), 32)) for epoch in range(3)]
        ends[kind] = weights(engine), [sums.loss_sum for sums in told]
    assert distance(ends["fit"][0][:1], first[:1]) > 0.01  # it has learned something
    assert distance(ends["compiled"][0], ends["fit"][0]) < 1e-5
    assert ends["compiled"][1] == pytest.approx(ends["fit"][1], rel=1e-5)


@pytest.mark.parametrize("xla", [pytest.param(True, marks=pytest.mark.slow), False])
def test_dropout_by_a_named_generator_draws_the_same_numbers(xla):
    """TensorFlow's own choice on a CPU is the one that is named; a version that chooses otherwise changes the run."""
    drop = tf.nn.experimental.stateless_dropout

    def draw(seed):
        return tf.nn.experimental.stateless_dropout(tf.ones((32, 65)), rate=0.2, seed=seed)

    unnamed, named = (tf.function(partial(draw), jit_compile=xla) for _ in range(2))
    for seed in ([0, 0], [5, 7], [2**31 + 5, 2**32 - 1]):
        expected = unnamed(tf.constant(seed, tf.int64))
        with dropout_by_philox():
            assert tf.nn.experimental.stateless_dropout.keywords == {"rng_alg": "philox"}
            found = named(tf.constant(seed, tf.int64))
        np.testing.assert_array_equal(found, expected)
    assert tf.nn.experimental.stateless_dropout is drop


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp_l2", "mlp_dropout"])
def test_compiled_without_xla_is_fit_to_the_last_bit(name, digits):
    """The same kernels in the same order: what differs with XLA is rounding (and the bits that dropout draws)."""
    batches = batch_indices(2, 0, len(digits.train), 100)
    ends = []
    for kind, more in (("compiled", {"xla": False}), ("fit", {})):
        engine = start(kind, networks.build(name), digits.train, 100, **more)
        engine.train(batches[:5])
        ends.append(engine.state())
    assert ends[0].keys() == ends[1].keys()
    for key in ends[0]:
        np.testing.assert_array_equal(ends[0][key], ends[1][key], err_msg=key)


def assert_same_state(found, expected):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


@pytest.mark.slow
def test_neither_the_cut_into_calls_nor_a_restart_changes_anything(digits):
    """With dropout, whose random state must go on too."""
    split = Split(digits.train.images[:197], digits.train.labels[:197])
    batches = batch_indices(0, 0, 197, 8)
    engine = start("compiled", networks.build("mlp_dropout"), split, 8)
    begin = engine.state()
    whole = engine.train(batches)
    end = engine.state()
    assert distance([end["model/hidden_1/kernel"]], [begin["model/hidden_1/kernel"]]) > 0.01

    engine.restore(begin)
    cuts = [0, 1, 2, 11, 12, 20]
    parts = [engine.train(batches, *cut) for cut in zip(cuts, cuts[1:], strict=False)]
    middle = engine.state()
    parts.append(engine.train(batches, 20, len(batches)))
    np.testing.assert_array_equal(np.concatenate([part.losses for part in parts]), whole.losses)
    assert sum(part.correct for part in parts) == whole.correct
    assert sum(part.seen for part in parts) == whole.seen == len(split)
    assert_same_state(engine.state(), end)

    engine.restore(middle)
    rest = engine.train(batches[20:])  # batch indices of their own
    np.testing.assert_array_equal(rest.losses, parts[-1].losses)
    assert_same_state(engine.state(), end)


def test_a_call_lasts_about_a_second():
    pace = batching.Pace()
    made = []
    for start_at, stop in batching.chunks(1000, pace):
        made.append(stop - start_at)
        pace.took = lambda steps, seconds: setattr(pace, "steps", 300)
    assert made == [8, 300, 300, 300, 92]
    pace = batching.Pace()
    pace.took(8, 0.001)
    assert pace.steps == 8 * batching.GROWTH
    pace.took(1600, 0.5)
    assert pace.steps == 3200
    pace.took(10, 30.0)
    assert pace.steps == 1
    assert list(batching.chunks(1000, None)) == [(0, 1000)]


@pytest.fixture(scope="module")
def untrained():
    """An untrained network, 997 random images, and what each is taken for, by NumPy: none of them is a close call."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (1100, 28, 28), np.uint8)
    model = networks.build("mlp", seed=3)
    logits = oracle.forward(model.get_weights(), images.reshape(-1, 784) / 255)[1][-1]
    first, second = np.sort(logits)[:, :-3:-1].T
    clear = np.flatnonzero(first - second > 1e-3)[:997]  # float32 has them to 1e-5
    guesses, labels = logits[clear].argmax(1), rng.integers(0, 10, 997, np.uint8)
    expected = np.zeros((10, 10), np.int64)
    np.add.at(expected, (labels, guesses), 1)
    assert len(clear) == 997 and (expected.sum(0) > 0).sum() > 3  # it does not take all for one class
    return SimpleNamespace(model=model, split=Split(images[clear], labels), guesses=guesses, confusion=expected)


BATCH_SIZES = [7, *(pytest.param(size, marks=pytest.mark.slow) for size in (1, 333, 997, 2000))]


def test_fit_refuses_padding_before_the_end(digits):
    engine = start("fit", networks.build("softmax"), digits.train, 2)
    with pytest.raises(ValueError, match="padding only at the end"):
        engine.train(np.array([[0, -1], [1, 2]], np.int32))


@pytest.mark.slow
def test_a_step_without_examples_leaves_the_weights_whole(digits):
    engine = start("compiled", networks.build("softmax"), digits.train, 4, "sgd")
    engine.train(np.array([[0, 1, 2, 3]], np.int32))
    before = weights(engine)
    engine.train(np.full((1, 4), -1, np.int32))
    for new, old in zip(weights(engine), before, strict=True):
        np.testing.assert_array_equal(new, old)


def test_a_gpu_that_tensorflow_cannot_use_is_refused_or_told():
    """Here TensorFlow has no GPU, whatever the plan says."""
    environment = {"KERAS_BACKEND": "tensorflow"}
    devices = attach(Plan("tensorflow", "gpu", "auto", environment), 1)
    assert devices.kind == "CPU"
    assert "this run is on the CPU; run pip install 'tensorflow[and-cuda]'" in devices.notes[0]
    with pytest.raises(UserError, match="--strategy=gpu: TensorFlow .* can use none of the GPUs of this machine"):
        attach(Plan("tensorflow", "gpu", "gpu", environment), 1)


@pytest.mark.slow
def test_a_program_that_ran_elsewhere_is_refused(digits):
    engine = TensorFlowEngine(networks.build("softmax"), None, {"test": digits.test}, 32, DeviceSet("GPU: made up"))
    with pytest.raises(UserError, match="the weights are on CPU:0 instead of GPU: made up .*; run python -m"):
        engine.compile()


@pytest.mark.parametrize(
    "weights_on, step_on, words",
    [
        (["GPU:0", "GPU:1"], ["GPU:0", "GPU:1"], ""),
        (["GPU:0", "GPU:1"], ["GPU:0", "CPU:0"], "the compiled step ran on GPU:0, CPU:0 instead of GPU: 2 × X"),
        (["CPU:0", "GPU:1"], ["GPU:0", "GPU:1"], "the weights are on CPU:0, GPU:1 instead of GPU: 2 × X"),
        (["GPU:0"], ["GPU:0", "GPU:1"], "the weights are on GPU:0 instead of GPU: 2 × X .replicas: 2"),
        (["GPU:0", "GPU:1"], [], "the compiled step ran on no known device instead of GPU: 2 × X .replicas: 2"),
    ],
)
def test_what_ended_elsewhere_is_an_error(weights_on, step_on, words):
    devices = DeviceSet("GPU: 2 × X", replicas=2)
    engine = SimpleNamespace(devices=devices, weights_on=weights_on, step_on=step_on)
    with pytest.raises(UserError, match=words) if words else contextlib.nullcontext():
        check_placement(engine)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_every_test_image_counts_once(batch_size, untrained):
    engine = TensorFlowEngine(untrained.model, None, {"test": untrained.split}, batch_size, CPU)
    counts = engine.evaluate("test")
    np.testing.assert_array_equal(counts.confusion, untrained.confusion)
    assert counts.total == 997


@pytest.mark.parametrize("batch_size", [333, 2000])
@pytest.mark.slow
def test_the_oracle_counts_every_image_once_too(batch_size, untrained):
    counts = FitEngine(untrained.model, None, {"test": untrained.split}, batch_size, CPU).evaluate("test")
    np.testing.assert_array_equal(counts.confusion, untrained.confusion)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENGINES)
def test_predictions_are_probabilities_and_agree_with_the_counts(kind, untrained):
    engine = ENGINES[kind](untrained.model, None, {"test": untrained.split}, 50, CPU)
    found = engine.predict(untrained.split.images)
    assert found.shape == (997, 10) and found.dtype == np.float32
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    np.testing.assert_array_equal(found.argmax(1), untrained.guesses)


@pytest.mark.slow
def test_zero_weights_learn_nothing_but_the_class_frequencies(digits):
    engine = start("compiled", networks.build("mlp_zeros"), digits.train, 32, xla=False)
    engine.train(batch_indices(0, 0, len(digits.train), 32)[:10])
    *hidden, logits_kernel, logits_bias = weights(engine)
    assert not any(w.any() for w in hidden) and not logits_kernel.any() and logits_bias.any()


def test_xla_is_off_where_it_is_slower(digits):
    on = {name: start("compiled", networks.build(name), digits.train, 32).xla for name in ("mlp", "cnn")}
    assert on == {"mlp": True, "cnn": False}


@pytest.mark.parametrize("replicas", [2, 3])
def test_fit_is_for_one_device(replicas, monkeypatch):
    monkeypatch.setattr(devices, "attach", lambda plan, timeout: DeviceSet("CPU: here", replicas=replicas))
    with pytest.raises(UserError, match=f"--engine=fit: expected one device, received {replicas}; use --replicas=1"):
        create_engine(Plan("tensorflow", "cpu", "cpu", {}), EngineSpec(lambda: None, {}, 32, kind="fit"))


OF_EACH_KIND = ("ftrl", "muon", "nadam", "sgd")  # with other variables than a slot or two for each weight, or none


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow, *([] if name in OF_EACH_KIND else [pytest.mark.full])])
        for name in sorted(set(OPTIMIZERS) - {"adam"})
    ],
)
def test_other_optimizers_train_in_one_program(name, digits):
    """Each step as the optimizer makes it outside of any program, from the same state and the exact gradients."""
    try:
        by_hand = optimizers.make_optimizer(name, None)
    except UserError:
        pytest.skip(f"this Keras has no {name}")
    engine, model = start("compiled", networks.build("softmax"), digits.train, 32, name), networks.build("softmax")
    by_hand.build(model.trainable_variables)
    for row in batch_indices(0, 0, len(digits.train), 32)[:4]:
        before = engine.state()
        images = digits.train.images[row].reshape(-1, 784) / 255
        gradients = oracle.batch_pass(weights(engine), images, digits.train.labels[row]).gradients
        write_state(model, by_hand, before)
        by_hand.apply([tf.constant(g, tf.float32) for g in gradients], model.trainable_variables)
        engine.train(row[None])
        expected, found = read_state(model, by_hand), engine.state()
        assert found.keys() == expected.keys()
        for key, wanted in expected.items():
            if wanted.dtype.kind == "f":
                # Muon's iteration makes roundings 480 times larger; and some optimizers look at the sign alone of a
                # gradient, which rounding decides where it is nearly 0: not at more than one in a hundred.
                allowed = 1e-3 * abs(wanted - before[key]).max() + 4 * FLOAT32 * abs(wanted)
                assert np.mean(~(abs(found[key] - wanted) <= allowed)) <= 0.01, key
            else:
                np.testing.assert_array_equal(found[key], wanted, err_msg=key)
        assert (found["model/logits/kernel"] != before["model/logits/kernel"]).any()


def test_products_and_copies_are_what_they_should_be(digits):
    """They measure a device, so they have to be done: a product of so many factors, and the whole of an array."""
    split = Split(digits.train.images[:8], digits.train.labels[:8])
    engine = start("compiled", networks.build("softmax"), split, 8, "sgd", 0.5)
    left, right = np.random.default_rng(0).standard_normal((2, 16, 16)).astype(np.float32) / 4
    multiply = engine.matrix_product(left, right)
    for times in (1, 2, 5):
        expected = left.astype(np.float64) @ np.linalg.matrix_power(right.astype(np.float64), times)
        np.testing.assert_allclose(multiply(times), expected[-1], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(engine.copy(split.images), split.images[-1])
    fit = start("fit", networks.build("softmax"), split, 8)
    for call in (lambda: fit.copy(split.images), lambda: fit.matrix_product(left, right)):
        with pytest.raises(UserError, match="--engine=fit: .* not measured; use --engine=compiled"):
            call()


@pytest.mark.parametrize("name", ["mlp", pytest.param("cnn", marks=pytest.mark.slow)])
def test_gradients_by_pixels_as_numpy_has_them(name):
    """Of six images, in batches of four."""
    network = networks.build(name, seed=1)
    steps.check_pixel_gradients(TensorFlowEngine(network, None, {}, 4, CPU), network)
    with pytest.raises(UserError, match="use --engine=compiled"):
        FitEngine(network, None, {}, 4, CPU).pixel_gradients(np.zeros((1, 28, 28)), np.zeros(1))
