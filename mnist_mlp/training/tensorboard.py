"""Write for TensorBoard: curves, the network as text, histograms of the weights, and the options (hparams).

keras.callbacks.TensorBoard needs TensorFlow; what is here needs the package tensorboard alone, on either backend.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mnist_mlp.config import FREE, Config

PARTS = ("train", "validation")  # folders: TensorBoard draws a curve of each into one chart
WEIGHTS = "weights"  # the folder of the histograms


class Board(keras.callbacks.Callback):
    """Write the curves under Keras' names, the network and the options. A resumed run writes all of them again."""

    def __init__(self, directory: Path, config: Config):
        super().__init__()
        self.directory, self.config = directory, config
        self.writers: dict[str, Any] = {}

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        for part in PARTS:  # an earlier process wrote these, and they come again
            shutil.rmtree(self.directory / part, ignore_errors=True)
        for file in self.directory.glob("events*"):
            file.unlink()
        writer = event_writer(self.directory)
        for summary in (*options_as_summaries(self.config), network_as_summary(self.model)):
            add(writer, summary, 0)
        writer.close()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        for name, value in (logs or {}).items():
            part, figure = ("validation", name[4:]) if name.startswith("val_") else ("train", name)
            self.writer(part).add_scalar(f"epoch_{figure}", value, epoch)
        for writer in self.writers.values():
            writer.flush()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        for writer in self.writers.values():
            writer.close()

    def writer(self, part: str) -> Any:
        """Return TensorBoard's writer of curves into a folder."""
        if part not in self.writers:
            from tensorboard.summary import Writer

            self.writers[part] = Writer(str(self.directory / part))
        return self.writers[part]


class Histograms(keras.callbacks.Callback):
    """Write the weights after each epoch that starts in this process.

    A resumed run gets its earlier epochs again, but no longer has their weights. The earlier process's files stay, and
    TensorBoard takes the later one of what both have.
    """

    def __init__(self, directory: Path):
        super().__init__()
        self.directory = directory / WEIGHTS
        self.begun: int | None = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self.writer = event_writer(self.directory)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.begun = epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if epoch != self.begun:
            return
        from tensorboard.plugins.histogram.summary_v2 import histogram_pb

        for layer in self.model.layers:
            for weight in layer.trainable_variables:
                values = keras.ops.convert_to_numpy(weight).astype(np.float64)
                add(self.writer, histogram_pb(f"{layer.name}/{weight.name}", values), epoch)
        self.writer.flush()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self.writer.close()


def event_writer(directory: Path) -> Any:
    """Return TensorBoard's writer of events of any kind into a folder."""
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    return EventFileWriter(str(directory))


def add(writer: Any, summary: Any, step: int) -> None:
    """Write a summary that one of TensorBoard's plugins made."""
    from tensorboard.compat.proto.event_pb2 import Event

    event = Event(step=step)
    event.summary.CopyFrom(summary)
    writer.add_event(event)


def options_as_summaries(config: Config) -> list[Any]:
    """Return the options that affect the result, and the curves that TensorBoard shows with them.

    The accuracy on the test images is not among them: options must not be chosen by it.
    """
    from tensorboard.plugins.hparams import summary_v2 as hparams

    values = {name: value for name, value in config.to_dict().items() if name not in FREE or name == "epochs"}
    parts = PARTS if config.validation_fraction else PARTS[:1]
    curves = [
        hparams.Metric(f"epoch_{figure}", group=part, display_name=f"{part} {figure}")
        for part in parts
        for figure in ("accuracy", "loss")
    ]
    told = {name: "not given" if value is None else value for name, value in values.items()}
    return [
        hparams.hparams_config_pb([hparams.HParam(name) for name in told], curves),
        hparams.hparams_pb(told),
    ]


def network_as_summary(model: keras.Model) -> Any:
    """Return the layers with shapes and connections, as Keras' own table, and all their options as JSON."""
    from tensorboard.plugins.text.summary_v2 import text_pb

    tables: list[str] = []
    model.summary(print_fn=lambda text, **more: tables.append(text))
    blocks = ("\n".join(tables), model.to_json(indent=2))
    return text_pb("network", [as_block(text) for text in blocks])


def as_block(text: str) -> str:
    """Return text that Markdown shows verbatim."""
    return "\n".join("    " + line for line in text.splitlines())
