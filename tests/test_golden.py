"""Recorded answers, written and read again, and files that pretend to be that."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emojax.errors import UserError
from emojax.golden import Golden, Recorded, input_ranges, name_inputs, read_golden, write_golden
from emojax.spec import InputSpec, SpectrogramSpec

SPEC = InputSpec()
CLIP = InputSpec(frames=20, sound=SpectrogramSpec())


def make(spec: InputSpec, count: int = 3) -> Golden:
    rng = np.random.default_rng(0)
    sound = (spec.sound.height, spec.sound.width) if spec.sound else (0, 0)
    recorded = Recorded(
        rng.integers(0, 256, (count, spec.frames, spec.height, spec.width)).astype(np.uint8),
        rng.integers(0, 256, (count, *sound)).astype(np.uint8),
        np.ones(count, np.float32),
        np.zeros(count, np.float32),
    )
    answers = rng.uniform(size=(2, count, spec.num_outputs)).astype(np.float32)
    return Golden(recorded, answers[0], answers[1])


@pytest.mark.parametrize("spec", [SPEC, CLIP])
@pytest.mark.parametrize("own", [True, False])
def test_what_is_written_is_read(spec: InputSpec, own: bool, tmp_path: Path) -> None:
    golden = make(spec)._replace(**({} if own else {"int8": None}))
    write_golden(tmp_path / "golden.npz", golden)
    found = read_golden(tmp_path / "golden.npz", spec)
    for name in Recorded._fields:
        np.testing.assert_array_equal(getattr(found.recorded, name), getattr(golden.recorded, name))
    np.testing.assert_array_equal(found.probabilities, golden.probabilities)
    assert (found.int8 is not None) == own


def test_inputs_stay_within_their_ranges() -> None:
    recorded = make(CLIP).recorded
    recorded.crops[0, 0, 0, :2] = 0, 255
    for name, array in name_inputs(recorded, "clip", CLIP).items():
        least, most = input_ranges(CLIP)[name]
        assert least <= array.min()
        assert array.max() <= most
    least, most = input_ranges(CLIP)["frames"]
    # 256 levels, one 128th apart.
    assert (most - least) / 255 == 1 / 128


def _write(path: Path, **arrays: Any) -> None:
    fields = {**make(SPEC).recorded._asdict(), "probabilities": make(SPEC).probabilities, **arrays}
    np.savez(path, **{name: array for name, array in fields.items() if array is not None})


@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        ({"probabilities": None}, "'probabilities': wanted float32"),
        ({"crops": np.uint8(3)}, "'crops': wanted uint8"),
        ({"probabilities": np.zeros((3, 21), np.float32)}, r"float32 \[3, 21\]"),
        ({"probabilities": np.zeros((3, 22))}, r"float64 \[3, 22\]"),
        ({"crops": np.zeros((3, 1, 98, 81), np.uint8)}, "'crops': wanted uint8"),
        ({"crops": np.zeros((0, 1, 98, 80), np.uint8)}, "'crops': wanted uint8"),
        ({"has_frames": np.zeros(4, np.float32)}, "'has_frames'"),
        ({"int8": np.zeros((1, 22), np.float32)}, "'int8'"),
        # What only a pickle can hold is not unpacked.
        ({"crops": np.array([{}], object)}, "can't be read"),
    ],
)
def test_other_arrays_are_refused(arrays: dict[str, Any], found: str, tmp_path: Path) -> None:
    _write(tmp_path / "golden.npz", **arrays)
    with pytest.raises(UserError, match=found) as caught:
        read_golden(tmp_path / "golden.npz", SPEC)
    assert "golden.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cut_or_changed_file_is_refused_or_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    write_golden(path, make(SPEC))
    content = path.read_bytes()
    rng = np.random.default_rng(1)
    read = 0
    for trial in range(200):
        changed = bytearray(content)
        if trial % 2:
            del changed[int(rng.integers(1, len(content))) :]
        else:
            changed[int(rng.integers(0, len(content)))] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        try:
            read_golden(path, SPEC)
        except UserError:
            continue
        # A date or a name that nobody asks for.
        read += 1
    assert read < 40


def test_a_file_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    head = io.BytesIO()
    form = {"descr": "|u1", "fortran_order": False, "shape": (1 << 29,)}
    np.lib.format.write_array_header_1_0(head, form)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("crops.npy", head.getvalue() + bytes(1 << 29))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(UserError, match="unpacks to more than 256 MiB"):
        read_golden(path, SPEC)


def test_a_member_that_is_no_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("crops.npy", b"words")
    with pytest.raises(UserError, match="'crops' is no array"):
        read_golden(path, SPEC)
