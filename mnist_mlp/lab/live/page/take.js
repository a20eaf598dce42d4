// What leaves the page: its address, files of data, weights and history, and the Keras program.

import { $, copy, save } from "./dom.js";
import * as exports from "./exports.js";
import { kerasProgram } from "./keras_program.js";
import { LIMITS, NOISE_LIMIT, PAGE, fragment, isAddress } from "./state.js";

export function connectTake(lab, report) {
  $("copy-address").addEventListener("click", (event) => copy(location.href, event.currentTarget));
  $("copy-original").addEventListener("click", (event) => copy(PAGE + fragment(lab.state), event.currentTarget));
  $("open-address").addEventListener("submit", (event) => {
    event.preventDefault();
    const { address } = event.target.elements;
    if (isAddress(address.value)) {
      report(lab.open(address.value));
      address.value = "";
    } else {
      const received = `“${address.value.trim().slice(0, 60)}”`;
      report([`expected a Playground address or its keys, received ${received}; nothing was changed`]);
    }
    $("main").focus();
  });
  for (const button of document.querySelectorAll("[data-export]")) {
    button.addEventListener("click", () => download(lab, button.dataset.export, button.dataset.format));
  }
  $("as-keras").addEventListener("click", () => showKeras(lab));
  $("keras-close").addEventListener("click", () => $("keras").close());
  $("keras-copy").addEventListener("click", (event) => copy($("keras-text").textContent, event.currentTarget));
  $("keras-save").addEventListener("click", () => save("playground.py", $("keras-text").textContent, "text/x-python"));
}

function download(lab, what, format) {
  const name = `${what}${format === "csv" ? "Csv" : "Json"}`; // such as dataCsv
  save(`playground-${what}.${format}`, exports[name](lab.trainer), format === "csv" ? "text/csv" : "application/json");
}

function showKeras(lab) {
  $("keras-text").textContent = kerasProgram(lab.trainer);
  $("keras").showModal();
}

// Say what of the state the original cannot show.
export function addressNote(state) {
  if (state.ownPoints?.length > LIMITS.pointsInAddress) {
    const most = LIMITS.pointsInAddress.toLocaleString("en");
    return `An address holds at most ${most} points; save this state below, or save the data as a file.`;
  }
  const beyond = [];
  if (state.ownPoints) beyond.push("your own points");
  if (state.weightsSeed !== null) beyond.push("the seed of the weights");
  const large = state.networkShape.length > 6 || state.networkShape.some((units) => units > 8);
  if (large) beyond.push("menus for a network of this size");
  if (state.noise > NOISE_LIMIT) beyond.push("this much noise");
  const present = "The address of this page always shows the present settings";
  return beyond.length
    ? `${present}. playground.tensorflow.org opens it, too, but lacks ${beyond.join(", ")}.`
    : `${present}; playground.tensorflow.org opens the same run.`;
}
