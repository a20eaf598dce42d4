// sin, cos, log, exp and tanh, with the same last bit in every browser.
//
// The language leaves the last bit of Math.sin and its like to the engine, and engines differ: V8 up to 2023 (Node 20)
// computes as fdlibm does, later ones (Chromium 156) do not, for 3% of all sines, 10% of all exponentials and 7% of all
// logarithms. The Playground's numbers are those of fdlibm; training that is chaotic shows a difference in the last bit
// within a few epochs. So nothing here calls the engine's functions. After fdlibm 5.3 (e_rem_pio2.c, k_sin.c, k_cos.c,
// s_sin.c, s_cos.c, e_log.c, e_exp.c, s_expm1.c, s_tanh.c). Changed: written in JavaScript; exp and tanh with
// comparisons and tables in place of bits; without the argument reduction above 2^20 π/4.
//
//     Copyright (C) 1993 by Sun Microsystems, Inc. All rights reserved.
//     Developed at SunSoft, a Sun Microsystems, Inc. business. Permission to use, copy, modify, and distribute this
//     software is freely granted, provided that this notice is preserved.

const [PIO2_1, PIO2_1T] = [1.5707963267341256, 6.077100506506192e-11]; // the first 33 bits of π/2 and the rest
const [PIO2_2, PIO2_2T] = [6.077100506303966e-11, 2.0222662487959506e-21]; // the next 33 bits and the rest
const [PIO2_3, PIO2_3T] = [2.0222662487111665e-21, 8.4784276603689e-32];
const TWO_OVER_PI = 0.6366197723675814;
const LARGE = 0x413921fb; // the high word of 2^20 π/4
const [LN2_HIGH, LN2_LOW] = [6.93147180369123816490e-1, 1.90821492927058770002e-10];
const ONE_OVER_LN2 = 1.44269504088896338700;

const double = new Float64Array(1);
const words = new Uint32Array(double.buffer);
const HIGH = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 1 : 0; // which word is the high one

// Return the upper 32 bits: sign, exponent and 20 bits of the fraction.
function high(x) {
  double[0] = x;
  return words[HIGH];
}

// Return x with its upper 32 bits replaced.
function withHigh(x, word) {
  double[0] = x;
  words[HIGH] = word;
  return double[0];
}

export function sin(x) {
  if ((high(x) & 0x7fffffff) > LARGE) return Math.sin(x);
  const [n, y, tail] = reduced(x);
  const value = n & 1 ? cosine(y, tail) : sine(y, tail);
  return n & 2 ? -value : value;
}

export function cos(x) {
  if ((high(x) & 0x7fffffff) > LARGE) return Math.cos(x);
  const [n, y, tail] = reduced(x);
  const value = n & 1 ? sine(y, tail) : cosine(y, tail);
  return (n + 1) & 2 ? -value : value;
}

// Return [n, y, tail] with x = n π/2 + y + tail and |y| up to about π/4.
function reduced(x) {
  const word = high(x) & 0x7fffffff;
  if (word <= 0x3fe921fb) return [0, x, 0];
  const t = Math.abs(x);
  let n, r, w, y;
  if (word < 0x4002d97c) { // below 3π/4
    n = 1;
    r = t - PIO2_1;
    w = PIO2_1T;
    if (word === 0x3ff921fb) {
      r -= PIO2_2;
      w = PIO2_2T;
    }
    y = r - w;
  } else {
    n = Math.floor(t * TWO_OVER_PI + 0.5);
    r = t - n * PIO2_1;
    w = n * PIO2_1T;
    y = r - w;
    if (n >= 32 || word === high(n * (Math.PI / 2))) { // possible cancellation: use more bits of π/2
      for (const [part, rest, bits] of [[PIO2_2, PIO2_2T, 16], [PIO2_3, PIO2_3T, 49]]) {
        if ((word >>> 20) - ((high(y) >>> 20) & 0x7ff) <= bits) break;
        const before = r;
        w = n * part;
        r = before - w;
        w = n * rest - ((before - r) - w);
        y = r - w;
      }
    }
  }
  const tail = (r - y) - w;
  return x > 0 ? [n, y, tail] : [-n, -y, -tail];
}

// Return the sine of x + tail, |x| up to about π/4.
function sine(x, tail) {
  if ((high(x) & 0x7fffffff) < 0x3e400000) return x;
  const z = x * x;
  const v = z * x;
  const r = 8.33333333332248946124e-3 + z * (-1.98412698298579493134e-4 + z * (2.75573137070700676789e-6
    + z * (-2.50507602534068634195e-8 + z * 1.58969099521155010221e-10)));
  if (tail === 0) return x + v * (-1.66666666666666324348e-1 + z * r);
  return x - ((z * (0.5 * tail - v * r) - tail) - v * -1.66666666666666324348e-1);
}

// Return the cosine of x + tail, |x| up to about π/4.
function cosine(x, tail) {
  const word = high(x) & 0x7fffffff;
  if (word < 0x3e400000) return 1;
  const z = x * x;
  const r = z * (4.16666666666666019037e-2 + z * (-1.38888888888741095749e-3 + z * (2.48015872894767294178e-5
    + z * (-2.75573143513906633035e-7 + z * (2.08757232129817482790e-9 + z * -1.13596475577881948265e-11)))));
  if (word < 0x3fd33333) return 1 - (0.5 * z - (z * r - x * tail));
  const q = word > 0x3fe90000 ? 0.28125 : withHigh(0, word - 0x200000); // about |x| / 4
  return (1 - q) - ((0.5 * z - q) - (z * r - x * tail));
}

export function log(x) {
  if (!(x >= 2 ** -1022 && x < Infinity)) return Math.log(x); // 0, nan and what no data set asks for
  let word = high(x);
  let k = (word >>> 20) - 1023;
  word &= 0xfffff;
  const carry = (word + 0x95f64) & 0x100000;
  k += carry >>> 20;
  const f = withHigh(x, word | (carry ^ 0x3ff00000)) - 1; // x = 2^k (1 + f), √2/2 < 1 + f < √2
  if (((2 + word) & 0xfffff) < 3) { // |f| < 2^-20
    if (f === 0) return k * LN2_HIGH + k * LN2_LOW;
    const r = f * f * (0.5 - 0.33333333333333333 * f);
    return k === 0 ? f - r : k * LN2_HIGH - ((r - k * LN2_LOW) - f);
  }
  const s = f / (2 + f);
  const z = s * s;
  const w = z * z;
  const odd = z * (6.666666666666735130e-1 + w * (2.857142874366239149e-1 + w * (1.818357216161805012e-1
    + w * 1.479819860511658591e-1)));
  const r = odd + w * (3.999999999940941908e-1 + w * (2.222219843214978396e-1 + w * 1.531383769920937332e-1));
  if (((word - 0x6147a) | (0x6b851 - word)) > 0) {
    const half = 0.5 * f * f;
    if (k === 0) return f - (half - s * (half + r));
    return k * LN2_HIGH - ((half - (s * (half + r) + k * LN2_LOW)) - f);
  }
  return k === 0 ? f - s * (f - r) : k * LN2_HIGH - ((s * (f - r) - k * LN2_LOW) - f);
}

const TINY = 2 ** -28;
const HALF_LN2 = 0.34657382965087890625; // the smallest number whose upper 32 bits exceed those of ln 2 / 2
const POWERS = Float64Array.from({ length: 2046 }, (_, i) => 2 ** (i - 1021)); // 2^k at k + 1021

export function exp(x) {
  if (x !== x) return x;
  if (x > 709.782712893383973096) return Infinity;
  if (x < -745.13321910194110842) return 0;
  if (x === 1) return Math.E; // V8's own exception to fdlibm
  const size = Math.abs(x);
  if (size < TINY) return 1 + x;
  let k = 0, upper = x, lower = 0;
  if (size >= HALF_LN2) {
    k = Math.trunc(x * ONE_OVER_LN2 + (x < 0 ? -0.5 : 0.5));
    upper = x - k * LN2_HIGH;
    lower = k * LN2_LOW;
  }
  const r = upper - lower;
  const t = r * r;
  const c = r - t * (1.66666666666666019037e-1 + t * (-2.77777777770155933842e-3 + t * (6.61375632143793436117e-5
    + t * (-1.65339022054652515390e-6 + t * 4.13813679705723846039e-8))));
  if (k === 0 && size < HALF_LN2) return 1 - ((r * c) / (c - 2) - r);
  const y = 1 - ((lower - (r * c) / (2 - c)) - upper);
  if (k === 1024) return y * 2 * 2 ** 1023;
  return k >= -1021 ? y * POWERS[k + 1021] : y * 2 ** (k + 1000) * 2 ** -1000;
}

// expm1(k ln 2 + r) = (ADD[k] + g(r)) · 2^k + LAST[k], at index k + 4, for the k that tanh needs: −4 to 66. From k = 20
// on fdlibm adds in another order, which makes no difference to tanh: it is within 3e-6 of 1 there.
const SCALE = Float64Array.from({ length: 71 }, (_, i) => 2 ** (i - 4));
const ADD = SCALE.map((scale, i) => (i === 4 || i === 3 ? 0 : i > 4 && i <= 60 ? 1 - 1 / scale : 1));
const LAST = SCALE.map((_, i) => (i === 3 ? -0.5 : i < 3 || i > 60 ? -1 : 0));

// Return the hyperbolic tangent, from expm1(2|x|) if |x| ≥ 1, else from expm1(−2|x|).
export function tanh(x) {
  const size = Math.abs(x);
  if (size >= 22) return x < 0 ? -1 : 1;
  if (!(size >= TINY)) return x; // also nan
  const large = size >= 1;
  const a = large ? 2 * size : -2 * size;
  let index = 4, upper = a, lower = 0;
  if (2 * size >= HALF_LN2) {
    const k = Math.trunc(a * ONE_OVER_LN2 + (large ? 0.5 : -0.5));
    upper = a - k * LN2_HIGH;
    lower = k * LN2_LOW;
    index = k + 4;
  }
  const r = upper - lower;
  const c = (upper - r) - lower;
  const half = 0.5 * r;
  const s = r * half;
  const q = 1 + s * (-3.33333333333331316428e-2 + s * (1.58730158725481460165e-3 + s * (-7.93650757867487942473e-5
    + s * (4.00821782732936239552e-6 + s * -2.01099218183624371326e-7))));
  let t = 3 - q * half;
  let e = s * ((q - t) / (6 - r * t));
  e = (r * (e - c) - c) - s;
  t = (ADD[index] + (r - e)) * SCALE[index] + LAST[index];
  const value = large ? 1 - 2 / (t + 2) : -t / (t + 2);
  return x < 0 ? -value : value;
}
