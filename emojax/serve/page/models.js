// Which model is used: the lists at the top.

import { fill, find } from "./dom.js";
import { say } from "./strings.js";

/** Return what knows the models and which one is chosen. */
export async function loadModels() {
  const answer = await fetch("model");
  if (!answer.ok) throw new Error((await answer.json()).detail);
  const { models, limits } = await answer.json();
  const byName = new Map(models.map((model) => [model.name, model]));
  const [nameList, precisionList] = [find("model"), find("precision")];
  const told = [];
  let chosen = { model: models[0].name, precision: models[0].precisions[0].precision };

  function draw() {
    fill(nameList, models.map(({ name }) => [name, name]), chosen.model);
    const there = byName.get(chosen.model).precisions.map(({ precision }) => precision);
    fill(precisionList, there.map((one) => [one, one]), chosen.precision);
    const about = byName.get(chosen.model);
    find("notice").textContent = about.notice ?? (about.synthetic ? say.panel.drawn : "");
  }

  function choose(model, precision) {
    const there = byName.get(model).precisions.map((one) => one.precision);
    chosen = { model, precision: there.includes(precision) ? precision : there[0] };
    draw();
    for (const tell of told) tell(chosen);
  }

  nameList.addEventListener("change", () => choose(nameList.value));
  precisionList.addEventListener("change", () => choose(chosen.model, precisionList.value));
  draw();
  return {
    all: models,
    limits,
    choice: () => chosen,
    about: (name) => byName.get(name),
    choose,
    onChange: (tell) => told.push(tell),
    /** Ask how many streams have a place, and how many may. */
    async places() {
      const { limits: now } = await (await fetch("model")).json();
      return { taken: now.sessions_taken, limit: now.sessions };
    },
  };
}
