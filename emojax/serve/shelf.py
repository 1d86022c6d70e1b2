"""The artifacts that a server offers, and predictors of them to borrow."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from emojax.errors import UserError
from emojax.runtime import Artifact, ClipPredictor, Predictor, load_artifact, make_predictor
from emojax.runtime.artifact import PRECISIONS
from emojax.serve.refusal import RefusedError
from emojax.shipped import find_model


class Choice(NamedTuple):
    """A model in a precision."""

    model: str
    """Its name on the shelf."""
    precision: str
    """`float32`, `float16` or `int8`."""


def name_models(folders: Sequence[Path]) -> list[str]:
    """Return a name for each artifact folder, no two alike: its own, or its run's.

    Args:
        folders: in the order in which they are offered.
    """
    names: list[str] = []
    for folder in folders:
        place = folder.resolve()
        # An export is called `artifact` below its run.
        stem = place.parent.name if place.name == "artifact" and place.parent.name else place.name
        name, number = stem, 1
        while name in names:
            number += 1
            name = f"{stem}-{number}"
        names.append(name)
    return names


class Shelf:
    """Artifacts by name and precision, read and checked, and predictors that are ready to run."""

    def __init__(self, models: Sequence[Path | str | None], threads: int = 1) -> None:
        """Read all artifacts in all their precisions.

        Args:
            models: artifact folders, or names of models that come with emojax; the first is the
                default.
            threads: of the processor, for one network.

        Raises:
            UserError: no artifact, or a damaged one.
        """
        if threads < 1:
            raise UserError(f"--threads {threads}: wanted 1 or more")
        self._threads = threads
        self._artifacts: dict[Choice, Artifact] = {}
        self._defaults: dict[str, str] = {}
        folders = [find_model(model) for model in models]
        for name, folder in zip(name_models(folders), folders, strict=True):
            artifact = load_artifact(folder)
            self._defaults[name] = artifact.precision
            for precision in PRECISIONS:
                if precision == artifact.precision:
                    self._artifacts[Choice(name, precision)] = artifact
                elif precision in artifact.fields["files"]:
                    self._artifacts[Choice(name, precision)] = load_artifact(folder, precision)
        self._ready: dict[Choice, queue.SimpleQueue[Predictor | ClipPredictor]] = {
            choice: queue.SimpleQueue() for choice in self._artifacts
        }

    @property
    def names(self) -> list[str]:
        """The models' names, the default first."""
        return list(self._defaults)

    def precisions(self, model: str) -> list[str]:
        """Return what a model can be computed in, its own choice first."""
        own = self._defaults[model]
        others = [choice.precision for choice in self._artifacts if choice.model == model]
        return [own, *(precision for precision in others if precision != own)]

    def choose(self, model: str | None = None, precision: str | None = None) -> Choice:
        """Return what is meant.

        Args:
            model: its name; None: the first.
            precision: None: what the artifact names.

        Raises:
            RefusedError: there is no such model, or not in that precision (404).
        """
        name = self.names[0] if model is None else model
        if name not in self._defaults:
            raise RefusedError(404, f"no model {name[:80]!r}: use {', '.join(self.names)}")
        found = Choice(name, self._defaults[name] if precision is None else precision)
        if found not in self._artifacts:
            there = ", ".join(self.precisions(name))
            raise RefusedError(404, f"{name} is not there in {precision!r:.80}: use {there}")
        return found

    def artifact(self, choice: Choice) -> Artifact:
        """Return the artifact of a choice."""
        return self._artifacts[choice]

    @contextlib.contextmanager
    def borrow(self, choice: Choice) -> Iterator[Predictor | ClipPredictor]:
        """Yield a predictor that nobody else uses meanwhile. Any thread may ask."""
        ready = self._ready[choice]
        try:
            predictor = ready.get_nowait()
        except queue.Empty:
            predictor = make_predictor(self._artifacts[choice], self._threads)
        try:
            yield predictor
        finally:
            ready.put(predictor)
