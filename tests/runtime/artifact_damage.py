"""Artifacts that somebody's disk, or somebody's malice, has made wrong.

The model's checksum is never made to fit a damaged model: LiteRT trusts what it is given. All else
is, the archives and `spec.json` itself, since those are read by us.
"""

from __future__ import annotations

import dataclasses
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from archive_damage import (
    archive_arrays,
    archive_bomb,
    archive_bytes,
    archive_header,
    arrays_of,
    npz,
    read_spec,
    write_archive,
    write_spec,
)
from clip_damage import fitting_sound, other_clip
from odd_values import HUGE, ODD
from tiny_artifact import SPEC

from emojax.face import HaarDetector
from emojax.golden import GOLDEN
from emojax.seal import SEAL
from emojax.spec import SpectrogramSpec

Damage = Callable[[Path, random.Random], str]
"""Damages an artifact folder, and says how."""

NAMES = (
    *("../float32.tflite", "..", ".", "", "/etc/passwd", "/dev/zero", "/dev/stdin", "a/b", "a\\b"),
    *("./float32.tflite", "float32.tflite/", "c:float32.tflite", "float32.tflite\0", "\0", " "),
    *("spec.json", GOLDEN, "outside.tflite", "../outside.tflite", "http://127.0.0.1/m", "x" * 5000),
    *("../" * 40 + "etc/passwd", "sub/../../outside.tflite", "%2e%2e/outside.tflite", "\ud800"),
)


# Bytes.


def any_file(folder: Path, rng: random.Random) -> Path:
    return rng.choice(sorted(folder.iterdir()))


def cut(folder: Path, rng: random.Random) -> str:
    path = any_file(folder, rng)
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])
    return path.name


def flip(folder: Path, rng: random.Random) -> str:
    path = any_file(folder, rng)
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
    path = any_file(folder, rng)
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
    path = any_file(folder, rng)
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


def other_answers(folder: Path, rng: random.Random) -> str:
    """What is done to a model's answers: mirrored, temperatures, when they are uncertain."""
    fields = read_spec(folder)
    near = (0, 0.05, 0.049, 1, 1.0, 20, 20.1, 1 + 1e-9)
    for _ in range(rng.choice((1, 1, 2))):
        value = rng.choice(rng.choice((near, near, (True, False), ODD)))
        place = rng.choice(("mirrored", "uncertain_below", "calibration", "temperature", "group"))
        if place == "uncertain_below":
            fields["thresholds"][place] = value
        elif place == "temperature":
            fields["calibration"] = {"temperature": value}
        elif place == "group":
            groups = {"action_units": rng.choice(near), "emotions": value}
            fields["calibration"] = {"temperature": groups}
        else:
            fields[place] = value
    write_spec(folder, fields)
    return str({name: fields.get(name) for name in ("mirrored", "calibration", "thresholds")})[:200]


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
    archives = [fields[key] for key in ("golden", "sound") if key in fields]
    entry = rng.choice([*archives, *fields["files"].values()])
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
    arrays = arrays_of(folder / GOLDEN)
    arrays["crops"] = np.zeros((2, 1, height, width), np.uint8)
    for name in arrays:
        arrays[name] = arrays[name][:2]
    write_archive(folder, fields, GOLDEN, npz(arrays))
    return f"{height} x {width}"


def other_look(folder: Path, rng: random.Random) -> str:
    """An artifact for clips with a model for pictures."""
    fields = read_spec(folder)
    frames = rng.choice((1, 2, 20, 1000))
    fields["looks_at"] = rng.choice(("picture", "frames", "clip", "sound", 3, None, []))
    fields["input"]["frames"] = frames
    arrays = arrays_of(folder / GOLDEN)
    arrays["crops"] = np.zeros((4, frames, SPEC.height, SPEC.width), np.uint8)
    write_archive(folder, fields, GOLDEN, npz(arrays))
    return f"{fields['looks_at']}, {frames} frames"


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
    other_answers: 8,
    archive_bytes: 6,
    archive_arrays: 5,
    archive_header: 5,
    archive_bomb: 0,
}
"""How often each comes. A bomb takes half a second to make: one in a hundred, by `choose`."""

CLIP_DAMAGES: dict[Damage, int] = {**DAMAGES, other_clip: 16, fitting_sound: 16}
"""The same for a network that looks at clips and listens."""


def damages_to_begin_with(damages: dict[Damage, int]) -> list[Damage]:
    """Return each twice, and more bits of spec.json: one in five leaves what can be read."""
    return [*damages, *damages, *[flip_in_spec] * 8]


def choose(number: int, rng: random.Random, damages: dict[Damage, int]) -> Damage:
    """Return the damage of artifact `number`: the first ones are those that have to be."""
    first = damages_to_begin_with(damages)
    if number < len(first):
        return first[number]
    if number % 100 == 0:
        return archive_bomb
    return rng.choices(list(damages), list(damages.values()))[0]
