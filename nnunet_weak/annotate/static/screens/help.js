// The keys.

import { find, make } from "../page.js";

const EVERYWHERE = [
  ["wheel, ↑ ↓", "slice of the plane under the mouse"],
  ["Ctrl+wheel", "zoom"],
  ["Shift+drag", "move the picture; so does the middle button"],
  ["right drag", "window: width and level"],
  ["W", "next window"],
  ["C", "next image channel, where there are several"],
  ["Z", "zoom to the region or object, and back"],
  ["M", "another plane becomes the large one"],
  ["F", "outline or filled"],
  ["Space held", "hides what lies on the image"],
  ["Ctrl+Z, Ctrl+Y", "undo, redo"],
  ["N / P", "next or earlier case"],
  ["Enter", "done, next case"],
];

export function showHelp(task) {
  const dialog = find("help");
  const list = (keys) => make("dl", {}, ...keys.flatMap(([key, text]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, text)]));
  dialog.replaceChildren(
    make("h1", {}, "Keys and mouse"),
    ...(task ? [list(task.keys)] : []),
    list(EVERYWHERE),
    make("button", { onclick: () => dialog.close() }, "Close"),
  );
  dialog.showModal();
}
