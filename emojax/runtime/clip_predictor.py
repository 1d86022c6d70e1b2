"""Clips -> probabilities, with LiteRT: the crops of one face, a sound, or both."""

from __future__ import annotations

import numpy as np

from emojax.audio import stored_spectrogram
from emojax.clip import sample_clip
from emojax.errors import UserError
from emojax.face import Detection, Detector
from emojax.golden import Recorded, name_inputs
from emojax.litert import Network
from emojax.runtime.artifact import Artifact
from emojax.runtime.predictor import calibrated, cut_faces


class ClipPredictor:
    """Holds a model for clips that is ready to run. One thread at a time may use it."""

    def __init__(
        self, artifact: Artifact, threads: int = 1, detector: Detector | None = None
    ) -> None:
        """Make the model ready.

        Args:
            artifact: what `load_artifact` gave.
            threads: of the processor, for the network.
            detector: finds the faces; the artifact's own where none is given.

        Raises:
            UserError: a model for pictures, or fewer threads than one.
        """
        if threads < 1:
            raise UserError(f"threads={threads}: wanted 1 or more")
        if artifact.clip is None:
            raise UserError(f"{artifact.folder}: a model for pictures, wanted one for clips")
        self.artifact = artifact
        self.spec = artifact.spec
        self.settings = artifact.clip
        self.detector = artifact.detector if detector is None else detector
        self._network = Network(artifact.model, threads, str(artifact.folder))

    @property
    def hears(self) -> bool:
        """Whether the network listens."""
        return self.spec.sound is not None

    def cut(self, gray: np.ndarray, faces: list[Detection]) -> np.ndarray:
        """Return the crops of faces, uint8 [n, height, width] of the spec.

        Args:
            gray: uint8 [height, width].
            faces: where they are.
        """
        return cut_faces(gray, faces, self.spec)

    def listen(self, samples: np.ndarray) -> np.ndarray | None:
        """Return the spectrogram of a sound as shards hold it, uint8 [frequency, time].

        None without a sample, or for a network that does not listen.

        Args:
            samples: float32 [samples], -1..1, at the spec's sample rate.
        """
        sound, bank = self.spec.sound, self.settings.bank
        if sound is None or bank is None or not samples.size:
            return None
        return stored_spectrogram(samples, sound, bank.mel_filters, bank.window)

    def predict_clip(
        self, crops: np.ndarray | None, spectrogram: np.ndarray | None
    ) -> np.ndarray | None:
        """Return calibrated probabilities of a clip, float32 [outputs]: units, then emotions.

        None where the network has nothing to go by. A silent sound beside frames counts as none:
        shards hold such a clip without its sound, and no training has seen it otherwise. Alone it
        is heard: a window of a sound may be silent.

        Args:
            crops: uint8 [frames, height, width], one face in each frame of the clip, of which the
                network takes its own; None where there is nobody.
            spectrogram: of `listen`; None without sound.

        Raises:
            UserError: the model's answer is no probability.
        """
        spec = self.spec
        sees = crops is not None and self.settings.sees
        hears = spectrogram is not None and (not sees or bool(spectrogram.any()))
        if not sees and not hears:
            return None
        seen = np.zeros((spec.frames, spec.height, spec.width), np.uint8)
        if sees and crops is not None:
            seen = crops[sample_clip(len(crops), self.settings.kept_frames, spec.frames)]
        size = (spec.sound.height, spec.sound.width) if spec.sound else (0, 0)
        heard = np.zeros(size, np.uint8) if spectrogram is None else spectrogram
        recorded = Recorded(
            crops=seen[None],
            spectrograms=heard[None],
            has_frames=np.array([sees], np.float32),
            has_sound=np.array([hears], np.float32),
        )
        answers = self._network.answers(name_inputs(recorded, self.artifact.looks, spec))
        return calibrated(answers[0], self.artifact)
