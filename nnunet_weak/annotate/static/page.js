// Small parts that all screens are made of.

// An element: tag with classes ("button.primary"), properties, children (elements or texts).
export function make(kind, properties = {}, ...children) {
  const [tag, ...classes] = kind.split(".");
  const element = document.createElement(tag);
  element.className = classes.join(" ");
  for (const [name, value] of Object.entries(properties)) {
    if (name === "data") Object.assign(element.dataset, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const find = (id) => document.getElementById(id);

// A dot in the colour of a class. The style object is allowed by our content security policy, a style attribute is not.
export function dot(colour) {
  const element = make("i.dot");
  element.style.background = colour;
  return element;
}

export function duration(seconds) {
  const whole = Math.floor(seconds);
  const hours = Math.floor(whole / 3600);
  const rest = `${String(Math.floor(whole / 60) % 60).padStart(hours ? 2 : 1, "0")}:${String(whole % 60).padStart(2, "0")}`;
  return hours ? `${hours}:${rest}` : rest;
}

export function showScreen(name) {
  document.body.dataset.screen = name;
  for (const button of find("nav").children) button.classList.toggle("chosen", button.dataset.screen === name);
}

export function showMessage(title, ...paragraphs) {
  find("message").replaceChildren(make("h1", {}, title), ...paragraphs.map((text) => make("p", {}, text)));
  showScreen("message");
}

// A question with a button for each answer; resolves to the key of the one chosen.
export function ask(text, answers) {
  const dialog = find("question");
  return new Promise((resolve) => {
    const buttons = Object.entries(answers).map(([key, label]) =>
      make("button", { onclick: () => { dialog.close(); resolve(key); }, data: { answer: key } }, label));
    dialog.replaceChildren(make("p", {}, text), make("div.buttons", {}, ...buttons));
    dialog.oncancel = (event) => event.preventDefault();
    dialog.showModal();
  });
}

// Colours of classes and regions, distinct on black and on grey; after twelve they begin anew.
const COLOURS = ["#ff5d5d", "#4cc2ff", "#ffd166", "#7ee081", "#d891ff", "#ff9f45", "#40e0d0", "#ff7ac8", "#b5e550", "#8fa8ff",
  "#e8c39e", "#66ffb3"];
export const colour = (number) => COLOURS[number % COLOURS.length];
export const BACKGROUND_COLOUR = "#b8c0c8";

export function channels(hex) {
  return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
}
