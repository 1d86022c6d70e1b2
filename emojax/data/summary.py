"""A built data set at a glance: a table of counts and a sheet of faces."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from emojax.data.shards import DatasetInfo, read_batches
from emojax.data.splits import SPLITS
from emojax.errors import UserError
from emojax.spec import InputSpec

_LABEL_WIDTH = 150
_CAPTION_HEIGHT = 22
_GAP = 2
_CHOSEN_BY = ("emotion", "action_units", "subject", "num_frames")


def counts_table(info: DatasetInfo) -> str:
    """Return the counts by emotion, action unit, domain and person of each split, as text."""
    splits = {split: _count(info, split) for split in SPLITS if info.num_examples[split]}
    names = [name for counts in splits.values() for name in counts]
    rows = [["", *splits]]
    for name in dict.fromkeys(names):
        rows.append([name, *(counts.get(name, "0") for counts in splits.values())])
    return _aligned(rows)


def people_table(info: DatasetInfo) -> str:
    """Return each person's split, examples and emotions, as text: one line a person."""
    emotions = (*info.input_spec.emotions, "unknown")
    rows = [["person", "split", "examples", *emotions]]
    for split in (name for name in SPLITS if info.num_examples[name]):
        counts: dict[str, np.ndarray] = {}
        for batch in read_batches(info, split, ("subject", "emotion")):
            for person, emotion in zip(batch["subject"].tolist(), batch["emotion"], strict=True):
                # The last place counts the unknown, whose index is -1.
                counts.setdefault(person, np.zeros(len(emotions), int))[emotion] += 1
        for person, numbers in sorted(counts.items()):
            rows.append([_shown(person), split, str(numbers.sum()), *map(str, numbers)])
    return _aligned(rows)


def _shown(name: str) -> str:
    # Names are the owner's: one that would move the cursor is quoted.
    return name if name.isprintable() else repr(str(name))


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        ).rstrip()
        for row in rows
    )


def contact_sheet(info: DatasetInfo, faces_per_row: int = 12) -> np.ndarray:
    """Return a picture of crops, one row per emotion and one per action unit present.

    Args:
        info: of the data set.
        faces_per_row: crops shown of each label, from as many people as there are.

    Returns:
        uint8 [height, width], gray.
    """
    chosen = _choose(info, faces_per_row)
    spec = info.input_spec
    cells: dict[tuple[str, int], np.ndarray] = {}
    for split in SPLITS:
        start = 0
        for batch in read_batches(info, split, ("faces", "num_frames")):
            stop = start + len(batch["faces"])
            for label, picks in chosen.items():
                for column, (home, index) in enumerate(picks):
                    if home == split and start <= index < stop:
                        frame = (batch["num_frames"][index - start] - 1) // 2
                        cells[label, column] = batch["faces"][index - start, frame]
            start = stop
    heard = _first_spectrograms(info, faces_per_row) if spec.sound else []
    sheet = np.full(
        (
            _CAPTION_HEIGHT + (len(chosen) + bool(heard)) * (spec.height + _GAP),
            _LABEL_WIDTH + faces_per_row * (spec.width + _GAP),
        ),
        255,
        np.uint8,
    )
    _write(sheet, f"{info.name}: one row per label, as the network sees them", 15)
    for row, label in enumerate(chosen):
        top = _CAPTION_HEIGHT + row * (spec.height + _GAP)
        _write(sheet, label, top + spec.height // 2)
        for column in range(faces_per_row):
            left = _LABEL_WIDTH + column * (spec.width + _GAP)
            if (label, column) in cells:
                sheet[top : top + spec.height, left : left + spec.width] = cells[label, column]
    top = _CAPTION_HEIGHT + len(chosen) * (spec.height + _GAP)
    if heard:
        _write(sheet, "sound", top + spec.height // 2)
    for column, spectrogram in enumerate(heard):
        left = _LABEL_WIDTH + column * (spec.width + _GAP)
        sheet[top : top + spec.height, left : left + spec.width] = cv2.resize(
            spectrogram, (spec.width, spec.height), interpolation=cv2.INTER_AREA
        )
    return sheet


def write_sheet(path: Path, sheet: np.ndarray) -> None:
    """Write a picture as PNG.

    Raises:
        UserError: the file can't be written.
    """
    done, data = cv2.imencode(".png", sheet)
    if not done:
        raise UserError(f"{path}: the picture can't be encoded")
    path.write_bytes(data.tobytes())


def _count(info: DatasetInfo, split: str) -> dict[str, str]:
    spec = info.input_spec
    columns = ("emotion", "action_units", "subject", "domain")
    batches = list(read_batches(info, split, columns))
    emotion, units, subject, domain = (
        np.concatenate([batch[name] for batch in batches]) for name in columns
    )
    people, of_each = np.unique(subject, return_counts=True)
    spread = f"{of_each.min()} / {np.median(of_each):g} / {of_each.max()}"
    counts = {
        "examples": str(len(emotion)),
        "people": str(len(people)),
        "examples a person, least / median / most": spread,
    }
    for name, number in zip(*np.unique(domain, return_counts=True), strict=True):
        if name:
            counts[f"domain {_shown(name)}"] = str(number)
    for index, name in enumerate(spec.emotions):
        counts[name] = str(np.sum(emotion == index))
    counts["emotion unknown"] = str(np.sum(emotion < 0))
    if spec.sound is not None:
        heard = [batch["has_sound"] for batch in read_batches(info, split, ("has_sound",))]
        counts["with sound"] = str(np.concatenate(heard).sum())
    for index, name in enumerate(spec.action_units):
        known = units[:, index] >= 0
        counts[f"{name} present/known"] = f"{np.sum(units[:, index] == 1)}/{np.sum(known)}"
    return counts


def _first_spectrograms(info: DatasetInfo, wanted: int) -> list[np.ndarray]:
    """Return spectrograms of up to `wanted` people, uint8 [frequency, time]."""
    found: dict[str, np.ndarray] = {}
    for split in SPLITS:
        for batch in read_batches(info, split, ("spectrogram", "has_sound", "subject")):
            for row in np.flatnonzero(batch["has_sound"]):
                found.setdefault(str(batch["subject"][row]), batch["spectrogram"][row])
    return list(found.values())[:wanted]


def _choose(info: DatasetInfo, wanted: int) -> dict[str, list[tuple[str, int]]]:
    """Return where the shown examples of each label stand, as (split, index)."""
    chosen: dict[str, list[tuple[str, int]]] = {name: [] for name in _label_names(info.input_spec)}
    people: dict[str, list[str]] = {name: [] for name in chosen}
    for round_ in range(wanted):
        # Another person first; the same one again only once everybody was shown.
        for split in SPLITS:
            start = 0
            for batch in read_batches(info, split, _CHOSEN_BY):
                for offset, person in enumerate(batch["subject"].tolist()):
                    if batch["num_frames"][offset] == 0:
                        continue
                    place = (split, start + offset)
                    for name in _labels_of(batch, offset, info.input_spec):
                        picks = chosen[name]
                        seen = people[name].count(person)
                        if len(picks) < wanted and seen <= round_ and place not in picks:
                            picks.append(place)
                            people[name].append(person)
                start += len(batch["emotion"])
        if all(len(picks) == wanted for picks in chosen.values()):
            break
    return {name: picks for name, picks in chosen.items() if picks}


def _label_names(spec: InputSpec) -> list[str]:
    return [*spec.emotions, *spec.action_units]


def _labels_of(batch: dict[str, np.ndarray], index: int, spec: InputSpec) -> list[str]:
    emotion = int(batch["emotion"][index])
    names = [spec.emotions[emotion]] if emotion >= 0 else []
    units = np.flatnonzero(batch["action_units"][index] == 1)
    return names + [spec.action_units[unit] for unit in units]


def _write(sheet: np.ndarray, text: str, y: int) -> None:
    cv2.putText(sheet, text, (6, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0,), 1, cv2.LINE_AA)
