// Looking back: pause, scrub and save the last minute.

import { fill, find, save } from "./dom.js";
import { makeHistory } from "./history.js";
import { csvText } from "./rows.js";
import { say } from "./strings.js";
import { drawTimeline } from "./timeline.js";

const REDRAW_MS = 400;

/** Return what keeps the last minute. `show` shows one of its entries, `hold` stops and goes on. */
export function startPast(show, hold) {
  const history = makeHistory();
  const [canvas, scrub, who, pause] = ["timeline", "scrub", "who", "pause"].map(find);
  let names = [];
  let columns = [];
  let paused = false;
  let marked = null;
  let drawnAt = 0;
  let listed = "";

  function listFaces() {
    const ids = [...new Set(history.all().flatMap(({ faces }) => faces.map(({ id }) => id)))].sort((a, b) => a - b);
    if (ids.join() === listed) return;
    listed = ids.join();
    find("whose").hidden = !ids.length;
    const chosen = ids.map(String).includes(who.value) ? who.value : ids[0];
    fill(who, ids.map((id) => [id, say.faceTitle(id)]), chosen);
  }

  function draw() {
    drawnAt = performance.now();
    if (find("past").hidden) return;
    listFaces();
    drawTimeline(canvas, history, Number(who.value), names, marked);
  }

  function setPaused(now) {
    paused = now;
    pause.textContent = now ? say.resume : say.pause;
    pause.setAttribute("aria-pressed", String(now));
    if (!now) { marked = null; toEnd(); }
    hold(now);
    draw();
  }

  function toEnd() {
    const last = Math.max(0, history.all().length - 1);
    scrub.max = last;
    scrub.value = last;
    tell(0);
  }

  function tell(ago) {
    const words = ago > 0.05 ? say.ago(ago) : say.now;
    find("scrubbed").textContent = words;
    scrub.setAttribute("aria-valuetext", words);
  }

  scrub.addEventListener("input", () => {
    const entries = history.all();
    const entry = entries[Number(scrub.value)];
    if (!entry) return;
    if (!paused) setPaused(true);
    marked = entry.seconds;
    tell(entries.at(-1).seconds - entry.seconds);
    show(entry);
    draw();
  });
  pause.addEventListener("click", () => {
    setPaused(!paused);
    const newest = history.all().at(-1);
    // What was drawn last may be a frame older than the newest.
    if (paused && newest) show(newest);
  });
  who.addEventListener("change", draw);
  new ResizeObserver(() => draw()).observe(find("past"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  find("save").addEventListener("click", () => {
    const rows = history.all().flatMap((entry) => entry.rows);
    save("minute.csv", csvText(columns, rows), "text/csv");
  });
  canvas.setAttribute("aria-label", say.timelineIs);

  return {
    /** Begin anew with a model's outputs: rows of two models don't share a table. */
    begin(model) {
      history.clear();
      columns = model.columns;
      names = [
        ...model.emotions.map((name) => ["emotion", name, say.emotionNames[name] ?? name]),
        ...model.action_units.map((name) => ["unit", name, `${name} ${say.units[name]?.[0] ?? ""}`]),
      ];
      listed = "";
      marked = null;
      fill(who, [], null);
      if (paused) setPaused(false);
      toEnd();
    },
    add(entry) {
      history.add(entry);
      if (find("past").hidden) find("past").hidden = false;
      if (performance.now() - drawnAt < REDRAW_MS) return;
      toEnd();
      draw();
    },
    draw: () => { if (!paused) toEnd(); draw(); },
    resume: () => { if (paused) setPaused(false); },
    isPaused: () => paused,
  };
}
