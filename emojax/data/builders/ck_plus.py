"""`ck_plus`."""

from __future__ import annotations

from emojax.data.builders.base import FaceBuilder


class CkPlus(FaceBuilder):
    """Placeholder while its engineer writes it."""
