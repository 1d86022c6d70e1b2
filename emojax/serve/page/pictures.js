// Picture mode: chosen, dropped or pasted pictures, each with its faces.

import { ask } from "./ask.js";
import { drawBoxes } from "./boxes.js";
import { button, find, make, save } from "./dom.js";
import { makeHeat } from "./heat.js";
import { cellsOf, makeReader } from "./rows.js";
import { makeStrip } from "./strip.js";
import { say } from "./strings.js";

const LONGEST_SIDE = 1024;

/** Start picture mode; `models` tells what is chosen. */
export function startPictures(models) {
  const place = find("pictures");
  const said = find("picture-said");
  const input = find("choose-input");
  const drop = find("drop");
  const shown = new Map();

  async function drawCopy(file, faces, name) {
    const picture = await createImageBitmap(file);
    const factor = Math.min(1, LONGEST_SIDE / Math.max(picture.width, picture.height));
    const canvas = make("canvas");
    canvas.width = Math.round(picture.width * factor);
    canvas.height = Math.round(picture.height * factor);
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    drawBoxes(canvas, faces, factor);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", say.pictureOf(name, faces.length));
    return canvas;
  }

  async function savePicture(file, name) {
    try {
      const answer = await ask(file, name, models.choice(), "png");
      save(`${name.replace(/\.[^.]*$/, "")}.png`, await answer.blob());
    } catch (error) {
      said.textContent = say.failed(name, error.message);
    }
  }

  async function saveRows(file, name) {
    try {
      const answer = await ask(file, name, models.choice(), "csv");
      save(`${name.replace(/\.[^.]*$/, "")}.csv`, await answer.blob());
    } catch (error) {
      said.textContent = say.failed(name, error.message);
    }
  }

  async function look(entry) {
    const { file, name, element } = entry;
    element.replaceChildren(make("p", "faint", say.reading(name)));
    try {
      const answer = await (await ask(file, name, models.choice(), "json")).json();
      const about = models.about(answer.model);
      const rows = cellsOf(answer.columns, answer.rows);
      const faces = makeReader(answer.columns, about.action_units, about.emotions)(rows);
      // A video in a picture's place: its rows can be saved, a strip for each would be no use.
      const frames = new Set(answer.rows.map((row) => row.frame)).size;
      if (frames > 1) faces.length = 0;
      const isPicture = await drawCopy(file, faces, name).catch(() => null);
      const tools = make("div", "tools", "",
        ...(isPicture ? [button(say.savePicture, () => savePicture(file, name), say.savePictureNamed(name))] : []),
        button(say.saveRows, () => saveRows(file, name), say.saveRowsNamed(name)),
        button(say.remove, () => remove(entry), say.removeNamed(name)));
      const head = make("div", "stage", "", make("h2", "", `${name}: ${frames > 1 ? say.videoRows(frames) : say.faces(faces.length)}`));
      if (isPicture) head.append(isPicture);
      head.append(tools);
      if (isPicture && faces.length) head.append(makeHeat(models, name, () => [file, name]).element);
      if (answer.problem) head.append(make("p", "said", answer.problem));
      const strips = make("div", "strips", "", ...faces.map((face) => makeStrip(face).element));
      element.replaceChildren(make("div", "watch", "", head, strips));
      entry.columns = answer.columns;
    } catch (error) {
      element.replaceChildren(
        make("p", "said", say.failed(name, error.message)),
        button(say.remove, () => remove(entry), say.removeNamed(name)));
      entry.columns = null;
    }
    find("save-all").disabled = ![...shown.values()].some(({ columns }) => columns);
  }

  function remove(entry) {
    entry.element.remove();
    shown.delete(entry.element);
    find("save-all").disabled = !shown.size;
    find("choose").focus();
  }

  /** Show files, the newest on top. */
  async function add(files) {
    said.textContent = "";
    const entries = [...files].map((file) => {
      const name = file.name || say.toClipboard;
      const entry = { file, name, element: make("article", "picture"), columns: null };
      shown.set(entry.element, entry);
      return entry;
    });
    place.prepend(...entries.map(({ element }) => element));
    // One after the other: a folder of pictures must not fill the server's places.
    for (const entry of entries) await look(entry);
  }

  async function saveAll() {
    const texts = [];
    for (const entry of [...shown.values()].filter(({ columns }) => columns)) {
      const answer = await ask(entry.file, entry.name, models.choice(), "csv").catch(() => null);
      if (answer) texts.push(await answer.text());
    }
    const [first, ...others] = texts;
    if (first) save("predictions.csv", first + others.map((text) => text.slice(text.indexOf("\n") + 1)).join(""), "text/csv");
  }

  find("choose").addEventListener("click", () => { input.value = ""; input.click(); });
  find("save-all").addEventListener("click", saveAll);
  input.addEventListener("change", () => add(input.files));
  for (const kind of ["dragenter", "dragover"])
    document.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  document.addEventListener("dragleave", () => drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) { models.show("picture"); add(event.dataTransfer.files); }
  });
  document.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files ?? [];
    if (files.length) { models.show("picture"); add(files); }
  });
  return { lookAgain: async () => { for (const entry of shown.values()) await look(entry); } };
}
