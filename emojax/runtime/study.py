"""What a study asks of files: a summary, episodes, cues and ELAN tiers, beside the rows."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from emojax.runtime.elan import write_elan
from emojax.runtime.sources import Source
from emojax.runtime.summary import CUE_COLUMNS, EPISODE_COLUMNS, FileSummary, summary_types
from emojax.runtime.tables import Form, Tables
from emojax.spec import InputSpec


class StudyFiles:
    """Writes a study's files, one source after the other. Use it as a context."""

    def __init__(
        self,
        out: Path,
        spec: InputSpec,
        forms: Sequence[Form],
        cues: bool = False,
        elan: bool = False,
    ) -> None:
        """Open the tables, replacing those of an earlier run.

        Args:
            out: the folder.
            spec: names of the outputs.
            forms: of the tables.
            cues: also write `cues`.
            elan: also write `elan/NAME.eaf` for each video.

        Raises:
            MissingExtraError: a package for one of the forms is missing.
            OSError: a file can't be written.
        """
        self._elan = out / "elan" if elan else None
        if self._elan is not None:
            self._elan.mkdir(exist_ok=True)
        self._taken: set[str] = set()
        with contextlib.ExitStack() as opened:
            self._summaries = opened.enter_context(
                Tables(out / "summary", summary_types(spec), forms)
            )
            self._episodes = opened.enter_context(Tables(out / "episodes", EPISODE_COLUMNS, forms))
            self._cues = (
                opened.enter_context(Tables(out / "cues", CUE_COLUMNS, forms)) if cues else None
            )
            self._files = opened.pop_all()

    def add(self, source: Source, summary: FileSummary) -> None:
        """Write what is known of a file; of a picture there is no from when to when.

        Args:
            source: the file.
            summary: has taken its rows, all or those up to where it broke.
        """
        self._summaries.write([summary.row()])
        if source.kind != "video":
            return
        episodes = summary.episodes()
        self._episodes.write(episodes)
        if self._cues is not None:
            self._cues.write(summary.cues())
        if self._elan is not None:
            write_elan(self._elan / self._name(source), source.path, episodes, summary.last_s)

    def _name(self, source: Source) -> str:
        """Return a name of its own: two folders may hold a clip of the same name."""
        number = 1
        while True:
            name = f"{source.path.stem}{'' if number == 1 else f'-{number}'}.eaf"
            # Without regard to case: some file systems have none.
            if name.casefold() not in self._taken:
                self._taken.add(name.casefold())
                return name
            number += 1

    def __enter__(self) -> StudyFiles:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._files.close()
