// Saves a case a second after each change. What cannot be saved stays in this browser, under a red bar, and is tried again.

import { api, RequestError } from "./api.js";
import { ask, find, make } from "./page.js";

const DELAY_MS = 1000;
const AGAIN_MS = 4000;

export class Saver {
  // `collect()` gives {header, blocks} to save; `key` is the case's name in the browser's store.
  constructor(caseName, revision, key, collect) {
    Object.assign(this, { caseName, revision, key, collect, changed: false, saving: null, timer: 0, savedAt: 0, closed: false });
    this.show();
    this.ticking = setInterval(() => this.show(), 1000);
  }

  change() {
    this.changed = true;
    this.show();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush(), DELAY_MS);
  }

  // Save now what is not saved yet; true if nothing is left unsaved.
  async flush() {
    clearTimeout(this.timer);
    if (this.saving) await this.saving;
    if (!this.changed || this.closed) return !this.changed;
    this.saving = this.save();
    await this.saving;
    this.saving = null;
    return !this.changed;
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    clearInterval(this.ticking);
  }

  async save() {
    this.changed = false;
    let message = null;
    try {
      message = await this.collect();
      const answer = await api.save(this.caseName, this.revision, message.header, message.blocks);
      this.revision = answer.revision;
      this.savedAt = Date.now();
      alarm(null);
      await forget(this.key);
    } catch (error) {
      this.changed = true;
      if (message) await remember(this.key, { revision: this.revision, ...message });
      if (error instanceof RequestError && error.status === 409) await this.resolve(error, message);
      else {
        const reason = error instanceof RequestError ? error.message : "the server does not answer";
        alarm(`Not saved: ${reason}. Your work is kept in this browser and saved as soon as that is possible.`);
        this.timer = setTimeout(() => this.flush(), AGAIN_MS);
      }
    }
    this.show();
  }

  async resolve(error, message) {
    const answer = await ask(
      `This case was changed in another window at ${new Date(error.content.saved_at).toLocaleTimeString()}. Reload what is saved there, or keep yours as a copy `
      + "beside it first?", { reload: "Reload", copy: "Keep mine as a copy, then reload" });
    if (answer === "copy") await api.keepCopy(this.caseName, message.header);
    await forget(this.key);
    this.changed = false;
    location.reload();
  }

  show() {
    const element = find("saved");
    if (this.closed) return;
    const seconds = Math.round((Date.now() - this.savedAt) / 1000);
    element.className = this.changed ? "waiting" : "";
    element.dataset.state = this.changed ? "waiting" : "saved";
    element.dataset.revision = this.revision;
    if (this.changed) element.textContent = this.saving ? "saving ..." : "not saved yet";
    else element.textContent = this.savedAt ? `saved ${seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min`} ago` : "";
    if (!find("alarm").hidden) element.className = "failed";
  }
}

export function alarm(text) {
  const bar = find("alarm");
  bar.hidden = text === null;
  bar.replaceChildren(make("span", {}, text ?? ""));
}

// The browser's own store, for work that the server could not take.
function store(mode, use) {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open("nnunet_weak_annotate", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("unsaved");
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const database = opening.result;
      const request = use(database.transaction("unsaved", mode).objectStore("unsaved"));
      request.onsuccess = () => { database.close(); resolve(request.result); };
      request.onerror = () => { database.close(); reject(request.error); };
    };
  });
}

const remember = (key, content) => store("readwrite", (objects) => objects.put(content, key)).catch(() => {});
const forget = (key) => store("readwrite", (objects) => objects.delete(key)).catch(() => {});

// What an earlier window could not save of a case, if it is based on the revision that the server still has.
export async function unsaved(key, revision) {
  const found = await store("readonly", (objects) => objects.get(key)).catch(() => undefined);
  return found && found.revision === revision ? found : null;
}
