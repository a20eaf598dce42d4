// The weights and the bias of the selected neuron, shown and edited.

import { $, element } from "./dom.js";
import { cssColour } from "./maps.js";

const FIELDS = 200; // weights of a neuron that can be edited here

export class NeuronPanel {
  constructor(lab, nameOf) {
    this.lab = lab;
    this.nameOf = nameOf;
    this.node = null; // {layer, node, isOutput}
    this.fields = []; // {input: the index or -1 for the bias, field, bar}
    $("neuron-weights").addEventListener("change", (event) => this.edit(event.target));
  }

  show({ layer, node }) {
    const { trainer } = this.lab;
    this.node = { layer, node, isOutput: layer === trainer.sizes.length - 1 };
    const inputs = Math.min(trainer.sizes[layer - 1], FIELDS);
    this.fields = [];
    const labels = [-1, ...Array.from({ length: inputs }, (_, k) => k)].map((input) => {
      const field = element("input", { type: "number", step: "any" });
      const bar = element("span", { class: "bar" });
      field.dataset.input = input;
      this.fields.push({ input, field, bar });
      const name = input < 0 ? "bias" : layer === 1 ? this.nameOf(0, input) : `neuron ${input + 1}`;
      return element("label", {}, element("span", { text: name }), field, bar);
    });
    $("neuron-weights").replaceChildren(...labels);
    this.refresh(true);
  }

  // Show the present values; not in the field that is being edited.
  refresh(always = false) {
    if (!this.node) return;
    const { layer, node } = this.node;
    const { trainer } = this.lab;
    for (const { input, field, bar } of this.fields) {
      const value = input < 0 ? trainer.bias(layer, node) : trainer.weight(layer, node, input);
      const dead = input >= 0 && trainer.isDead(layer, node, input);
      bar.style.backgroundColor = cssColour(value);
      field.title = dead ? "L1 has set this weight to 0 for good" : "";
      if (!always && field === document.activeElement) continue;
      const text = Number.isFinite(value) ? String(Number(value.toPrecision(4))) : "";
      if (field.value !== text) field.value = text;
    }
    const activation = trainer.activationOf(layer - 1);
    const more = trainer.sizes[layer - 1] > FIELDS ? ` The first ${FIELDS} of ${trainer.sizes[layer - 1]} weights.` : "";
    const call = { linear: "", relu: "ReLU" }[activation] ?? activation;
    const about = `${this.nameOf(layer, node)} = ${call}(bias + sum of weight · input).${more}`;
    if ($("neuron-about").textContent !== about) $("neuron-about").textContent = about;
  }

  edit(field) {
    const value = Number(field.value);
    if (!field.value.trim() || !Number.isFinite(value)) {
      this.refresh(true);
      return;
    }
    const { layer, node } = this.node;
    const input = Number(field.dataset.input);
    if (input < 0) this.lab.trainer.setBias(layer, node, value);
    else this.lab.trainer.setWeight(layer, node, input, value);
    this.lab.emit("trained");
  }

  focus(input) {
    const found = this.fields.find((each) => each.input === input);
    found?.field.focus();
    found?.field.select();
  }
}
