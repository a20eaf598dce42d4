"use strict";
// Sends the drawing (paper.js) to the server and shows the response.

const DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
let classes = DIGITS.map((_, digit) => String(digit)); // replaced by the names that the server reports

function a(which) { // "a three", "an eight", "an ankle boot"
  const name = classes[which] === String(which) ? DIGITS[which] : classes[which];
  return `${/^[aeio]/i.test(name) && name !== "one" ? "an" : "a"} ${name}`;
}

// ---- requests: one at a time, always for the newest drawing ----------------------------------------------------------

let asking = false;
let stale = false;

async function ask() {
  stale = true;
  if (asking) return;
  asking = true;
  try {
    while (stale) {
      stale = false;
      if (example === null && strokes.length === 0) {
        show(null);
        continue;
      }
      const about = example; // may change before the response arrives
      const answer = await look(about === null ? picture() : about.image);
      if (about === example && (about !== null || strokes.length)) show(answer);
      await new Promise((resolve) => setTimeout(resolve, 15)); // keeps the page responsive to the pen
    }
  } catch (error) {
    shown = null;
    $("words").textContent = error.reported ? error.message : "The server does not respond. Is it still running?";
    document.body.classList.add("waiting");
  } finally {
    asking = false;
  }
  if (stale) ask();
}

function look(instance) {
  return post("page/look", instance);
}

async function post(path, instance) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ instances: [instance] }),
  });
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.error), { reported: true });
  return answer;
}

// ---- showing ---------------------------------------------------------------------------------------------------------

let shown = null;

function show(answer) {
  shown = answer;
  const probabilities = answer ? answer.probabilities : new Array(10).fill(0);
  const best = answer ? probabilities.indexOf(Math.max(...probabilities)) : -1;
  document.body.classList.toggle("waiting", !answer);
  document.body.classList.toggle("wrong", answer !== null && example !== null && example.label !== best);
  $("digit").textContent = answer ? best : "?";
  if (drawing === null || !answer) describe(answer, best); // a screen reader announces only finished strokes
  [...$("bars").children].forEach((row, digit) => {
    row.classList.toggle("best", digit === best);
    row.querySelector(".fill").style.transform = `scaleX(${probabilities[digit]})`;
    row.querySelector(".value").textContent = answer ? `${(100 * probabilities[digit]).toFixed(1)}%` : "";
  });
  paint($("seen"), answer ? answer.image : null);
  $("origin").textContent = `28 × 28 pixels, ${example ? "from the test set" : "scaled and centred as in MNIST"}`;
  const what = answer ? `most likely ${a(best)}` : "nothing yet";
  $("seen").setAttribute("aria-label", `The image as the network sees it: ${what}`);
  showLayers(answer ? answer.layers : null);
  reconsider();
}

function describe(answer, best) {
  let words = document.title.split(" · ")[0] + ".";
  if (answer) {
    const share = 100 * answer.probabilities[best];
    words = `${a(best).replace(/^a/, "A")}, ${share >= 99.95 ? "almost certain" : `${share.toFixed(1)}% sure`}.`;
    if (example) words += example.label === best ? " Correct." : ` Wrong: it is ${a(example.label)}.`;
  }
  if ($("words").textContent !== words) $("words").textContent = words;
}

function paint(canvas, image) { // 28 rows of 28 grey levels
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(28, 28);
  for (let i = 0; i < 784; i++) {
    const level = image ? image[Math.floor(i / 28)][i % 28] : 0;
    pixels.data.set([level, level, level, 255], 4 * i);
  }
  context.putImageData(pixels, 0, 0);
}

let emptyLayers = []; // the hidden layers with all activations 0, once their sizes are known

function showLayers(layers) {
  if (layers) emptyLayers = layers.map(({ name, activations }) => ({ name, activations: activations.map(() => 0) }));
  const container = $("layers");
  (layers || emptyLayers).forEach(({ name, activations }, index) => {
    if (!container.children[index]) {
      const figure = element("figure", "layer");
      const canvas = element("canvas");
      canvas.setAttribute("role", "img");
      figure.append(canvas, element("figcaption", "caption"));
      container.append(figure);
    }
    const figure = container.children[index];
    const alive = activations.filter((value) => Math.abs(value) > 1e-6).length;
    const strongest = activations.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const canvas = figure.querySelector("canvas");
    neurons(canvas, activations, strongest);
    const label = name.replace("hidden_", "Hidden layer ").replace("conv_", "Convolution ");
    const words = layers ? `${alive} of ${activations.length} neurons active` : `${activations.length} neurons, none active`;
    figure.querySelector("figcaption").replaceChildren(element("b", "", label), `: ${words}`);
    canvas.setAttribute("aria-label", `${label}: ${words}, the strongest ${strongest.toFixed(1)}`);
  });
  if (layers && layers.length === 0) container.replaceChildren(element("p", "note", "This network has no hidden layer: its output is computed directly from the pixels."));
}

function neurons(canvas, activations, strongest) { // one cell per neuron; the colour is as strong as its activation
  const columns = activations.length > 256 ? 32 : Math.min(16, activations.length);
  const [cell, gap] = [20, 4];
  const rows = Math.ceil(activations.length / columns);
  canvas.width = columns * (cell + gap) - gap;
  canvas.height = rows * (cell + gap) - gap;
  const context = canvas.getContext("2d");
  const [rest, positive, negative] = [colour("--cell"), colour("--accent"), colour("--warm")];
  activations.forEach((value, index) => {
    const [x, y] = [(index % columns) * (cell + gap), Math.floor(index / columns) * (cell + gap)];
    for (const [style, alpha] of [[rest, 1], [value < 0 ? negative : positive, strongest ? Math.abs(value) / strongest : 0]]) {
      context.globalAlpha = alpha;
      context.fillStyle = style;
      context.beginPath();
      context.roundRect ? context.roundRect(x, y, cell, cell, 4) : context.rect(x, y, cell, cell);
      context.fill();
    }
  });
}

// ---- examples --------------------------------------------------------------------------------------------------------

let round = 0;

function choose(chosen, button = null) {
  example = chosen;
  for (const each of $("examples").children) each.setAttribute("aria-pressed", String(each === button));
}

async function examples() {
  const answer = await (await fetch(`page/examples?round=${round}`)).json();
  if (example) clear();
  $("examples").replaceChildren(
    ...answer.examples.map((each) => {
      const button = element("button");
      const canvas = element("canvas");
      canvas.width = canvas.height = 28;
      paint(canvas, each.image);
      button.type = "button";
      button.setAttribute("aria-pressed", "false");
      button.setAttribute("aria-label", `Test image ${each.index}, ${a(each.label)}`);
      button.append(canvas, element("span", "", `is ${classes[each.label]}`));
      button.addEventListener("click", () => {
        strokes = [];
        choose(each, button);
        changed();
      });
      return button;
    }),
  );
  $("more").hidden = answer.rounds < 2;
  $("examples-note").textContent = answer.note;
}

$("more").addEventListener("click", () => {
  round += 1;
  examples().catch(() => {});
});

// ---- start -----------------------------------------------------------------------------------------------------------

function call(names, drawn) { // shows class names other than digits; `drawn` is what they are, such as "a garment"
  if (names[0] === "0") return;
  classes = names;
  document.body.classList.add("named");
  document.title = document.title.replace("a digit", drawn);
  for (const heading of [document.querySelector("h1"), $("hint").firstElementChild]) {
    heading.textContent = heading.textContent.replace(/a digit.*/, drawn);
  }
  [...$("bars").children].forEach((row, which) => { row.firstElementChild.textContent = names[which]; });
}

async function start() {
  for (let digit = 0; digit < 10; digit++) {
    const row = element("li");
    const track = element("div", "track");
    track.append(element("div", "fill"));
    row.append(element("span", "", String(digit)), track, element("span", "value"));
    $("bars").append(row);
  }
  show(null);
  redraw();
  const about = await (await fetch("healthz")).json();
  call(about.classes, about.shows);
  await examples();
  emptyLayers = about.hidden.map(([name, units]) => ({ name, activations: new Array(units).fill(0) }));
  if (!shown) showLayers(null);
  const accuracy = (100 * about.test_accuracy).toFixed(2);
  const count = about.parameters.toLocaleString("en");
  const calibrated = about.temperature === null ? "" : ` Its probabilities are calibrated (temperature ${about.temperature.toFixed(2)}).`;
  $("about").textContent = `The network ${about.network} has ${count} parameters, was trained on ${about.dataset} and recognizes ${accuracy}% of its test images. It runs on ${about.device}.${calibrated}`;
}

start().catch(() => {
  $("about").textContent = "The server does not respond. Is it still running?";
});
