// Controls that an address hides, for a class that need not see them: NAME_hide=true, as in the original.

import { $, element } from "./dom.js";

const CONTROLS = [ // name in the address, in words, the element
  ["playButton", "Play button", "#play"],
  ["stepButton", "Step button", "#step"],
  ["resetButton", "Reset button", "#reset"],
  ["learningRate", "Learning rate", "#learningRate"],
  ["activation", "Activation", "#activation"],
  ["regularization", "Regularization", "#regularization"],
  ["regularizationRate", "Regularization rate", "#regularizationRate"],
  ["problem", "Problem", "#problem"],
  ["dataset", "Data sets", "#sets"],
  ["percTrainData", "Share of training points", "#percTrainData"],
  ["noise", "Noise", "#noise"],
  ["batchSize", "Batch size", "#batchSize"],
  ["numHiddenLayers", "Number of hidden layers", "#layer-count"],
  ["showTestData", "Show test data", "#showTestData"],
  ["discretize", "Discretize output", "#discretize"],
];

export class HiddenControls {
  constructor(lab) {
    this.lab = lab;
    this.boxes = CONTROLS.map(([name, words]) => {
      const box = element("input", { type: "checkbox" });
      box.addEventListener("change", () => {
        const others = lab.state.hidden.filter((each) => each !== name);
        lab.change({ hidden: box.checked ? [...others, name] : others });
      });
      $("hide-list").append(element("label", { class: "check" }, box, words));
      return box;
    });
    lab.on("state", () => this.show());
  }

  show() {
    CONTROLS.forEach(([name, , selector], k) => {
      const control = document.querySelector(selector);
      const hidden = this.lab.state.hidden.includes(name);
      (control.closest(".amount, label") ?? control).hidden = hidden;
      this.boxes[k].checked = hidden;
    });
  }
}
