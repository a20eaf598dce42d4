// The points of a run: drawn as the Playground draws them, or your own; then shuffled and split.
//
// A point is {x, y, label}. The formulas and their order of operations are the Playground's, so that every bit agrees.

import { cos, log, sin } from "./fdlibm.js";

export const EDGE = 6; // the page shows the square [−6, 6]²
const CLASSIFICATION = 500; // points of a data set
const REGRESSION = 1200;
const BUMPS = [[-4, 2.5, 1], [0, 2.5, -1], [4, 2.5, 1], [-4, -2.5, -1], [0, -2.5, 1], [4, -2.5, -1]]; // x, y, sign

// Return {train, test} for a state and a Stream. Own points take no random numbers but those of the shuffle.
export function makePoints(state, stream) {
  const points = state.ownPoints ? [...state.ownPoints] : draw(state, stream);
  for (let count = points.length; count > 0; count--) {
    const k = Math.floor(stream.random() * count);
    [points[count - 1], points[k]] = [points[k], points[count - 1]];
  }
  const cut = Math.floor((points.length * state.percTrainData) / 100);
  return { train: points.slice(0, cut), test: points.slice(cut) };
}

// Draw the data set of a state: 500 points with labels ±1 for classification, 1,200 for regression.
export function draw(state, stream) {
  const name = state.problem === "classification" ? state.dataset : state.regDataset;
  return DRAW[name](stream, state.noise / 100);
}

const DRAW = {
  // Two normal distributions of equal variance, 0.5 + 7·noise, around (2, 2) and (−2, −2).
  gauss(stream, noise) {
    const spread = Math.sqrt(mixed(0.5, 4, noise / 0.5));
    const normal = (mean) => {
      let a, square;
      do { // Marsaglia's polar method; as on the page, the second number of each pair is discarded
        a = 2 * stream.random() - 1;
        const b = 2 * stream.random() - 1;
        square = a * a + b * b;
      } while (square > 1);
      return mean + spread * (Math.sqrt((-2 * log(square)) / square) * a);
    };
    const points = [];
    for (const label of [1, -1]) {
      for (let i = 0; i < CLASSIFICATION / 2; i++) {
        const x = normal(2 * label);
        points.push({ x, y: normal(2 * label), label });
      }
    }
    return points;
  },

  // A disc within a ring. Noise moves the position at which the label is evaluated, not the point.
  circle(stream, noise) {
    const points = [];
    for (const [low, high] of [[0, 2.5], [3.5, 5]]) {
      for (let i = 0; i < CLASSIFICATION / 2; i++) {
        const radius = stream.uniform(low, high);
        const angle = stream.uniform(0, 2 * Math.PI);
        const [x, y] = [radius * sin(angle), radius * cos(angle)];
        const dx = stream.uniform(-5, 5) * noise;
        const dy = stream.uniform(-5, 5) * noise;
        points.push({ x, y, label: distance(x + dx, y + dy) < 2.5 ? 1 : -1 });
      }
    }
    return points;
  },

  // Four squares 0.6 apart; diagonally opposite ones have the same label.
  xor(stream, noise) {
    const padded = () => {
      const value = stream.uniform(-5, 5);
      return value + (value > 0 ? 0.3 : -0.3);
    };
    const points = [];
    for (let i = 0; i < CLASSIFICATION; i++) {
      const x = padded();
      const y = padded();
      const dx = stream.uniform(-5, 5) * noise;
      const dy = stream.uniform(-5, 5) * noise;
      points.push({ x, y, label: (x + dx) * (y + dy) >= 0 ? 1 : -1 });
    }
    return points;
  },

  // Two arms of 1¾ turns. Noise moves the points.
  spiral(stream, noise) {
    const points = [];
    const n = CLASSIFICATION / 2;
    for (const [start, label] of [[0, 1], [Math.PI, -1]]) {
      for (let i = 0; i < n; i++) {
        const radius = (i / n) * 5;
        const angle = ((1.75 * i) / n) * 2 * Math.PI + start;
        const x = radius * sin(angle) + stream.uniform(-1, 1) * noise;
        const y = radius * cos(angle) + stream.uniform(-1, 1) * noise;
        points.push({ x, y, label });
      }
    }
    return points;
  },

  "reg-plane": regression((x, y) => mixed(-1, 1, (x + y + 10) / 20)), // (x + y) / 10

  // Six cones of radius 2 and height ±1; where they overlap, the highest counts, on a tie the first.
  "reg-gauss": regression((x, y) => {
    let label = 0;
    for (const [x0, y0, sign] of BUMPS) {
      const height = sign * (1 - Math.max(0, Math.min(1, distance(x - x0, y - y0) / 2)));
      if (Math.abs(height) > Math.abs(label)) label = height;
    }
    return label;
  }),
};

// Return a data set of points in the square, labelled by a function. Noise moves the position of evaluation.
function regression(label) {
  return (stream, noise) => {
    const points = [];
    for (let i = 0; i < REGRESSION; i++) {
      const x = stream.uniform(-6, 6);
      const y = stream.uniform(-6, 6);
      const dx = stream.uniform(-6, 6) * noise;
      const dy = stream.uniform(-6, 6) * noise;
      points.push({ x, y, label: label(x + dx, y + dy) });
    }
    return points;
  };
}

// Interpolate linearly from a (t = 0) to b (t = 1), with the rounding of the page's scales.
function mixed(a, b, t) {
  return a * (1 - t) + b * t;
}

function distance(dx, dy) {
  return Math.sqrt(dx * dx + dy * dy);
}
