// Small helpers for the document.

export const $ = (id) => document.getElementById(id);

// Return a new element with properties (class, text, or any attribute) and children.
export function element(tag, { class: name = "", text = "", ...attributes } = {}, ...children) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Say something to those who do not see the page. Used sparingly: at the end of what someone asked for.
export function announce(words) {
  $("status").textContent = words;
}

// Return the value of a custom property of the style sheet, such as "--test"; it differs between light and dark.
const found = new Map();
export function colour(name) {
  if (!found.has(name)) found.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
  return found.get(name);
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => found.clear());

// Make a canvas as many pixels large as it is shown, and return its context in CSS pixels, cleared.
export function sharp(canvas, width = canvas.clientWidth, height = canvas.clientHeight) {
  const ratio = Math.min(devicePixelRatio || 1, 2); // more is not seen, but costs time
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

// Return a number as the page shows it: "0.123", "1.2e+7", "–" for nan.
export function shown(value, digits = 3) {
  if (Number.isNaN(value) || value === null || value === undefined) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const text = Math.abs(value) >= 1e6 ? value.toExponential(1) : value.toFixed(digits);
  return text.replace("-", "−");
}

export function percent(share) {
  return Number.isFinite(share) ? `${(100 * share).toFixed(1)}% correct` : "";
}

// Offer a text as a file to save.
export function save(name, text, type) {
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// Copy a text, and say so on the button that asked for it.
export async function copy(text, button) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch { // no permission, or the page is not on a secure address
    button.textContent = copiedBySelection(text) ? "Copied" : "The browser does not allow it";
  }
  announce(button.textContent);
  setTimeout(() => (button.textContent = label), 1500);
}

function copiedBySelection(text) {
  const area = element("textarea", { class: "unseen", "aria-hidden": "true" });
  area.value = text;
  const dialog = document.querySelector("dialog[open]") ?? document.body; // a dialog takes the focus from all else
  dialog.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  return copied;
}
