// Video mode: the camera or a video file, watched frame by frame.

import { ask } from "./ask.js";
import { drawBoxes } from "./boxes.js";
import { eachFrame, makeGrabber } from "./capture.js";
import { fill, find, save } from "./dom.js";
import { makeHeat } from "./heat.js";
import { makeMeter } from "./meter.js";
import { startPast } from "./past.js";
import { makeReader } from "./rows.js";
import { openSocket } from "./socket.js";
import { makeStrips } from "./strip.js";
import { say } from "./strings.js";

const SPEAK_MS = 4000;
const FIGURES_MS = 500;
// The close codes of the server: its patience is over, and it goes.
const AWAY = 1001;
const SHUT_DOWN = 1012;

/** Start video mode. */
export function startVideo(models) {
  const [view, source, said] = ["view", "source", "video-said"].map(find);
  const strips = makeStrips(find("strips"));
  const meter = makeMeter();
  const grab = makeGrabber(source);
  let socket = null;
  let stopFrames = null;
  let camera = null;
  let file = null;
  let name = "camera";
  let read = () => [];
  let number = 0;
  let beganAt = null;
  let dropped = { here: 0, there: 0 };
  let newest = null;
  let drawing = false;
  let spokenAt = 0;
  let figuresAt = 0;
  // Of the frame that one looks back at, while its picture is still kept.
  const heatPlace = find("paused-heat");
  let held = null;
  let heat = null;

  const past = startPast(showEntry, (paused) => {
    if (file && paused) source.pause();
    if (file && !paused && source.src && !source.ended) source.play();
    held = null;
    if (!paused) heatPlace.replaceChildren();
  });

  function tell(words) { said.textContent = words; }

  function showFaces(faces) {
    strips.show(faces);
    if (performance.now() - spokenAt < SPEAK_MS) return;
    spokenAt = performance.now();
    const words = faces.map(({ id, emotion, units }) =>
      say.spoken(id, say.emotionNames[emotion], units.filter(({ present }) => present).map((unit) => say.units[unit.name]?.[0] ?? unit.name)));
    find("spoken").textContent = words.join(". ") || say.noFace;
  }

  function paint(picture, width, height, faces) {
    if (view.width !== width || view.height !== height) Object.assign(view, { width, height });
    view.getContext("2d").drawImage(picture, 0, 0, width, height);
    drawBoxes(view, faces);
    showFaces(faces);
  }

  function offerHeat(entry) {
    held = entry;
    if (!entry.jpeg || !entry.faces.length) { heatPlace.replaceChildren(); return; }
    const shown = () => [held.jpeg, `${name.replace(/\.[^.]*$/, "")}_${held.seconds.toFixed(2)}s.jpg`];
    if (heatPlace.childElementCount) heat.clear();
    else heatPlace.replaceChildren((heat = makeHeat(models, say.pausedFrame, shown)).element);
  }

  async function showEntry(entry) {
    offerHeat(entry);
    if (!entry.jpeg) { showFaces(entry.faces); return; }
    const picture = await createImageBitmap(entry.jpeg);
    // Whoever moves the slider fast asks for the next before this one is there.
    if (held === entry) paint(picture, entry.width, entry.height, entry.faces);
  }

  function drawNewest() {
    drawing = false;
    if (!newest || past.isPaused()) return;
    const { message, sent, faces } = newest;
    newest = null;
    paint(sent.canvas, message.width, message.height, faces);
    meter.drawn(performance.now() - sent.takenAt);
    if (performance.now() - figuresAt > FIGURES_MS) showFigures();
  }

  function showFigures() {
    figuresAt = performance.now();
    const [rate, median, p95] = [meter.rate(), meter.quantile(0.5), meter.quantile(0.95)];
    const lost = dropped.here + dropped.there;
    find("rate").textContent = rate ? say.rate(rate) : "";
    find("latency").textContent = median ? say.latency(median, p95) : "";
    find("dropped").textContent = lost ? say.dropped(lost) : "";
    Object.assign(find("rate").dataset, { rate, median, p95, dropped: lost });
  }

  const hear = {
    onModel(message) {
      read = makeReader(message.columns, message.action_units, message.emotions);
      past.begin(message);
      // A result of the model before may wait to be drawn: its bars would stay.
      newest = null;
      strips.clear();
    },
    onResult(message, sent) {
      if (!sent || past.isPaused()) return;
      meter.tick(performance.now());
      dropped.there = message.dropped;
      const faces = read(message.rows);
      past.add({ seconds: message.timestamp, rows: message.rows, faces, jpeg: sent.jpeg, width: message.width, height: message.height });
      newest = { message, sent, faces };
      if (!drawing) { drawing = true; requestAnimationFrame(drawNewest); }
    },
    onError: ({ detail }) => tell(detail),
    onDropped: (message) => { dropped.there = message.dropped; },
    async onClosed(opened, code, reason) {
      socket = null;
      if (!stopFrames) return;
      // A tab in the background sends nothing and loses its place: it comes back by itself.
      if (code === AWAY && (document.hidden || past.isPaused())) return;
      const places = opened ? null : await models.places().catch(() => null);
      stop();
      if (places && places.taken >= places.limit) tell(say.full(places.limit));
      else tell(opened && reason && code !== SHUT_DOWN ? say.closed(reason) : say.lost);
    },
  };

  function connect() {
    const { model, precision } = models.choice();
    socket = openSocket({ model, precision, name, smooth: Number(find("smooth").value) }, hear);
  }

  async function take(now, mediaTime) {
    if (past.isPaused()) return;
    if (!socket) { connect(); return; }
    if (!socket.free()) { if (newest || meter.rate()) dropped.here += 1; return; }
    beganAt ??= now;
    const mine = number++;
    const seconds = file ? mediaTime : (now - beganAt) / 1000;
    const to = socket;
    const { canvas, encoded } = grab();
    const frame = { canvas, takenAt: now, jpeg: null };
    to.hold(mine, frame);
    frame.jpeg = await encoded;
    to.send(mine, seconds, await frame.jpeg.arrayBuffer());
  }

  function begin() {
    number = 0;
    beganAt = null;
    dropped = { here: 0, there: 0 };
    meter.clear();
    past.resume();
    stopFrames = eachFrame(source, take);
    for (const id of ["stop"]) find(id).disabled = false;
    find("camera").disabled = !file;
    connect();
  }

  function stop() {
    stopFrames?.();
    stopFrames = null;
    socket?.close();
    socket = null;
    camera?.getTracks().forEach((track) => track.stop());
    camera = null;
    source.pause();
    if (source.src) URL.revokeObjectURL(source.src);
    source.srcObject = null;
    source.removeAttribute("src");
    find("stop").disabled = true;
    find("camera").disabled = false;
    past.draw();
  }

  const mayWatch = () => {
    const fits = models.about(models.choice().model).looks_at === "picture";
    if (!fits) tell(say.clipModel);
    return fits;
  };

  async function startCamera() {
    stop();
    file = null;
    name = "camera";
    find("every-frame").hidden = true;
    if (!mayWatch()) return;
    if (!navigator.mediaDevices) { tell(say.needsHttps); return; }
    tell(say.asking);
    try {
      camera = await navigator.mediaDevices.getUserMedia({
        video: { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } }, audio: false });
    } catch (error) {
      const words = { NotAllowedError: say.refused, NotFoundError: say.noCamera };
      tell(words[error.name] ?? say.cameraBusy);
      return;
    }
    camera.getVideoTracks()[0].addEventListener("ended", () => { stop(); tell(say.cameraGone); });
    source.srcObject = camera;
    await source.play();
    tell("");
    begin();
  }

  async function openFile(chosen) {
    stop();
    file = chosen;
    name = chosen.name;
    find("every-frame").hidden = false;
    if (!mayWatch()) return;
    tell("");
    source.src = URL.createObjectURL(chosen);
    try {
      await source.play();
    } catch {
      stop();
      tell(say.cantPlay(name));
      return;
    }
    begin();
  }

  async function saveEveryFrame() {
    const button = find("every-frame");
    button.disabled = true;
    tell(say.counting(file.name));
    try {
      const answer = await ask(file, file.name, models.choice(), "csv");
      save(`${file.name.replace(/\.[^.]*$/, "")}.csv`, await answer.blob());
      tell(answer.headers.get("Emojax-Problem") ?? "");
    } catch (error) {
      tell(say.failed(file.name, error.message));
    }
    button.disabled = false;
  }

  fill(find("smooth"), Object.entries(say.smoothing), "0");
  find("smooth").addEventListener("change", () => socket?.change({ smooth: Number(find("smooth").value) }));
  find("explain").addEventListener("change", ({ target }) => document.body.classList.toggle("brief", !target.checked));
  find("camera").addEventListener("click", startCamera);
  find("stop").addEventListener("click", () => { stop(); tell(""); });
  find("file").addEventListener("click", () => { find("file-input").value = ""; find("file-input").click(); });
  find("file-input").addEventListener("change", ({ target }) => { if (target.files.length) openFile(target.files[0]); });
  find("every-frame").addEventListener("click", saveEveryFrame);
  source.addEventListener("ended", () => {
    // The answers to the last frames are still on their way.
    setTimeout(() => { if (source.ended) { stop(); tell(say.ended); } }, 500);
  });
  view.setAttribute("aria-label", say.view);
  // Better known before the button is pressed.
  tell(window.isSecureContext ? say.idle : say.needsHttps);

  return {
    change() {
      const { model, precision } = models.choice();
      if (stopFrames && !mayWatch()) { stop(); tell(say.clipModel); return; }
      if (socket) socket.change({ model, precision });
    },
  };
}
