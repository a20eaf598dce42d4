// The controls of the settings: each shows a key of the state and changes it.

import { $, element } from "./dom.js";
import { cssColour } from "./maps.js";
import { EDGE, draw as drawSet } from "./points.js";
import { Stream } from "./random.js";
import { DEFAULTS, MENUS, RANGES, seedFrom } from "./state.js";

const SETS = {
  classification: [["circle", "Circle"], ["xor", "XOR"], ["gauss", "Gauss"], ["spiral", "Spiral"]],
  regression: [["reg-plane", "Plane"], ["reg-gauss", "Gauss"]],
};
const SHOWN = 250; // points of a thumbnail
const SIDE = 116; // of a thumbnail, in pixels
const CHOICES = ["learningRate", "activation", "regularization", "regularizationRate", "problem"];
const CHECKS = ["initZero", "showTestData", "discretize"];
const NUMBERS = ["percTrainData", "noise", "batchSize"];
const LEAST = { batchSize: 1 }; // narrower than what an address may have

export class Controls {
  constructor(lab) {
    this.lab = lab;
    this.lastOwn = null; // own points that another data set has replaced
    for (const [name, menu] of Object.entries(MENUS)) $(name).append(...menu.map((value) => option(String(value))));
    for (const name of CHOICES) {
      $(name).addEventListener("change", () => lab.change({ [name]: name in MENUS ? Number($(name).value) : $(name).value }));
    }
    for (const name of CHECKS) $(name).addEventListener("change", () => lab.change({ [name]: $(name).checked }));
    for (const name of NUMBERS) this.connectNumber(name);
    $("seed").addEventListener("change", () => lab.change({ seed: seedFrom($("seed").value.trim()) || lab.state.seed }));
    $("weightsSeed").addEventListener("change", () => lab.change({ weightsSeed: seedFrom($("weightsSeed").value.trim()) || null }));
    $("regenerate").addEventListener("click", () => lab.regenerate());
    lab.on("state points", () => this.show());
  }

  connectNumber(name) {
    const [field, slider] = [$(name), document.querySelector(`[data-of="${name}"]`)];
    field.addEventListener("change", () => {
      const value = Number(field.value);
      const [low, high] = RANGES[name];
      const usable = field.value.trim() && field.validity.valid && value >= (LEAST[name] ?? low) && value <= high;
      if (usable) this.lab.change({ [name]: value });
      else this.show(); // the last usable value
    });
    slider.addEventListener("input", () => (field.value = slider.value));
    slider.addEventListener("change", () => this.lab.change({ [name]: Number(slider.value) }));
  }

  // Show the state in all controls.
  show() {
    const { state } = this.lab;
    for (const name of CHOICES) choose($(name), String(state[name]));
    for (const name of CHECKS) $(name).checked = state[name];
    for (const name of NUMBERS) {
      $(name).value = state[name];
      document.querySelector(`[data-of="${name}"]`).value = state[name];
    }
    $("noise").disabled = document.querySelector('[data-of="noise"]').disabled = Boolean(state.ownPoints);
    $("batch-note").hidden = !(state.batchSize > this.lab.trainer.train.length);
    $("seed").value = state.seed;
    $("weightsSeed").value = state.weightsSeed ?? "";
    if (state.ownPoints) this.lastOwn = state.ownPoints;
    this.showSets();
  }

  // The thumbnails; they are drawn once for each problem, and that of the own points whenever these change.
  showSets() {
    const { state } = this.lab;
    const key = state.problem === "classification" ? "dataset" : "regDataset";
    if (this.drawn !== state.problem) {
      this.drawn = state.problem;
      const buttons = SETS[state.problem].map(([name, title]) => {
        const plain = { ...DEFAULTS, problem: state.problem, [key]: name };
        const button = thumbnail(title, drawSet(plain, new Stream("0")));
        button.dataset.set = name;
        button.addEventListener("click", () => this.lab.change({ [key]: name, ownPoints: null }));
        return button;
      });
      $("sets").replaceChildren(...buttons);
      this.ownShown = null;
    }
    if (this.lastOwn && this.ownShown !== this.lastOwn) {
      this.ownShown = this.lastOwn;
      const button = thumbnail("Your own", this.lastOwn);
      button.dataset.set = "own";
      button.addEventListener("click", () => this.lab.change({ ownPoints: this.lastOwn }));
      $("sets").querySelector('[data-set="own"]')?.remove();
      $("sets").append(button);
    }
    for (const each of $("sets").children) {
      const on = state.ownPoints ? each.dataset.set === "own" : each.dataset.set === state[key];
      each.setAttribute("aria-pressed", String(on));
    }
  }
}

// Choose the option of a value; one that the menu lacks is added.
function choose(select, value) {
  if (![...select.options].some((each) => each.value === value)) {
    const before = [...select.options].find((each) => Number(each.value) > Number(value));
    select.insertBefore(option(value), before ?? null);
  }
  select.value = value;
}

function option(value) {
  return element("option", { value, text: value });
}

function thumbnail(title, points) {
  const canvas = element("canvas", { width: SIDE, height: SIDE, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const every = Math.max(1, Math.floor(points.length / SHOWN));
  points.forEach(({ x, y, label }, k) => {
    if (k % every) return;
    context.fillStyle = cssColour(label);
    context.beginPath();
    context.arc(((EDGE + x) / (2 * EDGE)) * SIDE, ((EDGE - y) / (2 * EDGE)) * SIDE, 3, 0, 2 * Math.PI);
    context.fill();
  });
  return element("button", { type: "button", "aria-pressed": "false" }, canvas, title);
}
