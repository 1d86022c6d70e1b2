from __future__ import annotations

import collections
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from emojax.data.build import build_dataset
from emojax.data.builders import BUILDERS
from emojax.data.builders.ferplus import read_votes
from emojax.data.rows import Request, Row, Source, Vote
from emojax.data.shards import dataset_info, load_split
from emojax.errors import UserError

HEADER = (
    "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
)


def _read(source: Path, work: Path) -> Source:
    work.mkdir(exist_ok=True)
    return BUILDERS["fer2013"].read_source(source, Request(work))


def _said(rows: tuple[Row, ...]) -> list[tuple[str, str | None, str]]:
    return [(row.key, row.emotion, row.split) for row in rows]


def _reasons(read: Source) -> dict[str, int]:
    return dict(collections.Counter(rejection.reason for rejection in read.left_out))


def _picture(path: Path, gray: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.full((48, 48), gray, np.uint8)
    picture[:24] = 10
    assert cv2.imwrite(str(path), picture)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Each of the owner's seven folders in train/, two in test/, and copies that somebody added."""
    root = tmp_path / "fer2013"
    for index, emotion in enumerate(
        ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    ):
        _picture(root / "train" / emotion / f"Training_{9918481 + index}.jpg", 40 + 20 * index)
        _picture(root / "train" / emotion / f"aug_{index}_7.jpeg")
    _picture(root / "test" / "happy" / "PublicTest_30360811.jpg", 200)
    _picture(root / "test" / "happy" / "PrivateTest_30360811.jpg", 210)
    _picture(root / "test" / "sad" / "PrivateTest_22.jpg", 220)
    return root


def _line(emotion: object, gray: object, usage: str, count: int = 48 * 48) -> str:
    return f"{emotion},{' '.join([str(gray)] * count)},{usage}"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """The original file with one picture of each code: its row number times ten is its gray."""
    root = tmp_path / "csv"
    root.mkdir()
    usages = ["Training"] * 5 + ["PublicTest", "PrivateTest"]
    lines = [_line(code, 10 * code, usage) for code, usage in enumerate(usages)]
    (root / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *lines, ""]))
    return root


def test_folders_give_labels_and_the_owners_splits(folders: Path, tmp_path: Path) -> None:
    read = _read(folders, tmp_path / "work")
    assert _said(read.rows) == [
        ("test/happy/PrivateTest_30360811.jpg", "happiness", "test"),
        ("test/happy/PublicTest_30360811.jpg", "happiness", "validation"),
        ("test/sad/PrivateTest_22.jpg", "sadness", "test"),
        ("train/angry/Training_9918481.jpg", "anger", "train"),
        ("train/disgust/Training_9918482.jpg", "disgust", "train"),
        ("train/fear/Training_9918483.jpg", "fear", "train"),
        ("train/happy/Training_9918484.jpg", "happiness", "train"),
        ("train/neutral/Training_9918485.jpg", "neutral", "train"),
        ("train/sad/Training_9918486.jpg", "sadness", "train"),
        ("train/surprise/Training_9918487.jpg", "surprise", "train"),
    ]
    assert [row.subject for row in read.rows] == [row.key for row in read.rows]
    assert [row.path for row in read.rows] == [folders / row.key for row in read.rows]
    assert _reasons(read) == {"augmented copy": 7}
    assert "train/angry/aug_0_7.jpeg: somebody added" in read.left_out[0].detail
    assert (read.notes, dict(read.facts)) == ((), {})


@pytest.mark.parametrize(
    ("folder", "emotion"),
    [
        ("Happy", "happiness"),
        ("HAPPINESS", "happiness"),
        ("3", "happiness"),
        ("6", "neutral"),
        ("fearful", "fear"),
        ("anger", "anger"),
    ],
)
def test_other_copies_names_of_the_emotions(folder: str, emotion: str, tmp_path: Path) -> None:
    _picture(tmp_path / "fer" / "Train" / folder / "im0.png")
    _picture(tmp_path / "fer" / "validation" / folder / "im1.png")
    (validation, train) = sorted(
        _read(tmp_path / "fer", tmp_path / "work").rows, key=lambda row: row.path or Path()
    )[::-1]
    assert (train.emotion, train.split) == (emotion, "train")
    assert (validation.emotion, validation.split) == (emotion, "validation")


@pytest.mark.parametrize("folder", ["val", "valid", "Validation", "public_test"])
def test_other_copies_names_of_validation_are_read(folder: str, tmp_path: Path) -> None:
    _picture(tmp_path / "fer" / "train" / "happy" / "im0.png")
    _picture(tmp_path / "fer" / folder / "sad" / "im1.png")
    _picture(tmp_path / "fer" / folder / "sad" / "PublicTest_2.png")
    read = _read(tmp_path / "fer", tmp_path / "work")
    assert {row.split: row.emotion for row in read.rows} == {
        "train": "happiness",
        "validation": "sadness",
    }
    assert (len(read.rows), read.left_out, read.notes) == (3, (), ())


def test_pictures_where_none_are_read_are_noted(folders: Path, tmp_path: Path) -> None:
    _picture(folders / "train" / "im0.png")
    _picture(folders / "holdout" / "sad" / "im1.png")
    _picture(folders / "holdout" / "im2.png")
    _picture(tmp_path / "elsewhere" / "im3.png")
    (folders / "link").symlink_to(tmp_path / "elsewhere")
    (folders / "notes").mkdir()
    (folders / "notes" / "read.me").touch()
    read = _read(folders, tmp_path / "work")
    assert len(read.rows) == 10
    where = "wanted train, test, val, valid, validation, public_test, and in them a folder for each"
    assert read.notes == (
        f"holdout/ holds 2 pictures that are not read: {where} emotion",
        f"train/ holds 1 pictures that are not read: {where} emotion",
    )


def test_a_copy_without_usages_is_all_test_and_validation_is_drawn(tmp_path: Path) -> None:
    root = tmp_path / "plain"
    rng = np.random.default_rng(0)
    for index in range(200):
        picture = rng.integers(0, 256, (48, 48), np.uint8)
        for name in (f"im{index}.png", f"copy{index}.png"):
            path = root / "train" / ("happy" if index % 2 else "sad") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture)
    _picture(root / "test" / "sad" / "im0.png")
    read = _read(root, tmp_path / "work")
    splits = {row.key: row.split for row in read.rows}
    assert splits["test/sad/im0.png"] == "test"
    # 200 draws at one in ten, each for a picture and its copy.
    drawn = [key for key, split in splits.items() if split == "validation"]
    assert 20 <= len(drawn) <= 64
    assert all(splits[key.replace("im", "copy")] == "validation" for key in drawn)
    assert read.notes == (
        "the file names in test/ don't tell PublicTest from PrivateTest: all of it is test",
        f"the owner's validation pictures are not there: {len(drawn)} of train, about one in 10, "
        "drawn by a digest of their content, are validation",
    )
    # The draw belongs to the pictures, not to what else is there.
    (root / "train" / "sad" / "im0.png").unlink()
    again = _read(root, tmp_path / "work")
    assert {row.key: row.split for row in again.rows}.items() <= splits.items()


def test_what_is_no_picture_of_fer2013_is_left_out(folders: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    _picture(outside / "a" / "x.jpg")
    _picture(folders / "train" / "contempt" / "Training_1.jpg")
    _picture(folders / "train" / "happy" / "PrivateTest_1.jpg")
    _picture(folders / "test" / "happy" / "Training_1.jpg")
    _picture(folders / "test" / "happy" / "im1.jpg")
    (folders / "train" / "happy" / "Training_0.jpg").symlink_to(outside / "a" / "x.jpg")
    (folders / "train" / "happy" / "Training_2.jpg").symlink_to("nowhere.jpg")
    (folders / "train" / "sad" / "Training_3.jpg").mkdir()
    os.mkfifo(folders / "train" / "sad" / "Training_4.jpg")
    (folders / "train" / "0").symlink_to(outside / "a")
    with open(os.fsencode(folders / "train" / "sad") + b"/Training_\xff.jpg", "wb"):
        pass
    (folders / "train" / "happy" / "._Training_9918484.jpg").write_bytes(b"left by macOS")
    (folders / "train" / "happy" / "Thumbs.db").write_bytes(b"left by Windows")
    read = _read(folders, tmp_path / "work")
    assert len(read.rows) == 10
    found = {
        rejection.row.key: rejection.reason
        for rejection in read.left_out
        if rejection.reason != "augmented copy"
    }
    assert found == {
        "train/contempt/Training_1.jpg": "unknown label",
        "train/happy/PrivateTest_1.jpg": "split in doubt",
        "test/happy/Training_1.jpg": "split in doubt",
        "test/happy/im1.jpg": "split in doubt",
        "train/happy/Training_0.jpg": "outside the source",
        "train/happy/Training_2.jpg": "no file",
        "train/sad/Training_3.jpg": "no file",
        "train/sad/Training_4.jpg": "no file",
        "train/0/x.jpg": "outside the source",
        "train/sad/Training_\\udcff.jpg": "bad name",
    }
    for rejection in read.left_out:
        rejection.detail.encode("utf-8")
    assert read.notes == ("2 files that are no pictures are ignored",)


def test_the_table_gives_the_same_and_unpacks_its_pictures(table: Path, tmp_path: Path) -> None:
    read = _read(table, tmp_path / "work")
    assert _said(read.rows) == [
        ("fer2013.csv#0", "anger", "train"),
        ("fer2013.csv#1", "disgust", "train"),
        ("fer2013.csv#2", "fear", "train"),
        ("fer2013.csv#3", "happiness", "train"),
        ("fer2013.csv#4", "sadness", "train"),
        ("fer2013.csv#5", "surprise", "validation"),
        ("fer2013.csv#6", "neutral", "test"),
    ]
    for number, row in enumerate(read.rows):
        assert row.path == tmp_path / "work" / f"{number:05d}.png"
        picture = cv2.imread(str(row.path), cv2.IMREAD_UNCHANGED)
        assert picture is not None
        assert picture.shape == (48, 48)
        assert (picture == 10 * number).all()
        assert (row.subject, row.votes) == (row.key, ())
    assert (read.left_out, read.notes, dict(read.facts)) == ((), (), {})


def test_gray_values_stand_row_by_row_in_any_order_of_columns(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 256, (48, 48), np.uint8)
    text = " ".join(map(str, values.ravel()))
    # The competition's own file has another order, spaces in its header, and quotes.
    table = tmp_path / "icml_face_data.csv"
    table.write_bytes(
        f'\ufeffemotion, Usage, pixels\r\n2,Training,"{text}"\r\n\r\n'.encode()
        + b"0,PublicTest,"
        + text.encode()
    )
    for source in (tmp_path, table):
        read = _read(source, tmp_path / "work")
        assert _said(read.rows) == [
            ("icml_face_data.csv#0", "fear", "train"),
            ("icml_face_data.csv#1", "anger", "validation"),
        ]
        np.testing.assert_array_equal(cv2.imread(str(read.rows[0].path), 0), values)


HOSTILE = {
    "too few": (_line(0, 7, "Training", 2303), "2303 gray values, wanted 2304"),
    "too many": (_line(0, 7, "Training", 2305), "2305 gray values, wanted 2304"),
    "above": (_line(0, 256, "Training"), "a gray value out of 0..255"),
    "huge": (_line(0, "9" * 20, "Training"), "a gray value out of 0..255"),
    "negative": (_line(0, -1, "Training"), "no whole numbers"),
    "nan": (_line(0, "nan", "Training"), "no whole numbers"),
    "fraction": (_line(0, "1.5", "Training"), "no whole numbers"),
    "two spaces": (_line(0, "7 ", "Training"), "gray values, wanted 2304"),
    "code 7": (_line(7, 7, "Training"), "emotion is '7', wanted 0..6"),
    "code -1": (_line(-1, 7, "Training"), "emotion is '-1', wanted 0..6"),
    "no code": (_line("", 7, "Training"), "emotion is '', wanted 0..6"),
    "arabic digit": (_line("٣", 7, "Training"), "wanted emotion, pixels and usage"),
    "usage": (_line(0, 7, "Test"), "usage is 'Test', wanted Training, PublicTest, PrivateTest"),
    "fields": ("0", "wanted emotion, pixels and usage, found b'0'"),
    "open quote": ('0,"7 7,Training', "wanted emotion, pixels and usage"),
    "zeros": ("\0\0\0,\0,\0", "emotion is '\\x00\\x00\\x00'"),
    "long": (_line(0, "7" * 100, "Training"), "a line of over 65536 bytes"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_broken_line_is_left_out_and_keeps_its_place(
    case: str, table: Path, tmp_path: Path
) -> None:
    line, message = HOSTILE[case]
    lines = (table / "fer2013.csv").read_text().splitlines()
    lines.insert(3, line)
    (table / "fer2013.csv").write_text("\n".join(lines), encoding="utf-8")
    read = _read(table, tmp_path / "work")
    assert [row.key for row in read.rows] == [f"fer2013.csv#{n}" for n in (0, 1, 3, 4, 5, 6, 7)]
    assert [row.emotion for row in read.rows][2] == "fear"
    (rejection,) = read.left_out
    assert (rejection.row.key, rejection.reason) == ("fer2013.csv#2", "broken line")
    assert rejection.detail.startswith(f"{table / 'fer2013.csv'}: row 2: ")
    assert message in rejection.detail
    assert len(rejection.detail) < 400


def test_votes_are_joined_by_place_not_by_the_number_in_the_name(
    table: Path, tmp_path: Path
) -> None:
    lines = [
        HEADER,
        "Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0",
        # Taken out by FERPlus; from here on its names lag behind, as they really do.
        "Training,,0,0,0,0,0,0,0,0,0,10",
        "Training,fer0000001.png,0,1,2,0,0,0,4,1,2,0",
        "Training,fer0000002.png,0,x,0,0,0,0,0,0,0,0",
        "Training,fer0000003.png,0,10,0,0,0,0,0,0,0,0",
        "PublicTest,fer0000004.png,0,0,10,0,0,0,0,0,0,0",
        "PrivateTest,fer0000005.png,10,0,0,0,0,0,0,0,0,0",
    ]
    (table / "fer2013new.csv").write_text("\n".join(lines))
    read = _read(table, tmp_path / "work")
    votes = {row.key.split("#")[1]: row.votes for row in read.rows}
    assert votes == {
        "0": (
            Vote("face", "neutral", 4),
            Vote("face", "sadness", 1),
            Vote("face", "anger", 3),
            Vote("face", "disgust", 2),
        ),
        "1": (Vote("face", "not a face", 10),),
        "2": (
            Vote("face", "happiness", 1),
            Vote("face", "surprise", 2),
            Vote("face", "fear", 4),
            Vote("face", "contempt", 1),
            Vote("face", "unknown", 2),
        ),
        "3": (),
        "4": (Vote("face", "happiness", 10),),
        "5": (Vote("face", "surprise", 10),),
        "6": (Vote("face", "neutral", 10),),
    }
    assert read.facts["ferplus"] == {"taken_out_by_ferplus": 1, "with_votes": 6}
    assert read.notes == ("1 pictures have no votes: fer2013new.csv has no readable line for them",)


USAGES = ["Training"] * 5 + ["PublicTest", "PrivateTest"]


@pytest.mark.parametrize("change", ["row missing", "row twice", "line missing", "other usage"])
def test_votes_that_may_have_moved_are_not_joined(change: str, table: Path, tmp_path: Path) -> None:
    votes = [f"{usage},fer{n:07d}.png,0,10,0,0,0,0,0,0,0,0" for n, usage in enumerate(USAGES)]
    rows = (table / "fer2013.csv").read_text().splitlines()
    if change == "row missing":
        del rows[2]
    elif change == "row twice":
        rows.insert(2, rows[2])
    elif change == "line missing":
        del votes[-1]
    else:
        votes[3], votes[6] = votes[6], votes[3]
    (table / "fer2013.csv").write_text("\n".join(rows))
    (table / "fer2013new.csv").write_text("\n".join([HEADER, *votes]))
    read = _read(table, tmp_path / "work")
    assert {row.votes for row in read.rows} == {()}
    assert dict(read.facts) == {}
    (note,) = read.notes
    assert note.startswith("no votes are joined: ")
    assert {
        "row missing": f"{table / 'fer2013.csv'} has 6 rows, fer2013new.csv 7: give",
        "row twice": "has 8 rows, fer2013new.csv 7",
        "line missing": "has 7 rows, fer2013new.csv 6",
        "other usage": "csv is of train, its line in fer2013new.csv says 'PrivateTest'",
    }[change] in note


def test_a_broken_row_moves_no_votes(table: Path, tmp_path: Path) -> None:
    votes = [f"{usage},,{n},0,0,0,0,0,0,0,0,0" for n, usage in enumerate(USAGES, 1)]
    rows = (table / "fer2013.csv").read_text().splitlines()
    rows[2] = "1,7 7 7,Training"
    (table / "fer2013.csv").write_text("\n".join(rows))
    (table / "fer2013new.csv").write_text("\n".join([HEADER, *votes]))
    read = _read(table, tmp_path / "work")
    assert [row.votes[0].number for row in read.rows] == [1, 3, 4, 5, 6, 7]


def test_votes_go_to_files_only_under_ferplus_own_names(folders: Path, tmp_path: Path) -> None:
    _picture(folders / "train" / "sad" / "fer0000005.png")
    _picture(folders / "train" / "sad" / "fer0000006.png")
    (folders / "fer2013new.csv").write_text(
        f"{HEADER}\nTraining,fer0000005.png,0,10,0,0,0,0,0,0,0,0\n"
        # A name on two lines means neither.
        "Training,fer0000006.png,10,0,0,0,0,0,0,0,0,0\nTraining,fer0000006.png,0,0,0,0,0,0,0,0,0,9\n"
    )
    read = _read(folders, tmp_path / "work")
    voted = {row.key: row.votes for row in read.rows if row.votes}
    assert voted == {"train/sad/fer0000005.png": (Vote("face", "happiness", 10),)}
    assert "11 pictures have no votes: their file names don't say which rows" in read.notes[0]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0\0", b"a,b\n1,2\n", b"x" * 2**25 + b"y"])
def test_a_file_that_is_not_ferplus_is_noted(content: bytes, table: Path, tmp_path: Path) -> None:
    (table / "fer2013new.csv").write_bytes(content)
    read = _read(table, tmp_path / "work")
    assert len(read.rows) == 7
    assert read.notes[0].startswith(f"no votes are joined: {table / 'fer2013new.csv'}: ")


def test_hostile_lines_of_ferplus_keep_their_place_empty(tmp_path: Path) -> None:
    bad = ["", "Training", f"Training,a{',1' * 11}", f"Training,a{',-1' * 10}\x1c"]
    bad += [f"Training,a,{'9' * 5000}{',1' * 9}", f"Training,a,nan{',1' * 9}", "\0,\0"]
    good = f"Training,b{',1' * 10}"
    (tmp_path / "fer2013new.csv").write_text("\n".join([HEADER, *bad, good]))
    lines = read_votes(tmp_path / "fer2013new.csv")
    # The empty line is no line.
    assert [line.name for line in lines] == [""] * 6 + ["b"]
    assert sum(vote.number for vote in lines[-1].votes) == 10


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "neither fer2013.csv nor train/ and test/ are there"),
        (lambda root: (root / "train" / "happy").mkdir(parents=True), "no picture of a known"),
        (lambda root: _picture(root / "train" / "joy" / "a.png"), "the first problem: .*'joy'"),
        (lambda root: (root / "fer2013.csv").write_text(""), "the first line is ''"),
        (lambda root: (root / "fer2013.csv").write_bytes(b"\0" * 200_000), "wanted the columns"),
        (lambda root: (root / "fer2013.csv").write_text("emotion,pixels\n"), "wanted the columns"),
        (lambda root: (root / "fer2013.csv").write_text("emotion,pixels,Usage\n"), "no picture of"),
        (lambda root: (root / "fer2013.csv").symlink_to("/etc/hostname"), "a link that leads out"),
    ],
)
def test_a_source_that_is_not_fer2013_is_one_line(make, message: str, tmp_path: Path) -> None:
    root = tmp_path / "source"
    root.mkdir()
    make(root)
    with pytest.raises(UserError, match=message) as raised:
        _read(root, tmp_path / "work")
    assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match="nowhere: no such file or folder: give the"):
        _read(tmp_path / "nowhere", tmp_path / "work")


@pytest.mark.slow
def test_a_table_of_far_too_many_lines_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "fer2013.csv"
    table.write_text("emotion,pixels,Usage\n" + "0\n" * 100_001)
    with pytest.raises(UserError, match=r"fer2013\.csv: over 100000 lines: FER2013 has 35,887"):
        _read(table, tmp_path)


def test_the_set_is_built_from_both_layouts(folders: Path, table: Path, tmp_path: Path) -> None:
    out = build_dataset("fer2013", source=folders, out=tmp_path / "folders")
    info = dataset_info(out)
    assert info.num_examples == {"train": 7, "validation": 1, "test": 2}
    assert info.report["left_out"] == {"augmented copy": 7}
    arrays = load_split(out, "validation")
    assert arrays.faces.shape == (1, 1, 98, 80)
    # The upper half of each picture is dark; JPEG keeps flat gray.
    assert abs(int(arrays.faces[0, 0, 90, 40]) - 200) <= 2
    assert abs(int(arrays.faces[0, 0, 8, 40]) - 10) <= 2
    assert arrays.paths == ("test/happy/PublicTest_30360811.jpg",)
    assert info.input_spec.emotions[arrays.emotion[0]] == "happiness"
    line = "Training,,0,0,0,0,0,7,0,1,1,1"
    others = [line.replace("Training", usage) for usage in USAGES[5:]]
    (table / "fer2013new.csv").write_text("\n".join([HEADER, *[line] * 5, *others]))
    out = build_dataset("fer2013", source=table, out=tmp_path / "table")
    arrays = load_split(out, "train")
    emotions = dataset_info(out).input_spec.emotions
    found = {
        path: (emotions[emotion], int(face[0, 50, 40]))
        for path, emotion, face in zip(arrays.paths, arrays.emotion, arrays.faces, strict=True)
    }
    assert found == {
        "fer2013.csv#0": ("anger", 0),
        "fer2013.csv#1": ("disgust", 10),
        "fer2013.csv#2": ("fear", 20),
        "fer2013.csv#3": ("happiness", 30),
        "fer2013.csv#4": ("sadness", 40),
    }
    # Seven for disgust of ten in all: contempt, unknown and no face are votes as well.
    assert (arrays.votes[:, 1, emotions.index("disgust")] == 7).all()
    assert (arrays.votes_total == [0, 10, 0]).all()
