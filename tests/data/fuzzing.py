"""Builds of damaged sources, watched: what else they touch, and what they say of each file."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import random
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from build_service import BuildService, Built
from corruption import Damage, damage, kinds_for
from hostile_text import LINE_KINDS, XMLS, damage_line
from small_sources import LAYOUTS, Layout, read_manifest_rows, write_manifest_rows
from trap import SECRET, Listener, Trap, make_trap

from emojax.data.build import BuildOptions

PATIENCE_S = 20.0
PEAK_MB = 1500

Fates = collections.Counter[tuple[str, str, str]]
"""How many inputs of a layout and suffix, damaged in a way, met an end."""


@dataclasses.dataclass(frozen=True)
class Bench:
    """What all builds of a test module share."""

    service: BuildService
    listener: Listener
    fates: Fates = dataclasses.field(default_factory=collections.Counter)


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
    bench: Bench,
    layout: Layout,
    folder: Path,
    options: BuildOptions | None = None,
    source: str = "",
    workers: int = 1,
) -> Built:
    """Build what is in `folder/source` into `folder/out/set`; see that nothing else has changed.

    Args:
        bench: of the module.
        layout: whose builder.
        folder: holds all that the build may see.
        options: how to build; the layout's own where none are given.
        source: of the file in `folder/source` that is the source; the folder itself if empty.
        workers: that read files; 0 where no file is damaged that a decoder could die of.
    """
    bench.service.start()
    (folder / "out").mkdir()
    watched = [entry for entry in folder.iterdir() if entry.name != "out"]
    watched += [bench.service.home / name for name in ("cwd", "tmp", "home")]
    before, beside = snapshot(*watched), [os.listdir(folder), os.listdir(folder.parent)]
    options = dataclasses.replace(options or layout.options, workers=workers, patience_s=PATIENCE_S)
    built = bench.service.build(
        layout.name, folder / "source" / source, folder / "out" / "set", options, limit_s=150
    )
    after = snapshot(*watched)
    if built.error:
        assert built.error.startswith("UserError: "), f"{built.error}\n{built.stderr[-3000:]}"
    else:
        assert "Traceback" not in built.stderr, built.stderr[-3000:]
    assert after == before, sorted(set(after.items()) ^ set(before.items()))[:5]
    assert [os.listdir(folder), os.listdir(folder.parent)] == beside
    if built.error and os.listdir(folder / "out"):
        # What was read before a mistake showed is kept, and nothing else.
        assert os.listdir(folder / "out") == [".set.building"]
        assert sorted(os.listdir(folder / "out" / ".set.building")) == ["cells", "lock"]
    else:
        assert os.listdir(folder / "out") == ([] if built.error else ["set"])
    assert not (folder / "canary").exists()
    assert bench.listener.calls == []
    assert built.connections == ()
    said = json.dumps(built.report) + built.error + built.stderr
    assert SECRET not in said
    assert layout.links_may_lead_out or "root:x:" not in said
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
    if done.renamed:
        # A manifest names what belongs to a picture by its new name.
        parts = {*names, group} if layout.name == "manifest" else names
        if any(part and part in key for part in parts for key in kept):
            return "kept"
        # Nobody can know that it was the owner's file: what it belongs to lacks it.
        for left in report["left_out_files"]:
            if group is not None and group in left["path"]:
                return left["reason"]
        return "noted" if any(group and group in sentence for sentence in told) else ""
    if done.hopeless and not (done.kind == "link_outside" and layout.links_may_lead_out):
        return ""
    if group is None or any(group in key for key in kept):
        return "kept"
    return "read" if done.path.endswith(".csv") else ""


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
        assert len(left["detail"]) < 1000 + len(left["path"]), left


# Kinds that differ each time they are drawn, and reach far into a decoder.
FERTILE = {
    *("flip_in_head", "flip_anywhere", "truncated", "huge_fields", "frames_of_60000"),
    *("absurd_wav", "absurd_rate", "absurd_number", "huge_array", "odd_array", "foreign_array"),
}


def choose_kind(path: Path, fates: Fates, layout: Layout, rng: random.Random) -> str:
    """Return a kind of damage that this layout's files of this suffix have seen least of."""
    used = collections.Counter[str]()
    for (name, kind, _), count in fates.items():
        if name == f"{layout.name}{path.suffix}":
            used[kind] += count
    kinds = list(kinds_for(path))
    rng.shuffle(kinds)
    return min(kinds, key=lambda kind: used[kind] / (4 if kind in FERTILE else 1))


def choose_file(files: Sequence[Path], fates: Fates, layout: Layout, rng: random.Random) -> Path:
    """Return a file of the suffix that this layout has seen least damage to."""
    used = collections.Counter[str]()
    for (name, _, _), count in fates.items():
        used[name] += count
    drawn = rng.sample(files, len(files))
    return min(drawn, key=lambda path: used[f"{layout.name}{path.suffix}"])


# What has to be among the damage, however little of it there is.
FIRST = (*XMLS, "link_outside", "link_to_zero", "fifo", "emptied", "name_not_utf8", "truncated")


def damage_files(
    source: Path,
    layout: Layout,
    count: int,
    rng: random.Random,
    trap: Trap,
    fates: Fates,
    first: Collection[str] = (),
) -> list[Damage]:
    """Damage one file each of so many groups, in the kinds that come first before others."""
    wanted = list(first)
    groups: dict[str, list[Path]] = {}
    for path in sorted(source.rglob("*")):
        group = layout.group(str(path.relative_to(source)))
        if path.is_file() and group is not None:
            groups.setdefault(group, []).append(path)
    assert count < len(groups), "some have to stay whole"
    done: list[Damage] = []
    for group in rng.sample(sorted(groups), count):
        path = choose_file(groups[group], fates, layout, rng)
        kind = next((kind for kind in wanted if kind in kinds_for(path)), "")
        if kind:
            wanted.remove(kind)
        else:
            kind = choose_kind(path, fates, layout, rng)
        done.append(damage(source, path, kind, rng, trap))
        fates[f"{layout.name}{path.suffix}", kind, "?"] += 1
    return done


def fuzz(
    bench: Bench,
    layout: Layout,
    pristine: Path,
    folder: Path,
    count: int,
    seed: str,
    options: BuildOptions | None = None,
    first: Collection[str] = (),
) -> Built:
    """Damage files of a copy of a source, build it, find each again, and return how it went."""
    rng = random.Random(seed)
    folder.mkdir()
    shutil.copytree(pristine, folder / "source")
    trap = make_trap(folder, bench.listener)
    done = damage_files(folder / "source", layout, count, rng, trap, bench.fates, first)
    if layout.name == "manifest":
        name_anew(folder / "source", done)
    built = build_watched(bench, layout, folder, options)
    assert built.error == "", built.error
    kept = bench.service.keys(folder / "out" / "set")
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
        bench.fates[f"{layout.name}{suffix}", each.kind, "?"] -= 1  # Drawn, and now known.
        bench.fates[f"{layout.name}{suffix}", each.kind, fate or "lost"] += 1
    assert not lost, f"the report of {folder} says nothing of {lost}"
    shutil.rmtree(folder)
    return built


def name_anew(source: Path, done: Sequence[Damage]) -> None:
    """Let the manifest name files by the names that they have now, where UTF-8 can write them."""
    now = {each.path: each.now for each in done if each.renamed}
    rows = [[now.get(cell, cell) for cell in row] for row in read_manifest_rows(source)]
    write_manifest_rows(
        source, [[os.fsencode(cell).decode("utf-8", "replace") for cell in row] for row in rows]
    )


# Lines of fer2013.csv.


def fuzz_lines(
    bench: Bench,
    pristine: Path,
    folder: Path,
    count: int,
    seed: str,
) -> Built:
    """Damage lines of the table, and FERPlus's file, build; return how it went."""
    layout = LAYOUTS["fer2013.csv"]
    rng = random.Random(seed)
    folder.mkdir()
    shutil.copytree(pristine, folder / "source")
    trap = make_trap(folder, bench.listener)
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
    done = damage(folder / "source", votes, choose_kind(votes, bench.fates, layout, rng), rng, trap)
    built = build_watched(bench, layout, folder)
    assert built.error == "", built.error
    kept = bench.service.keys(folder / "out" / "set")
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
        bench.fates["fer2013 line", kind, left_out.get(key, "kept")] += 1
    # Not one of the inputs that are counted: the votes are only joined to them.
    said = " ".join(built.report["notes"])
    readable = built.report["facts"].get("ferplus", {}).get("with_votes", 0)
    assert readable or done.renamed or "fer2013new.csv" in said, done
    bench.fates["fer2013 votes", done.kind, "joined" if readable else "noted"] += 1
    shutil.rmtree(folder)
    return built


def print_fates(name: str, fates: Fates, builds: Sequence[Built]) -> None:
    """Print how many inputs were damaged in which way, and what became of them."""
    by_kind: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for (_, kind, fate), count in fates.items():
        by_kind[kind][fate] += count
    seconds = sum(built.seconds for built in builds)
    peak_mb = max(built.peak_mb for built in builds)
    print(
        f"\n{name}: {sum(fates.values())} damaged inputs, {len(builds)} builds in {seconds:.0f} s, "
        f"workers' peak {peak_mb:.0f} MB"
    )
    for kind, counts in sorted(by_kind.items()):
        listed = ", ".join(f"{count} {fate}" for fate, count in counts.most_common())
        print(f"  {sum(counts.values()):4d} {kind}: {listed}")
