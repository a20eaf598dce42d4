// What is stored in this browser: named states and preferences. Where the browser does not allow that, all else works.

import { $, announce, element } from "./dom.js";
import { fragment, parse } from "./state.js";

const STATES = "mnist_mlp.lab.states"; // [{name, address, points}]
const PREFERENCES = "mnist_mlp.lab.preferences";
const MOST = 200; // states; the oldest leave

export class Kept {
  // Return a stored list or object; `otherwise` if there is none that can be used.
  read(key, otherwise) {
    try {
      const found = JSON.parse(localStorage.getItem(key));
      return found && typeof found === "object" && Array.isArray(found) === Array.isArray(otherwise) ? found : otherwise;
    } catch {
      return otherwise;
    }
  }

  write(key, value) {
    try {
      localStorage.setItem(key, JSON.stringify(value));
      return true;
    } catch { // blocked, or full
      return false;
    }
  }

  preference(name) {
    return this.read(PREFERENCES, {})[name];
  }

  setPreference(name, value) {
    this.write(PREFERENCES, { ...this.read(PREFERENCES, {}), [name]: value });
  }

  connect(lab) {
    this.lab = lab;
    $("keep").addEventListener("submit", (event) => {
      event.preventDefault();
      const { name } = event.target.elements;
      this.keep(name.value.trim().slice(0, 80));
      name.value = "";
    });
    this.show();
  }

  get states() {
    return this.read(STATES, []).filter((each) => typeof each?.name === "string" && typeof each.address === "string");
  }

  keep(name) {
    if (!name) return;
    const { state } = this.lab;
    const entry = { name, address: fragment(state), points: state.ownPoints };
    const states = [...this.states.filter((each) => each.name !== name), entry].slice(-MOST);
    const done = this.write(STATES, states);
    this.show();
    const words = done
      ? `Saved as ${name}.`
      : "This browser does not let the page store it, or is full; copy the address instead.";
    $("kept-note").textContent = words;
    announce(words);
  }

  show() {
    const rows = this.states.map(({ name, address, points }) => {
      const open = element("button", { type: "button", text: "Open", "aria-label": `Open ${name}` });
      open.addEventListener("click", () => {
        const { state } = parse(address);
        this.lab.show(points ? { ...state, ownPoints: pointsOf(points, state.problem) } : state);
      });
      const remove = element("button", { type: "button", text: "Remove", "aria-label": `Remove ${name}` });
      remove.addEventListener("click", () => {
        this.write(STATES, this.states.filter((each) => each.name !== name));
        this.show();
      });
      return element("li", {}, element("span", { class: "name", text: name }), open, remove);
    });
    $("kept-list").replaceChildren(...rows);
  }
}

// Return stored points if they are some; another program may have written there.
function pointsOf(points, problem) {
  const fits = (label) => problem === "regression" || Math.abs(label) === 1;
  const good = Array.isArray(points) && points.every((each) => [each?.x, each?.y, each?.label].every(Number.isFinite) && fits(each.label));
  return good ? points.map(({ x, y, label }) => ({ x, y, label })) : null;
}
