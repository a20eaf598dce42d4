// "As Keras": the Playground's run as a complete Python program for Keras 3, on TensorFlow or JAX, in float64.
//
// The points and initial weights are written in, and it prints the Playground's losses. Where Keras has a name for what
// the Playground does, the program uses it; it writes out what Keras does otherwise: samples left over at the end of an
// epoch go into the first update of the next, and L1 sets a weight to 0 for good where the penalty carries it across 0.

import { PAGE, fragment } from "./state.js";

const LARGEST = 300_000; // numbers that are written in
const EPOCHS = 100; // if nothing was trained yet
const FEATURES = {
  x: "x",
  y: "y",
  xSquared: "x**2",
  ySquared: "y**2",
  xTimesY: "x * y",
  sinX: "np.sin(x)",
  sinY: "np.sin(y)",
};

// Return the program of a Trainer: from where its training began to its last whole epoch, or for `epochs` epochs.
export function kerasProgram(trainer, epochs = null) {
  const { state, start, train, test } = trainer;
  const numbers = 3 * (train.length + test.length) + trainer.parameters().length;
  if (numbers > LARGEST) {
    return `# This run has ${numbers} numbers (points, weights, biases); a program holds at most ${LARGEST}.\n`;
  }
  const size = state.batchSize;
  const even = Number.isInteger(size) && size > 0 && train.length > 0 && train.length % size === 0;
  const plain = even && start.position === 0 && start.accumulated === 0;
  const parts = [
    `${heading(trainer, plain)}\n\n${constants(trainer, epochs)}`,
    functions(trainer),
    ...(state.regularization === "L1" ? [sgdWithL1()] : []),
    plain ? `${model(trainer)}\n${fit(start)}` : `${model(trainer)}\n\n\n${MINI_BATCHES}`,
  ];
  if (!plain) parts.push(trainOnBatches(start));
  const accuracy = state.problem === "classification" ? `\n${ACCURACY}` : "";
  return `${parts.join("\n\n\n")}${accuracy}\n`;
}

function heading({ state, start }, plain) {
  const lines = [
    "A network of TensorFlow Playground as a Keras program: the same points, initial weights, training and losses.",
    `${PAGE}${fragment({ ...state, ownPoints: null }).replaceAll("\\", "\\\\")}`,
  ];
  if (start.epoch || start.position) lines.push("It begins where points, weights or settings were last changed.");
  if (!start.exact) lines.push("Gradients of before were waiting for the next update then: that one differs a little.");
  if (!plain) lines.push("The batch size does not divide the training set, so the mini-batches are made here.");
  return `"""${lines.join("\n\n")}
"""

import keras
import numpy as np

if keras.backend.backend() == "jax":
    import jax

    jax.config.update("jax_enable_x64", True)
keras.config.set_floatx("float64")  # as the Playground computes; on JAX, Keras still multiplies in float32`;
}

function constants(trainer, epochs) {
  const { state, start, train, test, sizes } = trainer;
  const lines = [
    `EPOCHS = ${epochs ?? (trainer.epoch - start.epoch || EPOCHS)}`,
    `LEARNING_RATE = ${float(state.learningRate)}`,
    `BATCH_SIZE = ${number(state.batchSize || Infinity)}`,
  ];
  if (state.regularization !== "none") lines.push(`REGULARIZATION_RATE = ${float(state.regularizationRate)}`);
  lines.push(
    "# x, y and label of each point, in the order of training",
    `TRAIN = ${points(train)}`,
    `TEST = ${points(test)}`,
    "# the weights, [inputs, neurons], and biases of each layer",
    `WEIGHTS = [\n${start.layers.map((layer, l) => `${kernel(layer, sizes[l])}\n${biases(layer)}`).join("\n")}\n]`,
  );
  return lines.join("\n");
}

function functions({ features }) {
  const inputs = features.length
    ? `x, y = points[:, 0], points[:, 1]
    return np.stack([${features.map(({ name }) => FEATURES[name]).join(", ")}], axis=1)`
    : "return np.zeros((len(points), 0))";
  return `def features(points):
    """Return the inputs of the network at the points, [n, ${features.length}]."""
    ${inputs}


def half_squared_error(labels, outputs):
    return keras.ops.mean(keras.ops.square(outputs - labels), axis=-1) / 2


def measure(points):
    """Return the Playground's loss, the mean of ½ (output − label)², and the share of correct signs."""
    if not len(points):
        return float("nan"), float("nan")
    outputs = keras.ops.convert_to_numpy(model(features(points)))[:, 0]
    labels = points[:, 2]
    return np.mean((outputs - labels) ** 2) / 2, np.mean((outputs >= 0) == (labels > 0))


def report(epoch):
    print(f"epoch {epoch:>6}   train {measure(TRAIN)[0]:.12g}   test {measure(TEST)[0]:.12g}", flush=True)`;
}

function sgdWithL1() {
  return `class SGDWithL1(keras.optimizers.SGD):
    """A weight that the penalty carries across 0 becomes 0, and stays 0."""

    def build(self, variables):
        super().build(variables)
        self.alive = [self.add_variable_from_reference(v, name="alive", initializer="ones") for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        moved = variable - learning_rate * gradient
        if len(variable.shape) == 1:  # biases have no penalty
            self.assign(variable, moved)
            return
        alive = self.alive[self._get_variable_index(variable)]
        after = moved - learning_rate * REGULARIZATION_RATE * keras.ops.sign(variable)
        still = alive * (1 - keras.ops.cast(moved * after < 0, alive.dtype))
        self.assign(alive, still)
        self.assign(variable, after * still)`;
}

function model({ state, sizes, start }) {
  const penalty = state.regularization === "L2" ? ", kernel_regularizer=penalty" : "";
  const layers = sizes.slice(1).map((units, i) => {
    const last = state.problem === "classification" ? "tanh" : "linear";
    const activation = i === sizes.length - 2 ? last : state.activation;
    return `        keras.layers.Dense(${units}, activation="${activation}"${penalty}),`;
  });
  const lines = [
    "model = keras.Sequential(",
    "    [",
    `        keras.Input((${sizes[0]},)),`,
    ...layers,
    "    ]",
    ")",
    "model.set_weights(WEIGHTS)",
    `optimizer = ${state.regularization === "L1" ? "SGDWithL1" : "keras.optimizers.SGD"}(learning_rate=LEARNING_RATE)`,
    ...alreadyDead(start),
    "model.compile(optimizer=optimizer, loss=half_squared_error)",
    "",
    "inputs, labels = features(TRAIN), TRAIN[:, 2:]",
    `report(${start.epoch})`,
  ];
  if (penalty) lines.unshift(penaltyL2(state.regularizationRate));
  return lines.join("\n");
}

// Return the lines that define L2. Keras refuses a negative rate, which an address may have: that one is a function.
function penaltyL2(rate) {
  if (rate >= 0) return "penalty = keras.regularizers.L2(REGULARIZATION_RATE / 2)  # derivative: rate · weight";
  return `def penalty(weights):
    return REGULARIZATION_RATE / 2 * keras.ops.sum(keras.ops.square(weights))  # derivative: rate · weight

`;
}

// Return the lines that keep at 0 what L1 had set to 0 before the program begins.
function alreadyDead({ layers }) {
  if (!layers.some(({ nodes }) => nodes.some(({ dead }) => dead.includes(true)))) return [];
  const masks = layers.map(({ nodes }) => {
    const rows = nodes.map(({ dead }) => `[${dead.map((each) => (each ? 0 : 1)).join(", ")}]`);
    return `    np.array([${rows.join(", ")}]).T,`;
  });
  return [
    "optimizer.build(model.trainable_variables)",
    "ALIVE = [  # 0 where L1 has set a weight to 0 for good",
    ...masks,
    "]",
    "for alive, mask in zip(optimizer.alive[::2], ALIVE):",
    "    alive.assign(mask)",
  ];
}

function fit({ epoch }) {
  return `model.fit(
    inputs,
    labels,
    batch_size=BATCH_SIZE,
    epochs=EPOCHS,
    shuffle=False,  # the Playground takes the points in the same order each time
    verbose=0,
    callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: report(epoch + ${epoch + 1}))],
)`;
}

const MINI_BATCHES = `def mini_batches(pending, position):
    """Return the mini-batches of an epoch, and the samples left over for the first one of the next."""
    batches = []
    for i in range(position, len(inputs)):
        pending = [*pending, i]
        if (i + 1) % BATCH_SIZE == 0:
            batches.append(pending)
            pending = []
    return batches, pending`;

function trainOnBatches({ epoch, position, accumulated }) {
  const pending = accumulated ? `[i % len(inputs) for i in range(${position - accumulated}, ${position})]` : "[]";
  return `pending, position = ${pending}, ${position}
for epoch in range(${epoch + 1}, ${epoch + 1} + EPOCHS):
    batches, pending = mini_batches(pending, position)
    position = 0
    for batch in batches:
        model.train_on_batch(inputs[batch], labels[batch])
    report(epoch)`;
}

const ACCURACY = 'print(f"accuracy       train {measure(TRAIN)[1]:.6g}   test {measure(TEST)[1]:.6g}")';

// Return a number as Python reads it.
function number(value) {
  if (Number.isFinite(value)) return Object.is(value, -0) ? "-0.0" : String(value);
  return `float("${value}")`;
}

// Keras refuses a learning rate that is an int.
function float(value) {
  return Number.isInteger(value) ? value.toFixed(1) : number(value);
}

function points(list) {
  if (!list.length) return "np.zeros((0, 3))";
  const rows = list.map(({ x, y, label }) => `        [${number(x)}, ${number(y)}, ${number(label)}],`);
  return `np.array(\n    [\n${rows.join("\n")}\n    ],\n    dtype="float64",\n)`;
}

function kernel({ nodes }, inputs) {
  if (!inputs) return `    np.zeros((0, ${nodes.length})),`;
  const rows = Array.from({ length: inputs }, (_, j) => nodes.map(({ weights }) => number(weights[j])).join(", "));
  return `    np.array(\n        [\n${rows.map((row) => `            [${row}],`).join("\n")}\n        ]\n    ),`;
}

function biases({ nodes }) {
  return `    np.array([${nodes.map(({ bias }) => number(bias)).join(", ")}]),`;
}
