"""What the writers leave is read back here with other readers than the project's own."""

from __future__ import annotations

import csv
import itertools
import math
import subprocess
import wave
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from emojax.data.synthetic.layouts import write_ck_plus, write_crema_d, write_disfa, write_mmi
from emojax.data.synthetic.voice import SAMPLE_RATE_HZ
from emojax.labels import (
    CK_PLUS_EMOTIONS,
    CREMA_D_EMOTIONS,
    DISFA_ACTION_UNITS,
    MMI_EMOTIONS,
    emotion_from_action_units,
)


def count_frames(path: Path) -> tuple[int, float]:
    """Return frames decoded and the last one's time in seconds."""
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert all(first < second for first, second in itertools.pairwise(times))
    return len(times), times[-1]


def two_numbers(text: str) -> list[tuple[float, float]]:
    rows = np.array([float(word) for word in text.split()]).reshape(-1, 2)
    return [(float(first), float(second)) for first, second in rows]


def test_ck_plus_has_sequences_emotions_and_graded_units(tmp_path: Path) -> None:
    write_ck_plus(tmp_path, seed=1, people=3, sequences=4, progress=False)
    sequences = sorted((tmp_path / "cohn-kanade-images").glob("S*/*"))
    assert [path.parent.name for path in sequences[::4]] == ["S005", "S006", "S007"]
    emotional = 0
    for folder in sequences:
        subject, number = folder.parent.name, folder.name
        pictures = sorted(folder.glob("*.png"))
        stems = [f"{subject}_{number}_{frame:08d}" for frame in range(1, len(pictures) + 1)]
        assert [path.stem for path in pictures] == stems
        first, last = (cv2.imread(str(path), 0) for path in (pictures[0], pictures[-1]))
        assert first is not None
        assert last is not None
        # From neutral to the peak: the face has moved.
        assert cv2.absdiff(first, last).mean() > 1

        facs = (tmp_path / "FACS" / subject / number / f"{stems[-1]}_facs.txt").read_text()
        units = two_numbers(facs)
        assert len(units) >= 1
        assert all(grade in (0, 1, 2, 3, 4, 5) for _, grade in units)
        found = list((tmp_path / "Emotion" / subject / number).glob("*"))
        for path in found:
            assert path.name == f"{stems[-1]}_emotion.txt"
            emotion = CK_PLUS_EMOTIONS[int(float(path.read_text()))]
            assert emotion == emotion_from_action_units([int(unit) for unit, _ in units])
            emotional += 1
    assert 6 <= emotional < 12


def test_disfa_labels_every_frame_of_its_videos(tmp_path: Path) -> None:
    write_disfa(tmp_path, seed=1, people=2, expressions=2, workers=2, progress=False)
    for subject in ("SN001", "SN002"):
        video = tmp_path / "Video_LeftCamera" / f"LeftVideo{subject}_comp.avi"
        frames, last_s = count_frames(video)
        assert (frames, last_s) == (80, pytest.approx(79 / 20))
        folder = tmp_path / "ActionUnit_Labels" / subject
        labels = {}
        for number in DISFA_ACTION_UNITS:
            text = (folder / f"{subject}_au{number}.txt").read_text()
            rows = list(csv.reader(text.splitlines()))
            assert [int(frame) for frame, _ in rows] == list(range(1, 81))
            labels[number] = np.array([int(value) for _, value in rows])
            assert set(labels[number]) <= {0, 1, 2, 3, 4, 5}
        assert len(list(folder.glob("*"))) == 12
        whole = np.stack(list(labels.values()))
        # Neutral in the first frame, something at its peak in each half.
        assert (whole[:, 0] == 0).all()
        assert whole[:, :40].max() >= 1
        assert whole[:, 40:].max() >= 1
        # A dropped jaw parts the lips.
        assert (labels[25][labels[26] >= 3] >= 1).all()


def test_mmi_sessions_tell_subject_emotion_and_phases(tmp_path: Path) -> None:
    write_mmi(tmp_path, seed=1, people=2, clips=2, progress=False)
    emotions = 0
    for number in range(1, 5):
        folder = tmp_path / "Sessions" / str(number)
        session = ElementTree.parse(folder / "session.xml").getroot()
        subject = session.find("subject")
        track = session.find("track")
        assert subject is not None
        assert track is not None
        assert int(subject.attrib["id"]) == (number + 1) // 2
        assert track.attrib["view"] == "0"
        video = folder / track.attrib["filename"]
        frames, _ = count_frames(video)
        units = ElementTree.parse(folder / f"{video.stem}-oao_aucs.xml").getroot()
        present = [int(unit.attrib["Number"]) for unit in units.iter("ActionUnit")]
        assert present
        for unit in units.iter("ActionUnit"):
            markers = [(int(m.attrib["Type"]), int(m.attrib["Frame"])) for m in unit]
            assert [kind for kind, _ in markers] == [0, 1, 2, 3]
            at = [frame for _, frame in markers]
            assert 1 == at[0] < at[1] < at[2] < at[3] <= frames
        labels = folder / f"{video.stem}.xml"
        if labels.exists():
            tag = ElementTree.parse(labels).getroot().find("Metatag")
            assert tag is not None
            assert tag.attrib["Name"] == "Emotion"
            emotion = MMI_EMOTIONS[int(tag.attrib["Value"])]
            assert emotion == emotion_from_action_units(present)
            emotions += 1
    assert emotions >= 4


@pytest.mark.slow
def test_crema_d_has_clips_sound_and_votes(tmp_path: Path) -> None:
    write_crema_d(tmp_path, seed=1, people=1, clips=6, progress=False)
    names = sorted(path.stem for path in (tmp_path / "VideoFlash").glob("*.flv"))
    assert names == sorted(path.stem for path in (tmp_path / "AudioWAV").glob("*.wav"))
    assert len(names) == 6
    assert {name.split("_")[2] for name in names} == set(CREMA_D_EMOTIONS)
    for name in names:
        actor, sentence, emotion, level = name.split("_")
        assert actor == "1001"
        graded = sentence == "IEO" and emotion != "NEU"
        assert level in (("LO", "MD", "HI") if graded else ("XX",))
        with wave.open(str(tmp_path / "AudioWAV" / f"{name}.wav")) as stream:
            assert stream.getparams()[:3] == (1, 2, SAMPLE_RATE_HZ)
            seconds = stream.getnframes() / SAMPLE_RATE_HZ
            written = np.frombuffer(stream.readframes(stream.getnframes()), "<i2").astype(float)
        path = tmp_path / "VideoFlash" / f"{name}.flv"
        frames, _ = count_frames(path)
        assert frames * 1001 / 30_000 == pytest.approx(seconds, abs=1e-3)
        with av.open(str(path)) as container:
            codecs = {stream.codec_context.name for stream in container.streams}
            assert codecs == {"flv", "mp3float"}
            resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
            sound = itertools.chain(container.decode(audio=0), [None])
            parts = [part for frame in sound for part in resampler.resample(frame)]
        heard = np.concatenate([part.to_ndarray()[0] for part in parts]).astype(float)
        # The same sound: MP3 starts some milliseconds late, so look for the best shift.
        count = min(len(heard), len(written))
        size = 1 << math.ceil(math.log2(2 * count))
        cross = np.fft.irfft(
            np.fft.rfft(heard[:count], size) * np.conj(np.fft.rfft(written[:count], size)), size
        )
        scale = np.linalg.norm(heard[:count]) * np.linalg.norm(written[:count])
        assert cross.max() / scale > 0.95
    with (tmp_path / "processedResults" / "tabulatedVotes.csv").open(newline="") as stream:
        votes = list(csv.DictReader(stream))
    assert [row[""][0] for row in votes] == ["1"] * 6 + ["2"] * 6 + ["3"] * 6
    for row in votes:
        counts = {vote: int(row[vote]) for vote in "ADFHNS"}
        assert sum(counts.values()) == int(row["numResponses"])
        assert {counts[vote] for vote in row["emoVote"].split(":")} == {max(counts.values())}
        assert row["fileName"] in names
    with (tmp_path / "VideoDemographics.csv").open(newline="") as stream:
        people = list(csv.DictReader(stream))
    assert [row["ActorID"] for row in people] == ["1001"]


def test_the_tables_have_the_owners_columns(tmp_path: Path, shared_data: Path) -> None:
    write_crema_d(tmp_path, people=1, clips=1, progress=False)
    for name in ("processedResults/tabulatedVotes.csv", "VideoDemographics.csv"):
        ours = (tmp_path / name).read_text().splitlines()[0]
        theirs = (shared_data / "crema_d" / name).read_text().splitlines()[0]
        assert ours == theirs


def test_workers_do_not_change_a_sequence(tmp_path: Path) -> None:
    for count in (1, 2):
        folder = tmp_path / str(count)
        write_ck_plus(folder, people=2, sequences=1, workers=count, progress=False)
    done = subprocess.run(
        ["diff", "-r", str(tmp_path / "1"), str(tmp_path / "2")], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert len(list((tmp_path / "1").rglob("*.png"))) >= 18
