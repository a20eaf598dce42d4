// A drawn digit is sent to the server, and what each run makes of it is shown: again when the networks have learned more.

import { $, element } from "../dom.js";
import { Paper } from "./paper.js";
import { bars } from "./pictures.js";
import { ask } from "./requests.js";
import { titleOf } from "./runs.js";

const EVERY = 1000; // milliseconds between two answers about the same drawing

export class Answers {
  constructor(runs, complain) {
    this.runs = runs;
    this.complain = complain;
    this.asking = false;
    this.stale = false;
    this.paper = new Paper(() => this.ask());
    this.rows = new Map(); // elements by the name of the run
    $("draw").hidden = false;
    runs.on("look", () => this.again());
  }

  // The networks have changed: ask about the same drawing, at most once in a while.
  again() {
    if (!this.paper.strokes.length || this.timer) return;
    this.timer = setTimeout(() => {
      this.timer = null;
      this.ask();
    }, EVERY);
  }

  // One request at a time, always for the newest drawing.
  async ask() {
    this.stale = true;
    if (this.asking) return;
    this.asking = true;
    try {
      while (this.stale) {
        this.stale = false;
        const picture = this.paper.picture;
        if (picture === null) this.show([]);
        else this.show((await ask("/predict", { instances: [{ b64: picture }] })).runs);
      }
      this.complain("");
    } catch (error) {
      this.complain(error.message);
    } finally {
      this.asking = false;
    }
    if (this.stale) this.ask(); // what was drawn meanwhile
  }

  show(found) {
    const list = found.filter(({ run }) => this.runs.all.has(run));
    $("answers").replaceChildren(...list.map(({ run, answer }) => this.row(this.runs.all.get(run), answer)));
  }

  row(run, answer) {
    if (!this.rows.has(run.name)) {
      const parts = { words: element("b", { class: "said" }), title: element("span", { class: "title" }), list: element("ol", { class: "bars-of-digits" }) };
      parts.item = element("li", {}, element("div", { class: "answer-head" }, element("span", { class: `swatch run-${run.colour}`, "aria-hidden": "true" }), parts.words, parts.title), parts.list);
      this.rows.set(run.name, parts);
    }
    const { item, words, title, list } = this.rows.get(run.name);
    title.textContent = titleOf(run);
    const best = bars(list, answer?.probabilities ?? null);
    words.textContent = answer ? String(best) : "–";
    list.setAttribute("aria-label", `${titleOf(run)}: ${answer ? `most likely ${best}` : "no weights yet"}`);
    return item;
  }
}
