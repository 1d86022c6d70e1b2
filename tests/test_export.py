"""Where an artifact is put, what becomes of the one that was there, and what it is made for."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from tiny_network import SPEC, TinyNetwork

from emojax import export
from emojax.data.quiet import load_tensorflow
from emojax.errors import UserError
from emojax.export import (
    FORMAT,
    check_replaceable,
    export_artifact,
    flax_answers,
    replace_folder,
    write_saved_model,
)
from emojax.golden import Recorded, name_inputs
from emojax.stopping import signals_interrupt


@pytest.fixture(scope="module")
def network() -> Any:
    """A tiny network, its variables, and two examples for it."""
    crops = np.random.default_rng(0).integers(0, 256, (2, 1, SPEC.height, SPEC.width), np.uint8)
    ones = np.ones(2, np.float32)
    some = Recorded(crops, np.zeros((2, 0, 0), np.uint8), ones, 0 * ones)
    model = TinyNetwork()
    one = jnp.zeros((1, SPEC.height, SPEC.width, 1))
    return model, model.init(jax.random.key(0), one, train=False), some


@pytest.fixture(scope="module")
def write(network: Any) -> Any:
    """Writes the artifact of a tiny network to a folder."""
    model, variables, some = network

    def write(out: Path, **settings: Any) -> dict[str, Any]:
        return export_artifact(
            *(model, variables, "picture", SPEC, some, some, some, out),
            training={},
            metrics={},
            **settings,
        )

    return write


OWN = json.dumps({"format": FORMAT})


def artifact_in(folder: Path) -> dict[str, Any]:
    assert (folder / "model.tflite").stat().st_size > 0
    return json.loads((folder / "spec.json").read_text())


def test_an_artifact_replaces_the_one_in_the_folder_that_one_stands_in(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "spec.json").write_text(OWN)
    monkeypatch.chdir(folder)
    fields = write(Path())
    assert artifact_in(folder) == json.loads(json.dumps(fields))
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


def test_a_link_to_an_artifacts_folder_stays_a_link(write: Any, tmp_path: Path) -> None:
    folder, link = tmp_path / "disk" / "artifact", tmp_path / "artifact"
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(OWN)
    link.symlink_to(folder)
    write(link)
    assert link.is_symlink()
    assert artifact_in(link)["format"] == "emojax-artifact"
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["artifact"]


def put(folder: Path, *names: str, spec: str = OWN) -> dict[str, bytes]:
    """Write files with a word in each, and a spec.json; return what lies there."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"my {name}")
    (folder / "spec.json").write_text(spec)
    return files_in(folder)


def files_in(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


FOREIGN = [
    # Shards, or another program's folder, have a spec.json too.
    (("weights/checkpoint", "thesis.tex"), '{"height": 98}', "format in its spec.json is None"),
    (("model.tflite",), "{ broken", "format in its spec.json is None"),
    (("model.tflite", "CARD.md"), OWN, "holds CARD.md"),
    (("model_int8.tflite", "notes/a.txt", "zoo.txt"), OWN, "holds notes,"),
    (("saved_model/saved_model.pb", "saved_model/mine.txt"), OWN, "holds saved_model/mine.txt"),
]


@pytest.mark.parametrize(("names", "spec", "said"), FOREIGN)
def test_what_no_export_has_written_is_never_deleted(
    write: Any, tmp_path: Path, names: tuple[str, ...], spec: str, said: str
) -> None:
    kept = put(tmp_path / "out", *names, spec=spec)
    with pytest.raises(UserError, match="choose another --out") as refusal:
        write(tmp_path / "out", say=lambda _: pytest.fail("work was done before"))
    assert said in str(refusal.value)
    assert files_in(tmp_path / "out") == kept
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_exports_own_artifact_is_replaced_unless_somebody_put_more_there_meanwhile(
    write: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write(out)
    # Of whoever looked into it.
    (out / ".DS_Store").write_text("")
    (out / ".nfs0000000000a1").write_text("")
    check_replaceable(out)
    written = (out / "saved_model" / "fingerprint.pb").stat().st_mtime_ns
    write(out)
    assert (out / "saved_model" / "fingerprint.pb").stat().st_mtime_ns > written
    before = files_in(out)

    def add(what: str) -> None:
        (out / "CARD.md").write_text(f"while {what} was made")

    with pytest.raises(UserError, match=r"holds CARD\.md"):
        write(out, say=add)
    assert files_in(out) == before | {"CARD.md": b"while int8 was made"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("name", "code"), [("ResourceExhaustedError", errno.ENOSPC), ("OutOfRangeError", errno.EFBIG)]
)
def test_a_disk_that_tensorflow_finds_full_is_told_as_any_other(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    tf: Any = load_tensorflow()
    kept = put(tmp_path / "out", "model.tflite")

    def fill(_: object, folder: str, **__: object) -> None:
        Path(folder).mkdir()
        path = Path(folder, "saved_model.pb.tmp5f4c")
        path.write_bytes(b"half")
        # As TensorFlow 2.21 says it.
        raise getattr(tf.errors, name)(None, None, f"{path}; {os.strerror(code)}")

    monkeypatch.setattr(tf.saved_model, "save", fill)
    with pytest.raises(OSError, match=os.strerror(code)) as full:
        write(tmp_path / "out")
    assert (full.value.errno, full.value.filename) == (code, str(tmp_path / "out"))
    assert files_in(tmp_path / "out") == kept
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def every_equation(graph: Any) -> Iterator[Any]:
    """Operations of a graph and of the graphs inside it."""
    for equation in graph.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from every_equation(inner)


def test_flax_answers_in_full_precision(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # No CPU shows it: an H100 multiplies float32 with ten bits unless told not to.
    model, variables, some = network
    answer_of, graphs = export._answer, []

    def watched(*given: Any) -> Any:
        answer = answer_of(*given)

        def answered(**named: Any) -> Any:
            graphs.append(jax.make_jaxpr(answer)(**named))
            return answer(**named)

        return answered

    named = name_inputs(some, "picture", SPEC)
    plain = jax.jit(answer_of(model, variables, "picture", SPEC))(**named)
    monkeypatch.setattr(export, "_answer", watched)
    found = flax_answers(model, variables, "picture", SPEC, named)
    np.testing.assert_array_equal(found, plain)
    precisions = {
        (equation.primitive.name, equation.params["precision"])
        for graph in graphs
        for equation in every_equation(graph.jaxpr)
        if "precision" in equation.params
    }
    both = (jax.lax.Precision.HIGHEST,) * 2
    assert precisions == {("conv_general_dilated", both), ("dot_general", both)}


def test_a_saved_model_is_for_a_processor_wherever_it_is_made(
    network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_tensorflow()
    from jax.experimental import jax2tf

    model, variables, some = network
    convert, platforms = jax2tf.convert, []

    def watched(function: Any, **settings: Any) -> Any:
        platforms.append(settings.get("native_serialization_platforms"))
        return convert(function, **settings)

    monkeypatch.setattr(jax2tf, "convert", watched)
    named = name_inputs(some, "picture", SPEC)
    write_saved_model(model, variables, "picture", SPEC, named, tmp_path / "saved_model")
    assert platforms == [("cpu",)]


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
