from __future__ import annotations

import errno
import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

import emojax
from emojax import cli
from emojax.cli import COMMANDS, run_guarded
from emojax.errors import MissingExtraError, UserError

if TYPE_CHECKING:
    from conftest import RunPython


def assert_one_line(text: str) -> None:
    """A person's mistake is told in one line, and never with a traceback."""
    assert text.endswith("\n")
    assert text.count("\n") == 1
    assert "Traceback" not in text


def raising(error: BaseException) -> NoReturn:
    raise error


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"]])
def test_help_names_every_command(arguments: list[str], run_python: RunPython) -> None:
    done = run_python("-m", "emojax", *arguments)
    assert done.returncode == 0
    assert done.stderr == ""
    for name, (_, extra, what) in COMMANDS.items():
        assert name in done.stdout
        assert what in done.stdout
        assert extra is None or f"emojax[{extra}]" in done.stdout
    assert "--help" in done.stdout


def test_no_command_is_a_mistake_that_teaches(run_python: RunPython) -> None:
    done = run_python("-m", "emojax")
    assert done.returncode == 2
    assert "usage: emojax COMMAND" in done.stdout


def test_unknown_command(run_python: RunPython) -> None:
    done = run_python("-m", "emojax", "preditc", "--help")
    assert done.returncode == 2
    assert done.stdout == ""
    assert_one_line(done.stderr)
    assert "preditc" in done.stderr
    for name in COMMANDS:
        assert name in done.stderr


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_version_is_the_project_s(flag: str, run_python: RunPython, repository: Path) -> None:
    done = run_python("-m", "emojax", flag)
    assert (done.returncode, done.stdout) == (0, f"emojax {emojax.__version__}\n")
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    assert emojax.__version__ == project["version"]


def test_help_loads_no_command(run_python: RunPython) -> None:
    probe = (
        "import sys; from emojax.cli import main; main(['--help']); "
        "loaded = set(sys.modules) & {'numpy', 'cv2', 'av', 'tyro', 'jax', 'tensorflow'}; "
        "print(loaded or 'light')"
    )
    assert run_python("-c", probe).stdout.splitlines()[-1] == "light"


def test_every_command_exists_and_names_a_real_extra(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    for module, extra, _ in COMMANDS.values():
        assert importlib.util.find_spec(module) is not None
        assert extra is None or extra in project["optional-dependencies"]
    assert set(cli._EXTRA_OF_PACKAGE.values()) <= set(project["optional-dependencies"])
    assert project["scripts"] == {"emojax": "emojax.cli:main"}


# Stands in for a machine where the extra is not installed.
ABSENT = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
sys.path.insert(0, {folder!r})
from emojax import cli
cli.COMMANDS["probe"] = ("probe", "train", "for this test")
sys.exit(cli.main({arguments!r}))
"""
TRAIN_PACKAGES = {
    *("jax", "jaxlib", "jaxtyping", "flax", "optax", "orbax", "tensorflow"),
    *("tensorflow_datasets", "sklearn", "matplotlib", "pandas", "librosa", "tensorboardX"),
}


@pytest.mark.parametrize(
    ("statement", "absent", "extra"),
    [
        ("import jax", {"jax"}, "train"),
        ("import jax.numpy", {"jax"}, "train"),
        ("from flax import linen", TRAIN_PACKAGES, "train"),
        ("import emojax.train", TRAIN_PACKAGES, "train"),
        ("import pandas", {"pandas"}, "table"),
        ("import apache_beam.io", {"apache_beam"}, "beam"),
        ("import uvicorn", {"uvicorn"}, "serve"),
    ],
)
def test_a_missing_extra_prints_the_pip_line(
    statement: str, absent: set[str], extra: str, tmp_path: Path, run_python: RunPython
) -> None:
    (tmp_path / "probe.py").write_text(f"def main(arguments):\n    {statement}\n    return 0\n")
    code = ABSENT.format(absent=absent, folder=str(tmp_path), arguments=["probe"])
    done = run_python("-c", code)
    assert done.returncode == 2
    assert_one_line(done.stderr)
    assert f"pip install 'emojax[{extra}]'" in done.stderr
    assert done.stderr.startswith("emojax probe: error: ")


@pytest.mark.parametrize(
    "name", [name for name, (_, extra, _) in COMMANDS.items() if extra == "train"]
)
def test_a_training_command_without_its_extra(
    name: str, tmp_path: Path, run_python: RunPython
) -> None:
    # Enough words that a command which reads its flags first gets past them.
    words = {
        "data": ["data", "build", "synthetic", "--out", str(tmp_path / "out")],
        "models": ["models", "--no-times"],
        "export": ["export", str(tmp_path)],
    }
    code = ABSENT.format(absent=TRAIN_PACKAGES, folder=str(tmp_path), arguments=words[name])
    done = run_python("-c", code)
    assert done.returncode == 2
    assert_one_line(done.stderr)
    assert "pip install 'emojax[train]'" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_package_of_no_extra_is_our_defect(tmp_path: Path, run_python: RunPython) -> None:
    (tmp_path / "probe.py").write_text("import emojax.no_such_module\n")
    code = ABSENT.format(absent=set(), folder=str(tmp_path), arguments=["probe"])
    done = run_python("-c", code)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("status", [0, 1])
def test_the_status_of_the_work_is_passed_on(
    status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_guarded("emojax predict", lambda: status) == status
    assert capsys.readouterr() == ("", "")


def test_a_user_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    error = UserError("face.png: found text,\n   wanted a picture:  save it again")
    assert run_guarded("emojax predict", lambda: raising(error)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "emojax predict: error: face.png: found text, wanted a picture: save it again\n"


def test_missing_extra_is_a_user_error(capsys: pytest.CaptureFixture[str]) -> None:
    error = MissingExtraError("Parquet output", "table")
    assert error.extra == "table"
    assert isinstance(error, UserError)
    assert isinstance(error, ValueError)
    assert run_guarded("emojax predict", lambda: raising(error)) == 2
    assert "Parquet output needs the extra `table`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), ["the output", "No space left", "free"]),
        (OSError(errno.ENOSPC, "No space left on device", "o.csv"), ["o.csv", "No space", "free"]),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "o.csv"), ["o.csv", "quota", "free some"]),
        (PermissionError(errno.EACCES, "Permission denied", "out"), ["out: Permission denied"]),
        (FileNotFoundError(errno.ENOENT, "No such file", "a/b"), ["a/b: No such file", "check"]),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a"), ["a: Not a directory"]),
    ],
)
def test_a_file_that_cannot_be_written(
    error: OSError, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_guarded("emojax predict", lambda: raising(error)) == 2
    err = capsys.readouterr().err
    assert_one_line(err)
    for word in words:
        assert word in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_really_full_disk(run_python: RunPython) -> None:
    code = (
        "import sys; from emojax.cli import run_guarded\n"
        "def fill():\n"
        "    with open('/dev/full', 'w') as file:\n"
        "        file.write('x' * 100000)\n"
        "sys.exit(run_guarded('emojax predict', fill))"
    )
    done = run_python("-c", code)
    assert done.returncode == 2
    assert_one_line(done.stderr)
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("ours"), OSError("no file to blame"), ValueError("ours")]
)
def test_a_defect_of_ours_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        run_guarded("emojax predict", lambda: raising(error))


def test_keyboard_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_guarded("emojax predict", lambda: raising(KeyboardInterrupt())) == 130
    assert (
        capsys.readouterr().err == "\nemojax predict: stopped; what was already written is kept\n"
    )


def test_ctrl_c_in_a_real_process(repository: Path) -> None:
    code = (
        "import sys, time; from emojax.cli import run_guarded\n"
        "def work():\n"
        "    print('working', flush=True)\n"
        "    time.sleep(60)\n"
        "sys.exit(run_guarded('emojax predict', work))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "stopped" in err


def test_a_reader_that_goes_away_is_told_by_the_status_alone(repository: Path) -> None:
    code = (
        "import sys; from emojax.cli import run_guarded\n"
        "def talk():\n"
        "    for number in range(200000): print(number)\n"
        "    return 0\n"
        "sys.exit(run_guarded('emojax predict', talk))"
    )
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=repository,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(writing)
        os.read(reading, 10)
        os.close(reading)
        _, err = process.communicate(timeout=30)
    # As a shell has it of SIGPIPE: the work is not done.
    assert (process.returncode, err) == (141, "")


@pytest.mark.parametrize(("place", "status"), [("a pipe", 1), ("/dev/full", 2)])
def test_a_last_word_that_nobody_hears_is_no_traceback(
    place: str, status: int, repository: Path
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    code = (
        "import sys; from emojax.cli import run_guarded\n"
        "def talk():\n"
        "    print('few words')\n"
        "    return 1\n"
        "sys.exit(run_guarded('emojax predict', talk))"
    )
    if place == "a pipe":
        reading, writing = os.pipe()
        os.close(reading)
    else:
        writing = os.open(place, os.O_WRONLY)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=repository,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
        # Held back until the end, as it is by default.
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )
    os.close(writing)
    assert done.returncode == status
    assert done.stderr.count("\n") == status - 1
    assert "Exception" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8:strict"])
def test_a_name_that_the_terminal_lacks_ends_nothing(encoding: str, repository: Path) -> None:
    code = (
        "import sys; from emojax.cli import run_guarded\n"
        "def talk():\n"
        "    print('顔 \\udcff.png: no face')\n"
        "    return 0\n"
        "sys.exit(run_guarded('emojax predict', talk))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=repository,
        capture_output=True,
        timeout=30,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    shown = "顔".encode() if encoding.startswith("utf") else b"\\u9854"
    assert done.stdout == shown + b" \\udcff.png: no face\n"


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's descriptors")
@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-"])
def test_closed_streams_are_no_error_and_no_file(
    closed: str, tmp_path: Path, repository: Path
) -> None:
    out = tmp_path / "out"
    code = (
        "import os, sys, tqdm; from emojax.cli import run_guarded\n"
        "from emojax.runtime.quiet import quiet_libraries\n"
        "def work():\n"
        f"    with open({str(out)!r}, 'wb', buffering=0) as file, quiet_libraries():\n"
        "        for _ in tqdm.tqdm(range(3)): pass\n"
        "        os.write(2, b'what a library says')\n"
        "        print('told', file=sys.stderr)\n"
        "        file.write(b'rows')\n"
        "    os.write(2, b'what a library says')\n"
        "    return 1\n"
        "sys.exit(run_guarded('emojax predict', work))"
    )
    command = f"exec {shlex.quote(sys.executable)} -c {shlex.quote(code)} {closed}"
    done = subprocess.run(["sh", "-c", command], cwd=repository, timeout=30, check=False)
    assert done.returncode == 1
    assert out.read_bytes() == b"rows"


def test_what_a_file_says_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise UserError("a\x1b[2J b\r\n\tc \udcff Größe \u202e")

    assert cli.run_guarded("emojax x", fail) == 2
    said = capsys.readouterr().err
    assert said == "emojax x: error: a\\x1b[2J b c \\udcff Größe \\u202e\n"
