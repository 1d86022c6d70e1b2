"""Where an artifact is put, and what becomes of the one that was there."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_network import SPEC, TinyNetwork

from emojax.export import export_artifact, replace_folder
from emojax.golden import Recorded
from emojax.stopping import signals_interrupt


@pytest.fixture(scope="module")
def write() -> Any:
    """Writes the artifact of a tiny network to a folder."""
    crops = np.random.default_rng(0).integers(0, 256, (2, 1, SPEC.height, SPEC.width), np.uint8)
    ones = np.ones(2, np.float32)
    some = Recorded(crops, np.zeros((2, 0, 0), np.uint8), ones, 0 * ones)
    model = TinyNetwork()
    one = jnp.zeros((1, SPEC.height, SPEC.width, 1))
    variables = model.init(jax.random.key(0), one, train=False)

    def write(out: Path) -> dict[str, Any]:
        return export_artifact(
            model, variables, "picture", SPEC, some, some, some, out, training={}, metrics={}
        )

    return write


def artifact_in(folder: Path) -> dict[str, Any]:
    assert (folder / "model.tflite").stat().st_size > 0
    return json.loads((folder / "spec.json").read_text())


def test_an_artifact_replaces_the_one_in_the_folder_that_one_stands_in(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "spec.json").write_text("{}")
    monkeypatch.chdir(folder)
    fields = write(Path())
    assert artifact_in(folder) == json.loads(json.dumps(fields))
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


def test_a_link_to_an_artifacts_folder_stays_a_link(write: Any, tmp_path: Path) -> None:
    folder, link = tmp_path / "disk" / "artifact", tmp_path / "artifact"
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text("{}")
    link.symlink_to(folder)
    write(link)
    assert link.is_symlink()
    assert artifact_in(link)["format"] == "emojax-artifact"
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["artifact"]


def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "which").write_text(name)
    return tmp_path / "old", tmp_path / "new"


@pytest.mark.parametrize("place", ["replace", "rmtree"])
def test_ctrl_c_while_folders_change_places_waits_until_they_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    folder, new = folders(tmp_path)
    owner: Any = Path if place == "replace" else shutil
    plain = getattr(owner, place)

    def stopped(*given: Any) -> Any:
        found = plain(*given)
        signal.raise_signal(signal.SIGINT)
        return found

    monkeypatch.setattr(owner, place, stopped)
    with pytest.raises(KeyboardInterrupt), signals_interrupt():
        replace_folder(folder, new)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (folder / "which").read_text() == "new"


def test_what_was_there_stays_where_the_new_folder_cannot_be_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, new = folders(tmp_path)
    plain = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if self == new:
            raise PermissionError(13, "Permission denied", str(new))
        return plain(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PermissionError):
        replace_folder(folder, new)
    assert (folder / "which").read_text() == "old"
