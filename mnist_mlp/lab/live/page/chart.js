// The chart of losses by epoch: the run on the screen, and the kept runs that are chosen.

import { $, colour, sharp, shown } from "./dom.js";

const [LEFT, RIGHT, TOP, BOTTOM] = [34, 8, 6, 16]; // margins in CSS pixels

export class Chart {
  constructor(lab) {
    this.lab = lab;
    $("log").addEventListener("change", () => this.draw());
    new ResizeObserver(() => this.draw()).observe($("chart"));
  }

  draw() {
    const canvas = $("chart");
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    const context = sharp(canvas, width, height);
    const unit = parseFloat(getComputedStyle(canvas).fontSize) / 16; // larger with larger type
    const margins = { left: LEFT * unit, right: RIGHT, top: TOP * unit, bottom: BOTTOM * unit };
    const { history, trainer, runs } = this.lab;
    const kept = runs.filter((run) => run.inChart);
    const lines = kept.flatMap((run) => [
      { values: run.train, at: run.at, colour: colour(`--run-${run.colour}`), width: 1, dash: [3, 3] },
      { values: run.test, at: run.at, colour: colour(`--run-${run.colour}`), width: 1.3, dash: [] },
    ]);
    lines.push({ values: history.train, colour: colour("--train"), width: 1.6, dash: [] });
    lines.push({ values: history.test, colour: colour("--test"), width: 1.6, dash: [] });
    const last = Math.max(1, trainer.epoch, ...kept.map((run) => run.epochs));
    const scale = scaleOf(lines, $("log").checked);
    const x = (epoch) => margins.left + (epoch / last) * (width - margins.left - margins.right);
    const y = (loss) => height - margins.bottom - scale.share(loss) * (height - margins.top - margins.bottom);

    context.font = `${11 * unit}px system-ui, sans-serif`;
    context.fillStyle = colour("--faint");
    context.strokeStyle = colour("--line");
    context.lineWidth = 1;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const loss of scale.ticks) {
      const at = Math.round(y(loss)) + 0.5;
      context.beginPath();
      context.moveTo(margins.left, at);
      context.lineTo(width - margins.right, at);
      context.stroke();
      const text = loss >= 0.01 || loss === 0 ? String(Number(loss.toPrecision(2))) : loss.toExponential(0);
      context.fillText(text, margins.left - 5, at);
    }
    context.textBaseline = "bottom";
    context.fillText(`epoch ${last.toLocaleString("en")}`, width - margins.right, height);
    context.textAlign = "left";
    context.fillText("0", margins.left, height);
    context.lineJoin = "round";
    for (const line of lines) stroke(context, line, x, y, width);
  }

  // For those who do not see it; not at every frame.
  describe() {
    const { trainer, history } = this.lab;
    const from = `from ${shown(history.test[0])} (test) and ${shown(history.train[0])} (training) at epoch 0`;
    const { test, train } = trainer.losses();
    $("chart").setAttribute("aria-label", `Loss by epoch: ${from} to ${shown(test)} and ${shown(train)} at epoch ${trainer.epoch}`);
  }
}

// Draw a line with at most two points for each pixel, the smallest and the largest value there.
function stroke(context, { values, at, colour: style, width, dash }, x, y, pixels) {
  context.strokeStyle = style;
  context.lineWidth = width;
  context.setLineDash(dash);
  context.beginPath();
  const every = Math.max(1, Math.floor(values.length / pixels));
  let pen = false;
  for (let start = 0; start < values.length; start += every) {
    let [low, high] = [start, start];
    for (let k = start; k < Math.min(start + every, values.length); k++) {
      if (values[k] < values[low]) low = k;
      if (values[k] > values[high]) high = k;
    }
    for (const k of low === high ? [low] : [Math.min(low, high), Math.max(low, high)]) {
      const height = y(values[k]);
      if (!Number.isFinite(height)) pen = false;
      else if (pen) context.lineTo(x(at ? at[k] : k), height);
      else context.moveTo(x(at ? at[k] : k), height);
      pen = Number.isFinite(height);
    }
  }
  context.stroke();
  context.setLineDash([]);
}

// Return {share, ticks}: where a loss lies between bottom (0) and top (1), and the losses with a line.
function scaleOf(lines, logarithmic) {
  let [least, most] = [Infinity, -Infinity];
  for (const { values } of lines) {
    for (const value of values) {
      if (!Number.isFinite(value)) continue;
      if (value > most) most = value;
      if (value < least && (value > 0 || !logarithmic)) least = value;
    }
  }
  if (!(most > 0)) most = 1;
  if (logarithmic) {
    const low = Math.floor(Math.log10(Math.max(1e-12, Math.min(least, most))));
    const high = Math.max(low + 1, Math.ceil(Math.log10(most)));
    const every = Math.ceil((high - low) / 4);
    const ticks = [];
    for (let power = low; power <= high; power += every) ticks.push(10 ** power);
    return { share: (loss) => (Math.log10(Math.max(loss, 10 ** low)) - low) / (high - low), ticks };
  }
  const power = 10 ** Math.ceil(Math.log10(most));
  const step = [0.1, 0.2, 0.25, 0.5, 1].map((each) => each * power).find((each) => most / each <= 3.2) ?? most;
  const ticks = [];
  for (let tick = 0; tick <= most * 1.0001; tick += step) ticks.push(tick);
  return { share: (loss) => Math.min(loss, most) / (most * 1.04), ticks };
}
