// The stage: slices, what is drawn over them, and the mouse. Tasks give `layers` to draw and `pointer` to react.

import { SliceRenderer, SolidRenderer } from "./niivue_adapter.js";
import { Overlay } from "./overlay.js";
import { find } from "../page.js";
import { inverted, Planes, toWorld } from "./planes.js";

const WHEEL_STEP = 60;

export class Viewer {
  // `withSolid`: whether a picture in 3D stands beside the slices.
  async start(withSolid) {
    this.stage = find("stage");
    this.planes = new Planes();
    this.planes.withSolid = withSolid;
    this.slices = new SliceRenderer();
    this.solid = new SolidRenderer();
    this.overlay = new Overlay(find("overlay"));
    this.task = null;
    this.maskHidden = false;
    this.filled = false;
    this.hovered = null;
    this.wheel = 0;
    this.resize();
    await this.slices.attach(find("slices"));
    if (withSolid) await this.solid.attach(find("solid").firstElementChild);
    new ResizeObserver(() => this.resize()).observe(this.stage);
    this.listen();
  }

  // Show a view: {header, blocks} of the server. Returns its label map.
  async show({ header, blocks }, window) {
    this.view = header;
    this.toVoxels = inverted(header.affine);
    this.planes.setGrid(header.shape, header.spacing_mm);
    const labels = header.label_bytes === 2 ? new Uint16Array(blocks[1].slice().buffer) : blocks[1].slice();
    this.labels = header.label_bytes ? labels : null;
    this.setName(window);
    await this.slices.load(blocks[0], window);
    this.overlay.forget();
    this.redraw();
  }

  // Another image on the same view.
  async showImage(bytes, window) {
    this.setName(window);
    await this.slices.load(bytes, window);
    this.redraw();
  }

  world(voxel) {
    return toWorld(this.view.affine, voxel);
  }

  voxel(world) {
    return toWorld(this.toVoxels, world);
  }

  resize() {
    const { width, height } = this.stage.getBoundingClientRect();
    if (!width || !height) return;
    this.planes.resize(width, height);
    const { solid } = this.planes;
    find("solid").hidden = !solid;
    if (solid) {
      const pixels = { left: solid.x, top: solid.y, width: solid.width, height: solid.height };
      for (const [side, length] of Object.entries(pixels)) find("solid").style[side] = `${length}px`;
    }
    this.overlay.resize(width, height);
    if (this.view) {
      this.slices.resize();
      if (this.planes.withSolid) this.solid.resize();
      this.draw(); // at once: a canvas that was resized is blank, and would be shown so for a frame
    }
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      if (this.view) this.draw();
    });
  }

  draw() {
    const { planes } = this;
    const fraction = planes.cursor.map((value, axis) => (value + 0.5) / planes.shape[axis]);
    this.slices.draw(planes.tiles, fraction, planes.width, planes.height);
    this.overlay.draw(planes, this.task?.layers(this) ?? {}, this.view.step > 1);
    this.stage.dataset.cursor = planes.cursor.join(" ");
    this.stage.dataset.drawn = Number(this.stage.dataset.drawn ?? 0) + 1;
  }

  moveTo(voxel) {
    this.planes.moveCursor(voxel);
    this.planes.follow();
    this.redraw();
  }

  listen() {
    const canvas = find("overlay");
    let drag = null;
    const place = (event) => { // offsetX is rounded where the stage begins between two pixels
      const { left, top } = canvas.getBoundingClientRect();
      return [event.clientX - left, event.clientY - top];
    };
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const tile = this.planes.tileAt(...place(event));
      if (!tile) return;
      if (event.ctrlKey) this.planes.zoomAt(tile, ...place(event), Math.exp(-event.deltaY / 400));
      else {
        this.wheel += event.deltaY;
        const slices = Math.trunc(this.wheel / WHEEL_STEP);
        this.wheel -= slices * WHEEL_STEP;
        this.planes.scroll(tile.axis, -slices);
      }
      this.redraw();
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      const [x, y] = place(event);
      const tile = this.planes.tileAt(x, y);
      if (!tile) return;
      canvas.setPointerCapture(event.pointerId);
      const kind = event.button === 2 ? "window" : event.button === 1 || event.shiftKey ? "pan" : event.altKey ? "cursor" : "task";
      drag = { kind, axis: tile.axis, x, y };
      if (event.button === 1) event.preventDefault();
      this.point("down", kind, tile, x, y, event);
    });
    canvas.addEventListener("pointermove", (event) => {
      const [x, y] = place(event);
      const tile = drag ? this.planes.tiles.find((one) => one.axis === drag.axis) : this.planes.tileAt(x, y);
      this.hovered = tile ? { axis: tile.axis, x, y, voxel: this.planes.toVoxel(tile, x, y) } : null;
      if (drag?.kind === "window") this.changeWindow(x - drag.x, y - drag.y);
      else if (drag?.kind === "pan") this.planes.pan(tile, x - drag.x, y - drag.y);
      else if (drag) this.point("move", drag.kind, tile, x, y, event);
      else if (tile) this.task?.hover?.(this.planes.toVoxel(tile, x, y), tile);
      if (drag) Object.assign(drag, { x, y });
      this.redraw();
    });
    const end = (event) => {
      if (!drag) return;
      const tile = this.planes.tiles.find((one) => one.axis === drag.axis);
      const { kind } = drag;
      drag = null;
      this.point("up", kind, tile, ...place(event), event);
    };
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
    canvas.addEventListener("pointerleave", () => { if (!drag) { this.hovered = null; this.redraw(); } });
    canvas.addEventListener("dblclick", (event) => {
      const tile = this.planes.tileAt(...place(event));
      if (tile && tile.axis !== this.planes.tiles[0].axis && this.task?.clicksMoveCursor) this.enlarge(tile.axis);
    });
  }

  point(phase, kind, tile, x, y, event) {
    const voxel = this.planes.toVoxel(tile, x, y);
    if (kind === "task" && !this.task?.clicksMoveCursor) this.task?.pointer(phase, voxel, tile, event);
    else if (kind === "cursor" || (kind === "task" && phase !== "up")) this.planes.moveCursor(voxel);
    this.redraw();
  }

  enlarge(axis) {
    this.planes.enlarge(axis);
    this.resize();
  }

  changeWindow(dx, dy) {
    const [, low, high] = this.window;
    const [width, middle] = [high - low, (high + low) / 2];
    const newWidth = Math.max(1e-6, width * Math.exp(dx / 250));
    const newMiddle = middle + (dy / 400) * width;
    this.setWindow(["by hand", newMiddle - newWidth / 2, newMiddle + newWidth / 2]);
  }

  setName(window) {
    this.window = window;
    this.stage.dataset.window = window[0];
  }

  setWindow(window) {
    this.setName(window);
    this.slices.setWindow(window[1], window[2]);
    this.redraw();
  }
}
