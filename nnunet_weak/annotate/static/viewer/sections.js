// What a slice shows of label maps and surfaces, as numbers; nothing is drawn here.

// The slice of a label map (right, anterior, superior, the first fastest): its values, row by row of `up`.
export function sliceOf(array, shape, { axis, across, up }, index) {
  const strides = [1, shape[0], shape[0] * shape[1]];
  const [width, height] = [shape[across], shape[up]];
  const values = new array.constructor(width * height);
  const start = index * strides[axis];
  for (let v = 0, out = 0; v < height; v++) {
    let at = start + v * strides[up];
    for (let h = 0; h < width; h++, at += strides[across]) values[out++] = array[at];
  }
  return { values, width, height };
}

// Edges between voxels of different labels, by label: lists of h0, v0, h1, v1 in voxels. Runs are joined.
export function outlines({ values, width, height }) {
  const found = new Map();
  const add = (label, ...edge) => {
    if (!label) return;
    if (!found.has(label)) found.set(label, []);
    found.get(label).push(...edge);
  };
  const at = (h, v) => (h < 0 || v < 0 || h >= width || v >= height ? 0 : values[v * width + h]);
  const walk = (lines, length, pair, edge) => {
    for (let line = 0; line <= lines; line++) {
      let start = 0;
      for (let k = 1; k <= length; k++) {
        const [a, b] = pair(line, start);
        if (k < length) {
          const [c, d] = pair(line, k);
          if (c === a && d === b) continue;
        }
        if (a !== b) {
          add(a, ...edge(line, start, k));
          add(b, ...edge(line, start, k));
        }
        start = k;
      }
    }
  };
  walk(width, height, (h, v) => [at(h - 1, v), at(h, v)], (h, from, to) => [h - 0.5, from - 0.5, h - 0.5, to - 0.5]);
  walk(height, width, (v, h) => [at(h, v - 1), at(h, v)], (v, from, to) => [from - 0.5, v - 0.5, to - 0.5, v - 0.5]);
  return found;
}

// Where a surface (vertices in voxels) meets the plane `voxel[axis] = at`: list of pairs of places.
export function section(vertices, faces, axis, at) {
  const found = [];
  for (let i = 0; i < faces.length; i += 3) {
    const corners = [];
    for (let edge = 0; edge < 3; edge++) {
      const a = 3 * faces[i + edge];
      const b = 3 * faces[i + ((edge + 1) % 3)];
      const below = vertices[a + axis] - at;
      const above = vertices[b + axis] - at;
      if (below < 0 !== above < 0) {
        const t = below / (below - above);
        corners.push([0, 1, 2].map((k) => vertices[a + k] + t * (vertices[b + k] - vertices[a + k])));
      }
    }
    if (corners.length === 2) found.push(corners);
  }
  return found;
}
