"""A stand-in for torchvision, which timm imports for data and weights, and its networks never call.

There is no build of torchvision for torch's CPU wheel in every place where there is torch.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Iterator
from typing import Any


class _StandIn(types.ModuleType):
    """A module of which every name is a class that does nothing."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        # A package: whatever is asked for inside it is found by the finder below.
        self.__path__ = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        # timm asks for members of these classes, too, when it is imported.
        names = type("Names", (type,), {"__getattr__": lambda _, member: member})
        return names(name, (), {})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds torchvision and everything in it."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname.split(".")[0] != "torchvision":
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


@contextlib.contextmanager
def stand_in() -> Iterator[None]:
    """Where torchvision is missing, answer in its place as long as the context lasts."""
    if importlib.util.find_spec("torchvision") is not None:
        yield
        return
    finder = _Finder()
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
