"""Show why a trained network answers as it does: a page, with PNG and CSV beside it.

Three things, for a run of any network:
  where it looked   Grad-CAM: the parts of a face, or of a spectrogram, that speak for an answer
  first kernels     what its first convolution compares the picture with
  action units      of ar4: what each action unit does to each emotion, beside EMFACS's prototypes

Heat is where evidence for an output was found. It is no proof that the network is right, nor
that nothing else counted: a map is as coarse as the layer that it is of (the page says which).

Examples:
  python experiments/explain.py runs/ar1-synthetic-0
  python experiments/explain.py runs/ar1-synthetic-0 --heat=by_place --of answered true AU12
  python experiments/explain.py runs/ar4-synthetic-0 --out=why
  python experiments/explain.py faces --pictures=photo.jpg --of answered happiness
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tyro

from emojax.cli import run_guarded
from emojax.data.resident import keep_labels
from emojax.data.shards import load_split
from emojax.errors import UserError
from emojax.explain.contributions import contributions
from emojax.explain.examples import read_photographs, take_people
from emojax.explain.explanation import explain_network
from emojax.explain.grad_cam import Method
from emojax.explain.report import write_explanation
from emojax.models import looks_at
from emojax.network import load_network
from emojax.results import choose_shards
from emojax.shipped import find_model


@dataclasses.dataclass(frozen=True)
class ExplainOptions:
    """Which network, asked about what."""

    run: Annotated[str, tyro.conf.Positional]
    """Folder of a run, or the name of a model that comes with emojax."""
    pictures: tuple[Path, ...] = ()
    """Photographs, in which faces are found first; unset: test people of the run's data."""
    data: Path | None = None
    """Folder of shards whose test people are taken; unset: those that it was trained on."""
    of: tuple[str, ...] = ("answered",)
    """Outputs that are asked about: `answered`, `true` (the label), AU01 to AU26, an emotion."""
    heat: Method = "grad_cam"
    """`grad_cam`, or `by_place`, which tells more of ar1, ar3 and ar5 (HiResCAM)."""
    each: int = 3
    """Test people of each emotion."""
    out: Path | None = None
    """Folder for the page; unset: `explained` in the run's folder, or here for a shipped model."""

    def __post_init__(self) -> None:
        """Refuse a page on which nothing would stand."""
        if self.each < 1 or not self.of:
            raise UserError(f"each={self.each}, of={self.of}: wanted 1 or more, and an output")


def explain(options: ExplainOptions) -> Path:
    """Return the page, written.

    Raises:
        UserError: no trained run, nobody to explain it on, shards that `choose_shards` refuses, or
            no such output.
    """
    folder = find_model(options.run)
    network = load_network(folder)
    spec, key = network.spec, network.config.model
    of_pictures = looks_at(key) == "picture"
    if options.pictures and not of_pictures:
        raise UserError(f"{options.run}: {key} looks at clips: leave --pictures out, give --data")
    advice = "give --pictures or --data" if of_pictures else "give shards of clips with --data"
    # A run's folder that exists by that name is the user's own, and theirs to write to.
    out = options.out or (folder if folder == Path(options.run) else Path()) / "explained"
    named = {"grad_cam": "Grad-CAM", "by_place": "gradients by place (HiResCAM)"}[options.heat]
    facts, found, data = (
        [f"Network: {key}, {folder}. Heat: {named}."],
        None,
        options.data or network.data,
    )
    arrays = None
    if not options.pictures or (key == "ar4" and (data / "dataset_info.json").is_file()):
        if not options.data and data == Path():
            raise UserError(f"{options.run}: has no data beside it: {advice}")
        shards = choose_shards(options.run, network, options.data, "test")
        arrays = keep_labels(load_split(data, "test"), spec, shards.input_spec.emotions)
        if not options.pictures and not len(arrays.emotion):
            raise UserError(f"{data}: nobody is in its split `test`: {advice}")
        facts.append(f"Test people of {data}: {len(arrays.emotion)} examples.")
        if shards.name == "synthetic":
            facts.append("They are drawn: this says nothing about real faces or voices.")
    if options.pictures:
        examples = read_photographs(options.pictures, spec)
        facts.append(f"Faces of {len(options.pictures)} pictures, found by the Haar cascade.")
    else:
        assert arrays is not None
        examples = take_people(arrays, spec, options.each)
    if key == "ar4" and arrays is not None and spec.emotions:
        if len(arrays.emotion):
            found = contributions(network, arrays)
        else:
            facts.append("What action units do to emotions is left out: it is of test people.")
    across = max(1, options.each // (1 if of_pictures else options.each))
    explanation = explain_network(network, examples, options.of, options.heat)
    return write_explanation(
        out, f"Why {folder.name} answers so", explanation, found, facts, across
    )


def main(arguments: Sequence[str]) -> int:
    """Explain; return the exit status."""
    options = tyro.cli(ExplainOptions, args=list(arguments), description=__doc__, prog="explain.py")
    print(f"wrote {explain(options)}, and beside it its pictures (PNG) and tables (CSV)")
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded("explain.py", lambda: main(sys.argv[1:])))
