// Brush, filled loop, undo and redo on two label maps, "is" and "not". Arrays hold a byte a voxel, right fastest.

export const LAYERS = ["is", "not"];
const MOST_STEPS = 200;
const MOST_CHANGES = 1 << 24; // voxels kept for undo: 96 MB

export class Strokes {
  constructor(shape, is, not) {
    this.shape = shape;
    this.arrays = { is, not };
    this.done = [];
    this.undone = [];
    this.stroke = null;
  }

  begin() {
    this.stroke = new Map();
  }

  // Set a voxel during a stroke. What contradicts it in the other layer goes; 0 erases in both.
  set(index, layer, code) {
    const other = layer === "is" ? "not" : "is";
    this.write(index, layer, code);
    if (code === 0 || this.arrays[other][index] === code) this.write(index, other, 0);
  }

  write(index, layer, code) {
    const array = this.arrays[layer];
    if (array[index] === code) return;
    const key = 2 * index + LAYERS.indexOf(layer);
    if (!this.stroke.has(key)) this.stroke.set(key, array[index]);
    array[index] = code;
  }

  // End a stroke; true if it changed anything.
  end() {
    const { stroke } = this;
    this.stroke = null;
    if (!stroke?.size) return false;
    const keys = Float64Array.from(stroke.keys()); // beyond 2 ** 31 in large views
    const before = Uint8Array.from(stroke.values());
    const after = Uint8Array.from(keys, (key) => this.arrays[LAYERS[key % 2]][Math.floor(key / 2)]);
    this.done.push({ keys, before, after });
    this.undone = [];
    let kept = 0;
    const first = this.done.findLastIndex((step) => (kept += step.keys.length) > MOST_CHANGES);
    this.done.splice(0, Math.max(first, this.done.length - MOST_STEPS));
    return true;
  }

  undo() { return this.travel(this.done, this.undone, "before"); }
  redo() { return this.travel(this.undone, this.done, "after"); }

  travel(from, to, side) {
    const step = from.pop();
    if (!step) return false;
    step.keys.forEach((key, number) => { this.arrays[LAYERS[key % 2]][Math.floor(key / 2)] = step[side][number]; });
    to.push(step);
    return true;
  }
}

const strides = (shape) => [1, shape[0], shape[0] * shape[1]];

// Voxels of a slice whose centres lie within a radius of the way from one place to another; at least the one under it.
export function brushed(shape, spacing, { axis, across, up }, from, to, radiusMm, visit) {
  const step = strides(shape);
  const slice = to[axis] * step[axis];
  const length = Math.hypot((to[across] - from[across]) * spacing[across], (to[up] - from[up]) * spacing[up]);
  const stops = Math.max(1, Math.ceil(length / Math.max(radiusMm / 2, Math.min(spacing[across], spacing[up]) / 2)));
  for (let stop = length ? 1 : stops; stop <= stops; stop++) {
    const t = stop / stops;
    const [h, v] = [across, up].map((side) => from[side] + t * (to[side] - from[side]));
    const reach = [radiusMm / spacing[across], radiusMm / spacing[up]];
    const visitIf = (i, j) => {
      if (i >= 0 && j >= 0 && i < shape[across] && j < shape[up]) visit(slice + i * step[across] + j * step[up]);
    };
    visitIf(Math.round(h), Math.round(v));
    for (let j = Math.ceil(v - reach[1]); j <= v + reach[1]; j++) {
      for (let i = Math.ceil(h - reach[0]); i <= h + reach[0]; i++) {
        if (((i - h) / reach[0]) ** 2 + ((j - v) / reach[1]) ** 2 <= 1) visitIf(i, j);
      }
    }
  }
}

// Voxels of a slice whose centres lie inside a closed line (even-odd rule).
export function enclosed(shape, { axis, across, up }, line, visit) {
  const step = strides(shape);
  const slice = line[0][axis] * step[axis];
  const rows = line.map((place) => place[up]);
  for (let j = Math.max(0, Math.ceil(Math.min(...rows))); j <= Math.min(shape[up] - 1, Math.max(...rows)); j++) {
    const crossings = [];
    line.forEach((a, index) => {
      const b = line[(index + 1) % line.length];
      if (a[up] <= j !== b[up] <= j) crossings.push(a[across] + ((j - a[up]) / (b[up] - a[up])) * (b[across] - a[across]));
    });
    crossings.sort((one, other) => one - other);
    for (let k = 0; k + 1 < crossings.length; k += 2) {
      for (let i = Math.max(0, Math.ceil(crossings[k])); i <= Math.min(shape[across] - 1, crossings[k + 1]); i++) {
        visit(slice + i * step[across] + j * step[up]);
      }
    }
  }
}
