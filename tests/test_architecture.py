"""The architecture, as a table that the imports are held to.

`LAYERS` is written from the bottom up. A module sees its own layer and the
layers that its own names, in functions as well as at its top; what is only
imported for the type checker does not count.
"""

from __future__ import annotations

import ast
import graphlib
import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from emojax.cli import _EXTRA_OF_PACKAGE

if TYPE_CHECKING:
    from conftest import RunPython


class Layer(NamedTuple):
    """Modules of one level."""

    modules: str
    """Names below `emojax`; `models.*` is the package and all that is in it."""
    sees: str
    """Layers whose modules may be imported, all of them further up in the table."""
    packages: str
    """What may be imported from elsewhere, beside the standard library."""


LAYERS: dict[str, Layer] = {
    "vocabulary": Layer(
        "errors files html labels memory seal shipped.* spec stopping version", sees="", packages=""
    ),
    "signal": Layer(
        "archive audio camera clip face following picture quick_search video window",
        sees="vocabulary",
        packages="numpy cv2 av",
    ),
    # A TFLite model and its recorded answers: where it is made and where it is used.
    "model_file": Layer(
        "filter_bank golden litert temperature",
        sees="vocabulary signal",
        packages="numpy ai_edge_litert",
    ),
    # Training, from here down to `experiment`.
    "compiler": Layer("compiler", sees="", packages="jax"),
    # Networks never see TensorFlow or a data set,
    "models": Layer(
        "models.*",
        sees="vocabulary compiler",
        packages="numpy jax jaxtyping flax",
    ),
    # and data sets never see a network.
    "data": Layer(
        "data.*",
        sees="vocabulary signal",
        packages=(
            "numpy cv2 av jax jaxtyping librosa tqdm tensorflow tensorflow_datasets apache_beam "
            "google_crc32c"
        ),
    ),
    "training": Layer(
        (
            "alone ancestors augment augment_sound checkpoint cluster config finetune finite "
            "losses optim preconditions run sharding train weights weights_file"
        ),
        sees="vocabulary signal compiler models data",
        packages="numpy jax jaxtyping flax optax orbax",
    ),
    "inventory": Layer(
        "inventory",
        sees="vocabulary compiler models training",
        packages="numpy jax flax optax",
    ),
    "evaluation": Layer(
        "baseline calibration curves evaluate metrics plots report significance",
        sees="vocabulary signal model_file compiler models data training",
        packages="numpy cv2 jax jaxtyping flax scipy sklearn matplotlib tensorboardX",
    ),
    "export": Layer(
        "drawn_examples export quantise",
        sees="vocabulary signal model_file compiler models data training evaluation",
        packages="numpy jax jaxtyping flax tensorflow ai_edge_quantizer",
    ),
    "experiment": Layer(
        "cross_validation experiment export_run lanes network results stacking sweep trainings",
        sees="vocabulary signal model_file compiler models data training evaluation export",
        packages="numpy jax flax pandas tqdm",
    ),
    "explain": Layer(
        "explain.*",
        sees="vocabulary signal model_file compiler models data training evaluation experiment",
        packages="numpy cv2 jax jaxtyping flax matplotlib",
    ),
    "tables": Layer(
        "tables.*",
        sees=(
            "vocabulary signal model_file compiler models data training inventory evaluation "
            "export experiment explain"
        ),
        packages="numpy jax jaxtyping scipy sklearn matplotlib tqdm",
    ),
    # Use, beside all that: it starts from the signal again and needs no training package.
    "runtime": Layer(
        "runtime.*", sees="vocabulary signal model_file", packages="numpy cv2 av tqdm"
    ),
    # What `import emojax` gives: the runner, and only when it is asked for.
    "front door": Layer("__init__", sees="vocabulary signal model_file runtime", packages=""),
    "app": Layer(
        "app.* commands.__init__ commands.bench commands.predict commands.verify commands.webcam",
        sees="vocabulary signal runtime",
        packages="numpy cv2 tqdm tyro",
    ),
    # The page and the API under it: an extra, beside the live view.
    "serve": Layer(
        "serve.* commands.serve",
        sees="vocabulary signal runtime",
        packages="numpy cv2 tyro fastapi starlette uvicorn",
    ),
    "data command": Layer(
        "commands.data.*", sees="vocabulary signal data", packages="numpy cv2 tqdm tyro"
    ),
    "models command": Layer(
        "commands.models",
        sees="vocabulary signal models training inventory",
        packages="jax tyro",
    ),
    "export command": Layer("commands.export", sees="vocabulary experiment", packages="tyro"),
    # Finds a command by its name, so that one does not cost the packages of another.
    "cli": Layer("cli __main__", sees="vocabulary", packages=""),
}

# What `pip install emojax` has to be able to run.
RUNNER = (
    "cli __main__ face audio video runtime app commands.bench commands.predict commands.verify "
    "commands.webcam"
)
RUNNER_NEVER = {
    *("jax", "jaxlib", "jaxtyping", "flax", "optax", "orbax", "chex"),
    *("tensorflow", "tensorflow_datasets", "keras", "librosa", "scipy"),
    *("pandas", "pyarrow", "sklearn", "matplotlib", "tensorboardX"),
}
# module, package: imported inside a function, for people who installed the extra named.
LAZY_EXTRAS: dict[tuple[str, str], str] = {
    ("emojax.runtime.records", "pandas"): "table",
    ("emojax.runtime.tables", "pyarrow"): "table",
}

IMPORT_NAMES = {
    "opencv-python-headless": "cv2",
    "ai-edge-litert": "ai_edge_litert",
    "ai-edge-quantizer": "ai_edge_quantizer",
}

ROOT = Path(__file__).resolve().parents[1]


class Import(NamedTuple):
    """One import statement's target."""

    name: str
    """Module of ours with its full name, or another package's first name."""
    lazy: bool
    """Inside a function: nothing happens when the module is imported."""
    line: int


def find_modules() -> dict[str, Path]:
    """Every module of the package by its full name; a package's own is `__init__`."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in sorted((ROOT / "emojax").rglob("*.py"))
    }


def _is_type_checking(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in (getattr(test, "id", None), getattr(test, "attr", None))


def _statements(node: ast.AST, lazy: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, lazy
        elif isinstance(child, ast.If) and _is_type_checking(child.test):
            for other in child.orelse:
                yield from _statements(ast.Module([other], []), lazy)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _statements(child, lazy or inside)


def read_imports(source: str, module: str, modules: set[str]) -> list[Import]:
    """What a module imports; ours resolved to modules, others to their first name."""

    def ours(name: str) -> str:
        return f"{name}.__init__" if f"{name}.__init__" in modules else name

    found: list[Import] = []
    for node, lazy in _statements(ast.parse(source), lazy=False):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        else:
            package = module.split(".")[: -node.level] if node.level else []
            origin = ".".join([*package, *([node.module] if node.module else [])])
            # `from emojax import labels` is of a module, `from emojax.labels import X` of a name.
            targets = [
                f"{origin}.{alias.name}"
                if {f"{origin}.{alias.name}", f"{origin}.{alias.name}.__init__"} & modules
                else origin
                for alias in node.names
            ]
        for target in dict.fromkeys(targets):
            mine = target.split(".")[0] == "emojax"
            name = ours(target) if mine else target.split(".")[0]
            if mine or name not in sys.stdlib_module_names:
                found.append(Import(name, lazy, node.lineno))
    return found


MODULES = find_modules()
IMPORTS = {
    module: read_imports(path.read_text(encoding="utf-8"), module, set(MODULES))
    for module, path in MODULES.items()
}


def layer_of(module: str) -> str | None:
    """The layer that names a module, None where none does."""
    name = module.removeprefix("emojax.")
    for layer, row in LAYERS.items():
        for pattern in row.modules.split():
            if name == pattern or (pattern.endswith(".*") and name.startswith(pattern[:-1])):
                return layer
    return None


# The table itself.


def test_the_table_is_written_from_the_bottom_up() -> None:
    above: set[str] = set()
    for layer, row in LAYERS.items():
        assert set(row.sees.split()) <= above, layer
        above.add(layer)


def test_nothing_in_the_table_is_gone() -> None:
    for layer, row in LAYERS.items():
        for pattern in row.modules.split():
            wanted = f"emojax.{pattern.removesuffix('*')}"
            assert any(
                module.startswith(wanted) if pattern.endswith("*") else module == wanted
                for module in MODULES
            ), f"{layer}: no module {wanted}"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_a_layer(module: str) -> None:
    assert layer_of(module) is not None, f"{module}: say in LAYERS where it belongs"


# What the table says.


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str) -> None:
    layer = layer_of(module) or pytest.skip("has no layer: told by another test")
    visible = {layer, *LAYERS[layer].sees.split()}
    for name, _, line in IMPORTS[module]:
        if name.startswith("emojax."):
            assert name in MODULES, f"{module}:{line} imports {name}, which is no module"
            found = layer_of(name)
            assert found in visible, (
                f"{module}:{line} ({layer}) imports {name} ({found}): "
                f"{layer} sees {', '.join(sorted(visible))}"
            )


@pytest.mark.parametrize("module", MODULES)
def test_packages_stay_in_their_layers(module: str) -> None:
    layer = layer_of(module) or pytest.skip("has no layer: told by another test")
    for name, lazy, line in IMPORTS[module]:
        if name.startswith("emojax.") or (lazy and (module, name) in LAZY_EXTRAS):
            continue
        assert name in LAYERS[layer].packages.split(), (
            f"{module}:{line} imports {name}, which {layer} does not use"
        )


def test_no_cycle_when_modules_are_imported() -> None:
    graph = {
        module: {name for name, lazy, _ in imports if not lazy and name in MODULES}
        for module, imports in IMPORTS.items()
    }
    # A package that gathers its own modules is not a cycle; one of them asking it back is, and has
    # no order: CycleError.
    assert {*graphlib.TopologicalSorter(graph).static_order()} == {*MODULES}


def test_only_the_command_line_imports_by_name() -> None:
    for module, path in MODULES.items():
        called = {
            getattr(node.func, "attr", getattr(node.func, "id", ""))
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call)
        }
        assert not called & {"__import__", "import_module"} or module == "emojax.cli", module


# What is installed.


def requirements(extra: str | None = None) -> set[str]:
    """Import names of what pip brings, for an extra or for none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    names = {line.split(";")[0].split("[")[0].split(">")[0].strip() for line in lines}
    return {IMPORT_NAMES.get(name) or name.replace("-", "_") for name in names}


def reached_from(roots: set[str]) -> dict[str, str]:
    """Every module that the roots import, lazily or not, with the one that asked for it."""
    found = dict.fromkeys(roots, "")
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        parts = module.split(".")
        parents = [".".join([*parts[:end], "__init__"]) for end in range(1, len(parts))]
        for name in [name for name, _, _ in IMPORTS[module]] + parents:
            if name in MODULES and name not in found:
                found[name] = module
                waiting.append(name)
    return found


def test_the_runner_needs_no_more_than_pip_install_emojax() -> None:
    names = [f"emojax.{name}" for name in RUNNER.split()]
    roots = {f"{name}.__init__" if f"{name}.__init__" in MODULES else name for name in names}
    base = requirements()
    assert not base & RUNNER_NEVER
    for module, asked_by in reached_from(roots).items():
        for name, lazy, line in IMPORTS[module]:
            if name.startswith("emojax.") or (lazy and (module, name) in LAZY_EXTRAS):
                continue
            assert name in base, f"{module}:{line} (reached by {asked_by}) imports {name}"


def test_the_server_needs_the_runner_and_its_extra_alone() -> None:
    roots = {name for name in MODULES if layer_of(name) == "serve"}
    allowed = requirements() | requirements("serve")
    assert not allowed & RUNNER_NEVER
    for module, asked_by in reached_from(roots).items():
        for name, lazy, line in IMPORTS[module]:
            if name.startswith("emojax.") or (lazy and (module, name) in LAZY_EXTRAS):
                continue
            assert name in allowed, f"{module}:{line} (reached by {asked_by}) imports {name}"


def test_lazy_extras_are_lazy_and_used() -> None:
    for module, package in LAZY_EXTRAS:
        assert [lazy for name, lazy, _ in IMPORTS[module] if name == package] == [True]
        assert _EXTRA_OF_PACKAGE[package] == LAZY_EXTRAS[module, package]


def test_every_package_comes_with_the_project_and_its_absence_is_explained() -> None:
    used = {name for imports in IMPORTS.values() for name, _, _ in imports} - set(MODULES)
    extras = set(_EXTRA_OF_PACKAGE.values())
    brought = {extra: requirements(extra) for extra in extras}
    # Names that differ between the index and the import statement.
    brought["train"] |= {"sklearn", "orbax", "tensorflow"}
    for name in used - requirements():
        assert name in _EXTRA_OF_PACKAGE, f"{name}: cli.py does not say which extra brings it"
        assert name in brought[_EXTRA_OF_PACKAGE[name]], f"{name} is not in pyproject.toml"


IMPORT_AND_LIST = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


@pytest.mark.parametrize("name", ["emojax.runtime", "all of the runner"])
def test_importing_the_runner_loads_no_training_package(name: str, run_python: RunPython) -> None:
    names = [name] if name == "emojax.runtime" else [f"emojax.{name}" for name in RUNNER.split()]
    names = [name for name in names if name != "emojax.__main__"]
    done = run_python("-c", IMPORT_AND_LIST, *names)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    assert "ai_edge_litert" in loaded
    assert not loaded & RUNNER_NEVER


IMPORT_EVERYTHING = """
import importlib, signal, sys
before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
for name in sys.argv[1:]:
    importlib.import_module(name)
assert before == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
import jax
# JAX refuses this once a device was asked for.
jax.config.update("jax_num_cpu_devices", 3)
assert jax.device_count() == 3
print("tensorflow" if "tensorflow" in sys.modules else "quiet")
"""


@pytest.mark.parametrize("module", [name for name in MODULES if name != "emojax.__main__"])
def test_a_module_only_defines(module: str) -> None:
    # Other packages set variables and draw numbers when they are imported; ours do not.
    for node in ast.parse(MODULES[module].read_text(encoding="utf-8")).body:
        where = f"{module}:{node.lineno}"
        if isinstance(node, ast.Expr):
            assert isinstance(node.value, ast.Constant), f"{where} acts when it is imported"
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            assert all(isinstance(target, ast.Name | ast.Tuple) for target in targets), where
        else:
            functions = (ast.FunctionDef, ast.AsyncFunctionDef)
            defining = (ast.Import, ast.ImportFrom, *functions, ast.ClassDef, ast.If, ast.Try)
            assert isinstance(node, defining), f"{where} acts when it is imported"


def test_importing_everything_starts_no_device_and_writes_no_file(
    tmp_path: Path, run_python: RunPython
) -> None:
    names = [name.removesuffix(".__init__") for name in MODULES if name != "emojax.__main__"]
    done = run_python(
        *("-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{IMPORT_EVERYTHING}", *names),
        cwd=tmp_path,
        JAX_PLATFORMS="cpu",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "quiet\n", "")
    assert list(tmp_path.iterdir()) == []


# The reading of imports, which all of the above stands on.

SOURCE = """
from __future__ import annotations
import os, jax.numpy as jnp
import emojax.labels
from typing import TYPE_CHECKING
from emojax import labels, __version__
from emojax.models import build_model
from emojax.models.ar1 import AR1
from . import spec
from .data import shards
if TYPE_CHECKING:
    import flax
else:
    import numpy
try:
    import tqdm
except ImportError:
    tqdm = None
class Writer:
    import cv2
    def write(self):
        import pandas.io
        from emojax import train
async def fetch():
    import av
"""


def test_reading_imports() -> None:
    modules = {
        *("emojax.__init__", "emojax.labels", "emojax.spec", "emojax.train", "emojax.writer"),
        *("emojax.models.__init__", "emojax.models.ar1", "emojax.data.shards"),
    }
    found = read_imports(SOURCE, "emojax.writer", modules)
    assert [name for name, lazy, _ in found if lazy] == ["pandas", "emojax.train", "av"]
    assert [name for name, lazy, _ in found if not lazy] == [
        *("jax", "emojax.labels", "emojax.labels", "emojax.__init__"),
        *("emojax.models.__init__", "emojax.models.ar1", "emojax.spec", "emojax.data.shards"),
        *("numpy", "tqdm", "cv2"),
    ]
    assert found[0].line == 3
    (inside,) = read_imports("from . import layers", "emojax.models.ar1", {"emojax.models.layers"})
    assert inside.name == "emojax.models.layers"
    (inside,) = read_imports("from .. import spec", "emojax.models.__init__", {"emojax.spec"})
    assert inside.name == "emojax.spec"
