// Scores: a quality from 0 to 5 and an error type for each region, by keys alone.

import { api, meshOf } from "../api.js";
import { History } from "./history.js";
import { channels, colour, dot, make } from "../page.js";

const GRADES = [
  [5, "Excellent", "nothing to correct"],
  [4, "Good", "small slips that do not matter"],
  [3, "Fair", "right as a whole, the edge is off in places"],
  [2, "Poor", "large parts are missing or too much"],
  [1, "Bad", "only its place is right"],
  [0, "Unusable", "would be drawn anew from nothing"],
];
const ERRORS = { u: ["under", "too small"], o: ["over", "too large"], b: ["both", "too small and too large"] };
const BLANK = { quality: null, error: null, cannot_judge: false, comment: "", seconds: 0 };

export class ScoreTask {
  clicksMoveCursor = true;
  keys = [
    ["0 ... 5", "quality of the region; 5 means no error"],
    ["U / O / B", "error: too small, too large, both"],
    ["X", "cannot judge"],
    ["T", "comment; Enter ends it"],
    ["Tab, Shift+Tab", "next or earlier region"],
  ];

  constructor(work) {
    Object.assign(this, { work, regions: work.info.regions, current: 0, meshes: new Map() });
    this.colours = new Map(this.regions.map((region, index) => [region.label, colour(index)]));
  }

  firstView() {
    return this.regions.length ? `region-${this.regions[0].label}` : "whole";
  }

  async begin(content) {
    this.read(content);
    this.history = new History(this.scores);
    await this.goToFirstOpen();
  }

  async restore({ header }) {
    this.read(header.content);
    this.history.add(this.scores);
    await this.goToFirstOpen();
  }

  async goToFirstOpen() {
    await this.go(Math.max(0, this.regions.findIndex((region) => !this.isComplete(region))), false);
  }

  read(content) {
    this.scores = {};
    for (const { name, sha256 } of this.regions) {
      const saved = content.regions?.[name];
      const stale = saved && saved.mask_sha256 !== sha256;
      this.scores[name] = { ...BLANK, ...(stale ? { comment: saved.comment, seconds: saved.seconds } : saved), mask_sha256: sha256 };
      this.scores[name].stale = Boolean(stale);
      delete this.scores[name].saved_at;
    }
  }

  async collect() {
    const regions = Object.fromEntries(Object.entries(this.scores).map(([name, { stale, ...score }]) =>
      [name, { ...score, seconds: Math.round(score.seconds * 10) / 10 }]));
    return { content: { regions }, blocks: [] };
  }

  get region() { return this.regions[this.current]; }
  get score() { return this.region && this.scores[this.region.name]; }

  isComplete({ name }) {
    const score = this.scores[name];
    return score.cannot_judge || (score.quality !== null && score.error !== null);
  }

  missing() {
    const open = this.regions.filter((region) => !this.isComplete(region)).map(({ name }) => name);
    return open.length ? `Not scored yet: ${open.join(", ")}. X says that a region cannot be judged.` : null;
  }

  // Go to a region; large cases get its box at full resolution.
  async go(index, show = true) {
    this.current = index;
    const { work, region } = this;
    if (!region) return;
    const wanted = `region-${region.label}`;
    if (work.wanted !== wanted && !work.isWhole) await work.loadView(wanted);
    const { low, step } = work.viewer.view;
    const inView = (voxel) => voxel.map((value, axis) => (value - low[axis]) / step);
    this.box = [inView(region.low), inView(region.high)];
    work.viewer.planes.moveCursor(this.box[0].map((value, axis) => (value + this.box[1][axis]) / 2));
    if (work.viewer.planes.zoom > 1.001) work.viewer.planes.zoomTo(...this.box);
    if (show) work.show();
    this.showSolid(region);
  }

  async showSolid(region) {
    const { work } = this;
    if (!this.meshes.has(region.label)) {
      const { blocks } = await api.surface(work.name, region.label).catch(() => ({ blocks: null }));
      if (!blocks) return;
      this.meshes.set(region.label, { ...meshOf(blocks), colour: channels(this.colours.get(region.label)) });
    }
    if (region === this.region && work.task === this) {
      work.viewer.solid.show(new Map([["region", this.meshes.get(region.label)]]));
    }
  }

  started() {
    if (this.region) this.showSolid(this.region);
    if (!this.regions.length) this.work.tell("The mask of this case has no region of the study");
  }

  zoomBox() {
    return this.box;
  }

  set(changes) {
    if (!this.region) return;
    Object.assign(this.score, changes, { stale: false });
    this.history.add(this.scores);
    this.work.changed();
    if (this.isComplete(this.region)) this.advance();
  }

  advance() {
    const open = this.regions.findIndex((region) => !this.isComplete(region));
    if (open >= 0) this.go(open);
    else this.work.tell("All regions are scored. Enter: done, next case");
  }

  undo() { this.travel(-1); }
  redo() { this.travel(1); }

  travel(direction) {
    const scores = this.history.step(direction);
    if (!scores) return;
    const changed = this.regions.findIndex(({ name }) => JSON.stringify({ ...scores[name], seconds: 0 })
      !== JSON.stringify({ ...this.scores[name], seconds: 0 }));
    for (const name of Object.keys(scores)) scores[name].seconds = this.scores[name].seconds; // time is not taken back
    this.scores = scores;
    this.work.changed();
    if (changed >= 0) this.go(changed);
  }

  tick(seconds) {
    if (this.score) this.score.seconds += seconds;
  }

  key(key, event) {
    if (/^[0-5]$/.test(key)) this.grade(Number(key));
    else if (ERRORS[key]) this.fault(ERRORS[key][0]);
    else if (key === "x") this.set({ quality: null, error: null, cannot_judge: true });
    else if (key === "t") this.comment.focus();
    else if (key === "Tab" && this.regions.length) {
      this.go((this.current + (event.shiftKey ? this.regions.length - 1 : 1)) % this.regions.length);
    } else return false;
    return true;
  }

  grade(quality) {
    if (!this.region) return;
    const error = quality === 5 ? "none" : this.score.error === "none" ? null : this.score.error;
    this.set({ quality, error, cannot_judge: false });
  }

  fault(error) {
    if (!this.region) return;
    if (this.score.quality === 5) this.work.tell("5 means that there is nothing to correct: give a lower quality first");
    else this.set({ error, cannot_judge: false });
  }

  layers(viewer) {
    const array = viewer.labels;
    if (!array || viewer.maskHidden) return {};
    return { labels: [{ array, colours: this.colours, filled: viewer.filled, outlined: true, strong: this.region?.label }] };
  }

  panel() {
    const { score } = this;
    const rows = this.regions.map((region, index) => {
      const { quality, error, cannot_judge: cannot, stale } = this.scores[region.name];
      const value = stale ? "mask changed" : cannot ? "cannot judge" : [quality, error].filter((part) => part !== null).join(" ");
      const row = make(`div.row${index === this.current ? ".chosen" : ""}`, { onclick: () => this.go(index), data: { region: region.name } },
        dot(this.colours.get(region.label)), make("span.name", {}, region.name), make("span.value", {}, value));
      if (index === this.current) requestAnimationFrame(() => row.scrollIntoView({ block: "nearest" }));
      return row;
    });
    this.comment = make("textarea", { rows: 2, placeholder: "comment (T)", value: score?.comment ?? "", maxLength: 2000, disabled: !score,
      oninput: (event) => { this.score.comment = event.target.value; this.work.saver.change(); } });
    return [
      make("div.list", {}, ...rows),
      make("div.grades", {}, ...GRADES.map(([grade, name, text]) =>
        make(`button${score?.quality === grade ? ".chosen" : ""}`, { onclick: () => this.grade(grade), data: { grade } },
          make("b", {}, String(grade)), make("span", {}, name, make("br"), make("small", {}, text))))),
      make("div.buttons", {}, ...Object.entries(ERRORS).map(([key, [error, text]]) =>
        make(`button${score?.error === error ? ".chosen" : ""}`, { onclick: () => this.fault(error), title: text, data: { error } },
          error, make("kbd", {}, key.toUpperCase())))),
      make("div.buttons", {}, make(`button${score?.cannot_judge ? ".chosen" : ""}`,
        { onclick: () => this.key("x"), data: { error: "cannot" } }, "cannot judge", make("kbd", {}, "X"))),
      this.comment,
      make("div.foot", {}, make("button.primary", { onclick: () => this.work.finish(), data: { action: "done" } }, "Done, next case",
        make("kbd", {}, "Enter"))),
    ];
  }
}
