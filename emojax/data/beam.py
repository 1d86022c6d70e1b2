"""The same build on the Apache Beam runner that the user has: Flink, Spark, Dataflow, or none.

All workers have to see the source and the output folder under the same paths.
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import cv2

from emojax.data.cells import Job, Reading, read_into_cell
from emojax.data.claim import StoppedError
from emojax.errors import UserError

Item = TypeVar("Item")
Made = TypeVar("Made")


def parse_options(text: str) -> Any:
    """Return Beam's PipelineOptions from what stands after `--beam`.

    Args:
        text: Beam's own flags in one string, with or without their dashes, such as
            `runner=DirectRunner direct_num_workers=2`.

    Raises:
        UserError: no runner, or a quote that is left open.
    """
    from apache_beam.options.pipeline_options import PipelineOptions

    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UserError(f"--beam {text!r}: {error}: close the quote") from None
    flags = [word if word.startswith("-") else f"--{word}" for word in words]
    if not any(flag.startswith("--runner=") for flag in flags):
        raise UserError(
            f"--beam {text!r}: wanted Beam's flags, the runner among them, such as "
            "'runner=DirectRunner direct_num_workers=2 direct_running_mode=multi_processing'"
        )
    # Workers tell all that they do otherwise; what is given comes last and wins.
    return PipelineOptions(["--default_sdk_harness_log_level=WARNING", *flags])


def spread(items: Sequence[Item], function: Callable[[Item], Iterable[Made]]) -> Any:
    """Return a Beam transform that gives what the function makes of each item, on any worker.

    Args:
        items: what there is to do; small, since it travels to the workers.
        function: importable by name, or a partial of one that is.
    """
    import apache_beam as beam

    # Without the reshuffle one worker would get all that a fused stage begins with.
    return beam.Create(items) | beam.Reshuffle() | beam.FlatMap(function)


def fill_cells(jobs: Sequence[Job], reading: Reading, options: str) -> None:
    """Read all jobs into their cells on a Beam runner, and come back when they are there.

    Raises:
        StoppedError: the runner can't be reached, or failed.
    """
    import apache_beam as beam

    parsed = parse_options(options)
    try:
        with beam.Pipeline(options=parsed) as pipeline:
            _ = pipeline | spread(jobs, functools.partial(_fill, reading))
    except (UserError, KeyboardInterrupt):
        raise
    except Exception as error:
        # Runners have no common error: whatever it is, what is read so far is kept.
        reason = " ".join(str(error).split())[:300]
        raise StoppedError(
            f"--beam {options!r}: the pipeline failed ({reason}): what it has read is kept, "
            "give the same command again to go on"
        ) from error


def _fill(reading: Reading, job: Job) -> tuple[()]:
    cv2.setNumThreads(1)
    read_into_cell(reading, job)
    return ()
