"""One picture to judge the drawing by: action units off and on, emotions, domains.

python -m emojax.data.synthetic.contact_sheet docs/synthetic_contact_sheet.png
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from emojax.data.synthetic.domains import (
    DOMAIN_NAMES,
    DOMAINS,
    PICTURE_SIDE,
    Scene,
    make_scene,
    render,
)
from emojax.data.synthetic.expressions import LOWEST_INTENSITY, sample_free
from emojax.data.synthetic.files import make_folder
from emojax.data.synthetic.people import make_person
from emojax.errors import UserError
from emojax.face import HaarDetector, crop_face, largest
from emojax.labels import ACTION_UNIT_NAMES, ACTION_UNITS, PROTOTYPES, SEVEN
from emojax.spec import InputSpec

_TITLE_HEIGHT = 34
_LABEL_WIDTH = 172
_TILE = 98
_INK, _PAPER = (40, 40, 40), (250, 250, 250)


def _intensities(units: Sequence[int], value: float) -> tuple[float, ...]:
    return tuple(value if number in units else 0.0 for number in ACTION_UNITS)


def _studio(person: int) -> Scene:
    """Return a studio scene without noise, the same for all of a person's pictures."""
    return dataclasses.replace(make_scene(np.random.default_rng([5, person]), "S1"), noise=0.0)


def _tile(picture: np.ndarray) -> np.ndarray:
    """Return the head of a picture at the size of a tile."""
    margin = PICTURE_SIDE // 10
    head = picture[margin // 2 : -margin - margin // 2, margin:-margin]
    return cv2.resize(head, (_TILE, _TILE), interpolation=cv2.INTER_AREA)


def _network_view(picture: np.ndarray, detector: HaarDetector) -> np.ndarray:
    """Return the detected face as the network sees it, on a tile's height; blank where none is."""
    spec = InputSpec()
    gray = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    tile = np.full((_TILE, spec.width + 8, 3), _PAPER, np.uint8)
    face = largest(detector(gray))
    if face is not None:
        top = (_TILE - spec.height) // 2
        tile[top : top + spec.height, 4 : 4 + spec.width] = crop_face(gray, face, spec)[..., None]
    return tile


def _write(sheet: np.ndarray, text: str, x: int, y: int, size: float, weight: int = 1) -> None:
    place = (x, y)
    cv2.putText(sheet, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, _INK, weight, cv2.LINE_AA)


def _row(label: Sequence[str], tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Return a labelled row; the first line of the label is larger."""
    head = np.full((_TILE, _LABEL_WIDTH, 3), _PAPER, np.uint8)
    for line, text in enumerate(label):
        _write(head, text, 8, 40 + 20 * line, 0.62 if line == 0 else 0.42)
    return np.hstack([head, *tiles])


def _section(title: str, rows: Sequence[np.ndarray], width: int) -> np.ndarray:
    bar = np.full((_TITLE_HEIGHT, width, 3), (226, 222, 216), np.uint8)
    _write(bar, title, 8, 23, 0.56)
    padded = [
        np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0)), constant_values=250)
        for row in rows
    ]
    return np.vstack([bar, *padded])


def draw_contact_sheet(seed: int = 0, people: int = 2, intensity: float = 0.7) -> np.ndarray:
    """Return the sheet, uint8 [height, width, 3], blue, green, red.

    Args:
        seed: seed of the people.
        people: people in each row.
        intensity: intensity at which action units and emotions are shown.
    """
    detector = HaarDetector()
    noise = np.random.default_rng(seed)
    shown = [make_person(seed, index) for index in range(8)]

    def picture(place: int, units: Sequence[int]) -> np.ndarray:
        return render(shown[place], _intensities(units, intensity), _studio(place), noise)

    unit_rows = []
    for number in ACTION_UNITS:
        tiles = []
        for place in range(people):
            off, on = picture(place, ()), picture(place, (number,))
            tiles += [_tile(off), _tile(on)]
            tiles += [_network_view(off, detector), _network_view(on, detector)]
        words = ACTION_UNIT_NAMES[number]
        unit_rows.append(_row([f"AU{number}", words, "off, on | 98x80 gray"], tiles))
    columns = min(6, (unit_rows[0].shape[1] - _LABEL_WIDTH) // _TILE)
    emotion_rows = []
    for emotion in SEVEN:
        units = PROTOTYPES[emotion]
        tiles = [_tile(picture(place % len(shown), units)) for place in range(columns)]
        code = "+".join(map(str, units)) or "no unit"
        emotion_rows.append(_row([emotion, code], tiles))
    domain_rows = []
    for domain in DOMAINS:
        tiles = []
        for place in range(columns):
            rng = np.random.default_rng([seed, 6, place])
            expression = sample_free(rng)
            person = shown[place % len(shown)]
            tiles.append(
                _tile(render(person, expression.intensities, make_scene(rng, domain), rng))
            )
        domain_rows.append(_row([domain, DOMAIN_NAMES[domain]], tiles))
    width = max(row.shape[1] for row in (*unit_rows, *emotion_rows, *domain_rows))
    title = np.full((44, width, 3), _PAPER, np.uint8)
    _write(title, "emojax synthetic faces (drawings, not people)", 8, 30, 0.8, 2)
    at = f"at intensity {intensity:g}"
    return np.vstack(
        [
            title,
            _section(f"Action units, absent and {at}", unit_rows, width),
            _section(f"Emotions by their EMFACS prototypes, {at}", emotion_rows, width),
            _section("Domains, free action units", domain_rows, width),
        ]
    )


def write_contact_sheet(path: Path, sheet: np.ndarray) -> None:
    """Write the sheet as a PNG with few colours, so that it stays small in a repository."""
    # The lowest bits are most of a PNG's size and nothing that one sees.
    coarse = (sheet & 0xF8) | (sheet >> 5)
    small = [cv2.IMWRITE_PNG_COMPRESSION, 9, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE]
    written, encoded = cv2.imencode(".png", coarse, small)
    assert written
    make_folder(path.parent)
    aside = path.with_suffix(".part")
    aside.write_bytes(encoded.tobytes())
    os.replace(aside, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the contact sheet and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m emojax.data.synthetic.contact_sheet",
        description="Draws what each action unit, emotion and domain of the synthetic set is.",
    )
    parser.add_argument("out", type=Path, help="PNG to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of the people (default: 0)")
    parser.add_argument(
        "--people", type=int, default=2, choices=range(1, 7), help="people a row (default: 2)"
    )
    parser.add_argument(
        "--intensity", type=float, default=0.7, help="of the action units, 0.2..1 (default: 0.7)"
    )
    options = parser.parse_args(arguments)
    if not LOWEST_INTENSITY <= options.intensity <= 1:
        parser.error(f"--intensity {options.intensity}: wanted {LOWEST_INTENSITY}..1")
    if options.out.suffix.lower() != ".png":
        parser.error(f"{options.out}: wanted a name that ends in .png")
    sheet = draw_contact_sheet(options.seed, options.people, options.intensity)
    try:
        write_contact_sheet(options.out, sheet)
    except (UserError, OSError) as error:
        print(f"contact_sheet: error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {options.out}: {sheet.shape[1]}x{sheet.shape[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
