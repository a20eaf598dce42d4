// The Playground's random numbers: ARC4 keyed by the text of the seed, as in the npm package seedrandom 2.4.4.
// A run draws everything from one stream: data, shuffle, weights, and then whatever "regenerate" and "reset" ask for.

const WIDTH = 256; // entries of ARC4's table; also the number of bytes discarded at the start

// Return ARC4's key: at most 256 numbers from 0 to 255, mixed from the UTF-16 code units of the seed.
function keyOf(seed) {
  const key = [];
  let smear = 0;
  for (let j = 0; j < seed.length; j++) {
    const k = j & 255;
    smear ^= (key[k] ?? 0) * 19;
    key[k] = (smear + seed.charCodeAt(j)) & 255;
  }
  return key.length ? key : [0];
}

export class Stream {
  // Random numbers in [0, 1), the same for the same seed: new Stream("hello").random() is 0.5463663768140734.
  constructor(seed) {
    const key = keyOf(String(seed));
    const table = Uint8Array.from({ length: WIDTH }, (_, i) => i);
    for (let i = 0, j = 0; i < WIDTH; i++) {
      const t = table[i];
      j = (j + key[i % key.length] + t) & 255;
      table[i] = table[j];
      table[j] = t;
    }
    this.table = table;
    this.i = this.j = 0;
    for (let n = 0; n < WIDTH; n++) this.byte();
  }

  byte() {
    const table = this.table;
    const i = (this.i = (this.i + 1) & 255);
    const a = table[i];
    const j = (this.j = (this.j + a) & 255);
    const b = (table[i] = table[j]);
    table[j] = a;
    return table[(a + b) & 255];
  }

  // Return the next number in [0, 1), with at least 52 random bits.
  random() {
    let numerator = 0;
    for (let n = 0; n < 6; n++) numerator = numerator * 256 + this.byte();
    let denominator = 2 ** 48;
    let last = 0;
    while (numerator < 2 ** 52) {
      numerator = (numerator + last) * 256;
      denominator *= 256;
      last = this.byte();
    }
    while (numerator >= 2 ** 53) {
      numerator /= 2;
      denominator /= 2;
      last >>>= 1;
    }
    return (numerator + last) / denominator;
  }

  // Return the next number, scaled to [low, high).
  uniform(low, high) {
    return this.random() * (high - low) + low;
  }

  // Return a seed as the Playground draws one: a number with five decimals.
  seed() {
    return this.random().toFixed(5);
  }
}

// Return a seed that depends on nothing.
export function randomSeed() {
  return Math.random().toFixed(5);
}
