// Pictures of digits, and the bars of the ten probabilities.

import { element } from "../dom.js";

// Return the bytes of a base64 text.
export function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

// Draw 28 × 28 grey levels.
export function grey(canvas, levels) {
  canvas.width = canvas.height = 28;
  const context = canvas.getContext("2d");
  const image = context.createImageData(28, 28);
  for (let k = 0; k < 784; k++) image.data.set([levels[k], levels[k], levels[k], 255], 4 * k);
  context.putImageData(image, 0, 0);
}

// Show ten probabilities in a list, which is filled the first time; `label` is the true digit, if known.
export function bars(list, probabilities = null, label = null) {
  if (!list.children.length) {
    list.append(...Array.from({ length: 10 }, (_, digit) => element("li", {}, element("span", { text: String(digit) }), element("span", { class: "track", "aria-hidden": "true" }, element("span", { class: "fill" })), element("span", { class: "value" }))));
  }
  const best = probabilities ? probabilities.indexOf(Math.max(...probabilities)) : -1;
  [...list.children].forEach((row, digit) => {
    const share = probabilities?.[digit] ?? 0;
    row.classList.toggle("best", digit === best);
    row.classList.toggle("true", digit === label);
    row.children[1].firstChild.style.setProperty("width", `${100 * share}%`);
    row.children[2].textContent = probabilities ? `${(100 * share).toFixed(1)}%` : "";
  });
  return best;
}
