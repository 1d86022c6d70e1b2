"""`ravdess`."""

from __future__ import annotations

from emojax.data.builders.base import FaceBuilder


class Ravdess(FaceBuilder):
    """Placeholder while its engineer writes it."""
