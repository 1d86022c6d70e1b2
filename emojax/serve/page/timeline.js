// The last minute as a picture: a row for each output, from left to right in time.

import { say } from "./strings.js";

const BINS = 240;
const LAST_MINUTE = [60, 45, 30, 15].map((ago) => [1 - ago / 60, () => say.before(ago)]).concat([[1, () => say.now]]);
// In letters of the page, so that it grows with them.
const ROW = 0.87;
const LABEL = 9.1;
// A narrower picture has no room for more than its two ends.
const MANY_TICKS = 16;

/**
 * Draw one face's history. `names` are the outputs: [kind, name, words]. The newest is at the right
 * edge unless `history.end` says when that is; with `history.holds` an answer lasts until the next.
 */
export function drawTimeline(canvas, history, faceId, names, marked, ticks = LAST_MINUTE) {
  const style = getComputedStyle(canvas);
  const [ink, faint, line] = ["--ink", "--track", "--line"].map((name) => style.getPropertyValue(name).trim());
  const colour = { emotion: style.getPropertyValue("--emotion").trim(), unit: style.getPropertyValue("--unit").trim() };
  const letter = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const [high, left] = [Math.round(ROW * letter), Math.round(LABEL * letter)];
  const foot = 1.2 * letter;
  const sharp = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = Math.round(names.length * high + foot);
  if (canvas.width !== Math.round(width * sharp) || canvas.height !== Math.round(height * sharp)) {
    canvas.width = Math.round(width * sharp);
    canvas.height = Math.round(height * sharp);
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(sharp, 0, 0, sharp, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = `${0.73 * letter}px system-ui, sans-serif`;
  pen.textBaseline = "middle";
  const entries = history.all();
  const newest = history.end ?? (entries.length ? entries.at(-1).seconds : 0);
  const step = (width - left) / BINS;
  // On whole pixels: half-covered ones would be stripes.
  const edge = (bin) => left + Math.round(bin * step * sharp) / sharp;
  const silent = new Set();
  const sums = Array.from({ length: BINS }, () => null);
  for (const { seconds, faces } of entries) {
    const face = faces.find(({ id }) => id === faceId);
    const bin = Math.min(BINS - 1, Math.floor((1 - (newest - seconds) / history.seconds) * BINS));
    if (bin < 0) continue;
    if (!face) { silent.add(bin); continue; }
    const sum = (sums[bin] ??= { count: 0, values: new Float64Array(names.length) });
    sum.count += 1;
    [...face.emotions, ...face.units].forEach(({ value }, index) => { sum.values[index] += value; });
  }
  // Fewer results than places: what was seen last holds for a moment.
  if (history.holds) {
    for (let bin = 1; bin < BINS; bin++) if (!sums[bin] && !silent.has(bin)) sums[bin] = sums[bin - 1];
  } else {
    for (let bin = BINS - 2; bin > 0; bin--) if (!sums[bin] && sums[bin + 1]) sums[bin] = sums[bin - 1];
  }
  names.forEach(([kind, , words], row) => {
    const top = row * high;
    pen.globalAlpha = 1;
    pen.fillStyle = ink;
    pen.fillText(words, 0, top + high / 2, left - 6);
    pen.fillStyle = faint;
    pen.fillRect(left, top + 1, width - left, high - 2);
    pen.fillStyle = colour[kind];
    sums.forEach((sum, bin) => {
      if (!sum) return;
      pen.globalAlpha = sum.values[row] / sum.count;
      pen.fillRect(edge(bin), top + 1, edge(bin + 1) - edge(bin), high - 2);
    });
  });
  pen.globalAlpha = 1;
  pen.fillStyle = ink;
  const few = width - left < MANY_TICKS * letter;
  for (const [share, words] of few ? [ticks[0], ticks.at(-1)] : ticks) {
    pen.textAlign = share === 1 ? "right" : "left";
    pen.fillText(words(), left + share * (width - left), height - foot / 2);
  }
  pen.textAlign = "left";
  if (marked !== null) {
    const x = left + (1 - (newest - marked) / history.seconds) * (width - left);
    pen.fillStyle = ink;
    pen.fillRect(x - 1, 0, 2, height - foot);
  } else {
    pen.fillStyle = line;
    pen.fillRect(width - 1, 0, 1, height - foot);
  }
}
