"""Sources with many damaged files: a build lists them, and ends, and leaves the rest alone."""

from __future__ import annotations

import dataclasses
import functools
import os
import random
import shutil
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from build_service import BuildService
from corruption import damage, kinds_for
from failing_reader import read_or_fail
from fuzzing import FIRST, Bench, build_watched, check_sentences, fuzz, fuzz_lines, print_fates
from hostile_media import png_bytes, wav_bytes
from small_sources import LAYOUTS, read_manifest_rows, write_manifest_rows
from trap import Listener, make_trap

from emojax.data import build as build_module
from emojax.data.build import BuildOptions, build_dataset

Pristine = Callable[[str, int], Path]

# By source: its groups of files, how many of them are damaged in a round before a release, rounds.
ROUNDS: Mapping[str, tuple[int, int, int]] = {
    "manifest": (92, 56, 9),
    "fer2013": (100, 60, 5),
    "ck_plus": (44, 32, 8),
    "mmi": (36, 25, 8),
    "disfa": (16, 10, 5),
    "crema_d": (40, 29, 7),
    "ravdess": (63, 40, 5),
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    shared = Bench(BuildService(tmp_path_factory.mktemp("service")), Listener())
    yield shared
    shared.service.end()
    shared.listener.close()


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Pristine:
    """Return a folder with a whole source of so many groups, drawn once."""

    @functools.cache
    def give(name: str, groups: int) -> Path:
        folder = tmp_path_factory.mktemp("pristine")
        LAYOUTS[name].write(folder, groups)
        return folder

    return give


@pytest.mark.parametrize("name", ROUNDS)
@pytest.mark.slow
def test_damaged_files_are_listed_and_the_others_kept(
    bench: Bench, pristine: Pristine, tmp_path: Path, name: str
) -> None:
    source = pristine(name, 24)
    fuzz(bench, LAYOUTS[name], source, tmp_path / "one", 17, f"1 {name}", first=FIRST)


def test_damaged_lines_are_listed_and_the_others_kept(
    bench: Bench, pristine: Pristine, tmp_path: Path
) -> None:
    fuzz_lines(bench, pristine("fer2013.csv", 28), tmp_path / "one", 20, "1")


@pytest.mark.release
@pytest.mark.parametrize("name", ROUNDS)
def test_two_thousand_damaged_files(
    bench: Bench,
    pristine: Pristine,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    groups, count, rounds = ROUNDS[name]
    layout, before, builds = LAYOUTS[name], bench.fates.copy(), []
    for number in range(rounds):
        # MMI gives whole clips too.
        options = dataclasses.replace(layout.options, clips=name == "mmi" and number % 4 == 3)
        folder, seed = tmp_path / str(number), f"2000 {name} {number}"
        source = pristine(name, groups)
        builds.append(fuzz(bench, layout, source, folder, count, seed, options))
    with capsys.disabled():
        print_fates(name, bench.fates - before, builds)


@pytest.mark.release
def test_two_thousand_damaged_files_and_lines(
    bench: Bench, pristine: Pristine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, source = bench.fates.copy(), pristine("fer2013.csv", 100)
    builds = [
        fuzz_lines(bench, source, tmp_path / str(number), 60, f"2000 {number}")
        for number in range(5)
    ]
    with capsys.disabled():
        print_fates("fer2013.csv", bench.fates - before, builds)


# Names of files that a manifest may give and nobody should open, nor call.
_HOSTILE_NAMES = (
    "../outside/good.txt",
    "/etc/passwd",
    "/dev/zero",
    "/proc/self/environ",
    "{url}a.mp4",
    "file:///etc/passwd",
    "rtsp://127.0.0.1:{port}/a.mp4",
    "tcp://127.0.0.1:{port}",
    "concat:/etc/passwd|a.mp4",
    "subfile,,start,0,end,9,,:/etc/passwd",
    "data:video/mp4;base64,AAAA",
    "pipe:0",
    "async:cache:{url}b.mkv",
    "$(touch {canary}).png",
    "`touch {canary}`.wav",
    "|touch {canary}",
    "~/a.png",
    "C:\\Windows\\win.ini",
    "\\\\127.0.0.1\\share\\a.png",
    "-",
    ".",
    "..",
    "a\nb.png",
    "\x1b[2J.png",
    "\u202egnp.exe",
    f"{'a' * 5000}.png",
    f"{'a/' * 3000}a.png",
    "%n%s.npy",
    "{{0.__class__}}.npy",
    "\ufeff.png",
    "\x01",
)


def test_hostile_names_in_a_manifest_are_listed_and_never_called(
    bench: Bench, pristine: Pristine, tmp_path: Path
) -> None:
    folder = tmp_path / "one"
    shutil.copytree(pristine("manifest", 23), folder / "source")
    trap = make_trap(folder, bench.listener)
    port = trap.url.rsplit(":", 1)[1].strip("/")
    names = [name.format(url=trap.url, port=port, canary=trap.canary) for name in _HOSTILE_NAMES]
    good = read_manifest_rows(folder / "source")
    rows = [[name, "P0", "", "", "", ""] for name in names]
    # Each as sound and as spectrogram, beside a picture that is there.
    for number, name in enumerate(names):
        shutil.copyfile(folder / "source" / "p0.png", folder / "source" / f"w{number}.png")
        rows.append([f"w{number}.png", "P1", "", "", *((name, "") if number % 2 else ("", name))])
    write_manifest_rows(folder / "source", [*good[10:], *rows])
    built = build_watched(bench, LAYOUTS["manifest"], folder)
    assert built.error == "", built.error
    check_sentences(built)
    left_out = {left["path"] for left in built.report["left_out_files"]}
    assert len(left_out) == len(names)
    unheard = {each["path"] for each in built.report["unheard"]}
    assert unheard == {f"w{number}.png" for number in range(len(names))}


@pytest.mark.parametrize("name", ["manifest", "fer2013.csv"])
@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.release)])
def test_a_damaged_list_of_all_files_is_read_or_refused_in_one_line(
    bench: Bench, pristine: Pristine, tmp_path: Path, name: str, every: bool
) -> None:
    layout, file = LAYOUTS[name], "manifest.csv" if name == "manifest" else name
    kinds: tuple[str, ...] = ("fifo", "link_to_zero", "truncated", "wide_table", "utf16")
    if every:
        kinds = kinds_for(Path(file))
    rng = random.Random(name)
    refused = 0
    for kind in kinds:
        folder = tmp_path / kind
        shutil.copytree(pristine(name, 9), folder / "source")
        trap = make_trap(folder, bench.listener)
        damage(folder / "source", folder / "source" / file, kind, rng, trap)
        # A link that its user names as the source is followed; one that lies in it is not.
        named = kind != "link_to_passwd" and rng.random() < 0.5
        built = build_watched(bench, layout, folder, source=file if named else "", workers=0)
        if built.error:
            refused += 1
            assert "\n" not in built.error
            assert str(folder / "source") in built.error
        else:
            assert kind not in ("fifo", "link_to_zero", "folder", "emptied", "zeroed", "utf16")
    assert refused >= 3


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ROUNDS if name != "manifest"])
@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.release)])
def test_a_damaged_folder_is_read_or_refused_in_one_line(
    bench: Bench, pristine: Pristine, tmp_path: Path, name: str, every: bool
) -> None:
    source = pristine(name, 18)
    rng = random.Random(name)
    parts = sorted(path.name for path in source.iterdir() if path.is_dir())[:3]
    targets = {"link_to_root": "/", "link_to_itself": None, "link_outside": "../outside"}
    kinds = ("file", "fifo", "empty", "not_utf8", "deep", *targets)
    for place, part in enumerate(parts):
        # Every folder in every way, or by turns.
        for kind in kinds if every else kinds[place :: len(parts)]:
            folder = tmp_path / f"{part}_{kind}"
            shutil.copytree(source, folder / "source")
            make_trap(folder, bench.listener)
            whole = folder / "source" / part
            if kind == "not_utf8":
                os.rename(os.fsencode(whole), os.fsencode(whole) + b"\xff")
            elif kind == "deep":
                inner = whole / "a"
                for _ in range(200):
                    inner = inner / "a"
                inner.mkdir(parents=True)
            else:
                shutil.move(whole, folder / "outside" / part)
                if kind == "file":
                    whole.write_bytes(rng.randbytes(100))
                elif kind == "fifo":
                    os.mkfifo(whole)
                elif kind == "empty":
                    whole.mkdir()
                elif kind == "link_outside":
                    whole.symlink_to(f"../outside/{part}")
                else:
                    whole.symlink_to(targets[kind] or part)
            built = build_watched(bench, LAYOUTS[name], folder, workers=0)
            if built.error:
                assert "\n" not in built.error
            else:
                check_sentences(built)


@pytest.mark.slow
def test_absurd_sizes_do_not_eat_the_memory(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    source = folder / "source"
    source.mkdir(parents=True)
    make_trap(folder, bench.listener)
    contents = {
        # Nearly as many pixels as are let through, all black: half a megabyte.
        "black.png": png_bytes(11_000, 11_000),
        "lines.png": png_bytes(2**27, 1),
        # Four hours of sound at 16 kHz, if it were resampled: 64 KB.
        "slow.wav": wav_bytes(bytes(64_000), rate=1),
        "long.wav": wav_bytes(bytes(64_000), rate=2),
        "years.wav": wav_bytes(bytes(64_000), rate=2**31 - 1),
        "late.flv": b"FLV\x01\x05\0\0\0\x09\0\0\0\0" + _late_tag(),
    }
    for name, content in contents.items():
        (source / name).write_bytes(content)
    # A gigabyte of nothing, on no disk.
    (source / "hole.png").write_bytes(png_bytes(4, 4))
    os.truncate(source / "hole.png", 2**30 + 1)
    for name in "abc":
        (source / f"{name}.png").write_bytes(png_bytes(48, 48))
    pictures = [name for name in (*contents, "hole.png") if not name.endswith(".wav")]
    rows = [[name, "P0", "", "", "", ""] for name in (*pictures, "a.png", "b.png", "c.png")]
    for number, row in enumerate(rows):
        row[1] = f"P{number % 3}"
    sounds = [name for name in contents if name.endswith(".wav")]
    rows += [["", "P0", "", "", name, ""] for name in sounds]
    write_manifest_rows(source, rows)
    built = build_watched(bench, LAYOUTS["manifest"], folder)
    assert built.error == "", built.error
    left_out = {left["path"]: left["reason"] for left in built.report["left_out_files"]}
    assert left_out["slow.wav"] == left_out["years.wav"] == "no sound"
    assert left_out["hole.png"] == "unreadable file"
    assert "a.png" not in left_out


def _late_tag() -> bytes:
    """Return an FLV tag of sound that starts after some twenty days."""
    data = b"\x2f" + bytes(400)
    head = struct.pack(">B", 8) + struct.pack(">I", len(data))[1:] + b"\xff\xff\xff\x7f\0\0\0"
    return head + data + struct.pack(">I", len(data) + 11)


# Decoders that take their process down, or never come back.


@pytest.mark.parametrize(
    "patience_s", [900.0, pytest.param(20.0, marks=pytest.mark.release, id="and hang")]
)
def test_readers_that_crash_or_hang_cost_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience_s: float
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    names = ["a.png", "crash.png", "b.png", "abort.png", "c.png", "raise.png", "d.png"]
    told = {
        "crash.png": "its reader crashed (status -11)",
        "abort.png": "its reader crashed (status -6)",
        "raise.png": "its reader crashed (status 1)",
    }
    if patience_s < 60:
        names.insert(2, "hang.png")
        told["hang.png"] = "its reader did not come back for 20 s"
    for name in names:
        (source / name).write_bytes(png_bytes(48, 48))
    write_manifest_rows(source, [[name, f"P{n}", "", "", "", ""] for n, name in enumerate(names)])
    monkeypatch.setattr(build_module, "read_into_cell", read_or_fail)
    options = BuildOptions(faces="ready", workers=1, patience_s=patience_s)
    out = build_dataset("manifest", source=source, out=tmp_path / "out", options=options)
    report = build_module.read_json(out / "report.json")
    assert report["examples_kept"] == 4
    left_out = {left["path"]: left for left in report["left_out_files"]}
    assert {left["reason"] for left in left_out.values()} == {"broken reader"}
    assert {name: left["detail"] for name, left in left_out.items()} == {
        name: f"{source / name}: {what}" for name, what in told.items()
    }
