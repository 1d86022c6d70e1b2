from __future__ import annotations

import base64
import csv
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from emojax.data.build import BuildOptions, build_dataset
from emojax.data.builders.base import FaceBuilder
from emojax.data.kept_faces import choose_faces
from emojax.data.report_page import write_report_page
from emojax.data.shards import DatasetInfo, dataset_info
from emojax.data.synthetic.layouts import write_disfa
from emojax.errors import UserError

HOSTILE = "<script>alert(1)<b>\n\x1b[2J'\"&\udcff"


class Drawn(FaceBuilder):
    DESCRIPTION = "Flat pictures, see https://example.org/a?x=1. And <no> more."
    CITATION = "@misc{flat,\n  title={Flat & <gray>}\n}"
    LICENCE = "Nobody's"
    SOURCE_HELP = "a folder"


class Bare(FaceBuilder):
    SOURCE_HELP = ""


class Page(HTMLParser):
    """What a reader finds on a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.images: list[tuple[str, np.ndarray]] = []
        self.links: list[str | None] = []
        self.rows: list[list[str]] = []
        self.tiles: list[str] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        # No event handler, no address but a link's and a picture's own content.
        assert set(values) <= {
            *("lang", "charset", "name", "content", "http-equiv", "class", "scope", "tabindex"),
            *(["href"] if tag == "a" else ["alt", "src"] if tag == "img" else []),
        }
        self.tags.append(tag)
        if tag == "img":
            head, data = str(values["src"]).split(",")
            assert head == "data:image/jpeg;base64"
            content = np.frombuffer(base64.b64decode(data, validate=True), np.uint8)
            picture = cv2.imdecode(content, cv2.IMREAD_COLOR)
            assert picture is not None
            self.images.append((str(values["alt"]), picture))
        elif tag == "a":
            self.links.append(values["href"])
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "figure":
            self.tiles.append("")

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "style":
            return
        self.words.append(data)
        if self.tags.count("table") > self.tags.count("/table") and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip("\n")
        if self.tags.count("figure") > self.tags.count("/figure"):
            self.tiles[-1] += f"{data}|"


def write_source(folder: Path) -> Path:
    """Six people with a happy, a sad and an unlabelled picture each, and ten bad files."""
    folder.mkdir()
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "subject", "emotion", "AU12", "domain"])
        for person in range(6):
            for index, emotion in enumerate(("happiness", "sadness", "")):
                name = f"p{person}_{index}.png"
                level = 20 + 30 * person + index
                cv2.imwrite(str(folder / name), np.full((98, 80), level, np.uint8))
                writer.writerow([name, f"P{person}", emotion, ("1", "0", "")[index], "FN1"])
        for index in range(10):
            (folder / f"text_{index}.png").write_text("no picture")
            writer.writerow([f"text_{index}.png", "P0", "happiness", "", "FN2"])
        writer.writerow(["gone.png", "P1", "happiness", "", "FN2"])
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("page") / "source")


@pytest.fixture(scope="module")
def built(source: Path) -> Path:
    options = BuildOptions(faces="ready")
    return build_dataset("manifest", source=source, out=source.parent / "out", options=options)


@pytest.fixture
def report(built: Path) -> Iterator[dict[str, Any]]:
    yield json.loads((built / "report.json").read_text())
    (built / "report.html").unlink(missing_ok=True)


def pictures_of(report: dict[str, Any], source: Path) -> dict[str, Path]:
    return {file["path"]: source / file["path"] for file in report["left_out_files"]}


def test_the_page_says_what_the_report_says(
    built: Path, source: Path, report: dict[str, Any]
) -> None:
    path = write_report_page(built, report, Drawn, pictures_of(report, source))
    assert path == built / "report.html"
    page = Page(path)
    assert "script" not in page.tags
    rows = {row[0]: row[1:] for row in page.rows}
    splits = report["splits"]
    assert rows["train"] == [str(splits["train"]["examples"]), "66.7%", "4"]
    assert rows["happiness"] == ["4", "1", "1", "6"]
    assert rows["unknown"] == ["4", "1", "1", "6"]
    assert rows["AU12 lip corner puller"] == ["4 / 8", "1 / 2", "1 / 2", "6 / 12"]
    assert "AU01 inner brow raiser" not in rows
    assert rows["FN1"] == ["18", "18", "12", "3", "3"]
    assert rows["FN2"] == ["11", "0", "0", "0", "0"]
    assert rows["unreadable file"] == ["10", "34.5%"]
    assert rows["missing file"] == ["1", "3.4%"]
    for words in (
        *("29 files read", "18 examples kept", "11 left out", "6 people"),
        "18 faces found in 18 frames (100.0%)",
        "Split rule: by person, seed 0. No person stands in two of them.",
        "Licence Nobody's Source a folder Citation @misc{flat, title={Flat & <gray>} }",
        "And <no> more.",
        "Worker processes none beside this one",
        report["fingerprint"],
    ):
        assert words in page.text, words
    assert page.links == ["https://example.org/a?x=1"]


def test_eight_of_each_reason_are_shown(built: Path, source: Path, report: dict[str, Any]) -> None:
    pictures = pictures_of(report, source)
    listed = [f for f in report["left_out_files"] if f["reason"] == "unreadable file"]
    # What was left out as not to be read may be a picture all the same.
    pictures[listed[0]["path"]] = source / "p5_0.png"
    page = Page(write_report_page(built, report, Drawn, pictures))
    assert len(page.tiles) == 8 + 1
    assert "unreadable file (8 of 10, spread over all)" in page.text
    assert page.tiles[0] == f"{listed[0]['path']}|{listed[0]['detail']}|"
    assert page.tiles[1] == f"can't be opened|{listed[1]['path']}|{listed[1]['detail']}|"
    assert page.tiles[8].startswith("missing|gone.png|")
    shown = [picture for words, picture in page.images if words == "what the file shows"]
    assert len(shown) == 1
    assert shown[0].shape == (98, 80, 3)
    assert abs(float(shown[0].mean()) - 170) <= 2


def test_faces_are_shown_by_emotion(built: Path, source: Path, report: dict[str, Any]) -> None:
    page = Page(write_report_page(built, report, Drawn, {}))
    levels: dict[str, list[int]] = {}
    for words, picture in page.images:
        levels.setdefault(words, []).append(round(float(picture.mean())))
    assert list(levels) == ["a face: happiness", "a face: sadness", "a face: emotion unknown"]
    for index, found in enumerate(levels.values()):
        # One of each person.
        assert sorted(found) == [20 + 30 * person + index for person in range(6)]
    # Nothing was said about where the files lie: they are tiles of text.
    assert all(tile.startswith("no picture belongs to it|") for tile in page.tiles)


def test_hostile_names_are_shown_and_do_nothing(
    built: Path, source: Path, report: dict[str, Any]
) -> None:
    file = report["left_out_files"][0]
    file["path"], file["detail"] = HOSTILE, f"{HOSTILE}: what it is"
    report["left_out"][HOSTILE] = 1
    file["reason"] = HOSTILE
    report["name"] = report["split_rule"] = HOSTILE
    report["notes"] = [HOSTILE]
    report["facts"] = {HOSTILE: {HOSTILE: 1}, "dropped": HOSTILE}
    report["unheard"] = [{"path": HOSTILE, "detail": HOSTILE}]
    report["domains"] = {HOSTILE: {"rows_read": 1, "examples_kept": 1}}
    report["splits"]["train"]["emotions"][HOSTILE] = 3
    report["splits"]["train"]["action_units"][HOSTILE] = {"present": 1, "absent": 1, "unknown": 0}
    path = write_report_page(built, report, Drawn, {HOSTILE: source / HOSTILE})
    page = Page(path)
    assert "script" not in page.tags
    assert {tag for tag in page.tags if not tag.startswith("/")} <= {
        *("html", "meta", "title", "style", "h1", "h2", "h3", "p", "dl", "dt", "dd", "pre", "a"),
        *("div", "b", "small", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "span"),
        *("figure", "figcaption", "code", "img"),
    }
    # `b` stands around figures alone.
    assert page.tags.count("b") == page.tags.count("/b") == 5
    shown = "<script>alert(1)<b>\\n\\x1b[2J'\"&\\udcff"
    assert page.text.count(shown) >= 9
    assert "\x1b" not in path.read_text(encoding="utf-8")


def test_a_page_is_written_when_the_shards_cannot_be_read_back(
    tmp_path: Path, report: dict[str, Any]
) -> None:
    page = Page(write_report_page(tmp_path, report, Drawn, {}))
    assert "The shards can't be read back:" in page.text
    assert "29 files read" in page.text


def test_a_report_of_few_words_gives_a_page(tmp_path: Path) -> None:
    report = {"name": "empty", "rows_read": 0, "left_out": {}, "splits": {}, "left_out_files": []}
    page = Page(write_report_page(tmp_path, report, Bare, {}))
    assert "Nothing: every file gave an example." in page.text
    assert "No action unit of any example is known." in page.text
    assert page.images == []


def test_people_of_one_example_are_not_called_separated(
    built: Path, report: dict[str, Any]
) -> None:
    for counts in report["splits"].values():
        counts["people"] = {f"{number}.png": 1 for number in range(counts["examples"])}
    page = Page(write_report_page(built, report, Drawn, {}))
    assert "Each example counts as a person of its own." in page.text
    assert "No person stands" not in page.text


def test_a_damaged_shard_is_told(built: Path) -> None:
    info = dataset_info(built)
    gone = DatasetInfo(**{**vars(info), "folder": built / "gone"})
    with pytest.raises(UserError):
        choose_faces(gone, 8)


def test_other_people_come_first_and_action_units_where_no_emotion_is_known(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = dataset_info(built)
    faces = np.zeros((6, 2, 98, 80), np.uint8)
    faces[:] = np.arange(6).reshape(6, 1, 1, 1) * 10
    faces[:, 1] += 1
    units = np.full((6, 15), -1)
    units[:, 8] = [1, 1, 1, 0, 1, 1]

    def batches(info: DatasetInfo, split: str, columns: Any) -> Any:
        if split == "train":
            yield {
                "faces": faces,
                # The last one holds sound alone.
                "num_frames": np.array([1, 1, 2, 2, 1, 0]),
                "emotion": np.full(6, -1),
                "action_units": units,
                "subject": np.array(["a", "a", "a", "b", "c", "d"]),
            }

    monkeypatch.setattr("emojax.data.kept_faces.read_batches", batches)
    chosen = choose_faces(info, 3)
    assert {name: [int(crop[0, 0]) for crop in crops] for name, crops in chosen.items()} == {
        # The first of a, b and c.
        "emotion unknown": [0, 30, 40],
        # Of a and c, and a second one of a.
        "AU12": [0, 40, 10],
    }
    assert all(crop.base is None for crops in chosen.values() for crop in crops)


def test_no_file_outside_the_source_is_ever_shown(tmp_path: Path) -> None:
    source, secret = tmp_path / "fer2013", tmp_path / "elsewhere" / "secret.jpg"
    rng = np.random.default_rng(0)
    secret.parent.mkdir()
    for part, count in (("train", 20), ("test", 2)):
        (source / part / "happy").mkdir(parents=True)
        for number in range(count):
            usage = "Training" if part == "train" else "PublicTest"
            picture = rng.integers(0, 256, (48, 48), np.uint8)
            assert cv2.imwrite(str(source / part / "happy" / f"{usage}_{number}.jpg"), picture)
    assert cv2.imwrite(str(secret), np.full((48, 48), 170, np.uint8))
    # The other two are left out for their names, before anybody looks where they lead.
    links = ("Training_99.jpg", "aug_1.jpg", "PrivateTest_1.jpg")
    for name in links:
        (source / "train" / "happy" / name).symlink_to(secret)
    (source / "train" / "joy").symlink_to(secret.parent)
    assert cv2.imwrite(
        str(source / "train" / "happy" / "aug_2.jpg"), np.full((48, 48), 90, np.uint8)
    )
    out = build_dataset("fer2013", source=source, out=tmp_path / "out")
    assert dataset_info(out).report["left_out"] == {
        "outside the source": 1,
        "augmented copy": 2,
        "split in doubt": 1,
        "unknown label": 1,
    }
    shown = [image for words, image in Page(out / "report.html").images if "file shows" in words]
    assert [round(float(image.mean())) for image in shown] == [90]


def test_a_label_file_that_leads_out_is_not_shown_either(tmp_path: Path) -> None:
    source = write_disfa(tmp_path / "disfa", people=3, expressions=1, progress=False)
    secret = tmp_path / "secret.jpg"
    assert cv2.imwrite(str(secret), np.full((48, 48), 170, np.uint8))
    label_file = source / "ActionUnit_Labels" / "SN001" / "SN001_au1.txt"
    label_file.unlink()
    label_file.symlink_to(secret)
    ready = BuildOptions(faces="ready")
    out = build_dataset("disfa", source=source, out=tmp_path / "out", options=ready)
    page = Page(out / "report.html")
    assert dataset_info(out).report["left_out"]["bad label file"] == 1
    assert [words for words, _ in page.images if "file shows" in words] == []
