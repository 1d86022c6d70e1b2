"""A frame -> face crops, the same in training and in use.

The default detector is the one the thesis uses, OpenCV's frontal Haar cascade;
anything that takes a gray frame and returns `Detection`s can stand in for it.

Source: Viola and Jones (2001), Rapid object detection using a boosted cascade
of simple features.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
from cv2.data import haarcascades

from emojax.errors import UserError
from emojax.picture import read_picture, to_gray
from emojax.spec import InputSpec

__all__ = [
    "Detection",
    "Detector",
    "HaarDetector",
    "crop_face",
    "crop_ready",
    "crop_rectangle",
    "detect_faces",
    "largest",
    "make_detector",
    "normalise",
    "overlap",
    "read_picture",
    "to_gray",
]


CASCADE = "haarcascade_frontalface_default"
"""The cascade that comes with OpenCV 4."""

_OF_THREAD = threading.local()


@dataclasses.dataclass(frozen=True)
class Detection:
    """A face box in pixels of the frame, and how sure the detector is."""

    x: int
    """Left edge; column 0 is the frame's first. May lie outside the frame."""
    y: int
    """Top edge; row 0 is the frame's first. May lie outside the frame."""
    w: int
    """Width."""
    h: int
    """Height."""
    confidence: float = 0.0
    """The detector's own score. Haar: the weight of the last stage, about 0..12."""

    def __post_init__(self) -> None:
        """Refuse a box without an area."""
        if self.w < 1 or self.h < 1:
            raise UserError(f"a face box of {self.w} x {self.h} pixels: wanted 1 x 1 or more")


@runtime_checkable
class Detector(Protocol):
    """Whatever finds faces: called with a gray frame, returns boxes in any order."""

    def __call__(self, gray: np.ndarray) -> list[Detection]:
        """Return the faces in a gray frame, uint8 [height, width]."""
        ...


def overlap(first: Detection, second: Detection) -> float:
    """Return the intersection of two boxes over their union, 0..1."""
    shared = _shared_area(first, second)
    return shared / (first.w * first.h + second.w * second.h - shared)


def load_cascade() -> cv2.CascadeClassifier:
    """Return this thread's cascade."""
    # One a thread: OpenCV's object is not safe to share, nor can it travel to a worker process.
    cascade = getattr(_OF_THREAD, "cascade", None)
    if cascade is None:
        path = Path(haarcascades) / f"{CASCADE}.xml"
        cascade = cv2.CascadeClassifier(str(path))
        if cascade.empty():
            raise UserError(f"{path}: OpenCV's face cascade is missing: install OpenCV 4 again")
        _OF_THREAD.cascade = cascade
    return cascade


def _shared_area(first: Detection, second: Detection) -> int:
    width = min(first.x + first.w, second.x + second.w) - max(first.x, second.x)
    height = min(first.y + first.h, second.y + second.h) - max(first.y, second.y)
    return max(width, 0) * max(height, 0)


_LONGEST_SIDE = 1 << 15


@dataclasses.dataclass(frozen=True)
class HaarDetector:
    """Finds upright frontal faces with OpenCV's Haar cascade.

    The defaults were chosen on real photographs and clips: with this scale
    factor an upright face is hit by 14 windows or more, by fewer where it is
    tilted by 15 degrees and small; a false one mostly by 5 or fewer.
    """

    scale_factor: float = 1.15
    """Ratio of one window size to the next smaller one."""
    min_neighbours: int = 7
    """Windows that have to agree on a face."""
    min_face_share: float = 0.1
    """Side of the smallest face, as a share of the frame's shorter side."""
    min_size: int = 24
    """Side of the smallest face in pixels; the cascade's own window is 24."""
    max_side: int = 1280
    """Frames with a longer side are searched at this one: finer detail costs time only."""

    def __post_init__(self) -> None:
        """Refuse settings under which nothing can be found."""
        # Closer to 1 a frame is searched at thousands of sizes, for minutes.
        if not 1.01 <= self.scale_factor <= 10:
            raise UserError(f"scale_factor={self.scale_factor!r}: wanted a number in 1.01..10")
        if not 1 <= self.min_neighbours <= 10_000:
            raise UserError(f"min_neighbours={self.min_neighbours!r}: wanted 1..10000")
        if not 0 <= self.min_face_share <= 1:
            raise UserError(f"min_face_share={self.min_face_share!r}: wanted 0..1")
        if not (1 <= self.min_size <= _LONGEST_SIDE and 64 <= self.max_side <= _LONGEST_SIDE):
            raise UserError(
                f"min_size={self.min_size!r} and max_side={self.max_side!r}: wanted 1 and 64 or "
                f"more, {_LONGEST_SIDE} at most"
            )

    def settings(self) -> dict[str, Any]:
        """Return what `make_detector` needs to build this detector again, as JSON holds it."""
        return {"name": "haar", "cascade": CASCADE, **dataclasses.asdict(self)}

    def __call__(self, gray: np.ndarray) -> list[Detection]:
        """Return the faces in a frame, left to right.

        Args:
            gray: uint8 [height, width], any size and memory layout.
        """
        gray, share = self.shrink(gray)
        smallest = self.smallest_in(gray)
        if min(gray.shape) < smallest:
            return []
        # With outputRejectLevels OpenCV's own grouping ignores minNeighbors: take
        # the single windows, and group them as it does without.
        windows, _, weights = load_cascade().detectMultiScale3(
            gray,
            scaleFactor=self.scale_factor,
            minNeighbors=0,
            minSize=(smallest, smallest),
            outputRejectLevels=True,
        )
        if len(windows) == 0:
            return []
        # Threads report windows in any order; nothing below depends on it.
        windows, weights = np.asarray(windows), np.asarray(weights).ravel()
        boxes, hits = cv2.groupRectangles(windows.tolist(), self.min_neighbours - 1, 0.2)
        faces = []
        for box, hit in zip(np.asarray(boxes).tolist(), np.ravel(hits).tolist(), strict=True):
            weight = _last_stage_weight(np.asarray(box), windows, weights)
            faces.append((hit, scaled(Detection(*box[:4], confidence=weight), 1 / share)))
        return left_to_right(without_overlaps(faces))

    def shrink(self, gray: np.ndarray) -> tuple[np.ndarray, float]:
        """Return a frame as it is searched, and its size as a share of what it was, 0..1."""
        gray = np.ascontiguousarray(to_gray(gray))
        share = min(1.0, self.max_side / max(gray.shape))
        return (shrunk(gray, share) if share < 1 else gray), share

    def smallest_in(self, gray: np.ndarray) -> int:
        """Return the side of the smallest face that is looked for in a frame, in pixels."""
        return max(self.min_size, round(self.min_face_share * min(gray.shape)))


def shrunk(gray: np.ndarray, share: float) -> np.ndarray:
    """Return a frame at a share of its size, one pixel at least."""
    height, width = gray.shape
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return cv2.resize(gray, size, interpolation=cv2.INTER_AREA)


def scaled(box: Detection, factor: float) -> Detection:
    """Return a box of a frame that is so many times as large."""
    x, y, w, h = (round(side * factor) for side in (box.x, box.y, box.w, box.h))
    return Detection(x, y, w, h, box.confidence)


def _last_stage_weight(box: np.ndarray, windows: np.ndarray, weights: np.ndarray) -> float:
    """Return the best last-stage weight among the windows that a grouped box stands for."""
    x, y, w, h = (int(side) for side in box)
    left, top = np.maximum(windows[:, 0], x), np.maximum(windows[:, 1], y)
    right = np.minimum(windows[:, 0] + windows[:, 2], x + w)
    bottom = np.minimum(windows[:, 1] + windows[:, 3], y + h)
    shared = np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
    union = windows[:, 2] * windows[:, 3] + w * h - shared
    members = shared > 0.5 * union
    return float(weights[members].max() if members.any() else weights.max())


def without_overlaps(faces: list[tuple[int, Detection]]) -> list[Detection]:
    """Return the boxes that no better-supported box covers in large part.

    Args:
        faces: windows that agree on it, and the box.
    """
    kept: list[Detection] = []
    for _, box in sorted(faces, key=lambda face: (-face[0], -face[1].confidence, face[1].x)):
        smaller = [min(box.w * box.h, other.w * other.h) for other in kept]
        shared = [_shared_area(box, other) for other in kept]
        if all(part <= 0.4 * area for part, area in zip(shared, smaller, strict=True)):
            kept.append(box)
    return kept


def left_to_right(faces: Sequence[Detection]) -> list[Detection]:
    """Return boxes by their left edge."""
    return sorted(faces, key=lambda face: (face.x, face.y, face.w, face.h))


def make_detector(settings: Mapping[str, Any], source: str = "detector settings") -> Detector:
    """Return the detector that settings describe, as they travel in an artifact.

    Args:
        settings: `name` (only `haar` so far) and any fields of `HaarDetector`.
        source: where they come from, for the message.

    Raises:
        UserError: another name, an unknown field, a value out of range.
    """
    fields = dict(settings)
    name, cascade = fields.pop("name", None), fields.pop("cascade", CASCADE)
    if name != "haar" or cascade != CASCADE:
        raise UserError(
            f"{source}: detector {name!r} with cascade {cascade!r} is not known: "
            f"use 'haar' with {CASCADE!r}"
        )
    known = {field.name: field.type for field in dataclasses.fields(HaarDetector)}
    for field, value in fields.items():
        wanted = (int, float) if known.get(field) == "float" else int
        if field not in known or isinstance(value, bool) or not isinstance(value, wanted):
            raise UserError(
                f"{source}: {field}={value!r} is no setting of the Haar detector: "
                f"it takes {', '.join(f'{key} ({kind})' for key, kind in known.items())}"
            )
    try:
        return HaarDetector(**fields)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None


def detect_faces(gray: np.ndarray, detector: Detector) -> list[Detection]:
    """Return the faces in a gray frame, uint8 [height, width], from left to right."""
    return left_to_right(detector(gray))


def largest(faces: Sequence[Detection]) -> Detection | None:
    """Return the face with the largest box, None where there is none."""
    if not faces:
        return None
    return max(faces, key=lambda face: (face.w * face.h, face.confidence, -face.x))


def _resize(crop: np.ndarray, spec: InputSpec) -> np.ndarray:
    crop, size = np.ascontiguousarray(crop), (spec.width, spec.height)
    shrinks = crop.shape[0] >= spec.height
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(crop, size, interpolation=method)
    return cv2.equalizeHist(resized) if spec.equalise else resized


def crop_rectangle(box: Detection, spec: InputSpec) -> tuple[int, int, int, int]:
    """Return what a crop shows of its frame: left, top, width and height, in pixels.

    It may reach beyond the frame. Arguments are those of `crop_face`.
    """
    height = max(1, round(box.h * spec.crop_scale))
    width = max(1, round(height * spec.width / spec.height))
    top = round(box.y + box.h / 2 - height / 2)
    left = round(box.x + box.w / 2 - width / 2)
    return left, top, width, height


def crop_face(gray: np.ndarray, box: Detection, spec: InputSpec) -> np.ndarray:
    """Return the network's view of one face.

    The crop is `crop_scale` times as high as the box, its width follows
    width : height of the spec, both around the box's centre, so that a face is
    never stretched. Beyond the frame's border its last pixels are repeated.

    Args:
        gray: uint8 [height, width].
        box: where the face is.
        spec: size, scale and equalisation.

    Returns:
        uint8 [spec.height, spec.width].

    Raises:
        UserError: the box does not touch the frame.
    """
    rows, columns = gray.shape
    left, top, width, height = crop_rectangle(box, spec)
    inside = gray[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    if inside.size == 0:
        raise UserError(f"{box} lies outside the frame of {columns} x {rows} pixels")
    crop = cv2.copyMakeBorder(
        inside,
        max(-top, 0),
        max(top + height - rows, 0),
        max(-left, 0),
        max(left + width - columns, 0),
        cv2.BORDER_REPLICATE,
    )
    return _resize(crop, spec)


def crop_ready(gray: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Return the network's view of a picture that is a face crop already.

    FER2013's 48x48 pictures, for one: cut to the spec's aspect around the
    centre, then resized.

    Args:
        gray: uint8 [height, width].
        spec: size and equalisation; `crop_scale` belongs to detected boxes.

    Returns:
        uint8 [spec.height, spec.width].
    """
    rows, columns = gray.shape
    height = min(rows, max(1, round(columns * spec.height / spec.width)))
    width = min(columns, max(1, round(rows * spec.width / spec.height)))
    top, left = (rows - height) // 2, (columns - width) // 2
    return _resize(gray[top : top + height, left : left + width], spec)


def normalise(crops: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Return crops as the network takes them: (x - offset) / scale.

    Args:
        crops: uint8 of any shape, 0..255.
        spec: offset and scale.

    Returns:
        float32 of the same shape, -0.992..1.0 with the default spec.
    """
    return (crops.astype(np.float32) - np.float32(spec.offset)) / np.float32(spec.scale)
