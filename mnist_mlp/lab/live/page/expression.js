// A function of x as one types it: "sin(2x) + x^2/4". A parser of its own, so that no text is ever run as a program.
//
//   sum     = product (("+" | "-") product)*
//   product = signed (("*" | "/") signed | power)*      side by side means multiplied: 2x, 3sin(x), (x+1)(x-1)
//   signed  = ("+" | "-")* power
//   power   = atom ("^" signed)?                         so -x^2 is -(x^2), and 2^3^2 is 2^9
//   atom    = number | "x" | "pi" | "e" | function atom | "(" sum ")"

import { cos, exp, log, sin } from "./fdlibm.js";

const FUNCTIONS = Object.freeze({
  sin,
  cos,
  tan: (v) => sin(v) / cos(v),
  exp,
  log,
  ln: log,
  sqrt: Math.sqrt,
  abs: Math.abs,
});
const CONSTANTS = { pi: Math.PI, e: Math.E };
const LONGEST = 200; // characters
const DEEPEST = 30; // parentheses, powers and functions within each other
const TOKEN = /\s*(?:(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?)|([a-z]+)|([-+*/^()]))/iy;
const SPELLINGS = [[/[−–]/g, "-"], [/[·×⋅]/g, "*"], [/²/g, "^2"], [/³/g, "^3"], [/π/g, " pi "], [/\*\*/g, "^"]];

// Return {value, error}: a function of x and null, or null and one line about what is wrong.
export function parseExpression(text) {
  try {
    let plain = String(text);
    if (plain.length > LONGEST) {
      throw new SyntaxError(`expected at most ${LONGEST} characters, received ${plain.length}`);
    }
    for (const [spelling, meant] of SPELLINGS) plain = plain.replace(spelling, meant);
    return { value: new Parser(plain.replace(/^\s*y\s*=/i, "")).all(), error: null };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return { value: null, error: error.message };
  }
}

class Parser {
  constructor(text) {
    this.tokens = tokensOf(text);
    this.at = 0;
    this.depth = 0;
  }

  get next() {
    return this.tokens[this.at];
  }

  take(...kinds) {
    return kinds.includes(this.next?.text) ? this.tokens[this.at++].text : null;
  }

  all() {
    if (!this.tokens.length) throw new SyntaxError("expected a function of x, received nothing; try sin(x)");
    const value = this.sum();
    if (this.next) throw unexpected(this.next);
    return value;
  }

  sum() {
    let left = this.product();
    for (let sign; (sign = this.take("+", "-")); ) {
      const [a, b] = [left, this.product()];
      left = sign === "+" ? (x) => a(x) + b(x) : (x) => a(x) - b(x);
    }
    return left;
  }

  product() {
    let left = this.signed();
    for (;;) {
      const sign = this.take("*", "/");
      if (!sign && this.next?.kind !== "name" && this.next?.text !== "(") return left;
      const [a, b] = [left, sign ? this.signed() : this.power()];
      left = sign === "/" ? (x) => a(x) / b(x) : (x) => a(x) * b(x);
    }
  }

  signed() {
    let negative = false;
    for (let sign; (sign = this.take("+", "-")); ) negative = negative !== (sign === "-");
    const value = this.power();
    return negative ? (x) => -value(x) : value;
  }

  power() {
    const base = this.atom();
    if (!this.take("^")) return base;
    const exponent = this.inside(() => this.signed());
    return (x) => raised(base(x), exponent(x));
  }

  atom() {
    const token = this.tokens[this.at++];
    if (!token) throw new SyntaxError("expected more after the end; try sin(x)");
    if (token.kind === "number") return () => token.value;
    if (token.text === "(") {
      const value = this.inside(() => this.sum());
      if (!this.take(")")) throw new SyntaxError("expected a closing parenthesis for each opening one");
      return value;
    }
    if (token.text === "x") return (x) => x;
    if (Object.hasOwn(CONSTANTS, token.text)) return () => CONSTANTS[token.text];
    if (Object.hasOwn(FUNCTIONS, token.text)) {
      const of = FUNCTIONS[token.text];
      const argument = this.inside(() => this.atom());
      return (x) => of(argument(x));
    }
    throw unexpected(token);
  }

  inside(part) {
    if (++this.depth > DEEPEST) throw new SyntaxError(`expected at most ${DEEPEST} levels within each other`);
    const value = part();
    this.depth -= 1;
    return value;
  }
}

function tokensOf(text) {
  const tokens = [];
  TOKEN.lastIndex = 0;
  for (let end = 0; end < text.trimEnd().length; end = TOKEN.lastIndex) {
    const found = TOKEN.exec(text);
    if (!found) throw new SyntaxError(`expected numbers, x and + - * / ^ ( ), received “${text.slice(end).trim()[0]}”`);
    const [, number, name, sign] = found;
    if (number) tokens.push({ kind: "number", text: number, value: Number(number) });
    else if (name) tokens.push(...namesIn(name.toLowerCase()));
    else tokens.push({ kind: "sign", text: sign });
  }
  return tokens;
}

// Take letters without a space apart: "xsin" is x · sin, "pix" is pi · x.
function namesIn(letters) {
  const known = ["x", ...Object.keys(CONSTANTS), ...Object.keys(FUNCTIONS)].sort((a, b) => b.length - a.length);
  const names = [];
  for (let rest = letters; rest; ) {
    const name = known.find((each) => rest.startsWith(each));
    if (!name) return [{ kind: "name", text: letters }]; // refused by its full name
    names.push({ kind: "name", text: name });
    rest = rest.slice(name.length);
  }
  return names;
}

function unexpected({ text }) {
  const known = Object.keys(FUNCTIONS).join(", ");
  return new SyntaxError(
    /[a-z]/.test(text)
      ? `“${text}” is unknown; there are x, pi, e and the functions ${known}`
      : `“${text}” is not expected there`,
  );
}

// A whole exponent is multiplied out, so that every browser computes the same.
function raised(base, exponent) {
  if (!Number.isInteger(exponent) || Math.abs(exponent) > 64) return base ** exponent;
  let value = 1;
  for (let i = 0; i < Math.abs(exponent); i++) value *= base;
  return exponent < 0 ? 1 / value : value;
}
