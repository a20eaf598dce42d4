// The Playground's network and its training, without a page: this module and what it imports also run in Node.
//
//   run(url, epochs)         -> what `python -m mnist_mlp.lab.playground URL --epochs=N --json` prints: {url, seed,
//                               epochs, state, losses: [{train, test}] from epoch 0, accuracy, initial_parameters,
//                               parameters, dead_weights, train_points, test_points, own_points}; not finite is null
//   trainer = new Trainer(state)         data and initial weights as on a freshly opened page; state from parse()
//     .state, .train, .test              its own copy of the settings; the points, [{x, y, label}]
//     .sizes                             nodes of each layer, [features, …hidden, 1]; layer 0 holds the features
//     .epoch, .position                  completed passes; samples taken of the pass that has begun
//     .trainEpoch()                      finish the pass, record its losses
//     .step(n = 1)                       n updates (mini-batches); at most one pass for each
//     .trainUntil(epoch, milliseconds)   train up to that epoch or until the time is spent -> whether it is reached
//     .losses()                          {train, test}: the mean of ½(o − t)²; nan without points
//     .accuracy()                        {train, test}: the share of correct signs; null for regression
//     .history                           {train: [loss at epoch 0, 1, …], test: […]}
//     .start                             where training began anew: {epoch, position, accumulated, exact, layers}
//     .finite                            whether all weights and biases are finite
//     .weight(l, node, input), .bias(l, node), .isDead(l, node, input)                 l = 1 … sizes.length - 1
//     .setWeight(l, node, input, value), .setBias(l, node, value)                      by hand; a dead weight revives
//     .weights()                         [{nodes: [{bias, weights: […], dead: […]}]}] from layer 1 on, as a copy
//     .output(x, y), .outputs(xs, ys)    of the network at a point; of all nodes: [layer][node] Float64Array
//     .maps(size)                        the same on a size × size grid over [-6, 6]², rows from y = 6 down, for
//                                        pictures: each activation within 2e-6, at a frame's rate; arrays are reused
//     .change(settings)                  another learningRate, regularizationRate or batchSize; the weights stay
//     .reset(changes)                    new weights from the one stream of random numbers, as the Playground's button
//     .regenerate()                      a new seed from that stream and new points; the weights stay
//     .replacePoints({ownPoints})        own points for the seed that there is; the weights stay
//
// Sums run in the Playground's order and the functions are those of fdlibm.js, so that every bit agrees.

import { exp, tanh } from "./fdlibm.js";
import { featuresOf } from "./features.js";
import { EDGE, makePoints } from "./points.js";
import { Stream } from "./random.js";
import { PAGE, fragment, parameterCount, parse, sizesOf } from "./state.js";

const BIAS = 0.1; // initial value of every bias
const CHANGEABLE = ["learningRate", "regularizationRate", "batchSize"];

// A layer of the network: parameters, what has been accumulated for the next update, and the values of one sample.
class Layer {
  constructor(inputs, units) {
    this.inputs = inputs;
    this.units = units;
    this.weights = new Float64Array(units * inputs); // of node i at i · inputs
    this.biases = new Float64Array(units);
    this.dead = new Uint8Array(units * inputs); // set to 0 by L1, for good
    this.weightSums = new Float64Array(units * inputs); // of the gradients since the last update
    this.biasSums = new Float64Array(units);
    this.outputs = new Float64Array(units);
    this.errors = new Float64Array(units); // derivatives of the error, first by the outputs, then by their inputs
  }

  // Compute the outputs for the values of the layer before, of which the first lies at `start`.
  forward(values, start, activation) {
    const { inputs, units, weights, biases, outputs } = this;
    for (let i = 0, k = 0; i < units; i++) {
      let sum = biases[i];
      for (let j = 0; j < inputs; j++, k++) sum += weights[k] * values[start + j];
      outputs[i] = sum;
    }
    if (activation === "tanh") for (let i = 0; i < units; i++) outputs[i] = tanh(outputs[i]);
    else if (activation === "relu") for (let i = 0; i < units; i++) outputs[i] = outputs[i] <= 0 ? 0 : outputs[i];
    else if (activation === "sigmoid") for (let i = 0; i < units; i++) outputs[i] = 1 / (1 + exp(-outputs[i]));
  }

  // Turn the errors by the outputs into those by the weighted inputs, and add the gradients.
  backward(values, start, activation) {
    const { inputs, units, outputs, errors, weightSums, biasSums } = this;
    for (let i = 0, k = 0; i < units; i++) {
      const o = outputs[i];
      let slope = 1;
      if (activation === "tanh") slope = 1 - o * o;
      else if (activation === "relu") slope = o <= 0 ? 0 : 1;
      else if (activation === "sigmoid") slope = o * (1 - o);
      const error = (errors[i] *= slope);
      biasSums[i] += error;
      for (let j = 0; j < inputs; j++, k++) weightSums[k] += error * values[start + j];
    }
  }

  // Write the errors by the outputs of the layer before.
  propagate(before) {
    const { inputs, units, weights, errors } = this;
    const target = before.errors;
    target.fill(0);
    for (let i = 0, k = 0; i < units; i++) {
      const error = errors[i];
      for (let j = 0; j < inputs; j++, k++) target[j] += weights[k] * error;
    }
  }

  // Update by the mean gradient of m samples and the penalty. The Playground computes (rate / m)·Σg for weights and
  // (rate·Σg) / m for biases. With L1, a weight that the penalty carries across 0 becomes 0 and stays it.
  update(m, state) {
    const { weights, biases, dead, weightSums, biasSums } = this;
    const rate = state.learningRate / m;
    const decay = state.learningRate * state.regularizationRate;
    for (let i = 0; i < biases.length; i++) biases[i] -= (state.learningRate * biasSums[i]) / m;
    if (state.regularization === "none") {
      for (let k = 0; k < weights.length; k++) weights[k] -= rate * weightSums[k];
    } else if (state.regularization === "L2") {
      for (let k = 0; k < weights.length; k++) {
        const w = weights[k];
        weights[k] = w - rate * weightSums[k] - decay * w;
      }
    } else {
      for (let k = 0; k < weights.length; k++) {
        if (dead[k]) continue;
        const w = weights[k];
        const moved = w - rate * weightSums[k];
        const after = moved - decay * (w < 0 ? -1 : w > 0 ? 1 : 0);
        dead[k] = moved * after < 0 ? 1 : 0;
        weights[k] = dead[k] ? 0 : after;
      }
    }
    weightSums.fill(0);
    biasSums.fill(0);
  }
}

export class Trainer {
  constructor(state) {
    this.state = { ...state };
    this.stream = new Stream(state.seed);
    Object.assign(this, makePoints(state, this.stream)); // train and test
    this.reset();
  }

  // Build a new network. The weights are drawn layer by layer, node by node, over its inputs; with initZero, too.
  // With weightsSeed they come from a stream of their own, the same ones at each reset.
  reset(changes = {}) {
    Object.assign(this.state, changes);
    const { state } = this;
    const stream = state.weightsSeed === null ? this.stream : new Stream(state.weightsSeed);
    this.features = featuresOf(state);
    this.sizes = sizesOf(state);
    this.layers = this.sizes.slice(1).map((units, i) => new Layer(this.sizes[i], units));
    for (const { weights, biases } of this.layers) {
      for (let k = 0; k < weights.length; k++) {
        const drawn = stream.random() - 0.5;
        weights[k] = state.initZero ? 0 : drawn;
      }
      biases.fill(state.initZero ? 0 : BIAS);
    }
    this.accumulated = 0; // samples since the last update; they carry over into the next pass
    this.begin();
  }

  // Draw a new seed from the stream and new points for it; the weights stay.
  regenerate() {
    this.state.seed = this.stream.seed();
    this.stream = new Stream(this.state.seed);
    Object.assign(this, makePoints(this.state, this.stream));
    this.newPoints();
  }

  // Take own points, split as in a freshly opened page; seed, stream and network stay.
  replacePoints({ ownPoints }) {
    this.state.ownPoints = ownPoints;
    Object.assign(this, makePoints(this.state, new Stream(this.state.seed)));
    this.newPoints();
  }

  newPoints() {
    this.position = 0;
    this.sampleInputs();
    this.touched();
    this.mark();
  }

  begin() {
    this.epoch = this.position = 0;
    this.sampleInputs();
    this.touched();
    this.mark();
    this.history = { train: [], test: [] };
    this.record();
  }

  // Remember where training begins anew, for a program that repeats it. It cannot do so to the last bit if gradients
  // that wait for the next update came from other weights or points.
  mark() {
    this.start = {
      epoch: this.epoch,
      position: this.position,
      accumulated: this.accumulated,
      exact: this.accumulated === 0,
      layers: this.weights(),
    };
  }

  // Keep the features and labels of all points in flat arrays.
  sampleInputs() {
    const flat = (points) => {
      const { features } = this;
      const values = new Float64Array(points.length * features.length);
      points.forEach(({ x, y }, i) => features.forEach(({ of }, j) => (values[i * features.length + j] = of(x, y))));
      return { values, labels: Float64Array.from(points, ({ label }) => label) };
    };
    this.samples = { train: flat(this.train), test: flat(this.test) };
  }

  // Forget what no longer holds when weights or points have changed.
  touched() {
    this.measured = null;
  }

  change(settings) {
    for (const name of Object.keys(settings)) {
      if (!CHANGEABLE.includes(name)) throw new Error(`${name} cannot change while training: use reset or regenerate`);
    }
    Object.assign(this.state, settings);
    this.touched();
    this.mark();
  }

  activationOf(layer) {
    if (layer < this.layers.length - 1) return this.state.activation;
    return this.state.problem === "classification" ? "tanh" : "linear";
  }

  // Return the output for the features that begin at `start`.
  forward(values, start) {
    const { layers } = this;
    for (let l = 0; l < layers.length; l++) {
      layers[l].forward(values, start, this.activationOf(l));
      values = layers[l].outputs;
      start = 0;
    }
    return values[0];
  }

  // Train on one sample; return whether it completed a batch.
  sample(i) {
    const { layers, samples: { train: { values, labels } } } = this;
    const start = i * this.features.length;
    const output = this.forward(values, start);
    layers[layers.length - 1].errors[0] = output - labels[i];
    for (let l = layers.length - 1; l > 0; l--) {
      layers[l].backward(layers[l - 1].outputs, 0, this.activationOf(l));
      layers[l].propagate(layers[l - 1]);
    }
    layers[0].backward(values, start, this.activationOf(0));
    this.accumulated += 1;
    if ((i + 1) % this.state.batchSize !== 0) return false;
    for (const layer of layers) layer.update(this.accumulated, this.state);
    this.accumulated = 0;
    return true;
  }

  trainEpoch() {
    while (this.position < this.train.length) this.sample(this.position++);
    this.finishEpoch();
  }

  finishEpoch() {
    this.position = 0;
    this.epoch += 1;
    this.touched();
    this.record();
  }

  record() {
    const { train, test } = this.losses();
    this.history.train[this.epoch] = train;
    this.history.test[this.epoch] = test;
  }

  step(n = 1) {
    for (let k = 0; k < n; k++) {
      let updated = false;
      for (let taken = 0; !updated && taken < Math.max(1, this.train.length); taken++) {
        if (this.position < this.train.length) updated = this.sample(this.position++);
        if (this.position >= this.train.length) this.finishEpoch();
      }
    }
    this.touched();
  }

  trainUntil(epoch, milliseconds = Infinity) {
    const end = performance.now() + milliseconds;
    const every = Math.max(1, Math.min(64, Math.floor(20_000 / parameterCount(this.sizes)))); // samples: some 0.1 ms
    while (this.epoch < epoch) {
      while (this.position < this.train.length) {
        this.sample(this.position++);
        if (this.position % every === 0 && performance.now() > end) {
          this.touched();
          return false;
        }
      }
      this.finishEpoch();
      if (performance.now() > end) break;
    }
    return this.epoch >= epoch;
  }

  // Measure losses and signs, once for each state of the weights.
  measure() {
    if (this.measured) return this.measured;
    const losses = {};
    const accuracy = {};
    for (const part of ["train", "test"]) {
      const { values, labels } = this.samples[part];
      let sum = 0;
      let correct = 0;
      for (let i = 0; i < labels.length; i++) {
        const output = this.forward(values, i * this.features.length);
        const error = output - labels[i];
        sum += 0.5 * (error * error);
        if (output >= 0 ? labels[i] > 0 : output < 0 && labels[i] < 0) correct += 1;
      }
      losses[part] = sum / labels.length; // 0 / 0 is nan
      accuracy[part] = correct / labels.length;
    }
    return (this.measured = { losses, accuracy });
  }

  losses() {
    return { ...this.measure().losses };
  }

  accuracy() {
    return this.state.problem === "regression" ? null : { ...this.measure().accuracy };
  }

  get finite() {
    return this.layers.every(({ weights, biases }) => weights.every(Number.isFinite) && biases.every(Number.isFinite));
  }

  weight(l, node, input) {
    return this.layers[l - 1].weights[node * this.sizes[l - 1] + input];
  }

  bias(l, node) {
    return this.layers[l - 1].biases[node];
  }

  isDead(l, node, input) {
    return this.layers[l - 1].dead[node * this.sizes[l - 1] + input] === 1;
  }

  setWeight(l, node, input, value) {
    const k = node * this.sizes[l - 1] + input;
    const { weights, weightSums, dead } = this.layers[l - 1];
    if (dead[k]) weightSums[k] = 0; // gradients while it was dead do not count
    dead[k] = 0;
    weights[k] = value;
    this.touched();
    this.mark();
  }

  setBias(l, node, value) {
    this.layers[l - 1].biases[node] = value;
    this.touched();
    this.mark();
  }

  weights() {
    return this.layers.map(({ inputs, units, weights, biases, dead }) => ({
      nodes: Array.from({ length: units }, (_, i) => ({
        bias: biases[i],
        weights: Array.from(weights.subarray(i * inputs, (i + 1) * inputs)),
        dead: Array.from(dead.subarray(i * inputs, (i + 1) * inputs), Boolean),
      })),
    }));
  }

  // Return all weights and biases in one list: layer by layer, node by node, the bias first.
  parameters() {
    return this.weights().flatMap(({ nodes }) => nodes.flatMap(({ bias, weights }) => [bias, ...weights]));
  }

  deadWeights() {
    return this.layers.reduce((sum, { dead }) => sum + dead.reduce((a, b) => a + b, 0), 0);
  }

  output(x, y) {
    return this.forward(Float64Array.from(this.features, ({ of }) => of(x, y)), 0);
  }

  outputs(xs, ys) {
    const all = this.sizes.map((units) => Array.from({ length: units }, () => new Float64Array(xs.length)));
    const inputs = new Float64Array(this.features.length);
    for (let p = 0; p < xs.length; p++) {
      this.features.forEach(({ of }, j) => (all[0][j][p] = inputs[j] = of(xs[p], ys[p])));
      this.forward(inputs, 0);
      this.layers.forEach(({ outputs }, l) => outputs.forEach((value, i) => (all[l + 1][i][p] = value)));
    }
    return all;
  }

  maps(size) {
    if (this.drawn?.size !== size || this.drawn.sizes !== this.sizes) {
      const step = (2 * EDGE) / size; // values at the centres of the cells
      const inputs = this.features.map(({ of }) =>
        Float32Array.from({ length: size * size }, (_, p) =>
          of(((p % size) + 0.5) * step - EDGE, EDGE - (Math.floor(p / size) + 0.5) * step)));
      const rest = this.sizes.slice(1).map((units) =>
        Array.from({ length: units }, () => new Float32Array(size * size)));
      this.drawn = { size, sizes: this.sizes, values: [inputs, ...rest], zeros: new Float32Array(size * size) };
    }
    const { values, zeros } = this.drawn;
    this.layers.forEach(({ inputs, units, weights, biases }, l) => {
      for (let i = 0; i < units; i++) {
        const own = weights.subarray(i * inputs, (i + 1) * inputs);
        weighted(values[l + 1][i], values[l], own, biases[i], zeros);
        quick(values[l + 1][i], this.activationOf(l));
      }
    });
    return values;
  }
}

// Fill with bias + Σ weight · input, four inputs at a time; zeros stand in for those that a multiple of four lacks.
function weighted(target, inputs, weights, bias, zeros) {
  target.fill(bias);
  for (let j = 0; j < inputs.length; j += 4) {
    const [a, b, c, d] = [0, 1, 2, 3].map((k) => inputs[j + k] ?? zeros);
    const [u, v, w, x] = [0, 1, 2, 3].map((k) => weights[j + k] ?? 0);
    for (let p = 0; p < target.length; p++) target[p] += u * a[p] + v * b[p] + w * c[p] + x * d[p];
  }
}

// tanh from a table, with linear interpolation: within 2e-6.
const CELLS = 4096;
const REACH = 9; // tanh is within 4e-8 of ±1 from there on
const TABLE = Float64Array.from({ length: CELLS + 2 }, (_, i) => tanh((2 * i * REACH) / CELLS - REACH));

function quickTanh(z) {
  if (!(z > -REACH)) return z <= -REACH ? -1 : z; // nan stays
  if (z >= REACH) return 1;
  const t = (z + REACH) * (CELLS / (2 * REACH));
  const i = Math.trunc(t);
  return TABLE[i] + (t - i) * (TABLE[i + 1] - TABLE[i]);
}

function quick(values, activation) {
  const n = values.length;
  if (activation === "tanh") for (let p = 0; p < n; p++) values[p] = quickTanh(values[p]);
  else if (activation === "relu") for (let p = 0; p < n; p++) values[p] = values[p] <= 0 ? 0 : values[p];
  else if (activation === "sigmoid") for (let p = 0; p < n; p++) values[p] = 0.5 + 0.5 * quickTanh(values[p] / 2);
}

// Train the network of an address, or of a state, for some epochs, like a freshly opened page.
export function run(url, epochs) {
  const state = typeof url === "string" ? parse(url).state : url;
  const trainer = new Trainer(state);
  const initial = trainer.parameters();
  while (trainer.epoch < epochs) trainer.trainEpoch();
  const rows = (points) => points.map(({ x, y, label }) => [x, y, label]);
  const { train, test } = trainer.history;
  return finiteOrNull({
    url: PAGE + fragment(state),
    seed: state.seed,
    epochs: trainer.epoch,
    state: { ...trainer.state },
    losses: train.map((loss, epoch) => ({ train: loss, test: test[epoch] })),
    accuracy: trainer.accuracy(),
    initial_parameters: initial,
    parameters: trainer.parameters(),
    dead_weights: trainer.deadWeights(),
    train_points: rows(trainer.train),
    test_points: rows(trainer.test),
    own_points: state.ownPoints !== null,
  });
}

// Replace numbers that are not finite by null, as JSON has no nan.
function finiteOrNull(value) {
  if (typeof value === "number") return Number.isFinite(value) ? value : null;
  if (Array.isArray(value)) return value.map(finiteOrNull);
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, finiteOrNull(item)]));
  }
  return value;
}
