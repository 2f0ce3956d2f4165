// Drawings: roughly what is there and what is not, by brush and filled loop.

import { api, gunzip, gzip } from "../api.js";
import { BACKGROUND_COLOUR, colour, dot, make } from "../page.js";
import { brushed, enclosed, Strokes } from "./strokes.js";

const SIZES_MM = [0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24];

export class DrawingTask {
  clicksMoveCursor = false;
  keys = [
    ["1 ... 9, 0", "class to draw, background"],
    ["-", "is, or is not"],
    ["[ ]", "size of the brush"],
    ["B / G", "brush, or a loop that is filled"],
    ["E", "eraser, and back"],
    ["I", "suggests what lies between drawn slices"],
    ["R", "suggests the rest of a slice from the image (random walker)"],
    ["Enter, Esc", "takes or drops a suggestion"],
    ["Alt+click", "moves the cross, draws nothing"],
  ];

  constructor(work) {
    Object.assign(this, { work, number: 1, layer: "is", tool: "brush", erasing: false, brush: null, loop: null, last: null,
      lastAxis: 2, suggestion: null, busy: false });
    this.names = ["background", ...work.study.classes];
    this.colours = new Map(this.names.map((_, number) => [number + 1, number ? colour(number - 1) : BACKGROUND_COLOUR]));
  }

  firstView() {
    return "whole";
  }

  async begin() {
    const { work } = this;
    if (work.viewer.view.step > 1) await work.loadView(this.around(work.info.whole_shape.map((n) => Math.floor(n / 2))));
    await this.readDrawing();
    const { spacing_mm: spacing } = work.viewer.view;
    this.size = Math.max(0, SIZES_MM.findIndex((mm) => mm >= 1.5 * Math.max(...spacing)));
  }

  async readDrawing() {
    const { work } = this;
    const both = await api.drawing(work.name, work.wanted);
    const voxels = both.length / 2;
    this.strokes = new Strokes(work.viewer.view.shape, both.slice(0, voxels), both.slice(voxels));
  }

  async restore({ header, blocks }) {
    const both = await gunzip(blocks[0]);
    const { is, not } = this.strokes.arrays;
    if (header.content.view !== this.work.wanted || both.length !== 2 * is.length) return;
    is.set(both.subarray(0, is.length));
    not.set(both.subarray(is.length));
  }

  async collect() {
    const { is, not } = this.strokes.arrays;
    const both = new Uint8Array(2 * is.length);
    both.set(is);
    both.set(not, is.length);
    return { content: { view: this.work.wanted }, blocks: [await gzip(both)] };
  }

  around(voxel) {
    return `at-${voxel.join("-")}`;
  }

  nextView() {
    const { low } = this.work.viewer.view;
    return this.around(this.work.viewer.planes.cursor.map((value, axis) => value + low[axis]));
  }

  async viewChanged() {
    this.suggestion = null;
    await this.readDrawing();
  }

  missing() {
    if (this.suggestion) return "Take the suggestion with Enter, or drop it with Esc";
    const { is, not } = this.strokes.arrays;
    return is.some(Boolean) || not.some(Boolean) || !this.work.isWhole ? null : "Nothing is drawn yet";
  }

  zoomBox() {
    return null;
  }

  get code() { return this.erasing ? 0 : this.number + 1; }

  pointer(phase, voxel, tile) {
    const { viewer } = this.work;
    this.hover(voxel, tile);
    if (this.busy) return;
    if (phase === "down") {
      this.strokes.begin();
      this.lastAxis = tile.axis;
      this.last = voxel;
      if (this.tool === "loop") this.loop = { axis: tile.axis, voxels: [voxel], colour: this.shade };
    }
    if (!this.strokes.stroke) return;
    if (this.tool === "loop") {
      if (phase === "move") this.loop.voxels.push(voxel);
      if (phase === "up") {
        enclosed(viewer.planes.shape, tile, this.loop.voxels, (index) => this.strokes.set(index, this.layer, this.code));
        this.loop = null;
      }
    } else if (phase !== "up") {
      brushed(viewer.planes.shape, viewer.planes.spacing, tile, this.last, voxel, this.radius,
        (index) => this.strokes.set(index, this.layer, this.code));
      this.last = voxel;
    }
    if (phase === "up") {
      if (this.strokes.end()) this.work.changed();
    }
    this.redrawn();
  }

  redrawn() {
    for (const array of Object.values(this.strokes.arrays)) this.work.viewer.overlay.changed(array);
    this.work.viewer.redraw();
  }

  get radius() { return SIZES_MM[this.size] / 2; }
  get shade() { return this.erasing ? "#ffffff" : this.colours.get(this.number + 1); }

  hover(voxel, tile) {
    this.brush = this.tool === "brush" ? { axis: tile.axis, voxel, radiusMm: this.radius, colour: this.shade } : null;
  }

  undo() { if (!this.strokes.stroke && this.strokes.undo()) this.after(); }
  redo() { if (!this.strokes.stroke && this.strokes.redo()) this.after(); }

  after() {
    this.redrawn();
    this.work.changed();
  }

  // Ask the server to carry on what is saved; shown, and drawn only if accepted.
  async suggest(kind) {
    const { work } = this;
    if (this.busy) return;
    this.busy = true;
    work.tell("looking for a suggestion ...");
    try {
      await work.saver.flush();
      const content = { kind, layer: this.layer, code: this.number + 1, axis: this.lastAxis, channel: work.channel };
      this.suggestion = { array: await api.suggestion(work.name, work.wanted, content), layer: kind === "propagate" ? "is" : this.layer };
      work.tell("A suggestion: Enter takes it, Esc drops it");
    } catch (error) {
      work.tell(error.message, true);
    }
    this.busy = false;
    work.show();
  }

  accept() {
    const { array, layer } = this.suggestion;
    this.strokes.begin();
    array.forEach((code, index) => { if (code) this.strokes.set(index, layer, code); });
    this.suggestion = null;
    if (this.strokes.end()) this.after();
    this.work.tell("");
  }

  drop() {
    this.suggestion = null;
    this.work.tell("");
    this.work.show();
  }

  choose(number, layer = this.layer) {
    if (number >= this.names.length) return;
    Object.assign(this, { number, layer, erasing: false });
    this.work.show();
  }

  key(key) {
    if (this.suggestion && key === "Enter") this.accept();
    else if (this.suggestion && key === "Escape") this.drop();
    else if (/^[0-9]$/.test(key)) this.choose(Number(key));
    else if (key === "-") this.choose(this.number, this.layer === "is" ? "not" : "is");
    else if (key === "[" || key === "]") this.resize(key === "]" ? 1 : -1);
    else if (key === "b" || key === "g") this.use(key === "b" ? "brush" : "loop");
    else if (key === "e") {
      this.erasing = !this.erasing;
      this.work.show();
    } else if (key === "i") this.suggest("interpolate");
    else if (key === "r") this.suggest("propagate");
    else return false;
    return true;
  }

  use(tool) {
    this.tool = tool;
    if (tool === "loop") this.brush = null;
    this.work.show();
  }

  resize(step) {
    this.size = Math.max(0, Math.min(SIZES_MM.length - 1, this.size + step));
    if (this.brush) this.brush.radiusMm = this.radius;
    this.work.show();
  }

  layers(viewer) {
    const labels = [];
    if (!viewer.maskHidden) {
      const { is, not } = this.strokes.arrays;
      labels.push({ array: not, colours: this.colours, filled: true, outlined: true, opacity: 0.12, dashed: true });
      labels.push({ array: is, colours: this.colours, filled: !viewer.filled, outlined: true, opacity: 0.42 });
      if (this.suggestion) labels.push({ array: this.suggestion.array, colours: this.colours, filled: true, outlined: true, opacity: 0.25, dashed: true });
    }
    return { labels, brush: viewer.hovered ? this.brush : null, loop: this.loop };
  }

  panel() {
    const pick = (number, layer, text) => make(
      `button${!this.erasing && number === this.number && layer === this.layer ? ".chosen" : ""}`,
      { onclick: () => this.choose(number, layer), data: { pick: `${layer} ${number}` } }, text);
    const palette = this.names.flatMap((name, number) => [
      make("span", {}, dot(this.colours.get(number + 1)), name, make("kbd", {}, number < 10 ? String(number) : "")),
      pick(number, "is", "is"), pick(number, "not", "is not")]);
    const tool = (label, key, chosen, action, name) =>
      make(`button${chosen ? ".chosen" : ""}`, { onclick: action, data: { action: name } }, label, make("kbd", {}, key));
    return [
      make("div.list", {}, make("div.palette", {}, ...palette)),
      make("div.buttons", {},
        tool("brush", "B", this.tool === "brush" && !this.erasing, () => { this.erasing = false; this.use("brush"); }, "brush"),
        tool("loop", "G", this.tool === "loop" && !this.erasing, () => { this.erasing = false; this.use("loop"); }, "loop"),
        tool("eraser", "E", this.erasing, () => this.key("e"), "eraser")),
      make("div.buttons", {},
        tool("smaller", "[", false, () => this.resize(-1), "smaller"),
        make("span", {}, `${SIZES_MM[this.size]} mm`),
        tool("larger", "]", false, () => this.resize(1), "larger")),
      this.suggestion
        ? make("div.buttons", {}, tool("take suggestion", "Enter", true, () => this.accept(), "accept"), tool("drop", "Esc", false, () => this.drop(), "drop"))
        : make("div.buttons", {}, tool("between slices", "I", false, () => this.suggest("interpolate"), "interpolate"),
          tool("from image", "R", false, () => this.suggest("propagate"), "propagate")),
      make("div.foot", {},
        make("div.buttons", {}, tool("undo", "Ctrl+Z", false, () => this.undo(), "undo"), tool("redo", "Ctrl+Y", false, () => this.redo(), "redo")),
        make("button.primary", { onclick: () => this.work.finish(), data: { action: "done" } }, "Done, next case", make("kbd", {}, "Enter"))),
    ];
  }
}
