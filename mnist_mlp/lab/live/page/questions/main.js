// The questions, one at a time: its address is that of the question, and what was answered stays in the browser.

import { $, announce, element } from "../dom.js";
import { connectLargerType, keep, kept } from "../larger_type.js";
import { answer } from "./answer.js";

const ANSWERS = "mnist_mlp.lab.answers"; // {name of the question: index of the choice}
const LETTERS = "ABCDEF";

let cards = [];
let measurements = {};
let card = null; // the one on the screen
let revealed = new Set(); // names of those whose answer was asked for without one's own

// What was chosen for a question; -1 if nothing, or nothing that there is.
function chosen({ name, choices }) {
  const found = kept(ANSWERS)[name];
  return Number.isInteger(found) && found >= 0 && found < choices.length ? found : -1;
}

// ---- the card ------------------------------------------------------------------------------------------------------

function show() {
  const k = cards.indexOf(card);
  document.title = `${card.question} · mnist_mlp`;
  $("where").textContent = `${card.part} · ${k + 1} of ${cards.length}`;
  $("question").textContent = card.question;
  $("before").disabled = k === 0;
  $("next").disabled = k === cards.length - 1;
  $("choices").replaceChildren(...card.choices.map((text, index) => {
    const button = element("button", { type: "button", class: "choice" }, element("b", { "aria-hidden": "true", text: LETTERS[index] }), element("span", { text }), element("i"));
    button.addEventListener("click", () => choose(index));
    return button;
  }));
  $("answer").replaceChildren();
  mark();
  showContents();
}

// Mark the choices and show the answer, as far as they are known to the one who looks.
function mark() {
  const mine = chosen(card);
  const open = mine >= 0 || revealed.has(card.name);
  [...$("choices").children].forEach((button, index) => {
    const right = open && index === card.right;
    const wrong = index === mine && card.right !== null && !right;
    button.setAttribute("aria-pressed", String(index === mine));
    button.classList.toggle("right", right);
    button.classList.toggle("wrong", wrong);
    button.lastChild.textContent = right ? "✓ measured" : wrong ? "✗" : "";
  });
  $("reveal").setAttribute("aria-expanded", String(open));
  $("reveal").hidden = mine >= 0;
  $("reveal").textContent = open ? "Hide the answer" : "Show the answer";
  $("answer").hidden = !open;
  if (open && !$("answer").hasChildNodes()) $("answer").append(...answer(card, measurements));
}

function choose(index) {
  keep(ANSWERS, { ...kept(ANSWERS), [card.name]: index });
  if (chosen(card) !== index) revealed.add(card.name); // the browser keeps nothing
  mark();
  showContents();
  const verdict = card.right === null ? "These measurements decide nothing." : index === card.right ? "Right." : `Not so: ${card.choices[card.right]}.`;
  announce(`${verdict} ${card.why}`);
}

function reveal() {
  if (!revealed.delete(card.name)) revealed.add(card.name);
  mark();
}

function go(step) {
  const next = cards[cards.indexOf(card) + step];
  if (next) location.hash = next.name;
}

// ---- the list of all -----------------------------------------------------------------------------------------------

function showContents() {
  const parts = [...new Set(cards.map(({ part }) => part))];
  $("contents").replaceChildren(...parts.flatMap((part) => [
    element("h3", { text: part }),
    element("ol", { start: cards.findIndex((each) => each.part === part) + 1 }, ...cards.filter((each) => each.part === part).map(entry)),
  ]));
  const list = $("contents").closest("section");
  if (list.scrollHeight > list.clientHeight) list.scrollTop = document.querySelector("[aria-current=true]").offsetTop - list.clientHeight / 2;
  const answered = cards.filter((each) => chosen(each) >= 0);
  const right = answered.filter((each) => chosen(each) === each.right).length;
  $("score").hidden = $("again").hidden = !answered.length;
  $("score").textContent = `${answered.length} of ${cards.length} answered, ${right} of them as measured.`;
}

function entry(each) {
  const mine = chosen(each);
  const link = element("a", { href: `#${each.name}`, text: each.question });
  if (each === card) link.setAttribute("aria-current", "true");
  const item = element("li", {}, link);
  if (mine >= 0) {
    const right = mine === each.right;
    item.append(element("span", { class: right ? "yes" : "no", "aria-hidden": "true", text: right ? " ✓" : " ✗" }), element("span", { class: "unseen", text: right ? " (answered as measured)" : " (answered otherwise)" }));
  }
  return item;
}

// ---- buttons, keys, address ----------------------------------------------------------------------------------------

$("before").addEventListener("click", () => go(-1));
$("next").addEventListener("click", () => go(1));
$("reveal").addEventListener("click", reveal);
$("again").addEventListener("click", () => {
  keep(ANSWERS, {});
  revealed = new Set();
  show();
  $("card").focus();
});
document.addEventListener("keydown", (event) => {
  if (!card || event.ctrlKey || event.metaKey || event.altKey || event.target.closest(".scroll, summary")) return;
  const index = LETTERS.indexOf(event.key.toUpperCase());
  if (event.key === "ArrowRight") go(1);
  else if (event.key === "ArrowLeft") go(-1);
  else if (event.key.length === 1 && index >= 0 && index < card.choices.length) choose(index);
});

function open() {
  const name = location.hash.slice(1);
  const before = card;
  card = cards.find((each) => each.name === name) ?? card ?? cards[0];
  if (card !== before) show();
  if (before && card !== before) { // a link or a key: what has changed is read from its beginning
    $("card").focus({ preventScroll: true });
    $("card").scrollIntoView({ block: "nearest" });
  }
}

async function start() {
  connectLargerType();
  try {
    ({ cards, measurements } = await (await fetch("page/questions/questions.json")).json());
  } catch {
    $("question").textContent = "The server does not respond. Is it still running?";
    return;
  }
  addEventListener("hashchange", open);
  open();
}

start();
