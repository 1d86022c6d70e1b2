// The page: three modes, one model.

import { startClips } from "./clip.js";
import { find, sayAll } from "./dom.js";
import { loadModels } from "./models.js";
import { drawPanel } from "./panel.js";
import { startPictures } from "./pictures.js";
import { say } from "./strings.js";
import { startVideo } from "./video.js";

const SECTIONS = { video: "video", picture: "picture", clip: "clip", model: "panel" };

function showMode(mode) {
  for (const [name, id] of Object.entries(SECTIONS)) find(id).hidden = name !== mode;
  for (const button of document.querySelectorAll("[data-mode]"))
    button.setAttribute("aria-current", button.dataset.mode === mode ? "page" : "false");
  history.replaceState(null, "", `#${mode}`);
}

async function start() {
  sayAll();
  if (!["127.0.0.1", "localhost", "[::1]"].includes(location.hostname))
    document.querySelector('[data-say="stays"]').textContent = say.staysRemote;
  for (const button of document.querySelectorAll("[data-mode]"))
    button.addEventListener("click", () => showMode(button.dataset.mode));
  const wanted = location.hash.slice(1);
  showMode(wanted in SECTIONS ? wanted : "video");
  let models;
  try {
    models = { ...(await loadModels()), show: showMode };
  } catch (error) {
    find("video-said").textContent = error.message || say.lost;
    return;
  }
  const pictures = startPictures(models);
  const video = startVideo(models);
  startClips(models);
  drawPanel(models);
  models.onChange(() => {
    drawPanel(models);
    video.change();
    pictures.lookAgain();
  });
  document.body.dataset.ready = "true";
}

start();
