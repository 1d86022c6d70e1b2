"""The contract between pictures and networks, as it travels in JSON.

`InputSpec` says how a frame becomes network input and what the outputs mean,
`SpectrogramSpec` inside it how a clip's sound does.
It is written beside the shards, checked when training starts and shipped with
the exported model, so that training and the webcam cut the same face.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emojax import labels
from emojax.errors import UserError

SPEC_VERSION = 2
"""Raised when a reader of the old form would misread the new one."""

LARGEST_JSON = 16 << 20
"""Bytes of a file of ours in JSON: a thousand times what there is to say."""

LARGEST_SOUND = 2**27
"""Samples of a sound, and values of its spectrogram: 1 GiB in float64, an hour of the default."""

UNNAMED_S = 60.0
"""Seconds that `LARGEST_SOUND` counts with where a spec names none: the runner's longest clip."""


@dataclasses.dataclass(frozen=True)
class SpectrogramSpec:
    """How a waveform becomes network input. Row 0 is the highest frequency."""

    window_ms: float = 25.0
    """Length of the analysis window. Long: harmonics stand out; short: the glottal pulses."""
    hop_ms: float = 10.0
    """Distance between two windows."""
    fft_length: int = 512
    """Samples of the Fourier transform; the window is padded with zeros to this."""
    mel_bands: int | None = 64
    """Bands of the mel filter bank; None keeps the transform's own frequencies."""
    decibels: bool = True
    """Decibels below the maximum, mapped to 0..1; otherwise power divided by its maximum."""
    range_db: float = 80.0
    """Distance from the maximum (1) to the floor (0), for `decibels`."""
    duration_s: float | None = 3.0
    """Silence is appended up to here and longer sound is cut; None: the whole sound is squeezed."""
    height: int = 64
    """Rows of the result."""
    width: int = 96
    """Columns of the result."""
    sample_rate_hz: int = 16000
    """Samples per second of the waveform."""
    thesis: bool = False
    """Do what the thesis's code does: see `audio.thesis_spectrogram`."""

    def __post_init__(self) -> None:
        """Refuse values that give no spectrogram."""
        for name, most in (("window_ms", 10**6), ("hop_ms", 10**6), ("range_db", 1000)):
            if not 0 < getattr(self, name) <= most:
                raise UserError(
                    f"{name}={getattr(self, name)!r}: wanted a number above 0, {most} at most"
                )
        if self.duration_s is not None and not 0 < self.duration_s <= 3600:
            raise UserError(f"duration_s={self.duration_s!r}: wanted seconds, 0..3600, or None")
        if self.mel_bands is not None and self.mel_bands < 1:
            raise UserError(f"mel_bands={self.mel_bands!r}: wanted 1 or more, or None")
        for name, least, most in (
            ("sample_rate_hz", 1000, 10**6),
            ("fft_length", 1, 2**16),
            ("height", 1, 4096),
            ("width", 1, 4096),
        ):
            value = getattr(self, name)
            if not (isinstance(value, int) and least <= value <= most):
                raise UserError(f"{name}={value!r}: wanted a whole number, {least}..{most}")
        if self.window_length < 2 or self.window_length > self.fft_length:
            raise UserError(
                f"window_ms={self.window_ms!r} is {self.window_length} samples: "
                f"wanted 2..{self.fft_length} (fft_length)"
            )
        if self.hop_length < 1:
            raise UserError(f"hop_ms={self.hop_ms!r} is less than a sample: make it longer")
        seconds = UNNAMED_S if self.duration_s is None else self.duration_s
        samples = round(seconds * self.sample_rate_hz)
        values = samples // self.hop_length * (self.fft_length // 2 + 1)
        if max(samples, values) > LARGEST_SOUND:
            raise UserError(
                f"duration_s={self.duration_s!r}, hop_ms={self.hop_ms!r}: {samples} samples and a "
                f"spectrogram of {values} values, wanted {LARGEST_SOUND} of each at most: make the "
                "sound shorter or the hop longer"
            )

    @property
    def window_length(self) -> int:
        """Samples of the window."""
        return round(self.window_ms * self.sample_rate_hz / 1000)

    @property
    def hop_length(self) -> int:
        """Samples between two windows."""
        return round(self.hop_ms * self.sample_rate_hz / 1000)


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """How a frame becomes input, and what the outputs are called."""

    height: int = 98
    """Rows of the crop, in pixels. The thesis prints 98x80; we read height first."""
    width: int = 80
    """Columns of the crop, in pixels."""
    channels: int = 1
    """1: gray (ITU-R BT.601 luma, as OpenCV converts)."""
    crop_scale: float = 1.0
    """Height of the crop as a share of the detector's box; the width follows height : width."""
    equalise: bool = False
    """Equalise the crop's histogram before it is stored or fed."""
    offset: float = 127.0
    """Subtracted from a gray value of 0..255."""
    scale: float = 128.0
    """Divides what is left: (x - 127) / 128."""
    frames: int = 1
    """Frames that the network sees at once: 1 for a picture, 20 for the thesis's clips."""
    sound: SpectrogramSpec | None = None
    """How the sound of a clip becomes input; None: sound is not looked at."""
    action_units: tuple[str, ...] = labels.AU_COLUMNS
    """Names of the action-unit outputs, in output order; they come first."""
    emotions: tuple[str, ...] = labels.SEVEN
    """Names of the emotion outputs, in output order; they follow the action units."""
    action_unit_activation: str = "sigmoid"
    """What turns action-unit logits into probabilities."""
    emotion_activation: str = "sigmoid"
    """What turns emotion logits into scores: `sigmoid` (thesis, formula 4.12) or `softmax`."""
    version: int = SPEC_VERSION
    """Version of this record's form."""

    def __post_init__(self) -> None:
        """Refuse values that no network input can have."""
        for name in ("height", "width"):
            value = getattr(self, name)
            if not (isinstance(value, int) and 8 <= value <= 1024):
                raise UserError(f"{name}={value!r}: wanted a whole number of pixels, 8..1024")
        if self.channels != 1:
            raise UserError(f"channels={self.channels!r}: only gray input (1) is supported")
        if not (isinstance(self.frames, int) and 1 <= self.frames <= 1000):
            raise UserError(f"frames={self.frames!r}: wanted a whole number, 1..1000")
        if not isinstance(self.sound, SpectrogramSpec | None):
            raise UserError(f"sound={self.sound!r}: wanted the settings of a spectrogram, or none")
        if not 0.2 <= self.crop_scale <= 3.0:
            raise UserError(f"crop_scale={self.crop_scale!r}: wanted 0.2..3.0 of the face box")
        if not isinstance(self.equalise, bool):
            raise UserError(f"equalise={self.equalise!r}: wanted true or false")
        for name in ("offset", "scale"):
            value = getattr(self, name)
            # Not math.isfinite, which fails for a whole number of hundreds of digits.
            if not isinstance(value, int | float) or not -1e6 <= value <= 1e6:
                raise UserError(f"{name}={value!r}: wanted a finite number, a million at most")
        if not self.scale > 0:
            raise UserError(f"scale={self.scale!r}: wanted a number above 0")
        for name in ("action_unit_activation", "emotion_activation"):
            if getattr(self, name) not in ("sigmoid", "softmax"):
                raise UserError(f"{name}={getattr(self, name)!r}: use sigmoid or softmax")
        for name in ("action_units", "emotions"):
            values = getattr(self, name)
            if not isinstance(values, tuple) or not all(isinstance(item, str) for item in values):
                raise UserError(f"{name}={values!r}: wanted a list of names")
            if len(set(values)) != len(values):
                raise UserError(f"{name} names an output twice: {', '.join(values)}")
        unknown = [name for name in self.action_units if name not in labels.AU_COLUMNS]
        if unknown:
            raise UserError(f"action_units holds {unknown[0]!r}: use AU01 .. AU26 of the 15")
        if self.num_outputs == 0:
            raise UserError("a spec without outputs: name action units, emotions, or both")

    @property
    def num_outputs(self) -> int:
        """Number of logits: action units, then emotions."""
        return len(self.action_units) + len(self.emotions)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of all outputs in order, emotions as `emotion_neutral` and so on."""
        return (*self.action_units, *(f"emotion_{name}" for name in self.emotions))

    def replace(self, **changes: Any) -> InputSpec:
        """Return a copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON can hold it."""
        return dataclasses.asdict(self)


def spec_from_dict(fields: Mapping[str, Any], source: str) -> InputSpec:
    """Return the `InputSpec` that a JSON object describes.

    Args:
        fields: what `InputSpec.to_dict` gave.
        source: the file it came from, for the message.

    Raises:
        UserError: another version, a field too many or too few, a value out of range.
    """
    version = fields.get("version")
    if version != SPEC_VERSION:
        raise UserError(
            f"{source}: input spec version {version!r}, this emojax reads {SPEC_VERSION}: "
            "build or export it again with this version"
        )
    known = {field.name for field in dataclasses.fields(InputSpec)}
    if surplus := sorted(set(fields) - known):
        raise UserError(f"{source}: unknown field {surplus[0]!r} in the input spec")
    if absent := sorted(known - set(fields)):
        raise UserError(f"{source}: the input spec lacks the field {absent[0]!r}")
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
    try:
        if isinstance(values["sound"], dict):
            values["sound"] = SpectrogramSpec(**values["sound"])
        return InputSpec(**values)
    except (UserError, TypeError, OverflowError, ValueError) as error:
        raise UserError(f"{source}: {error}") from None


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        UserError: the file is missing, empty, not JSON, or holds no object.
    """
    try:
        if (size := path.stat().st_size) > LARGEST_JSON:
            raise UserError(f"{path}: {size} bytes, wanted {LARGEST_JSON} at most: write it again")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: can't be read ({error})") from None
    try:
        fields = json.loads(text)
    except RecursionError:
        raise UserError(f"{path}: JSON that is nested too deeply: write it again") from None
    except ValueError as error:
        # A number of thousands of digits is one too.
        raise UserError(f"{path}: not JSON ({error}): write it again") from None
    if not isinstance(fields, dict):
        raise UserError(f"{path}: wanted a JSON object, found {type(fields).__name__}")
    return fields
