"""What all builders share: rows go in by split, examples come out as TFRecord shards."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds

from emojax.data.examples import Example, ReadOptions, Rejection, Row, features, to_features
from emojax.data.pool import Read
from emojax.data.splits import SPLITS, assert_disjoint
from emojax.data.tally import Tally
from emojax.errors import UserError
from emojax.spec import InputSpec


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that a builder needs to write its shards."""

    splits: Mapping[str, Sequence[Row]]
    """The rows of each split; nobody stands in two."""
    input_spec: InputSpec
    options: ReadOptions
    read: Read
    """Turns rows into results, in order; `pool.open_readers` gives it."""
    tally: Tally
    """Hears of every result."""


class FaceBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A TFDS builder whose examples are faces; subclasses say what set it is."""

    VERSION = tfds.core.Version("1.0.0")
    DESCRIPTION = ""
    CITATION = ""
    LICENCE = ""

    def __init__(self, *, plan: Plan | None = None, **keywords: Any) -> None:
        if plan is None:
            raise UserError(f"{self.name} is built from rows: run  emojax data build {self.name}")
        assert_disjoint(
            {split: [row.subject for row in rows] for split, rows in plan.splits.items()}, self.name
        )
        self._plan = plan
        super().__init__(**keywords)

    def _info(self) -> tfds.core.DatasetInfo:
        spec = self._plan.input_spec
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.DESCRIPTION,
            features=features(spec, self._plan.options.max_frames),
            citation=self.CITATION,
            license=self.LICENCE,
            metadata=tfds.core.MetadataDict(
                input_spec=spec.to_dict(),
                label_order={"action_units": spec.action_units, "emotions": spec.emotions},
                split_rule="no person stands in two splits",
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        """Return a generator per split; one that keeps no example is left out and noted."""
        del dl_manager  # Nothing is ever downloaded.
        generators = {}
        for split in (name for name in SPLITS if self._plan.splits.get(name)):
            kept = self._kept(self._plan.splits[split])
            # TFDS ends the whole build over a split without an example: look before.
            first = next(kept, None)
            if first is None:
                self._plan.tally.note(f"no example is left of the split {split}")
            else:
                generators[split] = self._generate_examples(first, kept)
        if not generators:
            raise UserError(f"{self.name}: no example is left: {self._plan.tally.left_out_text()}")
        return generators

    def _generate_examples(self, first: Example, others: Iterator[Example]) -> Iterator[Any]:
        """Yield (key, features); TFDS orders the examples by a hash of the key."""
        plan = self._plan
        for example in itertools.chain([first], others):
            yield example.row.key, to_features(example, plan.input_spec, plan.options.max_frames)

    def _kept(self, rows: Sequence[Row]) -> Iterator[Example]:
        for result in self._plan.read(rows):
            self._plan.tally.add(result)
            if not isinstance(result, Rejection):
                yield result
