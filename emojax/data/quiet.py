"""TensorFlow without its start-up chatter: a person's terminal is for their results."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from emojax.stopping import uninterrupted


@contextlib.contextmanager
def held_back_stderr() -> Iterator[None]:
    """Return a context in which stderr is held back, and shown only if the body fails.

    TensorFlow's native code writes to the file descriptor itself, before any
    of its own logging switches is read.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            sys.stderr.flush()
            os.dup2(kept, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


@contextlib.contextmanager
def _keras_left_out() -> Iterator[None]:
    """Return a context in which TensorFlow starts without Keras: half of its four seconds.

    It looks for the Keras that is asked for, and goes on where there is none. Whoever wants
    `tf.keras` beside emojax imports TensorFlow first, or Keras itself.
    """
    name = "TF_USE_LEGACY_KERAS"
    if name in os.environ or importlib.util.find_spec("tf_keras") is not None:
        yield
        return
    os.environ[name] = "1"
    try:
        yield
    finally:
        del os.environ[name]


def load_tensorflow() -> ModuleType:
    """Return the module `tensorflow`, started on the CPU with its log held back.

    GPUs and TPUs belong to JAX: TensorFlow only reads records here, and would
    otherwise take the accelerator's memory for itself.
    """
    if "tensorflow" in sys.modules and hasattr(sys.modules["tensorflow"], "constant"):
        return sys.modules["tensorflow"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with uninterrupted(), held_back_stderr(), _keras_left_out():
        import tensorflow as tf

        tf.config.set_visible_devices([], "GPU")
        tf.constant(0)
    return tf


def as_arrays(examples: Any) -> Iterator[dict[str, np.ndarray]]:
    """Yield what a `tf.data.Dataset` holds; a stop waits until the one that is read is there."""
    with uninterrupted():
        iterator = examples.as_numpy_iterator()
    while True:
        with uninterrupted():
            example = next(iterator, None)
        if example is None:
            return
        yield example
