// Starts the page: screens, keys, and moving from case to case.

import { showAgreement } from "./screens/agreement.js";
import { api } from "./api.js";
import { startClock } from "./clock.js";
import { DrawingTask } from "./tasks/drawings.js";
import { showExport } from "./screens/export.js";
import { showHelp } from "./screens/help.js";
import { hasWebGL2 } from "./viewer/niivue_adapter.js";
import { find, make, showMessage, showScreen } from "./page.js";
import { PointTask } from "./tasks/points.js";
import { nextCase, showQueue } from "./screens/queue.js";
import { ScoreTask } from "./tasks/scores.js";
import { Viewer } from "./viewer/viewer.js";
import { Work } from "./work.js";

const TASKS = { scores: ScoreTask, drawings: DrawingTask, points: PointTask };
const TASK_NAMES = { scores: "scores", drawings: "drawings", points: "points" };

class App {
  async start() {
    if (!hasWebGL2()) {
      showMessage("This browser shows no 3D graphics (WebGL2)",
        "Images are drawn with WebGL2, which is switched off or missing here. Nothing is lost; try one of these:",
        "1. Open the same address in a current Chrome, Edge or Firefox.",
        "2. In Chrome and Edge switch on Settings > System > Use graphics acceleration, and restart the browser. On Linux without a "
        + "graphics card start it as: chromium --use-angle=swiftshader --enable-unsafe-swiftshader",
        "3. In Firefox open about:config and set webgl.force-enabled to true.",
        "4. Work from another computer: ssh -L PORT:127.0.0.1:PORT this-computer, then open the address there.");
      return;
    }
    this.study = await api.study();
    this.viewer = new Viewer();
    this.work = new Work(this, TASKS[this.study.task]);
    find("brand").textContent = `${TASK_NAMES[this.study.task]} by ${this.study.annotator}`;
    this.fillNavigation();
    find("help-button").onclick = () => showHelp(this.work.task);
    startClock();
    window.addEventListener("keydown", (event) => this.key(event), true);
    window.addEventListener("keyup", (event) => this.keyUp(event), true);
    window.addEventListener("beforeunload", (event) => { if (this.work.saver?.changed) event.preventDefault(); });
    window.addEventListener("hashchange", () => this.route());
    await this.route();
  }

  fillNavigation() {
    const screens = { queue: "Queue", work: "Case", export: "Export" };
    if (this.study.task === "scores") screens.agreement = "Agreement";
    find("nav").replaceChildren(...Object.entries(screens).map(([screen, label]) =>
      make("button", { data: { screen }, onclick: () => this.navigate(screen) }, label)));
  }

  navigate(screen) {
    if (screen === "work") {
      if (this.work.name) this.goTo(this.work.name);
      else this.next();
    } else location.hash = screen === "queue" ? "" : screen;
  }

  goTo(name) {
    const hash = `#case/${encodeURIComponent(name)}`;
    if (location.hash === hash) this.route();
    else location.hash = hash;
  }

  // Show what the address says.
  async route() {
    const [screen, name] = location.hash.slice(1).split("/");
    if (screen !== "case") await this.work.saver?.flush();
    if (screen === "case") await this.openCase(decodeURIComponent(name));
    else if (screen === "export") await showExport();
    else if (screen === "agreement") await showAgreement();
    else await showQueue(this);
    document.body.dataset.ready = Number(document.body.dataset.ready ?? 0) + 1;
  }

  async openCase(name) {
    showScreen("work");
    if (!this.viewer.stage) await this.viewer.start(this.study.task !== "drawings"); // its canvases have a size from now on
    this.viewer.resize();
    if (this.work.name === name && this.work.task) {
      this.viewer.redraw();
      return;
    }
    const problem = await this.work.open(name);
    if (problem === null) {
      this.skipped = [];
      return;
    }
    this.skipped = [...(this.skipped ?? []), name];
    await this.next(1, name, `${name} was skipped: ${problem}`);
  }

  // Open the next case that is not done, or the one before or after the current one.
  async next(step = 0, from = this.work.name, notice = null) {
    if (!await this.leave()) return;
    const name = nextCase(await api.queue(), step, from, this.skipped ?? []);
    if (notice) this.work.tell(notice, true);
    if (name) this.goTo(name);
    else {
      if (location.hash) location.hash = "";
      else await this.route();
    }
  }

  // Save before leaving a case; false if that was not possible.
  async leave() {
    if (!this.work.saver) return true;
    return this.work.saver.flush();
  }

  key(event) {
    if (document.querySelector("dialog[open]")) {
      if (event.key === "Escape" || event.key === "?") find("help").close();
      return;
    }
    const typing = event.target instanceof HTMLTextAreaElement || event.target instanceof HTMLSelectElement;
    if (typing) {
      if (event.key === "Escape" || (event.key === "Enter" && !event.shiftKey)) {
        event.target.blur();
        event.preventDefault();
      }
      return;
    }
    if (event.key === "?") showHelp(this.work.task);
    else if (document.body.dataset.screen === "work" && this.work.key(event)) event.stopPropagation();
    else if (document.body.dataset.screen === "queue" && event.key === "Enter") this.next();
    else return;
    event.preventDefault();
  }

  keyUp(event) {
    if (event.key === " ") this.work.hideMask(false);
  }
}

new App().start().catch((error) => {
  showMessage("The page could not start", String(error.message ?? error), "Is nnunet_weak_annotate still running? Open the address that it "
    + "printed in the terminal.");
});
