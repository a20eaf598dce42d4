"""The page of one run, report.html."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnist_mlp import __version__
from mnist_mlp.errors import UserError
from mnist_mlp.report import certainty_section, content, html, network_sections, result_sections, setup_sections
from mnist_mlp.report.content import RunContent
from mnist_mlp.report.formatting import percent
from mnist_mlp.report.html import Html, paragraph, tag
from mnist_mlp.runs import calibration

if TYPE_CHECKING:
    from mnist_mlp.training.session import TrainingSession

NAME = "report.html"  # in the run directory
STYLE = Path(__file__).with_name("style.css")
SECTIONS = {  # ids and the text of their links
    "learning": "Learning",
    "confusion": "Confusion",
    "classes": "Classes",
    "certainty": "How sure",
    "mistakes": "Mistakes",
    "weights": "Weights",
    "activations": "Activations",
    "cost": "Cost",
    "device": "Device",
    "settings": "Settings",
}


def style() -> str:
    """Return the style sheet of all pages."""
    return STYLE.read_text(encoding="utf-8")


def render(run: RunContent) -> str:
    """Return the page as HTML."""
    test = run.result["test"]
    sections = (
        result_sections.curves,
        result_sections.confusion,
        result_sections.classes,
        certainty_section.certainty,
        network_sections.mistakes,
        network_sections.weights,
        network_sections.hidden,
    )
    more = (setup_sections.cost, setup_sections.device, setup_sections.settings)
    with np.errstate(all="ignore"):  # a diverged run has weights that are not finite
        parts = [part(run) for part in (*sections, *more)]
    main = tag("main", result_sections.opening(run), *parts, id="main")
    names = {name: words for (name, words), part in zip(SECTIONS.items(), parts, strict=True) if part is not None}
    title = f"{percent(test['accuracy'], 2)} – {run.name} – mnist_mlp"
    return html.page(title, style(), html.navigation(names), main, footer())


def footer() -> Html:
    """Return the footer of all pages."""
    words = f"Written by mnist_mlp {__version__}. This file is complete: it loads nothing and runs no scripts."
    return tag("footer", paragraph(words))


def write(session: TrainingSession) -> None:
    """Write report.html beside the result and the model of a run that has just ended, and add the seconds it took.

    All workers call this, since each holds a part of the engine; the chief's file is kept. Where the page cannot be
    written, a line says why and how to try again: a run of hours does not fail by it.
    """
    run = session.run
    try:
        predictions = content.Predictions(session.test, session.test_logits.astype(np.float64))
        if run.chief:
            layers = content.weights_of(session.engine)
            result = calibration.shown(run.path, session.result)
            training = session.training_images
            page = render(content.RunContent(run.path.name, run.config, result, layers, predictions, training=training))
            run.write(NAME, lambda file: file.write_text(page, encoding="utf-8"))
    except Exception as error:  # a full disk, or a bug: the run is whole without its page
        reason = " ".join(str(error).split()) or type(error).__name__
        again = f"python -m mnist_mlp.report {shlex.quote(str(run.path))}"
        session.reporter.line(f"  !      {NAME} was not written: {reason}; to try again run {again}")
    session.stopwatch.end("report")
    session.update(**session.stopwatch.measured())
    with contextlib.suppress(UserError):  # result.json is there already: only these seconds are new
        run.write_result(session.result)
