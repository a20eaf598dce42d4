"""The sections on the setup of a run: cost, device and network, settings."""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any

from mnist_mlp.config import PRESETS, Config
from mnist_mlp.options import tagged
from mnist_mlp.report.content import RunContent
from mnist_mlp.report.formatting import several
from mnist_mlp.report.html import Html, definitions, join, paragraph, scrolling, section, table, tag
from mnist_mlp.report.svg_charts import stacked_bar

STAGES = {
    "load": "read the data and verify their content",
    "import": "import Keras and its framework",
    "compile": "build the network and compile its programs",
    "picture": "draw examples of the augmentation",
    "train": "all epochs, with checkpoints",
    "evaluate": "evaluate the test images",
    "diagnose": "check for common training mistakes",
    "save": "write the model",
    "report": "predict single test images and write this page",
}
PROCESS_OPTIONS = tuple(name for name in tagged(Config, affects="process") if name != "worker_index")


def cost(run: RunContent) -> Html:
    """Wall-clock time by stage."""
    result = run.result
    took = {stage: value for stage, value in result["seconds"].items() if stage != "total" and value}
    total = result["seconds"]["total"] or 1.0
    parts = [*took.items(), ("other", max(0.0, total - sum(took.values())))]
    parts = [(stage, value) for stage, value in parts if value >= 0.005 or stage in STAGES]
    about = ", ".join(f"{stage} {value:.2f} s" for stage, value in parts)
    rows: list[list[object]] = []
    for index, (stage, value) in enumerate(parts):
        swatch = tag("span", class_=f"swatch part-{index % 8 + 1}", aria_hidden="true")
        cells = [f"{value:.2f}", f"{100 * value / total:.0f}%", STAGES.get(stage, "")]
        rows.append([join(swatch, stage), *cells])
    rows.append(["total", f"{total:.2f}", "100%", "the whole run"])
    head: list[object] = ["stage", "seconds", "share", "what it does"]
    return section(
        "cost",
        "Cost",
        stacked_bar("cost-bar", f"Seconds by stage: {about}", parts),
        scrolling("Table of the stages", table("Wall-clock seconds of each stage", head, rows, class_="stages")),
        paragraph(speed(result), class_="note"),
    )


def speed(result: dict[str, Any]) -> str:
    """Describe the speed of training."""
    trained = sum(row["seconds"] or 0.0 for row in result["epochs"])
    if not trained:
        return "No epoch was trained."
    images = len(result["epochs"]) * result["dataset"]["train_examples"]
    steps = len(result["epochs"]) * result["steps_per_epoch"]
    return (
        f"The epochs took {trained:.2f} s: {images / trained:,.0f} images per second, "
        f"{1e6 * trained / steps:,.0f} µs per step of {several(result['batch_size'], 'image')}. "
        f"Peak memory: {result['peak_memory_mb']:,.0f} MB."
    )


def device(run: RunContent) -> Html:
    """The requested device, the device that the framework reports, and the layers."""
    result, found, data = run.result, run.result["device"], run.result["dataset"]
    facts: dict[str, object] = {
        "requested": found["requested"],
        "ran on": found["actual"],
        "step on": ", ".join(found["step_on"]) or "chosen by Keras",
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
    words = "The devices of weights and step are read back from the framework, not taken from the flags."
    return section(
        "device",
        "Device and network",
        definitions(facts),
        tag("div", definitions(longer), class_="wide"),
        paragraph(words, class_="note"),
        scrolling("Layers", layers),
    )


def settings(run: RunContent) -> Html:
    """All options, and the command that trains such a run."""
    config, preset = run.config, PRESETS[run.config.preset]
    rows: list[list[object]] = []
    changed: list[list[object]] = []
    for field in dataclasses.fields(Config):
        value, usual = getattr(config, field.name), getattr(preset, field.name)
        mark = "" if value == usual else formatted(usual)
        row: list[object] = [f"--{field.name}", formatted(value), mark]
        rows.append(row)
        if mark and field.name not in PROCESS_OPTIONS:
            changed.append(row)
    head: list[object] = ["option", "value", "preset"]
    words = f"Preset {config.preset}, " + (f"except {several(len(changed), 'option')}:" if changed else "unchanged.")
    own = scrolling("Changed options", table("Options that differ from the preset", head, changed)) if changed else None
    return section(
        "settings",
        "Settings",
        paragraph("To train it again into a new directory:"),
        tag("pre", tag("code", command_of(config)), tabindex="0", role="region", aria_label="Command"),
        paragraph(words),
        own,
        tag(
            "details", tag("summary", "All options"), scrolling("All options", table("Options of the run", head, rows))
        ),
    )


def formatted(value: object) -> str:
    """Format the value of an option."""
    return "default" if value is None or value == "" else str(value)


def command_of(config: Config) -> str:
    """Return the command line that trains such a run, with the options that differ from the preset."""
    preset, words = PRESETS[config.preset], ["python", "-m", "mnist_mlp.train"]
    if config.preset != "default":
        words.append(f"--preset={config.preset}")
    for field in dataclasses.fields(Config):
        value = getattr(config, field.name)
        if value == getattr(preset, field.name) or field.name in ("preset", *PROCESS_OPTIONS) or value is None:
            continue
        words.append(
            f"--{field.name}" if value is True else f"--{field.name}={str(value).lower() if value is False else value}"
        )
    return shlex.join(words)
