// The only file that knows NiiVue (0.69.0): it draws the grey slices and the surfaces in 3D.
//
// Our views are ordered right, anterior, superior and have a spacing but no rotation, so that NiiVue's millimetres are
// voxel * spacing. Which part of a slice a tile shows is decided in planes.js; NiiVue would choose it by itself, so the two
// methods that do are replaced on the instance. Everything but grey values and surfaces is drawn by overlay.js.

import { Niivue, NVImage, NVMesh, SLICE_TYPE } from "../vendor/niivue.js";

const SLICE_TYPES = [SLICE_TYPE.SAGITTAL, SLICE_TYPE.CORONAL, SLICE_TYPE.AXIAL]; // by the axis across the slices
const QUIET = {
  logLevel: "error",
  loadingText: "",
  dragAndDropEnabled: false,
  isOrientationTextVisible: false,
  crosshairWidth: 0,
  show3Dcrosshair: false,
  viewModeHotKey: "",
  clipPlaneHotKey: "",
  cycleClipPlaneHotKey: "",
};

export function hasWebGL2() {
  return document.createElement("canvas").getContext("webgl2") !== null;
}

export class SliceRenderer {
  async attach(canvas) {
    this.nv = new Niivue({ ...QUIET, backColor: [0, 0, 0, 1], isSliceMM: true, isRadiologicalConvention: true,
      sagittalNoseLeft: true, tileMargin: 0, multiplanarPadPixels: 0 });
    await this.nv.attachToCanvas(canvas, false); // slices have no edges to smooth, and software draws a fifth faster
    const { nv } = this;
    const ownField = nv.screenFieldOfViewExtendedMM.bind(nv);
    nv.calculateWidthHeight = (type, scale, width, height) => [width, height];
    nv.screenFieldOfViewExtendedMM = (sliceType) => {
      const screen = ownField(sliceType);
      const tile = this.tiles?.find((one) => SLICE_TYPES[one.axis] === sliceType);
      if (!tile) return screen;
      const half = [tile.rect.width / 2, tile.rect.height / 2];
      for (const side of [0, 1]) {
        screen.mnMM[side] = tile.centre[side] - half[side] * tile.mmPerPixel;
        screen.mxMM[side] = tile.centre[side] + half[side] * tile.mmPerPixel;
        screen.fovMM[side] = screen.mxMM[side] - screen.mnMM[side];
      }
      return screen;
    };
  }

  // Show a NIfTI file given as bytes.
  async load(bytes, window) {
    const { nv } = this;
    this.withoutDrawing(() => { for (const volume of [...nv.volumes]) nv.removeVolume(volume); });
    const volume = await NVImage.loadFromUrl({ url: bytes.slice().buffer, name: "view.nii", colormap: "gray",
      cal_min: window[1], cal_max: window[2], trustCalMinMax: true });
    this.withoutDrawing(() => {
      nv.addVolume(volume);
      this.setWindow(window[1], window[2]);
    });
  }

  // NiiVue draws after every step; in software that takes longer than the step.
  withoutDrawing(steps) {
    this.nv.drawScene = () => {};
    try {
      steps();
    } finally {
      delete this.nv.drawScene;
    }
  }

  setWindow(low, high) {
    const [volume] = this.nv.volumes;
    volume.cal_min = low;
    volume.cal_max = high;
    this.nv.updateGLVolume();
  }

  // Draw tiles ({axis, rect in CSS pixels, centre in mm, mmPerPixel}) at a place given as fractions of the volume.
  draw(tiles, fraction, width, height) {
    this.tiles = tiles;
    const { nv } = this;
    if (!nv.volumes.length) return;
    nv.scene.crosshairPos = fraction;
    nv.customLayout = tiles.map(({ axis, rect }) => ({ sliceType: SLICE_TYPES[axis],
      position: [rect.x / width, rect.y / height, rect.width / width, rect.height / height] }));
    nv.drawScene();
  }

  resize() {
    this.nv.resizeListener();
  }
}

export class SolidRenderer {
  async attach(canvas) {
    this.nv = new Niivue({ ...QUIET, backColor: [0.04, 0.045, 0.05, 1], isOrientCube: false });
    await this.nv.attachToCanvas(canvas, true);
    this.nv.setSliceType(SLICE_TYPE.RENDER);
    this.nv.setRenderAzimuthElevation(200, 15);
    this.nv.scene.volScaleMultiplier = 0.8; // nothing is cut off in a tile that is wider than high
    this.meshes = new Map();
  }

  // Show these meshes: name -> {vertices (RAS mm), faces, colour [r, g, b]}; others go. Vertices of a mesh that is there are
  // replaced in place, as adding meshes rebuilds textures.
  show(meshes) {
    const { nv } = this;
    for (const [name, mesh] of this.meshes) {
      if (!meshes.has(name)) {
        nv.removeMesh(mesh);
        this.meshes.delete(name);
      }
    }
    for (const [name, { vertices, faces, colour }] of meshes) {
      const known = this.meshes.get(name);
      const rgba = new Uint8Array([...colour, 255]);
      if (known) {
        known.pts = vertices;
        known.tris = faces;
        known.rgba255 = rgba;
        known.updateMesh(nv.gl);
        Object.assign(known, extent(vertices)); // what the camera is set by; NiiVue measures new meshes only
      } else {
        const mesh = new NVMesh(vertices, faces, name, rgba, 1, true, nv.gl);
        this.meshes.set(name, mesh);
        nv.addMesh(mesh);
      }
    }
    nv.drawScene();
  }

  resize() {
    this.nv.resizeListener();
  }
}

function extent(vertices) {
  const [extentsMin, extentsMax] = [vertices.slice(0, 3), vertices.slice(0, 3)];
  for (let i = 0; i < vertices.length; i++) {
    extentsMin[i % 3] = Math.min(extentsMin[i % 3], vertices[i]);
    extentsMax[i % 3] = Math.max(extentsMax[i % 3], vertices[i]);
  }
  return { extentsMin: [...extentsMin], extentsMax: [...extentsMax] };
}
