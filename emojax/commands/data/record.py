"""`emojax data record`: a database of one's own, in front of a camera."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from emojax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Record:
    """Record a person who shows emotions and action units: clips, and a manifest to build from.

    `emojax data record --subject P01` asks for each of seven emotions in turn, says what
    to do with the face, counts down, and records 3 seconds without sound into
    recordings/P01/happiness_1.mp4 and so on. Each finished clip gets a row in
    recordings/manifest.csv; `emojax data build manifest --source recordings` builds the
    set, people apart, once three or more were recorded.

    Stop at any moment with Ctrl-C (in the window also q or Esc): at most the clip being
    recorded is lost, and the same command goes on where it stopped. To record a clip
    again, delete it first. Nothing leaves the machine.
    """

    subject: str = ""
    """A code for the person, such as P01: letters, digits, - and _. Asked for if not given."""
    prompts: Literal["emotions", "action_units", "both"] = "emotions"
    """What to show: seven emotions, 15 single action units, or both. An emotion's clip is
    labelled with the emotion alone; an action unit's says that it is present, no more."""
    out: Path = Path("recordings")
    """Folder for all people's clips and manifest.csv; an older recording there is continued."""
    camera: str = "0"
    """Number of the camera, or a video file in its place, to rehearse with."""
    seconds: float = 3.0
    """Length of a clip."""
    countdown: float = 5.0
    """Seconds to read the prompt and prepare before each clip."""
    repeat: int = 1
    """Clips of each prompt, round by round."""
    domain: str = ""
    """Where and how it is recorded, such as studio: results are then shown apart."""
    window: bool = True
    """Show the camera and the prompts in a window, where the installed OpenCV has one."""
    yes: bool = False
    """The person has agreed already: don't ask again."""


def run(command: Record) -> int:
    """Record, and return the exit status."""
    from emojax.camera import open_camera
    from emojax.data.recording.prompt_view import open_view
    from emojax.data.recording.prompts import list_prompts
    from emojax.data.recording.record import (
        LOST,
        MANIFEST,
        Session,
        missing_takes,
        people_in,
        record,
        tidy_up,
        total_seconds,
    )

    session = Session(
        out=command.out,
        subject=command.subject or _ask("Who is recorded? A code such as P01: "),
        prompts=list_prompts(command.prompts),
        repeat=command.repeat,
        seconds=command.seconds,
        countdown_s=command.countdown,
        domain=command.domain,
    )
    takes = missing_takes(session)
    there = len(session.prompts) * session.repeat - len(takes)
    folder = (session.out / session.subject).absolute()
    print(
        f"Clips of {session.subject} are stored in {folder} and listed in "
        f"{folder.parent / MANIFEST}. They show a face, without sound. Nothing leaves this "
        "machine."
    )
    if there:
        print(f"{there} clips are there already; --repeat {session.repeat + 1} adds a round")
    if takes:
        minutes = total_seconds(session, takes) / 60
        print(f"{len(takes)} clips to record, about {minutes:.1f} minutes; Ctrl-C stops.")
        if not command.yes and _ask("Go on? [y/N] ").lower() not in ("y", "yes"):
            print("nothing was recorded")
            return 0
        view = open_view(command.window, print)
        with open_camera(command.camera, LOST) as camera:
            record(session, camera, view)
    else:
        tidy_up(session)
    people = people_in(session.out / MANIFEST)
    print(f"{session.out / MANIFEST}: clips of {people} people")
    if people < 3:
        print("three people or more are needed to train, validate and test apart")
    else:
        print(f"next:  emojax data build manifest --source {session.out}")
    return 0


def _ask(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError:
        raise UserError("nobody is there to answer: give --subject and --yes") from None
