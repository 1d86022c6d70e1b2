from __future__ import annotations

import os
from pathlib import Path

import pytest

from emojax.data import manifest
from emojax.data.manifest import read_manifest
from emojax.errors import UserError
from emojax.labels import AU_COLUMNS


def _write(folder: Path, text: str | bytes, name: str = "manifest.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def _unit(values: tuple, name: str) -> float:
    return values[AU_COLUMNS.index(name)]


def test_all_columns_are_read(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        "split,path,subject,emotion,emotion_confidence,AU01,AU4,au12,AU12_i,AU12_confidence,"
        "domain,audio_path,start_s,end_s\n"
        "train,a/b.mp4,Ada,Happiness,0.8,1,0,,0.4,0.5,FN1,a/b.wav,1.5,2.25\n"
        "test,../c.png,Bob,,,-1,,1,,,FN2,,,\n",
    )
    found = read_manifest(path)
    first, second = found.rows
    assert found.has_splits
    assert first.path == tmp_path / "a/b.mp4"
    assert first.audio_path == tmp_path / "a/b.wav"
    assert first.key == "a/b.mp4#1.5-2.25"
    assert (first.subject, first.emotion, first.emotion_confidence) == ("Ada", "happiness", 0.8)
    assert (first.domain, first.split, first.start_s, first.end_s) == ("FN1", "train", 1.5, 2.25)
    assert [_unit(first.action_units, name) for name in ("AU01", "AU04", "AU12", "AU26")] == [
        1,
        0,
        -1,
        -1,
    ]
    assert _unit(first.intensities, "AU12") == 0.4
    assert _unit(first.intensities, "AU01") == -1.0
    assert _unit(first.action_unit_confidence, "AU12") == 0.5
    assert _unit(first.action_unit_confidence, "AU01") == 1.0
    assert second.key == "../c.png"
    assert second.emotion is None
    assert second.audio_path is None
    assert _unit(second.action_units, "AU01") == -1
    assert found.notes == ()


def test_sound_alone_goes_by_its_own_name(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        "path,audio_path,spectrogram_path,subject,level,start_s\n"
        "a.mp4,,a/../a.npy,Ada,HI,\n"
        ",b/./b.wav,,Bob,,\n"
        ",,c.npy,Cy,strong,\n"
        ",b/b.wav,b.npy,Bob,,0.5\n",
    )
    clip, voice, ready, both = read_manifest(path).rows
    assert [row.key for row in (clip, voice, ready, both)] == [
        "a.mp4",
        "b/b.wav",
        "c.npy",
        "b/b.wav#0.5-",
    ]
    assert [row.path for row in (clip, voice, ready, both)] == [tmp_path / "a.mp4"] + [None] * 3
    assert clip.spectrogram_path == tmp_path / "a/../a.npy"
    assert (voice.audio_path, voice.spectrogram_path) == (tmp_path / "b/./b.wav", None)
    assert (ready.audio_path, ready.spectrogram_path) == (None, tmp_path / "c.npy")
    assert both.spectrogram_path == tmp_path / "b.npy"
    assert [row.level for row in (clip, voice, ready)] == ["HI", "", "strong"]
    assert [row.is_still for row in (clip, voice)] == [False, True]


def test_a_manifest_of_sounds_needs_no_column_path(tmp_path: Path) -> None:
    path = _write(tmp_path, "spectrogram_path,emotion\na.npy,fear\nb.npy,fear\n")
    rows = read_manifest(path, own_groups=True).rows
    assert [(row.key, row.subject, row.path) for row in rows] == [
        ("a.npy", "a.npy", None),
        ("b.npy", "b.npy", None),
    ]


def test_a_folder_stands_for_its_manifest(tmp_path: Path) -> None:
    _write(tmp_path, "path,subject\na.png,Ada\n")
    assert not read_manifest(tmp_path).has_splits


@pytest.mark.parametrize(
    "text",
    [
        "path;subject;AU12_i\na,b.png;Ada;0,5\n",
        "path\tsubject\tAU12_i\na,b.png\tAda\t0.5\n",
        '\ufeffpath,subject,AU12_i\r\n"a,b.png",Ada,0.5\r\n',
        '\n\npath,subject,AU12_i\n\n"a,b.png", Ada ,0.5\n,,\n',
    ],
)
def test_separators_marks_and_blank_lines(tmp_path: Path, text: str) -> None:
    (row,) = read_manifest(_write(tmp_path, text)).rows
    assert (row.key, row.subject) == ("a,b.png", "Ada")
    assert _unit(row.intensities, "AU12") == 0.5


def test_columns_that_are_not_used_are_noted_once(tmp_path: Path) -> None:
    path = _write(tmp_path, "path,subject,age,AU25,AU27_i\na.png,Ada,3,1,1\nb.png,Ada,4,7,x\n")
    assert read_manifest(path).notes == (
        "columns that are not known are ignored: age",
        "action units outside the 15 are dropped: AU25, AU27_i",
    )


def test_own_groups_take_each_file_as_a_person(tmp_path: Path) -> None:
    path = _write(tmp_path, "path,emotion\na.png,fear\nb.png,fear\n")
    assert [row.subject for row in read_manifest(path, own_groups=True).rows] == ["a.png", "b.png"]


def test_files_that_differ_in_case_are_people_of_their_own(tmp_path: Path) -> None:
    path = _write(tmp_path, "path,emotion\na.png,fear\nA.png,fear\n")
    found = read_manifest(path, own_groups=True)
    assert [row.subject for row in found.rows] == ["a.png", "A.png"]
    assert found.own_groups
    # Where the people are named, they are who they are.
    path = _write(tmp_path, "path,subject\na.png,Ada\nA.png,Ada\n")
    assert not read_manifest(path, own_groups=True).own_groups


def test_windows_late_in_a_long_recording_have_keys_of_their_own(tmp_path: Path) -> None:
    lines = [f"a.wav,A,{3600 + 0.02 * n:.2f},{3600 + 0.02 * (n + 1):.2f}\n" for n in range(3)]
    path = _write(tmp_path, f"audio_path,subject,start_s,end_s\n{''.join(lines)}")
    assert [row.key for row in read_manifest(path).rows] == [
        "a.wav#3600-3600.02",
        "a.wav#3600.02-3600.04",
        "a.wav#3600.04-3600.06",
    ]


MISTAKES = {
    "emotion": ("path,subject,emotion\na.png,Ada,joy\n", "line 2: emotion 'joy' is not known: use"),
    "label of 3": ("path,subject,AU06\na.png,A,1\nb.png,A,3\n", "line 3: AU06 is '3': wanted 1"),
    "half a label": ("path,subject,AU06\na.png,A,0.5\n", "line 2: AU06 is '0.5': wanted 1"),
    "text label": ("path,subject,AU06\na.png,A,yes\n", "line 2: AU06 is 'yes': wanted 1"),
    "nan": ("path,subject,AU06\na.png,A,nan\n", "line 2: AU06 is 'nan'"),
    "graded": ("path,subject,AU06_i\na.png,A,3\n", r"line 2: AU06_i is '3': .*divide FACS"),
    "negative": ("path,subject,AU06_i\na.png,A,-0.5\n", "line 2: AU06_i is '-0.5'"),
    "confidence": ("path,subject,emotion_confidence\na.png,A,80\n", "is '80': wanted a number"),
    "no path column": ("file,subject\na.png,A\n", r"no column 'path' \(found file, subject\)"),
    "no subject column": ("path,emotion\na.png,fear\n", "no column 'subject'.*--own-groups"),
    "no subject": ("path,subject\na.png,\n", "line 2: subject is '': name the person"),
    "no path": ("path,subject\n,Ada\n", "line 2: path is '': name the file"),
    "no sound either": ("audio_path,subject\n,Ada\n", "line 2: path is '': name the file"),
    "part of a spectrogram": (
        "path,spectrogram_path,subject,end_s\n,a.npy,Ada,2\n",
        "line 2: end_s is '2': a spectrogram counts as a whole",
    ),
    "repeated sound": (
        "path,audio_path,subject\n,a.wav,A\n,b/../a.wav,A\n",
        "line 3: 'a.wav' stands already in line 2",
    ),
    "repeated": (
        "path,subject\na.png,A\nb.png,A\nb/../a.png,A\n",
        "line 4: 'a.png' stands already in line 2",
    ),
    "another way to its path": (
        "path,subject\na.png,A\n{folder}/a.png,B\n",
        r"line 3: '.*/a\.png' stands already in line 2, as 'a\.png': keep one",
    ),
    "a way up and down": (
        "path,subject\na.png,A\n../{name}/a.png,B\n",
        r"line 3: '\.\./.*/a\.png' stands already in line 2, as 'a\.png': keep one",
    ),
    "all of it is a part": (
        "path,subject,start_s\na.mp4,A,\na.mp4,B,0\n",
        r"line 3: 'a\.mp4#0-' stands already in line 2, as 'a\.mp4': keep one",
    ),
    "a person in capitals": (
        "path,subject\na.png,P01\nb.png,Bob\nc.png,p01\n",
        "line 4: subject is 'p01', which stands in line 2 as 'P01': write one person in one way",
    ),
    "white space": (
        "path,subject\na.png,Ada Lovelace\nb.png,Ada  Lovelace\n",
        "line 3: subject is 'Ada  Lovelace', which stands in line 2 as 'Ada Lovelace'",
    ),
    "two ways to store a letter": (
        "path,subject\na.png,Ren\u00e9\nb.png,Rene\u0301\n",
        r"line 3: subject is 'Rene\\u0301', which stands in line 2 as 'Ren\\xe9'",
    ),
    "two columns": ("path,subject,AU1,AU01\na.png,A,1,1\n", "line 1: two columns 'AU01'"),
    "fields": ("path,subject\na,b.png,Ada\n", "line 2: 3 fields, the header has 2: put quotes"),
    "quote": ('path,subject\n"a.png,Ada\n', "not CSV"),
    "header only": ("path,subject\n", "a header and no rows"),
    "after blank lines": ("\n\npath,subject,AU06\na.png,A,3\n", "line 4: AU06 is '3'"),
    "separators only": (",,,\n", "a header and no rows|no column"),
    "empty": ("", "the file is empty"),
    "blank": ("\n \n", "the file is empty"),
    "split name": ("path,subject,split\na.png,A,dev\n", "line 2: split is 'dev': use train"),
    "some splits": (
        "path,subject,split\na.png,A,train\nb.png,B,\n",
        "line 3: split is '': name the split of every row",
    ),
    "crossing": (
        "path,subject,split\na.png,Ada,train\nb.png,Ada,test\n",
        "person 'Ada' stands in train and test",
    ),
    "times": ("path,subject,start_s,end_s\na.mp4,A,2,1\n", r"end_s is '1': .*after start_s \(2\)"),
    "negative time": ("path,subject,start_s\na.mp4,A,-1\n", "start_s is '-1': wanted seconds"),
    "endless": ("path,subject,end_s\na.mp4,A,inf\n", "end_s is 'inf': wanted seconds"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_file_and_remedy(tmp_path: Path, mistake: str) -> None:
    text, message = MISTAKES[mistake]
    text = text.replace("{folder}", str(tmp_path)).replace("{name}", tmp_path.name)
    path = _write(tmp_path, text)
    with pytest.raises(UserError, match=message) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path,subject\nna\xefve.png,A\n", r"not UTF-8 text \(byte 15\)"),
        ("path,subject\na.png,A\n".encode("utf-16"), "not UTF-8 text"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not UTF-8 text"),
        (b"path,subject\na\x00.png,A\n", "holds zero bytes"),
    ],
)
def test_other_encodings_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_manifest(_write(tmp_path, content))


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"manifest\.csv: no such file"):
        read_manifest(tmp_path)
    with pytest.raises(UserError, match=r"other\.csv: no such file"):
        read_manifest(tmp_path / "other.csv")


def test_what_is_no_file_or_endless_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "manifest.csv")
    with pytest.raises(UserError, match=r"manifest\.csv: is no regular file"):
        read_manifest(tmp_path)
    monkeypatch.setattr(manifest, "_MAX_BYTES", 2**20)
    with pytest.raises(UserError, match="over 1 MiB: too large for a manifest"):
        read_manifest(_write(tmp_path, b"path,subject\n" * 2**17, "large.csv"))


def test_a_table_far_too_wide_is_refused_at_once(tmp_path: Path) -> None:
    header = ",".join(["path", "subject", *(f"c{number}" for number in range(100_000))])
    path = _write(tmp_path, f"{header}\na.png,Ada\n")
    with pytest.raises(UserError, match=r"manifest\.csv: line 1: 100002 columns, wanted 4096"):
        read_manifest(path)
