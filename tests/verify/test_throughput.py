"""The stage throughput: what is judged of figures that are made up, and one small measurement of a real device."""

import dataclasses
import functools
import json
import random
import re
import time

import numpy as np
import pytest
from helpers.fork_server import run, run_code

from mnist_mlp.devices import Plan
from mnist_mlp.engine.base import DeviceSet
from mnist_mlp.verify.context import Context
from mnist_mlp.verify.throughput import clocks, judging, measuring, memory, stage
from mnist_mlp.verify.throughput.figures import BatchTiming, CopyTiming, Effort, Figures, ProductTiming
from mnist_mlp.verify.throughput.measuring import order_of, repeated

# A CPU of two cores, and a GPU that is slow to start with: seconds of a step by batch size.
CPU = {32: 0.0002, 2_048: 0.007, 65_536: 0.22}
GPU = {32: 0.0004, 2_048: 0.0005, 65_536: 0.002}
CPU_PEAK, GPU_PEAK = 1.8e11, 2e13  # operations per second of a matrix product


def interval(seconds, **clocks_):
    """What the clocks count in `seconds`, unless the keywords say otherwise."""
    others = dict.fromkeys(("CLOCK_BOOTTIME", "CLOCK_REALTIME", "CLOCK_MONOTONIC_RAW"), seconds)
    return {"perf_counter": seconds, **others, "process_time": 1.5 * seconds, **clocks_}


def batch(size, seconds, steps=400, n=3, noise=lambda: 1.0, **more):
    calls, short = ([interval(count * seconds * noise()) for _ in range(n)] for count in (steps, steps // 4))
    counted = {"steps_asked": 4 * steps, "steps_made": 4 * steps}
    return BatchTiming(size, 0.8, steps, calls, 457_000.0 * size, steps // 4, short, **counted | more)


def product(peak, n=3, noise=lambda: 1.0, **more):
    return ProductTiming(1024, 1, 10, [interval(2 * 1024**3 * 10 / peak * noise()) for _ in range(n)], 1e-6, **more)


def figures(seconds=CPU, peak=CPU_PEAK, kind="CPU", noise=lambda: 1.0, **changed):
    batches = [batch(size, of_step, noise=noise) for size, of_step in seconds.items()]
    copy = CopyTiming(51_380_224, [interval(0.02)] * 3, True)
    return dataclasses.replace(Figures(f"{kind}: one", kind, 2, batches, product(peak, noise=noise), copy), **changed)


def with_clocks(found, change):
    """The figures as they are where the clocks counted `change(interval)` instead."""

    def changed(part):
        names = [name for name in ("calls", "short_calls") if hasattr(part, name)]
        return dataclasses.replace(part, **{name: [change(each) for each in getattr(part, name)] for name in names})

    return dataclasses.replace(
        found,
        batches=[changed(each) for each in found.batches],
        product=changed(found.product),
        copy=changed(found.copy),
    )


def test_figures_that_can_be_true_pass():
    assert judging.problem(figures()) == ""
    assert judging.problem(figures(GPU, GPU_PEAK, "GPU")) == ""


def test_the_line_of_the_table():
    assert judging.summary(figures()) == (
        "32: 0.2 ms (160,000 images/s) … 65,536: 76% of the matrix product's 180 GFLOP/s, n = 3"
    )
    left_out = figures({size: CPU[size] for size in (32, 2_048)}, left_out={"65536": "too little memory"})
    assert judging.summary(left_out) == (
        "32: 0.2 ms (160,000 images/s) … 2,048: 74% of the matrix product's 180 GFLOP/s, n = 3; left out: 65,536"
    )


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t | {"perf_counter": t["perf_counter"] / 10}, "the clock is wrong: .*[(]0.1 times as many[)]"),
        (lambda t: t | {"perf_counter": t["perf_counter"] * 10}, "the clock is wrong: .*[(]10 times as many[)]"),
        (lambda t: t | {"perf_counter": 0.0}, "a clock stands still: time.perf_counter counted 0 s while CLOCK_BOOT"),
        (lambda t: t | {"CLOCK_REALTIME": 0.0}, "a clock stands still: .* CLOCK_REALTIME counted 0 s"),
        # Each clock of the system is slow, but not the one that counts computing.
        (lambda t: {name: s if name == "process_time" else s / 10 for name, s in t.items()}, "the clock is too slow"),
    ],
    ids=["slow", "fast", "stopped", "other-stopped", "all-slow"],
)
def test_a_wrong_clock_refutes(change, words):
    problem = judging.problem(with_clocks(figures(), change))
    assert re.search(words, problem), problem


def test_by_how_much_the_clocks_differ_is_said():
    slow = with_clocks(figures(), lambda t: t | {"perf_counter": t["perf_counter"] / 10})
    assert slow.as_json()["clocks"]["rate_beside_CLOCK_BOOTTIME"] == pytest.approx(0.1)
    right = figures().as_json()["clocks"]
    assert right["rate_beside_CLOCK_REALTIME"] == 1 and right["perf_counter_seconds"] > 100


def test_a_clock_that_jumps_once_refutes_if_it_is_the_one_that_times():
    found = figures()
    intervals = found.intervals
    intervals[4] = interval(0.3, perf_counter=3600.3)
    jumped = "the clock jumped: time.perf_counter counted 3.6e+03 s while all others counted 0.3 s"
    assert clocks.problem(intervals, 2) == jumped
    intervals[4] = interval(0.3, CLOCK_REALTIME=3600.3)  # someone has set it
    assert clocks.problem(intervals, 2) == ""
    intervals[4] = interval(0.3, CLOCK_REALTIME=3600.3, CLOCK_BOOTTIME=3600.3)  # a laptop has slept
    assert clocks.problem(intervals, 2) == ""
    # CLOCK_REALTIME and with it perf_counter are being corrected as fast as chrony does.
    assert clocks.problem([interval(0.3 * 1.083, CLOCK_MONOTONIC_RAW=0.3)] * 9, 2) == ""


def test_the_clocks_of_this_machine_agree():
    intervals = [clocks.timed(lambda: time.sleep(0.06)) for _ in range(3)]
    assert clocks.problem(intervals, clocks.cores()) == ""
    assert set(intervals[0]) > {"perf_counter", "process_time", "CLOCK_REALTIME"}


def test_a_patched_clock_is_found(monkeypatch):
    right = time.perf_counter
    monkeypatch.setattr(time, "perf_counter", lambda: 10 * right())
    intervals = [clocks.timed(lambda: time.sleep(0.06)) for _ in range(3)]
    assert "9.9" in clocks.problem(intervals, clocks.cores()) or "10" in clocks.problem(intervals, clocks.cores())
    monkeypatch.setattr(time, "perf_counter", lambda: 42.0)
    intervals = [clocks.timed(lambda: time.sleep(0.06)) for _ in range(3)]
    assert clocks.problem(intervals, clocks.cores()).startswith("a clock stands still: time.perf_counter counted 0 s")
    assert all(clocks.longest(each) >= 0.06 for each in intervals)  # what waits for a time comes to an end


def test_a_rate_beyond_the_matrix_product_refutes():
    problem = judging.problem(figures(CPU | {65_536: 0.05}))  # and 2,048 as it was: slower than linear, still
    assert problem == (
        "a step at batch size 65,536 took 50 ms at most, 599 GFLOP/s; a product of matrices [1024, 1024], which a step "
        "mostly is, reached 180 GFLOP/s"
    )
    assert judging.problem(figures(CPU | {65_536: 0.12})) == ""  # 139%: counted generously, or an unlucky shape


def test_one_call_that_seems_too_quick_refutes_nothing():
    mixed = batch(65_536, 0.22)
    mixed = dataclasses.replace(mixed, calls=[interval(0.04 * mixed.steps_per_call), *mixed.calls[1:]])
    assert judging.problem(figures(batches=[mixed])) == ""


def test_more_images_in_much_less_time_refute():
    problem = judging.problem(figures(GPU | {2_048: 0.00001}, 1e15, "GPU"))
    assert problem == (
        "a step at batch size 2,048 took 0.01 ms at most, and one at 32, which is a part of its work, 0.4 ms at least"
    )
    assert judging.problem(figures(GPU | {2_048: 0.0003}, GPU_PEAK, "GPU")) == ""  # a better kernel


def test_calls_that_nobody_waits_for_refute():
    asynchronous = batch(65_536, 0.22, steps=8)
    asynchronous = dataclasses.replace(asynchronous, short_calls=[interval(1.7)] * 3)  # two steps as long as eight
    problem = judging.problem(figures(batches=[*figures().batches[:2], asynchronous]))
    assert problem == (
        "8 steps at batch size 65,536 took 1.76 s, and 2 took 1.7 s: the calls do not wait for what they time"
    )


def test_calls_that_cost_more_than_their_steps_refute_nothing():
    """As on a device at the other end of a network."""
    far = batch(65_536, 0.002, steps=64)
    calls = [[interval(each["perf_counter"] + 0.5) for each in calls] for calls in (far.calls, far.short_calls)]
    far = dataclasses.replace(far, calls=calls[0], short_calls=calls[1])
    assert judging.problem(figures(GPU, GPU_PEAK, "GPU", batches=[far])) == ""


@pytest.mark.parametrize(
    "changed, words",
    [
        ({"steps_made": 12}, "of 1,600 steps at batch size 32 the optimizer counted 12"),
        ({"finite": False}, "of 1,600 steps at batch size 32 some gave losses or weights that are not finite"),
        ({"unchanged": ["model/dense/kernel"]}, "of 1,600 steps at batch size 32 none changed model/dense/kernel"),
    ],
)
def test_a_device_that_does_not_compute_refutes(changed, words):
    assert judging.problem(figures(batches=[batch(32, 0.0002, **changed)])) == words


@pytest.mark.parametrize("error", [1.0, float("nan")])
def test_a_wrong_matrix_product_refutes(error):
    wrong = dataclasses.replace(figures().product, error=error)
    assert judging.problem(figures(product=wrong)).startswith("the product of two matrices [1024, 1024] is wrong by ")
    bfloat16 = dataclasses.replace(figures().product, error=2**-8)
    assert judging.problem(figures(product=bfloat16)) == ""


def test_images_that_did_not_arrive_refute():
    lost = dataclasses.replace(figures().copy, complete=False)
    assert "are not the same there" in judging.problem(figures(copy=lost))


def test_noise_refutes_nothing():
    """A busy machine slows any call up to ten times, but not all calls of one kind and none of another."""
    for seed in range(300):
        drawn = random.Random(seed)
        calls = iter(range(1_000_000))

        def noise(drawn=drawn, calls=calls):
            undisturbed = next(calls) % 3 == 0  # one call in three
            return drawn.uniform(1, 1.3) if undisturbed else drawn.choice([1, 1, 2, 5, 10]) * drawn.uniform(1, 1.3)

        flat = {size: 0.0004 for size in (32, 128, 512, 2_048)}  # a GPU, whose steps last as long as their start
        assert judging.problem(figures(noise=noise)) == ""
        assert judging.problem(figures(flat | {65_536: 0.002}, GPU_PEAK, "GPU", noise=noise)) == ""


@pytest.mark.parametrize(
    "gpu, start, words",
    [
        (
            GPU,
            2_048,
            "the GPU is worth it from batch size 2,048 on: 110 times as fast as the CPU beside it at 65,536, but 0.5 "
            "times as fast at 32",
        ),
        (
            {32: 0.0001, 2_048: 0.0005, 65_536: 0.002},
            32,
            "the GPU is worth it at every batch size that was tried: 2 times as fast as the CPU beside it at 32, 110 "
            "times as fast at 65,536",
        ),
        (
            {32: 0.004, 2_048: 0.01, 65_536: 0.21},
            None,
            "the GPU is not worth it at any batch size that was tried: at best, at 65,536, it is about as fast as the "
            "CPU beside it",
        ),
        (
            {32: 0.0004, 2_048: 0.001, 65_536: 0.44},
            None,
            "the GPU is worth it only at batch size 2,048: at 65,536 it is 0.5 times as fast as the CPU beside it",
        ),
    ],
    ids=["from", "always", "never", "between"],
)
def test_from_which_batch_size_on_a_device_is_worth_it(gpu, start, words):
    device = figures(gpu, GPU_PEAK, "GPU")
    found = stage.judged(device, figures())
    assert (found.status, found.details["worth_it_from_batch_size"]) == ("passed", start)
    assert found.details["worth_it"] == words and found.figure.endswith(f", n = 3; {words}")


def test_a_busy_minute_does_not_make_a_device_worth_it():
    busy = iter([1.0, 5.0, 8.0] * 6)  # two of three calls of the CPU
    disturbed = figures({32: 0.0002}, noise=lambda: next(busy))
    assert disturbed.batches[0].step_seconds == pytest.approx(0.001)
    assert judging.gains(figures({32: 0.0002}, kind="GPU"), disturbed) == pytest.approx({32: 1.0})


def test_sizes_that_only_one_of_the_devices_has_are_not_compared():
    device = figures(GPU, GPU_PEAK, "GPU")
    small = figures({32: 0.0002}, left_out={"65536": "too little memory"})
    assert judging.worth_it_from(judging.gains(device, small)) is None
    assert judging.worth_it(device, figures({64: 0.1})).startswith("no batch size was measured on both ")


def test_without_the_cpu_beside_it_the_reason_is_kept():
    found = stage.judged(figures(GPU, GPU_PEAK, "GPU"), "its process was killed by signal 9 (SIGKILL)")
    assert found.status == "passed" and found.details["cpu_beside"] is None
    assert found.details["cpu_beside_missing"] == "its process was killed by signal 9 (SIGKILL)"


def test_wrong_figures_of_the_cpu_beside_it_refute_too():
    cpu = with_clocks(figures(), lambda t: t | {"perf_counter": 0.0})
    found = stage.judged(figures(GPU, GPU_PEAK, "GPU"), cpu)
    assert found.status == "refuted" and found.reason.startswith("on the CPU beside the device: a clock stands still")
    json.dumps(found.details, allow_nan=False)


def test_figures_survive_a_file():
    found = figures()
    assert Figures.from_raw(json.loads(json.dumps(dataclasses.asdict(found)))).as_json() == found.as_json()


def test_details_have_their_units_in_their_names():
    details = stage.judged(figures(), "the device is the CPU itself").details
    (first, *_, last) = details["batches"]
    assert (first["batch_size"], first["step_seconds"], first["images_per_second"]) == pytest.approx((32, 2e-4, 16e4))
    assert last["share_of_matrix_product"] == pytest.approx(457_000 * 65_536 / 0.22 / CPU_PEAK)
    assert details["matrix_product"]["flops_per_second"] == pytest.approx(CPU_PEAK)
    assert details["copy_to_device"]["bytes_per_second"] == pytest.approx(51_380_224 / 0.02)


@pytest.mark.parametrize(
    "error, too_little",
    [
        (MemoryError(), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 123 bytes."), True),
        (type("ResourceExhaustedError", (Exception,), {})("OOM when allocating"), True),
        (RuntimeError("INVALID_ARGUMENT: no such device"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_errors_that_mean_too_little_memory(error, too_little):
    assert memory.is_too_little(error) is too_little


def test_the_memory_of_a_container_is_its_own(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9999 kB\nMemAvailable:  8000 kB\n")
    assert memory.available(tmp_path) == 8_192_000
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    for name, text in (("memory.max", "5000000"), ("memory.current", "4000000"), ("memory.stat", "inactive_file 77\n")):
        (group / name).write_text(text)
    assert memory.available(tmp_path) == 1_000_077
    (group / "memory.max").write_text("max\n")
    assert memory.available(tmp_path) == 8_192_000
    assert memory.available(tmp_path / "nowhere") is None


def test_images_are_repeated_up_to_the_largest_batch(digits):
    split = repeated(digits.train, 3_000)
    assert split.images.shape == (3_000, 28, 28) and split.images.dtype == "uint8" and len(split.labels) == 3_000
    assert (split.images[len(digits.train)] == digits.train.images[0]).all()


def test_an_order_has_enough_steps_for_a_fast_device_and_few_for_a_slow_one():
    sizes = (32, 2_048, 65_536)
    assert [len(order_of(65_536, size, 0, on_cpu=True)) for size in sizes] == [2_048, 32, 8]
    assert [len(order_of(65_536, size, 0, on_cpu=False)) for size in sizes] == [2_048, 2_048, 64]
    assert set(order_of(600, 128, 0, on_cpu=True).ravel()) == {-1, *range(600)}


class Multiplier:
    """An engine that multiplies a row at once, and has memory for matrices up to a size."""

    devices = DeviceSet("GPU: one", replicas=2)

    def __init__(self, most, wrong=0.0):
        self.most, self.wrong = most, wrong

    def matrix_product(self, left, right):
        if len(left) > self.most:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return lambda times: functools.reduce(np.matmul, [right] * times, left[-1]) + self.wrong


@pytest.mark.parametrize("most, size", [(64, 64), (256, 256), (10_000, 512)])
def test_matrices_are_as_large_as_time_and_memory_want(most, size, monkeypatch):
    monkeypatch.setattr(measuring, "SMALLEST_PRODUCT", 64)
    monkeypatch.setattr(measuring, "LARGEST_PRODUCT", 512)
    monkeypatch.setattr(measuring, "PRODUCT_SECONDS", 1.0)
    monkeypatch.setattr(measuring, "longest", lambda interval: 1 / 9)  # which asks for matrices four times as large
    trial = measuring.ProductTrial(Multiplier(most), call_seconds=1)
    trial.measure()
    found = trial.timing()
    assert (found.size, found.products_per_call, found.error < 1e-5) == (size, 9, True)
    seconds = found.calls[0]["perf_counter"]
    assert found.flops_per_second == pytest.approx(2 * 2 * size**3 * 9 / seconds)  # both replicas


def test_a_wrong_product_has_a_large_error(monkeypatch):
    monkeypatch.setattr(measuring, "SMALLEST_PRODUCT", 64)
    monkeypatch.setattr(measuring, "PRODUCT_SECONDS", 0)
    assert measuring.ProductTrial(Multiplier(64, wrong=1.0), 0.01).timing().error > judging.PRODUCT_ERROR
    assert measuring.ProductTrial(Multiplier(64, wrong=np.nan), 0.01).timing().error != 0


def test_every_tier_begins_small_and_ends_large():
    for tier, last, count in (("quick", 16_384, 2), ("usual", 65_536, 6), ("full", 65_536, 9)):
        sizes = stage.EFFORTS[tier].batch_sizes
        assert (sizes[0], sizes[-1], len(sizes)) == (32, last, count) and list(sizes) == sorted(sizes)


SMALL = Effort((32, 512), rounds=3, call_seconds=0.03, seconds=3)
MEASURE = """
import dataclasses, json, sys
from pathlib import Path
from mnist_mlp.devices import Plan
from mnist_mlp.verify.context import Context
from mnist_mlp.verify.throughput import figures, measuring, stage
measuring.SMALLEST_PRODUCT, measuring.PRODUCT_SECONDS = 256, 0
measuring.memory.available = lambda: 12_000 * 512 + 1
effort = figures.Effort(**json.loads(sys.argv[1]))
device = {"strategy": "cpu", "backend": "jax", "replicas": None, "tpu": "", "start_timeout": 300}
stage.EFFORTS["quick"] = dataclasses.replace(effort, batch_sizes=(*effort.batch_sizes, 600))
finding = stage.measure(Context("quick", 0, device, "", Path()))
assert finding.details["left_out"].keys() == {"600"}

# A device that returns at once, without having computed anything.
from mnist_mlp.engine.jax.engine import JaxEngine
import numpy as np
JaxEngine.train_steps = lambda self, batch_indices, start, stop: (np.zeros(len(batch_indices)), 0)
idle = stage.measure(Context("quick", 0, device, "", Path()))
# A memory that ends when the steps begin.
def fail(self, batch_indices, start, stop):
    raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 byte.")
JaxEngine.train_steps = fail
full = stage.measure(Context("quick", 0, device, "", Path()))
print(json.dumps([dataclasses.asdict(each) for each in (finding, idle, full)]))
"""


@pytest.mark.slow
def test_a_device_is_measured():
    """The CPU, with few images and short calls. The figures depend on the machine; that they can be true does not."""
    done = run_code(MEASURE, json.dumps(dataclasses.asdict(SMALL)), backend="jax")
    assert done.returncode == 0, done.stderr
    finding, idle, full = json.loads(done.stdout.splitlines()[-1])
    details = finding["details"]
    assert (finding["status"], finding["reason"]) == ("passed", ""), finding
    assert [each["batch_size"] for each in details["batches"]] == [32, 512]
    assert finding["figure"].startswith("32: ") and finding["figure"].endswith("n = 3; left out: 600")
    small, large = details["batches"]
    assert 0 < small["step_seconds"] < 1 and small["step_flops"] > 3 * 2 * 109_184 * 32 * 0.6
    assert large["step_flops"] == pytest.approx(16 * small["step_flops"], rel=0.1)
    assert small["compile_seconds"] > 0.05 and details["copy_to_device"]["bytes"] == 600 * 784
    assert details["matrix_product"]["relative_error"] < 1e-5
    assert details["clocks"]["rate_beside_CLOCK_REALTIME"] == pytest.approx(1, abs=0.05)
    assert details["cpu_beside_missing"] == "the device is the CPU itself"
    assert idle["status"] == "refuted" and re.fullmatch(
        r"of [\d,]+ steps at batch size 32 the optimizer counted 0", idle["reason"]
    )
    assert (full["status"], full["figure"]) == ("skipped", "")
    assert full["reason"].startswith("batch size 32: too little memory: RESOURCE_EXHAUSTED: Out of memory ")


@pytest.mark.slow
def test_another_device_is_measured_in_a_process_of_its_own(tmp_path, monkeypatch):
    """Forked here, instead of started anew; it finds no accelerator, and answers in a file."""

    environments = []

    class Forked:
        def __init__(self, arguments, environment):
            environments.append(environment)
            self.done = run(arguments[1].removeprefix("mnist_mlp."), *arguments[2:], backend="jax")
            self.outcome = f"exited with code {self.done.returncode}"

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def wait(self, timeout):
            return self.done.returncode

    monkeypatch.setattr(stage, "Child", Forked)
    device = {"strategy": "gpu", "backend": "jax", "replicas": 2, "tpu": "", "start_timeout": 300}
    context = Context("quick", 0, device, "", tmp_path)
    monkeypatch.setitem(vars(context), "plan", Plan("jax", "gpu", "gpu", {}))
    found = stage.figures_in_process(context, dataclasses.replace(SMALL, batch_sizes=(32,)), stage.CPU)
    assert isinstance(found, Figures), found
    assert (found.kind, [each.batch_size for each in found.batches]) == ("CPU", [32])
    assert judging.problem(found) == ""
    assert (environments[0]["CUDA_VISIBLE_DEVICES"], environments[0]["JAX_PLATFORMS"]) == ("-1", "cpu")
    refused = stage.figures_in_process(context, SMALL, {"replicas": 2, "tpu": "local"})
    assert refused == "its process exited with code 2"  # of an error that a user can fix
