// Where voxels are on the screen. A view's grid is ordered right, anterior, superior; positions are voxels of the view, their
// centres whole numbers. Three tiles show the planes across each axis, in the radiological convention: the patient's right
// on the left of the screen, the front on the left of sagittal slices, the head up.

export const PLANES = [
  { axis: 2, across: 0, up: 1, name: "axial", letters: ["R", "L", "A", "P"] },
  { axis: 1, across: 0, up: 2, name: "coronal", letters: ["R", "L", "S", "I"] },
  { axis: 0, across: 1, up: 2, name: "sagittal", letters: ["A", "P", "S", "I"] },
]; // letters: left, right, top, bottom of the screen

const GAP = 2;
const MARGIN = 0.94;

export class Planes {
  constructor() {
    this.main = 0;
    this.withSolid = true;
    this.zoom = 1;
    this.width = this.height = 1;
    this.setGrid([1, 1, 1], [1, 1, 1]);
  }

  setGrid(shape, spacing) {
    this.shape = shape;
    this.spacing = spacing;
    this.cursor = shape.map((n) => Math.floor(n / 2));
    this.fit();
  }

  // Show all of the grid.
  fit() {
    this.zoom = 1;
    this.centre = this.shape.map((n, axis) => ((n - 1) / 2) * this.spacing[axis]);
    this.layout();
  }

  // Show a box of voxels, with some room around it.
  zoomTo(low, high) {
    this.centre = low.map((first, axis) => ((first + high[axis] - 1) / 2) * this.spacing[axis]);
    const size = low.map((first, axis) => (high[axis] - first) * this.spacing[axis] * 1.35);
    const whole = this.shape.map((n, axis) => n * this.spacing[axis]);
    this.zoom = 1;
    this.layout();
    this.zoom = Math.max(1, Math.min(...this.tiles.map(({ across, up, rect, mmPerPixel }) => Math.min(
      (rect.width * mmPerPixel) / size[across], (rect.height * mmPerPixel) / size[up]))));
    if (!Number.isFinite(this.zoom) || !whole.every(Number.isFinite)) this.zoom = 1;
    this.layout();
  }

  resize(width, height) {
    this.width = width;
    this.height = height;
    this.layout();
  }

  // One large tile on the left; on the right the two others and, where there is one, the picture in 3D.
  layout() {
    const large = Math.floor(this.width * 0.64);
    const small = this.width - large - GAP;
    const rows = this.withSolid ? 3 : 2;
    const height = (this.height - (rows - 1) * GAP) / rows;
    const others = PLANES.filter((_, index) => index !== this.main);
    const rects = [
      [PLANES[this.main], { x: 0, y: 0, width: large, height: this.height }],
      ...others.map((plane, index) => [plane, { x: large + GAP, y: index * (height + GAP), width: small, height }]),
    ];
    this.solid = this.withSolid ? { x: large + GAP, y: 2 * (height + GAP), width: small, height } : null;
    this.tiles = rects.map(([plane, rect]) => {
      const size = [plane.across, plane.up].map((axis) => this.shape[axis] * this.spacing[axis]);
      const mmPerPixel = Math.max(size[0] / rect.width, size[1] / rect.height) / MARGIN / this.zoom;
      return { ...plane, rect, mmPerPixel, centre: [this.centre[plane.across], this.centre[plane.up]] };
    });
  }

  // The plane across an axis becomes the large one.
  enlarge(axis) {
    this.main = PLANES.findIndex((plane) => plane.axis === axis);
    this.layout();
  }

  tileAt(x, y) {
    return this.tiles.find(({ rect }) => x >= rect.x && y >= rect.y && x < rect.x + rect.width && y < rect.y + rect.height);
  }

  toScreen(tile, voxel) {
    const { rect, centre, mmPerPixel, across, up } = tile;
    return [
      rect.x + rect.width / 2 - (voxel[across] * this.spacing[across] - centre[0]) / mmPerPixel,
      rect.y + rect.height / 2 - (voxel[up] * this.spacing[up] - centre[1]) / mmPerPixel,
    ];
  }

  // The place under a pixel, not rounded, in the slice that the tile shows.
  toVoxel(tile, x, y) {
    const { rect, centre, mmPerPixel, across, up } = tile;
    const voxel = [...this.cursor];
    voxel[across] = (centre[0] - (x - rect.x - rect.width / 2) * mmPerPixel) / this.spacing[across];
    voxel[up] = (centre[1] - (y - rect.y - rect.height / 2) * mmPerPixel) / this.spacing[up];
    return voxel;
  }

  contains(voxel) {
    return voxel.every((value, axis) => value >= -0.5 && value < this.shape[axis] - 0.5);
  }

  moveCursor(voxel) {
    this.cursor = voxel.map((value, axis) => Math.max(0, Math.min(this.shape[axis] - 1, Math.round(value))));
  }

  scroll(axis, slices) {
    const voxel = [...this.cursor];
    voxel[axis] += slices;
    this.moveCursor(voxel);
  }

  // Zoom so that what lies under a pixel stays there.
  zoomAt(tile, x, y, factor) {
    const before = this.toVoxel(tile, x, y);
    this.zoom = Math.max(1, Math.min(40, this.zoom * factor));
    this.layout();
    const after = this.toVoxel(this.tiles.find((one) => one.axis === tile.axis), x, y);
    for (const axis of [tile.across, tile.up]) this.centre[axis] += (before[axis] - after[axis]) * this.spacing[axis];
    this.layout();
  }

  pan(tile, dx, dy) {
    this.centre[tile.across] += dx * tile.mmPerPixel;
    this.centre[tile.up] += dy * tile.mmPerPixel;
    this.layout();
  }

  // Show the cursor's surroundings where it has left the screen.
  follow() {
    for (const tile of this.tiles) {
      const [x, y] = this.toScreen(tile, this.cursor);
      const { rect } = tile;
      if (x < rect.x || y < rect.y || x > rect.x + rect.width || y > rect.y + rect.height) {
        this.centre = this.cursor.map((value, axis) => value * this.spacing[axis]);
        this.layout();
        return;
      }
    }
  }
}

// RAS mm of a place given in voxels, and back; `affine` has four rows.
export function toWorld(affine, voxel) {
  return [0, 1, 2].map((row) => affine[row][0] * voxel[0] + affine[row][1] * voxel[1] + affine[row][2] * voxel[2] + affine[row][3]);
}

export function inverted(affine) {
  const [[a, b, c, x], [d, e, f, y], [g, h, i, z]] = affine;
  const cofactors = [
    [e * i - f * h, c * h - b * i, b * f - c * e],
    [f * g - d * i, a * i - c * g, c * d - a * f],
    [d * h - e * g, b * g - a * h, a * e - b * d],
  ];
  const determinant = a * cofactors[0][0] + b * cofactors[1][0] + c * cofactors[2][0];
  return cofactors.map((row) => {
    const [p, q, r] = row.map((value) => value / determinant);
    return [p, q, r, -(p * x + q * y + r * z)];
  });
}
