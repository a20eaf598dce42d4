// Into one network: weights of the first layer, a digit layer by layer, dead units, confusion, the worst mistakes.

import { $, colour, element, shown } from "../dom.js";
import { bars, bytes, grey } from "./pictures.js";
import { titleOf } from "./runs.js";

const GAP = 2; // pixels between two pictures
const [BLUE, ORANGE, GREY] = [[8, 119, 189], [245, 147, 34], [232, 234, 235]]; // of maps.js: 1, −1 and 0

export class Inside {
  constructor({ readOnly, ask }) {
    this.run = null;
    bars($("digit-bars"));
    this.readOnly = readOnly;
    $("digit-form").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.run) ask(this.run, { do: "digit", index: Number($("digit-index").value) }, "Another digit");
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.show(this.run));
  }

  show(run) {
    this.run = run;
    $("inside").hidden = !run?.look;
    if (!run?.look) return;
    this.showStanding();
    this.showLook(run);
    this.showScores(run);
  }

  // How the run stands has changed: what can be asked of it, and what it is called.
  showStanding() {
    if (!this.run) return;
    $("inside-title").textContent = `Inside: ${titleOf(this.run)}`;
    $("digit-form").hidden = this.readOnly || !["training", "paused"].includes(this.run.state);
  }

  showLook(run) {
    if (run !== this.run || !run.look) return;
    $("inside").hidden = false;
    const { pictures, digit, activations, dead, probabilities, images } = run.look;
    $("weights-figure").hidden = !pictures;
    if (pictures) weights($("weights"), pictures);
    if (pictures) $("weights-title").textContent = `First layer: weights of ${pictures.shape[0]} of its ${pictures.units} units`;
    $("digit-title").textContent = `${digit.split === "test" ? "Test" : "Validation"} image ${digit.index}, a ${digit.label}, layer by layer`;
    grey($("digit"), bytes(digit.image));
    $("digit").setAttribute("aria-label", `A ${digit.label}`);
    const deadOf = new Map(dead.map((each) => [each.layer, each.dead]));
    $("layers").replaceChildren(...activations.map((layer) => layerFigure(layer, deadOf.get(layer.layer), images)));
    if (!activations.length) $("layers").replaceChildren(element("p", { class: "note", text: "No hidden layer: the output is computed directly from the pixels." }));
    bars($("digit-bars"), probabilities, digit.label);
  }

  showScores(run) {
    if (run !== this.run) return;
    const { score } = run;
    for (const id of ["confusion", "mistakes"]) $(id).closest("figure").hidden = !score;
    if (!score) return;
    const what = `${score.images.toLocaleString("en")} ${score.split} images after ${score.epoch} epoch${score.epoch === 1 ? "" : "s"}`;
    $("confusion-title").textContent = `Confusion: ${what}`;
    confusion($("confusion"), score.confusion);
    $("mistakes-title").textContent = `Worst mistakes: ${score.mistakes.length} of ${(score.images - score.correct).toLocaleString("en")}`;
    $("mistakes").replaceChildren(...score.mistakes.map(mistake));
  }
}

// Draw the weights of units side by side; 128 is 0.
function weights(canvas, { shape: [units, rows, columns], pixels }) {
  const levels = bytes(pixels);
  const across = Math.ceil(Math.sqrt(units * 1.6));
  const [width, height] = [columns + GAP, rows + GAP];
  canvas.width = across * width - GAP;
  canvas.height = Math.ceil(units / across) * height - GAP;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  for (let unit = 0; unit < units; unit++) {
    for (let k = 0; k < rows * columns; k++) {
      const value = (levels[unit * rows * columns + k] - 128) / 127;
      const end = value < 0 ? ORANGE : BLUE;
      const share = Math.min(1, Math.abs(value));
      for (let c = 0; c < 3; c++) image.data[4 * k + c] = GREY[c] + (end[c] - GREY[c]) * share;
      image.data[4 * k + 3] = 255;
    }
    context.putImageData(image, (unit % across) * width, Math.floor(unit / across) * height);
  }
  canvas.setAttribute("aria-label", `Weights of ${units} units of the first layer, as pictures of ${rows} × ${columns} pixels`);
}

function layerFigure({ layer, units, values }, dead, images) {
  const canvas = element("canvas", { role: "img" });
  const active = values.filter((value) => value !== null && value !== 0).length;
  const name = layer.replace("hidden_", "Hidden layer ").replace("conv_", "Convolution ");
  const words = `${active} of ${values.length} units are not 0${dead ? `; ${dead} of ${units} dead (the same output for ${images} images)` : ""}`;
  canvas.setAttribute("aria-label", `${name}: ${words}`);
  cells(canvas, values);
  return element("div", { class: "layer" }, canvas, element("p", { class: "caption" }, element("b", { text: name }), `: ${words}`));
}

// One cell a unit, as strong as its activation.
function cells(canvas, values) {
  const columns = values.length > 256 ? 32 : Math.min(32, values.length);
  const [cell, gap] = [16, 3];
  canvas.width = columns * (cell + gap) - gap;
  canvas.height = Math.ceil(values.length / columns) * (cell + gap) - gap;
  const context = canvas.getContext("2d");
  const most = Math.max(...values.map((value) => Math.abs(value ?? 0)));
  values.forEach((value, k) => {
    const at = [(k % columns) * (cell + gap), Math.floor(k / columns) * (cell + gap), cell, cell];
    context.globalAlpha = 1;
    context.fillStyle = colour("--cell");
    context.fillRect(...at);
    context.globalAlpha = most ? Math.abs(value ?? 0) / most : 0;
    context.fillStyle = colour(value < 0 ? "--warm" : "--accent");
    context.fillRect(...at);
  });
}

function confusion(table, counts) {
  const digits = counts.map((_, digit) => digit);
  const most = Math.max(1, ...counts.flatMap((row, i) => row.filter((_, j) => i !== j)));
  const head = element("tr", {}, element("th", { scope: "col", text: "is \\ said" }), ...digits.map((digit) => element("th", { scope: "col", text: String(digit) })));
  const rows = counts.map((row, i) => element("tr", {}, element("th", { scope: "row", text: String(i) }), ...row.map((count, j) => {
    const cell = element("td", { text: count ? count.toLocaleString("en") : "·" });
    if (i === j) cell.className = "hit";
    else if (count) cell.style.setProperty("--share", `${Math.round(15 + (70 * count) / most)}%`);
    if (i !== j && count) cell.className = "miss";
    return cell;
  })));
  table.replaceChildren(element("caption", { class: "unseen", text: "Rows: what the images are; columns: what the network said" }), element("thead", {}, head), element("tbody", {}, ...rows));
}

function mistake({ index, label, guess, probability, image }) {
  const canvas = element("canvas", { width: "28", height: "28", role: "img", "aria-label": `Image ${index}, a ${label}` });
  grey(canvas, bytes(image));
  return element("li", {}, canvas, element("span", { text: `${label}, said ${guess}` }), element("span", { class: "note", text: `${shown(100 * probability, 0)}% sure` }));
}
