"use strict";
// The paper, what is asked about it, and what is shown of the answer.

// Share of the paper's side. The strokes of MNIST's training images are 2.6 pixels wide in a box of 20 on average (of
// 10,000 images), and a digit takes about 0.7 of the paper.
const PEN = 0.09;
const SENT = 280; // pixels of the picture that is sent, black on white whatever the colours of the page
const NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

const SETS = { mnist: "MNIST", fashion_mnist: "Fashion-MNIST", digits: "the embedded digits" };

const $ = (id) => document.getElementById(id);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const element = (tag, className = "", text = "") => {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
};

// ---- the paper -------------------------------------------------------------------------------------------------------

const paper = $("paper");
let strokes = []; // each a list of points [x, y], as shares of the paper's side
let drawing = null; // the pointer that draws
let example = null; // the test image that is looked at instead

function ink(context, side, style) {
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = PEN * side;
  context.strokeStyle = context.fillStyle = style;
  for (const points of strokes) {
    const [x, y] = points[0].map((share) => share * side);
    context.beginPath();
    if (points.length === 1) {
      context.arc(x, y, (PEN * side) / 2, 0, 2 * Math.PI);
      context.fill();
      continue;
    }
    context.moveTo(x, y);
    for (let i = 1; i < points.length - 1; i++) { // from middle to middle, bent towards the point between
      const [a, b] = [points[i], points[i + 1]];
      context.quadraticCurveTo(a[0] * side, a[1] * side, ((a[0] + b[0]) / 2) * side, ((a[1] + b[1]) / 2) * side);
    }
    const last = points[points.length - 1];
    context.lineTo(last[0] * side, last[1] * side);
    context.stroke();
  }
}

let planned = false;
function redraw() {
  if (planned) return;
  planned = true;
  requestAnimationFrame(() => {
    planned = false;
    const side = Math.round(paper.clientWidth * devicePixelRatio);
    if (paper.width !== side) paper.width = paper.height = side;
    const context = paper.getContext("2d");
    context.clearRect(0, 0, side, side);
    ink(context, side, colour("--ink"));
    document.body.classList.toggle("inked", strokes.length > 0 || example !== null);
    $("undo").disabled = strokes.length === 0;
    $("clear").disabled = strokes.length === 0 && example === null;
  });
}

function picture() {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SENT;
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, SENT, SENT);
  ink(context, SENT, "#000");
  return { b64: canvas.toDataURL("image/png").split(",")[1] };
}

function add(event) {
  const box = paper.getBoundingClientRect();
  const points = strokes[strokes.length - 1];
  const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  for (const each of events.length ? events : [event]) {
    const point = [(each.clientX - box.left) / box.width, (each.clientY - box.top) / box.height];
    const last = points[points.length - 1];
    if (!last || Math.hypot(point[0] - last[0], point[1] - last[1]) > 0.002) points.push(point);
  }
}

paper.addEventListener("pointerdown", (event) => {
  if (drawing !== null || event.button !== 0) return;
  event.preventDefault();
  paper.setPointerCapture(event.pointerId);
  drawing = event.pointerId;
  choose(null);
  strokes.push([]);
  add(event);
  changed();
});
paper.addEventListener("pointermove", (event) => {
  if (event.pointerId !== drawing) return;
  add(event);
  changed();
});
for (const kind of ["pointerup", "pointercancel"]) {
  paper.addEventListener(kind, (event) => {
    if (event.pointerId !== drawing) return;
    drawing = null;
    changed();
  });
}

function changed() {
  redraw();
  ask();
}

function clear() {
  strokes = [];
  choose(null);
  changed();
}

$("clear").addEventListener("click", clear);
$("undo").addEventListener("click", () => {
  strokes.pop();
  changed();
});
document.addEventListener("keydown", (event) => {
  const key = event.key.toLowerCase();
  if (["escape", "delete", "backspace"].includes(key)) clear();
  else if (key === "z" && (event.ctrlKey || event.metaKey) && strokes.length) {
    event.preventDefault();
    strokes.pop();
    changed();
  }
});
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  redraw();
  show(shown);
});

// ---- asking: one request at a time, always about the newest drawing --------------------------------------------------

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
      const about = example; // the newest may be another when the answer comes
      const answer = await look(about === null ? picture() : about.image);
      if (about === example && (about !== null || strokes.length)) show(answer);
      await new Promise((resolve) => setTimeout(resolve, 15)); // a breath: the page must stay quick under the pen
    }
  } catch (error) {
    shown = null;
    $("words").textContent = error.told ? error.message : "The server does not answer. Is it still running?";
    document.body.classList.add("waiting");
  } finally {
    asking = false;
  }
  if (stale) ask();
}

async function look(instance) {
  const response = await fetch("/page/look", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ instances: [instance] }),
  });
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.error), { told: true });
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
  if (drawing === null || !answer) tell(answer, best); // a screen reader hears of finished strokes alone
  [...$("bars").children].forEach((row, digit) => {
    row.classList.toggle("best", digit === best);
    row.querySelector(".fill").style.transform = `scaleX(${probabilities[digit]})`;
    row.querySelector(".value").textContent = answer ? `${(100 * probabilities[digit]).toFixed(1)}%` : "";
  });
  paint($("seen"), answer ? answer.image : null);
  $("origin").textContent = `28 × 28 pixels, ${example ? "as it stands in the test set" : "brought into MNIST’s frame"}`;
  const what = answer ? `a digit, most likely ${NAMES[best]}` : "nothing yet";
  $("seen").setAttribute("aria-label", `The image as the network sees it: ${what}`);
  showLayers(answer ? answer.layers : null);
}

function tell(answer, best) {
  let words = "Draw a digit.";
  if (answer) {
    const share = 100 * answer.probabilities[best];
    words = share >= 99.95 ? `A ${NAMES[best]}, as good as certain.` : `A ${NAMES[best]}, ${share.toFixed(1)}% sure.`;
    if (best === 8) words = words.replace("A eight", "An eight");
    if (example) {
      words += example.label === best ? " Right." : ` Wrong: it is a ${NAMES[example.label]}.`.replace("a eight", "an eight");
    }
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

let emptyLayers = []; // how many neurons each layer has, once it is known

function showLayers(layers) {
  if (layers) emptyLayers = layers.map(({ name, activations }) => ({ name, activations: activations.map(() => 0) }));
  const place = $("layers");
  (layers || emptyLayers).forEach(({ name, activations }, index) => {
    if (!place.children[index]) {
      const figure = element("figure", "layer");
      const canvas = element("canvas");
      canvas.setAttribute("role", "img");
      figure.append(canvas, element("figcaption", "caption"));
      place.append(figure);
    }
    const figure = place.children[index];
    const alive = activations.filter((value) => Math.abs(value) > 1e-6).length;
    const strongest = activations.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const canvas = figure.querySelector("canvas");
    neurons(canvas, activations, strongest);
    const label = name.replace("hidden_", "Hidden layer ").replace("conv_", "Convolution ");
    const words = layers ? `${alive} of ${activations.length} neurons active` : `${activations.length} neurons at rest`;
    figure.querySelector("figcaption").replaceChildren(element("b", "", label), `: ${words}`);
    canvas.setAttribute("aria-label", `${label}: ${words}, the strongest ${strongest.toFixed(1)}`);
  });
  if (layers && layers.length === 0) place.replaceChildren(element("p", "note", "This network has no hidden layer: from the pixels straight to the answer."));
}

function neurons(canvas, activations, strongest) { // a cell for each, as bright as it is active
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
  const answer = await (await fetch(`/page/examples?round=${round}`)).json();
  if (example) clear();
  $("examples").replaceChildren(
    ...answer.examples.map((each) => {
      const button = element("button");
      const canvas = element("canvas");
      canvas.width = canvas.height = 28;
      paint(canvas, each.image);
      button.type = "button";
      button.setAttribute("aria-pressed", "false");
      button.setAttribute("aria-label", `Test image ${each.index}, a ${NAMES[each.label]}`.replace("a eight", "an eight"));
      button.append(canvas, element("span", "", `is ${each.label}`));
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

// ---- the beginning ---------------------------------------------------------------------------------------------------

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
  const [about] = await Promise.all([fetch("/healthz").then((response) => response.json()), examples()]);
  emptyLayers = about.hidden.map(([name, units]) => ({ name, activations: new Array(units).fill(0) }));
  if (!shown) showLayers(null);
  const right = (100 * about.test_accuracy).toFixed(2);
  const count = about.parameters.toLocaleString("en");
  $("about").textContent = `The network ${about.network}, ${count} parameters, trained on ${SETS[about.dataset] || about.dataset}: ${right}% of its test images right. It runs on ${about.device}.`;
}

start().catch(() => {
  $("about").textContent = "The server does not answer. Is it still running?";
});
