// The kept runs: a table, and which of them are drawn in the chart.

import { $, element, shown } from "./dom.js";
import { FEATURES } from "./features.js";
import { DEFAULTS } from "./state.js";

export class RunsTable {
  constructor(lab, changed) {
    this.lab = lab;
    this.changed = changed; // called when another choice of runs is drawn
    $("runs-clear").addEventListener("click", () => lab.removeRun(null));
    $("repeat").addEventListener("submit", (event) => {
      event.preventDefault();
      const { times, epochs } = event.target.elements;
      lab.repeat(Number(times.value), Number(epochs.value));
    });
    lab.on("runs network playing", () => this.show());
    lab.on("trained", () => lab.playing || this.showPresent());
  }

  show() {
    const { runs } = this.lab;
    $("runs-rows").replaceChildren(...[...runs].reverse().map((run) => this.row(run)));
    $("runs-clear").hidden = runs.length === 0;
    this.showPresent();
    this.changed();
  }

  // The first row: the run on the screen, as it stood when it last paused.
  showPresent() {
    const { trainer, runs, playing, number, measured, state } = this.lab;
    const begun = trainer.epoch > 0 && !playing;
    $("runs-scroll").hidden = runs.length === 0 && !begun;
    $("runs-note").hidden = runs.length > 0;
    const present = { epochs: trainer.epoch, last: measured.losses, accuracy: measured.accuracy, state };
    const swatch = element("span", { class: "swatch present" });
    $("runs-present").replaceChildren(...(begun ? [tableRow(present, [swatch], `${number}, now`)] : []));
  }

  row(run) {
    const box = element("input", { type: "checkbox", "aria-label": `Run ${run.number} in the chart` });
    box.checked = run.inChart;
    box.addEventListener("change", () => {
      run.inChart = box.checked;
      this.changed();
    });
    const swatch = element("span", { class: "swatch" });
    swatch.style.background = `var(--run-${run.colour})`;
    const again = element("button", { type: "button", text: `Run ${run.number}`, title: "Open its settings" });
    again.addEventListener("click", () => this.lab.show(run.state));
    const remove = element("button", { type: "button", text: "×", "aria-label": `Remove run ${run.number}` });
    remove.addEventListener("click", () => this.lab.removeRun(run));
    return tableRow(run, [box, swatch], again, remove);
  }
}

// Return a row of the table: of a run's {epochs, last, accuracy, state}, between what marks, names and removes it.
function tableRow({ epochs, last, accuracy, state }, mark, name, remove = "") {
  const share = accuracy && Number.isFinite(accuracy.test) ? `${(100 * accuracy.test).toFixed(1)}%` : "–";
  const numbers = [epochs.toLocaleString("en"), shown(last.test), shown(last.train), share];
  return element(
    "tr",
    {},
    element("td", {}, ...mark),
    element("td", {}, name),
    ...numbers.map((text) => element("td", { text })),
    element("td", { class: "what", text: describe(state) }),
    element("td", {}, remove),
  );
}

// Return the settings in words: the data set and the network always, the others where they are not the defaults.
export function describe(state) {
  const isClass = state.problem === "classification";
  const data = state.ownPoints ? `${state.ownPoints.length} own points` : isClass ? state.dataset : state.regDataset;
  const features = FEATURES.filter(({ name }) => state[name] && !state.hidden.includes(name)).map(({ label }) => label);
  const parts = [data];
  if (state.noise && !state.ownPoints) parts.push(`noise ${state.noise}`);
  if (state.percTrainData !== DEFAULTS.percTrainData) parts.push(`${state.percTrainData}% training`);
  parts.push(`${features.join(", ")} → ${state.networkShape.length ? state.networkShape.join(", ") : "no hidden layer"}`);
  if (state.networkShape.length) parts.push(state.activation === "relu" ? "ReLU" : state.activation);
  parts.push(`rate ${state.learningRate}`);
  if (state.batchSize !== DEFAULTS.batchSize) parts.push(`batch ${state.batchSize}`);
  if (state.regularization !== "none" && state.regularizationRate) parts.push(`${state.regularization} ${state.regularizationRate}`);
  if (state.initZero) parts.push("weights from 0");
  parts.push(`seed ${state.seed}`);
  if (state.weightsSeed !== null) parts.push(`weights ${state.weightsSeed}`);
  return parts.join(" · ").slice(0, 300);
}
