// Where the network looks: asked about a picture, shown as the server draws it.

import { ask } from "./ask.js";
import { button, fill, make, save } from "./dom.js";
import { say } from "./strings.js";

// Below this the server frames nothing either.
const WORTH_TELLING = 0.02;

const nameOf = (output) => say.emotionNames[output] ?? (say.units[output] ? `${output} ${say.units[output][0]}` : output);

/**
 * Return controls that ask about a picture, and the answer below them.
 * `where` names the picture in words, `given` returns it as [file, name], `words` are those of
 * what it is: a picture with faces, or a sound.
 */
export function makeHeat(models, where, given, words = say.heatLooks) {
  const about = models.about(models.choice().model);
  const list = make("select");
  fill(list, [
    ["", about.emotions.length ? say.heatHighest : say.heatHighestUnit],
    ...[...about.emotions, ...about.action_units].map((output) => [output, nameOf(output)]),
  ], "");
  const said = make("p", "said");
  said.setAttribute("role", "status");
  const answer = make("figure", "heat");
  const show = button(say.heatShow, look, words.showIn(where));
  const label = make("label", "field", say.heatOutput, list);
  const element = make("details", "looks", "",
    make("summary", "", words.title), make("div", "tools", "", label, show), said, answer);
  let asked = 0;

  async function look() {
    const mine = ++asked;
    const [file, called] = given();
    show.disabled = true;
    said.textContent = say.heatReading;
    answer.replaceChildren();
    try {
      const sent = await ask(file, called, models.choice(), "heat", { output: list.value });
      const faces = JSON.parse(sent.headers.get("Emojax-Heat"));
      const content = await sent.blob();
      if (mine === asked) draw(content, faces, called);
    } catch (error) {
      if (mine === asked) said.textContent = say.failed(called, error.message);
    }
    show.disabled = false;
  }

  function draw(content, faces, called) {
    said.textContent = faces.length ? "" : say.noFace;
    if (!faces.length) return;
    const picture = make("img");
    picture.src = URL.createObjectURL(content);
    picture.alt = words.of(where);
    picture.addEventListener("load", () => URL.revokeObjectURL(picture.src));
    const lines = faces.map((one) => {
      const [whole, least] = [one.whole, one.least].map((value) => value.toFixed(2));
      const fell = one.whole - one.least < WORTH_TELLING ? say.heatNowhere(WORTH_TELLING) : say.heatFell(least);
      return make("p", "", `${words.part(one)}: ${nameOf(one.output)} ${whole}; ${fell}`);
    });
    const keep = button(say.heatSave, () => save(`${called.replace(/\.[^.]*$/, "")}_heat.png`, content), words.saveNamed(where));
    answer.replaceChildren(picture, make("figcaption", "", "", ...lines, keep));
  }

  return {
    element,
    /** Forget the answer: it is about another picture. */
    clear() {
      asked += 1;
      said.textContent = "";
      answer.replaceChildren();
    },
  };
}
