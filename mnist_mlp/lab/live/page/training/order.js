// The form for a new run, made from the options that the server lists, and what such a run will be.
//
// The address has the options that are not the defaults: /network#model=softmax&epochs=3.

import { $, announce, copy, element, save } from "../dom.js";
import { ask } from "./requests.js";

const FIRST = ["preset", "model", "units", "dataset", "pixels", "optimizer", "learning_rate", "batch_size", "epochs", "seed"];
const WAIT = 250; // milliseconds after the last key before the plan is asked for
const LARGEST = 64 * 1024; // of an address

export class Order {
  constructor(about, started) {
    this.about = about;
    this.started = started; // is called with the new run
    this.fields = new Map(); // input elements by the name of the option
    this.asked = 0; // number of the last request for a plan
    const options = [...about.options].sort((a, b) => place(a.name) - place(b.name));
    for (const option of options) this.add(option);
    $("order").hidden = $("plan").hidden = false;
    $("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.start();
    });
    $("form").addEventListener("input", (event) => this.changed(event.target));
    $("defaults").addEventListener("click", () => this.set({}));
    $("copy-program").addEventListener("click", (event) => copy($("program").textContent, event.currentTarget));
    $("save-program").addEventListener("click", () => save("network.py", $("program").textContent, "text/x-python"));
    addEventListener("hashchange", () => this.read());
    this.read();
  }

  add(option) {
    const id = `option-${option.name}`;
    const input = inputOf(option);
    input.id = id;
    input.title = option.help;
    this.fields.set(option.name, { input, option });
    const label = element("label", { for: id, text: option.name.replaceAll("_", " ") });
    const row = element("div", { class: option.kind === "switch" ? "option switch" : "option" }, label, input);
    if (FIRST.includes(option.name)) $("first-options").append(row);
    else this.group(option.group).append(row);
  }

  // The box of a group below "More options".
  group(name) {
    const id = `group-${name}`;
    if (!$(id)) {
      const box = element("div", { class: "grid", id });
      $("more-options").append(element("h3", { text: name }), box);
    }
    return $(id);
  }

  // ---- values ------------------------------------------------------------------------------------------------------

  get defaults() {
    return this.about.presets[this.fields.get("preset").input.value] ?? {};
  }

  // The options that are not those of the preset, as the server takes them; with numbers as numbers.
  get options() {
    const found = {};
    const preset = this.fields.get("preset").input.value;
    if (preset !== "default") found.preset = preset;
    for (const [name, { input, option }] of this.fields) {
      const value = valueOf(input, option);
      if (name !== "preset" && value !== null && value !== this.defaults[name]) found[name] = value;
    }
    return found;
  }

  // Show these options, and the defaults for all others.
  set(options) {
    const preset = this.fields.get("preset").input;
    preset.value = options.preset in this.about.presets ? options.preset : "default";
    this.setAll({ ...this.defaults, ...options, preset: preset.value });
    this.changed(null);
  }

  setAll(values) {
    for (const [name, { input, option }] of this.fields) {
      const value = values[name] ?? option.default;
      if (option.kind === "switch") input.checked = value === true || value === "true";
      else input.value = value ?? "";
      if (input.tagName === "SELECT" && input.selectedIndex < 0) input.value = option.default ?? "";
      input.placeholder = value === null ? "default" : "";
    }
  }

  read() {
    const text = location.hash.slice(1, LARGEST);
    if (text === this.written) return;
    this.set(Object.fromEntries([...new URLSearchParams(text)].filter(([name]) => this.fields.has(name))));
  }

  changed(input) {
    if (input === this.fields.get("preset").input) this.setAll({ ...this.defaults, preset: input.value });
    this.written = new URLSearchParams(this.options).toString();
    history.replaceState(null, "", this.written ? `#${this.written}` : location.pathname);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.plan(), input === null ? 0 : WAIT);
  }

  // ---- requests ----------------------------------------------------------------------------------------------------

  async plan() {
    const number = ++this.asked;
    try {
      const found = await ask(`/plan?${new URLSearchParams(this.options)}`);
      if (number === this.asked) this.showPlan(found);
    } catch (error) {
      if (number === this.asked) this.complain(error.message);
    }
  }

  complain(message) {
    $("form-error").textContent = message;
    $("form-error").hidden = !message;
    $("plan").classList.toggle("void", Boolean(message));
    $("start").disabled = Boolean(message);
  }

  async start() {
    try {
      const run = await ask("/runs", this.options);
      announce("The run is ordered.");
      this.started(run);
    } catch (error) {
      this.complain(error.message);
      $("start").disabled = false; // the next try may be allowed
    }
  }

  showPlan(plan) {
    this.complain("");
    const { dataset, division } = plan;
    $("plan-total").replaceChildren(element("b", { text: plan.parameters.toLocaleString("en") }), " parameters");
    $("plan-layers").replaceChildren(...plan.layers.map(({ name, kind, output, parameters, arithmetic }) => element("tr", {},
      element("th", { scope: "row", text: `${kind}${name.startsWith("hidden") || name === "logits" ? ` ${output}` : ""}` }),
      element("td", { text: output.join(" × ") }),
      element("td", { text: parameters ? `${arithmetic} = ${parameters.toLocaleString("en")}` : "0" }))));
    const rows = [
      ["Training images", `${dataset.train_examples.toLocaleString("en")} (${dataset.name})`],
      ["Steps in an epoch", division.train],
      ["Steps in all", plan.steps.toLocaleString("en")],
      ["Batches of the test", division.test],
    ];
    if (dataset.validation_examples) rows.splice(1, 0, ["Held out for validation", dataset.validation_examples.toLocaleString("en")]);
    $("plan-steps").replaceChildren(...rows.map(([name, text]) => element("div", {}, element("dt", { text: name }), element("dd", { text }))));
    $("plan-notes").textContent = dataset.notes.join(" ");
    $("program").textContent = plan.program;
  }
}

function place(name) {
  const found = FIRST.indexOf(name);
  return found < 0 ? FIRST.length : found;
}

function inputOf({ kind, choices, low, high }) {
  if (choices.length) return element("select", {}, ...choices.map((choice) => element("option", { value: choice, text: choice })));
  if (kind === "switch") return element("input", { type: "checkbox" });
  if (kind === "text") return element("input", { type: "text", maxlength: "200", autocomplete: "off", spellcheck: "false" });
  const whole = kind === "whole number";
  const range = whole ? { step: "1", ...(low === null ? {} : { min: low }), ...(high === null ? {} : { max: high }) } : { step: "any" };
  return element("input", { type: "number", inputmode: whole ? "numeric" : "decimal", ...range });
}

// Return the value of a field; null for the default of the option.
function valueOf(input, { kind }) {
  if (kind === "switch") return input.checked;
  if (input.value === "") return null;
  return kind === "text" ? input.value : Number(input.value);
}
