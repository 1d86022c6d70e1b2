"""Measure a face artifact on FER2013 through the runner itself, and under corruptions.

Accuracy, unweighted average recall and recall of each emotion, with 95% intervals by bootstrap
over pictures (FER2013 does not say who is in them), the confusion matrix, milliseconds a face on
one thread; how many of the pictures are training pictures, pixel for pixel, and the accuracy
without them; with --corruptions the accuracy under light, blur, small faces, JPEG, tilt, noise and
drawn glasses, each at five strengths.

Choices are made on PublicTest. PrivateTest is for the end: once.

Example:
  python experiments/recipes/measure_faces.py --source fer2013/ --model runs/fer2013/artifact \
      --corruptions --crops --out public.json
"""

from __future__ import annotations

import dataclasses
import hashlib
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import tyro
from measured import figure_text, print_figures, recalls
from tqdm import tqdm

from emojax.cli import run_guarded
from emojax.errors import UserError
from emojax.face import crop_face, crop_ready, detect_faces, largest, to_gray
from emojax.files import make_place, write_json
from emojax.labels import FER2013_EMOTIONS
from emojax.metrics import emotion_metrics
from emojax.picture import read_picture
from emojax.runtime import Predictor, load
from emojax.version import __version__

Picture = np.ndarray
"""uint8 [48, 48], gray."""


@dataclasses.dataclass(frozen=True)
class MeasureOptions:
    """What is measured on what."""

    source: Path
    """FER2013's folder, with test/EMOTION/PublicTest_*.jpg."""
    model: Path | None = None
    """The artifact; unset: the network that comes with emojax."""
    split: Literal["PublicTest", "PrivateTest"] = "PublicTest"
    """The competition's validation or test pictures."""
    precision: Literal["float32", "float16", "int8"] | None = None
    """What the network computes in; unset: what the artifact names."""
    corruptions: bool = False
    """Also measure under corruptions; 35 times the work."""
    crops: bool = False
    """Also put each picture into a wide border, detect, and cut crops of several sizes."""
    out: Path | None = None
    """Write the figures here, as JSON."""


def _light(picture: Picture, strength: float) -> Picture:
    return np.clip(picture * strength, 0, 255).astype(np.uint8)


def _blur(picture: Picture, sigma: float) -> Picture:
    return cv2.GaussianBlur(picture, (0, 0), sigma)


def _shrink(picture: Picture, side: float) -> Picture:
    small = cv2.resize(picture, (int(side), int(side)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, picture.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _compress(picture: Picture, quality: float) -> Picture:
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))


def _tilt(picture: Picture, degrees: float) -> Picture:
    height, width = picture.shape
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return cv2.warpAffine(picture, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)


def _noise(picture: Picture, deviation: float) -> Picture:
    # The same noise on every picture would be a pattern; the picture itself seeds it.
    rng = np.random.default_rng(int(picture.sum()))
    noisy = picture + rng.normal(0, deviation, picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _glasses(picture: Picture, darkness: float) -> Picture:
    """Return the face with glasses where FER2013's frame has the eyes, two fifths down."""
    scale = 8
    side = picture.shape[0]
    big = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    lenses = np.zeros_like(big)
    row, radius = int(0.4 * side * scale), int(0.13 * side * scale)
    centres = [(int(place * side * scale), row) for place in (0.32, 0.68)]
    for centre in centres:
        cv2.circle(lenses, centre, radius, 255, -1)
    glazed = np.where(lenses > 0, big * (1 - darkness), big).astype(np.uint8)
    for centre in centres:
        cv2.circle(glazed, centre, radius, 20, scale)
    ends = (centres[0][0] + radius, row), (centres[1][0] - radius, row)
    cv2.line(glazed, *ends, 20, scale)
    return cv2.resize(glazed, picture.shape[::-1], interpolation=cv2.INTER_AREA)


CORRUPTIONS: Mapping[str, tuple[Callable[[Picture, float], Picture], str, tuple[float, ...]]] = {
    "darker": (_light, "times the light", (0.7, 0.5, 0.35, 0.25, 0.15)),
    "brighter": (_light, "times the light", (1.2, 1.5, 1.8, 2.2, 2.6)),
    "blur": (_blur, "sigma, of 48 pixels", (0.6, 1.0, 1.5, 2.0, 3.0)),
    "small": (_shrink, "pixels a side", (36, 28, 20, 16, 12)),
    "JPEG": (_compress, "quality", (40, 25, 15, 10, 5)),
    "tilt": (_tilt, "degrees", (5, 10, 15, 25, 35)),
    "noise": (_noise, "deviation, of 255", (5, 10, 20, 30, 45)),
    "glasses": (_glasses, "darkness of the lenses", (0.0, 0.2, 0.4, 0.7, 1.0)),
}
"""What is done to a picture, what the numbers mean, and five of them from weak to strong."""


def read_pictures(source: Path, split: str) -> tuple[list[Picture], list[str]]:
    """Return the pictures of a split and their emotions.

    Raises:
        UserError: the folder holds none.
    """
    paths = sorted(source.glob(f"test/*/{split}_*.jpg"))
    if not paths:
        raise UserError(f"{source}: no test/EMOTION/{split}_*.jpg: give FER2013's folder")
    if unknown := {path.parent.name for path in paths} - set(FER2013_EMOTIONS):
        raise UserError(f"{source}/test: {sorted(unknown)[0]!r} is no emotion of FER2013")
    pictures = [to_gray(read_picture(path)) for path in paths]
    return pictures, [FER2013_EMOTIONS[path.parent.name] for path in paths]


CROP_SCALES = (0.8, 0.9, 1.0, 1.1, 1.2, 1.35)
"""Heights of the crop, as shares of the detector's box."""


def measure_crops(
    predictor: Predictor, pictures: list[Picture], truth: np.ndarray
) -> dict[str, Any]:
    """Return how FER2013's frame and the runner's crop agree, and the accuracy by crop size."""
    side, factor = 48, 4
    crops: dict[float, list[np.ndarray]] = {scale: [] for scale in CROP_SCALES}
    boxes, kept = [], []
    for number, picture in enumerate(tqdm(pictures, desc="crops", leave=False, disable=None)):
        big = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        border = side * factor // 2
        wide = cv2.copyMakeBorder(big, border, border, border, border, cv2.BORDER_REPLICATE)
        box = largest(detect_faces(wide, predictor.detector))
        if box is None:
            continue
        kept.append(number)
        middle = np.array([box.x + box.w / 2, box.y + box.h / 2]) / (side * factor) - 1
        boxes.append([side * factor / box.h, *middle])
        for scale, cut in crops.items():
            cut.append(crop_face(wide, box, predictor.spec.replace(crop_scale=scale)))

    def accuracy(answers: np.ndarray) -> float:
        return float(
            (answers[:, len(predictor.spec.action_units) :].argmax(1) == truth[kept]).mean()
        )

    ready = [crop_ready(pictures[number], predictor.spec) for number in kept]
    return {
        "pictures": len(pictures),
        "faces_found": len(kept),
        "frame_over_box": np.percentile(np.array(boxes)[:, 0], [25, 50, 75]).tolist(),
        "box_off_centre": np.median(np.array(boxes)[:, 1:], axis=0).tolist(),
        "accuracy_as_cut_by_fer2013": accuracy(predictor.predict_crops(np.stack(ready))),
        "accuracy_by_crop_scale": {
            f"{scale:g}": accuracy(predictor.predict_crops(np.stack(cut)))
            for scale, cut in crops.items()
        },
    }


def answers_to(predictor: Predictor, pictures: list[Picture]) -> np.ndarray:
    """Return the emotions' scores for pictures, float32 [pictures, emotions]."""
    crops = np.stack([crop_ready(picture, predictor.spec) for picture in pictures])
    return predictor.predict_crops(crops)[:, len(predictor.spec.action_units) :]


def find_copies(source: Path, pictures: list[Picture]) -> np.ndarray | None:
    """Return which pictures are training pictures as well, pixel for pixel: bool [pictures].

    None where the folder has no training pictures.
    """
    paths = sorted(source.glob("train/*/Training_*.jpg"))
    if not paths:
        return None
    known = {
        _digest(to_gray(read_picture(path)))
        for path in tqdm(paths, desc="training pictures", leave=False, disable=None)
    }
    return np.array([_digest(picture) in known for picture in pictures])


def _digest(picture: Picture) -> bytes:
    return hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).digest()


def measure(options: MeasureOptions) -> dict[str, Any]:
    """Return the figures.

    Raises:
        UserError: no such pictures or artifact, or one that does not answer FER2013's emotions.
    """
    pictures, emotions = read_pictures(options.source, options.split)
    predictor = load(options.model, 1, options.precision)
    names = predictor.spec.emotions
    if lacking := sorted({*emotions} - {*names}):
        raise UserError(
            f"{predictor.artifact.folder}: does not answer {lacking[0]}, which FER2013 asks for: "
            "give a network with its seven emotions"
        )
    truth = np.array([names.index(emotion) for emotion in emotions])
    started = time.perf_counter()
    scores = answers_to(predictor, pictures)
    milliseconds = (time.perf_counter() - started) / len(pictures) * 1e3
    figures: dict[str, Any] = {
        "what": f"FER2013 {options.split} through the runner",
        "emojax": __version__,
        "precision": predictor.artifact.precision,
        "mirrored": predictor.artifact.mirrored,
        "milliseconds_a_face": milliseconds,
        "threads": 1,
        "machine": platform.machine(),
        **emotion_metrics(truth, scores, np.arange(len(truth)), names),
    }
    figures["recall"] = recalls(figures["confusion"], names)
    copies = find_copies(options.source, pictures)
    if copies is not None:
        alone = emotion_metrics(truth[~copies], scores[~copies], np.arange((~copies).sum()), names)
        figures["copies"] = {
            "pictures": int(copies.sum()),
            "accuracy_of_others": alone["accuracy"],
        }

    def accuracy(changed: list[Picture]) -> float:
        return float((answers_to(predictor, changed).argmax(axis=1) == truth).mean())

    if options.corruptions:
        figures["corruptions"] = {
            name: {
                "what": what,
                "strengths": list(strengths),
                "accuracy": [
                    accuracy([do(picture, strength) for picture in pictures])
                    for strength in tqdm(strengths, desc=name, leave=False, disable=None)
                ],
            }
            for name, (do, what, strengths) in CORRUPTIONS.items()
        }
    if options.crops:
        figures["crops"] = measure_crops(predictor, pictures, truth)
    return figures


def main(arguments: list[str]) -> int:
    """Measure, print, and return the exit status."""
    options = tyro.cli(MeasureOptions, args=arguments, description=__doc__)
    if options.out is not None:
        make_place(options.out)
    figures = measure(options)
    print_figures(figures)
    if (copies := figures.get("copies")) is not None:
        print(
            f"{copies['pictures']} are training pictures, pixel for pixel; accuracy without them "
            f"{figure_text(copies['accuracy_of_others'])}"
        )
    print(f"{figures['milliseconds_a_face']:.2f} ms a face, {figures['precision']}, one thread")
    for name, row in figures.get("corruptions", {}).items():
        cells = "  ".join(
            f"{strength:g}: {value:.3f}"
            for strength, value in zip(row["strengths"], row["accuracy"], strict=True)
        )
        print(f"{name:9} ({row['what']}) {cells}")
    if crops := figures.get("crops"):
        print(
            f"FER2013's frame over the runner's box: {crops['frame_over_box'][1]:.3f} (median of "
            f"{crops['faces_found']} faces); accuracy as cut there "
            f"{crops['accuracy_as_cut_by_fer2013']:.3f}, by the crop's height over the box's: "
            + ", ".join(f"{k}: {v:.3f}" for k, v in crops["accuracy_by_crop_scale"].items())
        )
    if options.out is not None:
        write_json(options.out, figures)
        print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded("measure_faces.py", lambda: main(sys.argv[1:])))
