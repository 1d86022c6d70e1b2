"""`folds`: one subject left out at a time, all trainings run, against as many median ones."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.noise import build_noise
from benchmarks.rounds import Options, report
from emojax.config import TrainConfig
from emojax.cross_validation import train_folds
from emojax.errors import UserError


@dataclasses.dataclass(frozen=True)
class FoldsOptions(Options):
    """Cross-validate a network on a set of noise, one person left out at a time.

    The cost is the time of all folds, the first with its compilation, against that of as many
    median folds: 1 would be no cost but the trainings themselves. The peer is in the run itself.
    """

    model: str = "ar1"
    """Network that looks at a picture."""
    folds: int = 91
    """People, each left out once; CREMA-D has 91."""
    pictures: int = 16
    """Of each person."""
    epochs: int = 2
    """Of each training."""
    batch_size: int = 64
    """Pictures of a step, over all devices."""
    rounds: int = 1
    """Times that all folds are run, each with compilations of its own."""

    QUICK: ClassVar[Mapping[str, Any]] = {
        "folds": 3,
        "pictures": 6,
        "epochs": 1,
        "batch_size": 4,
    }

    def __post_init__(self) -> None:
        """Refuse what leaves nobody to train on."""
        super().__post_init__()
        if self.folds < 3:
            raise UserError(f"folds={self.folds}: wanted 3 people or more")


def measure(options: FoldsOptions) -> dict[str, Any]:
    """Return the figures of each round."""
    options = options.settled()
    config = TrainConfig(model=options.model, epochs=options.epochs, batch_size=options.batch_size)
    table, kept = [], []
    with tempfile.TemporaryDirectory(prefix="emojax-folds-") as name:
        count = options.folds * options.pictures
        shards = build_noise(Path(name) / "set", count, people=options.folds)
        for number in range(options.rounds):
            started = time.monotonic()
            results = train_folds(config, Path(name) / f"run{number}", shards)
            whole = time.monotonic() - started
            seconds, compilations = results["seconds"], results["compilations"]
            kept.append({"seconds": seconds, "compilations": compilations, "whole_s": whole})
            table.append(
                {
                    "network": options.model,
                    "folds": results["folds"],
                    "median fold s": statistics.median(seconds),
                    "all folds s": sum(seconds),
                    "all / n medians": results["cost_over_median"],
                    # With loading, figures and intervals.
                    "whole run s": whole,
                    "programs of the first fold": compilations[0],
                    "of all others": sum(compilations[1:]),
                }
            )
    what = "all folds of leaving one subject out, against as many median folds"
    return report(options, what, {"table": table, "folds": kept})
