// What a Trainer holds, as text: points, weights and losses, as CSV and JSON. What is not finite is nan or inf in CSV,
// and null in JSON.

import { PAGE, fragment } from "./state.js";

// split,x,y,label,output: each point with the network's output, as `lab.playground --csv` writes them.
export function dataCsv(trainer) {
  const rows = ["train", "test"].flatMap((split) =>
    trainer[split].map(({ x, y, label }) => [split, x, y, label, trainer.output(x, y)]));
  return csv(["split", "x", "y", "label", "output"], rows);
}

export function dataJson(trainer) {
  const rows = (points) => points.map(({ x, y, label }) => [x, y, label]);
  return json(trainer, { train_points: rows(trainer.train), test_points: rows(trainer.test) });
}

// layer,node,input,value,dead: layers and nodes count from 1, `input` names a feature or counts the nodes of the layer
// before, or is "bias"; `dead` is 1 for what L1 has set to 0 for good.
export function weightsCsv(trainer) {
  const rows = trainer.weights().flatMap(({ nodes }, l) => nodes.flatMap(({ bias, weights, dead }, i) => [
    [l + 1, i + 1, "bias", bias, 0],
    ...weights.map((value, j) => [l + 1, i + 1, l ? j + 1 : trainer.features[j].name, value, Number(dead[j])]),
  ]));
  return csv(["layer", "node", "input", "value", "dead"], rows);
}

export function weightsJson(trainer) {
  const activations = trainer.layers.map((_, l) => trainer.activationOf(l));
  const layers = trainer.weights().map((layer, l) => ({ activation: activations[l], ...layer }));
  return json(trainer, { features: trainer.features.map(({ name }) => name), layers });
}

export function historyCsv(trainer) {
  const { train, test } = trainer.history;
  return csv(["epoch", "train_loss", "test_loss"], train.map((loss, epoch) => [epoch, loss, test[epoch]]));
}

export function historyJson(trainer) {
  const { train, test } = trainer.history;
  const losses = train.map((loss, epoch) => ({ train: loss, test: test[epoch] }));
  return json(trainer, { losses, accuracy: trainer.accuracy() });
}

function csv(names, rows) {
  const cell = (value) => (Number.isNaN(value) ? "nan" : String(value).replace("Infinity", "inf"));
  return [names, ...rows].map((row) => `${row.map(cell).join(",")}\n`).join("");
}

function json({ state, epoch }, values) {
  return `${JSON.stringify({ url: PAGE + fragment(state), seed: state.seed, epochs: epoch, ...values })}\n`;
}
