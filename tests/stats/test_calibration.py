"""Calibration by hand, against SciPy, and on draws whose truth is known."""

import math

import numpy as np
import pytest
from scipy import optimize

from mnist_mlp.stats import calibration, metrics
from mnist_mlp.stats.calibration import measure, softmax


def drawn(n, temperature, seed=0):
    """Logits, float32 [n, 10], and labels drawn from softmax(logits / temperature)."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2.2, (n, 10)).astype(np.float32)
    logits[np.arange(n), generator.integers(0, 10, n)] += np.abs(generator.normal(9, 5, n))
    labels = (softmax(logits, temperature).cumsum(1) > generator.random((n, 1))).argmax(1)
    return logits, labels


# Scores


def test_scores_by_hand():
    probabilities, labels = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]], np.float32), np.array([1, 0], np.uint8)
    losses = calibration.negative_log_likelihoods(probabilities, labels)
    assert losses == pytest.approx([-math.log(0.2), -math.log(calibration.LEAST)])
    assert calibration.brier_scores(probabilities, labels) == pytest.approx([0.49 + 0.64 + 0.01, 2.0])
    assert probabilities[0, 1] == np.float32(0.2)  # unchanged
    confidence, correct = calibration.confidences(probabilities, labels)
    assert confidence == pytest.approx([0.7, 1.0]) and correct.tolist() == [False, False]


def test_the_loss_is_that_of_the_logits():
    logits, labels = drawn(500, 1.0)
    losses = calibration.negative_log_likelihoods(softmax(logits), labels)
    np.testing.assert_allclose(losses, metrics.cross_entropy(logits, labels), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(softmax(logits, 2.5), softmax(logits / 2.5), rtol=1e-5)
    assert np.isfinite(softmax(np.array([[1e4, 0.0]]))).all()


# Bins


def test_bins_have_equal_mass_and_do_not_depend_on_the_order():
    generator = np.random.default_rng(1)
    confidence, correct = generator.random(1500), generator.random(1500) < 0.5
    rows = calibration.reliability(confidence, correct)
    assert [row["images"] for row in rows] == [100] * 15
    assert rows[0]["confidence"] == pytest.approx(np.sort(confidence)[:100].mean())
    assert rows[-1]["accuracy"] == pytest.approx(correct[np.argsort(confidence)[-100:]].mean())
    assert rows[3]["interval"] == list(metrics.wilson_interval(round(100 * rows[3]["accuracy"]), 100))
    tied = np.round(confidence, 1)  # many images with the same confidence
    order = generator.permutation(1500)
    assert calibration.reliability(tied, correct) == calibration.reliability(tied[order], correct[order])
    one, other = (calibration.calibration_error(tied[rows], correct[rows]) for rows in (np.arange(1500), order))
    assert one["ece"] == pytest.approx(other["ece"], rel=1e-12)
    assert one["ece_interval"] == pytest.approx(other["ece_interval"], rel=1e-9)
    few = calibration.reliability(confidence[:120], correct[:120])
    assert [row["images"] for row in few] == [60, 60]
    assert (
        len(calibration.reliability(np.ones(1500), correct))
        == 1
        == len(calibration.reliability(*map(np.array, ([0.5], [True]))))
    )


def test_calibration_error_by_hand():
    confidence = np.repeat([0.6, 0.9], 50)
    correct = np.arange(100) % 50 < np.repeat([20, 45], 50)  # accuracy 0.4 and 0.9
    found = calibration.calibration_error(confidence, correct)
    assert found["ece"] == pytest.approx(0.1)
    assert found["p_calibrated"] < 0.05 and found["ece_if_calibrated"] < 0.1


# The interval, and the bias


@pytest.mark.parametrize(("temperature", "least", "most"), [(1.0, 0.94, 1.0), (1.15, 0.9, 1.0)])
def test_the_interval_covers_the_true_error(temperature, least, most, monkeypatch):
    """On labels drawn with known probabilities; what was measured with more draws stands in evaluate/README.md."""
    monkeypatch.setattr(calibration, "CALIBRATED", 79)
    logits, _ = drawn(40_000, 1.0)
    confidence, accuracy = softmax(logits).max(1), softmax(logits, temperature).max(1)
    gaps = (accuracy - confidence)[np.argsort(confidence)]
    true = np.abs(np.add.reduceat(gaps, np.arange(15) * len(gaps) // 15)).sum() / len(gaps)
    generator, inside, plug_in, by_chance = np.random.default_rng(2), 0, [], []
    for _ in range(120):
        chosen = generator.integers(0, len(gaps), 2000)
        found = calibration.calibration_error(confidence[chosen], generator.random(2000) < accuracy[chosen])
        low, high = found["ece_interval"]
        inside += low <= true + 1e-12 and true <= high
        plug_in.append(found["ece"])
        by_chance.append(found["ece_if_calibrated"])
    assert least <= inside / 120 <= most
    if temperature == 1.0:  # all of the error is bias, and its size is known beforehand
        assert np.mean(plug_in) == pytest.approx(np.mean(by_chance), rel=0.1) and np.mean(plug_in) > 0.005


def test_a_calibrated_network_is_not_accused_and_an_overconfident_one_is():
    logits, labels = drawn(4000, 1.0)
    fair = measure(softmax(logits), labels)
    assert fair["p_calibrated"] > 0.05 and fair["ece_interval"][0] == 0
    sure = measure(softmax(logits, 0.5), labels)
    assert sure["p_calibrated"] < 0.01 and sure["ece_interval"][0] > fair["ece_interval"][1]
    assert sure["confidence"] > sure["accuracy"] == fair["accuracy"]


# Temperature


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.7])
def test_the_temperature_is_that_of_the_draw_and_of_scipy(temperature):
    logits, labels = drawn(5000, temperature)
    found, (low, high) = calibration.fit_temperature(logits, labels)
    assert low < temperature < high and high / low < 1.3

    def loss(log_temperature):
        return metrics.cross_entropy(logits / math.exp(log_temperature), labels).mean()

    best = optimize.minimize_scalar(loss, bounds=(-2, 2), method="bounded", options={"xatol": 1e-9})
    assert found == pytest.approx(math.exp(best.x), rel=1e-4)


def test_the_interval_of_a_temperature_covers_it():
    inside = 0
    for seed in range(100):
        _, (low, high) = calibration.fit_temperature(*drawn(400, 1.5, seed))
        inside += low <= 1.5 <= high
    assert 88 <= inside <= 100


def test_without_a_mistake_there_is_no_temperature():
    logits, _ = drawn(300, 1.0)
    for values, labels in (
        (logits, logits.argmax(1)),
        (np.zeros((50, 10)), np.zeros(50, int)),
        (-logits, logits.argmax(1)),
    ):
        with pytest.raises(ValueError, match="expected a minimum between 0.05 and 20"):
            calibration.fit_temperature(values, labels)


# What can be answered


def test_thresholds_by_hand():
    confidence = np.array([0.5, 0.6, 0.7, 0.8, 0.8, 0.9])
    correct = np.array([False, True, True, True, False, True])
    assert calibration.threshold_for(confidence, correct, 1.0) == 0.9
    assert calibration.threshold_for(confidence, correct, 0.8) == 0.6  # 4 of 5; both images of 0.8 are answered
    assert calibration.threshold_for(confidence, correct, 0.5) == 0.5
    assert calibration.threshold_for(confidence, ~correct, 0.9) is None
    at = calibration.answered_at(confidence, correct, 0.8)
    assert (at["answered"], at["correct"], at["coverage"], at["precision_reached"]) == (3, 2, 0.5, pytest.approx(2 / 3))
    assert calibration.answered_at(confidence, correct, math.inf) == {
        "answered": 0, "coverage": 0.0, "correct": 0, "precision_reached": None, "interval": None,
    }  # fmt: skip
    assert calibration.risk_coverage(confidence, correct)[-1] == [1.0, pytest.approx(4 / 6)]


def test_thresholds_are_chosen_on_validation_images_where_there_are_any():
    logits, labels = drawn(3000, 1.5)
    shares = softmax(logits)
    alone, chosen = (
        measure(shares[1000:], labels[1000:]),
        measure(shares[1000:], labels[1000:], (shares[:1000], labels[:1000])),
    )
    assert (alone["coverage"]["chosen_on"], alone["coverage"]["chosen_on_images"]) == ("test", 2000)
    assert (chosen["coverage"]["chosen_on"], chosen["coverage"]["chosen_on_images"]) == ("validation", 1000)
    assert all(row["precision_reached"] >= row["precision"] for row in alone["coverage"]["rows"])
    first, own = chosen["coverage"]["rows"][0], calibration.confidences(shares[:1000], labels[:1000])
    assert first["threshold"] == calibration.threshold_for(*own, 0.99) != alone["coverage"]["rows"][0]["threshold"]
    assert {**chosen, "coverage": 0} == {**alone, "coverage": 0}  # all else is of the test images


def test_what_is_not_finite_is_not_measured():
    shares = np.full((4, 10), 0.1)
    assert measure(np.full((4, 10), np.nan), np.zeros(4, int)) == {}
    assert measure(shares, np.zeros(4, int), (np.full((2, 10), np.inf), np.zeros(2, int))) == {}
    assert measure(shares, np.zeros(4, int))["images"] == 4 and measure(shares[:1], np.zeros(1, int)) == {}
