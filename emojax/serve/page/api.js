// The API's description, as the server gives it, made readable.

import { find, make, sayAll } from "./dom.js";
import { renderCard } from "./card.js";
import { say } from "./strings.js";

const words = say.docs;

function list(pairs) {
  const element = make("dl");
  for (const [name, text] of pairs) element.append(make("dt", "", name), make("dd", "", text));
  return element;
}

function describe(path, method, about) {
  const article = make("article", "card", "", make("h2", "", `${method.toUpperCase()} ${path}`), make("p", "", about.summary));
  if (about.parameters?.length)
    article.append(make("h3", "", words.parameters), list(about.parameters.map((one) => [one.name, one.description ?? ""])));
  if (about.requestBody) article.append(make("h3", "", words.body), make("p", "", about.requestBody.description));
  article.append(make("h3", "", words.answers), list(Object.entries(about.responses).map(([status, one]) => [
    status, [one.description, Object.keys(one.content ?? {}).filter((type) => status === "200" && type).join(", ")].filter(Boolean).join(": ")])));
  if (path === "/predict")
    article.append(make("h3", "", words.example),
      make("pre", "", `curl --data-binary @photo.jpg '${location.origin}/predict?name=photo.jpg'`));
  return article;
}

async function start() {
  sayAll(words);
  document.title = words.title;
  const { info, paths } = await (await fetch("openapi.json")).json();
  find("api").append(
    make("div", "prose", "", ...renderCard(info.description, 2)),
    ...Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, about]) => describe(path, method, about))));
}

start();
