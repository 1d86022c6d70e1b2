// The model panel: what each model is, and what it is worth.

import { renderCard } from "./card.js";
import { button, find, make } from "./dom.js";
import { say } from "./strings.js";

const words = say.panel;

function term(name, value) {
  return [make("dt", "", name), make("dd", "", value || words.unknown)];
}

const number = (value) => (Number.isInteger(value) ? value.toLocaleString() : value.toFixed(3));

function table(heads, rows) {
  const line = (cells, kind) => make("tr", "", "", ...cells.map((cell) => make(kind, "", cell)));
  return make("div", "scroll", "", make("table", "", "",
    make("thead", "", "", line(heads, "th")),
    make("tbody", "", "", ...rows.map((cells) => line(cells, "td")))));
}

function figures(metrics) {
  if (!metrics.length) return make("p", "faint", words.none);
  return table([words.figure, words.value, words.interval, words.chance], metrics.map((one) => [
    one.name,
    number(one.value),
    one.interval ? one.interval.map((end) => end.toFixed(3)).join(" … ") : "",
    one.chance === null ? "" : number(one.chance),
  ]));
}

function precisions(model, used, models) {
  const rows = model.precisions.map((one) => {
    const inUse = used.model === model.name && used.precision === one.precision;
    const act = inUse
      ? make("span", "chosen", words.chosen)
      : button(words.choose, () => models.choose(model.name, one.precision), words.use(`${model.name} ${one.precision}`));
    const cells = [one.precision, `${(one.bytes / 1e6).toFixed(1)}\u00a0MB`,
      one.largest_difference === null ? "" : one.largest_difference.toExponential(1)];
    return make("tr", "", "", ...cells.map((cell) => make("td", "", cell)), make("td", "", "", act));
  });
  const head = [words.precisions, words.size, words.difference, ""].map((cell) => make(cell ? "th" : "td", "", cell));
  return make("div", "scroll", "", make("table", "", "",
    make("thead", "", "", make("tr", "", "", ...head)), make("tbody", "", "", ...rows)));
}

function drawModel(model, models) {
  const used = models.choice();
  const card = make("article", "card", "", make("h2", "", model.name));
  card.dataset.model = model.name;
  if (model.notice || model.synthetic)
    card.append(make("h3", "", words.notFor), make("p", "warning", model.notice ?? ""));
  if (model.synthetic) card.append(make("p", "warning", words.drawn));
  if (model.not_for) card.append(make("h3", "", words.mustNot), ...renderCard(model.not_for));
  const about = make("dl");
  about.append(
    ...term(words.trainedOn, model.trained_on),
    ...term(words.network, model.network),
    ...term(words.looksAt, words.looks[model.looks_at]),
    ...term(words.outputs, words.outputCount(model.action_units.length, model.emotions.length)),
    ...(model.uncertain_below === null ? [] : term(words.uncertainBelow, String(model.uncertain_below))),
    ...term(words.licence, model.licence),
    ...term(words.commit, model.commit?.slice(0, 12)),
  );
  card.append(about, precisions(model, used, models), make("h3", "", words.accuracy), figures(model.metrics));
  if (model.card) {
    const details = make("details", "", "", make("summary", "", words.card), ...renderCard(model.card));
    card.append(details);
  }
  return card;
}

/** Draw the panel anew; the focus stays on the model that was chosen. */
export function drawPanel(models) {
  const place = find("panel");
  const had = place.contains(document.activeElement);
  const open = new Set([...place.querySelectorAll("details[open]")].map((one) => one.closest(".card").dataset.model));
  place.replaceChildren(...models.all.map((model) => drawModel(model, models)));
  for (const card of place.children) if (open.has(card.dataset.model)) card.querySelector("details").open = true;
  if (had) place.querySelector(".chosen")?.closest("tr").querySelector("td")?.scrollIntoView({ block: "nearest" });
}
