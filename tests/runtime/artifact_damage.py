"""Artifacts that somebody's disk, or somebody's malice, has made wrong.

The model's checksum is never made to fit a damaged model: LiteRT trusts what it is given. All else
is, `golden.npz` and `spec.json` itself, since those are read by us.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tiny_artifact import SPEC

from emojax.face import HaarDetector
from emojax.golden import GOLDEN
from emojax.seal import SEAL, sealed
from emojax.spec import SpectrogramSpec

Damage = Callable[[Path, random.Random], str]
"""Damages an artifact folder, and says how."""

MODELS = ("float32.tflite", "float16.tflite", "int8.tflite")
FILES = (*MODELS, "spec.json", GOLDEN)

HUGE = (10**9, 2**31, 2**63, 10**30, 10**400, 1e308, -1e308, 5e-324, -(2**63))
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 0.0, -0.0, 0.5, "", " ", "0", "x" * 100_000, [], {}, [[]]),
    *([None], [0] * 22, {"a": None}, "\x1b[2J\n\r\x07", "\ud800", "NaN", "../x", "Ünïcode"),
    *(float("nan"), float("inf"), float("-inf")),
    *HUGE,
)
NAMES = (
    *("../float32.tflite", "..", ".", "", "/etc/passwd", "/dev/zero", "/dev/stdin", "a/b", "a\\b"),
    *("./float32.tflite", "float32.tflite/", "c:float32.tflite", "float32.tflite\0", "\0", " "),
    *("spec.json", GOLDEN, "outside.tflite", "../outside.tflite", "http://127.0.0.1/m", "x" * 5000),
    *("../" * 40 + "etc/passwd", "sub/../../outside.tflite", "%2e%2e/outside.tflite", "\ud800"),
)


def write_spec(folder: Path, fields: Any, fit: bool = True) -> None:
    """Write spec.json; its own checksum fits, where it is to."""
    text = json.dumps(sealed(fields) if fit and isinstance(fields, dict) else fields)
    (folder / "spec.json").write_text(text)


def read_spec(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "spec.json").read_text())


# Bytes.


def cut(folder: Path, rng: random.Random) -> str:
    path = folder / rng.choice(FILES)
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])
    return path.name


def flip(folder: Path, rng: random.Random) -> str:
    path = folder / rng.choice(FILES)
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 1, 2, 8, 64))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return path.name


def flip_in_spec(folder: Path, rng: random.Random) -> str:
    path = folder / "spec.json"
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return path.name


def fill(folder: Path, rng: random.Random) -> str:
    path = folder / rng.choice(FILES)
    content = bytearray(path.read_bytes())
    begin = rng.randrange(len(content))
    end = min(len(content), begin + rng.choice((1, 16, 4096)))
    content[begin:end] = rng.choice((bytes(end - begin), b"\xff" * (end - begin), b""))
    content += rng.choice((b"", b"\0", rng.randbytes(99)))
    # Zeros in the place of zeros are no damage.
    path.write_bytes(content if content != path.read_bytes() else content + b"\0")
    return path.name


def exchange(folder: Path, rng: random.Random) -> str:
    one, other = rng.sample(("float32.tflite", "spec.json", GOLDEN), 2)
    shutil.copy(folder / one, folder / other)
    return f"{one} as {other}"


def take_away(folder: Path, rng: random.Random) -> str:
    path = folder / rng.choice(FILES)
    path.unlink()
    if rng.random() < 0.5:
        path.mkdir()
    elif rng.random() < 0.5:
        path.touch()
    return path.name


# What spec.json says, its own checksum made to fit.


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    children = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, child in children:
        found += _places(child, (*path, key))
    return found


def _change(
    fields: dict[str, Any], path: tuple[Any, ...], change: Callable[[Any, Any], None]
) -> None:
    parent: Any = fields
    for key in path[:-1]:
        parent = parent[key]
    change(parent, path[-1])


def other_value(folder: Path, rng: random.Random) -> str:
    fields = read_spec(folder)
    path = rng.choice([place for place in _places(fields) if place != (SEAL,)])
    value = rng.choice(ODD)
    _change(fields, path, lambda parent, key: parent.__setitem__(key, value))
    write_spec(folder, fields)
    return f"{'.'.join(map(str, path))} = {str(value)[:30]!r}"


def other_number(folder: Path, rng: random.Random) -> str:
    """A number becomes another one, far away or close by."""
    fields = read_spec(folder)

    def number(path: tuple[Any, ...]) -> Any:
        value: Any = fields
        for key in path:
            value = value[key]
        return value

    numbers = [path for path in _places(fields) if type(number(path)) in (int, float)]
    path = rng.choice(numbers)
    before = number(path)
    value = rng.choice((*HUGE, before + 1, before - 1, before * 1.0000001, -before, before / 7))
    _change(fields, path, lambda parent, key: parent.__setitem__(key, value))
    write_spec(folder, fields)
    return f"{'.'.join(map(str, path))} = {str(value)[:30]}"


def other_detector(folder: Path, rng: random.Random) -> str:
    """Settings of the detector that could take for ever, or all memory."""
    fields = read_spec(folder)
    settings = HaarDetector().settings()
    for _ in range(rng.choice((1, 1, 2, 3))):
        name = rng.choice(list(settings))
        near = (1, 1.0000001, 1.001, 1.01, 1 + 2**-52, 2, 0, 0.0, 1e-9, 64, 10**6, 2**31 - 1)
        settings[name] = rng.choice((*near, *near, *ODD))
    fields["detector"] = settings
    write_spec(folder, fields)
    return str(settings)[:200]


def other_sound(folder: Path, rng: random.Random) -> str:
    """Settings of a spectrogram, for a model that has none to do with sound."""
    fields = read_spec(folder)
    sound = dataclasses.asdict(SpectrogramSpec())
    sound[rng.choice(list(sound))] = rng.choice(ODD)
    fields["input"]["sound"] = sound
    fields["input"]["frames"] = rng.choice((1, 20))
    fields["looks_at"] = rng.choice(("picture", "clip"))
    write_spec(folder, fields)
    return str(sound)[:200]


def without_field(folder: Path, rng: random.Random) -> str:
    fields = read_spec(folder)
    path = rng.choice([place for place in _places(fields) if place != (SEAL,)])
    _change(fields, path, lambda parent, key: parent.__delitem__(key))
    write_spec(folder, fields)
    return f"without {'.'.join(map(str, path))}"


def more_fields(folder: Path, rng: random.Random) -> str:
    fields = read_spec(folder)
    where = rng.choice((fields, fields["input"], fields["files"], fields["detector"]))
    name = rng.choice(("x", "__class__", "pickle", "\x1b[31m", "x" * 9999, "float64", ""))
    where[name] = rng.choice(ODD)
    write_spec(folder, fields)
    return f"with {name[:20]!r}"


def climbing_name(folder: Path, rng: random.Random) -> str:
    """A model elsewhere, which is there and whose checksum fits."""
    fields = read_spec(folder)
    name = rng.choice(NAMES)
    entry = rng.choice([fields["golden"], *fields["files"].values()])
    entry["name"] = name
    write_spec(folder, fields)
    return f"name {name[:30]!r}"


def other_seal(folder: Path, rng: random.Random) -> str:
    fields = read_spec(folder)
    fields["thresholds"]["action_units"][0] = rng.random()
    fields[SEAL] = rng.choice((fields[SEAL], *ODD))
    write_spec(folder, fields, fit=False)
    return "seal"


def deep(folder: Path, rng: random.Random) -> str:
    depth = rng.choice((100, 900, 1100, 10_000, 200_000))
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}")))
    nested = opening * depth + rng.choice(("", "1")) + closing * rng.choice((depth, 0))
    text = (folder / "spec.json").read_text()
    whole = rng.random() < 0.5
    (folder / "spec.json").write_text(nested if whole else text[:-1] + f', "deep": {nested}}}')
    return f"{depth} deep"


def other_text(folder: Path, rng: random.Random) -> str:
    """JSON of other forms, and none."""
    text = (folder / "spec.json").read_text()
    choices = (
        *("null", "[]", "3", '"spec"', "", " ", "{}", "{" * 9, "\0" * 99, "1" * 5000),
        *('{"format": ' + "9" * 5000 + "}", "\ufeff" + text, text + text, text[:-1] + ",}"),
        *(text.replace('"', "'"), text.upper(), text.replace("0", "NaN"), text + "\0"),
        text.replace("0.5", "9" * 5000),
        text.replace("0.5", "1e999999999"),
        '{"format": "emojax-artifact", ' * 50,
    )
    content = rng.choice(choices)
    encoding = rng.choice(("utf-8", "utf-8", "utf-16", "utf-32"))
    (folder / "spec.json").write_bytes(content.encode(encoding))
    return encoding


def other_size(folder: Path, rng: random.Random) -> str:
    """Input of another size, and recorded answers that agree with it."""
    fields = read_spec(folder)
    height, width = rng.choice(((96, 80), (98, 81), (8, 8), (1024, 1024), (80, 98), (1024, 8)))
    fields["input"]["height"], fields["input"]["width"] = height, width
    arrays = _arrays(folder)
    arrays["crops"] = np.zeros((2, 1, height, width), np.uint8)
    for name in arrays:
        arrays[name] = arrays[name][:2]
    _write_golden(folder, fields, _npz(arrays))
    return f"{height} x {width}"


def other_look(folder: Path, rng: random.Random) -> str:
    """An artifact for clips with a model for pictures."""
    fields = read_spec(folder)
    frames = rng.choice((1, 2, 20, 1000))
    fields["looks_at"] = rng.choice(("picture", "frames", "clip", "sound", 3, None, []))
    fields["input"]["frames"] = frames
    arrays = _arrays(folder)
    arrays["crops"] = np.zeros((4, frames, SPEC.height, SPEC.width), np.uint8)
    _write_golden(folder, fields, _npz(arrays))
    return f"{fields['looks_at']}, {frames} frames"


# golden.npz, its checksum made to fit.


def _arrays(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / GOLDEN) as file:
        return {name: file[name] for name in file.files}


def _npz(arrays: dict[str, np.ndarray], packed: bool = True) -> bytes:
    into = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(into, **arrays)  # type: ignore[arg-type]
    return into.getvalue()


def _write_golden(folder: Path, fields: dict[str, Any], content: bytes) -> None:
    (folder / GOLDEN).write_bytes(content)
    fields["golden"]["sha256"] = hashlib.sha256(content).hexdigest()
    write_spec(folder, fields)


def golden_bytes(folder: Path, rng: random.Random) -> str:
    content = bytearray((folder / GOLDEN).read_bytes())
    if rng.random() < 0.5:
        del content[rng.randrange(len(content)) :]
    for _ in range(rng.choice((1, 4, 64))):
        if content:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    _write_golden(folder, read_spec(folder), bytes(content))
    return GOLDEN


def golden_arrays(folder: Path, rng: random.Random) -> str:
    arrays = _arrays(folder)
    name = rng.choice(list(arrays))
    before = arrays[name]
    choices: tuple[Any, ...] = (
        *(before[:0], before[:1], before[..., None], before.astype(np.float64), np.float32(1)),
        *(before.astype(np.complex64), np.array(["a"] * 4), before.astype(">f4"), -before),
        *(np.full_like(before, 255), np.asfortranarray(before), np.zeros(0, before.dtype)),
        before.astype(np.float32) * np.nan,
        before.astype("V8") if before.dtype != np.uint8 else before.astype("M8[s]"),
    )
    arrays[name] = np.asarray(rng.choice(choices))
    if rng.random() < 0.2:
        del arrays[rng.choice(list(arrays))]
    _write_golden(folder, read_spec(folder), _npz(arrays, rng.random() < 0.5))
    return name


def golden_header(folder: Path, rng: random.Random) -> str:
    """Arrays whose headers promise more than there is, or would run code."""
    header = rng.choice(
        (
            *("(1000000000000,)", "(-1,)", "(2**40,)", "(4, 1, 98, 80", "(4, 99999999999, 98, 80)"),
            *("(1e9,)", "('a',)", "(True,)", "[4]", "(0, 9223372036854775807)", "()", "4"),
        )
    )
    kind = rng.choice(("|u1", "<f4", "|O", "<U999999999", "|V2147483647", "x", "[('a', '<f4')]"))
    text = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {header}, }}"
    text += " " * (64 - (len(text) + 11) % 64) + "\n"
    length = len(text).to_bytes(2, "little")
    member = b"\x93NUMPY\x01\x00" + length + text.encode() + b"\x80\x04N." * 9
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as file:
        for name, array in _arrays(folder).items():
            content = io.BytesIO()
            np.save(content, array)
            swap = name == "crops" or rng.random() < 0.2
            file.writestr(f"{name}.npy", member if swap else content.getvalue())
    _write_golden(folder, read_spec(folder), into.getvalue())
    return f"{header} {kind}"[:40]


def golden_bomb(folder: Path, rng: random.Random) -> str:
    """Little that unpacks to much, and members with the names of files elsewhere."""
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        name = rng.choice(("crops.npy", "../crops.npy", "/tmp/crops.npy", "crops", "x" * 9999))
        with file.open(name, "w") as member:
            for _ in range(rng.choice((1, 300))):
                member.write(bytes(1 << 20))
    content = into.getvalue()
    if rng.random() < 0.5:
        # The directory says that a member is small.
        size = (300 << 20).to_bytes(4, "little")
        content = content.replace(size, (100).to_bytes(4, "little"))
    _write_golden(folder, read_spec(folder), content)
    return "bomb"


DAMAGES: dict[Damage, int] = {
    cut: 6,
    flip: 8,
    flip_in_spec: 8,
    fill: 4,
    exchange: 1,
    take_away: 2,
    other_value: 16,
    other_number: 10,
    other_detector: 8,
    other_sound: 5,
    without_field: 5,
    more_fields: 4,
    climbing_name: 6,
    other_seal: 1,
    deep: 2,
    other_text: 4,
    other_size: 3,
    other_look: 4,
    golden_bytes: 6,
    golden_arrays: 5,
    golden_header: 5,
    golden_bomb: 0,
}
"""How often each comes. A bomb takes half a second to make: one in a hundred, by `choose`."""


def choose(number: int, rng: random.Random) -> Damage:
    """Return the damage of artifact `number`: each comes once before any comes by chance."""
    if number < len(DAMAGES):
        return list(DAMAGES)[number]
    if number % 100 == 0:
        return golden_bomb
    return rng.choices(list(DAMAGES), list(DAMAGES.values()))[0]
