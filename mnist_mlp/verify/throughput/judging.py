"""What the figures say: whether they can be true, in a line, and from which batch size on the device is worth it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from mnist_mlp.verify.throughput import clocks
from mnist_mlp.verify.throughput.clocks import JUDGED
from mnist_mlp.verify.throughput.figures import BatchTiming, Figures

# Whatever else a machine does makes a call slower, never quicker. So a limit compares the slowest call of what seems
# too quick with the quickest one of what it should not beat; all are made in turn, so that a busy moment meets both.
# Noise alone then trips a limit only if it slows every single call of one kind and not one of the other.

# A step is matrix products and slower work. But it may count operations that are not done, and libraries reach only 70
# to 95% of a device with a large product, whose threads moreover wait for one another where other processes are busy:
# with eight of those on two cores, the median of small steps reached 1.5 times its rate. A step that is not computed
# is quicker by far more than twice that.
BEYOND_THE_PRODUCT = 3.0
# A step on more images does all that one on fewer does, and more. But kernels are chosen by shape, and a batch too
# small for the better one is at times slower by some tens of percent.
QUICKER_THAN_SMALLER = 2.0
# A call of four times as many steps lasts about as many times as long, less where a call has a cost of its own, as on a
# device at the other end of a network. So it has to last longer by a part, or by what the further steps take at least.
LONGER = 1.25
# A wrong product is wrong by its own size. One whose factors were rounded to bfloat16 errs by under a hundredth.
PRODUCT_ERROR = 0.05
# Less is within what two measurements of the same thing differ by, and would not be worth moving a program for.
WORTH = 1.1


def problem(figures: Figures) -> str:
    """Return why these figures cannot be true, or ""."""
    checks: Sequence[Callable[[Figures], str]] = (not_computed, wrong_clock, not_waited_for, beyond_product, too_quick)
    return next((found for check in checks if (found := check(figures))), "")


def not_computed(figures: Figures) -> str:
    """Find steps that were not made, or whose results are no numbers, and data that did not arrive."""
    for batch in figures.batches:
        steps = f"of {batch.steps_asked:,} steps at batch size {batch.batch_size:,}"
        if batch.steps_made != batch.steps_asked:
            return f"{steps} the optimizer counted {batch.steps_made:,}"
        if not batch.finite:
            return f"{steps} some gave losses or weights that are not finite"
        if batch.unchanged:
            return f"{steps} none changed {', '.join(batch.unchanged)}"
    if not figures.product.error <= PRODUCT_ERROR:  # nor nan
        size = figures.product.size
        return f"the product of two matrices [{size}, {size}] is wrong by {figures.product.error:.2g} of its size"
    return "" if figures.copy.complete else "the images that were copied to the device are not the same there"


def wrong_clock(figures: Figures) -> str:
    return clocks.problem(figures.intervals, figures.cores)


def not_waited_for(figures: Figures) -> str:
    """Find calls that take no longer for more steps."""
    for batch in figures.batches:
        if not batch.short_calls:
            continue
        more = max(call[JUDGED] for call in batch.calls)
        fewer = min(call[JUDGED] for call in batch.short_calls)
        further = batch.steps_per_call - batch.steps_per_short_call
        fastest = BEYOND_THE_PRODUCT * figures.product.flops_per_second
        least = further * batch.step_flops / fastest if fastest > 0 else 0.0
        if more < LONGER * fewer and more - fewer < least:
            return (
                f"{batch.steps_per_call:,} steps at batch size {batch.batch_size:,} took {duration(more)}, and "
                f"{batch.steps_per_short_call:,} took {duration(fewer)}: the calls do not wait for what they time"
            )
    return ""


def beyond_product(figures: Figures) -> str:
    """Find a step that does more operations per second than a matrix product, which is most of a step."""
    product = figures.product
    for batch in figures.batches:
        slowest = max(batch.seconds)
        reached = batch.step_flops / slowest if slowest > 0 else float("inf")
        if reached > BEYOND_THE_PRODUCT * product.flops_per_second:
            return (
                f"a step at batch size {batch.batch_size:,} took {duration(slowest)} at most, {rate_of(reached)}; a "
                f"product of matrices [{product.size}, {product.size}], which a step mostly is, reached "
                f"{rate_of(product.flops_per_second)}"
            )
    return ""


def too_quick(figures: Figures) -> str:
    """Find a step that took less time than one on fewer images."""
    for one, other in itertools.combinations(figures.batches, 2):
        smaller, larger = sorted((one, other), key=lambda batch: batch.batch_size)
        if QUICKER_THAN_SMALLER * max(larger.seconds) < min(smaller.seconds):
            return (
                f"a step at batch size {larger.batch_size:,} took {duration(max(larger.seconds))} at most, and one at "
                f"{smaller.batch_size:,}, which is a part of its work, {duration(min(smaller.seconds))} at least"
            )
    return ""


def summary(figures: Figures, beside: Figures | None = None) -> str:
    """Return the figures in a line for the table: those of the smallest batch size, and of the largest."""
    smallest, largest = figures.batches[0], figures.batches[-1]
    parts = [f"{smallest.batch_size:,}: {duration(smallest.step_seconds)} ({per_second(smallest)})"]
    share = f"{figures.share(largest):.0%} of the matrix product's {rate_of(figures.product.flops_per_second)}"
    parts += [f"… {largest.batch_size:,}: {share}, n = {min(len(batch.calls) for batch in figures.batches)}"]
    line = " ".join(parts)
    if figures.left_out:
        line += f"; left out: {', '.join(f'{int(size):,}' for size in figures.left_out)}"
    return line + (f"; {worth_it(figures, beside)}" if beside else "")


def gains(figures: Figures, beside: Figures) -> dict[int, float]:
    """Return how many times as fast as the CPU beside it the device makes a step, by batch size, from the smallest.

    The two were not measured in turn, so a busy minute may have met one of them: their quickest calls are compared.
    """
    seconds = {batch.batch_size: min(batch.seconds) for batch in beside.batches}
    return {
        batch.batch_size: seconds[batch.batch_size] / min(batch.seconds)
        for batch in figures.batches
        if batch.batch_size in seconds and min(batch.seconds) > 0
    }


def worth_it_from(gain: dict[int, float]) -> int | None:
    """Return the batch size from which on, at all that were tried, the device is worth it, or None."""
    found = None
    for size in sorted(gain, reverse=True):
        if gain[size] < WORTH:
            break
        found = size
    return found


def worth_it(figures: Figures, beside: Figures) -> str:
    """Return in a plain sentence from which batch size on the device is worth it."""
    gain, device = gains(figures, beside), f"the {figures.kind}"
    if not gain:
        return f"no batch size was measured on both {device} and the CPU beside it"
    start, smallest, largest = worth_it_from(gain), min(gain), max(gain)
    if start == smallest:
        return (
            f"{device} is worth it at every batch size that was tried: {as_fast(gain[smallest])} as the CPU beside it "
            f"at {smallest:,}, {as_fast(gain[largest])} at {largest:,}"
        )
    if start is not None:
        return (
            f"{device} is worth it from batch size {start:,} on: {as_fast(gain[largest])} as the CPU beside it at "
            f"{largest:,}, but {as_fast(gain[smallest])} at {smallest:,}"
        )
    if pays := [size for size in gain if gain[size] >= WORTH]:
        return (
            f"{device} is worth it only at batch size {', '.join(f'{size:,}' for size in pays)}: at {largest:,} it is "
            f"{as_fast(gain[largest])} as the CPU beside it"
        )
    best = max(gain, key=gain.__getitem__)
    return (
        f"{device} is not worth it at any batch size that was tried: at best, at {best:,}, it is {as_fast(gain[best])} "
        "as the CPU beside it"
    )


def as_fast(ratio: float) -> str:
    """
    >>> as_fast(12.34), as_fast(1.04), as_fast(0.456)
    ('12 times as fast', 'about as fast', '0.46 times as fast')
    """
    if 1 / WORTH < ratio < WORTH:
        return "about as fast"
    return f"{float(f'{ratio:.2g}'):,.15g} times as fast"


def per_second(batch: BatchTiming) -> str:
    """Return the images per second, to three digits: "103,000 images/s"."""
    return f"{float(f'{batch.images_per_second:.3g}'):,.0f} images/s"


def duration(seconds: float) -> str:
    """
    >>> duration(0.000312), duration(0.0123), duration(2.5)
    ('0.312 ms', '12.3 ms', '2.5 s')
    """
    return f"{digits(1000 * seconds)} ms" if seconds < 0.9995 else f"{digits(seconds)} s"


def digits(value: float) -> str:
    """Return three significant digits, without an exponent where there are few."""
    return f"{float(f'{value:.3g}'):g}"


def rate_of(flops_per_second: float) -> str:
    """
    >>> rate_of(1.8e11), rate_of(5.12e13)
    ('180 GFLOP/s', '51.2 TFLOP/s')
    """
    if flops_per_second >= 1e12:
        return f"{flops_per_second / 1e12:.3g} TFLOP/s"
    return f"{flops_per_second / 1e9:.3g} GFLOP/s"
