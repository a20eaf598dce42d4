// The seven inputs that a network can have, in the order in which it takes them.

import { sin } from "./fdlibm.js";

export const FEATURES = Object.freeze([
  { name: "x", label: "x", of: (x, y) => x },
  { name: "y", label: "y", of: (x, y) => y },
  { name: "xSquared", label: "x²", of: (x, y) => x * x },
  { name: "ySquared", label: "y²", of: (x, y) => y * y },
  { name: "xTimesY", label: "x·y", of: (x, y) => x * y },
  { name: "sinX", label: "sin x", of: (x, y) => sin(x) },
  { name: "sinY", label: "sin y", of: (x, y) => sin(y) },
]);

// Return the features of a state: those that are on and not removed by NAME_hide.
export function featuresOf(state) {
  return FEATURES.filter(({ name }) => state[name] && !state.hidden.includes(name));
}
