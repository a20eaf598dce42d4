"""The page of one run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mnist_mlp import __version__
from mnist_mlp.pages import conditions, html, inside, outcome
from mnist_mlp.pages.html import Html, paragraph, tag
from mnist_mlp.pages.material import Material
from mnist_mlp.pages.numbers import percent

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


def drawn(material: Material) -> str:
    """The page as text."""
    test = material.result["test"]
    sections = (outcome.curves, outcome.confusion, outcome.classes, inside.mistakes, inside.weights, inside.hidden)
    more = (conditions.cost, conditions.device, conditions.settings)
    with np.errstate(all="ignore"):  # what a run that diverged has left is shown, not warned of
        main = tag("main", outcome.opening(material), *(part(material) for part in (*sections, *more)), id="main")
    title = f"{percent(test['accuracy'], 2)} – {material.name} – mnist_mlp"
    return html.page(title, style(), html.navigation(SECTIONS), main, footer())


def footer() -> Html:
    words = f"Written by mnist_mlp {__version__}. Everything is in this file: it loads nothing and runs nothing."
    return tag("footer", paragraph(words))
