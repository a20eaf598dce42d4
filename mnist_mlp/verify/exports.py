"""The stage that exports the model of the stage before, and has each file read by its own runtime."""

from __future__ import annotations

from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.errors import UserError
from mnist_mlp.verify.context import Context
from mnist_mlp.verify.findings import Finding
from mnist_mlp.verify.training import DIGITS

QUICK = ("onnx", "weights")


def agree(context: Context) -> Finding:
    """Export to all formats whose runtimes are installed, and compare their predictions with the model's."""
    from mnist_mlp.export import table
    from mnist_mlp.export.command import Options, export
    from mnist_mlp.export.formats import NAMES, check_packages

    missing = {}
    for name in NAMES:
        try:
            check_packages([name])
        except UserError as error:
            missing[name] = str(error)
    names = [name for name in NAMES if name not in missing]
    if context.tier == "quick":  # without those whose runtime is TensorFlow or Keras: it takes the longest to start
        names = [name for name in names if name in QUICK]
    directory = context.work / DIGITS
    if not (directory / "result.json").exists():
        return Finding.skipped("the stage training left no model")
    device = {name: context.device[name] for name in ("strategy", "backend", "tpu", "start_timeout")}
    options = Options(
        run_dir=str(directory),
        format=tuple(names),
        int8=context.tier == "full" and int8(names),
        output=str(context.work / "export"),
        **device,
    )
    rows = export(options, reporter=SILENT)["formats"]
    wrong = [row for row in rows if not row["agrees"]]
    figure = ", ".join(row["format"] for row in rows if row["agrees"]) + f": {rows[0]['total']:,} images each"
    if missing:
        figure += f"; not installed: {', '.join(missing)}"
    return Finding.judged(figure, table.refuted(wrong) if wrong else "", formats=rows, missing=missing)


def int8(names: list[str]) -> bool:
    """Return whether one of these formats has a variant in int8."""
    return bool({"onnx", "litert"} & {*names})
