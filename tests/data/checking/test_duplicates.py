from __future__ import annotations

import csv
import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from emojax.data.checking import duplicates
from emojax.data.checking.duplicates import (
    NEAR,
    Example,
    Look,
    Pair,
    choose_shown,
    conflicts,
    copies_in,
    count_by_splits,
    draw_pairs,
    find_duplicates,
    group,
    look_at,
    write_pairs,
)


def _face(seed: int) -> np.ndarray:
    """A crop with the coarse and fine structure of a picture, another one for each seed."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.normal(0, size, shape[::-1]), (80, 98), interpolation=cv2.INTER_CUBIC)
        for shape, size in (((4, 3), 40), ((12, 10), 25), ((48, 39), 10))
    ]
    return np.clip(128 + sum(layers), 0, 255).astype(np.uint8)


def _copied(crop: np.ndarray, contrast: float, light: float, quality: int, text: str) -> np.ndarray:
    """The crop in other light, with a watermark, through JPEG, and cut a pixel to the side."""
    changed = np.clip(contrast * crop.astype(float) + light, 0, 255).astype(np.uint8)
    cv2.putText(changed, text, (2, 60), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (190,), 1)
    _, data = cv2.imencode(".jpg", changed, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    assert decoded is not None
    return np.roll(decoded, 1, axis=1)


def _find(crops: list[np.ndarray], people: list[str] | None = None, **keywords) -> list[Pair]:
    people = people or [str(index) for index in range(len(crops))]
    return list(find_duplicates([look_at(crop) for crop in crops], people, **keywords).pairs)


def test_exact_near_and_mirrored_copies_are_told_apart() -> None:
    crops = [_face(seed) for seed in range(40)]
    crops[11] = crops[7].copy()
    crops[20] = _copied(crops[3], 0.6, 30, 40, "stock")
    crops[31] = np.ascontiguousarray(_copied(crops[5], 0.8, 10, 60, "")[:, ::-1])
    pairs = _find(crops)
    assert [(pair.kind, pair.first, pair.second) for pair in pairs] == [
        ("exact", 7, 11),
        ("near", 3, 20),
        ("mirrored", 5, 31),
    ]
    assert pairs[0].likeness == 1.0
    assert all(0.75 <= pair.likeness < 0.99 for pair in pairs[1:])


def test_a_symmetric_face_is_one_kind_of_copy_of_its_copy() -> None:
    half = _face(1)
    symmetric = np.hstack([half[:, :40], half[:, 39::-1]])
    lit = (symmetric * 0.5).astype(np.uint8)
    (pair,) = _find([_face(2), symmetric, lit])
    assert (pair.first, pair.second) == (1, 2)
    assert pair.kind in ("near", "mirrored")


def test_crops_without_detail_are_like_no_other() -> None:
    noise = np.random.default_rng(0).integers(100, 102, (3, 98, 80)).astype(np.uint8)
    ramp = np.full((98, 80), 30, np.uint8)
    assert _find([*noise, ramp, ramp + 1]) == []
    assert not look_at(ramp).detail.any()
    # Two of the same pixels are exact copies all the same.
    assert [pair.kind for pair in _find([ramp, ramp])] == ["exact"]


def test_near_copies_are_looked_for_between_people_exact_ones_everywhere() -> None:
    crop = _face(0)
    crops = [crop, _copied(crop, 0.9, 5, 80, ""), _copied(crop, 0.8, 9, 70, ""), crop]
    found = _find(crops, ["a", "a", "b", "a"])
    assert {(p.kind, p.first, p.second) for p in found} == {
        ("exact", 0, 3),
        ("near", 0, 2),
        ("near", 1, 2),
        ("near", 2, 3),
    }


@pytest.mark.parametrize("people", [10**6, 4])
def test_every_pair_is_compared_as_a_plain_correlation_does(
    people: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tiles smaller than the set, and not dividing it.
    monkeypatch.setattr(duplicates, "_ROWS", 4)
    monkeypatch.setattr(duplicates, "_COLUMNS", 7)
    crops = [_face(seed) for seed in range(23)]
    who = [str(index % people) for index in range(23)]
    threshold = 0.05
    small = [
        cv2.resize(crop, (20, 24), interpolation=cv2.INTER_AREA).astype(np.float32)
        for crop in crops
    ]
    fine = [picture - cv2.GaussianBlur(picture, (0, 0), 1.0) for picture in small]
    wanted = {}
    for one, other in itertools.combinations(range(23), 2):
        plain = np.corrcoef(fine[one].ravel(), fine[other].ravel())[0, 1]
        turned = np.corrcoef(fine[one].ravel(), fine[other][:, ::-1].ravel())[0, 1]
        if who[one] != who[other] and max(plain, turned) >= threshold:
            kind = "near" if plain >= turned else "mirrored"
            wanted[one, other] = (kind, max(plain, turned))
    found = {(p.first, p.second): (p.kind, p.likeness) for p in _find(crops, who, near=threshold)}
    # Kept in 16 bits, a likeness is good to 0.001.
    sure = {place for place, (_, likeness) in wanted.items() if likeness > threshold + 0.001}
    assert sure <= found.keys()
    assert len(sure) > 20
    for place, (kind, likeness) in found.items():
        assert abs(likeness - wanted.get(place, ("", threshold))[1]) < 0.001
        assert wanted.get(place, (kind,))[0] == kind


def _strangers(number: int, seed: int) -> list[np.ndarray]:
    """Faces that look straight into one lamp: one symmetric picture, and a little of their own."""
    half = _face(seed).astype(float)[:, :40]
    shared = np.hstack([half, half[:, ::-1]])
    own = [_face(1000 + index).astype(float) for index in range(number)]
    return [(0.8 * shared + 0.2 * one).astype(np.uint8) for one in own]


def test_where_strangers_are_alike_the_threshold_is_raised() -> None:
    crops = _strangers(30, seed=0)
    people = [str(index) for index in range(len(crops))]
    looks = [look_at(crop) for crop in crops]
    # By the lowest threshold nearly each of 435 pairs is a copy, and its mirrored one as well.
    forced = find_duplicates(looks, people, near=NEAR[0])
    assert len(forced.pairs) > 300
    assert find_duplicates(looks, people) == ((), None)
    # Two copies prove nothing yet, twenty do, and they alone are told.
    for number, told in ((2, []), (20, [(index, 30 + index) for index in range(20)])):
        lit = [look_at((crop * 0.9).astype(np.uint8)) for crop in crops[:number]]
        found = find_duplicates([*looks, *lit], [*people, *(f"c{n}" for n in range(number))])
        assert sorted((pair.first, pair.second) for pair in found.pairs) == told
        assert found.near == (None if number == 2 else NEAR[-1])
    # The same pixels are told whatever the likeness of the others.
    found = find_duplicates([*looks, looks[3]], [*people, "other"])
    assert [pair[0::2] for pair in found.pairs] == [("exact", 3)]


def test_a_set_of_one_picture_is_listed_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MAX_PAIRS", 10)
    crop = _face(0)
    assert len(_find([crop] * 30)) == 10
    lit = [(crop * scale).astype(np.uint8) for scale in np.linspace(0.5, 1, 30)]
    assert len([pair for pair in _find(lit) if pair.kind == "near"]) == 10
    assert find_duplicates([], []).pairs == ()


PAIRS = (
    Pair("exact", 1.0, 0, 4),
    Pair("near", 0.9, 1, 2),
    Pair("near", 0.8, 2, 3),
    Pair("mirrored", 0.8, 3, 5),
)
EXAMPLES = [
    Example("train", "a.png", "A", "anger"),
    Example("train", "b.png", "B", "fear"),
    Example("train", "c.png", "C", ""),
    Example("test", "d.png", "D", "fear"),
    Example("test", "e.png", "E", "sadness"),
    Example("validation", "f,ü.png", "F", "fear"),
]


def test_copies_of_copies_are_one_group() -> None:
    assert group(PAIRS) == {0: 0, 4: 0, 1: 1, 2: 1, 3: 1, 5: 1}
    assert group(()) == {}
    # Two groups that a later pair joins.
    joined = [Pair("near", 0.8, 3, 4), Pair("near", 0.8, 1, 2), Pair("near", 0.8, 2, 4)]
    assert group(joined) == {1: 0, 2: 0, 3: 0, 4: 0}


def test_counting_pairs_and_the_examples_that_have_copies() -> None:
    assert count_by_splits(PAIRS, EXAMPLES) == {"test-validation": 1, "train": 1, "train-test": 2}
    assert [conflicts(pair, EXAMPLES) for pair in PAIRS] == [True, False, False, False]
    assert copies_in("test", "train", PAIRS, EXAMPLES) == 2
    assert copies_in("train", "test", PAIRS, EXAMPLES) == 2
    assert copies_in("validation", "test", PAIRS, EXAMPLES) == 1
    assert copies_in("validation", "train", PAIRS, EXAMPLES) == 0
    # One picture with two copies is one.
    twice = (Pair("exact", 1.0, 0, 3), Pair("exact", 1.0, 1, 3))
    assert copies_in("test", "train", twice, EXAMPLES) == 1


def test_pairs_are_written_as_a_csv(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.csv", PAIRS, EXAMPLES)
    with (tmp_path / "pairs.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert lines[0] == {
        **{"kind": "exact", "likeness": "1.000", "group": "0", "conflict": "1"},
        **{"split_1": "train", "path_1": "a.png", "subject_1": "A", "emotion_1": "anger"},
        **{"split_2": "test", "path_2": "e.png", "subject_2": "E", "emotion_2": "sadness"},
    }
    assert [(line["kind"], line["path_2"], line["group"]) for line in lines[1:]] == [
        ("near", "c.png", "1"),
        ("near", "d.png", "1"),
        ("mirrored", "f,ü.png", "1"),
    ]


def test_the_sheet_shows_both_sides_the_mirrored_one_turned_back() -> None:
    crops = {index: _face(index) for index in range(6)}
    sheet = draw_pairs(PAIRS, crops, EXAMPLES, columns=3)
    height, width = 98 + 38 + 4, 160 + 8
    assert sheet.shape == (2 * height, 3 * width)
    second_row = sheet[height + 38 :][:98]
    np.testing.assert_array_equal(second_row[:, 4:84], crops[3])
    np.testing.assert_array_equal(second_row[:, 84:164], crops[5][:, ::-1])
    assert (sheet[height:, width:] == 255).all()
    # The least alike of each kind are those that a person may doubt.
    assert choose_shown(PAIRS, {"near": 1, "mirrored": 5}) == [PAIRS[2], PAIRS[3]]


def test_a_look_is_small_and_says_which_pixels() -> None:
    crop = _face(0)
    look = look_at(crop)
    assert isinstance(look, Look)
    assert look.detail.nbytes == 960
    assert abs(float(np.linalg.norm(look.detail.astype(np.float32))) - 1) < 1e-3
    assert look_at(crop[::1, ::1]).digest == look.digest
    assert look_at(np.asfortranarray(crop)).digest == look.digest
    changed = crop.copy()
    changed[50, 50] ^= 1
    assert look_at(changed).digest != look.digest
