from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emojax.errors import UserError
from emojax.weights_file import read_weights, write_weights

TREE = {
    "params": {"conv": {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.ones(3)}},
    "batch_stats": {"norm": {"mean": jnp.zeros(2)}},
}
SHAPES = jax.eval_shape(lambda: TREE)


def test_weights_come_back_as_they_were(tmp_path: Path) -> None:
    write_weights(tmp_path / "w.npz", TREE)
    with np.load(tmp_path / "w.npz") as file:
        assert set(file.files) == {
            "params/conv/kernel",
            "params/conv/bias",
            "batch_stats/norm/mean",
        }
    jax.tree.map(np.testing.assert_array_equal, read_weights(tmp_path / "w.npz", SHAPES), TREE)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"params": {"conv": {"kernel": jnp.ones((2, 4))}}}, r"kernel is float32 \[2, 3\], .*2, 4"),
        ({"params": {"dense": {"kernel": jnp.ones((2, 3))}}}, r"params/dense/kernel is nothing"),
        ({"params": {"conv": {"bias": jnp.ones(3)}}}, r"batch_stats/norm/mean is no part"),
    ],
)
def test_the_weights_of_another_network_are_refused(
    other: dict, message: str, tmp_path: Path
) -> None:
    write_weights(tmp_path / "w.npz", TREE)
    with pytest.raises(UserError, match=message):
        read_weights(tmp_path / "w.npz", jax.eval_shape(lambda: other))


def test_a_file_that_is_cut_off_or_carries_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    write_weights(path, TREE)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"w\.npz: can't be read"):
        read_weights(path, SHAPES)
    # An array of objects is a pickle.
    np.savez(path, **{"params/conv/kernel": np.array([print], object)})
    with pytest.raises(UserError, match=r"w\.npz: can't be read"):
        read_weights(path, SHAPES)
    with pytest.raises(UserError, match=r"no\.npz: no such file"):
        read_weights(tmp_path / "no.npz", SHAPES)
