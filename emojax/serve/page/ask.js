// A file goes to the server, its answer comes back.

import { say } from "./strings.js";

/**
 * Ask the server about a file; return its answer, or throw with the server's own words.
 * `more` is what else stands in the address; what is empty is left out.
 */
export async function ask(file, name, choice, form, more = {}) {
  const asked = new URLSearchParams({ name, model: choice.model, precision: choice.precision, form });
  for (const [key, value] of Object.entries(more)) if (value) asked.set(key, value);
  let answer;
  try {
    answer = await fetch(`predict?${asked}`, { method: "POST", body: file });
  } catch {
    throw new Error(say.noAnswer);
  }
  if (answer.ok) return answer;
  const { detail } = await answer.json().catch(() => ({}));
  throw new Error(detail ?? `${answer.status}`);
}
