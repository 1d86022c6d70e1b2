"""What a network costs, against published figures, hand counts and XLA's own."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import pytest

from emojax.cli import main
from emojax.inventory import count_multiply_accumulates, measure_cost, measure_times
from emojax.models import MODELS, build_model, looks_at
from emojax.models.inputs import fit_spec
from emojax.spec import InputSpec, SpectrogramSpec, read_json

if TYPE_CHECKING:
    from conftest import RunPython

SPEC = InputSpec(sound=SpectrogramSpec())


@functools.cache
def cost_of(key: str, dtype: str = "float32") -> Any:
    looks = looks_at(key)
    spec = fit_spec(SPEC, looks)
    return measure_cost(build_model(key, spec.num_outputs, dtype=dtype), looks, spec)


def graph_of(key: str, side: int) -> tuple[Any, Any, Any]:
    model = build_model(key, 1000)
    image = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    init = functools.partial(model.init, train=False)
    variables = jax.eval_shape(init, jax.random.key(0), image)

    def forward(variables: Any, image: Any) -> Any:
        return model.apply(variables, image, train=False).logits

    return forward, variables, image


@pytest.mark.parametrize(
    ("key", "side", "published"),
    [
        # He et al. 2016, table 1, to two digits, and torchvision's figures to four.
        ("resnet18", 224, 1.814e9),
        ("resnet34", 224, 3.664e9),
        ("resnet50", 224, 4.089e9),
        ("resnet101", 224, 7.801e9),
    ],
)
def test_multiply_accumulates_are_the_published_ones(key: str, side: int, published: float) -> None:
    forward, variables, image = graph_of(key, side)
    found = count_multiply_accumulates(jax.make_jaxpr(forward)(variables, image).jaxpr)
    assert found == pytest.approx(published, rel=1e-3)


def test_multiply_accumulates_of_ar1_by_hand() -> None:
    # Convolutions at 49 x 40, 24 x 20, 12 x 10 and 6 x 5; then 3 x 2 x 128 to 256 to 22.
    expected = (
        *(49 * 40 * 25 * 24, 24 * 20 * 9 * 24 * 48, 12 * 10 * 9 * 48 * 96, 6 * 5 * 9 * 96 * 128),
        *(3 * 2 * 128 * 256, 256 * 22),
    )
    assert cost_of("ar1").multiply_accumulates == sum(expected)


def test_multiply_accumulates_are_half_of_xla_s_operations() -> None:
    forward, variables, image = graph_of("resnet18", 224)
    analysis = jax.jit(forward).lower(variables, image).compile().cost_analysis()
    found = count_multiply_accumulates(jax.make_jaxpr(forward)(variables, image).jaxpr)
    # XLA leaves out the products with padding.
    assert 1.0 < found / (analysis["flops"] / 2) < 1.1


# The others are the same blocks, only more of them.
QUICK = ("ar1", "ar2", "ar3", "ar4", "ar5", "resnet18", "resnet_small", "inception_resnet")


@pytest.mark.parametrize(
    "key", [pytest.param(key, marks=[] if key in QUICK else pytest.mark.release) for key in MODELS]
)
def test_every_network_has_a_row(key: str) -> None:
    cost = cost_of(key)
    assert cost.parameters > 2e5
    assert cost.multiply_accumulates > 1e7
    # Every example keeps at least its own input's first layer, and no parameters.
    assert 98 * 80 * 4 < cost.activation_bytes < 200e6


def test_bfloat16_keeps_less() -> None:
    single, half = cost_of("resnet18"), cost_of("resnet18", "bfloat16")
    assert half.multiply_accumulates == single.multiply_accumulates
    # Normalisation keeps its float32.
    assert 0.4 < half.activation_bytes / single.activation_bytes < 0.85


def test_times_grow_with_the_batch() -> None:
    model = build_model("ar1", 22)
    few, many = (measure_times(model, "picture", InputSpec(), batch, 3) for batch in (2, 16))
    assert many.step_s > few.step_s > 0
    assert 0 < few.prediction_s < many.step_s


def test_the_command_prints_a_table(run_python: RunPython, tmp_path: Path) -> None:
    done = run_python(
        *("-m", "emojax", "models", "ar1", "ar5", "inception_v4", "--no-times", "--height", "60"),
        *("--json", tmp_path / "new" / "models.json"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[2].startswith("ar1 ")
    assert lines[3].startswith("ar5 ")
    assert "can't take 60x80 pictures: the smallest is 75x75" in lines[4]
    rows = read_json(tmp_path / "new" / "models.json")["rows"]
    assert [row["key"] for row in rows] == ["ar1", "ar5", "inception_v4"]
    assert rows[0]["parameters"] > 1e5


def test_the_command_times_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    # A batch that is timed above: its step is compiled already.
    assert main(["models", "ar1", "--batch", "2", "--rounds", "1"]) == 0
    step, prediction = map(float, capsys.readouterr().out.splitlines()[2].split()[-2:])
    assert step > 0
    assert prediction > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ar9"], "model 'ar9' is not known: use one of ar1"),
        (["--rounds", "0"], "--rounds=0"),
        # Before minutes of measuring.
        (["--json", "emojax"], "emojax: is a folder, wanted a file"),
        (["--json", "pyproject.toml/a.json"], "pyproject.toml/a.json: can't be written"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    words: str,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(repository)
    assert main(["models", *arguments]) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert words in line
    assert said.out == ""
