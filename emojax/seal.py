"""A JSON record that carries its own checksum: damage to it is seen before it is believed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SEAL = "sha256"
"""The field that holds the checksum of all others."""


def checksum(fields: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what a record says, its order and spaces and its seal left aside."""
    said = {name: value for name, value in fields.items() if name != SEAL}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a record with its checksum."""
    return {**fields, SEAL: checksum(fields)}
