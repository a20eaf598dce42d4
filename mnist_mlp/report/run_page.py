"""The page of one run."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnist_mlp import __version__
from mnist_mlp.cli.stopwatch import Stopwatch
from mnist_mlp.data import Split
from mnist_mlp.errors import UserError
from mnist_mlp.files import atomic
from mnist_mlp.report import content, html, network_sections, result_sections, setup_sections
from mnist_mlp.report.content import Material
from mnist_mlp.report.formatting import percent
from mnist_mlp.report.html import Html, paragraph, tag
from mnist_mlp.runs.directory import Run
from mnist_mlp.runs.result import Result

if TYPE_CHECKING:
    from mnist_mlp.engine.base import Engine

NAME = "report.html"  # in the run's directory
STYLE = Path(__file__).with_name("style.css")
SECTIONS = {  # with what leads to them
    "learning": "Learning",
    "confusion": "Confusion",
    "classes": "Classes",
    "mistakes": "Mistakes",
    "weights": "Weights",
    "activations": "Activations",
    "cost": "Cost",
    "device": "Device",
    "settings": "Settings",
}


def style() -> str:
    """The style sheet of all pages."""
    return STYLE.read_text(encoding="utf-8")


def render(material: Material) -> str:
    """The page as text."""
    test = material.result["test"]
    sections = (
        result_sections.curves,
        result_sections.confusion,
        result_sections.classes,
        network_sections.mistakes,
        network_sections.weights,
        network_sections.hidden,
    )
    more = (setup_sections.cost, setup_sections.device, setup_sections.settings)
    with np.errstate(all="ignore"):  # what a run that diverged has left is shown, not warned of
        main = tag(
            "main", result_sections.opening(material), *(part(material) for part in (*sections, *more)), id="main"
        )
    title = f"{percent(test['accuracy'], 2)} – {material.name} – mnist_mlp"
    return html.page(title, style(), html.navigation(SECTIONS), main, footer())


def footer() -> Html:
    words = f"Written by mnist_mlp {__version__}. Everything is in this file: it loads nothing and runs nothing."
    return tag("footer", paragraph(words))


def report(
    engine: Engine, run: Run, result: Result, test: Split, stopwatch: Stopwatch, tell: Callable[[str], None]
) -> Result:
    """Writes report.html into the directory of a run whose result and model are there already; the result with the
    seconds that it took.

    `engine` has the weights that were scored. All workers call this, since all hold a part of the engine; the chief
    writes. Where the page cannot be written, a line says why and how to try again: a run of hours does not fail by it.
    """
    try:
        seen = content.predict_test(engine, test)
        if run.chief:
            layers = content.weights_of(engine)
            made = content.Material(run.path.name, run.config, result.to_dict(), layers, seen)
            run.check_place()
            atomic.write_text(run.path / NAME, render(made))
    except Exception as error:  # a full disk, or a bug: the run is whole without its page
        why = " ".join(str(error).split()) or type(error).__name__
        again = f"python -m mnist_mlp.report {shlex.quote(str(run.path))}"
        tell(f"  !      {NAME} was not written: {why}; to try again type {again}")
    stopwatch.end("report")
    result = dataclasses.replace(result, **stopwatch.measured())
    with contextlib.suppress(UserError):  # the file is there already: only these seconds are new
        run.check_place()
        atomic.write_json(run.path / "result.json", result.to_dict())
    return result
