"""How much a server takes, from one sender and from all of them."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated

import tyro

from emojax.errors import UserError

_Number = tyro.conf.arg(metavar="N")


@dataclasses.dataclass(frozen=True)
class Limits:
    """What is more than this is refused, in a line that says so."""

    picture_mb: Annotated[float, _Number] = 32.0
    """Megabytes of a picture file."""
    video_mb: Annotated[float, _Number] = 200.0
    """Megabytes of a video file, which is held in memory while it is read."""
    megapixels: Annotated[float, _Number] = 40.0
    """Million pixels of a picture or of a video's frame: a small file can stand for any number."""
    video_seconds: Annotated[float, _Number] = 120.0
    """Length of a video file."""
    video_rows: Annotated[int, _Number] = 100_000
    """Rows of a video file, one for each face of each frame and one for each frame without: two
    minutes of a dozen faces at 60 frames a second are 86,400, and a small file can hold millions of
    frames."""
    frame_mb: Annotated[float, _Number] = 4.0
    """Megabytes of one frame of a stream."""
    upload_seconds: Annotated[float, _Number] = 60.0
    """For how long a file may be on its way here."""
    idle_seconds: Annotated[float, _Number] = 60.0
    """After how long a stream without a frame loses its place."""
    sessions: Annotated[int, _Number] = 8
    """Streams at once: tabs that show a camera or a video."""
    uploads: Annotated[int, _Number] = 16
    """Files at once that are read or wait for it; two are worked on at a time."""

    def __post_init__(self) -> None:
        """Refuse what would let nothing or everything through."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not 0 < value < math.inf:
                flag = field.name.replace("_", "-")
                raise UserError(f"--{flag} {value}: wanted a number above 0")

    @property
    def picture_bytes(self) -> int:
        """Bytes of a picture file."""
        return int(self.picture_mb * 1e6)

    @property
    def video_bytes(self) -> int:
        """Bytes of a video file."""
        return int(self.video_mb * 1e6)

    @property
    def frame_bytes(self) -> int:
        """Bytes of a stream's frame."""
        return int(self.frame_mb * 1e6)

    @property
    def pixels(self) -> int:
        """Pixels of a picture."""
        return int(self.megapixels * 1e6)
