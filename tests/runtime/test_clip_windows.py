"""Which window answers for which frame, with a network that says what it was given."""

from __future__ import annotations

import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from emojax.errors import UserError
from emojax.face import Detection
from emojax.runtime.artifact import ClipSettings
from emojax.runtime.clip_predictor import ClipPredictor
from emojax.runtime.clip_windows import ClipWindows, FrameResult, hear_windows
from emojax.runtime.sources import Frame
from emojax.spec import InputSpec, SpectrogramSpec

BOX = Detection(10, 10, 40, 40)
RATE = 16_000


class Telling(ClipPredictor):
    """Has no model: an answer is the first crop's gray, the number of crops and of samples."""

    def __init__(self, sees: bool = True, hears: bool = True) -> None:
        self.spec = InputSpec(
            frames=20,
            sound=SpectrogramSpec() if hears else None,
            action_units=(),
            emotions=("neutral", "anger", "fear"),
        )
        self.settings = ClipSettings(1.0, 0.25, 60, sees, None)
        self.asked = 0

    def listen(self, samples: np.ndarray) -> np.ndarray | None:
        return samples if self.hears and samples.size else None

    def predict_clip(
        self, crops: np.ndarray | None, spectrogram: np.ndarray | None
    ) -> np.ndarray | None:
        crops = crops if self.settings.sees else None
        if crops is None and spectrogram is None:
            return None
        self.asked += 1
        first, count = (0, 0) if crops is None else (crops[0, 0, 0], len(crops))
        return np.array([first, count, 0 if spectrogram is None else len(spectrogram)], np.float32)


def write_wav(path: Path, seconds: float) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.ones(round(seconds * RATE), np.int16).tobytes())
    return path


def write_late_sound(path: Path, begin_s: float, seconds: float) -> Path:
    """A Matroska file whose clock is at `begin_s` when its sound begins."""
    with av.open(str(path), "w", format="matroska") as target:
        stream = target.add_stream("pcm_s16le", rate=RATE)
        for number in range(round(seconds * 10)):
            tone = np.full((1, RATE // 10), 1000, np.int16)
            frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
            frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
            frame.pts = round((begin_s + number / 10) * RATE)
            target.mux(stream.encode(frame))
        target.mux(stream.encode())
    return path


def run(
    predictor: ClipPredictor, path: Path, ids: list[list[int]], times: Any = None
) -> list[FrameResult]:
    """Frames at 10 a second, each crop as gray as its frame's number; all results, in order."""
    windows = ClipWindows(predictor, path)
    results = []
    for number, faces in enumerate(ids):
        picture = np.empty((50, 60, 3), np.uint8)
        time = number / 10 if times is None else times[number]
        crops = np.full((len(faces), 98, 80), number, np.uint8)
        boxes = [BOX] * len(faces)
        results += windows.add(Frame(path, number, time, picture), boxes, faces, crops)
    results += windows.finish()
    assert [one.frame.number for one in results] == list(range(len(ids)))
    return results


def spans(results: list[FrameResult]) -> list[Any]:
    return [one.faces[0].window_s if one.faces else None for one in results]


def test_a_row_has_the_newest_whole_window_and_the_first_rows_wait_for_the_first(tmp_path):
    predictor = Telling()
    results = run(predictor, write_wav(tmp_path / "a.wav", 3), [[0]] * 20)
    # Frame 12, at 1.2 s: the window of 0 to 1 s; frame 13 that of 0.25 to 1.25 s.
    begins = [0.0] * 13 + [0.25] * 2 + [0.5] * 3 + [0.75] * 2
    assert spans(results) == [(begin, begin + 1) for begin in begins]
    # Ten frames a window, the first of them its own, and a second of sound.
    assert results[0].faces[0].emotions.tolist() == [0, 10, RATE]
    assert results[13].faces[0].emotions.tolist() == [3, 10, RATE]
    assert results[17].faces[0].emotions.tolist() == [5, 10, RATE]
    assert predictor.asked == 4
    assert results[0].faces[0].detection == BOX


def test_a_video_shorter_than_a_window_is_one_clip_with_all_of_its_sound(tmp_path):
    results = run(Telling(), write_wav(tmp_path / "a.wav", 0.95), [[0]] * 7)
    assert spans(results) == [(0.0, 0.6)] * 7
    assert results[0].faces[0].emotions.tolist() == [0, 7, round(0.95 * RATE)]


def test_a_face_that_comes_later_waits_for_a_window_that_has_seen_it(tmp_path):
    ids = [[0]] * 14 + [[0, 1]] * 10
    results = run(Telling(), write_wav(tmp_path / "a.wav", 3), ids)
    late = [one.faces[1] for one in results[14:]]
    # It comes at 1.4 s: the window that ends at 1.5 s is the first that has seen it. In its other
    # frames the nearest crop stands in, as in a clip's gaps in training.
    assert late[0].window_s == late[1].window_s == (0.5, 1.5)
    assert late[0].emotions.tolist() == [14, 10, RATE]
    assert results[14].faces[0].window_s == (0.25, 1.25)


def test_a_frame_without_a_face_has_what_is_heard(tmp_path):
    ids = [[]] * 3 + [[0]] * 3 + [[]] * 8
    results = run(Telling(), write_wav(tmp_path / "a.wav", 1.2), ids)
    assert [one.heard is None for one in results] == [bool(faces) for faces in ids]
    first, last = results[0].heard, results[13].heard
    assert first is not None
    assert last is not None
    assert (first.window_s, first.emotions.tolist()) == ((0.0, 1.0), [0, 0, RATE])
    # Of the window from 0.25 s on 0.95 s of sound are left.
    assert (last.window_s, last.emotions.tolist()) == ((0.25, 1.25), [0, 0, round(0.95 * RATE)])


def test_a_network_of_frames_alone_says_nothing_of_nobody(tmp_path):
    results = run(Telling(hears=False), tmp_path / "none", [[]] * 3 + [[0]] * 12)
    assert [one.heard for one in results] == [None] * 15
    assert results[3].faces[0].emotions.tolist() == [3, 10, 0]


def test_frames_leave_as_soon_as_they_can_and_nothing_piles_up(tmp_path):
    predictor = Telling(hears=False)
    windows, crop = ClipWindows(predictor, tmp_path), np.zeros((1, 98, 80), np.uint8)
    waiting = []
    for number in range(400):
        frame = Frame(tmp_path, number, number / 10, np.empty((50, 60, 3), np.uint8))
        ready = windows.add(frame, [BOX], [0], crop)
        waiting.append(number + 1 - len(ready) if number < 10 else len(windows._queue))
        assert all(one.frame.picture.size == 0 for one in ready)
    assert max(waiting[10:]) == 0
    assert len(windows._frames) <= 10


def test_a_gap_of_hours_is_passed_at_once(tmp_path):
    predictor = Telling(hears=False)
    times = [0.0, 0.1, 7200.0, 7200.1, 7200.9, 7201.05]
    results = run(predictor, tmp_path, [[0]] * 6, times)
    assert spans(results)[:2] == [(0.0, 1.0)] * 2
    # The first after the gap wait for a window that has seen them; the last has the newest.
    assert spans(results)[2:] == [(7199.25, 7200.25)] * 2 + [(7199.75, 7200.75), (7200.0, 7201.0)]
    assert predictor.asked <= 5


def test_a_network_that_only_listens_keeps_what_it_heard_last(tmp_path):
    results = run(Telling(sees=False), write_wav(tmp_path / "a.wav", 1.5), [[0]] * 30)
    assert results[0].faces[0].emotions.tolist() == [0, 0, RATE]
    assert spans(results)[-1] == (0.5, 1.5)
    results = run(Telling(sees=False), write_wav(tmp_path / "b.wav", 0.5), [[0]] * 20)
    assert results[0].faces[0].emotions.tolist() == [0, 0, RATE // 2]
    assert set(spans(results)) == {(0.0, 1.0)}
    (tmp_path / "none.wav").write_text("words")
    with pytest.raises(UserError, match="only listens, and there is no sound"):
        run(Telling(sees=False), tmp_path / "none.wav", [[0]] * 20)


@pytest.mark.parametrize("seconds", [0.3, 1.0, 1.01, 1.25, 2.1, 2.5])
def test_a_video_hears_the_windows_of_its_sound_alone(tmp_path, seconds):
    """The rest of a sound is less than a look: it would decide all rows that come after it."""
    path = write_wav(tmp_path / "a.wav", seconds)
    alone = [one.heard for one in hear_windows(Telling(), path) if one.heard is not None]
    faces = [one.faces[0] for one in run(Telling(sees=False), path, [[0]] * 40)]
    heard = {face.window_s[0]: face.emotions.tolist() for face in faces if face.window_s}
    assert heard == {one.window_s[0]: one.emotions.tolist() for one in alone}
    # Who looks too goes by the picture alone from there on.
    last = run(Telling(), path, [[0]] * 40)[-1].faces[0]
    assert last.window_s == (2.75, 3.75)
    assert last.emotions.tolist() == [28, 10, 0]


def test_sound_that_starts_later_is_masked_until_then(tmp_path):
    path = write_late_sound(tmp_path / "a.mka", 2.0, 1.5)
    results = run(Telling(), path, [[0]] * 30 + [[]] * 2)
    samples = {one.faces[0].window_s: one.faces[0].emotions[2] for one in results if one.faces}
    masked = {span for span, count in samples.items() if count == 0}
    assert masked == {(begin / 4, begin / 4 + 1) for begin in range(5)}
    # From the first window on that the sound reaches into all of it is heard, silence and all.
    assert {samples[span] for span in samples.keys() - masked} == {RATE}
    nobody = run(Telling(), path, [[]] * 30)
    assert [one.heard is None for one in nobody] == [number < 20 for number in range(30)]


def test_a_network_that_only_listens_hears_silence_until_the_sound_starts(tmp_path):
    path = write_late_sound(tmp_path / "a.mka", 2.0, 1.5)
    results = run(Telling(sees=False), path, [[0]] * 30)
    assert spans(results)[0] == (0.0, 1.0)
    assert spans(results)[-1] == (1.75, 2.75)
    assert {one.faces[0].emotions[2] for one in results} == {RATE}
    short = run(Telling(sees=False), path, [[0]] * 5)
    assert spans(short) == [(0.0, 0.4)] * 5


def test_a_sound_alone_that_starts_later_is_heard_from_there_on(tmp_path):
    results = list(hear_windows(Telling(), write_late_sound(tmp_path / "a.mka", 2.0, 1.5)))
    assert [one.frame.number for one in results] == list(range(5, 11))
    assert results[0].frame.timestamp_s == 1.25
    assert results[-1].heard is not None
    assert results[-1].heard.window_s == (2.5, 3.5)


def test_a_sound_alone_is_heard_window_after_window(tmp_path):
    predictor = Telling()
    results = list(hear_windows(predictor, write_wav(tmp_path / "a.wav", 1.6)))
    heard = [one.heard for one in results if one.heard is not None]
    assert [one.window_s for one in heard] == [(0, 1), (0.25, 1.25), (0.5, 1.5), (0.75, 1.6)]
    assert [one.frame.timestamp_s for one in results] == [0, 0.25, 0.5, 0.75]
    assert heard[-1].emotions.tolist() == [0, 0, round(0.85 * RATE)]
    (only,) = hear_windows(predictor, write_wav(tmp_path / "b.wav", 0.4))
    assert only.heard is not None
    assert only.heard.window_s == (0, 0.4)
    # One that ends with a window has no window of nothing after it.
    assert len(list(hear_windows(predictor, write_wav(tmp_path / "c.wav", 1.25)))) == 2


def test_sounds_that_can_not_be_heard(tmp_path):
    predictor = Telling()
    (tmp_path / "a.wav").write_text("words")
    with pytest.raises(UserError, match=r"a\.wav"):
        list(hear_windows(predictor, tmp_path / "a.wav"))
    deaf = Telling(hears=False)
    with pytest.raises(UserError, match="only looks"):
        list(hear_windows(deaf, write_wav(tmp_path / "b.wav", 1)))
