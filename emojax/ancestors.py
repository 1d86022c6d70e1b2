"""Whom a network has seen while it was made: its own people, and those of the networks before it.

A run that starts from another, or learns from teachers, has seen whom they have seen. It notes that
when it begins, so that they may be deleted afterwards.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emojax.cluster import is_first
from emojax.config import TrainConfig
from emojax.data.shards import MANIFEST, DatasetInfo
from emojax.data.splits import SPLITS
from emojax.errors import UserError
from emojax.run import load_run, own_shards
from emojax.shipped import find_model
from emojax.spec import read_json
from emojax.weights_file import WEIGHTS

NOTED = "ancestors"
"""In a run's config.json."""


class Seen(NamedTuple):
    """The people whom a network has seen, as far as that is known."""

    people: dict[str, dict[str, set[str]]]
    """By the owner of their names, as the builder of a data set is called, and by split."""
    untold: list[str]
    """Networks of which nobody can tell: itself, or some that it was made from."""

    def recognise(
        self, info: DatasetInfo, people: Iterable[str], splits: Sequence[str]
    ) -> tuple[list[str], list[str]]:
        """Return who of a data set's people was surely seen, and who perhaps.

        Names are the owner's: in sets of two owners the same name is two people, and in two
        manifests it may be.

        Args:
            info: of the data set.
            people: of it.
            splits: in which somebody counts as seen.
        """
        surely: set[str] = set()
        perhaps: set[str] = set()
        for owner, parts in self.people.items():
            seen = set().union(*(parts.get(split, ()) for split in splits))
            named = seen.intersection(people)
            if MANIFEST in (owner, info.name):
                perhaps |= named
            elif owner == info.name:
                surely |= named
        return sorted(surely), sorted(perhaps)

    def to_note(self) -> dict[str, Any]:
        """Return what config.json notes of them; nothing of nobody."""
        if not self.people and not self.untold:
            return {}
        people = {
            owner: {split: sorted(names) for split, names in parts.items()}
            for owner, parts in self.people.items()
        }
        return {NOTED: {"people": people, "untold": self.untold}}


def _together(each: Iterable[Seen]) -> Seen:
    people: dict[str, dict[str, set[str]]] = {}
    untold: list[str] = []
    for one in each:
        untold += one.untold
        for owner, parts in one.people.items():
            for split, names in parts.items():
                people.setdefault(owner, {}).setdefault(split, set()).update(names)
    return Seen(people, list(dict.fromkeys(untold)))


def seen_by(network: str, above: frozenset[Path] = frozenset()) -> Seen:
    """Return whom a network has seen, and those that it was made from.

    Args:
        network: folder of a run, or a network that comes with emojax.
        above: runs that were made from this one, as far as they led here.
    """
    folder = find_model(network)
    if folder.resolve() in above:
        # A run that started from itself, in a folder that was used again.
        return Seen({}, [])
    try:
        config = load_run(folder)[0]
        fields = read_json(folder / "config.json")
    except UserError:
        return Seen({}, [network])
    before = _read_note(fields.get(NOTED))
    if before is None:
        # Of before this was noted: they have to be there still.
        below = above | {folder.resolve()}
        before = _together(seen_by(name, below) for name in _made_from(config))
    return _together([_own_people(network, folder, config, fields), before])


def _made_from(config: TrainConfig) -> list[str]:
    return [*filter(None, [config.init]), *config.teachers]


def _read_note(noted: Any) -> Seen | None:
    try:
        people = {
            owner: {split: set(map(str, names)) for split, names in parts.items()}
            for owner, parts in noted["people"].items()
        }
        return Seen(people, list(map(str, noted["untold"])))
    except (AttributeError, KeyError, TypeError):
        return None


def _own_people(network: str, folder: Path, config: TrainConfig, fields: Mapping[str, Any]) -> Seen:
    named = fields.get("people")
    if isinstance(named, list):
        # One that comes with emojax; its data are called by their owner.
        return Seen({config.data: {"train": set(map(str, named))}}, [])
    if (folder / WEIGHTS).is_file():
        # Another one, whose shards stayed where it was made.
        return Seen({}, [network])
    try:
        info = own_shards(folder)
    except UserError:
        return Seen({}, [network])
    splits = info.report["splits"]
    return Seen({info.name: {split: set(splits[split].get("people", ())) for split in splits}}, [])


def refuse_seen_people(config: TrainConfig, info: DatasetInfo) -> Seen:
    """Return whom the network to start from and the teachers have seen: nobody to report on.

    Args:
        config: of the run.
        info: of its shards.

    Raises:
        UserError: they have seen people of the same owner on whom the run would report. Where
            nobody can tell, that is said.
    """
    reported = info.report["splits"].get(config.report_on, {}).get("people", ())
    # A run that is gone on with has its own validation people again.
    splits = ("train", "validation") if config.report_on == "test" else ("train",)
    each = {name: seen_by(name) for name in _made_from(config)}
    for name, seen in each.items():
        surely, perhaps = seen.recognise(info, reported, splits)
        if surely:
            raise UserError(
                f"{name}: was trained on {surely[0]!r} and {len(surely) - 1} others, who are in "
                f"`{config.report_on}` here: figures on them would be too good: build the shards "
                "as that run had them, or leave it out"
            )
        _tell_doubts(name, seen, perhaps, f"`{config.report_on}` here")
    return _together(each.values())


def refuse_known_people(init: str, info: DatasetInfo, people: Iterable[str]) -> None:
    """Refuse to test people whom the network to start from has seen, or may have.

    Args:
        init: the network.
        info: of the data set.
        people: who is tested.

    Raises:
        UserError: they are among its own people, in whatever split, or nobody can tell.
    """
    seen = seen_by(init)
    if seen.untold:
        raise UserError(
            f"{init}: {_whose_shards(init, seen)} are not here, so nobody knows whom it has seen: "
            "cross-validate without --init, or from a run whose data set is still there"
        )
    surely, perhaps = seen.recognise(info, people, SPLITS)
    if known := sorted({*surely, *perhaps}):
        raise UserError(
            f"{init}: was trained on {known[0]!r} and {len(known) - 1} others who are tested "
            "here: cross-validate without --init"
        )


def refuse_evaluation(network: str, info: DatasetInfo, split: str) -> None:
    """Refuse to ask a network about people of other shards whom it has seen.

    Where it may have seen them, or nobody can tell, that is said.

    Args:
        network: folder of a run, or a network that comes with emojax.
        info: of the other shards.
        split: of those.

    Raises:
        UserError: they are of the same owner, and it was trained on some.
    """
    people = info.report["splits"].get(split, {}).get("people", ())
    seen = seen_by(network)
    surely, perhaps = seen.recognise(info, people, ("train", "validation"))
    if surely:
        raise UserError(
            f"{network}: was trained on {surely[0]!r} and {len(surely) - 1} others, who are in "
            f"`{split}` of {info.folder}: figures on them would be too good: build the shards as "
            "that run had them, or leave --data out"
        )
    _tell_doubts(network, seen, perhaps, f"`{split}` of {info.folder}")


def _tell_doubts(network: str, seen: Seen, perhaps: Sequence[str], where: str) -> None:
    doubts = []
    if perhaps:
        doubts.append(
            f"was trained on {perhaps[0]!r} and {len(perhaps) - 1} others, names that are in "
            f"{where} too"
        )
    if seen.untold:
        doubts.append(
            f"{_whose_shards(network, seen)} are not here, so nobody knows whether it has seen "
            f"the people in {where}"
        )
    if doubts and is_first():
        why = ", and ".join(doubts)
        print(f"{network}: {why}: figures on them may be too good", file=sys.stderr)


def _whose_shards(network: str, seen: Seen) -> str:
    if network in seen.untold:
        return "its shards"
    return f"it was made from {seen.untold[0]}, whose shards"
