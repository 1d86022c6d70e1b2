"""Put a face artifact where `emojax predict` finds it by itself: emojax/shipped/faces.

int8, float16, the recorded answers on drawn faces, the weights to start a training from, and the
card, which is written from what was measured. No picture of the data set is among it.

Example:
  python experiments/recipes/ship.py --run runs/fer2013/pupil --artifact runs/fer2013/artifact \
      --public public.json --private private.json --peers peers_public.json peers_private.json
"""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tyro
from shipping import (
    PRECISIONS,
    confusion_table,
    corruption_table,
    put,
    require_measured,
    with_interval,
)

from emojax.cli import run_guarded
from emojax.shipped import shipped_folder
from emojax.spec import read_json

NOTICE = (
    "trained on FER2013's web photographs, wrong about three faces in ten: it says what a face "
    "shows, not what a person feels"
)


@dataclasses.dataclass(frozen=True)
class ShipOptions:
    """What is put there."""

    run: Path
    """The trained run."""
    artifact: Path
    """What was exported from it."""
    public: Path
    """Of measure_faces.py with --corruptions and --crops, on PublicTest."""
    private: Path
    """The same on PrivateTest, without corruptions."""
    peers: tuple[Path, ...] = ()
    """Of peers.py."""
    teachers: tuple[Path, ...] = ()
    """results.json of the networks that it learned from."""
    out: Path = dataclasses.field(default_factory=shipped_folder)
    """Where to."""


def _accuracy_table(public: dict[str, Any], private: dict[str, Any]) -> list[str]:
    rows = [
        "| | PublicTest (choices were made on it) | PrivateTest (looked at once) |",
        "| --- | --- | --- |",
    ]
    for name in ("accuracy", "unweighted_average_recall", "macro_f1"):
        cells = " | ".join(with_interval(figures[name]) for figures in (public, private))
        rows.append(f"| {name.replace('_', ' ')} | {cells} |")
    for emotion in public["names"]:
        cells = " | ".join(f"{figures['recall'][emotion]:.3f}" for figures in (public, private))
        rows.append(f"| recall of {emotion} | {cells} |")
    return rows


def _peer_table(peers: list[dict[str, Any]]) -> list[str]:
    rows = [
        "| FER2013 | network | accuracy | unweighted average recall | processor ms a face |",
        "| --- | --- | --- | --- | --- |",
    ]
    for measured in peers:
        for row in measured["table"]:
            rows.append(
                f"| {measured['split']} | {row['network']} | {with_interval(row['accuracy'])} | "
                f"{with_interval(row['unweighted_average_recall'])} | "
                f"{row['milliseconds_a_face']:.2f} |"
            )
    return rows


def _origin(teachers: list[dict[str, Any]]) -> list[str]:
    if not teachers:
        return ["Made by `experiments/recipes/fer2013.py`, from the labels alone."]
    values = ", ".join(
        f"{results['test']['overall']['emotion']['accuracy']['value']:.3f}" for results in teachers
    )
    device = teachers[0]["provenance"]["device"]["kind"]
    return [
        "Trained with the settings of `experiments/recipes/fer2013.py`, the splits handed over",
        f"as arrays, on one {device}: {len(teachers)} networks of",
        f"{teachers[0]['parameters'] / 1e6:.1f} M parameters (accuracy on PublicTest {values}),",
        "and then this one, from their mean answer and the labels.",
    ]


def _crop_lines(crops: dict[str, Any]) -> list[str]:
    by_scale = ", ".join(f"{k}: {v:.3f}" for k, v in crops["accuracy_by_crop_scale"].items())
    seen = f"{crops['faces_found']} faces in {crops['pictures']} pictures"
    return [
        "The crop: PublicTest's pictures were put into a wide border and searched as the runner",
        f"does. FER2013's frame is {crops['frame_over_box'][1]:.2f} times as high as the box that",
        f"is found (median of {seen}). Accuracy by",
        f"the crop's height over the box's: {by_scale}; as FER2013 has cut the same faces:",
        f"{crops['accuracy_as_cut_by_fer2013']:.3f}.",
    ]


def write_card(
    path: Path,
    spec: dict[str, Any],
    public: dict[str, Any],
    private: dict[str, Any],
    peers: list[dict[str, Any]],
    teachers: list[dict[str, Any]],
) -> None:
    """Write the model card from what was measured."""
    files = ", ".join(
        f"{precision} {spec['files'][precision]['bytes'] / 1e6:.1f} MB" for precision in PRECISIONS
    )
    certain = spec["calibration"]["fitted_on"]["certain"]
    lines = [
        "# The network for faces that comes with emojax",
        "",
        "What a face shows, as one of seven emotions: neutral, happiness, sadness, surprise, fear,",
        f"disgust, anger. `resnet_small`, 1.26 M parameters ({files}), gray 98 x 80 crops of the",
        "Haar cascade's box. A face is answered with the mean for itself and for its mirror image.",
        "It does not answer action units: there were no real faces labelled with them.",
        "",
        *_origin(teachers),
        "",
        "## How good it is, and on whom",
        "",
        "FER2013's own test pictures, 3,589 each, through the runner in int8; 95% intervals by",
        "bootstrap over pictures. FER2013 does not say who is in its pictures, so that the same",
        "person may be on both sides, and some of its test pictures are training pictures, pixel",
        f"for pixel: {public['copies']['pictures']} of PublicTest, {private['copies']['pictures']}",
        "of PrivateTest. Without these the accuracy is",
        f"{with_interval(public['copies']['accuracy_of_others'])} and",
        f"{with_interval(private['copies']['accuracy_of_others'])}.",
        "People agree with its labels on about two pictures in three.",
        "",
        *_accuracy_table(public, private),
        "",
        "Confusion on PrivateTest, pictures:",
        "",
        *confusion_table(private),
        "",
        f"An answer is called uncertain below a calibrated score of "
        f"{spec['thresholds']['uncertain_below']:.2f}: "
        f"{1 - certain['share']:.0%} of PublicTest are; of the others {certain['accuracy']:.0%} "
        "are right.",
    ]
    if peers:
        lines += ["", "Beside what else runs offline:", "", *_peer_table(peers)]
    lines += [
        "",
        "## What it stands",
        "",
        "Accuracy on PublicTest where the 48 x 48 picture is changed first; in parentheses how",
        "far. The glasses are drawn.",
        "",
        *corruption_table(public["corruptions"], "accuracy"),
        "",
        *_crop_lines(public["crops"]),
        "",
        "## What it must not be used for",
        "",
        "To decide anything about a person: hiring, teaching, policing, insurance, credit, health,",
        "borders, or whether someone lies. A face is not a feeling: it says what a picture looks",
        "like to people who were asked for one of seven words. Emotion recognition at work and in",
        "schools is forbidden in the European Union (Regulation 2024/1689, article 5). The set has",
        "labels of neither age, sex nor skin, so that nobody has measured whether it is worse for",
        "some than for others: expect that it is. The recalls above say how often an emotion is",
        "missed: fear and sadness about every second time.",
        "",
        "## Data and licence",
        "",
        "FER2013 (Goodfellow et al. 2013, Challenges in representation learning): 28,709 training",
        "pictures that a search engine found in 2013. Their owners gave no licence; none of them",
        "is here, and the recorded examples in `golden.npz` are drawn. The weights are ours and",
        "come under Apache-2.0 as far as weights are anybody's; who has to be sure asks a lawyer,",
        "or trains on pictures of their own: `train.py --init=faces --data=mine/manifest.csv`.",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


def ship(options: ShipOptions) -> None:
    """Write the folder anew."""
    public, private = read_json(options.public), read_json(options.private)
    told = ("accuracy", "unweighted_average_recall", "macro_f1", "confusion", "recall", "copies")
    require_measured(options.private, private, *told, remedy="measure it with measure_faces.py")
    require_measured(
        options.public,
        public,
        *told,
        "corruptions",
        "crops",
        remedy="measure it with measure_faces.py --corruptions --crops",
    )
    peers = [read_json(path) for path in options.peers]
    teachers = [read_json(path) for path in options.teachers]
    spec = put(
        options.out,
        options.run,
        options.artifact,
        data="fer2013",
        notice=NOTICE,
        metrics={
            "FER2013 PublicTest": public["accuracy"],
            "FER2013 PrivateTest": private["accuracy"],
        },
    )
    write_card(options.out / "CARD.md", spec, public, private, peers, teachers)
    size = sum(path.stat().st_size for path in options.out.iterdir())
    print(f"wrote {options.out}: {size / 1e6:.1f} MB")


def main(arguments: list[str]) -> int:
    """Ship, and return the exit status."""
    ship(tyro.cli(ShipOptions, args=arguments, description=__doc__))
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded("ship.py", lambda: main(sys.argv[1:])))
