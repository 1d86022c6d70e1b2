"""A run's curves for TensorBoard, written as they come."""

from __future__ import annotations

import time
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter

# Protobuf makes these when it is imported: a checker does not see them.
from tensorboardX.proto.event_pb2 import (
    Event,  # pyright: ignore[reportAttributeAccessIssue]
    SessionLog,  # pyright: ignore[reportAttributeAccessIssue]
)
from tensorboardX.summary import scalar


class Curves:
    """The event file of a run.

    tensorboardX's own `SummaryWriter` hands everything to a thread, which a full disk ends: the
    training then waits for ever at the thread's queue. Here the error is the caller's.
    """

    def __init__(self, folder: Path, going_on_from: int) -> None:
        """Open a file in a folder; `going_on_from`: later points of an earlier one are hidden."""
        folder.mkdir(parents=True, exist_ok=True)
        self._events = EventsWriter(str(folder / "events"))
        if going_on_from:
            start = SessionLog(status=SessionLog.START)
            self._events.write_event(Event(step=going_on_from, file_version="brain.Event:2"))
            self._events.write_event(Event(step=going_on_from, session_log=start))

    def add(self, name: str, value: float, step: int) -> None:
        """Add a point to a curve."""
        summary = scalar(name, value)
        self._events.write_event(Event(wall_time=time.time(), step=step, summary=summary))

    def flush(self) -> None:
        """Bring to the disk what was added.

        Raises:
            OSError: there is no room.
        """
        self._events.flush()

    def close(self) -> None:
        """Close the file."""
        self._events.close()
