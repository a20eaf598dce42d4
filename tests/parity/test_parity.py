"""Parity: the oracle by its own derivatives, the bounds by simulated devices, and certificates of both backends."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import faults
from helpers.fork_server import run, run_code
from helpers.programs import program, refused

from mnist_mlp.errors import UserError
from mnist_mlp.parity import command as parity
from mnist_mlp.parity import oracle, report, rounding
from mnist_mlp.parity.comparison import Comparison, difference
from mnist_mlp.parity.problem import Expected, Problem, State, expected_classes, order_of
from mnist_mlp.parity.reference import Recorded, Recorder
from mnist_mlp.parity.rounding import Precision

pytestmark = pytest.mark.numerics

TESTS = Path(__file__).parents[1]
SCRIPT = """import runpy, sys; sys.path.insert(0, sys.argv[1]); del sys.argv[:2]
runpy.run_path(sys.argv[0], run_name="__main__")"""


def weights_of(rng, widths, dtype=np.float64):
    """As Glorot draws them, and biases that are not 0."""
    found = []
    for inputs, units in zip(widths, widths[1:], strict=False):
        limit = np.sqrt(6 / (inputs + units))
        found += [rng.uniform(-limit, limit, (inputs, units)), rng.normal(0, 0.1, units)]
    return [weight.astype(np.float32).astype(dtype) for weight in found]


def batch_of(rng, n=16):
    images = rng.integers(0, 256, (n, 784)) * (rng.random((n, 784)) < 0.4)
    return images / 255, rng.integers(0, 10, n)


@pytest.mark.parametrize("activation", sorted(oracle.ACTIVATIONS))
@pytest.mark.parametrize("l2", [0.0, 0.01])
def test_gradients_of_the_oracle_are_the_slopes_of_its_loss(activation, l2):
    rng = np.random.default_rng(0)
    weights, (images, labels) = weights_of(rng, (784, 12, 8, 10)), batch_of(rng)

    def loss(weights):
        penalty = l2 * sum((kernel**2).sum() for kernel in weights[0:-2:2])
        return oracle.batch_pass(weights, images, labels, activation).losses.mean() + penalty

    gradients = oracle.batch_pass(weights, images, labels, activation, l2).gradients
    for index, gradient in enumerate(gradients):
        direction = rng.normal(size=gradient.shape)
        ends = [[*weights[:index], weights[index] + h * direction, *weights[index + 1 :]] for h in (1e-6, -1e-6)]
        slope = (loss(ends[0]) - loss(ends[1])) / 2e-6
        assert slope == pytest.approx((gradient * direction).sum(), rel=1e-5)


def test_adam_of_the_oracle_by_hand():
    after, (first, second) = oracle.adam(np.array([1.0]), (np.array([0.0]), np.array([0.0])), np.array([0.5]), 1, 0.001)
    assert (first, second) == (pytest.approx(0.05), pytest.approx(0.00025))
    # 0.001 · √(1 − 0.999) / (1 − 0.9) = 3.1623e-4, and 0.05 / (√0.00025 + 1e-7) = 3.16226
    assert after[0] == pytest.approx(1 - 3.16227766e-4 * 0.05 / (0.0158113883 + 1e-7), rel=1e-9)


def simulated(weights, images, labels, activation, product):
    """A step of a device that computes in float32, by a matrix product of its own."""
    images, weights = images.astype(np.float32), [weight.astype(np.float32) for weight in weights]
    slopes = {"relu": lambda z, a: z > 0, "sigmoid": lambda z, a: a * (1 - a), "tanh": lambda z, a: 1 - a * a}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(oracle.SLOPES, activation, slopes[activation])
        inputs, sums = [images], []
        for kernel, bias in zip(weights[0::2], weights[1::2], strict=True):
            sums.append(product(inputs[-1], kernel) + bias)
            inputs.append(oracle.ACTIVATIONS[activation](sums[-1]).astype(np.float32))
    shifted = sums[-1] - sums[-1].max(1, keepdims=True)
    exponentials = np.exp(shifted)
    probabilities = exponentials / exponentials.sum(1, keepdims=True)
    losses = np.log(exponentials.sum(1)) - shifted[np.arange(len(labels)), labels]
    delta = (probabilities - np.eye(10, dtype=np.float32)[labels]) / np.float32(len(labels))
    gradients = []
    for depth in reversed(range(len(sums))):
        gradients = [product(inputs[depth].T, delta), delta.sum(0), *gradients]
        if depth:
            delta = product(delta, weights[2 * depth].T) * slopes[activation](sums[depth - 1], inputs[depth])
            delta = delta.astype(np.float32)
    assert delta.dtype == losses.dtype == np.float32
    return losses.mean(), sums[-1], gradients


def cut(bits):
    """A product whose factors keep so many bits of significand, rounded to nearest."""

    def shortened(x):
        mantissa, exponent = np.frexp(x)
        return np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits).astype(np.float32)

    return lambda a, b: shortened(a) @ shortened(b)


PRODUCTS = {"float32": np.matmul, "tf32": cut(11), "bfloat16": cut(8)}


@pytest.mark.parametrize("activation", sorted(oracle.ACTIVATIONS))
def test_a_device_of_each_precision_stays_within_its_bounds_and_not_within_a_better_one(activation, full):
    worst = {}
    for seed in range(4 if full else 2):
        rng = np.random.default_rng(seed)
        weights, (images, labels) = weights_of(rng, (784, 128, 64, 10)), batch_of(rng, 32)
        found = oracle.batch_pass(weights, images, labels, activation)
        bounds_of = {name: rounding.bounds(found, weights, activation, Precision(name)) for name in PRODUCTS}
        for name, product in PRODUCTS.items():
            loss, logits, gradients = simulated(weights, images, labels, activation, product)
            for promised, bounds in bounds_of.items():
                parts = zip(
                    (loss, logits, *gradients),
                    (found.losses.mean(), found.sums[-1], *found.gradients),
                    (bounds.loss, bounds.logits, *bounds.gradients),
                    strict=True,
                )
                share = max(float((abs(own - exact) / bound).max()) for own, exact, bound in parts)
                worst[name, promised] = max(share, worst.get((name, promised), 0.0))
    order = list(PRODUCTS)
    for name, promised in worst:
        agrees = order.index(name) <= order.index(promised)
        assert (worst[name, promised] <= 1) == agrees, (name, promised, worst[name, promised])
    assert all(worst[name, name] > 0.02 for name in order)  # and they are no wider than they must be


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_bounds_hold_for_large_batches_in_which_a_rounded_weight_is_wrong_for_all(activation, digits, full):
    rng, n = np.random.default_rng(0), 1437 if full else 500
    weights, images = weights_of(rng, (784, 128, 64, 10)), digits.train.images[:n].reshape(n, 784) / 255
    labels = digits.train.labels[:n]
    found = oracle.batch_pass(weights, images, labels, activation)
    for promised, product in PRODUCTS.items():
        loss, logits, gradients = simulated(weights, images, labels, activation, product)
        bounds = rounding.bounds(found, weights, activation, Precision(promised))
        assert abs(loss - found.losses.mean()) <= bounds.loss
        for own, exact, bound in zip(
            (logits, *gradients), (found.sums[-1], *found.gradients), (bounds.logits, *bounds.gradients), strict=True
        ):
            assert (abs(own - exact) <= bound).all(), (promised, (abs(own - exact) / bound).max())


def test_bounds_hold_for_large_batches_of_pixels_that_are_rounded_before_a_float32_layer(digits):
    """As of `softmax` in bfloat16: the same pixel is wrong by the same in every example."""

    def rounded(x):
        mantissa, exponent = np.frexp(x)
        return np.ldexp(np.round(np.ldexp(mantissa, 8)), exponent - 8)

    def share(seed):
        rng, n = np.random.default_rng(seed), 512
        weights, chosen = weights_of(rng, (784, 10)), rng.permutation(len(digits.train))[:n]
        pixels, labels = digits.train.images[chosen].reshape(n, 784).astype(np.float64), digits.train.labels[chosen]
        found = oracle.batch_pass(weights, pixels / 255, labels, "relu")
        bounds = rounding.bounds(found, weights, "relu", Precision(layers="bfloat16"))
        seen = rounded(pixels * rounded(1 / 255))  # 1/255 lies nearly in the middle between two bfloat16
        own = oracle.batch_pass(weights, seen, labels, "relu")
        triples = zip(own.gradients, found.gradients, bounds.gradients, strict=True)
        return max((abs(one - other) / bound).max() for one, other, bound in triples)

    assert 0.02 < max(map(share, range(8))) <= 1


def test_bounds_of_adam_hold_for_every_gradient_within_its_own():
    rng = np.random.default_rng(1)
    n = 20_000
    scale = 10.0 ** rng.uniform(-12, 0, n)
    weight, moments = rng.normal(0, 0.05, n), (rng.normal(size=n) * scale, (rng.normal(size=n) * scale) ** 2 * 0.01)
    gradient = rng.normal(size=n) * 10.0 ** rng.uniform(-12, 0, n)
    bound = 10.0 ** rng.uniform(-12, 0, n)
    limits = rounding.adam_bounds(weight, moments, gradient, bound, 3, 0.001)
    after, (first, second) = oracle.adam(weight, moments, gradient, 3, 0.001)
    reached = np.zeros(n)
    for share in np.linspace(-1, 1, 401):
        ends = oracle.adam(weight, moments, gradient + share * bound, 3, 0.001)
        for value, middle, limit in zip((ends[0], *ends[1]), (after, first, second), limits, strict=True):
            assert (abs(value - middle) <= limit * (1 + 1e-12)).all()
        reached = np.maximum(reached, abs(ends[0] - after))
    assert np.median(reached / limits[0]) > 0.5  # as far as it goes, and hardly further


def test_a_class_is_open_where_the_largest_logits_are_within_their_bounds():
    logits = Expected(np.array([[0.0, 1.0, 0.95], [0.0, 1.0, 0.5]]), np.full((2, 3), 0.05))
    assert expected_classes(logits).value.tolist() == [1, 1]
    assert expected_classes(logits).bound.tolist() == [10, 0.5]


def test_the_first_difference_is_named_and_kept():
    comparison = Comparison()
    expected = {"loss": Expected(np.array(1.0), np.array(0.1)), "g": Expected(np.zeros((2, 2)), np.full((2, 2), 0.1))}
    comparison.add(0, expected, {"loss": np.array(1.05), "g": np.zeros((2, 2))})
    assert not comparison.first and comparison.worst["loss"].share == pytest.approx(0.5)
    comparison.add(1, expected, {"loss": np.array(1.0), "g": np.array([[0, 0], [0.3, 0]])})
    comparison.add(2, expected, {"loss": np.array(np.nan), "g": np.zeros((2, 2))})
    (first,) = comparison.first
    assert (first.quantity, first.step, first.element, first.received) == ("g", 1, (1, 0), 0.3)
    assert comparison.worst["loss"].share == np.inf  # nan is as far off as can be
    told = report.located(first)
    assert told == "first difference at step 2: g[1, 0], expected 0 within 0.1, received 0.3"
    with pytest.raises(ValueError, match="Expected g of shape"):
        difference("g", 0, expected["g"], np.zeros(3))
    with pytest.raises(ValueError, match="Expected"):
        comparison.add(3, expected, {"loss": np.array(1.0)})


def test_the_order_goes_on_epoch_after_epoch(digits):
    order = order_of(0, 1437, 32, 100)
    assert order.shape == (100, 32) and sorted(order[:45][order[:45] >= 0]) == list(range(1437))
    assert (order[44] < 0).sum() == 3 and (order[45] >= 0).all() and not np.array_equal(order[0], order[45])


@pytest.fixture
def recorded(digits, tmp_path):
    """A problem of one layer and two steps, and the file of a reference for it."""
    problem = Problem("softmax", "unit", Precision(), digits, order_of(0, 1437, 8, 2), ("logits/kernel", "logits/bias"))
    weights = weights_of(np.random.default_rng(0), (784, 10))
    recorder = Recorder(problem, 7850)
    recorder.begin(State(weights, weights, weights))
    for step in range(2):
        found = problem.compute(weights, *problem.batch(step))
        received = {"loss": found.losses.mean(), "logits": found.sums[-1]}
        recorder.keep(
            step, received | {f"gradient of {n}": g for n, g in zip(problem.weights, found.gradients, strict=True)}
        )
    about = parity.describe(problem) | {"seed": 0}
    options = {name: getattr(parity.Options(model="softmax", batch_size=8, steps=2), name) for name in parity.OPTIONS}
    file = tmp_path / "reference.npz"
    recorder.write(file, {"options": options, "problem": about, "backend": "made up", "device": {"actual": "CPU"}})
    return problem, about, file


def test_a_reference_is_read_as_it_was_written(recorded):
    problem, about, file = recorded
    found = Recorded(file, "--against")
    found.check(about, problem.order)
    weights = [found.arrays[f"weights/{name}"] for name in problem.weights]
    state = found.initial(problem, State(weights, weights, weights))
    computed = problem.compute(state.weights, *problem.batch(1))
    expected = found.step(problem, state, 1, computed, problem.bounds(computed, state.weights))
    kernel = expected["gradient of logits/kernel"]
    own = problem.bounds(computed, state.weights).gradients[0]
    np.testing.assert_allclose(kernel.value, computed.gradients[0], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(kernel.bound, 2 * own)  # one share of each device
    assert np.load(file)["1/logits"].shape == (8, 10)  # NumPy alone reads it


def test_a_reference_of_something_else_is_refused(recorded, tmp_path):
    problem, about, file = recorded
    found = Recorded(file, "--against")
    with pytest.raises(UserError, match="written with seed 0, received 1"):
        found.check(about | {"seed": 1}, problem.order)
    with pytest.raises(UserError, match="written with other batches"):
        found.check(about, problem.order[::-1])
    with pytest.raises(UserError, match="--steps=3: the reference in .* was written with --steps=2; omit the flag"):
        parity.options_of({"against": str(file), "steps": 3})
    options, _ = parity.options_of({"against": str(file), "backend": "jax"})
    assert (options.model, options.batch_size, options.backend) == ("softmax", 8, "jax")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "damaged.npz").write_bytes(content)
    (tmp_path / "other.npz").write_bytes(b"no archive")
    np.savez(tmp_path / "strange.npz", x=np.zeros(3))
    for name in ("damaged", "other", "strange", "absent"):
        with pytest.raises(UserError, match=f"{name}.npz.*: expected "):
            Recorded(tmp_path / f"{name}.npz", f"--against={tmp_path / name}.npz")


def test_more_steps_than_a_file_may_hold_are_refused_at_once(recorded):
    problem, _, _ = recorded
    with pytest.raises(UserError, match="--write: expected at most 1 steps for this network; use --steps=1"):
        Recorder(problem, 2**27)


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--model=cnn"], "--model: expected one of softmax, mlp, "),
        (["--steps=0"], "--steps: expected a whole number from 1 to 100,000, received 0"),
        (["--against=nowhere.npz"], "--against=nowhere.npz: expected cpu, numpy or a file written by parity --write"),
        (["--against=cpu", "--write=x.npz"], "--write needs the comparison with NumPy; omit --against"),
        (["--strategy=tpu"], "--strategy=tpu: no TPU is attached"),
        (["--write=no/x.npz"], "--write=no/x.npz: expected a file in a directory that exists, there is no no; try mk"),
        (["--certificate=."], "--certificate=.: expected a file, received a directory"),
    ],
)
def test_what_it_cannot_do_is_said(flags, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as said:
        parity.main(flags)
    assert str(said.value).startswith(words) and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_program_says_it_in_a_line_without_a_framework(tmp_path):
    refused(program("parity", "--model=cnn", cwd=tmp_path), "error: --model: expected one of softmax, mlp, ")


def lines(script, backend, *arguments):
    """What a script of the tests prints, a dict for each line."""
    done = run_code(SCRIPT, TESTS, TESTS / "helpers" / script, backend, *arguments, backend=backend, timeout=600)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


# 3 steps are an epoch, the last of them with 413 of 512 examples; or of fewer images, with 13 of 32.
SHORT, SHORTER = "steps=4,batch_size=512", "steps=4,batch_size=32"


# Several replicas and one, with XLA and without, in float32 and bfloat16, and networks of every kind. TensorFlow's two
# replicas are those of the faults below, its one device with XLA that of the command line; the devices' operations are
# probed in test_parity_operations.py. What judges is the same on either backend: a quick run has bfloat16 on JAX, which
# compiles it sooner.
DEVICES = {
    "tensorflow": (f"unprobed,{SHORT},xla=off,model=mlp_tanh",),
    "jax": (
        f"{SHORT},replicas=3,model=mlp_l2,pixels=raw",
        f"unprobed,{SHORT},precision=bfloat16,model=mlp_sigmoid",
    ),
}
MORE_DEVICES = {
    "tensorflow": [*(f"{SHORT},replicas={count}" for count in (8, 4, 2, 1)), f"{SHORT},precision=bfloat16"]
    + [f"unprobed,{SHORT},precision=bfloat16,model=mlp_tanh"],
    "jax": [*(f"{SHORT},replicas={count}" for count in (8, 4, 2, 1)), "steps=2,batch_size=1000,xla=off"]  # one by one
    + [
        f"unprobed,{SHORT},model={model}"
        for model in ("deep", "mlp_tanh,precision=bfloat16", "softmax,precision=bfloat16")
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("backend", DEVICES)
def test_every_device_gets_a_certificate(backend, full):
    if full:
        # A process divides its CPU once: the most replicas first.
        runs = sorted([*DEVICES[backend], *MORE_DEVICES[backend]], key=lambda flags: "replicas=8" not in flags)
        found = lines("certificates.py", backend, *runs)
    else:
        runs = [flags.replace(SHORT, SHORTER) for flags in DEVICES[backend]]
        found = lines("certificates.py", backend, "quickly", *runs)
    assert [(each["verdict"], each["told"]) for each in found] == [("agrees", "")] * len(runs)
    for flags, each in zip(runs, found, strict=True):
        asked = dict(flag.split("=") for flag in flags.removeprefix("unprobed,").split(","))
        count, device = int(asked.get("replicas", 1)), each["device"]
        alone = backend == "tensorflow" and count > 1  # its replicas run without XLA
        assert (device["replicas"], device["xla"]) == (count, asked.get("xla") != "off" and not alone)
        assert device["step_on"] == [f"CPU:{index}" for index in range(count)]
        assert len(each["probes"]) == (0 if "unprobed" in flags else 18)
        layers = {"softmax": 1, "deep": 6}.get(asked.get("model"), 3)
        assert len(each["quantities"]) == 14 + 10 * layers
        assert all(np.isfinite(row["share"]) for row in each["quantities"])


FOUND = {  # what parity names of each fault: the quantity, and the step from 1 on
    faults.SUMMED: ("gradient of hidden_1/kernel", 1),
    faults.DROPPED: ("gradient of hidden_1/kernel", 1),
    faults.CUT: ("loss", 1),
    faults.STALE: ("second moment of hidden_2/kernel", 1),
    faults.SHIFTED: ("loss", 3),
    faults.LAST: ("loss", 3),
    faults.SIGN: ("gradient of hidden_2/bias", 1),
    faults.EPSILON: ("updated hidden_1/kernel", 1),
    faults.DOUBLED: ("probabilities", 1),
    faults.LOST: ("updates counted in one call", None),
}


# The judge is the same on both backends. TensorFlow traces every replica, so a quick run has one fault there: DROPPED,
# which is reported as SUMMED is. On JAX it has the others, without SHIFTED, which is reported as LAST is, and without
# CUT: test_a_device_of_each_precision_stays_within_its_bounds_and_not_within_a_better_one shows that such products are
# no float32.
MADE = {
    "tensorflow": (faults.DROPPED,),
    "jax": (faults.STALE, faults.LAST, faults.SIGN, faults.EPSILON, faults.DOUBLED, faults.LOST),
}


@pytest.mark.slow
@pytest.mark.parametrize("backend", MADE)
def test_every_fault_is_found_at_its_tensor_and_step(backend, full):
    made = tuple(FOUND) if full else MADE[backend]
    replicas = 2 if {faults.SUMMED, faults.DROPPED} & set(made) else 1
    sound, *found = lines("faults.py", backend, replicas, "3", "32", "", *made)  # an epoch of 3 steps
    assert sound["verdict"] == "agrees"
    assert tuple(each["fault"] for each in found) == made
    for each in found:
        first = each["first_differences"][0]
        assert each["verdict"] == "diverges"
        step = None if first["step"] is None else first["step"] + 1
        assert (first["quantity"], step) == FOUND[each["fault"]], each["fault"]
        assert first["share"] >= 2
        touched = {row["quantity"] for row in each["first_differences"] if row["step"] is not None}
        own = {faults.STALE: "hidden_2/kernel", faults.SIGN: "hidden_2/bias", faults.EPSILON: "updated"}
        assert all(own.get(each["fault"], "") in quantity for quantity in touched), each["fault"]


@pytest.mark.slow
def test_a_certificate_by_the_command_line(tmp_path, full):
    steps = 50 if full else 5
    flags = ("--strategy=cpu", f"--steps={steps}", "--write=reference.npz")
    done = run("parity", *flags, backend="tensorflow", cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert "verdict  agrees: " in done.stdout and "✗" not in done.stdout
    kept = json.loads((tmp_path / "certificate.json").read_text())
    assert kept["verdict"] == "agrees" and kept["problem"]["steps"] == steps and kept["versions"]["tensorflow"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["certificate.json", "reference.npz"]
    found = Recorded(tmp_path / "reference.npz", "--against")
    assert found.about["problem"] == kept["problem"]
    assert found.arrays[f"{steps - 1}/logits"].shape == (32, 10)


# One backend against the other test_written_by_0_1.py holds, and a process for a CPU test_parity_parts.py.
@pytest.mark.full
def test_one_backend_against_the_other_and_against_its_own_cpu(tmp_path):
    def parity(backend, *flags):
        flags = [f"--backend={backend}", "--strategy=cpu", *flags]
        done = run("parity", *flags, backend=backend, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done

    parity("jax", "--model=softmax", "--batch_size=512", "--steps=4", "--write=reference.npz")  # 3 are an epoch
    compared = parity("tensorflow", "--against=reference.npz", "--json")
    assert json.loads(compared.stdout)["problem"]["model"] == "softmax"
    assert "reference.npz, written on CPU" in compared.stderr
    flags = ["--model=softmax", "--batch_size=512", "--steps=3", "--against=cpu", "--replicas=2"]
    on_cpu = parity("jax", *flags)
    assert "which agrees with NumPy" in on_cpu.stdout
