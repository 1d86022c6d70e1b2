from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from emojax.data.checking.sanity import PROBLEMS, find_problems
from emojax.spec import InputSpec

SPEC = InputSpec()
Batch = dict[str, np.ndarray]


def _batch() -> Batch:
    """Three examples without fault: a still, a clip of two frames, a sound alone."""
    faces = np.random.default_rng(0).integers(0, 256, (3, 4, 98, 80)).astype(np.uint8)
    counts = np.array([1, 3, 0], np.int32)
    kept = np.arange(4)[None] < counts[:, None]
    faces[~kept] = 0
    units = np.full((3, 15), -1, np.int32)
    units[1, :2] = 1, 0
    intensities = np.full((3, 15), -1, np.float32)
    intensities[1, :2] = 1, 0
    votes = np.zeros((3, 3, 7), np.int32)
    votes[2, 1, 3] = 4
    return {
        "faces": faces,
        "num_frames": counts,
        "timestamps": np.array([[0, 0, 0, 0], [0.1, 0.2, 0.3, 0], [0, 0, 0, 0]], np.float32),
        "success": np.array([[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]], np.uint8),
        "emotion": np.array([6, -1, -1], np.int32),
        "emotion_confidence": np.array([1, 0.5, 0], np.float32),
        "votes": votes,
        "votes_total": votes.sum(axis=2) + 1,
        "action_units": units,
        "intensities": intensities,
        "action_unit_confidence": np.ones((3, 15), np.float32),
        "spectrogram": np.random.default_rng(1).integers(0, 256, (3, 8, 9)).astype(np.uint8),
        "has_sound": np.array([0, 1, 1], np.uint8),
    }


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    found = find_problems(_batch(), SPEC)
    assert list(found) == list(PROBLEMS)
    assert not any(bad.any() for bad in found.values())


def _set(name: str, place: tuple[int, ...] | int, value: float) -> Callable[[Batch], None]:
    def change(batch: Batch) -> None:
        batch[name][place] = value

    return change


def _unlabelled(batch: Batch) -> None:
    batch["emotion"][0] = -1
    batch["votes_total"][0] = 0


def _unheard(batch: Batch) -> None:
    batch["has_sound"][2] = 0


BROKEN: dict[str, tuple[Callable[[Batch], None], str, int]] = {
    "emotion above": (_set("emotion", 0, 7), "emotion", 0),
    "emotion below": (_set("emotion", 1, -2), "emotion", 1),
    "unit 2": (_set("action_units", (1, 4), 2), "action units", 1),
    "unit -2": (_set("action_units", (1, 4), -2), "action units", 1),
    "intensity above": (_set("intensities", (0, 3), 1.01), "intensities", 0),
    "intensity between": (_set("intensities", (0, 3), -0.5), "intensities", 0),
    "intensity NaN": (_set("intensities", (0, 3), np.nan), "intensities", 0),
    "sure twice": (_set("emotion_confidence", 1, 1.5), "confidences", 1),
    "unit sure NaN": (_set("action_unit_confidence", (2, 0), np.nan), "confidences", 2),
    "votes of none": (_set("votes", (2, 1, 0), -1), "votes", 2),
    "votes over all": (_set("votes", (2, 1, 0), 2), "votes", 2),
    "no label": (_unlabelled, "no label", 0),
    "too many frames": (_set("num_frames", 1, 5), "frames", 1),
    "fewer than none": (_set("num_frames", 0, -1), "frames", 0),
    "neither seen nor heard": (_unheard, "frames", 2),
    "pixels after the end": (_set("faces", (0, 2, 50, 50), 9), "frames", 0),
    "flag after the end": (_set("success", (1, 3), 1), "success", 1),
    "flag of two": (_set("success", (1, 0), 2), "success", 1),
    "never a face": (_set("success", (0, 0), 0), "success", 0),
    "time stands": (_set("timestamps", (1, 1), 0.1), "timestamps", 1),
    "time runs back": (_set("timestamps", (1, 2), 0.15), "timestamps", 1),
    "time NaN": (_set("timestamps", (0, 0), np.nan), "timestamps", 0),
    "before the start": (_set("timestamps", (1, 0), -0.1), "timestamps", 1),
    "one gray": (_set("faces", (1, 2), 77), "blank", 1),
    "black": (_set("faces", (1, 2), 0), "blank", 1),
    "sound of two": (_set("has_sound", 1, 2), "sound", 1),
    "silence": (_set("spectrogram", (2,), 3), "sound", 2),
}
# A wrong number of frames makes others of what there is before and after the last one.
FOLLOWS = {"fewer than none": {"success"}, "too many frames": {"blank", "timestamps"}}


@pytest.mark.parametrize("case", BROKEN)
def test_each_fault_is_found_where_it_is_and_no_other(case: str) -> None:
    change, problem, index = BROKEN[case]
    batch = _batch()
    change(batch)
    found = find_problems(batch, SPEC)
    assert np.flatnonzero(found[problem]).tolist() == [index]
    others = {name for name, bad in found.items() if bad.any()} - {problem}
    assert others <= FOLLOWS.get(case, set())


def test_a_set_without_sound_and_one_without_frames() -> None:
    batch = _batch()
    del batch["spectrogram"], batch["has_sound"]
    found = find_problems(batch, SPEC)
    assert np.flatnonzero(found["frames"]).tolist() == [2]
    assert not found["sound"].any()
