// The button "Larger type" of the rooms beside the Playground; the choice is one for all rooms (see kept.js).

const PREFERENCES = "mnist_mlp.lab.preferences";

// Return what the browser has kept under a key, if it is an object.
export function kept(key) {
  try {
    const found = JSON.parse(localStorage.getItem(key));
    return found && typeof found === "object" && !Array.isArray(found) ? found : {};
  } catch { // blocked, or not ours
    return {};
  }
}

export function keep(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch { // blocked, or full: it is forgotten with the page
  }
}

// Connect the button; `changed` is called when the type has changed its size.
export function connectLargerType(changed = () => {}) {
  const button = document.getElementById("large");
  const show = (large) => {
    document.documentElement.classList.toggle("large", large);
    button.setAttribute("aria-pressed", String(large));
  };
  button.addEventListener("click", () => {
    const large = !document.documentElement.classList.contains("large");
    show(large);
    keep(PREFERENCES, { ...kept(PREFERENCES), large });
    requestAnimationFrame(changed);
  });
  show(kept(PREFERENCES).large === true);
}
