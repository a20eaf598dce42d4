// Your own points: drawn on the map, typed, around a curve, or from a CSV file.

import { pointsAroundFunction } from "./around_function.js";
import { $, announce } from "./dom.js";
import { positionOf } from "./output_view.js";
import { EDGE } from "./points.js";
import { readCsv } from "./read_csv.js";

const MOST = 10_000; // points that drawing adds up to
const APART = 0.3; // between points of one stroke, in units of the plane
const ERASER = 0.45;
const LARGEST = 50_000_000; // bytes of a file

export class OwnPoints {
  constructor(lab, output, report) {
    this.lab = lab;
    this.output = output;
    this.report = report; // shows notes
    this.mode = null; // "1", "-1", "value" or "erase"
    this.stroke = null; // points of the stroke that is being drawn
    this.before = this.kept = null; // the other points: when the stroke began, and now
    for (const button of document.querySelectorAll("[data-draw]")) {
      button.addEventListener("click", () => this.choose(this.mode === button.dataset.draw ? null : button.dataset.draw));
    }
    const box = $("map-box");
    box.addEventListener("pointerdown", (event) => this.begin(event));
    box.addEventListener("pointermove", (event) => this.go(event));
    for (const kind of ["pointerup", "pointercancel"]) box.addEventListener(kind, () => this.end());
    $("own-clear").addEventListener("click", () => lab.setOwnPoints([]));
    $("own-point").addEventListener("submit", (event) => this.addTyped(event));
    $("own-function").addEventListener("submit", (event) => this.around(event));
    $("own-file").addEventListener("change", (event) => this.read(event.target.files[0]));
    const hasFile = (event) => event.dataTransfer.types.includes("Files"); // else someone drags a text into a field
    document.addEventListener("dragover", (event) => {
      if (!hasFile(event)) return;
      event.preventDefault();
      document.body.classList.add("dropping");
    });
    for (const kind of ["dragleave", "drop"]) document.addEventListener(kind, () => document.body.classList.remove("dropping"));
    document.addEventListener("drop", (event) => {
      if (!hasFile(event)) return;
      event.preventDefault();
      this.read(event.dataTransfer.files[0]);
    });
    lab.on("state", () => this.show());
  }

  get regression() {
    return this.lab.state.problem === "regression";
  }

  // The points on the screen, to which others are added.
  get current() {
    const { state, trainer } = this.lab;
    return state.ownPoints ?? [...trainer.train, ...trainer.test];
  }

  show() {
    for (const button of document.querySelectorAll("[data-draw]")) {
      const kind = button.dataset.draw;
      if (kind === "value") button.hidden = !this.regression;
      button.setAttribute("aria-pressed", String(kind === this.mode));
    }
    document.body.classList.toggle("drawing", this.mode !== null);
    const count = this.lab.state.ownPoints?.length;
    $("own-note").textContent = this.mode
      ? "Press on the output map and draw. Press the button again to end."
      : count === undefined
        ? "Draw on the output map, drop a CSV file anywhere on the page, or describe a curve."
        : `${count.toLocaleString("en")} points of your own.`;
  }

  choose(mode) {
    this.mode = mode;
    if (mode !== null) this.lab.change({ showTestData: true }); // else half of what is drawn would not be seen
    this.show();
  }

  begin(event) {
    if (this.mode === null || event.button !== 0) return;
    event.preventDefault();
    $("map-box").setPointerCapture(event.pointerId);
    this.stroke = [];
    this.before = this.kept = this.current;
    this.go(event);
  }

  go(event) {
    if (!this.stroke) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) this.pass(...positionOf(each, $("map-box")));
    if (this.mode !== "erase") this.output.drawPoints(this.stroke);
  }

  // The pointer is at this position of the plane.
  pass(x, y) {
    if (this.mode === "erase") {
      const left = this.kept.filter((point) => Math.hypot(point.x - x, point.y - y) > ERASER);
      if (left.length === this.kept.length) return;
      this.kept = left;
      this.lab.setOwnPoints(left, true);
      return;
    }
    const last = this.stroke.at(-1);
    if (last && Math.hypot(last.x - x, last.y - y) < APART) return;
    if (this.kept.length + this.stroke.length >= MOST) return;
    const label = this.mode === "value" ? y / EDGE : Number(this.mode); // in regression ±1 at the edges
    this.stroke.push({ x: rounded(x), y: rounded(y), label: rounded(label) });
  }

  end() {
    if (!this.stroke) return;
    const changed = this.stroke.length > 0 || this.kept !== this.before;
    const all = [...this.kept, ...this.stroke];
    this.stroke = null;
    if (changed) this.lab.setOwnPoints(all);
  }

  addTyped(event) {
    event.preventDefault();
    const [x, y, label] = ["x", "y", "label"].map((name) => Number(event.target.elements[name].value));
    if (!this.regression && Math.abs(label) !== 1) {
      this.report([`label: expected −1 or 1 for classification, received ${label}; or choose regression`]);
      return;
    }
    this.lab.setOwnPoints([...this.current, { x, y, label }]);
    announce(`Added a point. ${this.current.length} points.`);
  }

  around(event) {
    event.preventDefault();
    const { expression, count } = event.target.elements;
    const found = pointsAroundFunction(expression.value, Number(count.value), this.lab.state.seed);
    this.take(found, `y = ${expression.value}`);
  }

  async read(file) {
    if (!file) return;
    if (file.size > LARGEST) {
      this.report([`${file.name.slice(0, 80)}: expected at most ${LARGEST / 1e6} MB, received ${Math.round(file.size / 1e6)} MB`]);
      return;
    }
    try {
      this.take(readCsv(await file.text(), this.lab.state.problem), file.name.slice(0, 80));
    } catch (error) {
      if (!(error instanceof DOMException)) throw error; // a folder, or a file that is gone
      this.report([`${file.name.slice(0, 80)}: the browser cannot read this file`]);
    }
    $("own-file").value = ""; // so that the same file can be read again
  }

  // Show points that were read, with a new network; say what was not taken.
  take({ points, problem = "classification", notes }, from) {
    if (points.length) {
      this.lab.change({ ownPoints: points, problem: problem === "regression" ? problem : this.lab.state.problem });
      announce(`${points.length} points from ${from}`);
    }
    this.report(notes);
  }
}

function rounded(value) {
  return Math.round(value * 1000) / 1000;
}
