"""The page of one run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mnist_mlp import __version__
from mnist_mlp.report import html, network_sections, result_sections, setup_sections
from mnist_mlp.report.content import Material
from mnist_mlp.report.formatting import percent
from mnist_mlp.report.html import Html, paragraph, tag

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
