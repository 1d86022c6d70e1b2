"""A TFLite model, ready to be asked: inputs by name in, probabilities out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from emojax.errors import UserError
from emojax.memory import in_large_pages


def open_interpreter(model: bytes, threads: int, source: str) -> Interpreter:
    """Return a LiteRT interpreter ready to run, on XNNPACK.

    Args:
        model: the flatbuffer.
        threads: of the processor.
        source: where the model comes from, for the message.

    Raises:
        UserError: LiteRT does not take the model.
    """
    try:
        with in_large_pages():
            interpreter = Interpreter(model_content=model, num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"{source}: LiteRT can't load the model ({error}): export the artifact again"
        ) from None
    return interpreter


def input_name(details: Mapping[str, Any]) -> str:
    """Return an input's name in the signature: `serving_default_frames:0` is `frames`."""
    return str(details["name"]).removeprefix("serving_default_").split(":")[0]


class Network:
    """A model with float32 inputs and one float32 output. One thread at a time may use it."""

    def __init__(self, model: bytes, threads: int, source: str, *, mirrored: bool = False) -> None:
        """Make it ready.

        Args:
            model: the flatbuffer.
            threads: of the processor.
            source: where the model comes from, for the message.
            mirrored: `answers` is the mean for each face and for its mirror image: a little more
                accurate, at twice the time.

        Raises:
            UserError: LiteRT does not take the model.
        """
        self._source = source
        self.mirrored = mirrored
        self._interpreter = open_interpreter(model, threads, source)
        self._places = {
            input_name(details): details["index"]
            for details in self._interpreter.get_input_details()
        }
        self._output = self._interpreter.get_output_details()[0]["index"]

    @property
    def input_names(self) -> tuple[str, ...]:
        """The inputs' names, as `answer` takes them."""
        return tuple(self._places)

    def answer(self, **named: np.ndarray) -> np.ndarray:
        """Return the output for one example, float32 [outputs].

        Args:
            **named: the inputs, float32 with a first axis of 1.

        Raises:
            UserError: the model wants inputs of another shape.
        """
        try:
            for name, place in self._places.items():
                self._interpreter.set_tensor(place, named[name])
            self._interpreter.invoke()
            return self._interpreter.get_tensor(self._output)[0]
        except (ValueError, RuntimeError) as error:
            raise UserError(
                f"{self._source}: the model does not take this input ({error}): "
                "export the artifact again"
            ) from None

    def answers(self, named: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the outputs for several examples, one after the other, float32 [n, outputs].

        Args:
            named: the inputs, float32 [n, ...] each.
        """
        found = self._answers(named)
        if not self.mirrored:
            return found
        faces = np.ascontiguousarray(named["faces"][..., ::-1, :])
        return (found + self._answers({**named, "faces": faces})) / 2

    def _answers(self, named: Mapping[str, np.ndarray]) -> np.ndarray:
        count = len(next(iter(named.values())))
        return np.stack(
            [
                self.answer(**{name: array[row : row + 1] for name, array in named.items()})
                for row in range(count)
            ]
        )
