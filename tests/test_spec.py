from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from emojax import labels
from emojax.errors import UserError
from emojax.spec import SPEC_VERSION, InputSpec, SpectrogramSpec, read_json, spec_from_dict

if TYPE_CHECKING:
    from conftest import RunPython

OTHER = InputSpec(
    height=112,
    width=96,
    crop_scale=1.25,
    equalise=True,
    offset=127.5,
    scale=255.0,
    action_units=("AU12", "AU01"),
    emotions=labels.EMOTION_SETS["ck8"],
    action_unit_activation="sigmoid",
    emotion_activation="softmax",
)


def test_the_default_is_what_the_thesis_feeds() -> None:
    spec = InputSpec()
    assert (spec.height, spec.width, spec.channels) == (98, 80, 1)
    assert [(x - spec.offset) / spec.scale for x in (0, 127, 255)] == [-127 / 128, 0.0, 1.0]
    assert spec.num_outputs == 22
    assert not spec.equalise


def test_outputs_come_units_first() -> None:
    assert OTHER.num_outputs == 10
    assert OTHER.output_names == (
        *("AU12", "AU01"),
        *("emotion_neutral", "emotion_happiness", "emotion_sadness", "emotion_surprise"),
        *("emotion_fear", "emotion_disgust", "emotion_anger", "emotion_contempt"),
    )
    assert InputSpec(action_units=()).output_names[0] == "emotion_neutral"
    assert InputSpec(emotions=()).num_outputs == 15


@pytest.mark.parametrize("spec", [InputSpec(), OTHER])
def test_round_trip_through_a_file(spec: InputSpec, tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec.to_dict(), allow_nan=False))
    again = spec_from_dict(read_json(path), str(path))
    assert again == spec
    assert again.to_dict() == spec.to_dict()
    assert isinstance(again.action_units, tuple)
    assert hash(again) == hash(spec)


# Every way in which a JSON file can hold a wrong value, and what the message has to name.
REFUSED: list[tuple[str, Any, str]] = [
    ("height", 7, "height=7: wanted a whole number of pixels, 8..1024"),
    ("height", 1025, "height=1025"),
    ("height", 98.0, "height=98.0"),
    ("height", "98", "height='98'"),
    ("height", None, "height=None"),
    ("width", 0, "width=0: wanted a whole number of pixels, 8..1024"),
    ("width", -80, "width=-80"),
    ("width", True, "width=True"),
    ("channels", 3, "channels=3: only gray input (1) is supported"),
    ("crop_scale", 0.1, "crop_scale=0.1: wanted 0.2..3.0 of the face box"),
    ("crop_scale", 3.5, "crop_scale=3.5"),
    ("crop_scale", math.nan, "crop_scale=nan"),
    ("crop_scale", "1", "'str'"),
    ("scale", 0, "scale=0: wanted a number above 0"),
    ("scale", -1.0, "scale=-1.0"),
    ("scale", math.nan, "scale=nan"),
    ("scale", math.inf, "scale=inf"),
    ("scale", 10**400, "a million at most"),
    ("offset", math.nan, "offset=nan"),
    ("offset", math.inf, "offset=inf"),
    ("offset", "127", "offset='127'"),
    ("offset", None, "offset=None"),
    ("equalise", "no", "equalise='no'"),
    ("equalise", 1, "equalise=1"),
    ("action_unit_activation", "tanh", "action_unit_activation='tanh': use sigmoid or softmax"),
    ("emotion_activation", "", "emotion_activation='': use sigmoid or softmax"),
    ("emotion_activation", None, "emotion_activation=None"),
    ("action_units", ["AU01", "AU27"], "action_units holds 'AU27': use AU01 .. AU26 of the 15"),
    ("action_units", ["AU1"], "action_units holds 'AU1'"),
    ("action_units", ["AU01", "AU01"], "action_units names an output twice: AU01, AU01"),
    ("action_units", 15, "action_units=15"),
    ("emotions", ["fear", "fear"], "emotions names an output twice: fear, fear"),
    ("emotions", None, "emotions=None"),
    ("emotions", "angry", "emotions='angry'"),
    ("emotions", [1, 2], "emotions"),
    ("sound", {"duration_s": 3600, "hop_ms": 0.0625}, "spectrogram of 14803200000 values"),
    ("sound", {"duration_s": None, "hop_ms": 0.0625}, "spectrogram of 246720000 values"),
    # Of columns far apart there are few, and the sound itself is too long.
    ("sound", {"duration_s": 3600, "sample_rate_hz": 10**6, "window_ms": 0.1, "hop_ms": 1000},
     "3600000000 samples"),
    ("sound", {"range_db": 10**400}, "range_db=1000000"),
    ("sound", {"range_db": 1000.1}, "range_db=1000.1: wanted a number above 0, 1000 at most"),
    ("sound", {"range_db": math.nan}, "range_db=nan"),
    ("sound", {"hop_ms": 10**400}, "hop_ms=1000000"),
    ("sound", {"sample_rate_hz": 16000.4}, "sample_rate_hz=16000.4: wanted a whole number, 1000.."),
    ("sound", {"sample_rate_hz": 999}, "sample_rate_hz=999: wanted a whole number, 1000..1000000"),
    ("sound", {"sample_rate_hz": 10**6 + 1}, "sample_rate_hz=1000001: wanted a whole number"),
]  # fmt: skip

READ_EACH = """
import json, sys
from pathlib import Path
from emojax.errors import UserError
from emojax.spec import read_json, spec_from_dict
answers = []
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        spec_from_dict(read_json(path), "some/spec.json")
        answers.append("accepted")
    except UserError as error:
        answers.append(str(error))
    except Exception as error:
        answers.append(f"crashed: {error!r}")
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory, run_python: RunPython) -> list[str]:
    # In a process of its own: the type checker of the tests would stop some of
    # these values before our own checks, and nobody who uses emojax has it on.
    folder = tmp_path_factory.mktemp("specs")
    for number, (field, value, _) in enumerate(REFUSED):
        path = folder / f"{number:03d}.json"
        path.write_text(json.dumps(InputSpec().to_dict() | {field: value}))
    return json.loads(run_python("-c", READ_EACH, folder).stdout)


NAMED = [f"{field}={value!r}"[:80] for field, value, _ in REFUSED]


@pytest.mark.parametrize(
    "number",
    [pytest.param(number, id=name) for number, name in enumerate(NAMED)],
)
def test_a_wrong_value_is_refused(number: int, answers: list[str]) -> None:
    answer = answers[number]
    assert answer.startswith("some/spec.json: ")
    assert REFUSED[number][2] in answer
    assert "\n" not in answer


def test_no_outputs_at_all_are_refused() -> None:
    with pytest.raises(UserError, match="a spec without outputs"):
        InputSpec(action_units=(), emotions=())


@pytest.mark.parametrize("version", [0, 1, 3, "2", None])
def test_another_version_is_refused_before_anything_else(version: Any) -> None:
    fields = {"version": version, "colours": 3}
    with pytest.raises(UserError, match=r"input spec version .* this emojax reads 2") as refusal:
        spec_from_dict(fields, "old.json")
    assert repr(version) in str(refusal.value)
    assert "old.json" in str(refusal.value)
    assert SPEC_VERSION == 2


def test_no_version_is_refused() -> None:
    fields = InputSpec().to_dict()
    del fields["version"]
    with pytest.raises(UserError, match="input spec version None"):
        spec_from_dict(fields, "old.json")


@pytest.mark.parametrize(
    "name", [f.name for f in dataclasses.fields(InputSpec) if f.name != "version"]
)
def test_a_missing_field_is_named(name: str) -> None:
    fields = InputSpec().to_dict()
    del fields[name]
    with pytest.raises(UserError, match=f"spec.json: the input spec lacks the field '{name}'"):
        spec_from_dict(fields, "spec.json")


def test_a_surplus_field_is_named() -> None:
    fields = InputSpec().to_dict() | {"mean": 0.5}
    with pytest.raises(UserError, match=r"spec.json: unknown field 'mean' in the input spec"):
        spec_from_dict(fields, "spec.json")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "not JSON"),
        (b"   \n", "not JSON"),
        (b"{'height': 98}", "not JSON"),
        (b'{"height": 98', "not JSON"),
        (b'{"height": 98} {}', "not JSON"),
        (b"[1, 2]", "wanted a JSON object, found list"),
        (b'"text"', "wanted a JSON object, found str"),
        (b"null", "wanted a JSON object, found NoneType"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe", "can't be read"),
        (bytes(range(256)), "can't be read"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON (Exceeds the limit"),
        (b"[" * 200_000, "JSON that is nested too deeply"),
        (b" " * (16 * 2**20 + 1), "16777217 bytes, wanted 16777216 at most"),
    ],
)
def test_what_is_no_json_object_is_refused(content: bytes, found: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(f"{path}: {found}")):
        read_json(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    absent = tmp_path / "absent.json"
    with pytest.raises(UserError, match=re.escape(f"{absent}: no such file")):
        read_json(absent)
    with pytest.raises(UserError, match=re.escape(f"{tmp_path}: can't be read")):
        read_json(tmp_path)


def test_names_outside_ascii_survive(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_bytes('{"licence": "Größe 98 x 80 ü"}'.encode())
    assert read_json(path) == {"licence": "Größe 98 x 80 ü"}


def test_a_number_that_no_float_can_hold_is_refused_in_the_sound_too() -> None:
    fields = InputSpec(sound=SpectrogramSpec()).to_dict()
    fields["sound"]["window_ms"] = 10**400
    with pytest.raises(UserError, match=r"^spec\.json: "):
        spec_from_dict(fields, "spec.json")


def test_an_hour_of_the_default_and_a_second_of_the_densest_sound_are_accepted() -> None:
    assert SpectrogramSpec(duration_s=3600).hop_length == 160
    dense = SpectrogramSpec(duration_s=1, hop_ms=1, sample_rate_hz=10**6, fft_length=2**16)
    assert dense.window_length == 25_000
