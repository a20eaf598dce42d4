// The answer to a question: why, what was measured, its figure, where the numbers come from, and what to try.

import { element } from "../dom.js";
import { figure } from "./figures.js";

const MARKS = new Map([[true, ["✓", "yes", "holds: "]], [false, ["✗", "no", "does not hold: "]]]);

// Return the elements of the answer.
export function answer(card, measurements) {
  const parts = [element("p", { class: "why", text: card.why })];
  const columns = element("div", { class: "columns-of-answer" });
  if (card.figure) columns.append(figure(card.figure));
  columns.append(claimsTable(card.claims));
  parts.push(columns);
  const links = [];
  if (card.training) links.push(element("a", { href: `network#${card.training}`, text: "Watch it learn" }));
  if (card.playground) links.push(element("a", { href: `./#${card.playground}`, text: "Try it in the Playground" }));
  if (links.length) parts.push(element("p", { class: "try" }, ...links));
  parts.push(...card.measured_by.map((name) => provenance(measurements[name])));
  return parts;
}

function claimsTable(claims) {
  const rows = claims.map(({ claim, arithmetic, measured, holds }) => {
    const [mark, name, words] = MARKS.get(holds) ?? (holds === null ? ["", "", ""] : ["–", "", ""]);
    const sign = element("td", { class: name }, element("span", { "aria-hidden": "true", text: mark }), element("span", { class: "unseen", text: words }));
    return element("tr", {}, sign, element("th", { scope: "row", text: claim }), element("td", { text: arithmetic }), element("td", { text: measured }));
  });
  const heads = ["", "What", "How", "Measured"].map((text) => element("th", { scope: "col", text: text || " " }));
  heads[0].replaceChildren(element("span", { class: "unseen", text: "Verdict" }));
  const table = element("table", { class: "claims" }, element("caption", { class: "unseen", text: "What was measured" }),
    element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows));
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "What was measured" }, table);
}

function provenance({ command, machine, date, dataset, epochs, seeds, versions }) {
  const images = `${dataset.train_examples.toLocaleString("en")} training and ${dataset.test_examples.toLocaleString("en")} test images`;
  const software = Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(", ");
  const text = ` on ${dataset.name} (${images}), ${epochs} epochs, ${seeds.length} seeds; ${machine}; ${software}; ${date}.`;
  return element("p", { class: "note" }, element("code", { text: command }), text);
}
