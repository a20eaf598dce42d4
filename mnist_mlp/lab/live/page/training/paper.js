// The paper to draw a digit on: strokes in units of its side, and the picture of them that is sent.

import { $, colour } from "../dom.js";

const PEN = 0.09; // width of a stroke in units of the side, as on the page of `serve`
const SENT = 280; // side in pixels of the picture, black on white

export class Paper {
  constructor(changed) {
    this.changed = changed;
    this.strokes = [];
    this.pointer = null; // id of the pointer that draws
    const paper = $("paper");
    paper.addEventListener("pointerdown", (event) => this.begin(event));
    paper.addEventListener("pointermove", (event) => this.go(event));
    for (const kind of ["pointerup", "pointercancel"]) paper.addEventListener(kind, (event) => this.end(event));
    $("undo").addEventListener("click", () => this.keep(this.strokes.slice(0, -1)));
    $("clear").addEventListener("click", () => this.keep([]));
    new ResizeObserver(() => this.draw()).observe(paper);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  begin(event) {
    if (this.pointer !== null || event.button !== 0) return;
    event.preventDefault();
    $("paper").setPointerCapture(event.pointerId);
    this.pointer = event.pointerId;
    this.strokes.push([]);
    this.go(event);
  }

  go(event) {
    if (event.pointerId !== this.pointer) return;
    const box = $("paper").getBoundingClientRect();
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) {
      this.strokes.at(-1).push([(each.clientX - box.left) / box.width, (each.clientY - box.top) / box.height]);
    }
    this.keep(this.strokes);
  }

  end(event) {
    if (event.pointerId === this.pointer) this.pointer = null;
  }

  keep(strokes) {
    this.strokes = strokes;
    $("undo").disabled = $("clear").disabled = strokes.length === 0;
    if (!strokes.length) this.pointer = null;
    this.draw();
    this.changed();
  }

  draw() {
    const paper = $("paper");
    const side = Math.round(paper.clientWidth * devicePixelRatio);
    if (!side) return;
    if (paper.width !== side) paper.width = paper.height = side;
    const context = paper.getContext("2d");
    context.clearRect(0, 0, side, side);
    this.ink(context, side, colour("--ink"));
  }

  ink(context, side, style) {
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = PEN * side;
    context.strokeStyle = context.fillStyle = style;
    for (const points of this.strokes) {
      const [x, y] = points[0].map((share) => share * side);
      context.beginPath();
      context.arc(x, y, (PEN * side) / 2, 0, 2 * Math.PI); // a stroke of one point would not be seen
      context.fill();
      context.beginPath();
      context.moveTo(x, y);
      for (const point of points) context.lineTo(point[0] * side, point[1] * side);
      context.stroke();
    }
  }

  // The picture as base64 of a PNG; null if nothing is drawn.
  get picture() {
    if (!this.strokes.length) return null;
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = SENT;
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, SENT, SENT);
    this.ink(context, SENT, "#000");
    return canvas.toDataURL("image/png").split(",")[1];
  }
}
