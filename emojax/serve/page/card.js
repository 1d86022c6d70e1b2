// A card in Markdown -> elements: headings, paragraphs, tables and lists are all that cards have.

import { make } from "./dom.js";

/** Return text with `code`, **strong** words and links' names, nothing of it as markup. */
function inline(words) {
  const parts = words.split(/(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\([^)]+\))/);
  return parts.filter(Boolean).map((part) => {
    if (part.startsWith("`")) return make("code", "", part.slice(1, -1));
    if (part.startsWith("**")) return make("strong", "", part.slice(2, -2));
    return part.replace(/^\[([^\]]+)\]\([^)]+\)$/, "$1").replaceAll("\\\\", "\\");
  });
}

const cells = (line) => line.replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());

function table(lines) {
  const row = (line, kind) => make("tr", "", "", ...cells(line).map((cell) => make(kind, "", "", ...inline(cell))));
  const body = lines.slice(2).map((line) => row(line, "td"));
  return make("div", "scroll", "", make("table", "", "",
    make("thead", "", "", row(lines[0], "th")), make("tbody", "", "", ...body)));
}

/** Return a card's elements; its headings begin at the level given. */
export function renderCard(text, level = 3) {
  return text.trim().split(/\n\s*\n/).flatMap((block) => {
    const lines = block.split("\n");
    const heading = lines[0].match(/^(#+)\s+(.*)/);
    if (heading) {
      const title = make(`h${Math.min(6, level + heading[1].length - 1)}`, "", "", ...inline(heading[2]));
      return [title, ...(lines.length > 1 ? renderCard(lines.slice(1).join("\n"), level) : [])];
    }
    if (lines.length > 1 && lines.every((line) => line.startsWith("|"))) return [table(lines)];
    if (lines.every((line) => /^[-*] |^ {2}/.test(line)))
      return [make("ul", "", "", ...block.split(/\n(?=[-*] )/).map((item) => make("li", "", "", ...inline(item.slice(2)))))];
    return [make("p", "", "", ...inline(lines.join(" ")))];
  });
}
