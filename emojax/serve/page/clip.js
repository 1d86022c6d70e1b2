// Clip mode: a video with sound, by a network that takes 20 frames and their sound at once.

import { ask } from "./ask.js";
import { find, make } from "./dom.js";
import { makeHeat } from "./heat.js";
import { drawTimeline } from "./timeline.js";
import { say } from "./strings.js";

const FACE = 0;

/** Return one side's rows as what a timeline draws; a row without an answer has no face. */
function entriesOf(rows, about) {
  return rows.map((row) => {
    const value = (name) => ({ value: row[name] });
    const answered = row[`emotion_${about.emotions[0]}_p`] !== null;
    const face = {
      id: FACE,
      emotions: about.emotions.map((name) => value(`emotion_${name}_p`)),
      units: about.action_units.map((name) => value(`${name}_p`)),
    };
    return { seconds: row.timestamp, faces: answered ? [face] : [] };
  });
}

/** Return the emotion that is highest on average, and its mean. */
function verdict(entries, about) {
  const faces = entries.flatMap((entry) => entry.faces);
  if (!faces.length) return say.sideNothing;
  const means = about.emotions.map((_, place) => faces.reduce((sum, face) => sum + face.emotions[place].value, 0) / faces.length);
  const place = means.indexOf(Math.max(...means));
  return say.sideMean(say.emotionNames[about.emotions[place]] ?? about.emotions[place], means[place]);
}

function makeSide(side, words, ...children) {
  const article = make("article", "strip", "", make("h3", "", say.side[side]), make("p", "verdict", words), ...children);
  article.dataset.side = side;
  return article;
}

/** Start clip mode, where there is a network for clips. */
export function startClips(models) {
  const clipModels = models.all.filter((model) => model.looks_at !== "picture");
  document.querySelector('[data-mode="clip"]').hidden = !clipModels.length;
  const [said, video, sides, heard, input] = ["clip-said", "clip-video", "sides", "heard", "clip-input"].map(find);
  let drawn = [];
  let asked = 0;

  const tell = (words) => { said.textContent = words; };
  const fits = () => models.about(models.choice().model).looks_at !== "picture";
  const idle = () => tell(fits() ? say.clipIdle : say.pictureModel);

  function draw() {
    for (const { canvas, entries, names, seconds } of drawn)
      drawTimeline(canvas, { all: () => entries, seconds, end: seconds, holds: true }, FACE, names, video.currentTime || null,
        [0, 0.25, 0.5, 0.75, 1].map((share) => [share, () => say.seconds(share * seconds)]));
  }

  function addSide(given, rows, about) {
    // Of a network with one branch both are that one.
    const side = about.hears && about.sees ? given : about.hears ? "sound" : "frames";
    const entries = entriesOf(rows, about);
    const canvas = make("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", say.sideIs(side));
    const names = [
      ...about.emotions.map((name) => ["emotion", name, say.emotionNames[name] ?? name]),
      ...about.action_units.map((name) => ["unit", name, `${name} ${say.units[name]?.[0] ?? ""}`]),
    ];
    sides.append(makeSide(side, verdict(entries, about), canvas));
    // A sound's last row begins where its window does.
    const seconds = Math.max(0.1, ...rows.map((row) => row.timestamp), ...(rows[0]?.success ? [] : rows.map((row) => row.window_end ?? 0)));
    drawn.push({ canvas, entries, names, seconds });
    draw();
  }

  async function showSpectrogram(file, mine) {
    const answer = await ask(file, file.name, models.choice(), "png").catch(() => null);
    if (!answer || mine !== asked) return;
    const picture = make("img");
    picture.src = URL.createObjectURL(await answer.blob());
    picture.alt = say.spectrogram;
    heard.replaceChildren(make("h3", "", say.heard), picture, make("small", "faint", say.spectrogram),
      makeHeat(models, file.name, () => [file, file.name], say.heatListens).element);
  }

  async function look(file) {
    const mine = ++asked;
    sides.replaceChildren();
    heard.replaceChildren();
    drawn = [];
    if (!fits()) { idle(); return; }
    if (video.src) URL.revokeObjectURL(video.src);
    video.src = URL.createObjectURL(file);
    video.hidden = false;
    find("clip-unplayable").hidden = true;
    const about = models.about(models.choice().model);
    const wanted = about.hears && about.sees ? ["both", "frames", "sound"] : ["both"];
    try {
      for (const side of wanted) {
        tell(say.sideReading(side, file.name));
        try {
          const answer = await (await ask(file, file.name, models.choice(), "json", { only: side })).json();
          if (mine !== asked) return;
          addSide(side, answer.rows, about);
        } catch (error) {
          // A sound has no frames: what there is of it is shown all the same.
          if (side === "both") throw error;
          if (mine !== asked) return;
          sides.append(makeSide(side, say.sideNothing));
        }
        if (side === "both" && about.hears) await showSpectrogram(file, mine);
      }
      tell("");
    } catch (error) {
      if (mine === asked) tell(say.failed(file.name, error.message));
    }
  }

  let last = null;
  find("choose-clip").addEventListener("click", () => { input.value = ""; input.click(); });
  input.addEventListener("change", () => { if (input.files.length) { last = input.files[0]; look(last); } });
  models.onChange(() => { if (last) look(last); else idle(); });
  // A video that this browser can't play is read all the same.
  video.addEventListener("error", () => {
    video.hidden = true;
    find("clip-unplayable").hidden = !video.src;
  });
  // A sound needs no more room than its controls.
  video.addEventListener("loadedmetadata", () => video.classList.toggle("heard", !video.videoHeight));
  video.addEventListener("timeupdate", draw);
  new ResizeObserver(draw).observe(sides);
  idle();
}
