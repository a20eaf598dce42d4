"""Cross-entropy by hand, intervals and per-class rows against figures from elsewhere."""

import math

import numpy as np
import pytest

from mnist_mlp.stats import metrics
from mnist_mlp.stats.metrics import confusion_matrix, mcnemar, paired_difference_interval, per_class, wilson_interval


def test_cross_entropy_by_hand():
    logits = np.array([[0.0, math.log(3), 0.0], [2.0, 2.0, 2.0], [1e4, 0.0, -1e4]], np.float32)
    losses = metrics.cross_entropy(logits, np.array([1, 2, 1], np.uint8))
    assert losses.dtype == np.float64 and losses.shape == (3,)
    assert losses == pytest.approx([math.log(5 / 3), math.log(3), 1e4], rel=1e-7)  # log 3 is rounded to float32
    tiny = metrics.cross_entropy(np.array([[30.0, 0.0]], np.float32), np.array([0]))
    assert tiny[0] == pytest.approx(math.exp(-30), rel=0.05)  # float32 would give 0


def test_wilson_against_published_values():
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81/263, 15/148, 0/20, 1/29.
    for (correct, total), (low, high) in {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }.items():
        assert wilson_interval(correct, total) == pytest.approx((low, high), abs=5e-5)


def test_wilson_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = 0
    for correct in rng.binomial(1000, 0.97, 2000):
        low, high = wilson_interval(int(correct), 1000)
        inside += low <= 0.97 <= high
    assert 0.93 < inside / 2000 < 0.97


def test_wilson_stays_within_0_and_1_and_refuses_nonsense():
    assert wilson_interval(10, 10)[1] == pytest.approx(1.0) and wilson_interval(10, 10)[1] <= 1
    for correct, total in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError):
            wilson_interval(correct, total)


def test_difference_against_published_values():
    # Newcombe, Statistics in Medicine 17 (1998), table II, method 10: 56/70 − 48/80, 9/10 − 3/10, 10/10 − 0/20.
    for counts, expected in {
        (56, 70, 48, 80): (0.0524, 0.3339),
        (9, 10, 3, 10): (0.1705, 0.8090),
        (10, 10, 0, 20): (0.6791, 1.0),
    }.items():
        assert metrics.difference_interval(*counts) == pytest.approx(expected, abs=5e-5)


def test_confusion_and_rows():
    labels = np.array([0, 0, 1, 1, 1, 2], np.uint8)
    predicted = np.array([0, 1, 1, 1, 0, 1])
    confusion = confusion_matrix(labels, predicted)
    assert confusion.sum() == 6 and confusion[1, 0] == 1 and confusion[2, 1] == 1
    rows = per_class(confusion)
    assert rows[0] == {
        "class": 0, "examples": 2, "correct": 1, "precision": 0.5, "recall": 0.5, "mistaken_for": 1
    }  # fmt: skip
    assert rows[2]["precision"] is None and rows[2]["recall"] == 0.0
    assert rows[9]["recall"] is None and rows[9]["mistaken_for"] is None


def test_mean_interval_is_students():
    low, high = metrics.mean_interval([0.95, 0.96, 0.97])  # mean 0.96, sd 0.01; t(2) = 4.303
    assert (low, high) == pytest.approx((0.96 - 4.303 * 0.01 / 3**0.5, 0.96 + 4.303 * 0.01 / 3**0.5), abs=1e-5)
    low, high = metrics.mean_interval([0.94, 0.96] * 50)
    assert high - low == pytest.approx(2 * 1.9842 * np.std([0.94, 0.96] * 50, ddof=1) / 10, rel=1e-4)  # t(99)
    assert metrics.mean_interval([0.9]) == (-np.inf, np.inf)


def test_mcnemar_counts_the_images_that_differ():
    one = np.array([True] * 8 + [False] * 2 + [True] * 50)
    other = np.array([False] * 8 + [True] * 2 + [True] * 50)
    assert metrics.mcnemar(one, other) == pytest.approx(2 * (1 + 10 + 45) / 2**10)  # P(X ≤ 2), X ~ B(10, ½), twice
    assert metrics.mcnemar(one, other) == metrics.mcnemar(other, one)
    assert metrics.mcnemar(one, one) == 1
    assert metrics.mcnemar(np.ones(3000, bool), np.zeros(3000, bool)) < 1e-300


def test_combined_p_is_twice_the_median():
    assert metrics.combined_p([0.2, 0.01, 0.03]) == pytest.approx(0.06)
    assert metrics.combined_p([0.9, 0.8]) == 1
    assert metrics.combined_p([0.04]) == 0.04


def test_seeds_are_compared_on_the_same_images():
    right, before = np.ones((3, 20), bool), np.ones((3, 20), bool)
    before[0, :9] = before[1, :9] = False  # 9 to 0 in two seeds, none in the third
    found = metrics.compare_seeds(right, before)
    assert found["p_by_seed"] == pytest.approx([2 / 2**9, 2 / 2**9, 1])
    assert found["p"] == pytest.approx(4 / 2**9) and found["difference"] == pytest.approx(0.3)
    reach = 4.303 * np.std([0.45, 0.45, 0], ddof=1) / 3**0.5
    assert found["difference_interval"] == pytest.approx([0.3 - reach, 0.3 + reach], abs=1e-3)
    assert metrics.compare_seeds(right[:1], before[:1])["difference_interval"] is None


def by_formula(both, only_one, only_other, neither, z=1.959963984540054):
    """Return Newcombe's method 10, implemented independently, with his correction of phi."""
    n = both + only_one + only_other + neither

    def wilson(k):
        root = z * math.sqrt(z * z + 4 * k * (n - k) / n)
        return (2 * k + z * z - root) / (2 * (n + z * z)), (2 * k + z * z + root) / (2 * (n + z * z))

    one, other = both + only_one, both + only_other
    product = both * neither - only_one * only_other
    product = product if product <= 0 else max(product - n / 2, 0)
    margins = one * (n - one) * other * (n - other)
    phi = product / math.sqrt(margins) if margins else 0
    (l1, u1), (l2, u2) = wilson(one), wilson(other)
    p1, p2 = one / n, other / n
    down, up = (p1 - l1, u2 - p2), (u1 - p1, p2 - l2)
    widths = [math.sqrt(a * a - 2 * phi * a * b + b * b) for a, b in (down, up)]
    return p1 - p2 - widths[0], p1 - p2 + widths[1]


def test_paired_interval_against_a_published_one():
    # Newcombe, Statistics in Medicine 17 (1998), paired data, table III, method 10.
    assert paired_difference_interval(36, 12, 2, 0) == pytest.approx((0.0569, 0.3404), abs=5e-5)


@pytest.mark.parametrize(
    "counts",
    [
        (20, 10, 5, 15),  # positive correlation: reduced by n / 2
        (15, 10, 12, 3),  # negative correlation: not reduced
        (20, 2, 3, 2),  # positive by less than n / 2: as if independent
        (20, 2, 3, 1),
        (9700, 120, 80, 100),
        (10, 0, 0, 0),  # no variance: no correlation
        (0, 7, 0, 3),
        (3, 7, 0, 0),
    ],
)
def test_paired_interval_by_the_formula(counts):
    found = paired_difference_interval(*counts)
    assert found == pytest.approx(by_formula(*counts), abs=1e-12)
    both, one, other, neither = counts
    swapped = paired_difference_interval(both, other, one, neither)
    assert found == pytest.approx((-swapped[1], -swapped[0]), abs=1e-12)


def test_mcnemar_by_hand():
    def p(only_one, only_other, both=5, neither=4):
        one = [True] * only_one + [False] * only_other + [True] * both + [False] * neither
        other = [False] * only_one + [True] * only_other + [True] * both + [False] * neither
        return mcnemar(np.array(one, bool), np.array(other, bool))

    assert p(3, 1) == 10 / 16  # 2 · (1 + 4) / 2⁴
    assert p(1, 3) == 10 / 16 and p(1, 3, both=0, neither=0) == 10 / 16
    assert p(5, 0) == 2 / 32 and p(0, 6) == 2 / 64 and p(7, 2) == 2 * (1 + 9 + 36) / 512
    assert p(2, 2) == 1 and p(0, 0) == 1 and p(1, 0) == 1


def test_holm_adjusts_the_smallest_most_and_keeps_the_order():
    assert metrics.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert metrics.holm([0.5, 0.6]) == [1.0, 1.0] and metrics.holm([0.02]) == [0.02] and metrics.holm([]) == []
    assert metrics.holm([0.01, 0.01]) == [0.02, 0.02]
