// The runs in view, as the server's events tell them; without the screen.
//
// `runs.on(name, listener)` hears "runs" (which there are, and how they stand), "points", "look", "scores" and
// "connection". A lost connection comes back by itself and brings what was missed.

import { ask } from "./requests.js";

const COLOURS = 6; // as many as runs in view
const MOST = 2000; // points of a curve that are kept: more than pixels
const AGAIN = 3000; // milliseconds until a connection that was refused is tried again

export class Runs {
  constructor() {
    this.all = new Map(); // by name
    this.listeners = new Map();
    this.connected = null; // true, false, or null before the first connection
    this.lastId = "";
  }

  on(names, listener) {
    for (const name of names.split(" ")) this.listeners.set(name, [...(this.listeners.get(name) ?? []), listener]);
  }

  emit(name, run) {
    for (const listener of this.listeners.get(name) ?? []) listener(run);
  }

  get list() {
    return [...this.all.values()].sort((a, b) => a.ordered - b.ordered || (a.name < b.name ? -1 : 1));
  }

  connect() {
    const query = this.lastId ? `?last_event_id=${encodeURIComponent(this.lastId)}` : "";
    const source = new EventSource(`training/events${query}`);
    source.onopen = () => this.setConnected(true);
    source.onmessage = (event) => {
      if (event.lastEventId) this.lastId = event.lastEventId;
      this.hear(JSON.parse(event.data));
    };
    source.onerror = () => {
      this.setConnected(false);
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again
      setTimeout(() => this.connect(), AGAIN);
    };
  }

  setConnected(connected) {
    if (this.connected === connected) return;
    this.connected = connected;
    this.emit("connection");
    if (connected) this.refresh();
  }

  // Forget runs that are no longer in view, perhaps hidden by another page.
  async refresh() {
    let found;
    try {
      found = await ask("/runs");
    } catch {
      return; // the stream says that the server is gone
    }
    const names = new Set(found.runs.map(({ run }) => run));
    for (const each of found.runs) Object.assign(this.run(each.run), standing(each));
    for (const name of [...this.all.keys()]) if (!names.has(name)) this.all.delete(name);
    this.emit("runs");
  }

  run(name) {
    if (!this.all.has(name)) {
      const used = new Set([...this.all.values()].map(({ colour }) => colour));
      const colour = [1, 2, 3, 4, 5, 6].find((each) => !used.has(each)) ?? (this.all.size % COLOURS) + 1;
      const none = { points: [], together: 1, scores: [], rates: [], begin: null, look: null, score: null, result: null, message: "", options: {} };
      this.all.set(name, { name, colour, ordered: Infinity, state: "queued", since: 0, goes_on: false, ...none });
    }
    return this.all.get(name);
  }

  hear(event) {
    const run = this.run(event.run);
    const heard = {
      run: () => Object.assign(run, { since: run.state === event.state ? run.since : Date.now() / 1000 }, standing(event)),
      state: () => Object.assign(run, { state: event.state, message: event.message ?? "", since: event.time }),
      begin: () => this.begins(run, event),
      step: () => addPoint(run, event),
      scores: () => {
        run.scores.push({ step: event.step, split: event.split, loss: event.loss, accuracy: event.accuracy, interval: event.interval, final: event.final === true });
        run.score = event;
      },
      look: () => (run.look = event),
      rate: () => run.rates.push(event),
      refused: () => (run.message = event.message),
      result: () => (run.result = event.result),
    };
    heard[event.kind]?.();
    const names = { step: "points", epoch: "points", look: "look", scores: "scores" };
    this.emit(names[event.kind] ?? "runs", run);
    if (["begin", "scores", "rate"].includes(event.kind)) this.emit("points", run);
  }

  // The process is ready; what was trained after the checkpoint from which it goes on is trained again.
  begins(run, event) {
    run.begin = event;
    run.points = run.points.filter(({ step }) => step <= event.step);
    run.scores = run.scores.filter(({ step }) => step <= event.step);
    run.rates = event.rates ?? [];
  }
}

// Add a point to the curves of a run. Where there are too many, neighbours become one: `together` of those that came.
export function addPoint(run, event) {
  const last = run.points.at(-1);
  if (last && last.parts < run.together) run.points[run.points.length - 1] = merged(last, { ...event, parts: 1 });
  else run.points.push({ ...event, parts: 1 });
  if (run.points.length <= MOST) return;
  const halves = [];
  for (let k = 0; k < run.points.length; k += 2) {
    const [one, other] = [run.points[k], run.points[k + 1]];
    halves.push(other ? merged(one, other) : one);
  }
  run.points = halves;
  run.together *= 2;
}

// Two points that follow one another as one: means are weighted by images, all else is that of the second.
function merged(one, other) {
  const images = one.images + other.images;
  const mean = (name) => (one[name] === null || other[name] === null ? other[name] : (one[name] * one.images + other[name] * other.images) / images);
  return { ...other, loss: mean("loss"), accuracy: mean("accuracy"), images, parts: one.parts + other.parts };
}

function standing({ state, message, ordered, goes_on: goesOn, options }) {
  return { state, message, ordered, goes_on: goesOn, options };
}

// Return what tells a run from others: its model, optimizer, and options that are not the defaults.
export function titleOf({ name, options }) {
  const { model = "mlp", optimizer, learning_rate: rate, preset, ...others } = options;
  const parts = [preset && preset !== "default" ? `${preset}: ${model}` : model, optimizer, rate && `rate ${rate}`];
  for (const [key, value] of Object.entries(others)) {
    if (key !== "strategy" && key !== "backend") parts.push(`${key.replaceAll("_", " ")} ${value}`);
  }
  return parts.filter(Boolean).join(", ") || name;
}

// Return where a run is: a step in epochs.
export function epochsOf(run, step) {
  return run.begin ? step / (run.begin.steps_per_epoch ?? run.begin.steps) : 0;
}
