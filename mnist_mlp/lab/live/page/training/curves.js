// Loss and accuracy by epoch of all runs, on canvases.

import { $, colour, sharp, shown } from "../dom.js";
import { epochsOf, titleOf } from "./runs.js";

const MARGIN = { left: 3.7, right: .6, top: .5, bottom: 1.5 }; // in units of the type
const SMOOTH = 0.02; // share of the points so far over which the line is a mean

export class Curves {
  constructor(runs) {
    this.runs = runs;
    $("log").addEventListener("change", () => this.draw());
    for (const id of ["loss-chart", "accuracy-chart"]) new ResizeObserver(() => this.draw()).observe($(id));
  }

  draw() {
    const list = this.runs.list.filter(({ begin }) => begin);
    const last = Math.max(0, ...list.map((run) => Math.max(epochsOf(run, run.points.at(-1)?.step ?? 0), epochsOf(run, run.scores.at(-1)?.step ?? 0)))) || 1;
    chart($("loss-chart"), list, { of: ({ loss }) => loss, last, logarithmic: $("log").checked });
    chart($("accuracy-chart"), list, { of: ({ accuracy }) => 100 * accuracy, last, top: 100, interval: ({ interval }) => interval.map((share) => 100 * share) });
  }

  // For those who do not see them; not at every point.
  describe() {
    for (const [id, what, of] of [["loss-chart", "Loss", ({ loss }) => shown(loss, 4)], ["accuracy-chart", "Accuracy", ({ accuracy }) => `${shown(100 * accuracy, 2)}%`]]) {
      const each = this.runs.list.filter(({ points }) => points.length).map((run) => `${titleOf(run)}: ${of(run.points[0])} at first, ${of(run.points.at(-1))} at epoch ${epochsOf(run, run.points.at(-1).step).toFixed(2)}`);
      $(id).setAttribute("aria-label", `${what} by epoch: ${each.join("; ") || "nothing yet"}`);
    }
  }
}

function chart(canvas, list, { of, last, logarithmic = false, top = null, interval = null }) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width || !height) return;
  const context = sharp(canvas, width, height);
  const unit = parseFloat(getComputedStyle(canvas).fontSize);
  const box = { left: MARGIN.left * unit, right: width - MARGIN.right * unit, top: MARGIN.top * unit, bottom: height - MARGIN.bottom * unit };
  const lines = list.map((run) => ({ run, values: smoothed(run.points.map(of)) }));
  const all = lines.flatMap(({ values, run }) => [...values, ...run.scores.map(of)]).filter(Number.isFinite);
  const scale = logarithmic ? logScale(all) : plainScale(all, top);
  const x = (epoch) => box.left + (epoch / last) * (box.right - box.left);
  const y = (value) => box.bottom - scale.share(value) * (box.bottom - box.top);
  context.font = `${0.85 * unit}px system-ui, sans-serif`;
  context.fillStyle = colour("--faint");
  context.strokeStyle = colour("--line");
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const tick of scale.ticks) {
    const at = Math.round(y(tick)) + 0.5;
    context.beginPath();
    context.moveTo(box.left, at);
    context.lineTo(box.right, at);
    context.stroke();
    context.fillText(String(Number(tick.toPrecision(3))), box.left - unit / 3, at);
  }
  context.textBaseline = "bottom";
  context.textAlign = "left";
  context.fillText("0", box.left, height);
  context.textAlign = "right";
  context.fillText(`epoch ${Number(last.toPrecision(3))}`, box.right, height);
  context.lineJoin = "round";
  for (const { run } of lines) rateChanges(context, run, x, box, unit);
  for (const { run, values } of lines) line(context, run, values, x, y, unit);
  for (const { run } of lines) dots(context, run, of, interval, x, y, unit);
}

function line(context, run, values, x, y, unit) {
  context.strokeStyle = colour(`--run-${run.colour}`);
  context.lineWidth = unit / 9;
  context.beginPath();
  let pen = false;
  values.forEach((value, k) => {
    const at = [x(epochsOf(run, run.points[k].step)), y(value)];
    if (!Number.isFinite(at[1])) pen = false;
    else if (pen) context.lineTo(...at);
    else context.moveTo(...at);
    pen = Number.isFinite(at[1]);
  });
  context.stroke();
}

// Where the learning rate was changed, from outside.
function rateChanges(context, run, x, box, unit) {
  context.strokeStyle = colour(`--run-${run.colour}`);
  context.lineWidth = unit / 12;
  context.setLineDash([unit / 4, unit / 4]);
  for (const { step } of run.rates) {
    context.beginPath();
    context.moveTo(x(epochsOf(run, step)), box.top);
    context.lineTo(x(epochsOf(run, step)), box.bottom);
    context.stroke();
  }
  context.setLineDash([]);
}

// The scores on images that the run does not learn from, with their intervals.
function dots(context, run, of, interval, x, y, unit) {
  context.fillStyle = context.strokeStyle = colour(`--run-${run.colour}`);
  context.lineWidth = unit / 10;
  for (const score of run.scores) {
    const [left, up] = [x(epochsOf(run, score.step)), y(of(score))];
    if (!Number.isFinite(up)) continue;
    if (interval) {
      const [low, high] = interval(score).map(y);
      context.beginPath();
      context.moveTo(left, low);
      context.lineTo(left, high);
      context.stroke();
    }
    context.beginPath();
    context.arc(left, up, unit / 4, 0, 2 * Math.PI);
    context.fill();
  }
}

// Return for each value the mean over the ones before it, of as many as are SMOOTH of all.
function smoothed(values) {
  const count = Math.max(1, Math.round(SMOOTH * values.length));
  if (count === 1) return values;
  let sum = 0;
  return values.map((value, k) => {
    sum += value - (k >= count ? values[k - count] : 0);
    return Number.isFinite(value) ? sum / Math.min(k + 1, count) : value;
  });
}

function plainScale(values, top) {
  let [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0, top ?? 1];
  if (top === null) low = 0;
  else high = top;
  if (high - low < 1e-9) low = high - 1;
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= rough * 0.999);
  const ticks = [];
  for (let k = Math.ceil(low / step); k * step <= high * 1.0001; k++) ticks.push(k * step);
  return { ticks, share: (value) => (value - low) / (high - low) };
}

function logScale(values) {
  const positive = values.filter((value) => value > 0);
  const [least, most] = positive.length ? [Math.min(...positive), Math.max(...positive)] : [0.1, 1];
  const [low, high] = [Math.log10(least), Math.max(Math.log10(most), Math.log10(least) + 0.1)];
  const ticks = [];
  for (let power = Math.floor(low); power <= high; power++) {
    for (const each of high - low < 1.5 ? [1, 2, 5] : [1]) {
      const tick = Math.log10(each) + power;
      if (tick >= low && tick <= high) ticks.push(each * 10 ** power);
    }
  }
  return { ticks, share: (value) => (Math.log10(value) - low) / (high - low) };
}
