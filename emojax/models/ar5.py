"""AR5: frames and sound of a clip, each in its own branch. Source: thesis, 5.2.5."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal, get_args

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from emojax.errors import UserError
from emojax.models.convolution import max_pool
from emojax.models.inputs import Clip
from emojax.models.layers import (
    Activation,
    Conv,
    Head,
    Outputs,
    activate,
    check_input_size,
    conv_norm_unit,
    he_normal,
    smallest_side,
)
from emojax.models.normalisation import BatchNorm
from emojax.models.resnet import BasicBlock

SoundBranch = Literal["plain", "residual"]
"""How the sound is looked at: `PlainBranch`, or `ResidualBranch`."""


class Branch(nn.Module):
    """A side of a clip as a feature vector: what the ways of looking at one share."""

    widths: Sequence[int]
    """Channels of each stage."""
    num_features: int
    """Length of the feature vector."""
    activation: Activation
    """After normalisations, and after the feature vector's layer."""
    norm_momentum: float
    """Share of the running statistics that a step keeps."""
    dtype: jnp.dtype
    """Compute type."""

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch height width channels"],
        given: Float[Array, " batch"],
        *,
        train: bool,
    ) -> Float[Array, "batch features"]:
        """Return features; zeros, whatever x holds, where it is not given."""
        here = given > 0
        x = jnp.where(here[:, None, None, None], x, 0).astype(self.dtype)
        # What is masked must not reach the others through the statistics either.
        x = self.look(x, here, train)
        x = nn.Dense(
            self.num_features, dtype=self.dtype, kernel_init=he_normal, name="fully_connected"
        )(x)
        x = activate(x, self.activation, "fully_connected_prelu")
        return jnp.where(here[:, None], x, 0)

    def look(
        self,
        x: Float[Array, "batch height width channels"],
        counts: Bool[Array, " batch"],
        train: bool,
    ) -> Float[Array, "batch seen"]:
        """Return what is seen, before the feature vector's layer.

        Args:
            x: zeros where it is not given.
            counts: examples that count in the batch's statistics.
            train: statistics come from the batch.
        """
        raise NotImplementedError


class PlainBranch(Branch):
    """Stages of 3 x 3 convolutions, each ended by 2 x 2 max pooling."""

    depth: int = 1
    """Convolutions in a stage."""
    first_stride: int = 1
    """Of the first convolution, which is 5 x 5 where it has a stride."""

    def look(self, x: Any, counts: Any, train: bool) -> Any:
        """Return the last stage's pixels, side by side."""
        unit = conv_norm_unit(
            train=train,
            activation=self.activation,
            kernel_init=he_normal,
            momentum=self.norm_momentum,
            epsilon=1e-5,
            dtype=self.dtype,
            mask=counts,
        )
        for stage, width in enumerate(self.widths, start=1):
            for number in range(1, self.depth + 1):
                strided = stage == number == 1 and self.first_stride > 1
                kernel, stride = ((5, 5), self.first_stride) if strided else ((3, 3), 1)
                x = unit(width, kernel, stride, name=f"stage{stage}_conv{number}")(x)
            x = max_pool(x, (2, 2), (2, 2))
        return x.reshape(x.shape[0], -1)


class ResidualBranch(Branch):
    """A stem of a quarter of the sides, residual blocks, and each channel's mean and maximum.

    The widths are the stem's and each block's; all blocks but the first halve the sides. When in a
    sentence something is heard does not count, so that less can be learned by heart.
    """

    def look(self, x: Any, counts: Any, train: bool) -> Any:
        """Return each channel's mean, then each one's maximum."""
        conv = functools.partial(Conv, use_bias=False, dtype=self.dtype, kernel_init=he_normal)
        norm = functools.partial(
            BatchNorm,
            use_running_average=not train,
            momentum=self.norm_momentum,
            epsilon=1e-5,
            dtype=self.dtype,
            mask=counts,
        )
        x = conv(self.widths[0], (5, 5), (2, 2), padding=2, name="stem_conv")(x)
        x = activate(norm(name="stem_norm")(x), self.activation, "stem_prelu")
        x = max_pool(x, (2, 2), (2, 2))
        for number, width in enumerate(self.widths[1:], start=1):
            x = BasicBlock(
                width,
                stride=1 if number == 1 else 2,
                activation=self.activation,
                conv=conv,
                norm=norm,
                name=f"block{number}",
            )(x)
        return jnp.concatenate([x.mean(axis=(1, 2)), x.max(axis=(1, 2))], axis=-1)


def _check_sides(
    name: str,
    x: Float[Array, "batch height width channels"],
    windows: Sequence[tuple[int, int]],
) -> None:
    """Refuse what is too small: a pooling rounds down, a stride is padded and rounds up."""
    side = smallest_side(windows)
    check_input_size(name, x, (side, side))


class AR5(nn.Module):
    """Two branches, their features side by side, a fully connected layer, the head.

    The video branch sees a clip's frames as the channels of one picture and is
    the denser of the two. The lengths of the two feature vectors are the weight
    of each side. A side that a clip lacks, or that is masked, becomes zeros, so
    that one set of weights serves video, sound, and both.
    """

    num_outputs: int
    """Number of logits."""
    video_features: int = 256
    """Length of the video branch's feature vector; 0: a network without that branch."""
    sound_features: int = 64
    """Length of the sound branch's feature vector; 0: a network without that branch."""
    # The thesis leaves the branches open. Multiples of 8 for tensor cores; with 20 frames as
    # channels the first layer of the video branch is the one that has most to tell apart.
    video_widths: Sequence[int] = (32, 64, 96, 128)
    """Channels of the video branch's stages, two convolutions each."""
    sound_branch: SoundBranch = "plain"
    """How the sound is looked at."""
    sound_widths: Sequence[int] = ()
    """Channels of the sound branch's stages; none given: 16 32 64 64, one convolution each, and
    of a residual branch's stem and blocks 16 32 64 128."""
    hidden: int = 128
    """Width of the fully connected layer behind both."""
    auxiliary: bool = True
    """Each branch also answers by itself, through a linear layer of its own."""
    activation: Activation = "relu"
    """After every normalisation and every fully connected layer."""
    norm_momentum: float = 0.9
    """Share of the running statistics that a step keeps."""
    dropout: float = 0.3
    """Share of the last fully connected layer that training leaves out."""
    dtype: jnp.dtype = jnp.dtype("float32")
    """Compute type; parameters and normalisation statistics stay float32."""

    @nn.compact
    def __call__(self, clip: Clip, *, train: bool) -> Outputs:
        """Return logits, both branches' features, and each branch's own logits.

        Raises:
            UserError: neither branch has features, or frames or spectrograms are too small.
        """
        if self.sound_branch not in get_args(SoundBranch):
            raise UserError(
                f"sound_branch={self.sound_branch!r}: use {', '.join(get_args(SoundBranch))}"
            )
        if self.video_features == self.sound_features == 0:
            raise UserError("ar5 without video_features and sound_features: leave one branch")
        shared: dict[str, Any] = {
            "activation": self.activation,
            "norm_momentum": self.norm_momentum,
            "dtype": self.dtype,
        }
        features = []
        if self.video_features:
            images = jnp.moveaxis(clip.frames, 1, -1)
            _check_sides("ar5", images, [(1, 2), *[(2, 2)] * len(self.video_widths)])
            video = PlainBranch(
                self.video_widths,
                self.video_features,
                **shared,
                depth=2,
                first_stride=2,
                name="video",
            )
            features.append(video(images, clip.has_frames, train=train))
        if self.sound_features:
            residual = self.sound_branch == "residual"
            widths = self.sound_widths or ((16, 32, 64, 128) if residual else (16, 32, 64, 64))
            # Of a residual branch only the stem's pooling rounds down, whatever the blocks halve.
            windows = [(1, 2), (2, 2)] if residual else [(2, 2)] * len(widths)
            _check_sides("ar5's sound branch", clip.spectrograms, windows)
            branch = ResidualBranch if residual else PlainBranch
            sound = branch(widths, self.sound_features, **shared, name="sound")
            features.append(sound(clip.spectrograms, clip.has_sound, train=train))
        x = jnp.concatenate(features, axis=-1)
        joined = x.astype(jnp.float32)
        x = nn.Dense(self.hidden, dtype=self.dtype, kernel_init=he_normal, name="fully_connected")(
            x
        )
        x = activate(x, self.activation, "fully_connected_prelu")
        answer = Head(self.num_outputs, self.dropout, self.dtype, name="head")(x, train=train)
        own: tuple[Any, ...] = ()
        if self.auxiliary:
            names = [
                name
                for name, length in (("video", self.video_features), ("sound", self.sound_features))
                if length
            ]
            own = tuple(
                nn.Dense(self.num_outputs, dtype=self.dtype, name=f"{name}_logits")(part).astype(
                    jnp.float32
                )
                for name, part in zip(names, features, strict=True)
            )
        return answer._replace(features=joined, auxiliary=own)
