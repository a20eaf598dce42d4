"""How sure a network is, as text for the console."""

from __future__ import annotations

from typing import Any


def lines(test: dict[str, Any]) -> list[str]:
    """Return how sure the network is, and what a temperature changes, if the result says it."""
    before, after = test.get("calibration"), test.get("calibrated")
    if not before:
        return []
    confidence, accuracy = percent(before["confidence"], 2), percent(before["accuracy"], 2)
    as_trained = [
        f"sure     {confidence} on average, {accuracy} correct; {error(before)}",
        *answers(before["coverage"]),
    ]
    if not after:
        return as_trained
    low, high = after["temperature_interval"]
    (less, least, most), brier = (
        (after["change"][name]["mean"], *after["change"][name]["interval"]) for name in ("nll", "brier")
    )
    return [
        *as_trained,
        f"scaled   by the temperature {after['temperature']:.3f} (95% interval {low:.3f} to {high:.3f}), fitted on "
        f"{after['fitted_on_images']:,} validation images",
        f"         {percent(after['confidence'], 2)} on average; {error(after)}",
        f"         loss {before['nll']:.4f} to {after['nll']:.4f}, change {less:+.4f} ({least:+.4f} to {most:+.4f}); "
        f"Brier score {before['brier']:.4f} to {after['brier']:.4f}, change {brier[0]:+.4f}",
        *answers(after["coverage"]),
        *doubt(after),
    ]


def doubt(after: dict[str, Any]) -> list[str]:
    """Return a warning if the temperature may as well be 1, which changes nothing; `after` is `test.calibrated`.

    It is stored all the same: among networks that need a temperature, it lowers the loss on average even then, if there
    are some hundred validation images.
    """
    low, high = after["temperature_interval"]
    if not low <= 1 <= high:
        return []
    images = f"{after['fitted_on_images']:,} validation images"
    return [
        f"  !      the interval contains 1: {images} do not show that a temperature is needed;",
        "         hold out more in training, or delete calibration.json to do without",
    ]


def error(block: dict[str, Any]) -> str:
    """Return the expected calibration error with its interval, and how much of it is chance."""
    low, high = (100 * value for value in block["ece_interval"])
    chance = f"{100 * block['ece_if_calibrated']:.2f}% by chance alone"
    return f"ECE {100 * block['ece']:.2f}% (95% interval {low:.2f}–{high:.2f}%; {chance})"


def answers(coverage: dict[str, Any]) -> list[str]:
    """Return what share of the images can be answered at the highest precision."""
    row, chosen_on = coverage["rows"][-1], coverage["chosen_on"]
    images = f"chosen on {coverage['chosen_on_images']:,} {chosen_on} images"
    goal = f"{100 * row['precision']:g}% precision"
    if row["threshold"] is None or not row["answered"]:
        return [f"         no threshold reaches {goal} ({images})"]
    reached = f"{row['correct']:,} of {row['answered']:,} correct"
    return [
        f"         answers {percent(row['coverage'])} at {goal}: {reached} (sure of {row['threshold']:.4f} "
        f"or more, {images})"
    ]


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f}%"
