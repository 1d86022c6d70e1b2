r"""Put a network for voices where `emojax predict voice.wav` finds it: emojax/shipped/voices.

int8, float16, the recorded answers on drawn sounds, the weights to start a training from, and the
card, which is written from what was measured. No recording of the data set is among it.

Example:
  python experiments/recipes/ship_voices.py --run runs/crema_d_voices/network \
      --artifact runs/crema_d_voices/artifact --folds runs/crema_d_voices/folds/results.json \
      --measured voices.json --votes CREMA-D/processedResults/tabulatedVotes.csv
"""

from __future__ import annotations

import dataclasses
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tyro
from shipping import PRECISIONS, confusion_table, put, require_measured, with_interval

from emojax.cli import run_guarded
from emojax.data.crema_d_votes import parse_votes
from emojax.data.raters import rate_people
from emojax.data.shards import dataset_info
from emojax.files import require_file
from emojax.network import load_network
from emojax.shipped import VOICES, shipped_folder
from emojax.spec import read_json

NOTICE = (
    "right about three in five of CREMA-D's actors, one in four of RAVDESS's: only for recordings "
    "like CREMA-D's, and to fine-tune; it says how a voice sounds, not what a person feels"
)


@dataclasses.dataclass(frozen=True)
class ShipOptions:
    """What is put there."""

    run: Path
    """The trained run."""
    artifact: Path
    """What was exported from it."""
    folds: Path
    """results.json of the cross-validation with the same settings."""
    measured: Path
    """Of measure_voices.py with --ravdess, --wavs and --spectrograms."""
    votes: Path
    """CREMA-D's processedResults/tabulatedVotes.csv: what people heard."""
    out: Path = dataclasses.field(default_factory=lambda: shipped_folder(VOICES))
    """Where to."""


def _accuracy_table(folds: dict[str, Any], ravdess: dict[str, Any]) -> list[str]:
    rows = [
        "| | CREMA-D, folds by person | RAVDESS's speech, int8, the same six emotions |",
        "| --- | --- | --- |",
    ]
    for name in ("unweighted_average_recall", "accuracy", "macro_f1"):
        cells = " | ".join(with_interval(figures[name]) for figures in (folds, ravdess))
        rows.append(f"| {name.replace('_', ' ')} | {cells} |")
    recalls = [
        np.diagonal(one["confusion"]) / np.sum(one["confusion"], 1) for one in (folds, ravdess)
    ]
    for place, emotion in enumerate(folds["names"]):
        cells = " | ".join(f"{recall[place]:.3f}" for recall in recalls)
        rows.append(f"| recall of {emotion} | {cells} |")
    return rows


def _paragraph(text: str) -> list[str]:
    return [*textwrap.wrap(text, 96), ""]


def write_card(
    path: Path,
    spec: dict[str, Any],
    folds: dict[str, Any],
    measured: dict[str, Any],
    people: Any,
    parameters: int,
) -> None:
    """Write the model card from what was measured.

    Args:
        path: the card.
        spec: of the artifact.
        folds: results of the cross-validation.
        measured: figures of measure_voices.py.
        people: what raters heard, of `raters.rate_people`.
        parameters: of the network.
    """
    files = ", ".join(
        f"{precision} {spec['files'][precision]['bytes'] / 1e6:.1f} MB" for precision in PRECISIONS
    )
    own, other = folds["test"]["overall"]["emotion"], measured["ravdess"]
    certain = spec["calibration"]["fitted_on"]["certain"]
    compared = measured["spectrograms"]
    lines = [
        "# The network for voices that comes with emojax",
        "",
        *_paragraph(
            "How a voice sounds, as one of six emotions: neutral, happiness, sadness, anger, fear, "
            f"disgust. `ar5` without its branch for frames, residual, {parameters / 1e6:.2f} M "
            f"parameters ({files}), on log-mel spectrograms of 3 seconds (64 ms windows). Made by "
            "`experiments/recipes/crema_d.py`, from the emotion that was acted."
        ),
        "## How good it is, and on whom",
        "",
        *_paragraph(
            f"On CREMA-D {own['people']} people, {own['examples']} recordings, {folds['folds']} "
            "folds by person: everybody was heard by a network with these settings that had never "
            "heard them, in float32. What ships was trained on nine tenths of the people. RAVDESS "
            "is another set of actors, sentences and microphones "
            f"({other['people']} people, {other['examples']} recordings), through the runner; "
            "nothing was chosen by it. 95% intervals by bootstrap over people; chance is 0.167."
        ),
        *_accuracy_table(own, other),
        "",
        *_paragraph(
            "People who hear CREMA-D name the acted emotion less often: unweighted average recall "
            f"of a single rater {people.pooled_recall:.3f}, of the majority "
            f"{people.majority_recall:.3f} (its votes on the voice alone, all clips). A network "
            "learns how such actors act; it does not follow that it hears feelings better than "
            "people do."
        ),
        "Confusion on CREMA-D, recordings:",
        "",
        *confusion_table(own),
        "",
        "Confusion on RAVDESS:",
        "",
        *confusion_table(other),
        "",
        *_paragraph(
            "An answer is called uncertain below a calibrated score of "
            f"{spec['thresholds']['uncertain_below']:.2f}: {1 - certain['share']:.0%} of the "
            "answers about people held out are; of the others "
            f"{certain['accuracy']:.0%} are right."
        ),
        "## Other recordings",
        "",
        *_paragraph(
            "Look at the right column above before using it on recordings of another kind. What "
            "it learned is how CREMA-D's actors sound in CREMA-D's room; elsewhere fine-tune it on "
            "some recordings first: `train.py --init=voices`."
        ),
        *_paragraph(
            "It was trained on spectrograms that others had made of the recordings. Of "
            f"{compared['clips']} recordings that were at hand the runner's own spectrogram is "
            f"{compared['median_absolute_difference']:.4f} of the range away (median of the mean "
            f"absolute differences; their mean is {compared['mean_absolute_difference']:.4f}: what "
            "lasts more than 3 seconds was measured from another loudest moment), and the top "
            f"emotion is the same in {compared['same_top']} of them."
        ),
        "## What it must not be used for",
        "",
        *_paragraph(
            "To decide anything about a person: hiring, teaching, policing, insurance, credit, "
            "health, borders, call centres, or whether someone lies. Emotion recognition at work "
            "and in schools is forbidden in the European Union (Regulation 2024/1689, article 5). "
            "Actors said twelve English sentences in a studio: other languages, children, old and "
            "ill voices, and what people really feel were never heard. Nobody has measured whether "
            "it is worse for some than for others: expect that it is."
        ),
        "## Data and licence",
        "",
        *_paragraph(
            "CREMA-D (Cao et al. 2014), Open Database License 1.0, its contents under the Database "
            "Contents License 1.0. No recording of it is here; the recorded examples in "
            "`golden.npz` are drawn. The weights come under Apache-2.0 as far as weights are "
            "anybody's. RAVDESS (Livingstone and Russo 2018, CC BY-NC-SA 4.0) was only listened "
            "to: nothing here was trained on it. `train.py --init=voices` starts from the weights, "
            "on sounds built with `--sound speech`."
        ),
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


def ship(options: ShipOptions) -> None:
    """Write the folder anew."""
    folds, measured = read_json(options.folds), read_json(options.measured)
    require_measured(
        options.measured,
        measured,
        "ravdess",
        "spectrograms",
        remedy="measure it with measure_voices.py --ravdess .. --wavs .. --spectrograms ..",
    )
    content = require_file(options.votes, "CREMA-D's table of votes").read_bytes()
    votes = parse_votes(content, str(options.votes))
    splits = dataset_info(load_network(options.run).data).report["splits"]
    spec = put(
        options.out,
        options.run,
        options.artifact,
        data="crema_d",
        notice=NOTICE,
        metrics={
            "CREMA-D, folds by person": folds["test"]["overall"]["emotion"][
                "unweighted_average_recall"
            ],
            "RAVDESS": measured["ravdess"]["unweighted_average_recall"],
        },
        people=sorted({person for split in splits.values() for person in split["people"]}),
    )
    parameters = read_json(options.run / "results.json")["parameters"]
    people = rate_people(votes.rows)["voice"]
    write_card(options.out / "CARD.md", spec, folds, measured, people, parameters)
    size = sum(path.stat().st_size for path in options.out.iterdir())
    print(f"wrote {options.out}: {size / 1e6:.1f} MB")


def main(arguments: list[str]) -> int:
    """Ship, and return the exit status."""
    ship(tyro.cli(ShipOptions, args=arguments, description=__doc__))
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded("ship_voices.py", lambda: main(sys.argv[1:])))
