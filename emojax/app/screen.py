"""Where a live view is shown and what its person wishes: a window here, a page in `page.py`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np

from emojax.errors import UserError
from emojax.picture import read_picture
from emojax.window import Window

Deed = Literal["video", "picture", "record", "gray", "quit"]
"""`video`: the camera (again); `picture`: that picture instead; `record`: begin or end;
`gray`: gray or colour; `quit`: end."""

DEEDS: tuple[Deed, ...] = get_args(Deed)

KEYS: dict[str, Deed] = {"v": "video", "p": "picture", "r": "record", "g": "gray", "q": "quit"}
"""The key for each, in the window and on the page."""


@dataclasses.dataclass(frozen=True)
class Wish:
    """What somebody wants to happen."""

    deed: Deed
    """What to do."""
    picture: np.ndarray | None = None
    """For `picture`: blue, green, red, uint8 [height, width, 3]."""
    name: str = ""
    """For `picture`: the file's name."""


@runtime_checkable
class Screen(Protocol):
    """Shows views and hears wishes."""

    def show(self, view: np.ndarray, wait_s: float) -> Wish | None:
        """Show a view, and return the next wish, None where there is none.

        Args:
            view: blue, green, red, uint8 [height, width, 3].
            wait_s: for how long a wish may be waited for, in seconds.
        """
        ...


class WindowScreen:
    """A window; which picture to open is asked in the terminal."""

    hint = "   ".join(f"{key}: {deed}" for key, deed in KEYS.items())
    """What the keys do, for the foot of the view."""

    def __init__(
        self, window: Window, say: Callable[[str], object], ask: Callable[[str], str]
    ) -> None:
        """Start.

        Args:
            window: shows the views.
            say: is told in one line why a picture can't be opened.
            ask: asks a question and returns the answer.
        """
        self._window, self._say, self._ask = window, say, ask

    def show(self, view: np.ndarray, wait_s: float) -> Wish | None:
        """Show a view, and return what the key that was pressed asks for."""
        deed = KEYS.get(self._window.show(view, max(1, round(wait_s * 1000))) or "")
        if deed is None:
            return None
        if deed != "picture":
            return Wish(deed)
        try:
            name = self._ask("picture file (Enter: none): ").strip()
            return Wish(deed, read_picture(name), name) if name else None
        except EOFError:
            return None
        except UserError as error:
            self._say(str(error))
            return None
