"""What all builders share: a source becomes rows, examples become TFRecord shards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import tensorflow_datasets as tfds

from emojax.data.features import features
from emojax.data.rows import Expected, Request, Source
from emojax.data.splits import SPLITS, assert_disjoint
from emojax.errors import UserError
from emojax.spec import InputSpec

Featured = tuple[str, dict[str, Any]]
"""An example's key and its features, as `examples.to_features` gives them."""


@dataclasses.dataclass(frozen=True)
class Defaults:
    """How a data set is built when nothing else is said."""

    faces: Literal["detect", "ready"] = "detect"
    """`ready`: its pictures are faces already cut."""
    emotions: str = "seven"
    """Name of the emotion set that its labels are put into."""
    sound: str | None = None
    """Name in `audio.PRESETS` of the spectrogram that is kept; None: no sound."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that a builder needs to write its shards."""

    people: Mapping[str, Iterable[str]]
    """The people of each split that keeps an example; nobody stands in two."""
    input_spec: InputSpec
    max_frames: int
    """Faces that an example holds at most."""
    examples: Callable[[str], Any]
    """Of a split: an iterator of `Featured`, or a Beam transform that gives them."""


class _OwnInfo(tfds.core.DatasetInfo):
    """A `DatasetInfo` that is never looked for in TFDS's bucket."""

    def initialize_from_bucket(self) -> None:
        """Do nothing: TFDS would leave an empty folder in the system's temporary one."""


class FaceBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A TFDS builder whose examples are faces; subclasses say what set it is."""

    VERSION = tfds.core.Version("2.0.0")
    DESCRIPTION: ClassVar[str] = ""
    CITATION: ClassVar[str] = ""
    """BibTeX."""
    LICENCE: ClassVar[str] = ""
    """The owner's terms in a sentence."""
    SOURCE_HELP: ClassVar[str] = ""
    """What `--source` has to be, and where the owner gives it out."""
    SPLIT_RULE: ClassVar[str] = "by person"
    """How people are divided when nothing else is said."""
    DEFAULTS: ClassVar[Defaults] = Defaults()
    EXPECTED: ClassVar[Expected | None] = None
    """What the whole set holds; None where that is for its owner to say."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        # TFDS has builders of its own under some of these names; ours are found by our table.
        super().__init_subclass__(skip_registration=True, **keywords)

    def __init__(self, *, plan: Plan | None = None, **keywords: Any) -> None:
        if plan is None:
            raise UserError(f"{self.name} is built from rows: run  emojax data build {self.name}")
        assert_disjoint(plan.people, self.name)
        self._plan = plan
        super().__init__(**keywords)

    @classmethod
    def read_source(cls, source: Path, request: Request) -> Source:
        """Return what the owner's files say: rows with labels, no picture looked at yet.

        Args:
            source: the folder or file that a person names with `--source`.
            request: what is wanted, and a folder to unpack into.

        Raises:
            UserError: the source is not laid out as its owner publishes it.
        """
        raise NotImplementedError

    def _info(self) -> tfds.core.DatasetInfo:
        spec = self._plan.input_spec
        return _OwnInfo(
            builder=self,
            description=self.DESCRIPTION,
            features=features(spec, self._plan.max_frames),
            citation=self.CITATION,
            license=self.LICENCE,
            metadata=tfds.core.MetadataDict(
                input_spec=spec.to_dict(),
                label_order={"action_units": spec.action_units, "emotions": spec.emotions},
                split_rule=self.SPLIT_RULE,
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        """Return a generator, or a Beam transform, per split."""
        del dl_manager  # Nothing is ever downloaded.
        return {split: self._plan.examples(split) for split in SPLITS if split in self._plan.people}

    def _generate_examples(self) -> Iterator[Featured]:
        """Satisfy TFDS, which asks each builder for one; `_split_generators` gives them all."""
        raise NotImplementedError
