"""What a study asks of files: a summary, episodes, cues and ELAN tiers, beside the rows."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from emojax.runtime.elan import write_elan
from emojax.runtime.sources import Namer, Source
from emojax.runtime.summary import CUE_COLUMNS, EPISODE_COLUMNS, FileSummary, summary_types
from emojax.runtime.tables import Form, Tables, check_tables
from emojax.spec import InputSpec


def study_tables(out: Path, cues: bool) -> list[Path]:
    """Return where `StudyFiles` writes its tables, without suffixes."""
    return [out / name for name in ("summary", "episodes", *(["cues"] if cues else []))]


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
        summary, episodes, *more = stems = study_tables(out, cues)
        check_tables(stems, forms)
        self._elan = Namer(out / "elan") if elan else None
        if elan:
            (out / "elan").mkdir(exist_ok=True)
        with contextlib.ExitStack() as opened:
            self._summaries = opened.enter_context(Tables(summary, summary_types(spec), forms))
            self._episodes = opened.enter_context(Tables(episodes, EPISODE_COLUMNS, forms))
            self._cues = opened.enter_context(Tables(more[0], CUE_COLUMNS, forms)) if more else None
            self._files = opened.pop_all()

    def add(self, source: Source, summary: FileSummary) -> None:
        """Write what is known of a file; of a picture there is no from when to when.

        Args:
            source: the file.
            summary: has taken its rows, all or those up to where it broke.
        """
        self._summaries.write([summary.row()])
        if source.kind == "picture":
            return
        episodes = summary.episodes()
        self._episodes.write(episodes)
        if self._cues is not None:
            self._cues.write(summary.cues())
        # Nothing that ELAN could open is left of what a camera saw.
        if self._elan is not None and source.kind != "camera":
            path = self._elan.name_with(source, ".eaf")
            write_elan(path, source, episodes, summary.last_s)

    def __enter__(self) -> StudyFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()
