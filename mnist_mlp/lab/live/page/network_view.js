// The network: columns of neurons with their maps, and the links between them on one canvas behind.

import { $, colour, element, sharp, shown } from "./dom.js";
import { FEATURES } from "./features.js";
import { cssColour, paint } from "./maps.js";
import { EDGE } from "./points.js";
import { LIMITS, parameterCount } from "./state.js";

const DRAWN = 24; // neurons of a layer that are drawn; of more, the first ones
const LINKS = 4000; // that are drawn
const MAP = 20; // side of a neuron's map in pixels
const NEAR = 7; // CSS pixels from a link at which the pointer is on it
const SPREAD = 14; // CSS pixels over which the links of a neuron arrive

export class NetworkView {
  // `choose(node)` is called with {layer, node} under the pointer or focus, or null; `select(node, input)` with the
  // one that was clicked.
  constructor(lab, { choose, select }) {
    this.lab = lab;
    this.choose = choose;
    this.select = select;
    this.nodes = []; // by layer, the drawn ones: {button, canvas, x0, x1, y}
    this.links = []; // {layer, node, input, x0, y0, x1, y1}
    this.selected = null;
    this.under = null; // the link under the pointer
    $("fewer-layers").addEventListener("click", () => this.reshape(this.shape.slice(0, -1)));
    $("more-layers").addEventListener("click", () => this.reshape([...this.shape, 2]));
    const columns = $("columns");
    columns.addEventListener("pointerover", (event) => this.hover(event));
    columns.addEventListener("pointerout", (event) => this.hover(event, true));
    columns.addEventListener("focusin", (event) => this.hover(event));
    columns.addEventListener("focusout", (event) => this.hover(event, true));
    columns.addEventListener("keydown", (event) => this.move(event));
    columns.addEventListener("click", (event) => this.click(event));
    $("stage").addEventListener("pointermove", (event) => this.linkUnder(event));
    $("stage").addEventListener("pointerleave", () => this.showLink(null));
    $("stage").addEventListener("click", (event) => {
      if (this.under && !event.target.closest("button")) this.select(this.under, this.under.input);
    });
    new ResizeObserver(() => this.place()).observe($("columns"));
  }

  get shape() {
    return this.lab.state.networkShape;
  }

  reshape(networkShape) {
    this.lab.change({ networkShape });
  }

  // Build the columns anew, for another network. What had the focus keeps it.
  build() {
    const focus = document.activeElement?.closest("#columns")
      ? document.activeElement.dataset.key ?? document.activeElement.getAttribute("aria-label")
      : null;
    const { state, trainer } = this.lab;
    const [, ...layers] = trainer.sizes;
    this.nodes = [];
    const columns = [this.featureColumn(state, trainer)];
    layers.forEach((units, k) => columns.push(this.layerColumn(k + 1, units, k === layers.length - 1)));
    $("columns").replaceChildren(...columns);
    const count = state.networkShape.length;
    $("layers-text").textContent = `${count} hidden layer${count === 1 ? "" : "s"}`;
    $("fewer-layers").disabled = count === 0;
    $("more-layers").disabled = count >= LIMITS.layers;
    $("parameters").textContent = `${parameterCount(trainer.sizes).toLocaleString("en")} weights and biases`;
    this.selected = null;
    this.place();
    if (focus) {
      const target = [...$("columns").querySelectorAll("button")]
        .find((each) => each.dataset.key === focus || each.getAttribute("aria-label") === focus);
      (target ?? $("columns").querySelector("[tabindex='0']"))?.focus({ preventScroll: true });
    }
  }

  featureColumn(state, trainer) {
    const column = element("div", { class: "column features" }, element("div", { class: "column-head", text: "Features" }));
    const drawn = [];
    for (const { name, label } of FEATURES) {
      if (state.hidden.includes(name)) continue;
      const input = trainer.features.findIndex((each) => each.name === name);
      const node = this.node(0, input, `feature:${name}`);
      node.button.setAttribute("aria-pressed", String(input >= 0));
      node.button.setAttribute("aria-label", `Feature ${label}`);
      node.button.dataset.feature = name;
      node.button.classList.toggle("off", input < 0);
      if (input >= 0) drawn[input] = node;
      const row = element("div", { class: input < 0 ? "feature off" : "feature" }, element("span", { text: label }), node.button);
      column.append(row);
      if (input < 0) paint(node.canvas, featureMap(name), MAP);
    }
    this.nodes.push(drawn);
    return column;
  }

  layerColumn(layer, units, isOutput) {
    const head = element("div", { class: "column-head" });
    if (isOutput) {
      head.append("Output");
    } else {
      const buttons = element("div", { class: "layer-count" });
      for (const [step, sign, words] of [[-1, "−", "Remove a neuron from"], [1, "+", "Add a neuron to"]]) {
        const name = `${words} layer ${layer}`;
        const button = element("button", { type: "button", text: sign, "aria-label": name });
        button.disabled = units + step < 1 || units + step > LIMITS.neurons;
        button.addEventListener("click", () => this.reshape(this.shape.map((n, k) => (k === layer - 1 ? n + step : n))));
        buttons.append(button);
      }
      head.append(buttons, `${units.toLocaleString("en")} neuron${units === 1 ? "" : "s"}`);
    }
    const column = element("div", { class: isOutput ? "column last" : "column" }, head);
    const drawn = [];
    for (let node = 0; node < Math.min(units, DRAWN); node++) {
      drawn.push(this.node(layer, node, `${layer}:${node}`));
      column.append(drawn[node].button);
    }
    if (units > DRAWN) column.append(element("p", { class: "rest", text: `and ${(units - DRAWN).toLocaleString("en")} more` }));
    this.nodes.push(drawn);
    return column;
  }

  node(layer, node, key) {
    const canvas = element("canvas", { "aria-hidden": "true" });
    const button = element("button", { class: "node", type: "button", tabindex: "-1", "data-key": key }, canvas);
    button.dataset.layer = layer;
    button.dataset.node = node;
    if (layer > 0) button.setAttribute("aria-label", this.nameOf(layer, node));
    return { button, canvas };
  }

  nameOf(layer, node) {
    if (layer === 0) return this.lab.trainer.features[node].label;
    if (layer === this.lab.trainer.sizes.length - 1) return "Output";
    return `Layer ${layer}, neuron ${node + 1}`;
  }

  // Find where everything lies, after building and resizing.
  place() {
    if (!this.nodes.length || !$("columns").firstChild) return;
    const stage = $("stage").getBoundingClientRect();
    for (const layer of this.nodes) {
      for (const node of layer) {
        if (!node) continue;
        const box = node.button.getBoundingClientRect();
        [node.x0, node.x1] = [box.left - stage.left, box.right - stage.left];
        node.y = (box.top + box.bottom) / 2 - stage.top;
        node.bottom = box.bottom - stage.top;
      }
    }
    this.links = [];
    for (let layer = 1; layer < this.nodes.length; layer++) {
      const sources = this.nodes[layer - 1];
      this.nodes[layer].forEach((target, node) => {
        sources.forEach((source, input) => {
          if (this.links.length >= LINKS) return;
          const y1 = target.y + ((input - (sources.length - 1) / 2) / sources.length) * SPREAD;
          this.links.push({ layer, node, input, x0: source.x1, y0: source.y, x1: target.x0, y1 });
        });
      });
    }
    [this.width, this.height] = [Math.floor(stage.width), Math.floor(stage.height)];
    $("links").style.width = `${this.width}px`;
    $("links").style.height = `${this.height}px`;
    this.drawLinks();
    this.roving();
  }

  // One neuron can be reached with the Tab key; the arrow keys lead to the others.
  roving() {
    const buttons = [...$("columns").querySelectorAll(".node")];
    const selected = buttons.find((each) => each.classList.contains("selected"));
    this.makeReachable(selected ?? buttons.find((each) => each === document.activeElement) ?? buttons[0]);
  }

  makeReachable(button) {
    for (const each of $("columns").querySelectorAll(".node")) each.tabIndex = each === button ? 0 : -1;
  }

  drawLinks() {
    const context = sharp($("links"), this.width, this.height);
    const zero = colour("--link-zero").match(/[0-9a-f]{2}/gi).map((hex) => parseInt(hex, 16));
    const { trainer } = this.lab;
    const paths = new Map(); // by colour and width: one stroke for many links is quicker
    for (const link of this.links) {
      const weight = trainer.weight(link.layer, link.node, link.input);
      const width = Math.min(10, Math.max(1, 1 + (9 * Math.abs(weight)) / 5));
      const level = Number.isFinite(weight) ? Math.max(-1, Math.min(1, Math.round(weight * 12) / 12)) : 0;
      const key = Math.round(width * 2) * 100 + Math.round(level * 12);
      if (!paths.has(key)) paths.set(key, { width: Math.round(width * 2) / 2, level, links: [] });
      paths.get(key).links.push(link);
    }
    for (const key of [...paths.keys()].sort((a, b) => a - b)) {
      const { width, level, links } = paths.get(key);
      context.beginPath();
      for (const { x0, y0, x1, y1 } of links) {
        const middle = (x0 + x1) / 2;
        context.moveTo(x0, y0);
        context.bezierCurveTo(middle, y0, middle, y1, x1, y1);
      }
      context.lineWidth = width;
      context.strokeStyle = cssColour(level, zero);
      context.stroke();
    }
    if (this.under) {
      const { x0, y0, x1, y1 } = this.under;
      context.beginPath();
      context.moveTo(x0, y0);
      context.bezierCurveTo((x0 + x1) / 2, y0, (x0 + x1) / 2, y1, x1, y1);
      context.lineWidth = 2;
      context.strokeStyle = colour("--text");
      context.stroke();
    }
    for (let layer = 1; layer < this.nodes.length; layer++) { // biases: a small square at the foot of each neuron
      this.nodes[layer].forEach(({ x0, bottom }, node) => {
        context.fillStyle = cssColour(trainer.bias(layer, node), zero);
        context.fillRect(x0 - 8, bottom - 6, 6, 6);
      });
    }
  }

  // Draw the maps of all neurons: `maps` are values by layer and node on a grid of `size`.
  drawMaps(maps, size) {
    const options = { stride: Math.max(1, size / MAP), discretize: this.lab.state.discretize };
    this.nodes.forEach((layer, k) => {
      if (k === 0 && this.featuresDrawn === this.nodes) return; // they do not change
      layer.forEach((node, i) => paint(node.canvas, maps[k][i], size, k === 0 ? { stride: options.stride } : options));
    });
    this.featuresDrawn = this.nodes;
  }

  mark(selected) {
    this.selected = selected;
    for (const each of $("columns").querySelectorAll(".selected")) each.classList.remove("selected");
    if (selected) this.nodes[selected.layer]?.[selected.node]?.button.classList.add("selected");
  }

  // Mark the neuron whose map is shown large; null for none.
  highlight(shown) {
    this.nodes.forEach((layer, k) =>
      layer.forEach(({ button }, i) => button.classList.toggle("shown", shown?.layer === k && shown.node === i)));
  }

  hover(event, leaves = false) {
    const button = event.target.closest(".node");
    if (leaves) {
      if (button) this.choose(null);
    } else if (button && button.dataset.node >= 0) {
      this.choose({ layer: Number(button.dataset.layer), node: Number(button.dataset.node) });
      if (event.type === "focusin") this.makeReachable(button);
    }
  }

  click(event) {
    const button = event.target.closest(".node");
    if (!button) return;
    const { feature, layer, node } = button.dataset;
    if (feature) this.lab.change({ [feature]: !this.lab.state[feature] });
    else this.select({ layer: Number(layer), node: Number(node) });
  }

  // Move the focus with the arrow keys.
  move(event) {
    const button = event.target.closest(".node");
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!button || !step) return;
    event.preventDefault();
    const columns = [...$("columns").children].map((column) => [...column.querySelectorAll(".node")]);
    const column = columns.findIndex((each) => each.includes(button));
    const row = columns[column].indexOf(button);
    const target = columns[column + step[0]];
    if (!target) return;
    target[Math.max(0, Math.min(target.length - 1, row + step[1]))]?.focus();
  }

  linkUnder(event) {
    if (event.target.closest("button")) return this.showLink(null);
    const stage = $("stage").getBoundingClientRect();
    const [x, y] = [event.clientX - stage.left, event.clientY - stage.top];
    let [best, distance] = [null, NEAR];
    for (const link of this.links) {
      if (x < link.x0 || x > link.x1) continue;
      const away = Math.abs(heightAt(link, x) - y);
      if (away < distance) [best, distance] = [link, away];
    }
    this.showLink(best, x, y);
  }

  showLink(link, x = 0, y = 0) {
    const tip = $("link-tip");
    tip.hidden = !link;
    $("stage").style.cursor = link ? "pointer" : "";
    if (link) {
      const { layer, node, input } = link;
      const weight = this.lab.trainer.weight(layer, node, input);
      const dead = this.lab.trainer.isDead(layer, node, input) ? ", dead" : "";
      tip.textContent = `weight ${shown(weight)}${dead}: ${this.nameOf(layer - 1, input)} → ${this.nameOf(layer, node)}`;
      const net = $("net-scroll").parentElement.getBoundingClientRect();
      const stage = $("stage").getBoundingClientRect();
      const left = stage.left - net.left + x + 14;
      tip.style.left = `${Math.max(0, Math.min(left, net.width - tip.offsetWidth - 8))}px`;
      tip.style.top = `${stage.top - net.top + y + 16}px`;
    }
    if (this.under === link) return;
    this.under = link;
    this.drawLinks();
  }
}

// Return the height of a link's curve at x: solve the Bézier curve for its parameter by bisection.
function heightAt({ x0, y0, x1, y1 }, x) {
  const wanted = (x - x0) / (x1 - x0);
  let [low, high] = [0, 1];
  for (let k = 0; k < 12; k++) {
    const t = (low + high) / 2;
    if (1.5 * t * (1 - t) + t ** 3 < wanted) low = t;
    else high = t;
  }
  return y0 + (y1 - y0) * (3 * low ** 2 - 2 * low ** 3);
}

function featureMap(name) {
  const { of } = FEATURES.find((each) => each.name === name);
  const at = (k) => ((k + 0.5) / MAP) * 2 * EDGE - EDGE;
  return Float64Array.from({ length: MAP * MAP }, (_, p) => of(at(p % MAP), -at(Math.floor(p / MAP))));
}
