// Colours of values from −1 to 1, and maps of them on canvases.

const STOPS = [[0xf5, 0x93, 0x22], [0xe8, 0xea, 0xeb], [0x08, 0x77, 0xbd]]; // −1, 0, 1
const STEPS = 256; // between 0 and ±1
const NAN = 0xffb4b4b4; // a value that is none is grey, darker than 0

function mixed(value, zero = STOPS[1]) {
  const end = value < 0 ? STOPS[0] : STOPS[2];
  const share = Math.min(1, Math.abs(value));
  return zero.map((from, k) => Math.round(from + (end[k] - from) * share));
}

// Pixels as a 32-bit number, in the order that ImageData has on this machine.
const little = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;
function pixel([r, g, b]) {
  return (little ? (255 << 24) | (b << 16) | (g << 8) | r : (r << 24) | (g << 16) | (b << 8) | 255) >>> 0;
}
const PALETTE = Uint32Array.from({ length: 2 * STEPS + 1 }, (_, i) => pixel(mixed(i / STEPS - 1)));

// Return the CSS colour of a value; `zero` is that of 0, as [r, g, b].
export function cssColour(value, zero) {
  return `rgb(${mixed(Number.isFinite(value) ? value : Math.sign(value) || 0, zero).join(" ")})`;
}

const images = new WeakMap(); // of each canvas, what is written to it

// Draw size × size values, row by row, taking every `stride`-th of both axes. `discretize` shows signs only.
export function paint(canvas, values, size, { stride = 1, discretize = false } = {}) {
  const side = Math.floor(size / stride);
  let kept = images.get(canvas);
  if (!kept || kept.side !== side) {
    canvas.width = canvas.height = side;
    const context = canvas.getContext("2d", { alpha: false });
    const image = context.createImageData(side, side);
    images.set(canvas, (kept = { side, context, image, pixels: new Uint32Array(image.data.buffer) }));
  }
  const { pixels } = kept;
  for (let row = 0, k = 0; row < side; row++) {
    let from = row * stride * size;
    for (let column = 0; column < side; column++, k++, from += stride) {
      const value = values[from];
      if (discretize) pixels[k] = value >= 0 ? PALETTE[2 * STEPS] : value < 0 ? PALETTE[0] : NAN;
      else if (value >= 1) pixels[k] = PALETTE[2 * STEPS];
      else if (value <= -1) pixels[k] = PALETTE[0];
      else pixels[k] = value === value ? PALETTE[Math.round((value + 1) * STEPS)] : NAN;
    }
  }
  kept.context.putImageData(kept.image, 0, 0);
}
