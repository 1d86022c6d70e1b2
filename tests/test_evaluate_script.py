"""`experiments/evaluate.py`: where its figures go."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from emojax.errors import UserError


@pytest.fixture
def script(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(repository / "experiments")
    script = importlib.import_module("evaluate")
    monkeypatch.setattr(script, "terminal_table", lambda results: "table")
    return script


def test_the_place_of_the_figures_is_made_before_they_are(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "missing" / "folder" / "figures.json"

    def evaluate_run(*_: Any) -> dict[str, Any]:
        assert out.parent.is_dir()
        return {"test": 1}

    monkeypatch.setattr(script, "evaluate_run", evaluate_run)
    assert script.main(["runs/a", f"--out={out}"]) == 0
    assert json.loads(out.read_text()) == {"test": 1}
    assert f"wrote {out}" in capsys.readouterr().out


def test_a_place_that_is_none_is_refused_before_anything_is_evaluated(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate_run(*_: Any) -> None:
        pytest.fail("evaluated before its place was looked at")

    monkeypatch.setattr(script, "evaluate_run", evaluate_run)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="can't be written"):
        script.main(["runs/a", f"--out={tmp_path / 'file' / 'figures.json'}"])
