from __future__ import annotations

import numpy as np
import pytest

import emojax.runtime
from emojax.errors import UserError
from emojax.face import crop_rectangle, detect_faces, to_gray
from emojax.runtime.occlusion import (
    HIGHEST,
    deepest,
    find_output,
    occlude,
    place_patches,
    spread_falls,
    without_pause,
)


@pytest.mark.parametrize(
    ("length", "side", "wanted"),
    [
        (98, 28, (*range(0, 70, 7), 70)),
        (80, 28, (0, 7, 14, 21, 28, 35, 42, 49, 52)),
        (8, 8, (0,)),
        (9, 8, (0, 1)),
        (5, 1, (0, 1, 2, 3, 4)),
    ],
)
def test_squares_cover_an_axis_from_end_to_end(length, side, wanted) -> None:
    assert place_patches(length, side) == wanted


def by_hand(image, answer, fill, side, step):
    """Falls and heat, one square and one pixel after the other."""
    height, width = image.shape
    tops = sorted({*range(0, height - side, step), height - side})
    lefts = sorted({*range(0, width - side, step), width - side})
    whole = answer(image[None])[0]
    falls = {}
    for top in tops:
        for left in lefts:
            covered = image.copy()
            for row in range(top, top + side):
                for column in range(left, left + side):
                    covered[row, column] = fill
            falls[top, left] = whole - answer(covered[None])[0]
    heat = np.zeros((height, width, len(whole)))
    for row in range(height):
        for column in range(width):
            over = [
                fall
                for (top, left), fall in falls.items()
                if top <= row < top + side and left <= column < left + side
            ]
            heat[row, column] = np.mean(over, axis=0)
    return falls, heat


@pytest.mark.parametrize(("shape", "side", "step"), [((21, 16), 6, 1), ((16, 33), 9, 2)])
def test_falls_and_heat_are_those_of_a_plain_loop(shape, side, step) -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, shape, np.uint8)
    weights = rng.normal(size=(*shape, 3)) / 4000

    def answer(images):
        return 1 / (1 + np.exp(-np.tensordot(images.astype(float), weights, 2)))

    kept = image.copy()
    found = without_pause(occlude(image, answer, 77))
    falls, heat = by_hand(image, answer, 77, side, step)
    assert found.side == side
    assert np.array_equal(image, kept)
    for row, top in enumerate(found.tops):
        for column, left in enumerate(found.lefts):
            np.testing.assert_allclose(found.falls[row, column], falls.pop((top, left)), atol=1e-6)
    assert not falls
    for place in range(3):
        np.testing.assert_allclose(spread_falls(found, place), heat[..., place], atol=1e-6)


def test_a_network_that_sees_one_place_is_found_out_to_the_pixel() -> None:
    image = np.full((98, 80), 200, np.uint8)
    image[70:74, 40:44] = 250

    def answer(images):
        return images[:, 70:74, 40:44].mean(axis=(1, 2), keepdims=True)[:, 0] / 255

    found = without_pause(occlude(image, answer, 100))
    heat = spread_falls(found, 0)
    assert heat[71, 41] == heat.max() > 0
    # No square that holds a far corner reaches there.
    assert heat[0, 0] == heat[-1, 0] == heat[0, -1] == 0
    top, left, fall = deepest(found, 0)
    assert 74 - found.side <= top <= 70
    assert 44 - found.side <= left <= 40
    assert fall == pytest.approx(150 / 255)


def test_a_long_strip_costs_no_thousands() -> None:
    calls = []

    def answer(images):
        calls.append(len(images))
        return np.zeros((len(images), 1), np.float32)

    without_pause(occlude(np.zeros((8, 1024), np.uint8), answer, 0))
    assert sum(calls) < 600


def test_outputs_are_found_by_name_or_as_the_highest(artifact_folder) -> None:
    spec = emojax.runtime.load(artifact_folder).spec
    whole = np.zeros(22)
    whole[[3, 17]] = 0.9, 0.4
    assert find_output("AU12", whole, spec) == (8, "AU12")
    assert find_output("sadness", whole, spec) == (17, "sadness")
    assert find_output(HIGHEST, whole, spec) == (17, "sadness")
    units_only = spec.replace(emotions=())
    assert find_output(HIGHEST, whole[:15], units_only) == (3, "AU05")
    with pytest.raises(UserError, match=r"no output 'joy': use highest, AU01, .*anger"):
        find_output("joy", whole, spec)


def test_a_smile_hangs_on_the_mouth() -> None:
    """With the network that comes with emojax: of a drawn smile the mouth counts, not the wall."""
    rng = np.random.default_rng((20261126, 0))
    from emojax.data.synthetic.domains import make_scene, render
    from emojax.data.synthetic.expressions import sample_emotion
    from emojax.data.synthetic.people import make_person

    peak = tuple(0.9 * (value > 0) for value in sample_emotion(rng, "happiness").intensities)
    picture = render(make_person(20261126, 0), peak, make_scene(rng, "S1"), rng)
    predictor = emojax.runtime.load()
    gray = to_gray(picture)
    (box,) = detect_faces(gray, predictor.detector)
    (crop,) = predictor.cut(gray, [box])
    assert crop_rectangle(box, predictor.spec)[3] == box.h
    found = without_pause(occlude(crop, predictor.predict_crops, round(float(crop.mean()))))
    place, name = find_output(HIGHEST, found.whole, predictor.spec)
    assert name == "happiness"
    heat = spread_falls(found, place)
    mouth = heat[66:86, 22:58].mean()
    corners = np.concatenate(
        [heat[:14, :12].ravel(), heat[:14, -12:].ravel(), heat[-14:, :8].ravel()]
    )
    assert mouth > 0.02
    assert mouth > 2 * np.abs(corners).mean()
    top, _, fall = deepest(found, place)
    assert fall > 0.08
    assert top + found.side > 66
