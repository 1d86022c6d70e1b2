"""What a field of a JSON record may hold that nobody would write into it."""

from __future__ import annotations

from typing import Any

HUGE = (10**9, 2**31, 2**63, 10**30, 10**400, 1e308, -1e308, 5e-324, -(2**63))
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 0.0, -0.0, 0.5, "", " ", "0", "x" * 100_000, [], {}, [[]]),
    *([None], [0] * 22, {"a": None}, "\x1b[2J\n\r\x07", "\ud800", "NaN", "../x", "Ünïcode"),
    *(float("nan"), float("inf"), float("-inf")),
    *HUGE,
)
