"""Which way a split's examples take, by measured size."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_sets import noise_clips, noise_pictures

from emojax.data.room import choose_input, free_memory, split_bytes
from emojax.data.shards import DatasetInfo, dataset_info

FACE = 98 * 80


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> DatasetInfo:
    return dataset_info(noise_pictures(tmp_path_factory.mktemp("pictures"), train=20))


def device(free: int | None) -> Any:
    stats = None if free is None else {"bytes_limit": free + 1000, "bytes_in_use": 1000}
    return SimpleNamespace(memory_stats=lambda: stats)


def test_a_split_is_as_large_as_its_faces_and_spectrograms(
    info: DatasetInfo, tmp_path: Path
) -> None:
    assert split_bytes(info, "train") == 20 * FACE
    assert split_bytes(info, "test") == 0
    clips = dataset_info(noise_clips(tmp_path))
    assert split_bytes(clips, "train") == 17 * (6 * FACE + 64 * 96)


@pytest.mark.parametrize(
    ("on_device", "in_memory", "wanted", "why"),
    [
        (None, 51 * FACE, "resident", "0.00 GiB of memory are free"),
        (None, 49 * FACE, "streaming", "do not fit twice into 0.00 GiB of free memory"),
        (None, float("inf"), "resident", "there is room"),
        (34 * FACE, float("inf"), "resident", "there is room"),
        (33 * FACE, float("inf"), "streaming", "do not fit into"),
    ],
)
def test_room_is_asked_of_the_devices_and_of_the_machine(
    info: DatasetInfo, on_device: int | None, in_memory: float, wanted: str, why: str
) -> None:
    devices = [device(None), device(on_device)]
    chosen, reason = choose_input(info, "train", devices, free=in_memory)
    assert chosen == wanted
    assert reason.startswith("0.0")
    assert why in reason
    assert "\n" not in reason
    assert "--input" not in reason


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_free_memory_is_the_machine_s_or_what_the_job_may_take(tmp_path: Path) -> None:
    assert free_memory(tmp_path) == float("inf")
    write(tmp_path / "proc/meminfo", "MemTotal: 900 kB\nMemAvailable:    800 kB\n")
    assert free_memory(tmp_path) == 800 * 1024
    groups = tmp_path / "sys/fs/cgroup"
    write(groups / "memory.max", "max\n")
    assert free_memory(tmp_path) == 800 * 1024
    write(tmp_path / "proc/self/cgroup", "0::/job_1/step_0/task\n")
    write(groups / "job_1/memory.max", "500000\n")
    assert free_memory(tmp_path) == 500_000
    # What files take up is given back, what the job itself holds is not.
    write(groups / "job_1/memory.stat", "anon 100000\nfile 300000\nanon_thp 9\n")
    write(groups / "job_1/step_0/memory.max", "700000\n")
    assert free_memory(tmp_path) == 400_000


def test_this_machine_has_memory() -> None:
    assert free_memory() > 2**20


@pytest.mark.parametrize("junk", ["", "MemAvailable:", "MemAvailable: many kB", "\0\xff"])
def test_files_that_tell_nothing_are_no_limit(tmp_path: Path, junk: str) -> None:
    write(tmp_path / "proc/meminfo", junk)
    write(tmp_path / "proc/self/cgroup", junk)
    write(tmp_path / "sys/fs/cgroup/memory.max", junk)
    assert free_memory(tmp_path) == float("inf")
