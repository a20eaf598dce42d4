// The page: connects the lab with what shows it, and draws at most once a frame.

import { Chart } from "./chart.js";
import { Controls } from "./controls.js";
import { $, announce, element, shown } from "./dom.js";
import { OwnPoints } from "./draw_points.js";
import { HiddenControls } from "./hidden_controls.js";
import { Kept } from "./kept.js";
import { Lab } from "./lab.js";
import { Lesson } from "./lesson.js";
import { NetworkView } from "./network_view.js";
import { NeuronPanel } from "./neuron_panel.js";
import { OutputView } from "./output_view.js";
import { RunsTable } from "./runs_table.js";
import { addressNote, connectTake } from "./take.js";

const TRAINING = 8; // milliseconds of a frame for training; the rest is for drawing
const SLOW = 200; // milliseconds between epochs at the slow speed

const lab = new Lab();
const kept = new Kept();
const network = new NetworkView(lab, { choose, select });
const nameOf = (layer, node) => network.nameOf(layer, node);
const output = new OutputView(lab, nameOf);
const neuron = new NeuronPanel(lab, nameOf);
const chart = new Chart(lab);
new Controls(lab);
new OwnPoints(lab, output, report);
const lesson = new Lesson(lab, kept);

// ---- drawing: what has changed since the last frame ----------------------------------------------------------------

const stale = new Set();
let waiting = false;
let frames = 0;

function redraw(...what) {
  for (const each of what) stale.add(each);
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(frame);
}

let lastEpoch = 0; // when the last epoch began, at the slow speed
let lastFrame = 0;

function frame(now) {
  waiting = false;
  frames += 1;
  if (lab.playing) output.pace(now - lastFrame);
  lastFrame = now;
  if (lab.playing && (lab.speed !== "slow" || now - lastEpoch >= SLOW)) {
    lastEpoch = now;
    lab.advance(TRAINING);
  }
  draw();
  if (lab.playing) redraw();
}

// While training, what is large is drawn in every frame, and the rest in turn.
function draw() {
  const turn = (k) => !lab.playing || frames % 3 === k;
  const values = stale.has("values");
  if (values) {
    if (!lab.playing || output.due) {
      const { maps, size } = output.maps(lab.playing && lab.speed !== "slow");
      output.draw(maps, size);
      if (turn(0)) network.drawMaps(maps, size);
    }
    if (turn(1)) network.drawLinks();
    if (turn(2)) neuron.refresh();
    output.drawLosses();
    $("epoch").textContent = lab.trainer.epoch.toLocaleString("en");
  }
  if ((values && turn(2)) || stale.has("chart")) chart.draw();
  if (stale.has("points")) output.drawPoints();
  stale.clear();
}

// ---- the lab's news ------------------------------------------------------------------------------------------------

function choose(node) {
  output.node = node;
  network.highlight(node);
  redraw("values");
}

function select(node, input) {
  if (node.layer === 0) return;
  network.mark(node);
  neuron.show(node);
  if (input !== undefined) neuron.focus(input);
}

lab.on("network", () => {
  output.renew();
  network.build();
  const { sizes } = lab.trainer;
  const { layer, node, isOutput } = neuron.node ?? { isOutput: true };
  const there = !isOutput && layer < sizes.length - 1 && node < sizes[layer];
  select(there ? { layer, node } : { layer: sizes.length - 1, node: 0 });
});
lab.on("trained", () => redraw("values"));
lab.on("points", () => redraw("points", "values"));
lab.on("state", () => {
  try {
    history.replaceState(null, "", lab.address);
  } catch { // Safari allows a hundred times in half a minute
  }
  $("address-note").textContent = addressNote(lab.state);
});
lab.on("playing", () => {
  document.body.classList.toggle("playing", lab.playing);
  $("play").setAttribute("aria-label", lab.playing ? "Pause" : "Play");
  if (lab.playing) {
    redraw();
    return;
  }
  redraw("values");
  const { test, train } = lab.measured.losses;
  announce(`Paused at epoch ${lab.trainer.epoch}: test loss ${shown(test)}, training loss ${shown(train)}.`);
  output.describe();
  chart.describe();
});

lab.on("diverged", () => {
  const rate = lab.state.learningRate > 0.03 ? ", and try a smaller learning rate" : "";
  report([`Training diverged at epoch ${lab.trainer.epoch}: weights are no longer finite. Reset the network${rate}.`]);
});

function report(notes) {
  $("notes").hidden = notes.length === 0;
  $("notes-list").replaceChildren(...notes.map((text) => element("li", { text })));
  if (notes.length) announce(notes[0]);
}

// ---- buttons and keys ----------------------------------------------------------------------------------------------

const toggle = () => (lab.playing ? lab.pause() : lab.play());
$("play").addEventListener("click", toggle);
$("step").addEventListener("click", () => lab.step());
$("reset").addEventListener("click", () => lab.reset());
$("until").addEventListener("submit", (event) => {
  event.preventDefault();
  const target = Number($("until-epoch").value);
  if (target > lab.trainer.epoch) lab.play(target);
  else report([`The run is at epoch ${lab.trainer.epoch.toLocaleString("en")} already: reset it, or choose a later epoch.`]);
});
$("play-more").addEventListener("click", (event) => {
  const all = document.querySelector(".play").classList.toggle("all");
  event.currentTarget.setAttribute("aria-expanded", String(all));
});
$("speed").addEventListener("change", () => (lab.speed = $("speed").value));
$("notes-close").addEventListener("click", () => report([]));
document.addEventListener("keydown", (event) => {
  const free = event.target === document.body || event.target === $("main"); // elsewhere the key has its own meaning
  if (event.key !== " " || !free || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  toggle();
});

function enlarge(large) {
  document.documentElement.classList.toggle("large", large);
  $("large").setAttribute("aria-pressed", String(large));
  kept.setPreference("large", large);
  requestAnimationFrame(() => redraw("values", "points"));
}
$("large").addEventListener("click", () => enlarge(!document.documentElement.classList.contains("large")));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw("values", "points"));
addEventListener("hashchange", () => report(lab.open(location.hash)));
const failed = (what) => report([`The page failed: ${String(what).slice(0, 200)}. Reload it to continue.`]);
addEventListener("error", (event) => failed(event.message));
addEventListener("unhandledrejection", (event) => failed(event.reason));

// ---- start ---------------------------------------------------------------------------------------------------------

new HiddenControls(lab);
new RunsTable(lab, () => redraw("chart"));
connectTake(lab, report);
kept.connect(lab);
if (kept.preference("large") === true) enlarge(true);
if (kept.preference("lesson") === true) lesson.toggle(true);
lesson.load();
report(lab.open(location.hash)); // without one, all settings are the defaults
output.describe();

export { lab }; // for the tests, and for the browser's console
