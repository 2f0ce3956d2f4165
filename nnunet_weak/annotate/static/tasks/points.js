// Points: clicks on the surface of objects, with the surface fitted to them as one goes.

import { api } from "../api.js";
import { History } from "./history.js";
import { channels, colour, dot, make } from "../page.js";

const FIT_AFTER_MS = 60;
const FEWEST = 4;
const CATCH_PIXELS = 9;
const POINT_RADIUS_MM = 0.012; // share of the object's size

export class PointTask {
  clicksMoveCursor = false;
  keys = [
    ["click", "a point where the surface of the object is"],
    ["drag", "moves a point"],
    ["Del", "deletes the point under the mouse, or the last one"],
    ["G", "goes to where the next point helps most"],
    ["A", "a new object of this class"],
    ["1 ... 9", "object of this number in the list"],
    ["Alt+click", "moves the cross, sets no point"],
  ];

  constructor(work) {
    Object.assign(this, { work, current: 0, fits: new Map(), grabbed: null, under: null, timers: new Map(), running: new Map() });
  }

  firstView() {
    return "whole";
  }

  // Another case is opened: a surface that is still being fitted is not shown there.
  close() {
    for (const timer of this.timers.values()) clearTimeout(timer);
    for (const abort of this.running.values()) abort.abort();
  }

  async begin(content) {
    this.read(content);
    this.history = new History(this.objects);
    this.work.viewer.solid.show(new Map());
    delete this.work.viewer.stage.dataset.fit;
    for (const object of this.objects) this.fit(object, 0);
  }

  async restore({ header }) {
    this.read(header.content);
    this.history.add(this.objects);
    for (const object of this.objects) this.fit(object, 0);
  }

  read(content) {
    const saved = (content.objects ?? []).map((one) => ({ class: one.class, object: one.object, points: one.points_ras_mm }));
    const absent = this.work.study.classes.filter((name) => !saved.some((one) => one.class === name));
    this.objects = [...saved, ...absent.map((name) => ({ class: name, object: 1, points: [] }))];
  }

  async collect() {
    const objects = this.objects.filter((one) => one.points.length).map((one) =>
      ({ class: one.class, object: one.object, points_ras_mm: one.points }));
    return { content: { objects }, blocks: [] };
  }

  get object() { return this.objects[this.current]; }
  title(object) { return object.object === 1 ? object.class : `${object.class} ${object.object}`; }
  key_of(object) { return `${object.class}#${object.object}`; }
  colour(object) {
    return colour(this.work.study.classes.indexOf(object.class) + (object.object - 1) * this.work.study.classes.length);
  }

  nextView() {
    const { viewer, wanted } = this.work;
    if (wanted !== "whole") return "whole";
    const { low, step } = viewer.view;
    return `at-${viewer.planes.cursor.map((value, axis) => low[axis] + step * value).join("-")}`;
  }

  missing() {
    const few = this.objects.filter((one) => one.points.length && one.points.length < FEWEST);
    if (few.length) return `${few.map((one) => this.title(one)).join(", ")}: at least ${FEWEST} points are needed`;
    return this.objects.some((one) => one.points.length) ? null : "No point was set yet";
  }

  zoomBox() {
    const voxels = this.object.points.map((point) => this.work.viewer.voxel(point));
    if (!voxels.length) return null;
    const side = (pick) => [0, 1, 2].map((axis) => pick(...voxels.map((voxel) => voxel[axis])));
    return [side(Math.min), side(Math.max).map((value) => value + 1)];
  }

  changed() {
    this.history.add(this.objects);
    this.fit(this.object);
    this.work.changed();
  }

  undo() { this.travel(-1); }
  redo() { this.travel(1); }

  travel(direction) {
    const objects = this.history.step(direction);
    if (!objects) return;
    this.objects = objects;
    this.current = Math.min(this.current, objects.length - 1);
    for (const object of objects) this.fit(object);
    this.work.changed();
  }

  // Fit the surface of an object a moment after its last change; an answer that is overtaken is dropped.
  fit(object, delay = FIT_AFTER_MS) {
    const name = this.key_of(object);
    clearTimeout(this.timers.get(name));
    this.timers.set(name, setTimeout(() => this.fitNow(name), delay));
  }

  async fitNow(name) {
    const object = this.objects.find((one) => this.key_of(one) === name);
    this.running.get(name)?.abort();
    if (!object || object.points.length < FEWEST) {
      this.fits.delete(name);
      this.showFits();
      return;
    }
    const abort = new AbortController();
    this.running.set(name, abort);
    const started = performance.now();
    try {
      const fit = await api.fit(object.points, abort.signal);
      this.fits.set(name, { ...fit, count: object.points.length });
    } catch (error) {
      if (error.name === "AbortError") return;
      this.fits.set(name, { failed: error.message, warnings: [], residuals_mm: [], count: object.points.length });
    }
    this.showFits();
    this.work.viewer.stage.dataset.fit = `${name} ${object.points.length} ${Math.round(performance.now() - started)}`;
  }

  showFits() {
    const { viewer } = this.work;
    const meshes = new Map();
    for (const object of this.objects) {
      const fit = this.fits.get(this.key_of(object));
      if (fit?.vertices) {
        this.toVoxels(fit);
        meshes.set(this.key_of(object), { vertices: fit.vertices, faces: fit.faces, colour: channels(this.colour(object)) });
      }
      if (object.points.length) meshes.set(`points of ${this.key_of(object)}`, this.markers(object));
    }
    viewer.solid.show(meshes);
    this.work.show();
  }

  toVoxels(fit) {
    const { viewer } = this.work;
    if (fit.view === viewer.view) return;
    fit.voxels = new Float32Array(fit.vertices.length);
    for (let i = 0; i < fit.vertices.length; i += 3) fit.voxels.set(viewer.voxel(fit.vertices.subarray(i, i + 3)), i);
    fit.view = viewer.view;
  }

  // The points as small octahedra, for the picture in 3D.
  markers(object) {
    const all = this.objects.flatMap((one) => one.points);
    const size = Math.max(...[0, 1, 2].map((axis) => {
      const values = all.map((point) => point[axis]);
      return Math.max(...values) - Math.min(...values);
    }), 1);
    const radius = Math.max(0.3, 2 * POINT_RADIUS_MM * size);
    const corners = [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]];
    const triangles = [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]];
    const vertices = object.points.flatMap((point) => corners.flatMap((corner) => corner.map((value, axis) => point[axis] + radius * value)));
    const faces = object.points.flatMap((_, index) => triangles.flatMap((triangle) => triangle.map((corner) => 6 * index + corner)));
    return { vertices: new Float32Array(vertices), faces: new Uint32Array(faces), colour: [255, 255, 255] };
  }

  viewChanged() {
    for (const fit of this.fits.values()) if (fit.vertices) this.toVoxels(fit);
  }

  // The point under a place of the screen: [object index, point index], or null.
  pointAt(voxel, tile) {
    const { viewer } = this.work;
    const at = viewer.planes.toScreen(tile, voxel);
    let best = null;
    let nearest = CATCH_PIXELS;
    this.objects.forEach((object, index) => object.points.forEach((point, number) => {
      const place = viewer.voxel(point);
      if (Math.abs(place[tile.axis] - viewer.planes.cursor[tile.axis]) > 2.5) return;
      const [x, y] = viewer.planes.toScreen(tile, place);
      const distance = Math.hypot(x - at[0], y - at[1]);
      if (distance < nearest) {
        nearest = distance;
        best = [index, number];
      }
    }));
    return best;
  }

  hover(voxel, tile) {
    this.under = this.pointAt(voxel, tile);
  }

  pointer(phase, voxel, tile) {
    const { viewer } = this.work;
    if (phase === "down") {
      this.work.tell("");
      const found = this.pointAt(voxel, tile);
      if (found) {
        this.current = found[0];
        this.grabbed = { point: found[1], moved: false };
      } else if (viewer.planes.contains(voxel)) {
        this.object.points.push(viewer.world(voxel));
        this.grabbed = { point: this.object.points.length - 1, moved: true };
        // The other planes go to the new point, this one stays; the fit does not wait for the button's release.
        viewer.planes.moveCursor(voxel);
        this.fit(this.object);
      }
    } else if (phase === "move" && this.grabbed && viewer.planes.contains(voxel)) {
      const before = viewer.voxel(this.object.points[this.grabbed.point]);
      const place = [...voxel];
      if (!this.grabbed.moved && Math.hypot(...viewer.planes.toScreen(tile, voxel).map((value, side) =>
        value - viewer.planes.toScreen(tile, before)[side])) < 2) return;
      this.object.points[this.grabbed.point] = viewer.world(place);
      this.grabbed.moved = true;
      this.fit(this.object);
    } else if (phase === "up" && this.grabbed) {
      const { moved } = this.grabbed;
      this.grabbed = null;
      if (moved) this.changed();
      else this.work.show();
    }
  }

  remove() {
    const [index, number] = this.under ?? [this.current, this.object.points.length - 1];
    if (number < 0) return;
    this.current = index;
    this.object.points.splice(number, 1);
    this.under = null;
    this.changed();
  }

  goToGap() {
    const fit = this.fits.get(this.key_of(this.object));
    if (!fit?.gap_ras_mm) {
      this.work.tell(`Set ${FEWEST} points first, on all sides of the object`);
      return;
    }
    const { viewer } = this.work;
    viewer.moveTo(viewer.voxel(fit.gap_ras_mm));
    this.work.tell(fit.enough ? "The points lie close enough; one here would help most" : "Click the object's surface here");
  }

  newObject() {
    const { class: name } = this.object;
    const number = 1 + Math.max(...this.objects.filter((one) => one.class === name).map((one) => one.object));
    this.objects.push({ class: name, object: number, points: [] });
    this.current = this.objects.length - 1;
    this.history.add(this.objects);
    this.work.show();
  }

  choose(index) {
    if (!this.objects[index]) return;
    this.current = index;
    this.work.show();
  }

  key(key) {
    if (key === "Delete" || key === "Backspace") this.remove();
    else if (key === "g") this.goToGap();
    else if (key === "a") this.newObject();
    else if (/^[1-9]$/.test(key)) this.choose(Number(key) - 1);
    else return false;
    return true;
  }

  layers(viewer) {
    const points = [];
    const surfaces = [];
    this.objects.forEach((object, index) => {
      const fit = this.fits.get(this.key_of(object));
      if (fit?.voxels && !viewer.maskHidden) {
        surfaces.push({ vertices: fit.voxels, faces: fit.faces, colour: this.colour(object), width: index === this.current ? 2.2 : 1.3 });
      }
      object.points.forEach((point, number) => {
        const far = fit?.count === object.points.length && this.isFar(fit, number);
        const under = this.under?.[0] === index && this.under[1] === number;
        points.push({ voxel: viewer.voxel(point), colour: far ? "#ff3b3b" : this.colour(object), ring: far ? "#ff3b3b" : under ? "#ffffff" : null });
      });
    });
    return { surfaces, points };
  }

  // Whether the surface misses a point by more than a voxel.
  isFar(fit, number) {
    return fit.residuals_mm[number] > Math.max(...this.work.viewer.view.spacing_mm);
  }

  panel() {
    const rows = this.objects.map((object, index) => {
      const fit = this.fits.get(this.key_of(object));
      const state = fit?.enough ? make("span.good", {}, " ✓") : "";
      return make(`div.row${index === this.current ? ".chosen" : ""}`, { onclick: () => this.choose(index), data: { object: this.key_of(object) } },
        dot(this.colour(object)), make("span.name", {}, this.title(object)),
        make("span.value", {}, `${object.points.length} points`, state));
    });
    const button = (label, key, action, name) => make("button", { onclick: action, data: { action: name } }, label, make("kbd", {}, key));
    return [
      make("div.list", {}, ...rows),
      ...this.report(),
      make("div.foot", {},
        make("div.buttons", {}, button("widest gap", "G", () => this.goToGap(), "gap"), button("new object", "A", () => this.newObject(), "object")),
        make("div.buttons", {}, button("undo", "Ctrl+Z", () => this.undo(), "undo"), button("delete", "Del", () => this.remove(), "delete")),
        make("button.primary", { onclick: () => this.work.finish(), data: { action: "done" } }, "Done, next case", make("kbd", {}, "Enter"))),
    ];
  }

  report() {
    const fit = this.fits.get(this.key_of(this.object));
    const missing = FEWEST - this.object.points.length;
    if (!fit) return [make("p.faint", {}, missing > 0 ? `${missing} more points make a surface. Spread them over all sides of the object.` : "fitting ...")];
    if (fit.failed) return [make("div.warnings", {}, fit.failed)];
    const far = fit.residuals_mm.filter((_, number) => this.isFar(fit, number)).length;
    return [
      make("div", {},
        make("div", {}, `${(fit.volume_mm3 / 1000).toFixed(2)} ml`),
        make(`div.${fit.enough ? "good" : "amber"}`, {}, fit.enough
          ? `Enough points: the widest gap is ${fit.gap_mm.toFixed(1)} mm`
          : `Widest gap ${fit.gap_mm.toFixed(1)} mm, enough is ${fit.gap_tolerance_mm.toFixed(1)} mm`),
        far ? make("div.bad", {}, `${far} points lie off the surface (red)`) : null),
      fit.warnings.length ? make("div.warnings", {}, fit.warnings[0]) : null,
    ].filter(Boolean);
  }
}
