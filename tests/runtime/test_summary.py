from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from tiny_artifact import SPEC

from emojax.face import Detection
from emojax.runtime.predictor import FaceResult
from emojax.runtime.rows import rows_of_frame
from emojax.runtime.sources import Frame
from emojax.runtime.summary import CUE_COLUMNS, EPISODE_COLUMNS, FileSummary, summary_types

THRESHOLDS = np.full(15, 0.5, np.float32)
UNIT = SPEC.action_units.index("AU12")


def face(smile: float, top: str = "neutral") -> FaceResult:
    units = np.zeros(15, np.float32)
    units[UNIT] = smile
    emotions = np.array([0.75 if name == top else 0.25 for name in SPEC.emotions], np.float32)
    return FaceResult(Detection(1, 2, 30, 40, 5.25), units, emotions, SPEC.emotions)


def summarise(frames: list[dict[int, FaceResult]], rate_hz: float = 10.0) -> FileSummary:
    summary = FileSummary("a.mp4", SPEC)
    picture = np.zeros((90, 90, 3), np.uint8)
    for number, faces in enumerate(frames):
        frame = Frame(Path("a.mp4"), number, number / rate_hz, picture)
        summary.add(rows_of_frame(frame, list(faces.values()), list(faces), SPEC, THRESHOLDS))
    return summary


def test_a_file_is_a_row_with_means_over_faces():
    frames = [{0: face(0.2)}, {}, {0: face(0.8), 1: face(0.2, "anger")}, {}]
    row = summarise(frames).row()
    assert list(row) == list(summary_types(SPEC))
    assert (row["frames"], row["frames_with_face"], row["face_share"]) == (4, 2, 0.5)
    assert row["people"] == 2
    assert row["AU12_mean"] == pytest.approx(0.4)
    assert row["AU01_mean"] == 0
    assert row["emotion_neutral_mean"] == pytest.approx((0.75 + 0.75 + 0.25) / 3)


def test_a_file_without_a_face_has_no_means():
    row = summarise([{}, {}]).row()
    assert (row["frames"], row["face_share"], row["people"]) == (2, 0.0, 0)
    assert row["AU12_mean"] is None
    assert FileSummary("a.mp4", SPEC).row()["frames"] == 0


def units_of(summary: FileSummary) -> list[tuple[object, ...]]:
    rows = [row for row in summary.episodes() if row["what"] == "AU12"]
    for row in rows:
        assert list(row) == list(EPISODE_COLUMNS)
    return [tuple(row[name] for name in ("face_id", "start", "end", "peak_time")) for row in rows]


def test_an_episode_has_a_beginning_an_end_and_a_peak():
    smiles = [0.1, 0.6, 0.9, 0.7, 0.1, 0.1, 0.1, 0.1, 0.8]
    summary = summarise([{0: face(smile)} for smile in smiles])
    assert units_of(summary) == [(0, 0.1, 0.3, 0.2), (0, 0.8, 0.8, 0.8)]


def test_a_blink_ends_no_episode_and_a_longer_pause_does():
    short, long = [0.9, 0.1, 0.9], [0.9, 0.1, 0.1, 0.9]
    assert len(units_of(summarise([{0: face(smile)} for smile in short]))) == 1
    assert len(units_of(summarise([{0: face(smile)} for smile in long]))) == 2


@pytest.mark.parametrize("rate_hz", [5.0, 4.0, 1.0])
def test_frames_that_are_far_apart_break_no_episode(rate_hz):
    # At 5 Hz some steps are a rounding above the pause that is bridged.
    smiles = [0.9, 0.9, 0.9, 0.9, 0.1, 0.1, 0.9, 0.9]
    summary = summarise([{0: face(smile)} for smile in smiles], rate_hz)
    times = [number / rate_hz for number in range(len(smiles))]
    assert units_of(summary) == [(0, 0.0, times[3], 0.0), (0, times[6], times[7], times[6])]
    happy = summarise([{0: showing("AU12", "happiness")}] * 20, rate_hz)
    assert [cue["frames"] for cue in happy.cues()] == [20]


def test_a_frame_in_between_ends_an_episode_where_frames_are_far_apart():
    smiles = [0.9, 0.1, 0.9]
    assert len(units_of(summarise([{0: face(smile)} for smile in smiles], 1.0))) == 2


def test_a_lost_face_ends_its_episodes_and_each_face_has_its_own():
    frames = [{0: face(0.9)}, {0: face(0.9), 1: face(0.9)}, *[{1: face(0.9)}] * 5, {}, {}, {}]
    assert units_of(summarise(frames)) == [(0, 0.0, 0.1, 0.0), (1, 0.1, 0.6, 0.1)]


def test_the_highest_emotion_has_episodes_too():
    tops = ["neutral"] * 3 + ["happiness"] * 4
    episodes = summarise([{0: face(0.0, top)} for top in tops]).episodes()
    assert [(row["what"], row["start"], row["end"]) for row in episodes] == [
        ("neutral", 0.0, 0.2),
        ("happiness", 0.3, 0.6),
    ]
    assert episodes[0]["peak"] == 0.75


def showing(units: str, top: str) -> FaceResult:
    values = np.array([float(unit in units.split()) for unit in SPEC.action_units], np.float32)
    emotions = np.array([0.75 if name == top else 0.25 for name in SPEC.emotions], np.float32)
    return FaceResult(Detection(1, 2, 30, 40, 5.25), values, emotions, SPEC.emotions)


def test_a_smile_without_raised_cheeks_is_a_cue():
    # AU25 is none of ours; AU10 belongs to no prototype; AU04 and AU15 to other emotions.
    polite = [{0: showing("AU12 AU10", "happiness")}] * 3
    mixed = [{0: showing("AU06 AU12 AU04", "happiness")}, {0: showing("AU06 AU12", "happiness")}]
    whole = [{0: showing("AU06 AU12", "happiness")}] * 3
    cues = [summarise(frames).cues() for frames in (polite, mixed, whole)]
    for (cue,) in cues:
        assert list(cue) == list(CUE_COLUMNS)
        assert (cue["emotion"], cue["expected"]) == ("happiness", "AU06 AU12")
    assert [cue["missing"] for (cue,) in cues] == ["AU06", "", ""]
    # AU04 in half of the frames counts as there.
    assert [cue["contradicting"] for (cue,) in cues] == ["", "AU04", ""]
    assert cues[0][0]["frames"] == 3


def test_each_stretch_of_an_emotion_has_its_cue():
    frames = [{0: showing("AU01 AU04 AU15", "sadness")}] * 3 + [{0: showing("AU12", "neutral")}] * 4
    first, second = summarise(frames).cues()
    assert (first["emotion"], first["missing"], first["contradicting"]) == ("sadness", "", "")
    # A neutral face has no units to miss; what is there belongs to an emotion.
    assert (second["emotion"], second["expected"], second["contradicting"]) == (
        "neutral",
        "",
        "AU12",
    )
    assert (first["start"], first["end"], second["start"]) == (0.0, 0.2, 0.3)


def test_a_long_recording_takes_a_hundred_bytes_an_episode_and_nothing_a_frame():
    still, turns = summarise([{0: face(0.9)}]), [face(0.9), face(0.1, "anger")]
    rows = [
        rows_of_frame(
            Frame(Path("a.mp4"), number, float(number), np.zeros((9, 9, 3), np.uint8)),
            *([turns[number % 2]], [0], SPEC, THRESHOLDS),
        )
        for number in range(2000)
    ]

    def grown(summary: FileSummary, chosen: slice) -> int:
        tracemalloc.start()
        try:
            for row in rows[chosen]:
                summary.add(row)
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    # Each frame is a second after the last: AU12 and an emotion begin and end with each.
    changing = FileSummary("a.mp4", SPEC)
    taken = grown(changing, slice(None))
    assert len(changing.episodes()) == 3000
    assert taken < 3000 * 100
    for row in rows[::2] * 10:
        row[0]["timestamp"] = 0.5
    assert grown(still, slice(None, None, 2)) < 5_000
