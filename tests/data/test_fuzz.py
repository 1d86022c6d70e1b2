"""Sources with many damaged files: a build lists them, and ends, and leaves the rest alone."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import random
import re
import shutil
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from build_service import BuildService, Built
from corruption import LINE_KINDS, SECRET, Damage, Trap, damage, damage_line, kinds_for
from small_sources import LAYOUTS, Layout, read_manifest_rows, write_manifest_rows

from emojax.data.build import BuildOptions

PATIENCE_S = 20.0
PEAK_MB = 1500

Fates = collections.Counter[tuple[str, str, str]]
"""How many inputs of a layout, damaged in a way, met an end."""


class Listener:
    """A port on the loopback that notes who calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/"
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                caller, address = self._socket.accept()
            except OSError:
                return
            self.calls.append(str(address))
            caller.close()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    opened = Listener()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuildService]:
    started = BuildService(tmp_path_factory.mktemp("service"))
    yield started
    started.end()


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    """Return a folder with a whole source of so many groups, drawn once."""
    drawn: dict[tuple[str, int], Path] = {}

    def give(name: str, groups: int) -> Path:
        if (name, groups) not in drawn:
            drawn[name, groups] = tmp_path_factory.mktemp("pristine")
            LAYOUTS[name].write(drawn[name, groups], groups)
        return drawn[name, groups]

    return give


@pytest.fixture(scope="module")
def fates() -> Fates:
    """What became of all inputs of this module, for the summary."""
    return collections.Counter()


def make_trap(folder: Path, listener: Listener) -> Trap:
    outside = folder / "outside"
    outside.mkdir()
    (outside / "good.txt").write_text(SECRET)
    return Trap(outside, folder / "canary", listener.url)


def snapshot(*roots: Path) -> dict[bytes, tuple[int, ...]]:
    """Return mode, size and time of all under some folders, links not followed."""
    found: dict[bytes, tuple[int, ...]] = {}
    for root in roots:
        for folder, names, files in os.walk(os.fsencode(root)):
            for name in (*names, *files):
                status = os.lstat(os.path.join(folder, name))
                times = (status.st_mtime_ns, status.st_size)
                found[os.path.join(folder, name)] = (status.st_mode, *times)
    return found


def build_watched(
    service: BuildService,
    listener: Listener,
    layout: Layout,
    folder: Path,
    options: BuildOptions | None = None,
) -> Built:
    """Build `folder/source` into `folder/out/set` and see that nothing else has changed."""
    service.start()
    (folder / "out").mkdir()
    watched = [entry for entry in folder.iterdir() if entry.name != "out"]
    watched += [service.home / name for name in ("cwd", "tmp", "home")]
    before = snapshot(*watched)
    options = dataclasses.replace(options or layout.options, workers=1, patience_s=PATIENCE_S)
    out = folder / "out" / "set"
    built = service.build(layout.name, folder / "source", out, options, limit_s=150)
    after = snapshot(*watched)
    if built.error:
        assert built.error.startswith("UserError: "), f"{built.error}\n{built.stderr[-3000:]}"
    assert after == before, sorted(set(after.items()) ^ set(before.items()))[:5]
    assert not (folder / "canary").exists()
    assert sorted(os.listdir(folder / "out")) == ([] if built.error else ["set"])
    assert sorted(os.listdir(folder)) == sorted({"out", *(each.name for each in folder.iterdir())})
    assert listener.calls == []
    assert built.connections == ()
    said = json.dumps(built.report) + built.error + built.stderr
    assert SECRET not in said
    assert "root:x:" not in said
    assert "Traceback" not in (built.stderr if not built.error else "")
    assert built.peak_mb < PEAK_MB
    return built


def fate_of(done: Damage, layout: Layout, report: Mapping[str, Any], kept: Collection[str]) -> str:
    """Return what became of a damaged file; empty where the report says nothing of it."""
    names = {name for path in (done.path, done.now) for name in spellings(path)}
    group = layout.group(done.path)
    for left in report["left_out_files"]:
        if any(name in left["path"] or name in left["detail"] for name in names):
            return left["reason"]
    for unheard in report["unheard"]:
        if any(name in unheard["detail"] for name in names):
            return "kept without sound"
    told = [*report["notes"], json.dumps(report["facts"], ensure_ascii=False)]
    if any(name in sentence for name in names for sentence in told):
        return "noted"
    if done.renamed and group is not None:
        # Nobody can know that it was the owner's file: what it belongs to lacks it.
        for left in report["left_out_files"]:
            if group in left["path"]:
                return left["reason"]
    parts = {*names, group} - {None}
    is_kept = any(part in key for part in parts for key in kept)
    may_be_kept = not done.hopeless or (done.kind == "link_outside" and layout.links_may_lead_out)
    return "kept" if is_kept and may_be_kept else ""


def spellings(path: str) -> set[str]:
    """Return how a report may write a file's name."""
    name = path.rsplit("/", 1)[-1]
    escaped = name.encode("utf-8", "backslashreplace").decode()
    replaced = os.fsencode(name).decode("utf-8", "replace")
    return {name, escaped, replaced, repr(escaped)[1:-1], repr(name)[1:-1], name.strip()}


def check_sentences(built: Built) -> None:
    """See that reasons are sentences for people."""
    for left in built.report["left_out_files"]:
        assert re.fullmatch(r"[a-z][a-zA-Z0-9 -]{3,40}", left["reason"]), left
        assert left["reason"] != "broken reader", left
        assert " " in left["detail"], left
        for scrap in ("Traceback", 'File "', " at 0x", "Error(", "<class"):
            assert scrap not in left["detail"], left
        assert len(left["detail"]) < 1500, left


def choose_kind(path: Path, fates: Fates, layout: Layout, rng: random.Random) -> str:
    """Return a kind of damage that this layout has seen least of."""
    used = collections.Counter[str]()
    for (name, kind, _), count in fates.items():
        if name == f"{layout.name}{path.suffix}":
            used[kind] += count
    kinds = list(kinds_for(path))
    rng.shuffle(kinds)
    return min(kinds, key=lambda kind: used[kind])


def damage_files(
    source: Path, layout: Layout, count: int, rng: random.Random, trap: Trap, fates: Fates
) -> list[Damage]:
    """Damage one file each of so many groups."""
    groups: dict[str, list[Path]] = {}
    for path in sorted(source.rglob("*")):
        group = layout.group(str(path.relative_to(source)))
        if path.is_file() and group is not None:
            groups.setdefault(group, []).append(path)
    assert count < len(groups), "some have to stay whole"
    done: list[Damage] = []
    for group in rng.sample(sorted(groups), count):
        path = rng.choice(groups[group])
        kind = choose_kind(path, fates, layout, rng)
        done.append(damage(source, path, kind, rng, trap))
        fates[f"{layout.name}{path.suffix}", kind, "?"] += 1
    return done


def fuzz(
    service: BuildService,
    listener: Listener,
    layout: Layout,
    pristine: Path,
    folder: Path,
    count: int,
    seed: str,
    fates: Fates,
    options: BuildOptions | None = None,
) -> None:
    """Damage files of a copy of a source, build it, and see what became of each."""
    rng = random.Random(seed)
    folder.mkdir()
    shutil.copytree(pristine, folder / "source")
    trap = make_trap(folder, listener)
    done = damage_files(folder / "source", layout, count, rng, trap, fates)
    if layout.name == "manifest":
        name_anew(folder / "source", done)
    built = build_watched(service, listener, layout, folder, options)
    assert built.error == ""
    kept = service.keys(folder / "out" / "set")
    assert len(kept) == built.report["examples_kept"] > 0
    check_sentences(built)
    ignored = sum(
        int(number)
        for note in built.report["notes"]
        if "ignored" in note
        for number in re.findall(r"\b[0-9]+\b", note)[:1]
    )
    lost: list[Damage] = []
    for each in done:
        fate = fate_of(each, layout, built.report, kept)
        if not fate and each.renamed and ignored:
            fate, ignored = "ignored and counted", ignored - 1
        if not fate:
            lost.append(each)
        suffix = Path(each.path).suffix
        fates[f"{layout.name}{suffix}", each.kind, "?"] -= 1
        fates[f"{layout.name}{suffix}", each.kind, fate or "lost"] += 1
    assert not lost, f"the report of {folder} says nothing of {lost}"
    shutil.rmtree(folder)


def name_anew(source: Path, done: Sequence[Damage]) -> None:
    """Let the manifest name files by the names that they have now, where UTF-8 can write them."""
    now = {each.path: each.now for each in done if each.renamed}
    rows = [[now.get(cell, cell) for cell in row] for row in read_manifest_rows(source)]
    write_manifest_rows(
        source, [[os.fsencode(cell).decode("utf-8", "replace") for cell in row] for row in rows]
    )


# Lines of fer2013.csv.


def fuzz_lines(
    service: BuildService,
    listener: Listener,
    pristine: Path,
    folder: Path,
    count: int,
    seed: str,
    fates: Fates,
) -> None:
    """Damage lines of the table, and FERPlus's file, build, and see what became of each line."""
    layout = LAYOUTS["fer2013.csv"]
    rng = random.Random(seed)
    folder.mkdir()
    shutil.copytree(pristine, folder / "source")
    trap = make_trap(folder, listener)
    table = folder / "source" / "fer2013.csv"
    header, *lines = table.read_bytes().splitlines()
    kinds = {
        number: LINE_KINDS[(place + rng.randrange(2)) % len(LINE_KINDS)]
        for place, number in enumerate(rng.sample(range(len(lines)), count))
    }
    lines = [
        damage_line(line, kinds[n], rng) if n in kinds else line for n, line in enumerate(lines)
    ]
    table.write_bytes(b"\n".join([header, *lines]) + b"\n")
    votes = folder / "source" / "fer2013new.csv"
    done = damage(folder / "source", votes, choose_kind(votes, fates, layout, rng), rng, trap)
    built = build_watched(service, listener, layout, folder)
    assert built.error == ""
    kept = service.keys(folder / "out" / "set")
    assert len(kept) == built.report["examples_kept"] >= len(lines) - count
    check_sentences(built)
    left_out = {left["path"]: left["reason"] for left in built.report["left_out_files"]}
    for number, kind in kinds.items():
        key = f"fer2013.csv#{number}"
        assert (key in kept) != (key in left_out), f"{folder}: line {number}, {kind}"
        assert key in left_out or kind in (
            "line_flipped",
            "line_with_absurd_number",
            "line_with_256",
        )
        fates["fer2013 line", kind, left_out.get(key, "kept")] += 1
    # Not one of the inputs that are counted: the votes are only joined to them.
    said = " ".join(built.report["notes"])
    readable = built.report["facts"].get("ferplus", {}).get("with_votes", 0)
    assert readable or done.renamed or "fer2013new.csv" in said, done
    fates["fer2013 votes", done.kind, "joined" if readable else "noted"] += 1
    shutil.rmtree(folder)


# Groups that a source has, how many of them are damaged in each round of the slow test, and rounds.
ROUNDS: Mapping[str, tuple[int, int, int]] = {
    "manifest": (92, 56, 9),
    "fer2013": (100, 60, 5),
    "ck_plus": (44, 32, 8),
    "mmi": (36, 25, 8),
    "disfa": (16, 10, 5),
    "crema_d": (40, 29, 7),
    "ravdess": (63, 40, 5),
}


@pytest.mark.parametrize("name", ROUNDS)
def test_damaged_files_are_listed_and_the_others_kept(
    service: BuildService,
    listener: Listener,
    pristine: Callable[[str, int], Path],
    tmp_path: Path,
    fates: Fates,
    name: str,
) -> None:
    source = pristine(name, 28)
    fuzz(service, listener, LAYOUTS[name], source, tmp_path / "one", 20, f"1 {name}", fates)


def test_damaged_lines_are_listed_and_the_others_kept(
    service: BuildService,
    listener: Listener,
    pristine: Callable[[str, int], Path],
    tmp_path: Path,
    fates: Fates,
) -> None:
    source = pristine("fer2013.csv", 28)
    fuzz_lines(service, listener, source, tmp_path / "one", 20, "1", fates)


@pytest.mark.slow
@pytest.mark.parametrize("name", ROUNDS)
def test_two_thousand_damaged_files(
    service: BuildService,
    listener: Listener,
    pristine: Callable[[str, int], Path],
    tmp_path: Path,
    fates: Fates,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    groups, count, rounds = ROUNDS[name]
    source = pristine(name, groups)
    before = fates.copy()
    for number in range(rounds):
        # MMI gives whole clips too.
        layout = LAYOUTS[name]
        options = dataclasses.replace(layout.options, clips=name == "mmi" and number % 4 == 3)
        seed = f"2000 {name} {number}"
        folder = tmp_path / str(number)
        fuzz(service, listener, layout, source, folder, count, seed, fates, options)
    with capsys.disabled():
        print_fates(name, fates - before)


@pytest.mark.slow
def test_two_thousand_damaged_files_and_lines(
    service: BuildService,
    listener: Listener,
    pristine: Callable[[str, int], Path],
    tmp_path: Path,
    fates: Fates,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = pristine("fer2013.csv", 100)
    before = fates.copy()
    for number in range(5):
        fuzz_lines(service, listener, source, tmp_path / str(number), 60, f"2000 {number}", fates)
    with capsys.disabled():
        print_fates("fer2013.csv", fates - before)


def print_fates(name: str, fates: Fates) -> None:
    """Print how many inputs were damaged in which way, and what became of them."""
    by_kind: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for (_, kind, fate), count in fates.items():
        by_kind[kind][fate] += count
    print(f"\n{name}: {sum(fates.values())} damaged inputs")
    for kind, counts in sorted(by_kind.items()):
        listed = ", ".join(f"{count} {fate}" for fate, count in counts.most_common())
        print(f"  {sum(counts.values()):4d} {kind}: {listed}")
