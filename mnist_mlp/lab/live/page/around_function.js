// Points above and below a function of x that was typed in.

import { parseExpression } from "./expression.js";
import { EDGE } from "./points.js";
import { Stream } from "./random.js";
import { LARGEST } from "./read_csv.js";

const TRIES = 20; // times the number of points, for a function that is not defined everywhere

// Draw points in [−6, 6]², labelled 1 above a function of x and −1 below it. Noise, in percent, moves the position at
// which the label is evaluated, as in the Playground's data sets. Return {points, notes}.
export function pointsAroundFunction(expression, count = 500, seed = "1", noise = 0) {
  const { value, error } = parseExpression(expression);
  if (error) return { points: [], notes: [error] };
  const notes = [];
  const wanted = Math.max(0, Math.min(LARGEST, Math.floor(count) || 0));
  if (wanted !== count) {
    const [most, drawn] = [LARGEST, wanted].map((number) => number.toLocaleString("en"));
    notes.push(`expected a whole number of points up to ${most}; ${drawn} were drawn`);
  }
  const stream = new Stream(seed);
  const points = [];
  let undefinedAt = 0;
  for (let i = 0; points.length < wanted && i < TRIES * wanted; i++) {
    const x = stream.uniform(-EDGE, EDGE);
    const y = stream.uniform(-EDGE, EDGE);
    const shift = (stream.uniform(-EDGE, EDGE) * noise) / 100;
    const border = value(x);
    if (border !== border) undefinedAt += 1;
    else points.push({ x, y, label: y + shift > border ? 1 : -1 });
  }
  if (points.length < wanted) {
    notes.push(`the function is undefined almost everywhere between −6 and 6: ${points.length} points were drawn`);
  } else if (undefinedAt) {
    notes.push("where the function is not defined, there are no points");
  }
  if (points.length && points.every(({ label }) => label === points[0].label)) {
    notes.push(`all points lie ${points[0].label > 0 ? "above" : "below"} the function`);
  }
  return { points, notes };
}
