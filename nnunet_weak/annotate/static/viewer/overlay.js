// Everything on the slices but grey values, on a 2D canvas: crisp lines at any zoom.
//
// Layers of a task, all optional: `labels` [{array, colours: Map of label -> colour, filled, outlined, strong, opacity}],
// `surfaces` [{vertices in voxels, faces, colour, width}], `points` [{voxel, colour, ring}], `brush` {radiusMm},
// `loop` [voxels], `marks` [{voxel, text}].

import { channels } from "../page.js";
import { outlines, section, sliceOf } from "./sections.js";

const NEAR_VOXELS = 2.5;
const SCALE_BARS = [1, 2, 5, 10, 20, 50, 100, 200];

export class Overlay {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.scratch = document.createElement("canvas");
    this.cache = new WeakMap();
  }

  resize(width, height) {
    const ratio = window.devicePixelRatio;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.ratio = ratio;
  }

  forget() {
    this.cache = new WeakMap();
  }

  // Slices and outlines are kept until the array changes; who changes one calls this.
  changed(array) {
    this.cache.delete(array);
  }

  draw(planes, layers, reduced) {
    const { context } = this;
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, planes.width, planes.height);
    context.lineJoin = context.lineCap = "round";
    this.unit = Math.max(1, planes.height / 1000); // lines and points are larger on a large screen, as letters are
    for (const tile of planes.tiles) {
      const { x, y, width, height } = tile.rect;
      context.save();
      context.beginPath();
      context.rect(x, y, width, height);
      context.clip();
      for (const layer of layers.labels ?? []) this.drawLabels(planes, tile, layer);
      for (const surface of layers.surfaces ?? []) this.drawSurface(planes, tile, surface);
      this.drawCursor(planes, tile);
      for (const point of layers.points ?? []) this.drawPoint(planes, tile, point);
      if (layers.loop && layers.loop.axis === tile.axis) this.drawLoop(planes, tile, layers.loop);
      if (layers.brush && layers.brush.axis === tile.axis) this.drawBrush(planes, tile, layers.brush);
      this.drawLetters(planes, tile, reduced);
      context.restore();
      context.strokeStyle = "#2b3138";
      context.lineWidth = 1;
      context.strokeRect(x + 0.5, y + 0.5, width - 1, height - 1);
    }
    if (planes.solid) {
      const { x, y, width, height } = planes.solid;
      context.strokeRect(x + 0.5, y + 0.5, width - 1, height - 1);
    }
  }

  drawLabels(planes, tile, { array, colours, filled, outlined, strong, opacity = 0.4, dashed }) {
    const index = planes.cursor[tile.axis];
    const { context } = this;
    const found = this.sliceOf(array, planes.shape, tile, index);
    const [left, top] = planes.toScreen(tile, this.place(tile, found.width - 0.5, found.height - 0.5));
    const [right, bottom] = planes.toScreen(tile, this.place(tile, -0.5, -0.5));
    if (filled) {
      this.paint(found, colours, opacity);
      context.imageSmoothingEnabled = false;
      context.drawImage(this.scratch, 0, 0, found.width, found.height, left, top, right - left, bottom - top);
    }
    if (!outlined) return;
    found.outlines ??= outlines(found);
    const [sx, sy] = [(right - left) / found.width, (bottom - top) / found.height];
    context.setLineDash(dashed ? [3, 3] : []);
    for (const [label, edges] of found.outlines) {
      const shade = colours.get(label);
      if (!shade) continue;
      context.beginPath();
      for (let i = 0; i < edges.length; i += 4) {
        context.moveTo(right - (edges[i] + 0.5) * sx, bottom - (edges[i + 1] + 0.5) * sy);
        context.lineTo(right - (edges[i + 2] + 0.5) * sx, bottom - (edges[i + 3] + 0.5) * sy);
      }
      context.strokeStyle = shade;
      context.globalAlpha = strong === undefined || strong === label ? 1 : 0.7;
      context.lineWidth = (strong === label ? 2.2 : 1.4) * this.unit;
      context.stroke();
      context.globalAlpha = 1;
    }
    context.setLineDash([]);
  }

  // A slice as coloured pixels on the scratch canvas, mirrored as the screen is.
  paint({ values, width, height }, colours, opacity) {
    this.scratch.width = width;
    this.scratch.height = height;
    const context = this.scratch.getContext("2d");
    const image = context.createImageData(width, height);
    const shades = new Map([...colours].map(([label, shade]) => [label, channels(shade)]));
    for (let v = 0, at = 0; v < height; v++) {
      for (let h = 0; h < width; h++, at++) {
        const shade = values[at] && shades.get(values[at]);
        if (!shade) continue;
        const out = 4 * ((height - 1 - v) * width + (width - 1 - h));
        image.data[out] = shade[0];
        image.data[out + 1] = shade[1];
        image.data[out + 2] = shade[2];
        image.data[out + 3] = 255 * opacity;
      }
    }
    context.putImageData(image, 0, 0);
  }

  sliceOf(array, shape, tile, index) {
    if (!this.cache.has(array)) this.cache.set(array, new Map());
    const kept = this.cache.get(array);
    const key = `${tile.axis} ${index}`;
    if (!kept.has(key)) {
      if (kept.size > 60) kept.clear();
      kept.set(key, sliceOf(array, shape, tile, index));
    }
    return kept.get(key);
  }

  place(tile, h, v) {
    const voxel = [0, 0, 0];
    voxel[tile.across] = h;
    voxel[tile.up] = v;
    return voxel;
  }

  drawSurface(planes, tile, { vertices, faces, colour, width = 2 }) {
    const { context } = this;
    context.strokeStyle = colour;
    context.lineWidth = width * this.unit;
    context.beginPath();
    for (const [a, b] of section(vertices, faces, tile.axis, planes.cursor[tile.axis])) {
      context.moveTo(...planes.toScreen(tile, a));
      context.lineTo(...planes.toScreen(tile, b));
    }
    context.stroke();
  }

  drawPoint(planes, tile, { voxel, colour, ring }) {
    const distance = Math.abs(voxel[tile.axis] - planes.cursor[tile.axis]);
    if (distance > NEAR_VOXELS) return;
    const { context } = this;
    const [x, y] = planes.toScreen(tile, voxel);
    context.globalAlpha = 1 - distance / (NEAR_VOXELS + 1);
    context.fillStyle = colour;
    context.strokeStyle = "#000";
    context.lineWidth = 1;
    context.beginPath();
    context.arc(x, y, 4 * this.unit, 0, 7);
    context.fill();
    context.stroke();
    if (ring) {
      context.strokeStyle = ring;
      context.lineWidth = 2 * this.unit;
      context.beginPath();
      context.arc(x, y, 8 * this.unit, 0, 7);
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  drawLoop(planes, tile, { voxels, colour }) {
    const { context } = this;
    context.beginPath();
    voxels.forEach((voxel, index) => context[index ? "lineTo" : "moveTo"](...planes.toScreen(tile, voxel)));
    context.closePath();
    context.strokeStyle = colour;
    context.lineWidth = 1.5;
    context.stroke();
    context.globalAlpha = 0.25;
    context.fillStyle = colour;
    context.fill();
    context.globalAlpha = 1;
  }

  drawBrush(planes, tile, { voxel, radiusMm, colour }) {
    const { context } = this;
    context.beginPath();
    context.arc(...planes.toScreen(tile, voxel), Math.max(2, radiusMm / tile.mmPerPixel), 0, 7);
    context.strokeStyle = colour;
    context.lineWidth = 1.2;
    context.stroke();
  }

  drawCursor(planes, tile) {
    const { context } = this;
    const { x, y, width, height } = tile.rect;
    const [cx, cy] = planes.toScreen(tile, planes.cursor);
    const gap = 12;
    context.strokeStyle = "#4cc2ff";
    context.globalAlpha = 0.5;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x, cy);
    context.lineTo(cx - gap, cy);
    context.moveTo(cx + gap, cy);
    context.lineTo(x + width, cy);
    context.moveTo(cx, y);
    context.lineTo(cx, cy - gap);
    context.moveTo(cx, cy + gap);
    context.lineTo(cx, y + height);
    context.stroke();
    context.globalAlpha = 1;
  }

  drawLetters(planes, tile, reduced) {
    const { context } = this;
    const { x, y, width, height } = tile.rect;
    const [left, right, top, bottom] = tile.letters;
    const size = Math.max(12, Math.round(planes.height / 60));
    context.textBaseline = "middle";
    const write = (text, at, down, align, colour = "#c7ced6", weight = 400) => {
      context.font = `${weight} ${size}px system-ui, "DejaVu Sans", sans-serif`;
      context.textAlign = align;
      context.lineWidth = 3;
      context.strokeStyle = "#000";
      context.strokeText(text, at, down);
      context.fillStyle = colour;
      context.fillText(text, at, down);
    };
    write(left, x + 8, y + height / 2, "left", undefined, 700);
    write(right, x + width - 8, y + height / 2, "right", undefined, 700);
    write(top, x + width / 2, y + size, "center", undefined, 700);
    write(bottom, x + width / 2, y + height - size, "center", undefined, 700);
    write(`${tile.name} ${planes.cursor[tile.axis] + 1} / ${planes.shape[tile.axis]}`, x + 8, y + size, "left", "#98a2ad");
    if (reduced) write("reduced: press Z for full resolution", x + width - 8, y + size, "right", "#ffc46b");
    const bar = SCALE_BARS.findLast((mm) => mm / tile.mmPerPixel < width / 3) ?? SCALE_BARS[0];
    const length = bar / tile.mmPerPixel;
    const base = y + height - size;
    write(`${bar} mm`, x + 10, base - size * 0.9, "left", "#98a2ad");
    context.strokeStyle = "#98a2ad";
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(x + 10, base);
    context.lineTo(x + 10 + length, base);
    context.stroke();
  }
}
