"""Is the clock right? Compare the clock that times everything, `time.perf_counter`, with the others of the machine.

All of them may count the same oscillator. So a machine whose oscillator itself is wrong is not found here, but one
where something between it and a program is: a patched or preloaded library, an emulator, a badly set virtual machine.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

# An interval: the seconds that each clock counted during it. "perf_counter" is the clock that is judged;
# "process_time" are the seconds that all threads of this process computed; the others are independent of the first.
Interval = Mapping[str, float]
JUDGED, COMPUTED = "perf_counter", "process_time"
OTHERS = ("CLOCK_BOOTTIME", "CLOCK_REALTIME", "CLOCK_MONOTONIC_RAW", "CLOCK_UPTIME_RAW")  # no system has all

# Clocks may run at different rates, and are set. While the time is being corrected, chrony lets CLOCK_REALTIME run up
# to 8.3% too fast or too slow, which CLOCK_MONOTONIC_RAW does not follow; twice that is no correction. One that is set
# once, or that counts while the machine sleeps, differs in one interval: the median over the intervals is unimpressed.
TOLERANCE = 1.17
# A jump is seen in one interval, where nothing averages. The clocks are read one after the other, and a process may
# lose its processor in between: `read` tries again until this is little, and at last takes what there is.
SLACK, TRIES = 0.001, 10  # seconds, times
JUMP = 0.05  # seconds that a jump has at least, several times what a loaded system takes for one reading
COMPUTED_TOLERANCE = 1.1  # older kernels count computing in ticks


def read() -> dict[str, float]:
    """Return what each clock shows, in seconds. `perf_counter` is read first and last, within `SLACK` if it can be."""
    tightest: tuple[float, dict[str, float]] | None = None
    for _ in range(TRIES):
        shown = {JUDGED: time.perf_counter()}
        shown |= {name: time.clock_gettime(getattr(time, name)) for name in OTHERS if hasattr(time, name)}
        shown[COMPUTED] = time.process_time()
        width = time.perf_counter() - shown[JUDGED]
        if tightest is None or width < tightest[0]:
            tightest = width, shown
        if tightest[0] <= SLACK:
            break
    assert tightest is not None
    return tightest[1]


def since(before: Mapping[str, float]) -> dict[str, float]:
    """Return the interval from an earlier reading until now."""
    return {name: value - before[name] for name, value in read().items()}


def longest(interval: Interval) -> float:
    """Return the seconds of the clock that counted most: what may decide, if `perf_counter` stands still."""
    return max(seconds for name, seconds in interval.items() if name != COMPUTED)


def timed(call: Callable[[], object]) -> dict[str, float]:
    """Return the interval that a call takes."""
    before = read()
    call()
    return since(before)


def problem(intervals: Sequence[Interval], cores: int) -> str:
    """Return what is wrong with the clock that timed these intervals on a machine with `cores` cores, or ""."""
    if not intervals:
        return ""
    return wrong_rate(intervals) or jump(intervals) or too_much_computed(intervals, cores)


def wrong_rate(intervals: Sequence[Interval]) -> str:
    """Find a clock beside which `perf_counter` runs fast or slow, or stands still."""
    own = total(intervals, JUDGED)
    for name in others(intervals):
        counted, ratio = total(intervals, name), rate(intervals, name)
        if not 1 / TOLERANCE <= ratio <= TOLERANCE:
            measured = f"time.perf_counter counted {own:.3g} s while {name} counted {counted:.3g} s"
            if own <= 0 or counted <= 0:
                return f"a clock stands still: {measured}"
            return f"the clock is wrong: {measured} ({own / counted:.3g} times as many)"
    return ""


def rate(intervals: Sequence[Interval], name: str) -> float:
    """Return how many seconds `perf_counter` counts for each second of another clock: the median of the intervals."""
    return statistics.median(
        each[JUDGED] / each[name] if each[name] > 0 else (1.0 if each[JUDGED] <= 0 else float("inf"))
        for each in intervals
    )


def jump(intervals: Sequence[Interval]) -> str:
    """Find an interval in which `perf_counter` differs from every other clock. One of those alone may have been set."""
    for interval in intervals:
        own, all_others = interval[JUDGED], [interval[name] for name in others([interval])]
        if all_others and all(abs(own - other) > JUMP + (TOLERANCE - 1) * max(own, other) for other in all_others):
            right = statistics.median(all_others)
            return f"the clock jumped: time.perf_counter counted {own:.3g} s while all others counted {right:.3g} s"
    return ""


def too_much_computed(intervals: Sequence[Interval], cores: int) -> str:
    """Find more seconds of computing than there were: no process computes longer than the time on every core."""
    own, computed = total(intervals, JUDGED), total(intervals, COMPUTED)
    if computed > COMPUTED_TOLERANCE * cores * own + JUMP:
        return (
            f"the clock is too slow: this process computed for {computed:.3g} s on {cores} core{'s' * (cores > 1)} "
            f"while time.perf_counter counted {own:.3g} s"
        )
    return ""


def others(intervals: Sequence[Interval]) -> list[str]:
    return [name for name in OTHERS if all(name in each for each in intervals)]


def total(intervals: Sequence[Interval], name: str) -> float:
    return sum(each[name] for each in intervals)


def as_json(intervals: Sequence[Interval]) -> dict[str, float]:
    """Return what the clocks counted, and the rate of `perf_counter` beside each other one, for verify.json."""
    found = {f"{name}_seconds": total(intervals, name) for name in (JUDGED, COMPUTED, *others(intervals))}
    return found | {f"rate_beside_{name}": rate(intervals, name) for name in others(intervals)}


def cores() -> int:
    """Return the processors of this machine, of which the process may be allowed fewer."""
    return os.cpu_count() or 1
