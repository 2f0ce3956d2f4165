// The open case: loads it, hands keys to the task, saves.

import { api } from "./api.js";
import { onTime } from "./clock.js";
import { duration, find, make } from "./page.js";
import { Saver, unsaved } from "./saving.js";

const HINT_MS = 6000;

export class Work {
  constructor(app, Task) {
    Object.assign(this, { app, Task, name: null, task: null, saver: null, seconds: 0, done: false, windowName: null, channel: 0 });
    onTime((seconds) => this.tick(seconds));
  }

  get viewer() { return this.app.viewer; }
  get study() { return this.app.study; }

  // Open a case; null, or why it cannot be opened.
  async open(name) {
    this.saver?.close();
    this.task?.close?.();
    Object.assign(this, { name, task: null, saver: null });
    this.viewer.task = null;
    find("busy").hidden = false;
    if (!find("hint").classList.contains("bad")) this.tell(""); // but why another case was skipped is still of interest
    find("saved").textContent = "";
    find("panel").replaceChildren();
    find("title").textContent = name;
    try {
      this.info = await api.case(name);
      this.channel = Math.min(this.channel, this.info.channels.length - 1);
      this.seconds = this.info.seconds;
      this.done = this.info.done;
      const task = new this.Task(this);
      this.viewer.window = null;
      await this.loadView(task.firstView());
      await task.begin(this.info.content);
      const key = `${this.study.output} ${this.study.task} ${this.study.annotator} ${name}`;
      this.saver = new Saver(name, this.info.revision, key, () => this.collect());
      const kept = await unsaved(key, this.info.revision);
      if (kept) {
        this.seconds = kept.header.seconds;
        await task.restore(kept);
        this.saver.change();
        this.tell("What could not be saved last time was brought back");
      }
      this.task = this.viewer.task = task;
    } catch (error) {
      this.name = null;
      return error.message;
    }
    this.show();
    this.task.started?.();
    find("busy").hidden = true;
    return null;
  }

  // Get a part of the case on screen: whole, region-K or at-X-Y-Z.
  async loadView(wanted) {
    const started = performance.now();
    const message = await api.view(this.name, wanted, this.channel);
    await this.viewer.show(message, this.viewer.window ?? this.chooseWindow(message.header.windows));
    this.showChannel();
    this.wanted = wanted;
    this.viewer.stage.dataset.view = wanted;
    this.viewer.stage.dataset.loadMs = Math.round(performance.now() - started);
  }

  // The window of the name that was chosen last, or the first.
  chooseWindow(windows) {
    this.windows = windows;
    return windows.find(([label]) => label === this.windowName) ?? windows[0];
  }

  // Another image channel in the same place; nothing that was annotated changes.
  async nextChannel() {
    const { channels } = this.info;
    if (channels.length < 2 || this.changingChannel) return;
    this.changingChannel = true;
    try {
      const channel = (this.channel + 1) % channels.length;
      const { name, wanted } = this;
      const { header, blocks } = await api.view(name, wanted, channel);
      if (name !== this.name || wanted !== this.wanted) return;
      this.channel = channel;
      await this.viewer.showImage(blocks[0], this.chooseWindow(header.windows));
      this.showChannel();
      this.tell(`image: ${channels[channel]}`);
    } catch (error) {
      this.tell(error.message, true);
    } finally {
      this.changingChannel = false;
    }
  }

  showChannel() {
    const { channels } = this.info;
    const button = find("channel");
    button.hidden = channels.length < 2;
    button.dataset.channel = this.channel;
    button.onclick = () => this.nextChannel();
    button.replaceChildren(make("span", {}, `${channels[this.channel]} (${this.channel + 1} of ${channels.length})`), make("kbd", {}, "C"));
  }

  // Whether the page has all of the case at full resolution.
  get isWhole() {
    return this.viewer.view.step === 1 && this.viewer.view.shape.every((n, axis) => n === this.viewer.view.whole_shape[axis]);
  }

  async collect() {
    const { content, blocks } = await this.task.collect();
    return { header: { seconds: Math.round(this.seconds * 10) / 10, done: this.done, content }, blocks };
  }

  changed() {
    this.done = false;
    this.saver?.change();
    this.show();
  }

  show() {
    if (!this.task) return;
    find("panel").replaceChildren(...this.task.panel());
    find("title").textContent = this.done ? `${this.name} (done)` : this.name;
    this.viewer.redraw();
  }

  async finish() {
    const missing = this.task.missing();
    if (missing) {
      this.tell(missing);
      return;
    }
    this.done = true;
    this.saver.change();
    await this.app.next();
  }

  tick(seconds) {
    if (!seconds || document.body.dataset.screen !== "work" || !this.task) return;
    this.seconds += seconds;
    this.task.tick?.(seconds);
    find("clock").textContent = duration(this.seconds);
  }

  tell(text, bad = false) {
    const hint = find("hint");
    hint.textContent = text;
    hint.className = bad ? "bad" : "";
    hint.hidden = !text;
    clearTimeout(this.hinting);
    this.hinting = setTimeout(() => { hint.hidden = true; }, bad ? 2 * HINT_MS : HINT_MS);
  }

  hideMask(hidden) {
    if (this.viewer.maskHidden === hidden) return;
    this.viewer.maskHidden = hidden;
    this.viewer.redraw();
  }

  // Keys that all tasks have, after those of the task. True if the key meant something.
  key(event) {
    const { task, viewer } = this;
    if (!task || (event.altKey && event.key !== "Alt")) return false;
    const control = event.ctrlKey || event.metaKey;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (control) {
      if (key === "z" && !event.shiftKey) task.undo();
      else if (key === "y" || (key === "z" && event.shiftKey)) task.redo();
      else return false;
      return true;
    }
    if (task.key(key, event)) return true;
    const axis = viewer.hovered?.axis ?? viewer.planes.tiles[0].axis;
    const actions = {
      " ": () => this.hideMask(true),
      f: () => { viewer.filled = !viewer.filled; viewer.redraw(); },
      w: () => this.nextWindow(),
      c: () => this.nextChannel(),
      z: () => this.zoom(),
      m: () => viewer.enlarge(viewer.planes.tiles[1].axis),
      n: () => this.app.next(1),
      p: () => this.app.next(-1),
      ArrowUp: () => { viewer.planes.scroll(axis, 1); viewer.redraw(); },
      ArrowDown: () => { viewer.planes.scroll(axis, -1); viewer.redraw(); },
      Enter: () => this.finish(),
    };
    if (!actions[key]) return false;
    actions[key]();
    return true;
  }

  nextWindow() {
    const { windows } = this;
    const index = windows.findIndex(([label]) => label === this.viewer.window[0]);
    const window = windows[(index + 1) % windows.length];
    this.windowName = window[0];
    this.viewer.setWindow(window);
    this.tell(`window: ${window[0]}`);
  }

  // To the region or object, or the place under the mouse, and back to everything. Large cases get it at full resolution.
  async zoom() {
    const { viewer } = this;
    if (!this.isWhole && this.task.nextView) {
      if (!await this.saver.flush()) return;
      await this.loadView(this.task.nextView());
      await this.task.viewChanged();
    } else if (viewer.planes.zoom > 1.001) viewer.planes.fit();
    else {
      const box = this.task.zoomBox();
      if (box) viewer.planes.zoomTo(...box);
      else viewer.planes.zoomTo(...viewer.planes.cursor.reduce(([low, high], value, axis) => {
        const reach = Math.ceil(20 / viewer.planes.spacing[axis]);
        return [[...low, value - reach], [...high, value + reach]];
      }, [[], []]));
    }
    viewer.redraw();
  }
}
