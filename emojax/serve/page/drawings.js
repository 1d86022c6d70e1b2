// What each action unit does to a face, as a line drawing: the part that moves in colour, where it
// was as a dashed line, and an arrow that says where to.

import { find } from "./dom.js";

// Half a face in units of a hundredth of the drawing: x from the middle outwards, y downwards.
const REST = {
  brow: { inner: [8, 32], arch: [18, 25], outer: [30, 31] },
  eye: { upper: 5.5, lower: 4.5 },
  wing: 0,
  lips: { corner: [14, 76], upper: 71, lower: 81, openTop: 76, openBottom: 76 },
  chin: 93,
};
const EYE = [18, 43, 9];

const line = (...points) => `M${points.map((point) => point.join(" ")).join("L")}`;
const curve = ([first, bend, last]) => `M${first.join(" ")}Q${bend.join(" ")} ${last.join(" ")}`;
// A quadratic curve passes its bend at half the distance.
const through = (first, middle, last) =>
  curve([first, middle.map((value, axis) => 2 * value - (first[axis] + last[axis]) / 2), last]);
const lid = (height) => through([EYE[0] - EYE[2], EYE[1]], [EYE[0], EYE[1] + height], [EYE[0] + EYE[2], EYE[1]]);

/** Return a lip's line from corner to corner: rounder than a parabola, as an open mouth is. */
function rounded([x, y], middle) {
  const bend = (4 * middle - y) / 3;
  return `M${x} ${y}C${x * 0.65} ${bend} ${-x * 0.65} ${bend} ${-x} ${y}`;
}

// The heights at which a drawing begins: what moves fills it.
const [BROWS, EYES, MOUTH] = [2, 21, 47];
const HIGH = 57;

/** Each unit: how it changes a face at rest, its arrows [from, to], its creases, where to look. */
const UNITS = {
  AU01: {
    view: BROWS,
    brow: { inner: [7, 22], arch: [18, 24], outer: [30, 31] },
    arrows: [[[8, 18], [8, 8]]],
    creases: [line([0, 17], [3, 17]), line([0, 12], [3, 12])],
  },
  AU02: {
    view: BROWS,
    brow: { inner: [8, 31], arch: [21, 20], outer: [31, 22] },
    arrows: [[[27, 17], [27, 6]]],
  },
  AU04: {
    view: BROWS,
    brow: { inner: [4.5, 38], arch: [17, 31], outer: [30, 33] },
    arrows: [[[13, 14], [7, 27]]],
    creases: [line([2, 27], [2, 35])],
  },
  AU05: {
    view: EYES,
    eye: { upper: 11, lower: 5 },
    moved: ["upperLid"],
    arrows: [[[31, 43], [31, 31]]],
  },
  AU06: {
    view: EYES,
    eye: { upper: 4.5, lower: 2.5 },
    moved: ["lowerLid"],
    arrows: [[[21, 72], [21, 60]]],
    creases: [through([7, 55], [18, 51], [29, 55]), line([29, 41], [34, 38]), line([30, 44], [35, 44]), line([29, 47], [34, 50])],
  },
  AU07: {
    view: EYES,
    eye: { upper: 3, lower: 1.8 },
    moved: ["upperLid", "lowerLid"],
    arrows: [[[18, 28], [18, 37]], [[18, 59], [18, 48]]],
  },
  AU09: {
    view: EYES,
    wing: 5,
    moved: ["wing"],
    arrows: [[[14, 65], [14, 53]]],
    creases: [through([0, 44], [3, 43.5], [5, 42]), through([0, 48.5], [3, 48], [6, 46]), through([0, 53], [3, 52.5], [6, 50.5])],
  },
  AU10: {
    view: MOUTH,
    lips: { corner: [14, 77], upper: 67, lower: 82, openTop: 72.5, openBottom: 78 },
    moved: ["upperLip"],
    arrows: [[[5, 65], [5, 55]]],
    creases: [through([11, 58], [19, 63], [21, 74])],
  },
  AU12: {
    view: MOUTH,
    lips: { corner: [21, 69], upper: 74, lower: 84, openTop: 78, openBottom: 78 },
    moved: ["upperLip", "lowerLip"],
    arrows: [[[24, 66], [31, 58]]],
    creases: [through([12, 58], [19, 60], [22, 64])],
  },
  AU15: {
    view: MOUTH,
    lips: { corner: [16, 85], upper: 73, lower: 80.5, openTop: 76.5, openBottom: 76.5 },
    moved: ["upperLip", "lowerLip"],
    arrows: [[[21, 75], [21, 87]]],
  },
  AU16: {
    view: MOUTH,
    lips: { corner: [14, 75], upper: 71, lower: 87, openTop: 75, openBottom: 81.5 },
    moved: ["lowerLip"],
    arrows: [[[20, 77], [20, 89]]],
  },
  AU17: {
    view: MOUTH,
    lips: { corner: [13, 78], upper: 68, lower: 75, openTop: 71, openBottom: 71 },
    moved: ["lowerLip"],
    arrows: [[[0, 101], [0, 89]]],
    creases: [through([0, 80], [5, 81.5], [9, 87])],
  },
  AU20: {
    view: MOUTH,
    lips: { corner: [23, 77], upper: 73.5, lower: 80.5, openTop: 77, openBottom: 77 },
    moved: ["upperLip", "lowerLip"],
    arrows: [[[26, 77], [36, 77]]],
  },
  AU23: {
    view: MOUTH,
    lips: { corner: [11, 76], upper: 74, lower: 78, openTop: 76, openBottom: 76 },
    moved: ["upperLip", "lowerLip"],
    arrows: [[[0, 63], [0, 71]], [[0, 89], [0, 81]], [[24, 76], [15, 76]]],
  },
  AU26: {
    view: MOUTH,
    lips: { corner: [13, 75], upper: 70, lower: 92, openTop: 74, openBottom: 87 },
    chin: 102,
    moved: ["lowerLip", "jaw"],
    arrows: [[[21, 78], [21, 91]]],
  },
};

/** Return every part of a face as a path, by its name. */
function drawFace({ brow, eye, wing, lips, chin }) {
  const { corner, upper, lower, openTop, openBottom } = lips;
  const bow = (middle) => rounded(corner, middle);
  return {
    skull: "M0,8C24,8 36,22 36,42",
    jaw: `M36 42C36 ${chin - 26} 20 ${chin} 0 ${chin}`,
    iris: `M${EYE[0] - 4} ${EYE[1]}a4 ${Math.min(4, eye.upper)} 0 1 1 8 0a4 ${Math.min(4, eye.lower)} 0 1 1 -8 0`,
    brow: through(brow.inner, brow.arch, brow.outer),
    upperLid: lid(-eye.upper),
    lowerLid: lid(eye.lower),
    wing: `M6 ${57 - wing}q5 ${4 - wing / 3} -2 8`,
    ...(openBottom > openTop ? { opening: bow(openTop) + bow(openBottom) } : { between: bow(openTop) }),
    upperLip: bow(upper),
    lowerLip: bow(lower),
  };
}

/** Return an arrow: a line and its head. */
function arrow(from, to) {
  const turn = Math.atan2(to[1] - from[1], to[0] - from[0]);
  const barb = (angle) => [to[0] - 5.5 * Math.cos(turn + angle), to[1] - 5.5 * Math.sin(turn + angle)].map((value) => value.toFixed(1));
  return line(from, to) + line(barb(0.6), to, barb(-0.6));
}

/** Return the drawing of a unit, null where there is none. */
export function drawUnit(name) {
  const unit = UNITS[name];
  if (!unit) return null;
  const space = find("drawing").namespaceURI;
  const shape = (kind, attributes) => {
    const element = document.createElementNS(space, kind);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const half = shape("g", {});
  const put = (d, kind) => half.append(shape("path", { d, class: kind }));
  const moved = unit.moved ?? ["brow"];
  const [before, after] = [drawFace(REST), drawFace({ ...REST, ...unit })];
  for (const part of moved) put(before[part], "was");
  for (const [part, d] of Object.entries(after)) put(d, `${part} ${moved.includes(part) ? "moved" : ""}`);
  for (const d of unit.creases ?? []) put(d, "moved");
  for (const [from, to] of unit.arrows) put(arrow(from, to), "arrow");
  const other = half.cloneNode(true);
  other.setAttribute("transform", "scale(-1 1)");
  const svg = shape("svg", { class: "drawing", viewBox: `-38 ${unit.view} 76 ${HIGH}`, "aria-hidden": "true" });
  svg.append(half, other);
  return svg;
}
