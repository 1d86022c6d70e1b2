"""What is saved beside a state, and what it costs a long run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from emojax.checkpoint import Progress, open_checkpoints, restore, save


class Row(dict[str, Any]):
    """A row of a history that may be read and not copied."""

    def __init__(self, *given: Any) -> None:
        if given:
            raise AssertionError("an epoch that is over was copied")
        super().__init__()

    def __deepcopy__(self, _: Any) -> Row:
        raise AssertionError("an epoch that is over was copied")


def test_a_save_copies_no_epoch_and_its_form_on_the_disk_is_the_one_that_is_read(
    tmp_path: Path,
) -> None:
    row = Row()
    row["epoch"], row["loss"] = 1, 0.5
    state = {"step": jnp.int32(3)}
    with open_checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 3, state, Progress([row], [1.5, 0.25]))
        checkpoints.wait_until_finished()
        file = tmp_path / "3" / "progress" / "metadata"
        told = {"history": [{"epoch": 1, "loss": 0.5}], "losses": [1.5, 0.25]}
        assert json.loads(file.read_text()) == told
        found, progress = restore(checkpoints, jax.tree.map(jnp.zeros_like, state))
    assert int(found["step"]) == 3
    assert progress == Progress(**told)
