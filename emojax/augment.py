"""Random changes to pictures, on the device, inside the compiled step.

Every function takes its key first and works on one picture or on a batch of
float gray values; `augment_batch` is what the training step calls.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from emojax.errors import UserError


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """How far a picture may be changed; 0 switches a change off."""

    mirror: float = 0.5
    """Probability of a left-right mirror, 0..1. The labels are symmetric."""
    rotation_deg: float = 8.0
    """Largest rotation to either side, in degrees."""
    scale: float = 0.1
    """Largest change of size: 0.1 draws 0.9 .. 1.1."""
    translation: float = 0.05
    """Largest shift, as a share of the side. The detector's box moves about this much."""
    brightness: float = 0.15
    """Largest shift of all values, where the whole gray range is 2."""
    contrast: float = 0.2
    """Largest relative change of contrast about the picture's mean: 0.2 draws 0.8 .. 1.2."""
    noise: float = 0.03
    """Standard deviation of Gaussian noise, where the whole gray range is 2."""
    erase: float = 0.0
    """Probability that a rectangle of the picture is covered, 0..1. Source: Zhong et al. 2020."""
    erase_area: float = 0.2
    """Largest share of the picture that the rectangle covers."""
    mixup: float = 0.0
    """Alpha of the Beta(alpha, alpha) that draws how much of an example is its own, the rest being
    another one, label and all; 0: never. Usual: 0.1 to 0.4. Source: Zhang et al. 2018."""

    def __post_init__(self) -> None:
        """Refuse ranges in which a picture would vanish."""
        limits = {
            "mirror": 1.0,
            "rotation_deg": 180.0,
            "scale": 0.9,
            "translation": 1.0,
            "brightness": 2.0,
            "contrast": 1.0,
            "noise": 2.0,
            "erase": 1.0,
            "erase_area": 1.0,
            "mixup": 10.0,
        }
        for name, largest in limits.items():
            value = getattr(self, name)
            if not 0.0 <= value <= largest:
                raise UserError(f"augment.{name}={value!r}: wanted a number in 0..{largest:g}")


def draw_affine(
    key: PRNGKeyArray, config: AugmentConfig, height: int, width: int
) -> Float[Array, "2 3"]:
    """Return a random map from output to input coordinates.

    Coordinates are (row, column) in pixels, measured from the picture's centre,
    so that rotation, scale and mirror leave the centre where it is.
    """
    mirror_key, angle_key, scale_key, shift_key = jax.random.split(key, 4)
    angle = jnp.deg2rad(config.rotation_deg) * jax.random.uniform(angle_key, minval=-1.0)
    zoom = 1.0 + config.scale * jax.random.uniform(scale_key, minval=-1.0)
    sign = jnp.where(jax.random.uniform(mirror_key) < config.mirror, -1.0, 1.0)
    sides = jnp.array([height, width], float)
    shift = config.translation * sides * jax.random.uniform(shift_key, (2,), minval=-1.0)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    linear = jnp.array([[cosine, sine * sign], [-sine, cosine * sign]]) / zoom
    return jnp.concatenate([linear, shift[:, None]], axis=1)


def warp_affine(
    image: Float[Array, "height width"], affine: Float[Array, "2 3"]
) -> Float[Array, "height width"]:
    """Return the picture read at the mapped places: bilinear, the border's value beyond it."""
    height, width = image.shape
    centre = jnp.array([(height - 1) / 2, (width - 1) / 2])
    rows, columns = jnp.meshgrid(
        jnp.arange(height) - centre[0], jnp.arange(width) - centre[1], indexing="ij"
    )
    # In the bfloat16 that TPUs multiply in by default, places would be off by a tenth of a
    # pixel and more.
    places = jnp.einsum(
        "ij,jhw->ihw",
        affine[:, :2],
        jnp.stack([rows, columns]),
        precision=jax.lax.Precision.HIGHEST,
    )
    places = places + (affine[:, 2] + centre)[:, None, None]
    return jax.scipy.ndimage.map_coordinates(image, list(places), order=1, mode="nearest")


def draw_rectangle(
    key: PRNGKeyArray, config: AugmentConfig, height: int, width: int
) -> Bool[Array, "height width"]:
    """Return which pixels a random rectangle covers; none, where the draw says so.

    Its area is drawn from 2% of the picture up to `erase_area`, its height to width
    from 1/3 to 3, its place so that it lies inside. Source: Zhong et al. 2020, algorithm 1.
    """
    whether_key, area_key, ratio_key, place_key = jax.random.split(key, 4)
    least = min(0.02, config.erase_area)
    area = (
        height
        * width
        * jax.random.uniform(area_key, minval=least, maxval=max(least, config.erase_area))
    )
    ratio = jnp.exp(jnp.log(3.0) * jax.random.uniform(ratio_key, minval=-1.0))
    sides = jnp.array([height, width])
    size = jnp.minimum(jnp.sqrt(area * jnp.array([ratio, 1 / ratio])).round(), sides)
    start = jnp.floor(jax.random.uniform(place_key, (2,)) * (sides - size + 1))
    inside = [
        (jnp.arange(side) >= start[axis]) & (jnp.arange(side) < start[axis] + size[axis])
        for axis, side in enumerate((height, width))
    ]
    happens = jax.random.uniform(whether_key) < config.erase
    return happens & inside[0][:, None] & inside[1]


def augment_image(
    key: PRNGKeyArray, image: Float[Array, "*time height width"], config: AugmentConfig
) -> Float[Array, "*time height width"]:
    """Return one picture or clip, warped once, with other light, noise, and a part covered.

    Args:
        key: for this picture or clip alone: all frames of a clip get the same warp,
            light and cover, and noise of their own.
        image: normalised gray values, about -1..1.
        config: how far each change may go.
    """
    warp_key, bright_key, contrast_key, noise_key = jax.random.split(key, 4)
    affine = draw_affine(warp_key, config, *image.shape[-2:])
    if image.ndim == 2:
        image = warp_affine(image, affine)
    else:
        # With the frames last, one lookup fetches a place in all of them: six times faster
        # on a CPU than frame by frame.
        frames = jnp.moveaxis(image, 0, -1)
        image = jnp.moveaxis(jax.vmap(warp_affine, (-1, None), -1)(frames, affine), -1, 0)
    mean = image.mean()
    gain = 1.0 + config.contrast * jax.random.uniform(contrast_key, minval=-1.0)
    lift = config.brightness * jax.random.uniform(bright_key, minval=-1.0)
    image = (image - mean) * gain + mean + lift
    image = image + config.noise * jax.random.normal(noise_key, image.shape)
    if config.erase == 0:
        return image
    # A key of its own: with nothing to cover, the other draws stay what they were.
    covered = draw_rectangle(jax.random.fold_in(key, 4), config, *image.shape[-2:])
    return jnp.where(covered, image.mean(), image)


def augment_batch(
    key: PRNGKeyArray, images: Float[Array, "batch *time height width"], config: AugmentConfig
) -> Float[Array, "batch *time height width"]:
    """Return the batch with each picture or clip changed by its own draw."""
    keys = jax.random.split(key, images.shape[0])
    return jax.vmap(augment_image, in_axes=(0, 0, None))(keys, images, config)


def draw_shares(
    key: PRNGKeyArray, mixable: Bool[Array, " batch"], alpha: float
) -> Float[Array, " batch"]:
    """Return how much of each example is its own when its neighbour is mixed into it, 0..1.

    Args:
        key: of this batch.
        mixable: which may be mixed; an example and its neighbour both have to be.
        alpha: of the Beta distribution; the smaller, the more often a mixture is nearly pure.
    """
    shares = jax.random.beta(key, alpha, alpha, mixable.shape)
    return jnp.where(mixable & neighbours(mixable), shares, 1.0)


def neighbours(batch: Array) -> Array:
    """Return for each example of a batch the one before it, which is as random as any other."""
    return jnp.roll(batch, 1, axis=0)


def mix(batch: Float[Array, "batch *axes"], shares: Float[Array, " batch"]) -> Array:
    """Return the batch with each example's neighbour mixed into it."""
    shares = shares.reshape(-1, *(1,) * (batch.ndim - 1))
    return shares * batch + (1 - shares) * neighbours(batch)
