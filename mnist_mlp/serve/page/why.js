"use strict";
// "Why?": maps of the ink that decided and the nearest training images, below the prediction once they are asked for.

let wanted = false; // whether they are shown
let explaining = false;
let outdated = false;
let chosen = {}; // the class `against` that was selected to compare with, and the prediction `about` that it holds for

function reconsider() { // called whenever another prediction is shown
  $("ask-why").disabled = shown === null && !wanted;
  if (!wanted) return;
  outdated = true;
  $("why").classList.add("outdated");
  if (!explaining && drawing === null) explain(); // of finished strokes only
}

async function explain() {
  explaining = true;
  try {
    while (outdated && drawing === null) {
      outdated = false;
      const about = shown;
      const explanation = about && (await explanationOf(about));
      if (about !== shown || outdated) continue;
      showReasons(explanation, about);
      if (explanation && explanation.neighbours.pending) setTimeout(reconsider, 1000);
    }
  } catch (error) {
    $("why-words").textContent = error.reported ? error.message : "The server does not respond. Is it still running?";
  } finally {
    explaining = false;
  }
}

async function explanationOf(about) { // compared with the second most likely class, unless another one is of interest
  const predicted = about.probabilities.indexOf(Math.max(...about.probabilities));
  let against = null;
  if (chosen.about === about) against = chosen.against;
  else if (example !== null && example.label !== predicted) against = example.label;
  const query = against === null ? "" : `?against=${against}`;
  return (await post(`v1/models/mnist:explain${query}`, about.image)).explanations[0];
}

// ---- showing ---------------------------------------------------------------------------------------------------------

function showReasons(explanation, about) {
  $("why").classList.remove("outdated");
  $("reasons").hidden = $("question").hidden = explanation === null;
  if (explanation === null) {
    $("why-words").textContent = `${document.title.split(" · ")[0]} to see why it is recognized.`;
    return;
  }
  const { predicted, against, margin, neighbours } = explanation;
  $("why-predicted").textContent = a(predicted);
  offer(predicted, against);
  for (const name of ["gradient_times_input", "occlusion"]) {
    paintMap($(name), explanation[name], about.image);
    const where = [[1, predicted], [-1, against]].map(([sign, which]) => `for ${a(which)} ${strongest(explanation[name], sign)}`);
    $(name).setAttribute("aria-label", `Map of the ink that argues most ${where.join(", and ")}`);
  }
  $("argues-for").textContent = `for ${a(predicted)}`;
  $("argues-against").textContent = `for ${a(against)}`;
  const same = neighbours.images.filter(({ label }) => label === predicted).length;
  const score = `The score (logit) of ${a(predicted)} is ${rounded(margin)} above that of ${a(against)}.`;
  const count = neighbours.images.length;
  const share = same === count ? `All ${count}` : `${same || "None"} of the ${count}`;
  const known = count ? ` ${share} nearest training images are labelled ${classes[predicted]}.` : "";
  $("why-words").textContent = score + known;
  $("neighbours").replaceChildren(...neighbours.images.map((each) => neighbour(each, predicted)));
  $("neighbours-note").textContent = noteOn(neighbours);
}

function offer(predicted, against) { // the classes to compare with
  const select = $("against");
  if (select.children.length === 0) {
    select.append(...classes.map((_, which) => Object.assign(element("option", "", a(which)), { value: which })));
  }
  [...select.children].forEach((option, which) => { option.disabled = which === predicted; });
  select.value = against;
}

function neighbour({ index, label, distance, image }, predicted) {
  const item = element("li", label === predicted ? "" : "other");
  const canvas = element("canvas");
  canvas.width = canvas.height = 28;
  paint(canvas, image);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Training image ${index}, ${a(label)}, at distance ${rounded(distance)}`);
  const words = [element("b", "", classes[label]), element("span", "", rounded(distance))];
  for (const each of words) each.setAttribute("aria-hidden", "true"); // the picture's label says the same
  item.append(canvas, ...words);
  return item;
}

function noteOn({ layer, compared, trained_on, median_distance, images, pending, note }) {
  if (pending) return "The network is still reading the training images …";
  if (images.length === 0) return note;
  const count = (number) => number.toLocaleString("en");
  const which = compared === trained_on ? `All ${count(compared)}` : `${count(compared)} of the ${count(trained_on)}`;
  const where = layer === "pixels" ? "between the pixels, since this network has no hidden layer" : `between the outputs of the last hidden layer, ${layer}`;
  return `The number below the label is the Euclidean distance ${where}. ${which} images that the network was trained on were compared; half of them are farther away than ${rounded(median_distance)}.`;
}

function rounded(number) { // to three digits or more
  return number.toFixed(number < 9.995 ? 2 : number < 99.95 ? 1 : 0);
}

function paintMap(canvas, values, image) { // both 28 × 28; the strength of a colour is relative to the largest value
  const context = canvas.getContext("2d");
  const largest = Math.max(...values.flat().map(Math.abs)) || 1;
  const [ink, positive, negative] = [colour("--ink"), colour("--accent"), colour("--warm")];
  context.clearRect(0, 0, 28, 28);
  for (let i = 0; i < 784; i++) {
    const [row, column] = [Math.floor(i / 28), i % 28];
    const value = values[row][column];
    for (const [style, alpha] of [[ink, 0.15 * (image[row][column] / 255)], [value < 0 ? negative : positive, Math.abs(value) / largest]]) {
      context.globalAlpha = alpha;
      context.fillStyle = style;
      context.fillRect(column, row, 1, 1);
    }
  }
  context.globalAlpha = 1;
}

function strongest(values, sign) { // where a map is most positive (sign 1) or negative (-1), in words
  const flat = values.flat().map((value) => sign * value);
  const most = flat.indexOf(Math.max(...flat));
  if (flat[most] <= 0) return "is nowhere";
  const vertical = ["top", "", "bottom"][Math.floor((3 * Math.floor(most / 28)) / 28)];
  const horizontal = ["left", "", "right"][Math.floor((3 * (most % 28)) / 28)];
  return `is at the ${[vertical, horizontal].filter(Boolean).join(" ") || "centre"}`;
}

// ---- asking ----------------------------------------------------------------------------------------------------------

$("ask-why").addEventListener("click", () => {
  wanted = !wanted;
  $("ask-why").setAttribute("aria-expanded", String(wanted));
  $("why").hidden = !wanted;
  reconsider();
  if (wanted) $("why").scrollIntoView({ block: "nearest" });
});
$("against").addEventListener("change", () => {
  chosen = { about: shown, against: Number($("against").value) };
  reconsider();
});
