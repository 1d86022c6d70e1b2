"""What CK+'s emotion and FACS files say of the peak of a sequence."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

from emojax import labels
from emojax.data.builders.owner_files import list_names, read_label_lines
from emojax.errors import UserError
from emojax.labels import UNKNOWN

# The owner's read-me itself once writes S0005 for S005: only the end of the name counts.
_LABEL_NAME = {
    kind: re.compile(rf"[0-9A-Za-z_]*_([0-9]{{1,12}})_{kind}\.txt", re.IGNORECASE)
    for kind in ("emotion", "facs")
}
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{0,30})?([eE][+-]?[0-9]{1,3})?")
_MAX_FACS_NUMBER = 99
_MAX_GRADE = 5
# A FACS file has some ten lines.
_MAX_BYTES = 2**16


@dataclasses.dataclass(frozen=True)
class Peak:
    """What the label files say of a sequence's peak."""

    frame: int | None = None
    """Number of the frame that they are about; None where there is no label file."""
    emotion: str | None = None
    """None where there is no emotion file."""
    grades: Mapping[int, int] | None = None
    """0..5 by FACS number, for all units that the coder listed; None: nobody coded it."""

    @property
    def action_units(self) -> tuple[int, ...]:
        """1 for each unit that is listed, 0 for the others; unknown where nobody coded."""
        if self.grades is None:
            return (UNKNOWN,) * len(labels.ACTION_UNITS)
        return tuple(int(unit in self.grades) for unit in labels.ACTION_UNITS)

    @property
    def intensities(self) -> tuple[float, ...]:
        """A fifth of the grade; unknown for a unit that is there and not graded."""
        if self.grades is None:
            return (float(UNKNOWN),) * len(labels.ACTION_UNITS)
        shares = {
            unit: grade / _MAX_GRADE if grade else float(UNKNOWN)
            for unit, grade in self.grades.items()
        }
        return tuple(labels.action_unit_vector(shares, absent=0.0))


def read_peak(emotions: Path | None, facs: Path | None, sequence: str) -> Peak:
    """Return what the label files of a sequence say.

    Args:
        emotions: the folder of all emotion files, None where there is none.
        facs: the folder of all FACS files, None where there is none.
        sequence: `S005/001`.

    Raises:
        UserError: a file is broken, stands twice, or they are about different frames.
    """
    emotion_file = _find_label(emotions, sequence, "emotion")
    facs_file = _find_label(facs, sequence, "facs")
    if emotion_file and facs_file and emotion_file[1] != facs_file[1]:
        raise UserError(
            f"{facs_file[0]}: is about frame {facs_file[1]}, the emotion file about frame "
            f"{emotion_file[1]}: only one can be the peak, copy them again"
        )
    return Peak(
        frame=(facs_file or emotion_file or (None, None))[1],
        emotion=_read_emotion(emotion_file[0], emotions) if emotion_file and emotions else None,
        grades=_read_grades(facs_file[0], facs) if facs_file and facs else None,
    )


def count_strays(emotions: Path | None, facs: Path | None, sequence: str) -> int:
    """Return how many files of a sequence's label folders are no label files by their names."""
    return sum(
        not _LABEL_NAME[kind].fullmatch(name)
        for root, kind in ((emotions, "emotion"), (facs, "facs"))
        if root is not None
        for name in list_names(root / sequence)
    )


def _find_label(root: Path | None, sequence: str, kind: str) -> tuple[Path, int] | None:
    """Return the sequence's label file and the frame that it is about, None for none.

    Raises:
        UserError: there are two.
    """
    if root is None:
        return None
    folder = root / sequence
    found = [match for match in map(_LABEL_NAME[kind].fullmatch, list_names(folder)) if match]
    if len(found) > 1:
        names = " and ".join(match[0] for match in found[:2])
        raise UserError(f"{folder}: holds {names}, a sequence has one of them: delete the other")
    return (folder / found[0][0], int(found[0][1])) if found else None


def _read_emotion(path: Path, home: Path) -> str:
    """Return the emotion that the file names.

    Raises:
        UserError: it holds anything but one code from 0 to 7.
    """
    words = " ".join(read_label_lines(path, home, _MAX_BYTES)).split()
    code = _whole_number(words[0], 0, max(labels.CK_PLUS_EMOTIONS)) if len(words) == 1 else None
    if code is None:
        found = repr(" ".join(words)[:40])
        raise UserError(f"{path}: found {found}, wanted one number from 0 to 7: copy it again")
    return labels.CK_PLUS_EMOTIONS[code]


def _read_grades(path: Path, home: Path) -> dict[int, int]:
    """Return the grade of each unit in the file, the highest where one stands twice.

    Raises:
        UserError: a line is not a unit and a grade from 0 to 5, or there is no line.
    """
    grades: dict[int, int] = {}
    for number, line in enumerate(read_label_lines(path, home, _MAX_BYTES), 1):
        words = line.split()
        if not words:
            continue
        unit = _whole_number(words[0], 1, _MAX_FACS_NUMBER)
        grade = _whole_number(words[-1], 0, _MAX_GRADE)
        if len(words) != 2 or unit is None or grade is None:
            raise UserError(
                f"{path}: line {number} is {line.strip()[:40]!r}, wanted an action unit and a "
                "grade from 0 to 5: copy it again"
            )
        grades[unit] = max(grade, grades.get(unit, 0))
    if not grades:
        # An expression's peak without any unit is a file that lost its text.
        raise UserError(f"{path}: lists no action unit: copy it again")
    return grades


def _whole_number(word: str, low: int, high: int) -> int | None:
    """Return the number that a word such as `1.2000000e+01` stands for, None for any other."""
    if not _NUMBER.fullmatch(word):
        return None
    value = float(word)
    return int(value) if low <= value <= high and value.is_integer() else None
