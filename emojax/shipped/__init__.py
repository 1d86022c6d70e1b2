"""The models that come with emojax: an artifact, and what a training can start from.

`faces` answers seven emotions from a face, `voices` six from a spoken sentence; the `CARD.md` of
each says how well, and for whom not.
"""

from __future__ import annotations

from pathlib import Path

DEFAULT = "faces"
"""What is used where no model is named."""

VOICES = "voices"
"""What is used where no model is named and all there is are sounds."""

_HERE = Path(__file__).resolve().parent


def shipped_names() -> list[str]:
    """Return the names of the models that come with emojax."""
    return sorted(path.name for path in _HERE.iterdir() if (path / "spec.json").is_file())


def shipped_folder(name: str = DEFAULT) -> Path:
    """Return the folder of a model that comes with emojax.

    It is an artifact, as `emojax predict --model` takes it, and a run to start from, as
    `train.py --init` does.
    """
    return _HERE / name


def find_model(given: Path | str | None, default: str = DEFAULT) -> Path:
    """Return the folder that is meant: a path, the name of a shipped model, or, unset, the default.

    What is there on the disk goes before a name.
    """
    if given is None:
        return shipped_folder(default)
    path = Path(given)
    if not path.exists() and str(given) in shipped_names():
        return shipped_folder(str(given))
    return path
