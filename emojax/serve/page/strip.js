// A face's strip: a bar for each emotion and action unit.

import { make } from "./dom.js";
import { drawUnit } from "./drawings.js";
import { say } from "./strings.js";

function makeBar(code, name, sentence) {
  const fill = make("i");
  const value = make("span", "value");
  const bar = make("li", "bar");
  bar.dataset.name = code || name;
  const words = make("span", "name");
  if (code) words.append(make("b", "", code), ` ${name}`);
  else words.textContent = name;
  const track = make("span", "track", "", fill);
  track.setAttribute("aria-hidden", "true");
  const drawing = drawUnit(code);
  if (drawing) bar.prepend(drawing);
  bar.append(words, track, value);
  if (sentence) {
    bar.title = sentence;
    bar.append(make("small", "sentence", sentence));
  }
  const set = (number, loud) => {
    fill.style.transform = `scaleX(${number})`;
    value.textContent = number.toFixed(2);
    bar.classList.toggle("loud", loud);
  };
  return { bar, set };
}

/** Return a strip's element and what shows a face in it. */
export function makeStrip(face) {
  const title = make("h3", "", say.faceTitle(face.id));
  const verdict = make("p", "verdict");
  const emotions = face.emotions.map(({ name }) => makeBar("", say.emotionNames[name] ?? name));
  const units = face.units.map(({ name }) => {
    const [words, sentence] = say.units[name] ?? [name, ""];
    return makeBar(name, words, sentence);
  });
  const element = make("article", "strip", "", title, verdict);
  element.dataset.face = face.id;
  element.setAttribute("aria-label", say.faceTitle(face.id));
  const list = (words, bars) => {
    const bars_ = make("ul", "bars", "", ...bars.map(({ bar }) => bar));
    bars_.setAttribute("aria-label", words);
    return [make("h4", "", words), bars_];
  };
  if (emotions.length) element.append(...list(say.emotions, emotions));
  if (units.length) element.append(...list(say.actionUnits, units));
  else element.append(make("p", "faint", say.noUnits));

  function show(now) {
    verdict.textContent = now.emotion ? (say.emotionNames[now.emotion] ?? now.emotion) : "";
    if (now.uncertain) verdict.append(make("small", "", ` ${say.uncertain}`));
    now.emotions.forEach(({ name, value }, index) => emotions[index].set(value, name === now.emotion));
    now.units.forEach(({ value, present }, index) => units[index].set(value, present));
  }
  show(face);
  return { element, show };
}

/** Return what keeps a strip for each face in view, in the order of their ids. */
export function makeStrips(place) {
  let strips = new Map();
  return {
    show(faces) {
      const next = new Map();
      for (const face of [...faces].sort((a, b) => a.id - b.id)) {
        const strip = strips.get(face.id) ?? makeStrip(face);
        strip.show(face);
        next.set(face.id, strip);
      }
      const same = next.size === strips.size && [...next.keys()].every((id) => strips.has(id));
      if (!same || !place.childElementCount)
        place.replaceChildren(
          ...(next.size ? [...next.values()].map(({ element }) => element) : [nobody()]),
        );
      strips = next;
    },
    clear() {
      strips = new Map();
      place.replaceChildren();
    },
  };
}

const nobody = () => make("p", "nobody", say.noFace);
