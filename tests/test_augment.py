from __future__ import annotations

import dataclasses

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats

from emojax.augment import (
    AugmentConfig,
    augment_batch,
    augment_image,
    draw_affine,
    draw_shares,
    mix,
    warp_affine,
)
from emojax.errors import UserError

HEIGHT, WIDTH = 98, 80
NOTHING = AugmentConfig(
    mirror=0.0,
    rotation_deg=0.0,
    scale=0.0,
    translation=0.0,
    brightness=0.0,
    contrast=0.0,
    noise=0.0,
)


def with_only(**changes: float) -> AugmentConfig:
    return dataclasses.replace(NOTHING, **changes)


@pytest.fixture(scope="module")
def noisy() -> np.ndarray:
    """No two neighbours alike, so that half a pixel's error shows."""
    return np.random.default_rng(0).uniform(-1, 1, (HEIGHT, WIDTH)).astype(np.float32)


@pytest.fixture(scope="module")
def smooth() -> np.ndarray:
    """A picture like a blurred face: about 0.1 a pixel at the steepest."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return (np.sin(rows / 9) * np.cos(columns / 7 + rows / 40)).astype(np.float32)


def affine_of(
    degrees: float, zoom: float = 1.0, mirror: bool = False, shift: tuple[float, float] = (0, 0)
) -> np.ndarray:
    """Rotation, size, mirror and shift as one map of (row, column) about the centre."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag([1, -1 if mirror else 1]) / zoom
    return np.column_stack([linear, shift]).astype(np.float32)


AFFINES = {
    "identity": affine_of(0),
    "rotation": affine_of(11),
    "mirror": affine_of(0, mirror=True),
    "larger": affine_of(0, zoom=1.2),
    "smaller, beyond the border": affine_of(0, zoom=0.6),
    "shift": affine_of(0, shift=(5.3, -7.8)),
    "everything": affine_of(-17, 0.85, mirror=True, shift=(-3.25, 6.5)),
}


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_warp_is_scipys(affine: np.ndarray, noisy: np.ndarray) -> None:
    centre = np.array([(HEIGHT - 1) / 2, (WIDTH - 1) / 2])
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    places = np.stack([rows - centre[0], columns - centre[1]]).reshape(2, -1)
    places = affine[:, :2].astype(np.float64) @ places + (affine[:, 2] + centre)[:, None]
    expected = scipy.ndimage.map_coordinates(
        noisy.astype(np.float64), places, order=1, mode="nearest"
    ).reshape(HEIGHT, WIDTH)
    found = warp_affine(jnp.asarray(noisy), jnp.asarray(affine))
    assert found.dtype == jnp.float32
    # float32 places of up to 98 pixels, times differences of up to 2 a pixel.
    np.testing.assert_allclose(found, expected, atol=5e-5)


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_warp_is_opencvs(affine: np.ndarray, smooth: np.ndarray) -> None:
    # OpenCV maps (x, y) from the corner where we map (row, column) from the centre.
    swap = np.array([[0.0, 1.0], [1.0, 0.0]])
    linear = swap @ affine[:, :2].astype(np.float64) @ swap
    centre = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    offset = centre + affine[::-1, 2] - linear @ centre
    expected = cv2.warpAffine(
        smooth,
        np.column_stack([linear, offset]),
        (WIDTH, HEIGHT),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    found = warp_affine(jnp.asarray(smooth), jnp.asarray(affine))
    # OpenCV rounds places to 1/32 pixel: half of that at a slope of 0.25 both ways together.
    np.testing.assert_allclose(found, expected, atol=0.5 / 32 * 0.25 * 2)


def test_whole_pixels_and_mirrors_are_exact(noisy: np.ndarray) -> None:
    image = jnp.asarray(noisy)
    np.testing.assert_array_equal(warp_affine(image, jnp.asarray(AFFINES["identity"])), noisy)
    np.testing.assert_array_equal(
        warp_affine(image, jnp.asarray(AFFINES["mirror"])), np.fliplr(noisy)
    )
    # Output (r, c) reads input (r + 3, c - 2): the border's value fills what comes from outside.
    shifted = warp_affine(image, jnp.asarray(affine_of(0, shift=(3, -2))))
    padded = np.pad(noisy, ((0, 3), (2, 0)), mode="edge")
    np.testing.assert_array_equal(shifted, padded[3:, :WIDTH])


def test_places_are_computed_in_full_precision() -> None:
    # No CPU shows it: a TPU multiplies matrices in bfloat16 unless told not to, and 2^-9 of
    # half a picture is a tenth of a pixel.
    jaxpr = jax.make_jaxpr(warp_affine)(jnp.zeros((HEIGHT, WIDTH)), jnp.eye(2, 3))
    for equation in jaxpr.jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            assert set(equation.params["precision"] or ()) == {jax.lax.Precision.HIGHEST}


def draws(config: AugmentConfig) -> np.ndarray:
    keys = jax.random.split(jax.random.key(5), 2000)
    return np.asarray(jax.vmap(lambda key: draw_affine(key, config, HEIGHT, WIDTH))(keys))


def test_affine_of_nothing_is_the_identity() -> None:
    np.testing.assert_array_equal(draws(NOTHING), np.tile(np.eye(2, 3), (2000, 1, 1)))


def test_affine_stays_in_its_ranges_and_fills_them() -> None:
    config = with_only(mirror=0.3, rotation_deg=20.0, scale=0.25, translation=0.1)
    drawn = draws(config).astype(np.float64)
    determinant = np.linalg.det(drawn[:, :, :2])
    # Standard error of a share of 0.3 over 2000 draws: 0.01.
    assert (determinant < 0).mean() == pytest.approx(0.3, abs=0.04)
    zoom = 1 / np.sqrt(np.abs(determinant))
    angle = np.rad2deg(np.arctan2(-drawn[:, 1, 0], drawn[:, 0, 0]))
    shift = drawn[:, :, 2] / [HEIGHT, WIDTH]
    for values, low, high in (
        (zoom, 0.75, 1.25),
        (angle, -20, 20),
        (shift[:, 0], -0.1, 0.1),
        (shift[:, 1], -0.1, 0.1),
    ):
        span = high - low
        assert low - 1e-5 <= values.min() < low + 0.02 * span
        assert high - 0.02 * span < values.max() <= high + 1e-5
        assert np.mean(values) == pytest.approx((low + high) / 2, abs=0.03 * span)
        # Uniform: the variance is a twelfth of the span's square.
        assert np.std(values) == pytest.approx(span / np.sqrt(12), rel=0.05)
    # Each is drawn by itself.
    together = np.corrcoef([zoom, angle, shift[:, 0], shift[:, 1], determinant < 0])
    assert np.abs(together - np.eye(5)).max() < 0.1


def test_an_affine_without_stretch_or_shear() -> None:
    for linear in draws(AugmentConfig())[:50, :, :2].astype(np.float64):
        product = linear.T @ linear
        np.testing.assert_allclose(product, product[0, 0] * np.eye(2), atol=1e-6)


def test_nothing_gives_the_picture_back(noisy: np.ndarray) -> None:
    found = augment_image(jax.random.key(3), jnp.asarray(noisy), NOTHING)
    np.testing.assert_allclose(found, noisy, atol=1e-6)


def test_a_sure_mirror(noisy: np.ndarray) -> None:
    for seed in range(4):
        found = augment_image(jax.random.key(seed), jnp.asarray(noisy), with_only(mirror=1.0))
        np.testing.assert_allclose(found, np.fliplr(noisy), atol=1e-6)


# Many small pictures, of one shape for all the tests of what is drawn: it compiles once.
MANY, LITTLE = 400, (slice(30, 54), slice(20, 40))


def test_noise_has_its_deviation_and_no_pattern() -> None:
    flat = jnp.full((MANY, 24, 20), 0.25)
    found = np.asarray(augment_batch(jax.random.key(0), flat, with_only(noise=0.07)))
    noise = found - 0.25
    # 192,000 values: standard error of the deviation 0.16%, of the mean 0.23% of it.
    assert noise.std() == pytest.approx(0.07, rel=0.01)
    assert noise.mean() == pytest.approx(0.0, abs=0.07 * 0.01)
    # Normal: 4.55% lie beyond two deviations.
    assert (np.abs(noise) > 0.14).mean() == pytest.approx(0.0455, abs=0.003)
    # Neither neighbours nor pictures know of each other: standard errors 0.0023 and 0.0456,
    # the second one's largest of 79,800 at about 4.3 of them.
    neighbours = np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1]
    pictures = np.corrcoef(noise.reshape(MANY, -1)) - np.eye(MANY)
    assert abs(neighbours) < 0.01
    assert np.abs(pictures).max() < 0.3


def test_brightness_shifts_all_values_alike(smooth: np.ndarray) -> None:
    picture = smooth[LITTLE]
    images = jnp.tile(picture, (MANY, 1, 1))
    found = np.asarray(augment_batch(jax.random.key(1), images, with_only(brightness=0.3)))
    lift = (found - picture).mean(axis=(1, 2))
    expected = np.broadcast_to(lift[:, None, None], found.shape)
    np.testing.assert_allclose(found - picture, expected, atol=1e-5)
    assert -0.3 <= lift.min() < -0.28
    assert 0.28 < lift.max() <= 0.3
    assert lift.mean() == pytest.approx(0.0, abs=0.03)


def test_contrast_turns_about_the_mean(smooth: np.ndarray) -> None:
    picture = smooth[LITTLE]
    images = jnp.tile(picture, (MANY, 1, 1))
    found = np.asarray(augment_batch(jax.random.key(2), images, with_only(contrast=0.4)))
    assert abs(picture.mean()) > 0.1
    np.testing.assert_allclose(found.mean(axis=(1, 2)), picture.mean(), atol=1e-5)
    gain = found.std(axis=(1, 2)) / picture.std()
    expected = (picture - picture.mean()) * gain[:, None, None] + picture.mean()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert 0.6 <= gain.min() < 0.62
    assert 1.38 < gain.max() <= 1.4 + 1e-6
    assert gain.mean() == pytest.approx(1.0, abs=0.04)


def test_plain_jitted_and_vmapped_agree(noisy: np.ndarray) -> None:
    config = AugmentConfig()
    images = jnp.asarray(np.stack([noisy, noisy[::-1], -noisy]))
    key = jax.random.key(9)
    mapped = augment_batch(key, images, config)
    jitted = jax.jit(augment_batch, static_argnums=2)(key, images, config)
    plain = jnp.stack(
        [
            augment_image(one, image, config)
            for one, image in zip(jax.random.split(key, 3), images, strict=True)
        ]
    )
    # A place on a pixel's border may round to either side; the value hardly changes there.
    np.testing.assert_allclose(mapped, plain, atol=2e-4)
    np.testing.assert_allclose(jitted, plain, atol=2e-4)


def test_the_key_decides(noisy: np.ndarray) -> None:
    images = jnp.tile(noisy, (3, 1, 1))
    config = AugmentConfig()
    first = np.asarray(augment_batch(jax.random.key(1), images, config))
    again = np.asarray(augment_batch(jax.random.key(1), images, config))
    other = np.asarray(augment_batch(jax.random.key(2), images, config))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    # The same picture three times in a batch: three different draws.
    for left, right in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(first[left] - first[right]).max() > 0.1


@pytest.mark.parametrize(
    "change",
    ["mirror", "rotation_deg", "scale", "translation", "brightness", "contrast", "noise"],
)
def test_every_default_change_does_something(change: str, noisy: np.ndarray) -> None:
    config = with_only(**{change: getattr(AugmentConfig(), change)})
    images = jnp.tile(noisy[LITTLE], (MANY, 1, 1))
    found = augment_batch(jax.random.key(4), images, config)
    assert float(jnp.abs(found - images).max()) > 0.01


@pytest.mark.parametrize(
    ("field", "value", "limit"),
    [
        ("mirror", 1.01, "0..1"),
        ("mirror", -0.1, "0..1"),
        ("rotation_deg", 181.0, "0..180"),
        ("rotation_deg", float("nan"), "0..180"),
        ("scale", 0.95, "0..0.9"),
        ("translation", 1.5, "0..1"),
        ("brightness", 2.5, "0..2"),
        ("contrast", 1.5, "0..1"),
        ("noise", float("inf"), "0..2"),
        ("noise", -0.03, "0..2"),
    ],
)
def test_bounds_are_refused(field: str, value: float, limit: str) -> None:
    with pytest.raises(UserError) as refusal:
        AugmentConfig(**{field: value})
    assert str(refusal.value) == f"augment.{field}={value!r}: wanted a number in {limit}"


def test_limits_themselves_are_taken() -> None:
    AugmentConfig(
        mirror=1.0,
        rotation_deg=180.0,
        scale=0.9,
        translation=1.0,
        brightness=2.0,
        contrast=1.0,
        noise=2.0,
    )


def test_a_clip_is_one_picture_all_the_way(noisy: np.ndarray) -> None:
    config = with_only(mirror=0.5, rotation_deg=8.0, scale=0.1, translation=0.05, brightness=0.3)
    frames = jnp.asarray(np.stack([noisy, noisy[::-1], noisy[:, ::-1] / 2]))
    key = jax.random.key(5)
    found = augment_image(key, frames, config)
    assert found.shape == frames.shape
    for frame, expected in zip(found, frames, strict=True):
        # Alone and with the same key, a frame meets the same warp and light.
        np.testing.assert_allclose(frame, augment_image(key, expected, config), atol=2e-4)
    assert np.abs(found - frames).max() > 0.1


def test_light_changes_a_clip_about_its_own_mean_and_noise_each_frame(noisy: np.ndarray) -> None:
    frames = jnp.asarray(np.stack([noisy - 0.5, noisy + 0.5]))
    found = np.asarray(augment_image(jax.random.key(1), frames, with_only(contrast=0.4)))
    # One gain for both: bright and dark frames stay apart by as much as contrast says.
    gain = np.std(found[0]) / np.std(frames[0])
    assert abs(gain - 1) > 0.01
    np.testing.assert_allclose(found[1] - found[0], gain * (frames[1] - frames[0]), atol=1e-5)
    still = jnp.zeros((2, *noisy.shape))
    found = np.asarray(augment_image(jax.random.key(1), still, with_only(noise=0.07)))
    assert found.std() == pytest.approx(0.07, rel=0.05)
    assert abs(np.corrcoef(found[0].ravel(), found[1].ravel())[0, 1]) < 0.05


def test_clips_in_a_batch_draw_by_themselves(noisy: np.ndarray) -> None:
    clips = jnp.tile(noisy, (3, 2, 1, 1))
    found = np.asarray(augment_batch(jax.random.key(1), clips, AugmentConfig()))
    assert found.shape == clips.shape
    assert np.abs(found[0] - found[1]).max() > 0.1


def test_a_rectangle_is_covered_with_the_mean(noisy: np.ndarray) -> None:
    picture = jnp.asarray(noisy)
    config = with_only(erase=1.0, erase_area=0.25)
    areas, touched = [], np.zeros(picture.shape, bool)
    for number in range(200):
        changed = np.asarray(augment_image(jax.random.key(number), picture, config))
        covered = np.abs(changed - noisy) > 1e-5
        rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
        # A rectangle, whole: the product of its sides is all that is covered.
        assert covered.sum() == len(rows) * len(columns)
        assert np.ptp(rows) == len(rows) - 1
        np.testing.assert_allclose(changed[covered], noisy.mean(), atol=1e-6)
        areas.append(covered.mean())
        touched |= covered
    assert 0.015 < min(areas) < 0.05
    assert 0.2 < max(areas) < 0.27
    assert touched.mean() > 0.9
    assert all(edge.any() for edge in (touched[0], touched[-1], touched[:, 0], touched[:, -1]))


def test_covering_happens_as_often_as_asked_and_changes_no_other_draw(noisy: np.ndarray) -> None:
    pictures = jnp.stack([jnp.asarray(noisy)] * 200)
    changed = augment_batch(jax.random.key(3), pictures, with_only(erase=0.3))
    share = np.mean((np.abs(np.asarray(changed) - noisy) > 1e-5).any(axis=(1, 2)))
    assert share == pytest.approx(0.3, abs=0.1)
    plain = augment_image(jax.random.key(5), pictures[0], AugmentConfig())
    covered = augment_image(jax.random.key(5), pictures[0], AugmentConfig(erase=1.0))
    same = np.asarray(plain) == np.asarray(covered)
    assert 0.75 < same.mean() < 1.0


def test_all_frames_of_a_clip_are_covered_in_the_same_place(noisy: np.ndarray) -> None:
    clip = jnp.stack([jnp.asarray(noisy)] * 3)
    changed = augment_image(jax.random.key(7), clip, with_only(erase=1.0))
    covered = np.abs(np.asarray(changed) - noisy) > 1e-5
    assert covered[0].any()
    np.testing.assert_array_equal(covered[0], covered[1])
    np.testing.assert_array_equal(covered[0], covered[2])


def test_mixup_shares_are_drawn_from_the_beta_distribution() -> None:
    shares = np.asarray(draw_shares(jax.random.key(0), jnp.ones(4000, bool), 0.4))
    assert scipy.stats.kstest(shares, scipy.stats.beta(0.4, 0.4).cdf).pvalue > 0.01
    # One that may not be mixed is left alone, and so is the one that it would go into.
    mixable = jnp.arange(12) != 5
    shares = np.asarray(draw_shares(jax.random.key(0), mixable, 0.4))
    assert (np.flatnonzero(shares == 1.0) == [5, 6]).all()


@pytest.mark.parametrize("shape", [(98, 80), (3, 8, 8)])
def test_a_mixture_is_a_weighted_sum_with_the_example_before(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    batch, shares = rng.normal(size=(4, *shape)), np.array([1.0, 0.0, 0.25, 0.5])
    found = np.asarray(mix(jnp.asarray(batch), jnp.asarray(shares)))
    for at in range(4):
        wanted = shares[at] * batch[at] + (1 - shares[at]) * batch[at - 1]
        np.testing.assert_allclose(found[at], wanted, rtol=1e-5, atol=1e-6)
