// Your own points, from the text of a CSV file. A point is {x, y, label}. What cannot be taken is left out and named in
// `notes`: plain text, never markup.

export const LARGEST = 100_000; // points, as lab.playground has it
const LINES = 300_000; // read at most, however many of them are points
const SHOWN = 40; // characters of a line that a note repeats
const NAMES = ["x", "y", "label"];
const NO_NUMBER = /^[+-]?(nan|inf(inity)?)$/i;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const EXAMPLE = "a line is x,y,label, such as 0.5,-1.2,1";

// Read lines x,y,label, with or without a header, separated by commas, semicolons or tabs. With a header that names x,
// y and label, the columns may stand in any order, among others. Labels are −1 and 1, or 0 and 1, or two words; any
// number for regression. Return {points, problem, notes}, where `problem` is "regression" for labels that are not two
// classes.
export function readCsv(text, problem = "classification") {
  const notes = [];
  const rows = [];
  let columns = null;
  let separator = ",";
  let [first, left, example] = [true, 0, null];
  for (const { line, number } of linesOf(text, notes)) {
    if (!line.trim()) continue;
    if (first) separator = separatorOf(line);
    const cells = cellsOf(line, separator);
    if (first) columns = header(cells, notes);
    const isHeader = first && columns;
    first = false;
    if (isHeader) continue;
    const row = rowOf(cells, columns, separator);
    if (!row) {
      left += 1;
      example ??= { number, line };
    } else if (rows.push(row) === LARGEST) {
      notes.push(`the first ${LARGEST.toLocaleString("en")} points were taken; the lines after them were not read`);
      break;
    }
  }
  if (left) {
    const lines = left === 1 ? "1 line was" : `${left.toLocaleString("en")} lines were`;
    notes.push(`${lines} not taken: line ${example.number} is “${shortened(example.line)}”; ${EXAMPLE}`);
  }
  if (!rows.length) {
    if (!left) notes.push(`expected points, received none; ${EXAMPLE}`);
    return { points: [], problem, notes };
  }
  return { ...labelled(rows, problem, notes), notes };
}

// Yield the lines with their numbers, without making a list of millions.
function* linesOf(text, notes) {
  text = String(text);
  let start = text.startsWith("\ufeff") ? 1 : 0;
  for (let number = 1; start < text.length; number++) {
    if (number > LINES) {
      notes.push(`${LINES.toLocaleString("en")} lines were read; those after them were not`);
      return;
    }
    let end = text.indexOf("\n", start);
    if (end < 0) end = text.length;
    const line = text.slice(start, Math.min(end, start + 1000)); // no line of three numbers is longer
    if (number === 1 && /\r./.test(line)) { // old Macs end lines with \r alone
      yield* linesOf(text.slice(start, 20_000_000).replaceAll("\r", "\n"), notes);
      return;
    }
    yield { line: line.endsWith("\r") ? line.slice(0, -1) : line, number };
    start = end + 1;
  }
}

function separatorOf(line) {
  return ["\t", ";"].find((separator) => line.includes(separator)) ?? ",";
}

function cellsOf(line, separator) {
  if (!line.includes('"')) return line.split(separator, 50).map((cell) => cell.trim());
  const cells = [];
  const pattern = new RegExp(`\\s*(?:"((?:[^"]|"")*)"\\s*|([^${separator}]*))(${separator}|$)`, "y");
  while (pattern.lastIndex < line.length) {
    const found = pattern.exec(line);
    if (!found) return [];
    cells.push((found[1] ?? found[2]).replaceAll('""', '"').trim());
    if (!found[3]) break;
  }
  return cells;
}

// Return the positions of x, y and label if the cells are a header, else null.
function header(cells, notes) {
  if (cells.some((cell) => NUMBER.test(cell.replace(",", "."))) || cells.some((cell) => NO_NUMBER.test(cell))) {
    return null;
  }
  const lower = cells.map((cell) => cell.toLowerCase());
  const found = NAMES.map((name) => lower.indexOf(name));
  if (found.every((index) => index >= 0)) return found;
  if (cells.length === 3) {
    const names = cells.map((cell) => `“${shortened(cell)}”`).join(", ");
    notes.push(`the columns ${names} were taken as x, y and label, in this order`);
    return [0, 1, 2];
  }
  return null;
}

// Return {x, y, label} with the label as text, or null.
function rowOf(cells, columns, separator) {
  if (!columns && cells.length !== 3) return null;
  const [x, y, label] = (columns ?? [0, 1, 2]).map((index) => cells[index] ?? "");
  const point = { x: numberOf(x, separator), y: numberOf(y, separator), label };
  return Number.isFinite(point.x) && Number.isFinite(point.y) && label && !NO_NUMBER.test(label) ? point : null;
}

// Return a number; where commas do not separate cells, they may be decimal ones.
function numberOf(cell, separator) {
  const plain = separator === "," ? cell : cell.replace(",", ".");
  return NUMBER.test(plain) ? Number(plain) : NaN;
}

// Turn the texts of labels into numbers: ±1 for two classes, the numbers themselves for regression.
function labelled(rows, problem, notes) {
  const labels = new Map(rows.map(({ label }) => [label, numberOf(label, ";")]));
  const numbers = new Set(labels.values());
  const finite = [...numbers].every(Number.isFinite);
  if (problem === "classification" && finite) {
    const negative = numbers.has(-1) ? -1 : 0;
    if ([...numbers].every((value) => value === negative || value === 1)) {
      const points = rows.map(({ x, y, label }) => ({ x, y, label: labels.get(label) === 1 ? 1 : -1 }));
      return { points, problem };
    }
  }
  if (!finite || (problem === "classification" && numbers.size === 2)) {
    const words = [...labels.keys()].sort((a, b) => labels.get(a) - labels.get(b) || (a < b ? -1 : 1));
    if (words.length === 2) {
      notes.push(`labels: “${shortened(words[0])}” counts as −1, “${shortened(words[1])}” as 1`);
      return { points: rows.map(({ x, y, label }) => ({ x, y, label: label === words[0] ? -1 : 1 })), problem };
    }
    if (!finite) {
      const usable = rows.filter(({ label }) => Number.isFinite(labels.get(label)));
      const odd = words.find((word) => !Number.isFinite(labels.get(word)));
      const count = (rows.length - usable.length).toLocaleString("en");
      notes.push(
        `${count} lines were not taken: expected numbers or two classes as labels, received “${shortened(odd)}”`,
      );
      return usable.length ? labelled(usable, problem, notes) : { points: [], problem };
    }
  }
  if (problem === "classification") {
    notes.push("the labels are not two classes: they are read as numbers to predict");
  }
  return { points: rows.map(({ x, y, label }) => ({ x, y, label: labels.get(label) })), problem: "regression" };
}

function shortened(text) {
  const plain = String(text).replace(/[\u0000-\u001f\u007f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, "�");
  return plain.length > SHOWN ? `${plain.slice(0, SHOWN)}…` : plain;
}
