// The page: connects the runs with what shows them, and draws at most once a frame.

import { $, announce } from "../dom.js";
import { connectLargerType } from "../larger_type.js";
import { Answers } from "./answers.js";
import { Curves } from "./curves.js";
import { Inside } from "./inside.js";
import { Order } from "./order.js";
import { ask } from "./requests.js";
import { RunList } from "./run_list.js";
import { Runs, titleOf } from "./runs.js";

const LOOK = 10_000; // milliseconds between two looks at which runs there are
const NEWS = 10; // seconds for which a change is news to those who hear the page
const AGAIN = 3000; // milliseconds until a server that did not answer is asked again

const runs = new Runs();
const curves = new Curves(runs);
const troubles = new Map(); // by where they come from

function complain(source) {
  return (message) => {
    if (message) troubles.set(source, message);
    else troubles.delete(source);
    const text = [...troubles.values()].join(" ");
    if ($("trouble").textContent !== text) $("trouble").textContent = text;
    $("trouble").hidden = !text;
  };
}

// ---- drawing: what has changed since the last frame ----------------------------------------------------------------

const stale = new Set();
let waiting = false;

function redraw(what) {
  stale.add(what);
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(draw);
}

function draw() {
  waiting = false;
  const now = new Set(stale);
  stale.clear();
  if (now.has("runs")) list.build();
  else if (now.has("points")) for (const run of runs.list) list.refresh(run);
  curves.draw();
}

let list = null;

function connect(about) {
  const readOnly = about.read_only;
  $("looking-on").hidden = !readOnly;
  const inside = new Inside({ readOnly, ask: (run, body, words) => list.command(run, body, words) });
  list = new RunList(runs, { readOnly, chosen: (run) => inside.show(run), complain: complain("command") });
  // The newest run that trains is looked into, until somebody chooses one.
  let byHand = false;
  $("runs").addEventListener("click", (event) => (byHand ||= event.target.closest(".title") !== null));
  const choose = () => {
    const gone = !runs.all.has(list.selected);
    const newest = runs.list.findLast(({ state }) => state === "training") ?? (gone ? runs.list.findLast(({ look }) => look) ?? runs.list.at(-1) : null);
    if (gone) byHand = false;
    if (newest && newest.name !== list.selected && !byHand && list.items.has(newest.name)) list.select(newest);
    else if (gone && !newest) inside.show(null);
  };
  const states = new Map();
  runs.on("runs", () => {
    redraw("runs");
    inside.showStanding();
    requestAnimationFrame(choose);
    for (const run of runs.list) {
      const before = states.get(run.name);
      states.set(run.name, run.state);
      const now = Date.now() / 1000 - run.since < NEWS; // a page that has just opened does not announce the past
      if (now && before && before !== run.state && ["finished", "failed", "stopped", "paused"].includes(run.state)) {
        announce(`${titleOf(run)}: ${run.state}. ${run.message}`);
        curves.describe();
      }
    }
  });
  runs.on("points", () => redraw("points"));
  runs.on("look", (run) => inside.showLook(run));
  runs.on("scores", (run) => inside.showScores(run));
  runs.on("connection", () => complain("connection")(runs.connected ? "" : "The server does not respond; what is missed comes when it does."));
  if (!readOnly) {
    new Order(about, () => runs.refresh());
    new Answers(runs, complain("drawing"));
  }
  document.body.classList.toggle("read-only", readOnly);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw("points"));
  runs.connect();
  setInterval(() => document.hidden || runs.refresh(), LOOK); // another page may have hidden a run
}

async function start() {
  let about;
  try {
    about = await ask("");
  } catch (error) {
    complain("start")(error.message);
    setTimeout(start, AGAIN);
    return;
  }
  complain("start")("");
  connect(about);
}

addEventListener("error", (event) => complain("page")(`The page failed: ${String(event.message).slice(0, 200)}. Reload it to go on.`));
connectLargerType(() => redraw("points"));
start();

export { runs };
