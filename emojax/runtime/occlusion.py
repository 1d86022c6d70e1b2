"""Where a network looks: cover a part of what it is shown, and see how far its answer falls.

A network that runs by LiteRT has no gradients to ask. Covering asks the network itself, and what
it says can be checked by hand: these pixels gone, this much of the score gone.

Source: Zeiler and Fergus (2014), Visualizing and understanding convolutional networks, section
4.2. They grey out a square of the picture; for a face we take the crop's own mean, so that the
square is neither lighter nor darker than the rest of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from typing import TypeVar

import numpy as np

from emojax.errors import UserError
from emojax.spec import InputSpec

SHARE = 2 / 7
"""Side of the square, as a share of the longer side: 28 pixels of a crop of 98 x 80, an eye with
its brow or half a mouth. Half of that hides too little: what is beside it tells the same."""

_STEPS = 4

Result = TypeVar("Result")

HIGHEST = "highest"
"""Instead of an output's name: the emotion with the highest score, of each face its own."""


@dataclasses.dataclass(frozen=True)
class Occlusion:
    """How far each output falls for each place of the square."""

    whole: np.ndarray
    """float32 [outputs], the answer with nothing covered."""
    falls: np.ndarray
    """float32 [rows, columns, outputs]: the whole's answer less the covered one's; below 0 where
    covering raises it."""
    tops: tuple[int, ...]
    """First row of the square, for each row of `falls`."""
    lefts: tuple[int, ...]
    """First column of the square, for each column of `falls`."""
    side: int
    """Of the square, in pixels."""
    shape: tuple[int, int]
    """Height and width of what was covered."""


def place_patches(length: int, side: int) -> tuple[int, ...]:
    """Return where squares begin along an axis: a quarter of one apart, the last at the very end.

    Args:
        length: of the axis, in pixels.
        side: of the square, `length` at most.
    """
    last = length - side
    return (*range(0, last, max(1, side // _STEPS)), last)


def occlude(
    image: np.ndarray,
    answer: Callable[[np.ndarray], np.ndarray],
    fill: int,
    share: float = SHARE,
) -> Generator[None, None, Occlusion]:
    """Return how far a network's answer falls, covering a square after the other.

    Yields after each row of squares, so that whoever runs it may let others have a turn.

    Args:
        image: uint8 [height, width].
        answer: of uint8 [n, height, width] the outputs, float32 [n, outputs], 0..1.
        fill: what a square is covered with, 0..255.
        share: side of the square, as a share of the image's longer side.
    """
    height, width = image.shape
    # A strip, lower than a square is long, would need thousands of tiny ones.
    side = min(height, width, max(1, round(max(height, width) * share)))
    tops, lefts = place_patches(height, side), place_patches(width, side)
    whole = answer(image[None])[0]
    rows = []
    for top in tops:
        yield
        covered = np.repeat(image[None], len(lefts), axis=0)
        for one, left in zip(covered, lefts, strict=True):
            one[top : top + side, left : left + side] = fill
        rows.append(whole - answer(covered))
    return Occlusion(whole, np.stack(rows), tops, lefts, side, (height, width))


def without_pause(work: Generator[None, None, Result]) -> Result:
    """Return what such work returns, all of it done at once."""
    while True:
        try:
            next(work)
        except StopIteration as ended:
            return ended.value


def spread_falls(occlusion: Occlusion, place: int) -> np.ndarray:
    """Return for each pixel the mean fall over the squares that cover it, float32 [height, width].

    Args:
        occlusion: of `occlude`.
        place: the output's, among action units, then emotions.
    """
    total = np.zeros(occlusion.shape)
    times = np.zeros(occlusion.shape)
    for row, top in enumerate(occlusion.tops):
        for column, left in enumerate(occlusion.lefts):
            inside = np.s_[top : top + occlusion.side, left : left + occlusion.side]
            total[inside] += occlusion.falls[row, column, place]
            times[inside] += 1
    return (total / times).astype(np.float32)


def deepest(occlusion: Occlusion, place: int) -> tuple[int, int, float]:
    """Return the square that costs most: its first row, its first column, and the fall.

    Args:
        occlusion: of `occlude`.
        place: the output's.
    """
    falls = occlusion.falls[..., place]
    row, column = np.unravel_index(int(falls.argmax()), falls.shape)
    return occlusion.tops[row], occlusion.lefts[column], float(falls[row, column])


@dataclasses.dataclass(frozen=True)
class Heat:
    """What covering shows of one output."""

    output: str
    """Which output is asked about."""
    place: int
    """The output's, among action units, then emotions."""
    occlusion: Occlusion
    """How far the outputs fall."""

    @property
    def whole(self) -> float:
        """The output with nothing covered, 0..1."""
        return float(self.occlusion.whole[self.place])

    @property
    def least(self) -> float:
        """The output with that square covered which costs most, 0..1."""
        return self.whole - deepest(self.occlusion, self.place)[2]

    @property
    def rise(self) -> float:
        """How far covering some other square raises the output; 0: none does."""
        return max(0.0, -float(self.occlusion.falls[..., self.place].min()))


def find_output(wanted: str, whole: np.ndarray, spec: InputSpec) -> tuple[int, str]:
    """Return an output's place and name.

    Args:
        wanted: an action unit such as `AU12`, an emotion, or `HIGHEST`: of a network without
            emotions the highest action unit.
        whole: float32 [outputs], what the network says.
        spec: names of the outputs.

    Raises:
        UserError: the network has no such output.
    """
    names = (*spec.action_units, *spec.emotions)
    if wanted == HIGHEST:
        first = len(spec.action_units) if spec.emotions else 0
        place = first + int(whole[first:].argmax())
        return place, names[place]
    if wanted not in names:
        raise UserError(f"no output {wanted[:40]!r}: use {HIGHEST}, {', '.join(names)}")
    return names.index(wanted), wanted
