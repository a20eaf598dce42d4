"""Parts of parity one by one: the trial of a device whose arithmetic is NumPy's, products, the CPU; traces; paper."""

import gzip
import io
import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import mnist_mlp
from mnist_mlp.cli import child_process
from mnist_mlp.cli.terminal import Silent
from mnist_mlp.data import Dataset, Split
from mnist_mlp.data.pictures import ink, ruled_lines
from mnist_mlp.errors import UserError
from mnist_mlp.parity import matrix_products, oracle, reference, trial
from mnist_mlp.parity.device_under_test import DeviceUnderTest
from mnist_mlp.parity.matrix_products import Product
from mnist_mlp.parity.problem import LEARNING_RATE, Expected, Problem, State, order_of
from mnist_mlp.parity.reference import Oracle
from mnist_mlp.parity.rounding import Precision, rate_error

# A device that computes with NumPy


class Engine:
    """Logistic regression with Adam in float64, rounded to float32 after each step: a device as right as can be.

    `off`: what it does wrong, by name."""

    def __init__(self, problem: Problem, off=None):
        self.problem, self.off = problem, off or {}
        self.values = {
            "model/logits/kernel": np.zeros((784, 10), np.float32),
            "model/logits/bias": np.zeros(10, np.float32),
        }
        for name in ("kernel", "bias"):
            for kind in ("momentum", "velocity"):
                self.values[f"optimizer/logits_{name}_{kind}"] = np.zeros_like(self.values[f"model/logits/{name}"])
        self.values["optimizer/iteration"] = np.array(0, np.int32)
        self.values["optimizer/learning_rate"] = np.array(LEARNING_RATE, np.float32)
        self.calls = []

    def state(self):
        return {name: np.array(value) for name, value in self.values.items()}

    def restore(self, values):
        assert values.keys() == self.values.keys()
        assert all(values[name].dtype == self.values[name].dtype for name in values)
        self.values = dict(values)

    def weights(self):
        return [self.values[f"model/logits/{name}"].astype(np.float64) for name in ("kernel", "bias")]

    def logits(self, images):
        found = self.problem.compute(self.weights(), images, np.zeros(len(images), int))
        return found.sums[-1].astype(np.float32) + np.float32(self.off.get("logits", 0))

    def predict(self, images):
        found = self.problem.compute(self.weights(), images, np.zeros(len(images), int))
        return found.probabilities.astype(np.float32)

    def train(self, order, start=0, stop=None):
        self.calls.append((start, stop))
        losses, seen, correct = [], 0, 0
        for step in range(start, stop):
            images, labels = self.problem.batch(step)
            found = self.problem.compute(self.weights(), images, labels)
            losses.append(found.losses.sum())
            seen += len(labels) + self.off.get("seen", 0)
            correct += int((found.sums[-1].argmax(1) == labels).sum())
            number = int(self.values["optimizer/iteration"]) + 1
            self.values["optimizer/iteration"] = np.array(number, np.int32)
            for name, gradient in zip(("kernel", "bias"), found.gradients, strict=True):
                of = [f"model/logits/{name}", *(f"optimizer/logits_{name}_{k}" for k in ("momentum", "velocity"))]
                weight, *moments = (self.values[n].astype(np.float64) for n in of)
                rate = LEARNING_RATE * self.off.get("rate", 1)
                weight, moments = oracle.adam(weight, moments, gradient, number, rate)
                for n, value in zip(of, (weight, *moments), strict=True):
                    self.values[n] = value.astype(np.float32)
        return SimpleNamespace(losses=np.array(losses), seen=seen, correct=correct)

    def evaluate(self, split):
        assert split == "test"
        test = self.problem.dataset.test
        found = self.problem.compute(self.weights(), test.images, test.labels)
        confusion = np.zeros((10, 10), np.int64)
        np.add.at(confusion, (test.labels, found.sums[-1].argmax(1)), 1)
        confusion[0, 0] += self.off.get("scored", 0)
        loss = found.losses.sum() * self.off.get("loss", 1)
        return SimpleNamespace(confusion=confusion, loss_sum=loss, total=int(confusion.sum()))


@pytest.fixture
def problem():
    """Twelve images in batches of five: the last batch of an epoch has two."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (12, 28, 28), dtype=np.uint8)
    train = Split(images, np.arange(12, dtype=np.uint8) % 10)
    dataset = Dataset("digits", "", train, Split(images[:7], train.labels[:7]), (), True)
    order = order_of(0, 12, 5, 4)
    return Problem("softmax", "unit", Precision(), dataset, order, ("logits/kernel", "logits/bias"))


class Screen(Silent):
    def __init__(self):
        self.shown = []

    def progress(self, now):
        self.shown.append(now)


def tried(problem, **off):
    engine = Engine(problem, off)
    screen = Screen()
    singly, at_once = trial.Trial(DeviceUnderTest(engine), problem, Oracle()).steps(screen)
    assert screen.shown == [f"step {step} of 4" for step in (1, 2, 3, 4)]
    return singly, at_once


def wrong(comparison):
    return [each.quantity for each in comparison.worst.values() if not each.agrees]


def test_a_right_device_agrees_in_every_quantity(problem):
    singly, at_once = tried(problem)
    assert not wrong(singly) and not wrong(at_once) and not singly.first and not at_once.first
    kinds = ("gradient of", "first moment of", "second moment of", "updated")
    assert list(singly.worst) == [
        *("loss", "logits", "probabilities", "predictions", "examples seen", "correct predictions"),
        *(f"gradient of {name}" for name in problem.weights),
        *(f"{kind} {name}" for name in problem.weights for kind in kinds[1:]),
        "updates counted",
    ]
    assert set(at_once.worst) == {
        *(f"{name} in one call" for name in ("losses", "examples seen", "updates counted")),
        *(f"{name}, 3 at once" for name in ("correct predictions", *problem.weights)),
    }
    assert at_once.worst["losses in one call"].share < 1e-2


@pytest.mark.parametrize(
    ("off", "expected"),
    [
        ({"logits": 0.01}, {"logits"}),
        ({"seen": 1}, {"examples seen"}),
        ({"rate": 1.001}, {"updated logits/kernel", "updated logits/bias"}),
    ],
)
def test_what_a_device_does_wrong_is_named(problem, off, expected):
    singly, at_once = tried(problem, **off)
    assert set(wrong(singly)) == expected and singly.first[0].step == 0
    assert wrong(at_once) == (["examples seen in one call"] if "seen" in off else [])


def test_a_subject_is_put_where_a_step_begins(problem):
    engine = Engine(problem)
    subject = DeviceUnderTest(engine)
    assert subject.weights == ("logits/kernel", "logits/bias")
    state = State(
        [np.full((784, 10), 0.5), np.arange(10.0)],
        [np.ones((784, 10)), np.ones(10)],
        [np.full((784, 10), 2.0), np.full(10, 3.0)],
    )
    subject.restore(state, 7)
    assert int(engine.values["optimizer/iteration"]) == 7
    for part, other in zip((state.weights, state.first, state.second), vars(subject.state()).values(), strict=True):
        for value, found in zip(part, other, strict=True):
            np.testing.assert_array_equal(value, found)
    images, labels = problem.batch(2)
    found = problem.compute(state.weights, images, labels)
    for gradient, true in zip(subject.gradients(problem, state, 2), found.gradients, strict=True):
        np.testing.assert_allclose(gradient, true, rtol=1e-6, atol=1e-9)
    step = subject.step(problem, state, 2)
    assert float(step["loss"]) == pytest.approx(found.losses.mean()) and int(step["updates counted"]) == 3
    assert int(step["examples seen"]) == len(labels) == 2


def test_a_run_is_cut_where_it_is_told(problem):
    engine = Engine(problem)
    subject = DeviceUnderTest(engine)
    state = subject.state()
    found = subject.run(problem, state, [1, 3])
    assert engine.calls == [(0, 1), (1, 3)] and int(found["updates counted"]) == 3
    assert int(found["examples seen"]) == 12 and found["losses"][0] == pytest.approx(np.log(10))
    assert found["losses"].shape == (3,) and found["logits/kernel"].dtype == np.float64
    whole = subject.run(problem, state, [3])
    np.testing.assert_array_equal(whole["losses"], found["losses"])
    assert engine.calls[-1] == (0, 3)


def test_the_test_images_are_scored_in_pieces(problem, monkeypatch):
    monkeypatch.setattr(trial, "CHUNK", 3)
    for off, expected in (
        ({}, []),
        ({"scored": 1}, ["test images scored", "confusion matrix"]),
        ({"scored": -1}, ["test images scored", "confusion matrix"]),
        ({"loss": 1.01}, ["loss of the test images"]),
    ):
        engine = Engine(problem, off)
        engine.train(problem.order, 0, 2)  # no ties between the classes
        found = trial.Trial(DeviceUnderTest(engine), problem, Oracle()).test_images()
        assert wrong(found) == expected
        assert found.worst["test images scored"].expected == 7


def test_twins_go_apart_by_what_devices_round(problem):
    state = DeviceUnderTest(Engine(problem)).state()
    twins = trial.Twins(state)
    images, labels = problem.batch(0)
    found = problem.compute(state.weights, images, labels)
    bounds = problem.bounds(found, state.weights)
    loss = float(found.losses.mean())
    assert twins.apart(problem, 0, loss, bounds) < 1e-12  # both begin at the reference
    up, down = (twins.states[sign].weights[0] for sign in (1, -1))
    assert 0 < np.abs(up - down).max() < 1e-3 * LEARNING_RATE + 4 * LEARNING_RATE * rate_error(1)
    assert twins.apart(problem, 0, loss + 5, bounds) > 4 and twins.apart(problem, 1, 0.0, bounds) >= twins.furthest > 4


def test_counts_follow_from_the_logits():
    logits = Expected(np.eye(10)[[3, 5, 7]], np.full((3, 10), 0.1))
    logits.value[2, 8] = 0.85  # too near to tell
    found = trial.counts(np.array([3, 4, 7]), logits)
    assert found["predictions"].value.tolist() == [3, 5, 7] and found["predictions"].bound.tolist() == [0.5, 0.5, 10]
    assert float(found["correct predictions"].value) == 2 and float(found["correct predictions"].bound) == 1.5
    assert float(found["examples seen"].value) == 3 and float(found["examples seen"].bound) == 0.5
    assert trial.exactly(np.zeros((2, 3))).bound.tolist() == [[0.5] * 3] * 2


# Matrix products


def test_the_bound_grows_with_the_root_of_the_length():
    u = 2.0**-24
    assert matrix_products.bound(1, "float32") == 8 * u and matrix_products.bound(784, "float32") == 8 * 28 * u
    assert matrix_products.bound(64, "tf32") == 4 * 2.0**-11 + 64 * u
    assert matrix_products.bound(64, "bfloat16") == 4 * 2.0**-8 + 64 * u
    assert [matrix_products.bits(error) for error in (2.0**-10, 0, 2, np.inf)] == [10, 53, 0, 0]


def test_products_are_turned_by_their_form():
    a, b = np.array([[1.0, -2], [3, 4]]), np.array([[5.0, 6], [-7, 8]])
    for form, (left, right) in {"forwards": (a, b), "for_the_kernel": (a.T, b), "for_the_input": (a, b.T)}.items():
        product, magnitudes, k = Product(form, "p", 2, a, b).exact
        assert product.tolist() == (left @ right).tolist() and k == 2
        assert magnitudes.tolist() == (abs(left) @ abs(right)).tolist()


def rows_of(change):
    """What is said of the first row of [1, 4]·[4, 3] beside that of [2, 4]·[4, 3], off by so many bounds."""
    a, b = np.float32([[1] * 4, [3] * 4]), np.full((4, 3), 2, np.float32)
    multiplied = [Product("forwards", f"[{m}, 4]·[4, 3]", m, a[:m], b) for m in (1, 2)]
    exact = {p.name: p.exact for p in multiplied}
    answers = {p.name: p.exact[0].copy() for p in multiplied}
    answers["[2, 4]·[4, 3]"][0, 1] += change * 2 * matrix_products.bound(4, "float32") * 8  # Σ|a||b| = 8
    answers["[2, 4]·[4, 3]"][1, 2] += 5  # of another row
    return matrix_products.row_alone(multiplied, exact, "float32", {"products": answers})


def test_a_row_is_the_same_alone_and_with_others():
    for change, passed in ((0, True), (0.99, True), (-0.99, True), (1.01, False), (-1.01, False), (np.nan, False)):
        found = rows_of(change)
        assert found.passed == passed
        assert passed or found.found.endswith("bits in common: [1, 4]·[4, 3] and [2, 4]·[4, 3]")
    assert rows_of(0).figures["bits"] == 53 and rows_of(np.nan).figures["bits"] == 0
    assert rows_of(1).figures["bits"] == pytest.approx(-np.log2(2 * matrix_products.bound(4, "float32")))


def test_the_worst_element_of_a_product_is_judged():
    p = Product("forwards", "p", 1, np.ones((1, 4), np.float32), np.ones((4, 3), np.float32))
    for change, passed in ((0.99, True), (-0.99, True), (1.01, False), (np.nan, False)):
        answer = p.exact[0].copy()
        answer[0, 2] += change * matrix_products.bound(4, "float32") * 4
        found = matrix_products.precision({"p": p.exact}, "float32", {"products": {"p": answer}})
        assert found.passed == passed and (passed or found.found.endswith("promised: element 0, 2 of p"))


# The reference of a CPU


def test_a_process_writes_the_reference_of_a_cpu(monkeypatch):
    seen = {"code": 0}

    class Process(child_process.Child):
        def __init__(self, arguments):
            seen.update(arguments=arguments)
            self.files = [io.BytesIO(), io.BytesIO(seen.get("stderr", b""))]

        def wait(self):
            return seen["code"]

        def kill(self):
            pass

    class Recorded:
        def __init__(self, file, flag):
            self.file, self.flag, self.about = file, flag, {"device": {"actual": "CPU"}}

    monkeypatch.setattr(reference, "Child", Process)
    monkeypatch.setattr(reference, "Recorded", Recorded)
    found = reference.written_on_cpu("jax", {"steps": 5, "strategy": "gpu"})
    assert found.name == "CPU (jax), which agrees with NumPy" and found.flag == "--against=cpu"
    assert seen["arguments"][:2] == ["-m", "mnist_mlp.parity"]
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in seen["arguments"][2:])
    assert (flags["steps"], flags["strategy"], flags["backend"]) == ("5", "cpu", "jax")
    assert Path(flags["write"]) == found.file and Path(flags["certificate"]).parent == found.file.parent
    for stderr, said in ((b"chatter\nerror: x\n", ": error: x"), (b" \n", "")):
        seen.update(code=4, stderr=stderr)
        with pytest.raises(UserError) as error:
            reference.written_on_cpu("jax", {})
        assert str(error.value) == (
            f"--against=cpu: the process that writes the reference on the CPU exited with code 4{said}"
        )


# Traces


def test_a_trace_of_jax_is_stopped_whatever_happens(monkeypatch, tmp_path):
    said = []
    profiler = SimpleNamespace(
        start_trace=lambda place, create_perfetto_trace: said.append((place, create_perfetto_trace)),
        stop_trace=lambda: said.append("stop"),
    )
    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(profiler=profiler))  # itself it takes seconds to import
    traced = runpy.run_path(str(Path(mnist_mlp.__file__).parent / "engine" / "jax" / "trace.py"))["traced"]
    with pytest.raises(KeyError), traced(tmp_path):
        assert said == [(str(tmp_path), True)]
        raise KeyError
    assert said[1:] == ["stop"]


@pytest.fixture
def packed():
    """An XSpace of TensorFlow's profiler with a line of one event, and a plane without lines."""
    pytest.importorskip("tensorflow")
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

    space = XSpace()
    space.planes.add(name="empty")
    plane = space.planes.add(name="/host:CPU")
    line = plane.lines.add(name="thread", timestamp_ns=5000)
    plane.event_metadata[3].name = "matmul"
    plane.event_metadata[4].name, plane.event_metadata[4].display_name = "long name", "short"
    line.events.add(metadata_id=3, offset_ps=2_000_000, duration_ps=500_000)
    other = plane.lines.add(name="x", display_name="Steps", timestamp_ns=0)
    other.events.add(metadata_id=4, offset_ps=0, duration_ps=0)
    return space.SerializeToString()


def test_an_xspace_becomes_trace_events(packed):
    from mnist_mlp.engine.tensorflow.trace import as_trace_events

    assert as_trace_events(packed) == {
        "displayTimeUnit": "ns",
        "traceEvents": [
            {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "/host:CPU"}},
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": 1, "args": {"name": "thread"}},
            {"ph": "X", "name": "matmul", "pid": 1, "tid": 1, "ts": 7.0, "dur": 0.5},
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": 2, "args": {"name": "Steps"}},
            {"ph": "X", "name": "short", "pid": 1, "tid": 2, "ts": 0.0, "dur": 0.0},
        ],
    }


def test_the_newest_trace_of_tensorflow_gets_its_events(packed, monkeypatch, tmp_path):
    from mnist_mlp.engine.tensorflow import trace

    said = []
    profiler = SimpleNamespace(start=said.append, stop=lambda: said.append("stop"))
    fake = SimpleNamespace(profiler=SimpleNamespace(experimental=profiler))
    monkeypatch.setattr(trace, "tf", fake)
    old, new = (tmp_path / "plugins" / "profile" / name for name in ("2025_01", "2025_02"))
    with trace.traced(tmp_path):
        for place in (new, old):
            place.mkdir(parents=True)
            (place / "host.xplane.pb").write_bytes(packed)
    assert said == [str(tmp_path), "stop"] and not (old / trace.PERFETTO).exists()
    events = json.loads(gzip.decompress((new / trace.PERFETTO).read_bytes()))["traceEvents"]
    assert [event["name"] for event in events if event["ph"] == "X"] == ["matmul", "short"]


# Paper


def sheet(width=200, height=120, rise=0.0, line=0.4, stroke=1.0):
    """Ink of a thick vertical stroke on a line from border to border that rises by so much for each pixel."""
    found = np.zeros((height, width), np.float32)
    columns = np.arange(width)
    rows = np.rint(60 + rise * (columns - width / 2)).astype(int)
    for thick in (0, 1):
        found[rows + thick, columns] = line
    found[20:100, 90:104] = stroke
    return found


@pytest.mark.parametrize("rise", [0.0, 0.05, -0.05])
def test_a_line_of_the_paper_goes_and_the_digit_stays(rise):
    for turned in (False, True):
        drawn = sheet(rise=rise)
        given = drawn.T.copy() if turned else drawn
        found = ruled_lines.without_lines(given, 0.05)
        found = found.T if turned else found
        assert found.dtype == np.float32 and (found[20:100, 90:104] == 1).all()
        assert not found[:, :85].any() and not found[:, 110:].any()


@pytest.mark.parametrize("rise", [0.2, -0.2])
def test_a_steep_line_is_a_stroke(rise):
    drawn = sheet(rise=rise)
    assert ruled_lines.without_lines(drawn, 0.05) is drawn


def test_a_line_that_ends_before_the_border_is_a_stroke():
    for cut in (slice(0, 10), slice(190, 200)):
        drawn = sheet()
        drawn[60:62, cut] = 0
        assert ruled_lines.without_lines(drawn, 0.05) is drawn


def test_small_pictures_have_no_lines():
    small = sheet(height=120, width=200)[10:109]
    assert min(small.shape) == 99 and ruled_lines.without_lines(small, 0.05) is small
    assert ruled_lines.without_lines(sheet()[10:110], 0.05)[:, :85].any() == False  # noqa: E712  # of NumPy
    blank = np.zeros((120, 200), np.float32)
    assert ruled_lines.without_lines(blank, 0.05) is blank


def test_a_line_as_strong_and_as_wide_as_the_rest_stays():
    drawn = sheet(line=1.0)
    drawn[20:100, 90:104] = 0
    drawn[20:100, 96:98] = 1
    assert ruled_lines.without_lines(drawn, 0.05) is drawn
    thick = sheet(line=1.0)  # thinner than the stroke
    assert not ruled_lines.without_lines(thick, 0.05)[:, :85].any()


def test_thickness_of_a_band():
    band = np.zeros((100, 1000), bool)
    band[40:48] = True  # area 8,000, edges 2 · 1,008
    assert ruled_lines.thickness(band) == pytest.approx(2 * 8000 / (2016 * np.pi / 4))
    assert ruled_lines.thickness(np.zeros((3, 3), bool)) == 0


def test_only_long_vertical_runs_are_opened():
    mask = np.zeros((10, 4), bool)
    mask[0:3, 0] = mask[7:10, 1] = mask[2:8, 2] = mask[1:3, 3] = True
    assert ruled_lines.opened(mask, 3).tolist() == (mask & (np.arange(4) < 3)).tolist()
    assert not ruled_lines.opened(mask, 7).any() and ruled_lines.opened(mask, 6)[:, 2].sum() == 6


def test_what_no_window_fits_into_is_filled():
    paper = np.full((9, 9), 200.0)
    paper[4, 2:5] = 50  # narrower than the window
    np.testing.assert_array_equal(ink.closed(paper, 3), np.full((9, 9), 200.0))
    paper[3:6, 2:6] = 50  # a window of three fits
    np.testing.assert_array_equal(ink.closed(paper, 3), paper)
    assert ink.closed(paper, 4)[4, 4] == 200
    corner = np.full((9, 9), 200.0)
    corner[:2, :2] = 50  # windows may reach beyond the border
    np.testing.assert_array_equal(ink.closed(corner, 3), corner)


def test_ink_is_found_on_paper_that_is_lit_unevenly():
    y, x = np.mgrid[:60, :80].astype(np.float32)
    paper = (150 + x + 0.4 * y).astype(np.float32)
    for sign in (-1, 1):
        levels = paper.copy() if sign < 0 else paper - 100
        levels[15:45, 38:43] += sign * 100
        (found,) = [each.ink for each in ink.maps_of(levels) if each.method == ink.EVEN]
        assert found.shape == levels.shape and (found[18:42, 39:42] > 0.9).all() and found[:, :34].max() < 1e-6
        assert found[:, 48:].max() < 1e-6
    assert not [each for each in ink.maps_of(paper) if each.method == ink.EVEN]


def test_paper_of_one_level_is_that_level():
    levels = np.full((10, 10), 200, np.float32)
    levels[:5] = np.arange(50, dtype=np.float32).reshape(5, 10)
    assert (ink.paper_of(levels) == 200).all()
    assert ink.shrunk((50, 100), 100) == (50, 100) and ink.shrunk((50, 200), 100) == (25, 100)
    assert ink.shrunk((1, 1000), 100) == (1, 100)
    assert ink.noise_of(np.array([0.0, -2, 1])) == pytest.approx(1.4826)
    assert ink.peak_of(np.arange(1000.0)) == 998.5 and ink.peak_of(np.array([3.0, 1])) == 3
