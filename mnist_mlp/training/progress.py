"""How far training is, as the line that a terminal overwrites."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class TrainingProgress:
    """How far a run is, with the figures of the current epoch, or else of the last one."""

    epoch: int  # the current one, from 1 on
    epochs: int
    step: int  # completed steps of that epoch
    steps_per_epoch: int
    loss: float  # mean over the images seen, in nats
    accuracy: float  # 0 to 1, likewise
    rate: float  # training images a second
    seconds_left: float  # of training, including what happens between calls

    @property
    def share(self) -> float:
        """The share of the whole run's steps, 0 to 1."""
        return ((self.epoch - 1) * self.steps_per_epoch + self.step) / (self.epochs * self.steps_per_epoch)

    def render(self, width: int, *, ascii_only: bool = False) -> str:
        """One line of at most `width` columns; in a narrow one the words get shorter, then the bar goes, then the
        last figures."""
        epoch, left = f"epoch {self.epoch:>{len(str(self.epochs))}}/{self.epochs}", f"{clock(self.seconds_left)} left"
        loss, rate = f"loss {self.loss:.4f}", f"{self.rate:,.0f}"
        figures = [loss, f"accuracy {self.accuracy:.4f}", f"{rate} images/s", left]
        gap, shorter = "   ", [loss, f"acc {self.accuracy:.4f}", f"{rate}/s", left]
        if width < len(gap.join([epoch, "100%", *figures])) + 13:
            gap, figures = "  ", shorter
        columns = min(30, width - 1 - len(gap.join([epoch, "100%", *figures])))
        filled = round(self.share * columns)
        done, rest = "#-" if ascii_only else "━─"
        strip = f"{done * filled}{rest * (columns - filled)} " if columns > 4 else ""
        parts = [epoch, f"{strip}{self.share:4.0%}", *figures]
        while len(parts) > 1 and len(gap.join(parts)) > width:
            parts.pop()
        return gap.join(parts)[:width]


def clock(seconds: float) -> str:
    """Return "0:07", "12:34" or "1:02:03"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
