"""What a person in front of the camera is asked to show, and how the clip is labelled."""

from __future__ import annotations

import dataclasses
import re
from typing import Literal

from emojax import labels
from emojax.errors import UserError

PromptKind = Literal["emotions", "action_units", "both"]

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

# What to do with one's face, one action unit at a time; the units are FACS's, the words ours.
_INSTRUCTIONS: dict[int, str] = {
    1: "lift the inner ends of your eyebrows, as if worried",
    2: "lift the outer ends of your eyebrows",
    4: "pull your eyebrows down and together, as if thinking hard",
    5: "lift your upper eyelids until your eyes are wide open",
    6: "lift your cheeks so that they narrow your eyes from below",
    7: "tighten your eyelids, as if the light were too bright",
    9: "wrinkle your nose",
    10: "lift your upper lip straight up, without a smile",
    12: "pull the corners of your mouth up, into a smile",
    15: "pull the corners of your mouth down",
    16: "pull your lower lip down until the lower teeth show",
    17: "push your chin and lower lip up, as in a pout",
    20: "stretch your mouth sideways, towards the ears",
    23: "tighten your lips until they are thin, mouth closed",
    26: "let your jaw drop, mouth loose and open",
}

# The same in few words: an emotion asks for up to seven at once, read in a few seconds.
_SHORT: dict[int, str] = {
    1: "inner brows up",
    2: "outer brows up",
    4: "brows down and together",
    5: "upper lids wide open",
    6: "cheeks up",
    7: "lids tight",
    9: "nose wrinkled",
    10: "upper lip up",
    12: "mouth corners up",
    15: "mouth corners down",
    16: "lower lip down",
    17: "chin up",
    20: "mouth stretched sideways",
    23: "lips tight",
    26: "jaw dropped",
}


@dataclasses.dataclass(frozen=True)
class Prompt:
    """One thing to show."""

    name: str
    """What its clips are called: letters, digits, - and _."""
    title: str
    """What to show, in a few words."""
    instruction: str
    """What to do with the face, in a sentence of ASCII letters: windows draw no others."""
    emotion: str = ""
    """The emotion that the clip is labelled with; empty: unknown."""
    action_unit: str = ""
    """The action unit that the clip shows, as `AU12`; empty: none is known."""

    def __post_init__(self) -> None:
        """Refuse a name that no file can safely have."""
        check_name(self.name, "prompt")


def check_name(name: str, what: str) -> str:
    """Return a name that files and folders can be called by, anywhere.

    Raises:
        UserError: it could climb out of its folder, hide, or be another name elsewhere.
    """
    if not _SAFE_NAME.fullmatch(name):
        raise UserError(
            f"{what} {name!r}: files are named after it: use a code such as P01, "
            "up to 64 letters (a-z), digits, - and _"
        )
    return name


def list_prompts(kind: PromptKind) -> tuple[Prompt, ...]:
    """Return the seven emotions, the 15 action units one at a time, or both, in that order.

    An emotion's clip is labelled with the emotion alone: whether the face really showed
    its prototype is for a coder to say. An action unit's clip is labelled with that unit
    as present and leaves the others unknown: few people can move one alone.
    """
    emotions = tuple(_emotion(name) for name in labels.SEVEN)
    units = tuple(_action_unit(number) for number in labels.ACTION_UNITS)
    return {"emotions": emotions, "action_units": units, "both": (*emotions, *units)}[kind]


def _emotion(name: str) -> Prompt:
    units = labels.PROTOTYPES[name]
    if not units:
        instruction = "Look at the camera and relax your whole face."
    else:
        text = ", ".join(_SHORT[unit] for unit in units)
        instruction = f"{text[0].upper()}{text[1:]} (AU{'+'.join(map(str, units))})."
    return Prompt(name, name, instruction, emotion=name)


def _action_unit(number: int) -> Prompt:
    text = _INSTRUCTIONS[number]
    column = f"AU{number:02d}"
    title = f"AU{number}, {labels.ACTION_UNIT_NAMES[number]}"
    return Prompt(column, title, f"{text[0].upper()}{text[1:]}.", action_unit=column)
