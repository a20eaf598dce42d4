// The lecture's ten exercises: question, states to set up, what ten seeds gave, and the answer, hidden until asked for.

import { $, announce, element, shown } from "./dom.js";

const WATCHED = 1500; // epochs that one may want to watch one by one; more go as fast as possible

export class Lesson {
  constructor(lab, kept) {
    this.lab = lab;
    this.kept = kept;
    this.exercises = null;
    $("show-lesson").addEventListener("click", () => this.toggle($("lesson").hidden));
  }

  toggle(open) {
    $("lesson").hidden = !open;
    $("show-lesson").setAttribute("aria-expanded", String(open));
    document.body.classList.toggle("lesson-open", open);
    this.kept.setPreference("lesson", open);
  }

  // Read the exercises when the page opens: afterwards it does not need the server.
  async load() {
    try {
      this.exercises = await (await fetch("page/exercises.json")).json();
    } catch {
      $("exercise").textContent = "The server does not respond. Is it still running?";
      return;
    }
    const buttons = this.exercises.map(({ number, title }) => {
      const name = `Exercise ${number}: ${title}`;
      const button = element("button", { type: "button", text: String(number), title, "aria-label": name });
      button.addEventListener("click", () => this.show(number));
      return button;
    });
    $("exercise-numbers").replaceChildren(...buttons);
    this.show(this.kept.preference("exercise") ?? 1);
  }

  show(number) {
    const exercise = this.exercises.find((each) => each.number === number) ?? this.exercises[0];
    [...$("exercise-numbers").children].forEach((each, k) =>
      each.setAttribute("aria-pressed", String(k + 1 === exercise.number)));
    this.kept.setPreference("exercise", exercise.number);
    const { title, question, trials, answer, seeds } = exercise;
    $("exercise").replaceChildren(
      element("h3", { text: `${exercise.number}. ${title}` }),
      element("p", { class: "question", text: question }),
      ...trials.map((trial) => this.trial(trial, seeds)),
      element("details", { class: "answer" }, element("summary", { text: "Show the answer" }), answerList(answer, seeds)),
    );
  }

  trial(trial, seeds) {
    const set = element("button", { type: "button", text: "Set it up", "aria-label": `Set it up: ${trial.name}` });
    set.addEventListener("click", () => this.setUp(trial));
    const head = element("div", { class: "trial-head" }, element("b", { text: trial.name }), set);
    const part = element("div", { class: "trial" }, head);
    if (trial.epochs) part.append(table(trial, seeds));
    return part;
  }

  setUp(trial) {
    this.lab.open(`#${trial.url}`);
    if (trial.epochs) $("until-epoch").value = $("repeat").elements.epochs.value = trial.epochs;
    $("speed").value = trial.epochs > WATCHED ? "fast" : "frame";
    $("speed").dispatchEvent(new Event("change"));
    announce(`${trial.name} is set up${trial.epochs ? `, to run to epoch ${trial.epochs}` : ""}.`);
  }
}

// What the seeds gave, beside the lecture's own run where the slides have one.
function table({ epochs, test, train, same_data: sameData, lecture }, seeds) {
  const kind = `${epochs.toLocaleString("en")} epochs, ${seeds} ${sameData ? "restarts" : "seeds"}`;
  const head = ["loss", "median [range]", ...(lecture ? ["lecture"] : [])];
  const rows = [["test", test, lecture?.test], ["training", train, lecture?.train]].map(([name, { median, min, max }, once]) => {
    const cells = [`${shown(median)} [${shown(min)}..${shown(max)}]`, ...(lecture ? [shown(once)] : [])];
    return element("tr", {}, element("th", { scope: "row", text: name }), ...cells.map((text) => element("td", { text })));
  });
  return element("table", {}, element("caption", { text: kind }),
    element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col", text })))),
    element("tbody", {}, ...rows));
}

function answerList(answer, seeds) {
  const marks = new Map([[true, ["✓", "yes", "holds: "]], [false, ["✗", "no", "does not hold: "]]]);
  const items = answer.map(({ text, holds }) => {
    const [mark, name, words] = marks.get(holds) ?? ["·", "", ""];
    const sign = element("span", { class: name, "aria-hidden": "true", text: mark });
    return element("li", {}, sign, element("span", {}, element("span", { class: "unseen", text: words }), text));
  });
  const note = `Measured with ${seeds} seeds; ✓ and ✗ say whether the numbers confirm a claim.`;
  return element("div", {}, element("ul", {}, ...items), element("p", { class: "note", text: note }));
}
