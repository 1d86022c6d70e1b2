"""`synthetic`: drawn faces, so that everything runs with nothing downloaded."""

from __future__ import annotations

import sys
from pathlib import Path

from emojax.data.builders.base import FaceBuilder
from emojax.data.synthetic.layouts import SetSize, write_manifest


class Synthetic(FaceBuilder):
    """Drawings of people who do not exist; never the basis of an emotion recogniser."""

    DESCRIPTION = (
        "Faces drawn from action-unit intensities in four domains (S1 studio, S2 hard light, "
        "S3 pose and camera, S4 near infrared with noise). For tests, demonstrations and "
        "throughput: what is trained on it says nothing about real faces."
    )
    CITATION = (
        "@misc{emojax_synthetic, title={emojax synthetic faces}, author={The emojax authors}}"
    )
    LICENCE = "Apache-2.0"


def render(out: Path, size: SetSize, seed: int, workers: int) -> Path:
    """Draw the pictures and return the manifest that names them."""
    return write_manifest(out, seed, size, workers=workers, progress=sys.stderr.isatty())
