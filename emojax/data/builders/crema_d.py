"""`crema_d`."""

from __future__ import annotations

from emojax.data.builders.base import FaceBuilder


class CremaD(FaceBuilder):
    """Placeholder while its engineer writes it."""
