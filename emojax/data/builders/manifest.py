"""`manifest`: the way in for one's own pictures and clips."""

from __future__ import annotations

from emojax.data.builders.base import FaceBuilder


class Manifest(FaceBuilder):
    """Faces that a CSV names; `emojax.data.manifest` says how it is read."""

    DESCRIPTION = (
        "Faces from pictures and clips named in a CSV, with action units and emotions where "
        "somebody gave them. Splits are the owner's where the CSV has a column `split`, "
        "otherwise drawn by person."
    )
    CITATION = ""
    LICENCE = "As the owner of the files says; emojax claims nothing."
