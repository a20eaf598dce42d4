// The settings of a run and their address. The Playground keeps them after the # of its address, as k=v&k=v, and is
// lenient: what it cannot use falls back to the default. parse() reads as it does and adds a note wherever the address
// asks for something that is not done. It never throws.
//
// A state has the Playground's keys, with plain values: networkShape is a list of numbers, seed a text, flags true or
// false. Beyond the Playground's keys:
//   hidden       names of NAME_hide=true; a hidden feature is no input of the network
//   weightsSeed  null, or the text that seeds the initial weights alone
//   ownPoints    null, or a list of {x, y, label} that replaces the data set
// In an address these are weightsSeed=…, exactNoise=… (noise above 80, which the Playground turns into 50) and
// points=x,y,label;x,y,label;… The Playground ignores them.

import { featuresOf } from "./features.js";
import { randomSeed } from "./random.js";

export const PAGE = "https://playground.tensorflow.org/";

export const CHOICES = Object.freeze({
  activation: ["relu", "tanh", "sigmoid", "linear"],
  regularization: ["none", "L1", "L2"],
  dataset: ["circle", "xor", "gauss", "spiral"],
  regDataset: ["reg-plane", "reg-gauss"],
  problem: ["classification", "regression"],
});

// The Playground's menus. Numbers beyond them are welcome, too: see RANGES.
export const MENUS = Object.freeze({
  learningRate: [0.00001, 0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10],
  regularizationRate: [0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10],
});

export const RANGES = Object.freeze({
  batchSize: [-1e9, 1e9],
  learningRate: [-1e300, 1e300],
  regularizationRate: [-1e300, 1e300],
  noise: [0, 1e6],
  percTrainData: [0, 100],
});

export const LIMITS = Object.freeze({ layers: 100, neurons: 10_000, parameters: 2_000_000, pointsInAddress: 2_000 });

export const DEFAULTS = Object.freeze({
  activation: "tanh",
  regularization: "none",
  batchSize: 10,
  dataset: "circle",
  regDataset: "reg-plane",
  learningRate: 0.03,
  regularizationRate: 0,
  noise: 0,
  networkShape: Object.freeze([4, 2]),
  seed: "",
  showTestData: false,
  discretize: false,
  percTrainData: 50,
  x: true,
  y: true,
  xTimesY: false,
  xSquared: false,
  ySquared: false,
  cosX: false, // the Playground accepts the key but has no such feature
  sinX: false,
  cosY: false,
  sinY: false,
  collectStats: false,
  tutorial: "",
  problem: "classification",
  initZero: false,
  hideText: false,
  hidden: Object.freeze([]),
  weightsSeed: null,
  ownPoints: null,
});

const TEXTS = ["seed", "tutorial", "weightsSeed"];
const BOOLEANS = Object.keys(DEFAULTS).filter((name) => typeof DEFAULTS[name] === "boolean");
const PLAYGROUND_KEYS = Object.keys(DEFAULTS).filter((name) => !["hidden", "weightsSeed", "ownPoints"].includes(name));
const OWN_KEYS = ["weightsSeed", "exactNoise", "points"];
const SUFFIX = "_hide";
const NUMBER = /^([+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+)$/;
export const NOISE_LIMIT = 80;
const NOISE_INSTEAD = 50; // the Playground replaces noise above the limit
const SHOWN = 60; // characters of an unusable text that a note repeats
const NOTES = 20; // at most; a hostile address has more to say than anyone reads

// Return {state, notes} of an address, or only of its "#k=v&…" part, or of "k=v&…".
export function parse(text) {
  const notes = [];
  const values = pairs(String(text ?? ""), notes);
  const state = { ...DEFAULTS, networkShape: [...DEFAULTS.networkShape], hidden: [] };
  for (const [name, value] of values) {
    if (name.endsWith(SUFFIX)) {
      if (value === "true") state.hidden.push(asBrowser(name.slice(0, -SUFFIX.length)));
    } else if (!PLAYGROUND_KEYS.includes(name) && !OWN_KEYS.includes(name)) {
      notes.push(`${quoted(name)} is not a key of the Playground; it has no effect`);
    } else if (name !== "exactNoise" && (name === "networkShape" || value?.trim())) {
      read(state, notes, name, value);
    }
  }
  if (values.get("exactNoise")?.trim()) read(state, notes, "exactNoise", values.get("exactNoise")); // wins over noise
  if (!state.seed) state.seed = randomSeed();
  checkSize(state, notes);
  if (notes.length > NOTES) notes.splice(NOTES, Infinity, `and ${notes.length - NOTES} more notes`);
  return { state, notes };
}

// Whether a text can be an address, or a part of one; an empty one is that of the defaults.
export function isAddress(text) {
  return text.trim() === "" || /[#=]|%3d|:\/\/|^\s*playground\.tensorflow\.org/i.test(text);
}

// Return the keys and values of an address as a Map; of duplicates the last counts.
function pairs(text, notes) {
  text = text.trim().replaceAll("&amp;", "&"); // as in the source of a web page
  if (!text.includes("=") && /%3d/i.test(text)) text = decoded(text);
  const hash = text.indexOf("#");
  const before = hash < 0 ? text : text.slice(0, hash);
  const address = before.includes("://") || before.startsWith("playground.tensorflow.org");
  let fragment = hash < 0 ? "" : text.slice(hash + 1);
  if (address && !fragment) {
    notes.push(
      /=|%23/.test(before)
        ? "this address has its keys before the #, where the Playground does not look; write them after a #"
        : "this address has nothing after a #, so all settings are the defaults",
    );
  } else if (hash < 0 && text.includes("=")) {
    fragment = text;
  } else if (!isAddress(text)) {
    notes.push(`expected a Playground address or its keys, received ${quoted(text)}; all settings are the defaults`);
  } else if (before && !address) {
    notes.push(`${quoted(before)} before the # has no effect`);
  }
  const values = new Map();
  for (const part of fragment.split("&")) {
    const [name, value] = part.split("=", 2);
    if (name) values.set(name, value);
  }
  return values;
}

function read(state, notes, name, text) {
  const value = text === undefined || TEXTS.includes(name) ? text : decoded(text);
  if (value !== text && name !== "points") {
    notes.push(`${name}=${shortened(text)}: read as ${shortened(value)}; the Playground itself does not decode it`);
  }
  if (name in CHOICES) {
    if (CHOICES[name].includes(value)) state[name] = value;
    else notes.push(`${name}: ${quoted(value)} is not one of ${CHOICES[name].join(", ")}; ${DEFAULTS[name]} is used`);
  } else if (name === "exactNoise") {
    readNumber(state, notes, "noise", value, true);
  } else if (name in RANGES) {
    readNumber(state, notes, name, value, false);
  } else if (name === "networkShape") {
    readShape(state, notes, value);
  } else if (BOOLEANS.includes(name)) {
    state[name] = value !== "false";
    if (!["true", "false"].includes(value)) {
      notes.push(`${name}: ${quoted(value)} counts as true, as all does but false`);
    }
    if (state[name] && (name === "cosX" || name === "cosY")) notes.push(`${name}: there is no such feature`);
  } else if (name === "points") {
    readPoints(state, notes, value);
  } else {
    state[name] = asBrowser(value);
    if (state[name] !== value) notes.push(`${name}: a browser turns ${quoted(value)} into ${quoted(state[name])}`);
  }
}

function readNumber(state, notes, name, text, exact) {
  const value = number(text);
  const [low, high] = RANGES[name];
  if (name === "noise" && value < 0) {
    notes.push(`noise=${shortened(text)}: 0 is used`);
    state.noise = 0;
  } else if (name === "noise" && value > NOISE_LIMIT && !exact) {
    notes.push(`noise=${shortened(text)}: above ${NOISE_LIMIT} the Playground uses ${NOISE_INSTEAD}`);
    state.noise = NOISE_INSTEAD;
  } else if (!(value >= low && value <= high)) {
    const expected = `expected a number from ${low} to ${high}, received ${quoted(text)}`;
    notes.push(`${name}: ${expected}; ${DEFAULTS[name]} is used`);
  } else {
    state[name] = value;
  }
}

function readShape(state, notes, text) {
  if (text === undefined) {
    notes.push("networkShape: expected = and numbers of neurons; 4,2 is used");
    return;
  }
  const parts = text.trim() ? text.split(",", LIMITS.layers + 2) : [];
  const shape = parts.map((part) => (part.trim() ? number(part) : 0));
  if (shape.length > LIMITS.layers) {
    notes.push(`networkShape: at most ${LIMITS.layers} hidden layers fit, more were asked for; 4,2 is used`);
  } else if (!shape.every((size) => Number.isInteger(size) && size >= 1 && size <= LIMITS.neurons)) {
    notes.push(
      `networkShape: expected whole numbers of neurons from 1 to ${LIMITS.neurons}, received ${quoted(text)}; `
        + "4,2 is used",
    );
  } else {
    state.networkShape = shape;
  }
}

function readPoints(state, notes, text) {
  const rows = text.split(";", LIMITS.pointsInAddress + 1).map((row) => row.split(",", 4).map(number));
  if (rows.length > LIMITS.pointsInAddress) {
    notes.push(`points: an address holds at most ${LIMITS.pointsInAddress}; the data set is used`);
  } else if (!rows.every((row) => row.length === 3 && row.every(Number.isFinite))) {
    notes.push("points: expected x,y,label;x,y,label;… of numbers; the data set is used");
  } else {
    state.ownPoints = rows.map(([x, y, label]) => ({ x, y, label }));
  }
}

// Replace a shape that memory cannot hold by the default.
function checkSize(state, notes) {
  const count = parameterCount(sizesOf(state));
  if (count > LIMITS.parameters) {
    notes.push(
      `networkShape: at most ${LIMITS.parameters} weights and biases fit, ${count} were asked for; 4,2 is used`,
    );
    state.networkShape = [...DEFAULTS.networkShape];
  }
  if (state.ownPoints && state.problem === "classification") {
    const wrong = state.ownPoints.find(({ label }) => Math.abs(label) !== 1);
    if (wrong) {
      notes.push(`points: expected labels -1 and 1, received ${wrong.label}; the data set is used`);
      state.ownPoints = null;
    }
  }
}

// Return a number as JavaScript reads it; nan for all else.
function number(text) {
  const plain = text.trim();
  return plain.length <= 400 && NUMBER.test(plain) ? Number(plain) : NaN;
}

// Decode %XX as UTF-8; what is no escape stays.
function decoded(text) {
  return text.replace(/(%[0-9a-f]{2})+/gi, (escapes) => {
    const bytes = escapes.slice(1).split("%").map((hex) => parseInt(hex, 16));
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes));
  });
}

// Return a text as a browser normalizes it in an address: tabs and line breaks are dropped; spaces, a few punctuation
// marks and everything outside of ASCII become %XX.
function asBrowser(text) {
  return [...new TextDecoder().decode(new TextEncoder().encode(text))]
    .filter((character) => !"\t\n\r".includes(character))
    .map((character) => {
      const code = character.codePointAt(0);
      if (code > 32 && code < 127 && !'"<>`'.includes(character)) return character;
      return [...new TextEncoder().encode(character)]
        .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`)
        .join("");
    })
    .join("");
}

function shortened(text) {
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}

function quoted(text) {
  return `“${shortened(text ?? "")}”`;
}

// Return a text that may stand between & and =, for one that someone has typed; the same text if it already may.
export function seedFrom(text) {
  return asBrowser(text).replace(/[&=#]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

// Return "#k=v&…" of a state. The Playground opens it, as far as its menus go; parse() returns the same state.
export function fragment(state) {
  const parts = [];
  for (const name of PLAYGROUND_KEYS) {
    if (name === "tutorial" && !state.tutorial) continue;
    let value = TEXTS.includes(name) ? seedFrom(state[name]) : state[name];
    if (name === "noise" && value > NOISE_LIMIT) value = NOISE_INSTEAD;
    if (name === "networkShape") value = value.join(",");
    parts.push(`${name}=${value}`);
  }
  for (const name of state.hidden) parts.push(`${seedFrom(name)}${SUFFIX}=true`);
  if (state.noise > NOISE_LIMIT) parts.push(`exactNoise=${state.noise}`);
  if (state.weightsSeed !== null) parts.push(`weightsSeed=${seedFrom(state.weightsSeed)}`);
  if (state.ownPoints && state.ownPoints.length <= LIMITS.pointsInAddress) {
    parts.push(`points=${state.ownPoints.map(({ x, y, label }) => `${x},${y},${label}`).join(";")}`);
  }
  return `#${parts.join("&")}`;
}

// Return the number of nodes of each layer: the features, the hidden layers, the one output.
export function sizesOf(state) {
  return [featuresOf(state).length, ...state.networkShape, 1];
}

// Return the number of weights and biases: each node has one weight per input, and a bias.
export function parameterCount(sizes) {
  return sizes.slice(1).reduce((sum, units, i) => sum + units * (1 + sizes[i]), 0);
}
