// The command that converts what was annotated, and its dry run.

import { api } from "../api.js";
import { find, make, showScreen } from "../page.js";

export async function showExport() {
  const { command } = await api.exportCommand();
  const problems = make("pre.bad", { hidden: true, id: "problems" });
  const output = make("pre", { hidden: true, id: "dry-run" });
  const verdict = make("p", { hidden: true, id: "verdict" });
  const run = make("button.primary", { data: { action: "dry-run" } }, "Check with a dry run");
  run.onclick = async () => {
    run.disabled = true;
    verdict.hidden = false;
    verdict.className = "faint";
    verdict.textContent = "running ...";
    const result = await api.dryRun().catch((error) => ({ status: 1, problems: error.message, output: "" }));
    run.disabled = false;
    verdict.className = result.status === 0 ? "good" : "bad";
    verdict.textContent = result.status === 0 ? "The converter takes everything; nothing was written." : "The converter refuses this; nothing was written.";
    verdict.dataset.status = result.status;
    for (const [element, text] of [[problems, result.status ? result.problems : ""], [output, result.output]]) {
      element.hidden = !text;
      element.textContent = text;
    }
  };
  const copy = make("button", { onclick: async () => {
    await navigator.clipboard.writeText(command);
    copy.textContent = "copied";
  } }, "Copy");
  find("export").replaceChildren(
    make("h1", {}, "Export"),
    make("p", {}, "Everything is saved as you go. This command makes the nnU-Net data set; choose its number (-d) and name (-n), and set nnUNet_raw."),
    make("pre", { id: "command" }, ...command.split(" ").flatMap((word) => [make("span", {}, word), " "]).slice(0, -1)),
    make("div.summary", {}, copy, run),
    verdict,
    problems,
    output,
  );
  find("title").textContent = "";
  showScreen("export");
}
