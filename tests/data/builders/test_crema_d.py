"""CREMA-D's folders and tables as rows, and what is left out of them."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from emojax.data.build import build_dataset
from emojax.data.builders.crema_d import KNOWN_BAD, CremaD
from emojax.data.rows import Request, Row, Source, Vote
from emojax.data.shards import dataset_info, load_split
from emojax.data.synthetic.layouts import write_crema_d
from emojax.errors import UserError
from emojax.labels import CREMA_D_EMOTIONS, MODALITIES

VOTES_HEADER = '"","A","D","F","H","N","S","fileName","numResponses"\n'
VOTES = (
    VOTES_HEADER + '"100001",0,0,0,1,10,0,"1001_IEO_NEU_XX",11\n'
    '"100002",0,0,0,3,6,0,"1001_IEO_HAP_LO",9\n'
    '"200001",0,0,0,0,9,1,"1001_IEO_NEU_XX",10\n'
    '"300001",0,2,0,0,8,0,"1001_IEO_NEU_XX",10\n'
    '"300007",9,1,0,0,0,0,"1002_DFA_ANG_XX",10\n'
)
PEOPLE = (
    '"ActorID","Age","Sex","Race","Ethnicity"\n'
    '1002,21,"Female","Caucasian","Not Hispanic"\n'
    '1001,51,"Male","African American","Hispanic"\n'
    '1003,42,"Female","Unknown","Not Hispanic"\n'
)
NAMES = '"Stimulus_Number","Filename"\n' + "".join(
    f'{number},"{stem}"\n'
    for number, stem in enumerate(
        ("1001_IEO_NEU_XX", "1001_IEO_HAP_LO", "1002_DFA_ANG_XX", "1003_MTI_SAD_XX"), 1
    )
)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n"


def put(source: Path, *names: str, content: bytes = b"recording") -> None:
    for name in names:
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def put_tables(source: Path) -> None:
    put(source, "processedResults/tabulatedVotes.csv", content=VOTES.encode())
    put(source, "VideoDemographics.csv", content=PEOPLE.encode())
    put(source, "SentenceFilenames.csv", content=NAMES.encode())


def read(source: Path) -> Source:
    return CremaD.read_source(source, Request(source / "work"))


def files_of(row: Row) -> tuple[str | None, str | None]:
    """Return the folders of a row's picture and sound."""
    return (
        row.path.parent.name if row.path else None,
        row.audio_path.parent.name if row.audio_path else None,
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Four utterances: with video and both sounds, video alone, WAV and MP3, MP3 alone."""
    folder = tmp_path / "crema_d"
    put_tables(folder)
    put(folder, "VideoFlash/1001_IEO_NEU_XX.flv", "VideoFlash/1001_IEO_HAP_LO.mp4")
    put(folder, "AudioWAV/1001_IEO_NEU_XX.wav", "AudioWAV/1002_DFA_ANG_XX.wav")
    put(folder, "AudioMP3/1001_IEO_NEU_XX.mp3", "AudioMP3/1002_DFA_ANG_XX.mp3")
    put(folder, "AudioMP3/1003_MTI_SAD_XX.MP3")
    return folder


def test_all_files_of_a_name_are_one_row(source: Path) -> None:
    found = read(source)
    happy, neutral, angry, sad = found.rows
    assert [row.key for row in found.rows] == [
        "VideoFlash/1001_IEO_HAP_LO.mp4",
        "VideoFlash/1001_IEO_NEU_XX.flv",
        "AudioWAV/1002_DFA_ANG_XX.wav",
        "AudioMP3/1003_MTI_SAD_XX.MP3",
    ]
    assert files_of(happy) == ("VideoFlash", None)
    assert files_of(neutral) == ("VideoFlash", "AudioWAV")
    assert files_of(angry) == (None, "AudioWAV")
    assert files_of(sad) == (None, "AudioMP3")
    assert neutral.path == source / "VideoFlash" / "1001_IEO_NEU_XX.flv"
    assert [(row.subject, row.emotion, row.level) for row in found.rows] == [
        ("1001", "happiness", "LO"),
        ("1001", "neutral", "XX"),
        ("1002", "anger", "XX"),
        ("1003", "sadness", "XX"),
    ]
    assert {row.domain for row in found.rows} == {row.split for row in found.rows} == {""}
    assert found.left_out == ()
    assert found.notes == ("2 utterances have no video here: they are kept as sound alone",)


def test_votes_are_kept_by_modality(source: Path) -> None:
    happy, neutral, angry, sad = read(source).rows
    assert set(neutral.votes) == {
        Vote("voice", "happiness", 1),
        Vote("voice", "neutral", 10),
        Vote("face", "neutral", 9),
        Vote("face", "sadness", 1),
        Vote("both", "disgust", 2),
        Vote("both", "neutral", 8),
    }
    assert happy.votes == (Vote("voice", "neutral", 6), Vote("voice", "happiness", 3))
    assert set(angry.votes) == {Vote("both", "anger", 9), Vote("both", "disgust", 1)}
    assert sad.votes == ()


def test_people_and_facts(source: Path) -> None:
    found = read(source)
    assert found.people == {
        "1001": {"age": "51", "sex": "Male", "race": "African American", "ethnicity": "Hispanic"},
        "1002": {"age": "21", "sex": "Female", "race": "Caucasian", "ethnicity": "Not Hispanic"},
        "1003": {"age": "42", "sex": "Female", "race": "Unknown", "ethnicity": "Not Hispanic"},
    }
    people_say = found.facts.pop("human_accuracy")  # pyright: ignore[reportAttributeAccessIssue]
    assert found.facts == {
        "clips_named": 4,
        "clips_rated": 3,
        "people_named": 3,
        "clips_present": 4,
        "clips_with_video": 2,
        "clips_of_sound_alone": 2,
        "clips_with_votes": 3,
    }
    # The votes' table is whole, whichever clips are here.
    assert people_say["voice"]["pooled"] == pytest.approx(13 / 20)
    assert people_say["both"]["majority"] == 1.0


def test_known_bad_clips_are_left_out_and_counted(source: Path) -> None:
    for stem in KNOWN_BAD:
        put(source, f"VideoFlash/{stem}.flv", f"AudioWAV/{stem}.wav", f"AudioMP3/{stem}.mp3")
    found = read(source)
    assert len(found.rows) == 4
    assert [(rejection.reason, rejection.row.key) for rejection in found.left_out] == [
        ("known bad", "VideoFlash/1064_IEO_DIS_MD.flv"),
        ("known bad", "VideoFlash/1064_TIE_SAD_XX.flv"),
        ("known bad", "VideoFlash/1076_MTI_NEU_XX.flv"),
        ("known bad", "VideoFlash/1076_MTI_SAD_XX.flv"),
    ]
    assert "lasts a minute" in found.left_out[0].detail


def test_foreign_names_and_files_are_told_apart(source: Path) -> None:
    put(source, "VideoFlash/1001_IEO_JOY_XX.flv", "AudioWAV/holiday.wav")
    put(source, "AudioWAV/readme.txt", "AudioWAV/._1001_IEO_NEU_XX.wav", "VideoFlash/Thumbs.db")
    # A name that the owner corrected.
    put(source, "AudioWAV/1040_ITH_SAD_X.wav", "VideoFlash/1040_ITH_SAD_XX.flv")
    found = read(source)
    assert {rejection.row.key: rejection.reason for rejection in found.left_out} == {
        "VideoFlash/1001_IEO_JOY_XX.flv": "foreign name",
        "AudioWAV/holiday.wav": "foreign name",
    }
    assert "3 files in the folders of recordings are no recordings: ignored" in found.notes
    renamed = next(row for row in found.rows if row.subject == "1040")
    assert files_of(renamed) == ("VideoFlash", "AudioWAV")
    assert renamed.emotion == "sadness"


def test_names_that_are_no_text_are_shown_all_the_same(source: Path) -> None:
    put(source, "AudioWAV/a\nb.wav", "AudioWAV/caf\udce9.wav")
    found = read(source)
    assert [one.row.key for one in found.left_out] == [
        r"AudioWAV/a\nb.wav",
        r"AudioWAV/caf\udce9.wav",
    ]
    assert all(one.detail.isprintable() for one in found.left_out)


def test_what_git_did_not_download_is_told_apart(source: Path) -> None:
    put(source, "VideoFlash/1001_IEO_NEU_XX.flv", "AudioWAV/1002_DFA_ANG_XX.wav", content=POINTER)
    put(source, "VideoFlash/1005_DFA_FEA_XX.flv", content=POINTER)
    found = read(source)
    rows = {row.key: row for row in found.rows}
    assert files_of(rows["AudioWAV/1001_IEO_NEU_XX.wav"]) == (None, "AudioWAV")
    assert files_of(rows["AudioMP3/1002_DFA_ANG_XX.mp3"]) == (None, "AudioMP3")
    ((reason, detail),) = [(one.reason, one.detail) for one in found.left_out]
    assert reason == "not downloaded"
    assert "git lfs pull" in detail
    assert "2 files can't be read; another file of the utterance stands in" in found.notes
    video, sound = found.facts["files_passed_over"]
    assert "VideoFlash/1001_IEO_NEU_XX.flv: a pointer of Git LFS" in video
    assert "AudioWAV/1002_DFA_ANG_XX.wav: a pointer of Git LFS" in sound


def test_links_out_of_the_source_are_not_followed(source: Path, tmp_path: Path) -> None:
    put(tmp_path, "elsewhere.flv")
    os.symlink(tmp_path / "elsewhere.flv", source / "VideoFlash" / "1009_DFA_FEA_XX.flv")
    os.symlink("../AudioWAV/1001_IEO_NEU_XX.wav", source / "AudioWAV" / "1008_DFA_FEA_XX.wav")
    (source / "AudioWAV" / "1007_DFA_FEA_XX.wav").mkdir()
    found = read(source)
    assert {one.row.subject: one.reason for one in found.left_out} == {
        "1009": "outside the source",
        "1007": "missing file",
    }
    assert "1008" in {row.subject for row in found.rows}


def test_missing_tables_leave_their_part_unknown(source: Path) -> None:
    shutil.rmtree(source / "processedResults")
    (source / "VideoDemographics.csv").unlink()
    (source / "SentenceFilenames.csv").unlink()
    found = read(source)
    assert {row.votes for row in found.rows} == {()}
    assert found.people == {}
    assert found.facts["clips_named"] is None
    assert found.notes[:3] == (
        "processedResults/tabulatedVotes.csv is not there: the raters' votes are unknown",
        "VideoDemographics.csv is not there: the actors' age and sex are unknown",
        "SentenceFilenames.csv is not there: how many clips there should be is unknown",
    )


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\0", b"a,b\n1,2\n", b"", b'"' * 300_001])
def test_broken_tables_are_noted_and_end_nothing(source: Path, content: bytes) -> None:
    for table in (
        *("processedResults/tabulatedVotes.csv", "VideoDemographics.csv"),
        "SentenceFilenames.csv",
    ):
        put(source, table, content=content)
    found = read(source)
    assert len(found.rows) == 4
    assert {row.votes for row in found.rows} == {()}
    assert found.people == {}
    assert sum("unknown: " in note for note in found.notes) == 3


def test_broken_lines_of_the_tables_are_counted(source: Path) -> None:
    put(
        source,
        "VideoDemographics.csv",
        content=(PEOPLE + '1004,"\x07","Male","x","y"\n10x5,3,"Male","x","y"\n').encode(),
    )
    put(
        source,
        "processedResults/tabulatedVotes.csv",
        content=(VOTES + '"100004",-1,0,0,0,0,0,"1003_MTI_SAD_XX",0\n').encode(),
    )
    put(
        source,
        "SentenceFilenames.csv",
        content=b"Stimulus_Number,Filename\n1,1001_IEO_NEU_XX\n2,1001_IEO_NEU\n3\n4,x,y\n",
    )
    put(source, "AudioWAV/1004_DFA_ANG_XX.wav")
    found = read(source)
    assert found.facts["clips_named"] == 1
    assert "3 lines of SentenceFilenames.csv can't be read: left out" in found.notes
    assert set(found.people) == {"1001", "1002", "1003"}
    assert "2 lines of VideoDemographics.csv can't be read: left out" in found.notes
    assert any(note.startswith("1 rows of the votes are left out") for note in found.notes)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no VideoFlash, AudioWAV, AudioMP3 there") as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


def test_rows_do_not_depend_on_the_order_of_the_folder(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read(source)
    listed = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listed(path)[::-1])
    assert read(source) == first


def test_the_synthetic_actors_are_read(tmp_path: Path) -> None:
    write_crema_d(tmp_path, people=1, clips=1, progress=False)
    found = read(tmp_path)
    (row,) = found.rows
    assert (row.key, row.emotion, row.level) == (
        "VideoFlash/1001_IEO_NEU_XX.flv",
        "neutral",
        "XX",
    )
    assert files_of(row) == ("VideoFlash", "AudioWAV")
    totals = Counter(dict.fromkeys(MODALITIES, 0))
    for vote in row.votes:
        totals[vote.modality] += vote.number
    assert all(8 <= total < 12 for total in totals.values())
    assert set(found.people["1001"]) == {"age", "sex", "race", "ethnicity"}


def test_the_real_files(shared_data: Path) -> None:
    found = read(shared_data / "crema_d")
    # 6 videos and 18 utterances of sound, one of them of a video.
    assert len(found.rows) == 23
    assert Counter(files_of(row) for row in found.rows) == {
        ("VideoFlash", None): 5,
        ("VideoFlash", "AudioWAV"): 1,
        (None, "AudioWAV"): 12,
        (None, "AudioMP3"): 5,
    }
    assert len({row.subject for row in found.rows}) == len(found.people) == 8
    assert [row.emotion for row in found.rows if row.path] == [
        *("anger", "disgust", "fear", "happiness", "neutral", "sadness")
    ]
    assert found.facts["clips_named"] == found.facts["clips_rated"] == CremaD.EXPECTED.rows == 7442  # pyright: ignore[reportOptionalMemberAccess]
    assert found.facts["people_named"] == 91
    shares = {
        modality: (round(100 * rated["pooled"], 1), round(100 * rated["majority"], 1))
        for modality, rated in found.facts["human_accuracy"].items()
    }
    assert shares == {"voice": (40.0, 41.6), "face": (57.4, 66.3), "both": (63.1, 72.2)}
    angry = found.rows[0]
    assert Vote("voice", "anger", 6) in angry.votes
    assert found.left_out == ()


def test_nineteen_sound_files_build_as_eighteen_utterances(
    shared_data: Path, tmp_path: Path
) -> None:
    source = tmp_path / "crema_d"
    for name in ("AudioWAV", "AudioMP3", "processedResults"):
        shutil.copytree(shared_data / "crema_d" / name, source / name)
    assert sum(1 for name in ("AudioWAV", "AudioMP3") for _ in (source / name).iterdir()) == 19
    out = build_dataset("crema_d", source=source, out=tmp_path / "out", say=lambda line: None)
    info = dataset_info(out)
    assert info.report["examples_kept"] == info.report["examples_with_sound"] == 18
    assert info.report["examples_without_face"] == info.report["examples_with_votes"] == 18
    found: list[str] = []
    for split in ("train", "validation", "test"):
        arrays = load_split(out, split)
        found += arrays.paths
        assert (arrays.num_frames == 0).all()
        assert (arrays.has_sound == 1).all()
        assert np.ptp(arrays.spectrograms, axis=(1, 2)).min() > 150
        assert arrays.votes.sum() > 0
        for path, emotion in zip(arrays.paths, arrays.emotion, strict=True):
            acted = CREMA_D_EMOTIONS[path.split("_")[2]]
            assert info.input_spec.emotions[emotion] == acted
    assert len(found) == len({Path(path).stem for path in found}) == 18
