"""How well people name the emotion that was acted, from CREMA-D's votes.

Two ways to count, and both are in use. A single rater: the share of all votes
that name the acted emotion. A majority: the share of clips whose most frequent
answer is the acted emotion, where a tie between two answers counts as wrong.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
from jaxtyping import Int

from emojax import labels
from emojax.data.crema_d_votes import RATED, ClipVotes, parse_clip_name


@dataclasses.dataclass(frozen=True)
class Ratings:
    """What people made of clips that were given to them in one way."""

    votes: Int[np.ndarray, "acted named"]
    """Votes by the emotion that was acted and the one that was named, as `RATED` orders them."""
    clips: Int[np.ndarray, " acted"]
    """Clips on which somebody voted, by the emotion that was acted."""
    won: Int[np.ndarray, " acted"]
    """Those whose acted emotion has more votes than any other."""

    @property
    def pooled(self) -> float:
        """Share of all votes that name the acted emotion; NaN without votes."""
        return _share(self.votes.trace(), self.votes.sum())

    @property
    def majority(self) -> float:
        """Share of the clips whose acted emotion has more votes than any other."""
        return _share(self.won.sum(), self.clips.sum())

    @property
    def pooled_recall(self) -> float:
        """Mean over the emotions of the share of votes that name them where they were acted."""
        return _mean_share(self.votes.diagonal(), self.votes.sum(axis=1))

    @property
    def majority_recall(self) -> float:
        """Mean over the emotions of the share of clips that a majority names so."""
        return _mean_share(self.won, self.clips)


def rate_people(votes: Iterable[ClipVotes]) -> dict[str, Ratings]:
    """Return what people made of the clips, by modality in the order of `labels.MODALITIES`.

    A clip on which nobody voted is not counted.
    """
    size = len(RATED)
    named = {modality: np.zeros((size, size), np.int64) for modality in labels.MODALITIES}
    clips = {modality: np.zeros(size, np.int64) for modality in labels.MODALITIES}
    won = {modality: np.zeros(size, np.int64) for modality in labels.MODALITIES}
    for row in votes:
        name = parse_clip_name(row.clip)
        if name is None or not any(row.counts):
            continue
        acted = RATED.index(name.emotion)
        named[row.modality][acted] += row.counts
        clips[row.modality][acted] += 1
        others = row.counts[:acted] + row.counts[acted + 1 :]
        won[row.modality][acted] += row.counts[acted] > max(others)
    return {
        modality: Ratings(named[modality], clips[modality], won[modality])
        for modality in labels.MODALITIES
    }


def _share(part: int | np.integer, whole: int | np.integer) -> float:
    return float(part / whole) if whole else float("nan")


def _mean_share(parts: np.ndarray, wholes: np.ndarray) -> float:
    known = wholes > 0
    return float((parts[known] / wholes[known]).mean()) if known.any() else float("nan")
