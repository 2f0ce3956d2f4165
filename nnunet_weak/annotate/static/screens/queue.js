// The queue: all cases in their order, and which one comes next.

import { api } from "../api.js";
import { duration, find, make, showScreen } from "../page.js";

// The case before (-1) or after (1) one, or with 0 the next that is not done, beginning behind it; null if there is none.
export function nextCase(rows, step, from, skipped) {
  const at = rows.findIndex((row) => row.case === from);
  const usable = (row) => !row.problem && !skipped.includes(row.case);
  if (step) {
    for (let i = at + step; i >= 0 && i < rows.length; i += step) if (usable(rows[i])) return rows[i].case;
    return null;
  }
  const turned = [...rows.slice(at + 1), ...rows.slice(0, at + 1)];
  return turned.find((row) => usable(row) && (!row.done || row.stale))?.case ?? null;
}

const CHECKING_MS = 1500;
let checking = 0;

export async function showQueue(app) {
  clearTimeout(checking);
  const rows = await api.queue();
  const done = rows.filter((row) => row.done && !row.stale).length;
  const seconds = rows.reduce((sum, row) => sum + row.seconds, 0);
  const left = rows.some((row) => !row.problem && (!row.done || row.stale));
  const bar = make("div.bar", {}, make("i"));
  bar.firstChild.style.width = `${(100 * done) / Math.max(1, rows.length)}%`;
  find("queue").replaceChildren(
    make("h1", {}, left ? "Cases" : "All cases are done"),
    make("div.summary", {},
      make("span", {}, `${done} of ${rows.length} done, ${duration(seconds)}`),
      bar,
      left ? make("button.primary", { onclick: () => app.next(), data: { action: "continue" } }, done || seconds ? "Continue" : "Start", make("kbd", {}, "Enter"))
        : make("button.primary", { onclick: () => app.navigate("export") }, "Export")),
    make("table", {},
      make("thead", {}, make("tr", {}, ...["Case", "State", "Time", "Done by others"].map((text) => make(text === "State" ? "th.long" : "th", {}, text)))),
      make("tbody", {}, ...rows.map((row) => make("tr.link", { onclick: () => { app.skipped = []; app.goTo(row.case); }, data: { case: row.case } },
        make("td", {}, row.case), make("td.long", {}, ...state(row)), make("td", {}, row.seconds ? duration(row.seconds) : ""),
        make("td.faint.long", {}, row.done_by_others.join(", ")))))),
    make("p.faint.small", {}, make("br"), `Written to ${app.study.output}`),
  );
  find("title").textContent = "";
  showScreen("queue");
  // Masks that were scored earlier are still being compared with what they were then.
  if (rows.some((row) => row.unchecked)) {
    checking = setTimeout(() => {
      if (document.body.dataset.screen === "queue") showQueue(app).catch(() => {});
    }, CHECKING_MS);
  }
}

function state(row) {
  if (row.problem) return [make("span.bad", {}, row.problem)];
  if (row.stale) return [make("span.amber", {}, "mask changed: score again")];
  if (row.done) return [make("span.good", {}, "done"), row.unchecked ? make("span.faint", {}, ", checking the mask ...") : null];
  return [make("span.faint", {}, row.started ? "begun" : "to do")];
}
