"""One TFDS builder per data set; all of them turn rows into shards in the same way."""

from __future__ import annotations

from emojax.data.builders.base import FaceBuilder
from emojax.data.builders.ck_plus import CkPlus
from emojax.data.builders.crema_d import CremaD
from emojax.data.builders.disfa import Disfa
from emojax.data.builders.fer2013 import Fer2013
from emojax.data.builders.manifest import Manifest
from emojax.data.builders.mmi import Mmi
from emojax.data.builders.ravdess import Ravdess
from emojax.data.builders.synthetic import Synthetic

BUILDERS: dict[str, type[FaceBuilder]] = {
    "ck_plus": CkPlus,
    "crema_d": CremaD,
    "disfa": Disfa,
    "fer2013": Fer2013,
    "manifest": Manifest,
    "mmi": Mmi,
    "ravdess": Ravdess,
    "synthetic": Synthetic,
}
"""Every data set that can be built."""
