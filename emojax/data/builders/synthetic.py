"""`synthetic`: drawn faces, so that everything runs with nothing downloaded."""

from __future__ import annotations

from emojax.data.builders.manifest import Manifest


class Synthetic(Manifest):
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
    SOURCE_HELP = "nothing: it is drawn"
