"""A training for each seed, learning rate and number of blocks, and one table of them.

Runs with the same number of blocks are one shape: they share a compilation. Each row is the run
that `train.py` would do with these settings, to the rounding of the learning rate.

```
runs/sweep-resnet18-synthetic/
  config.json      settings that all runs share, and the data set they were used on
  runs/SHAPE/      scores of the people tested, a file a run
  sweep.csv        a line for each run
  results.json     the same, with how it was trained
  sweep.png        figures by learning rate
```
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from emojax import plots
from emojax.alone import alone_in_folder
from emojax.config import TrainConfig, network_spec
from emojax.data.resident import keep_labels, put_on_device
from emojax.data.shards import dataset_info, load_split, load_whole
from emojax.errors import UserError
from emojax.files import write_json
from emojax.lanes import Training
from emojax.network import build_network
from emojax.preconditions import labelled, require_labels, require_votes
from emojax.results import drop_nan
from emojax.run import (
    check_run,
    full_disk_is_told,
    is_thrown_away,
    open_run,
    provenance,
)
from emojax.sharding import make_mesh, replicated
from emojax.stacking import Stacked
from emojax.stopping import going_on_unheard
from emojax.train import epoch_order, run_keys
from emojax.trainings import check_trainings, row_figures, train_all

FIGURES = ("emotion_uar", "action_unit_f1")
"""What the table has of the validation and of the test people."""


@dataclasses.dataclass(frozen=True)
class Grid:
    """What is varied: every combination is a run."""

    seeds: tuple[int, ...]
    """Of parameters, order, augmentation and dropout."""
    learning_rates: tuple[float, ...]
    """Peaks."""
    blocks: tuple[tuple[int, ...], ...]
    """Of each stage; an empty one is the network's own."""

    def __post_init__(self) -> None:
        """Refuse a grid without runs, or with one twice."""
        for name in ("seeds", "learning_rates", "blocks"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise UserError(f"{name} {values}: wanted one or more, each once")


def read_blocks(text: str) -> tuple[int, ...]:
    """Return `2-2-2-2` as numbers, `own` as none.

    Raises:
        UserError: it is neither.
    """
    if text == "own":
        return ()
    try:
        return tuple(int(part) for part in text.split("-"))
    except ValueError:
        raise UserError(f"blocks {text!r}: wanted 2-2-2-2, or own") from None


def write_blocks(blocks: Sequence[int]) -> str:
    """Return what `read_blocks` reads."""
    return "-".join(map(str, blocks)) or "own"


def write_rate(rate: float) -> str:
    """Return a learning rate as no other one is written: with six digits where they are all."""
    short = f"{rate:g}"
    return short if float(short) == rate else repr(rate)


@going_on_unheard()
@full_disk_is_told
@alone_in_folder
def train_sweep(
    config: TrainConfig,
    folder: Path,
    data: Path,
    grid: Grid,
    *,
    fresh: bool = False,
    stacked: Stacked = "auto",
    stack_size: int = 8,
) -> dict[str, Any]:
    """Return the table of a grid, having trained those runs that were not done yet.

    A grid may grow: runs that are done count in the next one too.

    Args:
        config: settings of each run, but for what the grid says.
        folder: of the sweep; one that was stopped there goes on.
        data: folder of the shards.
        grid: what is varied.
        fresh: throw away a sweep that is there.
        stacked: whether a device trains several runs at once.
        stack_size: how many at most.

    Raises:
        UserError: settings, grid and data do not fit together.
        StopTraining: someone asked to stop; the runs that are done are kept.
    """
    _refuse_what_needs_more(config)
    # What is varied is no setting of the sweep: a larger grid goes on in the same folder.
    config = dataclasses.replace(config, input="resident", seed=0, blocks=())
    for seed, rate, blocks in itertools.product(grid.seeds, grid.learning_rates, grid.blocks):
        _settings_of(config, seed, rate, blocks)
    config = _settings_of(config, 0, TrainConfig().optim.learning_rate, ())
    info = dataset_info(data)
    spec = network_spec(config, info.input_spec)
    fingerprint = info.report["fingerprint"]
    fresh = fresh or is_thrown_away(folder)
    check_run(folder, config, spec, data, fingerprint, fresh, kind="sweep")
    require_votes(config, info)
    # All of them now: a number of blocks that can't be is known before the first run.
    networks = {
        blocks: build_network(dataclasses.replace(config, blocks=blocks), spec)
        for blocks in grid.blocks
    }
    counts = [
        len(keep_labels(load_split(data, split), spec).emotion)
        for split in ("train", "validation", "test")
    ]
    if not all(counts):
        raise UserError(
            f"{data}: {counts[0]}, {counts[1]} and {counts[2]} examples to train, validate and "
            "test with: put some people in each split"
        )
    whole = keep_labels(load_whole(data), spec, info.input_spec.emotions)
    ends = np.cumsum(counts)
    splits = {"validation": np.arange(*ends[:2]), "test": np.arange(*ends[1:])}
    tested = np.arange(ends[0], ends[2])
    told = labelled(config, whole)[: counts[0]]
    require_labels(config, data, *map(bool, np.any(told, axis=0)))
    steps = max(1, counts[0] // config.batch_size)
    for network in networks.values():
        check_trainings(network, config, spec, steps, "runs")
    resident = put_on_device(whole, replicated(make_mesh()), config.loss.votes)
    # Only now is anything thrown away.
    open_run(folder, config, spec, data, fingerprint, fresh, kind="sweep")
    order_of = _make_orders(counts[0], steps, config)
    orders = {seed: order_of(seed) for seed in grid.seeds}
    rows, shapes = [], []
    for blocks in grid.blocks:
        shape = write_blocks(blocks)
        trainings = [
            Training(
                name=f"rate-{write_rate(rate)}_seed-{seed}",
                about={"blocks": shape, "learning_rate": rate, "seed": seed},
                seed=seed,
                learning_rate=rate,
                order=orders[seed].__getitem__,
                tested=tested,
            )
            for rate, seed in itertools.product(grid.learning_rates, grid.seeds)
        ]
        done, stacking = train_all(
            trainings,
            networks[blocks],
            config,
            spec,
            resident,
            steps,
            folder / "runs" / shape,
            stacked=stacked,
            stack_size=stack_size,
            what=f"runs of {config.model}" + (f" {shape}" if blocks else ""),
        )
        compilations = [row.compilations for row in done]
        shapes.append(
            {
                "blocks": shape,
                "compilations": compilations,
                "stacking": dataclasses.asdict(stacking) if stacking else None,
            }
        )
        for row in done:
            figures = {
                f"{split}_{name}": value
                for split, examples in splits.items()
                for name, value in row_figures(whole, examples, row, spec).items()
                if name in FIGURES
            }
            rows.append(
                {
                    **row.about,
                    **figures,
                    "training_loss": row.loss,
                    "diverged_at": row.diverged_at,
                    "seconds": row.seconds,
                }
            )
    results = drop_nan(
        {
            "model": config.model,
            "config": config.to_dict(),
            "provenance": provenance(),
            "data": {"name": info.name, "folder": str(data), "synthetic": info.name == "synthetic"},
            "shapes": shapes,
            "runs": rows,
        }
    )
    write_json(folder / "results.json", results)
    (folder / "sweep.csv").write_text(csv_table(results["runs"]), encoding="utf-8")
    plots.plot_sweep(results["runs"], folder / "sweep.png", f"{config.model} on {info.name}")
    return results


def _refuse_what_needs_more(config: TrainConfig) -> None:
    if config.model == "ar4":
        raise UserError("ar4 is trained in two stages: sweep its extractor by itself")
    if config.patience:
        raise UserError("patience: runs at once make as many steps as each other: leave it 0")
    if config.input == "streaming":
        raise UserError("runs share what lies in device memory: use --input=resident")
    if config.teachers:
        raise UserError("teachers: only a single run has them yet: leave them out")
    if config.init:
        raise UserError("init: a sweep starts from random parameters: leave it out")
    if config.loss.class_weights != "none":
        raise UserError("loss.class_weights: not in a sweep: leave none")
    usual = TrainConfig()
    for name, why in (
        ("report_on", "the table has the validation and the test people"),
        ("validate_every", "nobody is looked at before the end"),
        ("watch", "nobody is looked at before the end"),
        ("checkpoint_minutes", "a run is kept when it is done"),
    ):
        if getattr(config, name) != getattr(usual, name):
            raise UserError(f"{name}: {why}: leave it out")


def _settings_of(
    config: TrainConfig, seed: int, rate: float, blocks: tuple[int, ...]
) -> TrainConfig:
    """Return one run's settings, having refused values that no run can have."""
    optim = dataclasses.replace(config.optim, learning_rate=rate)
    return dataclasses.replace(config, seed=seed, optim=optim, blocks=blocks)


def _make_orders(examples: int, steps: int, config: TrainConfig) -> Callable[[int], np.ndarray]:
    """Return what returns a seed's orders as `train.py` draws them, `epoch step batch`."""

    def orders(seed: jax.Array) -> jax.Array:
        _, key, _ = run_keys(seed)
        return jax.lax.map(
            lambda epoch: epoch_order(key, epoch, examples, steps, config.batch_size),
            jnp.arange(config.epochs),
        )

    compiled = jax.jit(orders)
    return lambda seed: np.asarray(compiled(np.uint32(seed)))


# The table.


def best_setting(runs: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return blocks and rate whose validation figures are the best, on average over the seeds.

    None where every run diverged. A setting one of whose seeds diverged is not considered.
    """
    groups: dict[tuple[str, float], list[float | None]] = {}
    for run in runs:
        figures = [run[f"validation_{name}"] for name in FIGURES]
        known = [figure for figure in figures if figure is not None]
        worth = statistics.fmean(known) if known and run["diverged_at"] is None else None
        groups.setdefault((run["blocks"], run["learning_rate"]), []).append(worth)
    means = {
        setting: statistics.fmean(worth for worth in found if worth is not None)
        for setting, found in groups.items()
        if None not in found
    }
    if not means:
        return None
    blocks, rate = max(means, key=lambda setting: means[setting])
    return {"blocks": blocks, "learning_rate": rate}


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and name != "learning_rate":
        return f"{value:.1f}" if name == "seconds" else f"{value:.4f}"
    return write_rate(value) if isinstance(value, float) else str(value)


def _cells(runs: Sequence[dict[str, Any]]) -> list[list[str]]:
    return [list(runs[0]), *([_cell(name, run[name]) for name in run] for run in runs)]


def csv_table(runs: Sequence[dict[str, Any]]) -> str:
    """Return a line for each run, and one of the columns' names."""
    return "".join(",".join(line) + "\n" for line in _cells(runs))


def markdown_table(runs: Sequence[dict[str, Any]]) -> str:
    """Return the same as a table in Markdown; a run that diverged says so."""
    head, *lines = _cells(runs)
    place = head.index("diverged_at")
    head[place] = "ended"
    for line in lines:
        line[place] = f"diverged at step {line[place]}" if line[place] else "well"
    table = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in table)
