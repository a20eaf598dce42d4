// The large map: the output, or the neuron under the pointer, over the plane, with the points.

import { $, percent, sharp, shown } from "./dom.js";
import { cssColour, paint } from "./maps.js";
import { EDGE } from "./points.js";

const SIZES = [100, 80, 60, 40, 20, 10]; // sides of the maps in points; a neuron's map takes every size / 20-th
const BUDGET = 5; // milliseconds that maps may take in a frame while training, at most
const LEAST = 1.5; // milliseconds that they may always take
const LATE = 20; // milliseconds from one frame to the next that are too many: some frames were left out
const STILL = 250; // milliseconds that maps may take while nothing trains
const DRAWN = 5000; // points that are drawn

export class OutputView {
  constructor(lab, nameOf) {
    this.lab = lab;
    this.nameOf = nameOf;
    this.node = null; // {layer, node} that is shown instead of the output
    this.cost = new Map(); // milliseconds of maps of each size, as measured for this network
    this.budget = BUDGET;
    this.drawnAt = this.taken = 0; // when maps were made, and how long that took
    this.at = null; // [x, y] under the pointer
    const box = $("map-box");
    new ResizeObserver(() => this.drawPoints()).observe(box);
    box.addEventListener("pointermove", (event) => {
      this.at = positionOf(event, box);
      this.drawTitle();
    });
    box.addEventListener("pointerleave", () => {
      this.at = null;
      this.drawTitle();
    });
  }

  // Forget what maps cost: there is another network.
  renew() {
    this.cost.clear();
    this.node = null;
  }

  // Note the milliseconds between two frames: when frames are late, maps become coarser.
  pace(milliseconds) {
    this.budget = Math.max(LEAST, Math.min(BUDGET, this.budget * (milliseconds > LATE ? 0.94 : 1.01)));
  }

  // Return whether it is time for new maps: those of a large network take at most half of the time.
  get due() {
    return performance.now() - this.drawnAt >= this.taken;
  }

  // Return {maps, size}: of all neurons, in the best size that the time allows.
  maps(playing) {
    const limit = playing ? this.budget : STILL;
    const size = SIZES.find((each) => (this.cost.get(each) ?? this.estimate(each)) < limit) ?? SIZES.at(-1);
    const began = performance.now();
    const maps = this.lab.trainer.maps(size);
    this.drawnAt = performance.now();
    const taken = (this.taken = this.drawnAt - began);
    // Other programs make some frames slow: the quickest counts, and a size that seemed too slow is tried again.
    this.cost.set(size, Math.min(taken, (this.cost.get(size) ?? Infinity) * 1.05));
    for (const [each, known] of this.cost) {
      if (each > size && known >= limit && this.estimate(each) < 2 * BUDGET) this.cost.set(each, known * 0.98);
    }
    return { maps, size };
  }

  // Return what maps should cost, in milliseconds: 0.8 ns for each weight at each point, and four times that for an
  // activation.
  estimate(size) {
    const { sizes } = this.lab.trainer;
    const work = sizes.slice(1).reduce((sum, units, k) => sum + units * (sizes[k] + 4), 0);
    return size * size * work * 0.8e-6;
  }

  get shownNode() {
    return this.node ?? { layer: this.lab.trainer.sizes.length - 1, node: 0 };
  }

  draw(maps, size) {
    const { layer, node } = this.shownNode;
    const discretize = this.lab.state.discretize && layer > 0;
    paint($("map"), maps[layer][node], size, { discretize });
    this.drawTitle();
  }

  drawTitle() {
    const { trainer } = this.lab;
    let words = this.node ? this.nameOf(this.node.layer, this.node.node) : "";
    if (this.at) {
      const [x, y] = this.at;
      const { layer, node } = this.shownNode;
      const value = trainer.outputs([x], [y])[layer][node][0];
      words += `${words ? ", " : ""}x = ${shown(x, 2)}, y = ${shown(y, 2)}: ${shown(value)}`;
    }
    if ($("map-title").textContent !== words) $("map-title").textContent = words;
  }

  drawPoints(extra = []) {
    const box = $("map-box");
    const side = box.clientWidth;
    if (!side) return;
    const context = sharp($("points"), side, side);
    const { state, trainer } = this.lab;
    const radius = Math.max(2.2, side / 105);
    const pixel = (value) => ((value + EDGE) / (2 * EDGE)) * side;
    context.lineWidth = Math.max(1, radius / 3);
    const parts = [[trainer.train, "#fff"], [state.showTestData ? trainer.test : [], "#111"], [extra, "#fff"]];
    for (const [points, edge] of parts) {
      context.strokeStyle = edge;
      for (const { x, y, label } of points.slice(0, DRAWN)) {
        if (Math.abs(x) > EDGE || Math.abs(y) > EDGE) continue;
        context.fillStyle = cssColour(label);
        context.beginPath();
        context.arc(pixel(x), pixel(-y), radius, 0, 2 * Math.PI);
        context.fill();
        context.stroke();
      }
    }
  }

  drawLosses() {
    const { losses, accuracy } = this.lab.measured;
    for (const part of ["test", "train"]) {
      const words = shown(losses[part]);
      for (const each of document.querySelectorAll(`.${part}-loss`)) if (each.textContent !== words) each.textContent = words;
      const share = accuracy ? percent(accuracy[part]) : "";
      if ($(`${part}-accuracy`).textContent !== share) $(`${part}-accuracy`).textContent = share;
    }
  }

  describe() {
    const { trainer } = this.lab;
    const losses = trainer.losses();
    const words = `Output of the network over the plane, ${trainer.train.length} training and ${trainer.test.length} test points; `;
    $("map").setAttribute("aria-label", `${words}test loss ${shown(losses.test)}, training loss ${shown(losses.train)}`);
  }
}

// Return [x, y] of the plane under the pointer.
export function positionOf(event, box) {
  const { left, top, width, height } = box.getBoundingClientRect();
  const x = ((event.clientX - left) / width) * 2 * EDGE - EDGE;
  const y = EDGE - ((event.clientY - top) / height) * 2 * EDGE;
  return [x, y].map((value) => Math.max(-EDGE, Math.min(EDGE, value)));
}
