"use strict";
// The drawing: strokes in units of its side, and the picture of them that is sent to the server.

// Width of a stroke in units of the side. MNIST's strokes are 2.6 pixels wide in a box of 20 pixels (mean of 10,000
// training images), and a digit takes about 0.7 of the side.
const PEN = 0.09;
const SENT = 280; // side in pixels of the picture that is sent, always black on white
const $ = (id) => document.getElementById(id);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const element = (tag, className = "", text = "") => {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
};

const paper = $("paper");
let strokes = []; // lists of points [x, y], in units of the side
let drawing = null; // id of the pointer that is drawing
let example = null; // the test image shown instead

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
    for (let i = 1; i < points.length - 1; i++) { // curves between midpoints, with each point as control point
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
  drawing = null; // even if the pen is still down
  strokes = [];
  choose(null);
  changed();
}

function undo() {
  drawing = null;
  strokes.pop();
  changed();
}

$("clear").addEventListener("click", clear);
$("undo").addEventListener("click", undo);
document.addEventListener("keydown", (event) => {
  const key = event.key.toLowerCase();
  if (event.target.tagName === "SELECT") return; // where Esc closes the list
  if (["escape", "delete", "backspace"].includes(key)) clear();
  else if (key === "z" && (event.ctrlKey || event.metaKey) && strokes.length) {
    event.preventDefault();
    undo();
  }
});
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  redraw();
  show(shown);
});
