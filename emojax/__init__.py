"""Emotions and facial action units from faces and clips.

```python
import emojax

records = emojax.load("artifact").predict("talk.mp4")
print(records[0].emotion, records[0].AU12_p)
records.to_pandas()
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emojax.version import __version__

if TYPE_CHECKING:
    from emojax.runtime import load as load

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """Return `load`, and what it needs only now: importing emojax stays cheap."""
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from emojax.runtime import load

    return load


def __dir__() -> list[str]:
    return sorted({*globals(), "load"})
