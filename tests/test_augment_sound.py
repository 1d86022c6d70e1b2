from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from emojax.augment_sound import (
    SoundAugmentConfig,
    augment_sounds,
    augment_spectrogram,
    draw_cover,
    shift_frequency,
    shift_time,
    stretch_time,
)
from emojax.errors import UserError

BANDS, LENGTH = 64, 96
NOTHING = SoundAugmentConfig(
    time_masks=0, frequency_masks=0, time_mask=0.0, frequency_mask=0.0, shift=0.0, noise=0.0
)


@pytest.fixture(scope="module")
def sound() -> jax.Array:
    return jax.random.uniform(jax.random.key(0), (BANDS, LENGTH), minval=0.1, maxval=0.9)


def test_nothing_asked_is_nothing_changed(sound: jax.Array) -> None:
    same = augment_spectrogram(jax.random.key(0), sound, NOTHING)
    np.testing.assert_array_equal(same, sound)


@pytest.mark.parametrize("steps", [0.0, 7.0, -12.0, 95.0, -200.0])
def test_a_shift_is_scipys_with_silence(sound: jax.Array, steps: float) -> None:
    wanted = scipy.ndimage.shift(np.asarray(sound), (0, steps), order=0, mode="constant", cval=0.0)
    np.testing.assert_array_equal(shift_time(sound, jnp.float32(steps)), wanted)


@pytest.mark.parametrize("speed", [1.0, 0.5, 0.93, 1.3])
def test_a_stretch_is_numpys_interpolation_with_silence_behind(
    sound: jax.Array, speed: float
) -> None:
    found = np.asarray(stretch_time(sound, jnp.float32(speed)))
    columns = np.arange(LENGTH + 1)
    for row, band in zip(found, np.asarray(sound), strict=True):
        wanted = np.interp(np.arange(LENGTH) * speed, columns, [*band, 0.0], right=0.0)
        np.testing.assert_allclose(row, wanted, atol=1e-5)


@pytest.mark.parametrize("bands", [0.0, 3.0, -5.0, 90.0])
def test_a_shift_in_frequency_is_scipys_with_the_edge_repeated(
    sound: jax.Array, bands: float
) -> None:
    wanted = scipy.ndimage.shift(np.asarray(sound), (bands, 0), order=0, mode="nearest")
    np.testing.assert_array_equal(shift_frequency(sound, jnp.float32(bands)), wanted)


def test_each_change_has_its_own_draw(sound: jax.Array) -> None:
    keys = jax.random.split(jax.random.key(3), 400)

    def changed(**change: float) -> np.ndarray:
        config = dataclasses.replace(NOTHING, **change)
        return np.asarray(jax.vmap(lambda key: augment_spectrogram(key, sound, config))(keys))

    same = np.asarray(sound)
    levels = changed(level=0.1)[:, 10, 10] / same[10, 10]
    assert 0.9 <= levels.min() < 0.91 < 1.09 < levels.max() <= 1.1
    # Up to three rows of 64 either way, each as one.
    pitched = changed(pitch=0.05)
    shifts = [next(n for n in range(-3, 4) if (one[30] == same[30 - n]).all()) for one in pitched]
    assert set(shifts) == set(range(-3, 4))
    assert (changed(stretch=0.1) != same).any(axis=(1, 2)).mean() > 0.99


def test_masks_are_runs_of_every_length_anywhere() -> None:
    keys = jax.random.split(jax.random.key(1), 3000)
    covers = np.asarray(jax.vmap(lambda key: draw_cover(key, 50, 1, 0.2))(keys))
    lengths = covers.sum(axis=1)
    assert set(lengths.tolist()) == set(range(11))
    for cover in covers[:300]:
        # One run: it begins once at most.
        assert np.count_nonzero(np.diff(np.concatenate([[0], cover.astype(int)])) == 1) <= 1
    # Both ends are reached, and no place is left out.
    assert covers.any(axis=0).all()
    # Ten lengths from 0 on, equally likely: five places of fifty on average.
    assert covers.mean() == pytest.approx(0.1, abs=0.005)


def test_covered_places_hold_the_mean_and_others_stay(sound: jax.Array) -> None:
    config = dataclasses.replace(NOTHING, time_masks=2, time_mask=0.3)
    changed = np.asarray(augment_spectrogram(jax.random.key(2), sound, config))
    differs = (changed != sound).any(axis=0)
    assert 0 < differs.sum() <= 2 * 0.3 * LENGTH
    np.testing.assert_allclose(changed[:, differs], sound.mean(), rtol=1e-6)
    config = dataclasses.replace(NOTHING, frequency_masks=3, frequency_mask=0.2)
    changed = np.asarray(augment_spectrogram(jax.random.key(3), sound, config))
    bands = (changed != sound).any(axis=1)
    assert 0 < bands.sum() <= 3 * 0.2 * BANDS
    np.testing.assert_allclose(changed[bands], sound.mean(), rtol=1e-6)


def test_noise_has_its_deviation_and_values_stay_in_range(sound: jax.Array) -> None:
    config = dataclasses.replace(NOTHING, noise=0.02)
    changed = np.asarray(augment_spectrogram(jax.random.key(4), sound, config))
    assert np.std(changed - sound) == pytest.approx(0.02, rel=0.05)
    loud = augment_spectrogram(
        jax.random.key(5), jnp.ones_like(sound), dataclasses.replace(NOTHING, noise=0.5)
    )
    assert 0.0 <= float(loud.min()) <= float(loud.max()) == 1.0


def test_each_sound_has_its_own_draw_and_jit_changes_nothing(sound: jax.Array) -> None:
    batch = jnp.stack([sound] * 4)
    config = SoundAugmentConfig()
    changed = np.asarray(augment_sounds(jax.random.key(6), batch, config))
    assert len({row.tobytes() for row in changed}) == 4
    compiled = jax.jit(augment_sounds, static_argnums=2)(jax.random.key(6), batch, config)
    np.testing.assert_allclose(compiled, changed, atol=1e-6)
    one = augment_spectrogram(jax.random.split(jax.random.key(6), 4)[2], sound, config)
    np.testing.assert_allclose(one, changed[2], atol=1e-6)


@pytest.mark.parametrize(
    "change", [{"time_masks": -1}, {"frequency_mask": 1.5}, {"noise": float("nan")}]
)
def test_what_would_wipe_a_sound_out_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(UserError, match=f"augment_sound.{next(iter(change))}"):
        SoundAugmentConfig(**change)  # pyright: ignore[reportArgumentType]
