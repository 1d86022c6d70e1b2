"""The sound of a file beside its frames, a stretch after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emojax.errors import UserError
from emojax.video import sound_pieces


class SoundTrack:
    """Reads no further than it is asked to, and forgets what lies behind.

    Sound that can't be read is no reason to lose the picture: it ends there, and `problem` says
    why.
    """

    def __init__(self, path: Path, sample_rate_hz: int) -> None:
        """Start at the beginning.

        Args:
            path: a video or a sound.
            sample_rate_hz: samples per second of what is taken.
        """
        self._pieces = sound_pieces(path, sample_rate_hz)
        self._rate_hz = sample_rate_hz
        self._held = np.zeros(0, np.float32)
        self._first = 0
        self._lead: int | None = None
        self._ended = False
        self.problem: UserError | None = None

    def take(self, begin_s: float, end_s: float) -> np.ndarray:
        """Return what sounds from one moment to another, float32 [samples]; less at the end.

        Nothing where the sound starts later in the container; silence before its start else.

        Args:
            begin_s: seconds; no earlier than that of the last call.
            end_s: seconds.
        """
        begin, end = round(begin_s * self._rate_hz), round(end_s * self._rate_hz)
        self._read_beyond(begin, end)
        if self.starts_after(end_s):
            return np.zeros(0, np.float32)
        return self._held[max(begin - self._first, 0) : max(end - self._first, 0)].copy()

    def reaches(self, end_s: float) -> bool:
        """Return whether there is sound after a moment, in seconds, that was taken up to."""
        return self._first + len(self._held) > round(end_s * self._rate_hz)

    def starts_after(self, end_s: float) -> bool:
        """Return whether the sound starts no sooner than at a moment that was taken up to."""
        return round(end_s * self._rate_hz) <= (self._lead or 0)

    def _read_beyond(self, begin: int, end: int) -> None:
        """Read until there is a sample after `end`, or no more; what is before `begin` is left."""
        pieces, there = [self._held], self._first + len(self._held)
        while there <= end and not self._ended:
            try:
                piece = next(self._pieces, None)
            except UserError as error:
                self.problem, piece = error, None
            self._ended = piece is None
            if piece is not None:
                if self._lead is None:
                    # `sound_pieces` begins with the silence before a sound that starts later.
                    self._lead = 0 if piece.any() else len(piece)
                there += len(piece)
                pieces = [*pieces, piece] if there > begin else []
        self._first = there - sum(map(len, pieces))
        behind = max(begin - self._first, 0)
        self._held = np.concatenate([np.zeros(0, np.float32), *pieces])[behind:]
        self._first = there - len(self._held)
