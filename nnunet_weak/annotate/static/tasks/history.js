// Undo and redo for annotations small enough to be kept whole.

const STEPS = 200;

export class History {
  constructor(state) {
    this.states = [JSON.stringify(state)];
    this.at = 0;
  }

  add(state) {
    const text = JSON.stringify(state);
    if (text === this.states[this.at]) return;
    this.states.splice(this.at + 1, Infinity, text);
    if (this.states.length > STEPS) this.states.shift();
    this.at = this.states.length - 1;
  }

  // The state a step back (-1) or forth (1); null at the end.
  step(direction) {
    const at = this.at + direction;
    if (at < 0 || at >= this.states.length) return null;
    this.at = at;
    return JSON.parse(this.states[at]);
  }
}
