"""What a stage found, and what all of them amount to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

PASSED, REFUTED, ERROR, SKIPPED = "passed", "refuted", "error", "skipped"
MARKS = {PASSED: "✓", REFUTED: "✗", ERROR: "✗", SKIPPED: "–"}


@dataclasses.dataclass(frozen=True)
class Finding:
    """The outcome of a stage.

    "refuted": what the stage claims does not hold here. "error": it could not be tried, and something must be mended
    first. "skipped": it does not apply here, or has become pointless; never shown as passed.
    """

    status: str
    figure: str = ""  # of a stage that ran: its result in a few words
    reason: str = ""  # of one that did not pass: what was refuted, what happened, or why it was skipped
    details: dict[str, Any] = dataclasses.field(default_factory=dict)  # JSON values, for verify.json and the page

    @classmethod
    def judged(cls, figure: str, problem: str, **details: Any) -> Finding:
        """Return "passed", or "refuted" if there is a problem."""
        return cls(REFUTED if problem else PASSED, figure, problem, details)

    @classmethod
    def skipped(cls, reason: str) -> Finding:
        return cls(SKIPPED, reason=reason)

    @classmethod
    def error(cls, reason: str, **details: Any) -> Finding:
        return cls(ERROR, reason=reason, details=details)


def verdict(statuses: Sequence[str]) -> str:
    """Return the verdict on all stages: "refuted" if one is, "passed" if none failed and one passed, else "error"."""
    if REFUTED in statuses:
        return REFUTED
    return PASSED if PASSED in statuses and ERROR not in statuses else ERROR
