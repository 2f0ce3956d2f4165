// Active seconds: the time between a person's signs of life, pauses of more than half a minute left out.

const IDLE_MS = 30_000;
let lastSign = 0;
let listeners = [];

export function startClock() {
  for (const kind of ["pointermove", "pointerdown", "keydown", "wheel"]) {
    window.addEventListener(kind, () => { lastSign = performance.now(); }, { capture: true, passive: true });
  }
  let before = performance.now();
  setInterval(() => {
    const time = performance.now();
    const active = document.visibilityState === "visible" && time - lastSign < IDLE_MS;
    const seconds = active ? Math.min(2, (time - before) / 1000) : 0;
    before = time;
    for (const listener of listeners) listener(seconds);
  }, 500);
}

// Call `listener(seconds)` twice a second with the active time since the last call.
export function onTime(listener) {
  listeners.push(listener);
}
