"""The text of the live page: the view, a button for each wish, and the script behind them."""

from __future__ import annotations

from emojax.html import STYLE

_STYLE = """
body { max-width: none; text-align: center; padding: .75rem; }
img { max-width: 100%; max-height: calc(100vh - 6.5rem); border: 1px solid var(--line); }
nav { display: flex; flex-wrap: wrap; gap: .5rem; justify-content: center; margin: .5rem 0; }
button {
  font: inherit; color: var(--ink); background: var(--card); border: 1px solid var(--line);
  border-radius: .4rem; padding: .35rem .9rem; cursor: pointer;
}
button:hover, button:focus-visible { border-color: var(--accent); }
kbd { color: var(--soft); font: .85em ui-monospace, monospace; padding-left: .35rem; }
#said { min-height: 1.5em; color: var(--warn); margin: 0 auto; }
"""

_BODY = """
<nav>
<button data-key="v">camera<kbd>v</kbd></button>
<button data-key="p">open a picture<kbd>p</kbd></button>
<button data-key="r">record, stop recording<kbd>r</kbd></button>
<button data-key="g">gray, colour<kbd>g</kbd></button>
<button data-key="q">quit<kbd>q</kbd></button>
</nav>
<input type="file" id="file" accept="image/*" hidden>
<img id="view" alt="the camera's picture with a bar for each action unit and emotion">
<p id="said" role="status"></p>
"""

_SCRIPT = """
const deeds = {v: "video", p: "picture", r: "record", g: "gray", q: "quit"};
const view = document.getElementById("view");
const file = document.getElementById("file");
const said = document.getElementById("said");
let ended = false;

async function send(path, body) {
  try {
    const answer = await fetch(path, {method: "POST", body: body});
    said.textContent = answer.ok ? "" : await answer.text() || `refused (${answer.status})`;
  } catch (error) {
    said.textContent = "emojax has ended";
  }
}

function press(key) {
  if (!(key in deeds)) return;
  if (key === "p") { file.value = ""; file.click(); return; }
  if (key === "q") ended = true;
  send(`wish/${deeds[key]}`, "").then(() => { if (ended) said.textContent = "emojax has ended"; });
}

for (const button of document.querySelectorAll("button"))
  button.addEventListener("click", () => press(button.dataset.key));
document.addEventListener("keydown", event => {
  if (!event.ctrlKey && !event.metaKey && !event.altKey && !event.repeat) press(event.key);
});
file.addEventListener("change", () => {
  if (file.files.length)
    send(`picture?name=${encodeURIComponent(file.files[0].name)}`, file.files[0]);
});

async function watch() {
  let number = 0;
  while (!ended) {
    try {
      const answer = await fetch(`view?after=${number}`);
      if (answer.status === 200) {
        number = answer.headers.get("X-Number");
        const url = URL.createObjectURL(await answer.blob());
        view.src = url;
        await view.decode().catch(() => {});
        URL.revokeObjectURL(url);
      } else if (answer.status !== 204) throw new Error(answer.status);
    } catch (error) {
      said.textContent = "emojax has ended; start it again and open the address that it prints";
      return;
    }
  }
}
watch();
"""


def page_text(nonce: str) -> str:
    """Return the page.

    Args:
        nonce: allows its style and its script, and no other.
    """
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>emojax webcam</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><style nonce="{nonce}">{STYLE}{_STYLE}</style></head>'
        f'<body>{_BODY}<script nonce="{nonce}">{_SCRIPT}</script></body></html>'
    )
