// The runs as a list: how each stands, and what can be done with it.

import { $, announce, element, shown } from "../dom.js";
import { ask } from "./requests.js";
import { epochsOf, titleOf } from "./runs.js";

const WORDS = { queued: "waits in the queue", starting: "starts", training: "trains", paused: "paused", stopped: "stopped", finished: "finished", failed: "failed" };

export class RunList {
  constructor(runs, { readOnly, chosen, complain }) {
    this.runs = runs;
    this.readOnly = readOnly;
    this.choose = chosen; // is called with the run to look into
    this.complain = complain;
    this.items = new Map(); // elements by the name of the run
    this.selected = null;
  }

  // Show which runs there are, the newest first.
  build() {
    const list = this.runs.list.reverse();
    $("no-runs").hidden = list.length > 0;
    document.body.classList.toggle("has-runs", list.length > 0);
    for (const name of [...this.items.keys()]) {
      if (!this.runs.all.has(name)) {
        this.items.get(name).item.remove();
        this.items.delete(name);
      }
    }
    list.forEach((run, k) => {
      if (!this.items.has(run.name)) this.items.set(run.name, this.make(run));
      const { item } = this.items.get(run.name);
      if ($("runs").children[k] !== item) $("runs").insertBefore(item, $("runs").children[k] ?? null);
      this.refresh(run);
    });
  }

  make(run) {
    const parts = {};
    const made = (name, tag, attributes = {}) => (parts[name] = element(tag, { class: name, ...attributes }));
    const look = element("button", { type: "button", class: "title", "aria-pressed": "false" }, element("span", { class: `swatch run-${run.colour}`, "aria-hidden": "true" }), made("name", "span"));
    look.addEventListener("click", () => this.select(run));
    parts.look = look;
    const head = element("div", { class: "run-head" }, look, made("state", "span"));
    const bar = element("progress", { max: "1", value: "0", "aria-label": "Progress" });
    parts.bar = bar;
    const item = element("li", {}, head, bar, made("numbers", "p"), made("message", "p"), made("device", "p"));
    if (!this.readOnly) item.append(this.controls(run, parts));
    return { item, ...parts };
  }

  controls(run, parts) {
    const button = (name, text, body) => {
      parts[name] = element("button", { type: "button", text });
      parts[name].addEventListener("click", () => this.command(run, body(), text));
      return parts[name];
    };
    const rate = element("input", { type: "number", step: "any", min: "0", "aria-label": "New learning rate", placeholder: "rate" });
    const form = element("form", { class: "rate-form" }, rate, element("button", { type: "submit", text: "Change rate" }));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (rate.value !== "") this.command(run, { do: "rate", learning_rate: Number(rate.value) }, "Change rate");
    });
    parts.rate = form;
    parts.more = element("form", { class: "rate-form" });
    const epochs = element("input", { type: "number", min: "1", step: "1", "aria-label": "Epochs in all", placeholder: "epochs" });
    parts.more.append(epochs, element("button", { type: "submit", text: "Train on" }));
    parts.more.addEventListener("submit", (event) => {
      event.preventDefault();
      if (epochs.value !== "") this.command(run, { do: "go_on", epochs: Number(epochs.value) }, "Train on");
    });
    return (parts.tools = element("div", { class: "run-tools", role: "group" },
      button("pause", "Pause", () => ({ do: "pause" })), button("go", "Go on", () => ({ do: "go_on" })),
      button("stop", "Stop", () => ({ do: "stop" })), form, parts.more, button("hide", "Hide", () => ({ do: "hide" }))));
  }

  async command(run, body, words) {
    try {
      await ask(`/runs/${run.name}`, body);
      this.complain("");
      announce(`${words}: done.`);
    } catch (error) {
      this.complain(error.message);
    }
    this.runs.refresh();
  }

  select(run) {
    this.selected = run.name;
    for (const [name, { look }] of this.items) look.setAttribute("aria-pressed", String(name === run.name));
    this.choose(run);
  }

  // Show how a run stands.
  refresh(run) {
    const parts = this.items.get(run.name);
    if (!parts) return;
    const { state, begin } = run;
    const last = run.points.at(-1);
    const step = Math.max(begin?.step ?? 0, last?.step ?? 0);
    setText(parts.name, titleOf(run));
    setText(parts.state, WORDS[state] ?? state);
    parts.state.className = `state is-${state}`;
    parts.bar.value = begin ? step / begin.steps : 0;
    setText(parts.numbers, begin ? numbersOf(run, step, last) : "");
    setText(parts.message, state === "finished" ? testOf(run) : run.message ?? "");
    setText(parts.device, begin ? `${begin.device.actual}, ${begin.backend}` : "");
    if (this.readOnly) return;
    parts.tools.setAttribute("aria-label", titleOf(run)); // which of several buttons "Pause" it is
    const trains = state === "training" || state === "starting";
    parts.pause.hidden = !trains;
    parts.go.hidden = !(state === "paused" || (state === "stopped" && run.goes_on));
    parts.stop.hidden = !(trains || state === "paused" || state === "queued");
    parts.rate.hidden = !(trains || state === "paused");
    parts.more.hidden = state !== "finished";
    parts.hide.hidden = !["stopped", "finished", "failed"].includes(state);
  }
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
  node.hidden = !text;
}

function numbersOf(run, step, last) {
  const parts = [`epoch ${epochsOf(run, step).toFixed(2)} of ${run.begin.epochs}`, `step ${step.toLocaleString("en")} of ${run.begin.steps.toLocaleString("en")}`];
  if (last) {
    parts.push(`loss ${shown(last.loss, 4)}`, `${shown(100 * last.accuracy, 2)}% of the latest training images`);
    if (last.images_per_second) parts.push(`${Math.round(last.images_per_second).toLocaleString("en")} images/s`);
    parts.push(`rate ${last.learning_rate}`);
  }
  return parts.join(" · ");
}

// The test of a finished run, with the digits of its result.
function testOf({ result }) {
  if (!result) return "";
  const { correct, total, accuracy, interval, loss } = result.test;
  const [low, high] = interval.map((share) => (100 * share).toFixed(2));
  return `Test: ${correct.toLocaleString("en")} of ${total.toLocaleString("en")} = ${(100 * accuracy).toFixed(2)}% (95%: ${low} to ${high}), loss ${loss.toFixed(4)}`;
}
