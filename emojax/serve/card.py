"""An artifact -> what people have to know before they believe it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from emojax.runtime import Artifact

_LONGEST_CARD = 1 << 18
"""Bytes of a card that are shown."""

_KNOWN_DEPTH = 4

NOT_FOR = "What it must not be used for"
"""The heading under which a card says so."""


def describe_artifact(artifact: Artifact) -> dict[str, Any]:
    """Return what an artifact says about itself: data, accuracy, licence, its card.

    Args:
        artifact: what `load_artifact` gave.
    """
    training = artifact.fields.get("training")
    training = training if isinstance(training, dict) else {}
    card = read_card(artifact, training.get("card"))
    return {
        "looks_at": artifact.looks,
        "action_units": list(artifact.spec.action_units),
        "emotions": list(artifact.spec.emotions),
        "thresholds": [float(value) for value in artifact.thresholds],
        "uncertain_below": artifact.uncertain_below,
        "hears": artifact.spec.sound is not None,
        "sees": artifact.clip is None or artifact.clip.sees,
        "notice": artifact.notice,
        "trained_on": _word(training.get("data")),
        "synthetic": bool(training.get("synthetic")),
        "network": _word(training.get("model")),
        "licence": _word(artifact.fields.get("licence")),
        "commit": _word(artifact.fields.get("commit")),
        "metrics": list(list_metrics(artifact.fields.get("metrics"))),
        "card": card,
        "not_for": find_section(card or "", NOT_FOR),
    }


def describe_precision(artifact: Artifact) -> dict[str, Any]:
    """Return what an artifact says about one of its files: size, agreement, accuracy."""
    entry = artifact.fields["files"][artifact.precision]
    agreement = entry.get("agreement")
    difference = agreement.get("largest_difference") if isinstance(agreement, dict) else None
    return {
        "precision": artifact.precision,
        "bytes": len(artifact.model),
        "largest_difference": difference if isinstance(difference, int | float) else None,
        "metrics": list(list_metrics(entry.get("metrics"))),
    }


def _word(value: Any) -> str | None:
    return value[:200] if isinstance(value, str) and value.strip() else None


def list_metrics(metrics: Any, path: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """Yield each figure among an artifact's metrics, with what stands beside it.

    Args:
        metrics: of spec.json: numbers, or objects with `value` and perhaps `interval` and
            `chance`, in groups of any name.
        path: names of the groups around.
    """
    if not isinstance(metrics, Mapping) or len(path) > _KNOWN_DEPTH:
        return
    for name, found in metrics.items():
        here = (*path, str(name).replace("_", " "))
        if isinstance(found, Mapping) and _number(found.get("value")) is not None:
            interval = found.get("interval")
            pair = interval if isinstance(interval, list) and len(interval) == 2 else []
            low_high = [_number(end) for end in pair]
            yield {
                "name": " / ".join(here),
                "value": found["value"],
                "interval": low_high if low_high and None not in low_high else None,
                "chance": _number(found.get("chance")),
            }
        elif isinstance(found, Mapping):
            yield from list_metrics(found, here)
        elif _number(found) is not None:
            yield {"name": " / ".join(here), "value": found, "interval": None, "chance": None}


def _number(value: Any) -> float | int | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def read_card(artifact: Artifact, name: Any) -> str | None:
    """Return the text of an artifact's card, None where it has none.

    Args:
        artifact: its folder holds the card.
        name: of the file; anything but a plain name is no card.
    """
    plain = isinstance(name, str) and name.isprintable() and not set(name) & set("/\\:")
    if not isinstance(name, str) or not plain or name in ("", ".", ".."):
        return None
    path = artifact.folder / name
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return file.read(_LONGEST_CARD).decode("utf-8", "replace")


def find_section(card: str, heading: str) -> str | None:
    """Return what stands under a heading of a card, None where there is no such heading.

    Args:
        card: Markdown.
        heading: its words.
    """
    found: list[str] | None = None
    for line in card.splitlines():
        if line.startswith("#"):
            if found is not None:
                break
            if line.lstrip("# ").strip() == heading:
                found = []
        elif found is not None:
            found.append(line)
    return None if found is None else "\n".join(found).strip() or None
