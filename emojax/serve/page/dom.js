// Elements in a line each, and words into their places.

import { say, language } from "./strings.js";

export const find = (id) => document.getElementById(id);

/** Return a new element; `words` is text, never markup. */
export function make(kind, classes = "", words = "", ...children) {
  const element = document.createElement(kind);
  if (classes) element.className = classes;
  if (words !== "") element.textContent = words;
  element.append(...children);
  return element;
}

export function button(words, act, label = "") {
  const element = make("button", "", words);
  element.type = "button";
  if (label && label !== words) element.setAttribute("aria-label", label);
  element.addEventListener("click", act);
  return element;
}

/** Give every element that asks for words its words. */
export function sayAll(words = say) {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-say]"))
    element.textContent = words[element.dataset.say];
  for (const element of document.querySelectorAll("[data-label]"))
    element.setAttribute("aria-label", words[element.dataset.label]);
}

/** Hand a file to the browser's downloads. */
export function save(name, content, type) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = make("a");
  link.href = url;
  link.download = name;
  link.click();
  // The download has begun by then, whatever the browser.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export function fill(select, pairs, chosen) {
  select.replaceChildren(
    ...pairs.map(([value, words]) => {
      const option = make("option", "", words);
      option.value = value;
      option.selected = String(value) === String(chosen);
      return option;
    }),
  );
}
