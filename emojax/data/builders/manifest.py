"""`manifest`: the way in for one's own pictures and clips."""

from __future__ import annotations

from pathlib import Path

from emojax.data.builders.base import FaceBuilder
from emojax.data.manifest import read_manifest
from emojax.data.rows import Request, Source


class Manifest(FaceBuilder):
    """Faces that a CSV names; `emojax.data.manifest` says how it is read."""

    DESCRIPTION = (
        "Faces from pictures and clips named in a CSV, with action units and emotions where "
        "somebody gave them. Splits are the owner's where the CSV has a column `split`, "
        "otherwise drawn by person."
    )
    LICENCE = "As the owner of the files says; emojax claims nothing."
    SOURCE_HELP = "the CSV that names the files, or its folder"

    @classmethod
    def read_source(cls, source: Path, request: Request) -> Source:
        """Return the rows of the CSV, or of `manifest.csv` in the folder."""
        manifest = read_manifest(source, own_groups=request.own_groups)
        return Source(manifest.rows, manifest.notes, own_groups=manifest.own_groups)
