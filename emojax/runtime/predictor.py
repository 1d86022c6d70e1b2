"""Faces -> probabilities, with LiteRT."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from emojax.errors import UserError
from emojax.face import Detection, Detector, crop_face, detect_faces, normalise, to_gray
from emojax.litert import Network
from emojax.runtime.artifact import Artifact
from emojax.spec import InputSpec
from emojax.temperature import scale

if TYPE_CHECKING:
    from emojax.runtime.records import Records

Given = str | os.PathLike[str] | np.ndarray
"""A path, or a picture as an array."""


@dataclasses.dataclass(frozen=True)
class FaceResult:
    """One face of one frame, and what the network says about it."""

    detection: Detection
    """Where the face is, and the detector's score."""
    action_units: np.ndarray
    """float32 [action units], probability of each, 0..1, in the spec's order."""
    emotions: np.ndarray
    """float32 [emotions], score of each, 0..1, in the spec's order."""
    emotion_names: tuple[str, ...]
    """The emotions' names, in the spec's order."""
    blur: float = 0.0
    """Variance of the crop's Laplacian, in squared levels of gray: the lower, the more blurred.
    Pech-Pacheco et al. 2000. It compares frames of one camera, not cameras."""
    brightness: float = 0.0
    """Mean of the crop, 0..255."""
    window_s: tuple[float, float] | None = None
    """Of a network for clips: beginning and end of the clip that this is about, in seconds."""

    @property
    def emotion(self) -> str | None:
        """Name of the emotion with the highest score, None for a model without emotions."""
        return self.emotion_names[int(self.emotions.argmax())] if self.emotion_names else None


@dataclasses.dataclass(frozen=True)
class Heard:
    """What a network says about a clip in which it sees nobody, from its sound alone."""

    action_units: np.ndarray
    """float32 [action units], probability of each, 0..1, in the spec's order."""
    emotions: np.ndarray
    """float32 [emotions], score of each, 0..1, in the spec's order."""
    emotion_names: tuple[str, ...]
    """The emotions' names, in the spec's order."""
    window_s: tuple[float, float]
    """Beginning and end of the clip, in seconds."""

    @property
    def emotion(self) -> str | None:
        """Name of the emotion with the highest score, None for a model without emotions."""
        return self.emotion_names[int(self.emotions.argmax())] if self.emotion_names else None


def cut_faces(gray: np.ndarray, faces: list[Detection], spec: InputSpec) -> np.ndarray:
    """Return the crops of faces, uint8 [n, height, width] of the spec.

    Args:
        gray: uint8 [height, width].
        faces: where they are.
        spec: how they are cut.
    """
    if not faces:
        return np.empty((0, spec.height, spec.width), np.uint8)
    return np.stack([crop_face(gray, face, spec) for face in faces])


def label_faces(
    faces: list[Detection], crops: np.ndarray, answers: np.ndarray, spec: InputSpec
) -> list[FaceResult]:
    """Return faces with what a network says about them.

    Args:
        faces: where they are.
        crops: uint8 [n, height, width], of `cut_faces`.
        answers: float32 [n, outputs], action units, then emotions.
        spec: names of the outputs.
    """
    split = len(spec.action_units)
    return [
        FaceResult(
            face,
            answer[:split],
            answer[split:],
            spec.emotions,
            blur=float(cv2.Laplacian(crop, cv2.CV_32F).var()),
            brightness=float(crop.mean()),
        )
        for face, crop, answer in zip(faces, crops, answers, strict=True)
    ]


def calibrated(answers: np.ndarray, artifact: Artifact) -> np.ndarray:
    """Return a model's answers as probabilities, 0..1, at the artifact's temperatures.

    Args:
        answers: float32 [..., outputs], as the model gives them.
        artifact: the model's.

    Raises:
        UserError: they are no probabilities.
    """
    # Rounding may reach past the ends; logits or not-a-number must not pass as probabilities.
    if not ((answers >= -1e-3) & (answers <= 1 + 1e-3)).all():
        raise UserError(
            f"{artifact.folder}: the model's answer is no probability "
            "(not in 0..1, or not a number): export the artifact again"
        )
    return scale(np.clip(answers, 0.0, 1.0), artifact.spec, artifact.temperatures)


class Predictor:
    """Holds a model that is ready to run. One thread at a time may use it."""

    def __init__(
        self, artifact: Artifact, threads: int = 1, detector: Detector | None = None
    ) -> None:
        """Make the model ready.

        Args:
            artifact: what `load_artifact` gave.
            threads: of the processor, for the network.
            detector: finds the faces; the artifact's own where none is given.

        Raises:
            UserError: a model for clips, or fewer threads than one.
        """
        if threads < 1:
            raise UserError(f"threads={threads}: wanted 1 or more")
        if artifact.looks != "picture":
            heard = " with their sound" if artifact.spec.sound else ""
            raise UserError(
                f"{artifact.folder}: a model for clips ({artifact.spec.frames} frames{heard} at "
                "once), and this call takes those for pictures: use emojax predict on a "
                "video, or another artifact"
            )
        self.artifact = artifact
        self.spec = artifact.spec
        self.detector = artifact.detector if detector is None else detector
        self._network = Network(
            artifact.model, threads, str(artifact.folder), mirrored=artifact.mirrored
        )

    def predict_crops(self, crops: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities for face crops, as `crop_face` and `crop_ready` cut them.

        Args:
            crops: uint8 [n, height, width], gray.

        Returns:
            float32 [n, outputs], 0..1: action units, then emotions.

        Raises:
            UserError: crops of another shape or type, or a model whose answer is
                no probability.
        """
        wanted = (self.spec.height, self.spec.width)
        if crops.dtype != np.uint8 or crops.ndim != 3 or crops.shape[1:] != wanted:
            raise UserError(
                f"crops of type {crops.dtype} and shape {crops.shape}: "
                f"wanted uint8 [n, {wanted[0]}, {wanted[1]}]"
            )
        if not len(crops):
            return np.empty((0, self.spec.num_outputs), np.float32)
        answers = self._network.answers({"faces": normalise(crops, self.spec)[..., None]})
        return calibrated(answers, self.artifact)

    def predict_faces(self, gray: np.ndarray, faces: list[Detection]) -> list[FaceResult]:
        """Return what the network says about faces that were found already, in their order.

        Args:
            gray: uint8 [height, width].
            faces: where they are.
        """
        crops = self.cut(gray, faces)
        return self.label(faces, crops, self.predict_crops(crops))

    def cut(self, gray: np.ndarray, faces: list[Detection]) -> np.ndarray:
        """Return the crops of faces, uint8 [n, height, width] of the spec.

        Args:
            gray: uint8 [height, width].
            faces: where they are.
        """
        return cut_faces(gray, faces, self.spec)

    def label(
        self, faces: list[Detection], crops: np.ndarray, answers: np.ndarray
    ) -> list[FaceResult]:
        """Return faces with what the network says about them.

        Args:
            faces: where they are.
            crops: uint8 [n, height, width], of `cut`.
            answers: float32 [n, outputs], of `predict_crops`.
        """
        return label_faces(faces, crops, answers, self.spec)

    def predict(
        self,
        given: Given | Sequence[Given],
        *,
        every: int = 1,
        detect_every: int = 1,
        smooth_s: float = 0.0,
    ) -> Records:
        """Return a record for each face, and one for each frame without: the rows of the table.

        Args:
            given: the path of a picture, a video or a folder; a picture as an array, uint8
                [height, width, 3] in red, green, blue, as Pillow, imageio and scikit-image have
                it, [height, width, 4] with transparency last, or gray [height, width]; or a list
                of these. Of OpenCV's blue, green, red give `picture[:, :, ::-1]`.
            every: of a video, one frame of so many is looked at.
            detect_every: of those, one of so many is searched whole; in the others faces are
                looked for near where they were.
            smooth_s: time constant of an average over a face's probabilities, in seconds; 0: none.

        Raises:
            UserError: a path that can't be read, or an array of another type or shape. A video
                that breaks in the middle is a warning: the records up to there are returned.
        """
        # What reads files and makes rows stands on this module.
        from emojax.runtime.records import predict_records

        return predict_records(self, given, every, detect_every, smooth_s)

    def predict_frame(self, picture: np.ndarray) -> list[FaceResult]:
        """Return all faces of a frame, left to right; none is a result too.

        Args:
            picture: uint8 [height, width, 3] in blue, green, red, or gray [height, width].
        """
        gray = to_gray(picture)
        return self.predict_faces(gray, detect_faces(gray, self.detector))
