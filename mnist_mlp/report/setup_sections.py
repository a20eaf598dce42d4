"""The second half of a run's page: what it cost, what it ran on, and how to make it again."""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any

from mnist_mlp.config import PRESETS, Config
from mnist_mlp.options import tagged
from mnist_mlp.report.content import Material
from mnist_mlp.report.formatting import several
from mnist_mlp.report.html import Html, definitions, join, paragraph, scrolling, section, table, tag
from mnist_mlp.report.svg_charts import stacked_bar

STAGES = {
    "load": "finds the data and proves that they are what they are called",
    "import": "Keras, and the framework below it",
    "compile": "builds the network, and makes the programs for its device",
    "picture": "draws what the distortions do",
    "train": "all epochs, and the checkpoints between them",
    "evaluate": "the test images, once",
    "diagnose": "looks for classic mistakes",
    "save": "writes the model",
    "report": "looks at single test images and draws this page",
}
OF_THE_PLACE = tuple(name for name in tagged(Config, affects="process") if name != "worker_index")  # not of the run


def cost(material: Material) -> Html:
    """Where the seconds went."""
    result = material.result
    took = {stage: value for stage, value in result["seconds"].items() if stage != "total" and value}
    total = result["seconds"]["total"] or 1.0
    parts = [*took.items(), ("other", max(0.0, total - sum(took.values())))]
    parts = [(stage, value) for stage, value in parts if value >= 0.005 or stage in STAGES]
    about = ", ".join(f"{stage} {value:.2f} s" for stage, value in parts)
    rows: list[list[object]] = []
    for place, (stage, value) in enumerate(parts):
        swatch = tag("span", class_=f"swatch part-{place % 8 + 1}", aria_hidden="true")
        shown = [f"{value:.2f}", f"{100 * value / total:.0f}%", STAGES.get(stage, "")]
        rows.append([join(swatch, stage), *shown])
    rows.append(["in all", f"{total:.2f}", "100%", "from the first line of the run to the last"])
    head: list[object] = ["stage", "seconds", "share", "what it does"]
    return section(
        "cost",
        "Cost",
        stacked_bar("cost-bar", f"Seconds by stage: {about}", parts),
        scrolling("Table of the stages", table("Wall-clock seconds of each stage", head, rows, class_="stages")),
        paragraph(speed(result), class_="note"),
    )


def speed(result: dict[str, Any]) -> str:
    """What the seconds of training come to."""
    trained = sum(row["seconds"] or 0.0 for row in result["epochs"])
    if not trained:
        return "Nothing was trained."
    images = len(result["epochs"]) * result["dataset"]["train_examples"]
    steps = len(result["epochs"]) * result["steps_per_epoch"]
    return (
        f"The epochs alone took {trained:.2f} s: {images / trained:,.0f} images a second, "
        f"{1e6 * trained / steps:,.0f} µs for a step of {several(result['batch_size'], 'image')}. "
        f"Peak memory: {result['peak_memory_mb']:,.0f} MB."
    )


def device(material: Material) -> Html:
    """What the run was asked to run on, and what the framework says it ran on."""
    result, found, data = material.result, material.result["device"], material.result["dataset"]
    facts: dict[str, object] = {
        "asked for": found["requested"],
        "ran on": found["actual"],
        "step on": ", ".join(found["step_on"]) or "what Keras chose",
        "weights on": ", ".join(found["weights_on"]),
        "replicas": found["replicas"],
        "workers": found["workers"],
        "XLA": "on" if found["xla"] else "off",
        "precision": result["precision"],
        "backend": result["backend"],
        "engine": result["engine"],
        "peak memory": f"{result['peak_memory_mb']:,.0f} MB",
    }
    longer: dict[str, object] = {
        "versions": ", ".join(f"{name} {version}" for name, version in result["versions"].items()),
        "data": f"{data['name']}, {data['source']}, " + ("verified" if data["verified"] else "not verified"),
        "images": f"{data['train_examples']:,} training + {data['validation_examples']:,} validation + "
        f"{data['test_examples']:,} test",
        "model.keras": tag("code", result["model_sha256"], class_="break"),
    }
    rows: list[list[object]] = [
        [row["name"], row["kind"], "×".join(map(str, row["output"])), row["arithmetic"], f"{row['parameters']:,}"]
        for row in result["layers"]
    ]
    rows.append(["all", "", "", "", f"{result['parameters']:,}"])
    head: list[object] = ["layer", "kind", "output", "arithmetic", "parameters"]
    layers = table("The network, layer by layer", head, rows, class_="plain")
    words = "Where weights and step were is read back from the framework, not taken from the flags."
    return section(
        "device",
        "Device and network",
        definitions(facts),
        tag("div", definitions(longer), class_="wide"),
        paragraph(words, class_="note"),
        scrolling("Layers", layers),
    )


def settings(material: Material) -> Html:
    """Every option, and the command that begins such a run."""
    config, preset = material.config, PRESETS[material.config.preset]
    rows: list[list[object]] = []
    changed: list[list[object]] = []
    for field in dataclasses.fields(Config):
        value, usual = getattr(config, field.name), getattr(preset, field.name)
        mark = "" if value == usual else f"preset: {formatted(usual)}"
        row: list[object] = [f"--{field.name}", formatted(value), mark]
        rows.append(row)
        if mark and field.name not in OF_THE_PLACE:
            changed.append(row)
    head: list[object] = ["option", "value", "where it differs"]
    words = f"Preset {config.preset}, " + (
        f"with {several(len(changed), 'option')} of its own:" if changed else "as it stands."
    )
    own = scrolling("Own options", table("Options that differ from the preset", head, changed)) if changed else None
    return section(
        "settings",
        "Settings",
        paragraph("To train it again, into a new directory:"),
        tag("pre", tag("code", command_of(config)), tabindex="0", role="region", aria_label="Command"),
        paragraph(words),
        own,
        tag(
            "details", tag("summary", "All options"), scrolling("All options", table("Options of the run", head, rows))
        ),
    )


def formatted(value: object) -> str:
    return "not given" if value is None or value == "" else str(value)


def command_of(config: Config) -> str:
    """The command line that begins such a run: what differs from the preset, quoted for a shell."""
    preset, words = PRESETS[config.preset], ["python", "-m", "mnist_mlp.train"]
    if config.preset != "default":
        words.append(f"--preset={config.preset}")
    for field in dataclasses.fields(Config):
        value = getattr(config, field.name)
        if value == getattr(preset, field.name) or field.name in ("preset", *OF_THE_PLACE) or value is None:
            continue
        words.append(
            f"--{field.name}" if value is True else f"--{field.name}={str(value).lower() if value is False else value}"
        )
    return shlex.join(words)
