// How far raters agree; no single score is shown.

import { api } from "../api.js";
import { find, make, showScreen } from "../page.js";

const HEADS = ["Raters", "Region", "Scores", "Weighted kappa", "Same quality", "Difference (limits)", "Error kappa"];

export async function showAgreement() {
  const { raters, rows } = await api.agreement();
  const number = (value, digits = 2) => (value === null ? "-" : value.toFixed(digits));
  const table = make("table", {},
    make("thead", {}, make("tr", {}, ...HEADS.map((text, index) => make(index < 2 ? "th" : "th.number", {}, text)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {},
      make("td", {}, row.raters.join(", ")), make("td", {}, row.region), make("td.number", {}, String(row.count)),
      make("td.number", {}, number(row.kappa_quality)), make("td.number", {}, `${Math.round(100 * row.same_quality)} %`),
      make("td.number", {}, row.lower_limit === null ? number(row.mean_difference)
        : `${number(row.mean_difference)} (${number(row.lower_limit)} to ${number(row.upper_limit)})`),
      make("td.number", {}, number(row.kappa_error))))));
  const none = raters.length < 2 ? "Agreement needs two raters; so far there is " + (raters[0] ?? "none") + "." : "No region was scored by two raters yet.";
  find("agreement").replaceChildren(
    make("h1", {}, "Agreement between raters"),
    rows.length ? table : make("p.faint", {}, none),
    make("p.faint.small", {}, make("br"), "Weighted kappa: Cohen's, quadratic weights, of the qualities 0 to 5; 1 is agreement, 0 chance. Difference: its mean, first "
      + "rater minus second, and Bland and Altman's limits of agreement, within which 95 % of the differences lie. Error kappa: unweighted, of under, over, both and none."),
  );
  find("title").textContent = "";
  showScreen("agreement");
}
