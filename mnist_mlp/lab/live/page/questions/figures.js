// The figures of the answers: bars or dots beside their numbers, and lines as SVG with a table of their points.

import { element, shown } from "../dom.js";

const SVG = "http://www.w3.org/2000/svg";
const COLOURS = 8; // in lab.css
const POWERS = 5; // of ten on an axis, at most
const HEIGHT = 15; // of a chart, in units of its type
const MARGIN = { left: 5, right: 1, top: .8, bottom: 2.6 }; // the same

export function figure(data) {
  const caption = element("figcaption", {}, element("b", { text: data.title }));
  const made = element("figure", { class: "figure" }, caption);
  made.append(data.kind === "bars" ? bars(data) : lines(data));
  if (data.kind === "lines") made.append(key(data), points(data));
  return made;
}

// ---- bars ----------------------------------------------------------------------------------------------------------

// Where the axis does not begin at 0 a bar would lie about shares, so a dot stands at the value.
function bars({ rows, start, end }) {
  const most = end ?? Math.max(...rows.map(({ value }) => value));
  const items = rows.map(({ label, value, text }) => {
    const mark = element("span", { class: start ? "dot-at" : "bar-to" });
    const share = `${100 * Math.min(1, Math.max(0, (value - start) / (most - start)))}%`;
    mark.style.setProperty(start ? "left" : "width", share);
    return element("li", {}, element("span", { class: "label", text: label }), element("span", { class: "track", "aria-hidden": "true" }, mark), element("span", { class: "value", text }));
  });
  const parts = [element("ul", { class: "bars" }, ...items)];
  if (end !== null) {
    const ends = element("span", { class: "ends" }, element("span", { text: String(start) }), element("span", { text: String(end) }));
    parts.push(element("div", { class: "bars-axis", "aria-hidden": "true" }, element("span"), ends, element("span")));
  }
  return element("div", {}, ...parts);
}

// ---- lines ---------------------------------------------------------------------------------------------------------

function lines(data) {
  const svg = drawn("svg", { role: "img", "aria-label": description(data) });
  new ResizeObserver(() => draw(svg, data)).observe(svg);
  return svg;
}

function description({ title, x, y, series }) {
  const each = series.map(({ name, points }) => `${name} from ${number(points[0][1])} at ${number(points[0][0])} to ${number(points.at(-1)[1])} at ${number(points.at(-1)[0])}`);
  return `${title}: ${y} against ${x}. ${each.join("; ")}.`;
}

function draw(svg, { x: xName, y: yName, log, series }) {
  const unit = parseFloat(getComputedStyle(svg).fontSize);
  const [width, height] = [svg.clientWidth, HEIGHT * unit];
  if (!width) return;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const box = { left: MARGIN.left * unit, right: width - MARGIN.right * unit, top: MARGIN.top * unit, bottom: height - MARGIN.bottom * unit };
  const all = series.flatMap(({ points }) => points);
  const xs = [...new Set(all.map(([x]) => x))].sort((a, b) => a - b);
  const x = scale(xs, log.includes("x"), box.left + unit / 2, box.right - unit / 2);
  const y = scale(all.map(([, value]) => value), log.includes("y"), box.bottom, box.top, true);
  const parts = [];
  for (const tick of y.ticks) {
    parts.push(drawn("line", { class: "grid", x1: box.left, x2: box.right, y1: y.at(tick), y2: y.at(tick) }));
    parts.push(drawn("text", { x: box.left - unit / 3, y: y.at(tick), "text-anchor": "end", "dominant-baseline": "middle" }, number(tick)));
  }
  let free = -Infinity; // where the last label ends
  for (const tick of xs) {
    const text = number(tick);
    const half = 0.32 * unit * text.length;
    if (x.at(tick) - half < free) continue;
    free = x.at(tick) + half + unit / 2;
    parts.push(drawn("text", { x: x.at(tick), y: box.bottom + unit, "text-anchor": "middle" }, text));
  }
  parts.push(drawn("text", { class: "axis-name", x: (box.left + box.right) / 2, y: height - unit / 3, "text-anchor": "middle" }, xName));
  parts.push(drawn("text", { class: "axis-name", x: unit, y: (box.top + box.bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 ${unit} ${(box.top + box.bottom) / 2})` }, yName));
  series.forEach(({ points }, k) => {
    const path = points.map(([a, b]) => `${x.at(a)},${y.at(b)}`).join(" ");
    parts.push(drawn("polyline", { class: `line run-${(k % COLOURS) + 1}`, points: path }));
    for (const [a, b] of points) parts.push(drawn("circle", { class: `point run-${(k % COLOURS) + 1}`, cx: x.at(a), cy: y.at(b), r: unit / 4 }));
  });
  svg.replaceChildren(...parts);
}

// Return {at, ticks}: where a value lies between two places, and the values with a line.
function scale(values, logarithmic, from, to, nice = false) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const ticks = nice ? (logarithmic ? powers(low, high) : steps(low, high)) : [low, high];
  [low, high] = [Math.min(low, ticks[0]), Math.max(high, ticks.at(-1))];
  const of = logarithmic ? Math.log : (value) => value;
  const whole = of(high) - of(low) || 1;
  return { ticks, at: (value) => from + ((of(value) - of(low)) / whole) * (to - from) };
}

function steps(low, high) {
  const rough = (high - low || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const ticks = [];
  for (let k = Math.floor(low / step); k * step < high + step; k++) ticks.push(Number((k * step).toPrecision(6)));
  return ticks;
}

function powers(low, high) {
  const few = high / low < 100 ? [1, 2, 5] : [1];
  const ticks = [];
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const every = Math.ceil((last - first) / POWERS);
  for (let power = first; power < last + every; power += every) {
    for (const each of few) ticks.push(Number((each * 10 ** power).toPrecision(3)));
  }
  return ticks.slice(Math.max(0, ticks.findLastIndex((tick) => tick <= low)), ticks.findIndex((tick) => tick >= high) + 1);
}

function number(value) {
  if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(0).replace("-", "−");
  return Number(value.toPrecision(4)).toLocaleString("en", { maximumFractionDigits: 6 });
}

function drawn(tag, attributes, text = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

function key({ series }) {
  const items = series.map(({ name }, k) => element("li", {}, element("span", { class: `swatch run-${(k % COLOURS) + 1}`, "aria-hidden": "true" }), name));
  return element("ul", { class: "key-of-lines" }, ...items);
}

function points({ x, series }) {
  const xs = [...new Set(series.flatMap(({ points: each }) => each.map(([a]) => a)))].sort((a, b) => a - b);
  const heads = [x, ...series.map(({ name }) => name)].map((text) => element("th", { scope: "col", text }));
  const rows = xs.map((a) => element("tr", {}, element("th", { scope: "row", text: number(a) }),
    ...series.map(({ points: each }) => element("td", { text: shown(each.find(([at]) => at === a)?.[1], 4) }))));
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows));
  return element("details", {}, element("summary", { text: "The numbers" }), element("div", { class: "scroll" }, table));
}
