"""`fer2013`."""

from __future__ import annotations

from emojax.data.builders.base import FaceBuilder


class Fer2013(FaceBuilder):
    """Placeholder while its engineer writes it."""
