// What is on the screen, without the screen: the settings, the network that trains, and the runs before it.
//
// `lab.on(name, listener)` hears "state" (settings), "network" (another network), "points", "trained" (weights and
// losses), "playing", "diverged" and "runs".

import { Trainer } from "./network.js";
import { fragment, parse } from "./state.js";

const RUNS = 60; // that are kept; the oldest leave
const IN_CHART = 8; // runs that are drawn unless asked for otherwise
const COLOURS = 8; // of kept runs; then they repeat
const LOSSES = 4000; // of a kept run, at most: enough for any chart

// What the settings do when they change, as on the original: some leave the weights, some build a new network, some
// draw new points, too.
const LIVE = ["learningRate"];
const SHOWN = ["showTestData", "discretize", "hidden"];
const POINTS = ["dataset", "regDataset", "problem", "noise", "percTrainData", "seed", "ownPoints"];

export class Lab {
  constructor() {
    this.listeners = new Map();
    this.playing = false;
    this.speed = "frame";
    this.target = Infinity; // the epoch at which to stop
    this.queue = 0; // runs still to repeat
    this.runs = []; // kept ones, as keepRun() makes them
    this.number = 1; // of the run on the screen
    this.start(parse("").state);
  }

  on(name, listener) {
    for (const each of name.split(" ")) this.listeners.set(each, [...(this.listeners.get(each) ?? []), listener]);
  }

  emit(...names) {
    for (const name of names) for (const listener of this.listeners.get(name) ?? []) listener();
  }

  get state() {
    return this.trainer.state;
  }

  get history() {
    return this.trainer.history;
  }

  // Return {losses, accuracy}, measured at the last whole epoch: for a large network, that costs as much as an epoch.
  get measured() {
    const { trainer } = this;
    const known = this.known?.trainer === trainer && this.known.sizes === trainer.sizes;
    if (!known || !this.playing || trainer.position === 0) {
      this.known = { trainer, sizes: trainer.sizes, losses: trainer.losses(), accuracy: trainer.accuracy() };
    }
    return this.known;
  }

  get address() {
    return fragment(this.state);
  }

  // Show an address, or only its part after the #. Return notes about what was not taken.
  open(text) {
    const { state, notes } = parse(text);
    this.show(state);
    return notes;
  }

  // Show a state as a freshly opened page does.
  show(state) {
    this.pause();
    this.keepRun();
    this.start(state);
    this.emit("state", "points", "network", "trained");
  }

  // Runs on other data leave the chart: their losses cannot be compared.
  start(state) {
    this.trainer = new Trainer(state);
    for (const run of this.runs) run.inChart &&= sameData(run.state, state);
    this.emit("runs");
  }

  // Change settings.
  change(changes) {
    const names = Object.keys(changes).filter((name) => !same(changes[name], this.state[name]));
    if (!names.length) return;
    const next = Object.fromEntries(names.map((name) => [name, changes[name]]));
    const own = next.ownPoints ?? this.state.ownPoints;
    if (next.problem === "classification" && own) {
      next.ownPoints = own.map((point) => ({ ...point, label: point.label < 0 ? -1 : 1 }));
    }
    if (names.every((name) => SHOWN.includes(name))) {
      Object.assign(this.state, next);
      this.emit("state", "points");
    } else if (names.every((name) => LIVE.includes(name))) {
      this.trainer.change(next);
      this.emit("state");
    } else if (names.some((name) => POINTS.includes(name))) {
      this.pause();
      this.keepRun();
      this.start({ ...this.state, ...next }); // the seed stays, so the address fixes what is seen
      this.emit("state", "points", "network", "trained");
    } else {
      this.pause();
      this.keepRun();
      this.trainer.reset(next);
      this.emit("state", "network", "trained");
    }
  }

  // New initial weights.
  reset() {
    this.pause();
    this.keepRun();
    this.trainer.reset();
    this.emit("network", "trained");
  }

  // New points of the same data set; the weights stay.
  regenerate() {
    this.trainer.regenerate();
    this.emit("state", "points", "trained");
  }

  // Replace the own points; the weights stay. With `more` to follow at once, the address can wait.
  setOwnPoints(ownPoints, more = false) {
    this.trainer.replacePoints({ ownPoints });
    this.emit(...(more ? [] : ["state"]), "points", "trained");
  }

  play(target = Infinity) {
    this.target = target;
    this.playing = this.trainer.epoch < target;
    this.emit("playing");
  }

  pause() {
    this.queue = 0;
    this.target = Infinity;
    if (!this.playing) return;
    this.playing = false;
    this.emit("playing");
  }

  // One epoch, or what is left of the one that has begun.
  step() {
    this.pause();
    this.trainer.trainEpoch();
    this.emit("trained");
  }

  // Train `times` times from new weights, each time up to epoch `epochs`; the runs are kept.
  repeat(times, epochs) {
    this.pause();
    this.keepRun();
    this.trainer.reset();
    this.emit("network", "trained");
    this.queue = times - 1;
    this.play(epochs);
  }

  // Train for a frame, within a budget of milliseconds. A large network takes several frames for an epoch.
  advance(budget) {
    const wanted = this.speed === "fast" || this.queue ? this.target : Math.min(this.target, this.trainer.epoch + 1);
    this.trainer.trainUntil(wanted, budget);
    if (this.diverged()) {
      this.pause();
      this.emit("trained", "diverged");
    } else if (this.trainer.epoch < this.target) {
      this.emit("trained");
    } else if (this.queue > 0) {
      this.queue -= 1;
      this.keepRun();
      this.trainer.reset();
      this.emit("network", "trained");
    } else {
      this.pause();
      this.emit("trained");
    }
  }

  // Return whether training has led to weights that are no numbers.
  diverged() {
    const { trainer, history } = this;
    return trainer.train.length > 0 && !Number.isFinite(history.train[trainer.epoch]) && !trainer.finite;
  }

  // Put the run on the screen among the kept ones, if it has begun.
  keepRun() {
    const { epoch, history } = this.trainer;
    if (epoch === 0) return;
    this.runs.push({
      number: this.number,
      epochs: epoch,
      state: { ...this.state },
      ...thinned(history), // at, train, test: losses, and the epochs that they are of
      last: this.trainer.losses(),
      accuracy: this.trainer.accuracy(),
      inChart: this.runs.filter((each) => each.inChart).length < IN_CHART,
      colour: ((this.number - 1) % COLOURS) + 1, // of its curves: --run-1, …
    });
    this.number += 1;
    if (this.runs.length > RUNS) this.runs.shift();
    this.emit("runs");
  }

  removeRun(run) {
    this.runs = run ? this.runs.filter((each) => each !== run) : [];
    this.emit("runs");
  }
}

// Return {at, train, test}: at most LOSSES of a run's epochs, and the losses there.
function thinned({ train, test }) {
  const every = Math.ceil(train.length / LOSSES);
  const epochs = [];
  for (let epoch = 0; epoch < train.length; epoch += every) epochs.push(epoch);
  if (epochs[epochs.length - 1] !== train.length - 1) epochs.push(train.length - 1);
  return { at: epochs, train: epochs.map((epoch) => train[epoch]), test: epochs.map((epoch) => test[epoch]) };
}

function sameData(a, b) {
  const names = ["problem", "noise", a.problem === "classification" ? "dataset" : "regDataset"];
  return names.every((name) => a[name] === b[name]) && Boolean(a.ownPoints) === Boolean(b.ownPoints);
}

function same(a, b) {
  return Array.isArray(a) && Array.isArray(b) ? a.length === b.length && a.every((each, k) => each === b[k]) : a === b;
}
