"""`disfa`."""

from __future__ import annotations

from emojax.data.builders.base import FaceBuilder


class Disfa(FaceBuilder):
    """Placeholder while its engineer writes it."""
