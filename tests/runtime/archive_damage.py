"""Archives of arrays that are wrong, in artifacts whose checksums were made to fit."""

from __future__ import annotations

import hashlib
import io
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from emojax.filter_bank import SOUND
from emojax.golden import GOLDEN
from emojax.seal import sealed

ENTRIES = {GOLDEN: "golden", SOUND: "sound"}
"""Archives, and what they are called in spec.json."""


def write_spec(folder: Path, fields: Any, fit: bool = True) -> None:
    """Write spec.json; its own checksum fits, where it is to."""
    text = json.dumps(sealed(fields) if fit and isinstance(fields, dict) else fields)
    (folder / "spec.json").write_text(text)


def read_spec(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "spec.json").read_text())


def any_archive(folder: Path, rng: random.Random) -> str:
    return rng.choice([name for name in ENTRIES if (folder / name).exists()])


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def npz(arrays: dict[str, np.ndarray], packed: bool = True) -> bytes:
    into = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(into, **arrays)  # type: ignore[arg-type]
    return into.getvalue()


def write_archive(folder: Path, fields: dict[str, Any], name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    fields[ENTRIES[name]]["sha256"] = hashlib.sha256(content).hexdigest()
    write_spec(folder, fields)


def archive_bytes(folder: Path, rng: random.Random) -> str:
    name = any_archive(folder, rng)
    content = bytearray((folder / name).read_bytes())
    if rng.random() < 0.5:
        del content[rng.randrange(len(content)) :]
    for _ in range(rng.choice((1, 4, 64))):
        if content:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    write_archive(folder, read_spec(folder), name, bytes(content))
    return name


def archive_arrays(folder: Path, rng: random.Random) -> str:
    archive = any_archive(folder, rng)
    arrays = arrays_of(folder / archive)
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
    write_archive(folder, read_spec(folder), archive, npz(arrays, rng.random() < 0.5))
    return f"{archive}: {name}"


def archive_header(folder: Path, rng: random.Random) -> str:
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
    archive = any_archive(folder, rng)
    arrays = arrays_of(folder / archive)
    with zipfile.ZipFile(into, "w") as file:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.save(content, array)
            swap = name == next(iter(arrays)) or rng.random() < 0.2
            file.writestr(f"{name}.npy", member if swap else content.getvalue())
    write_archive(folder, read_spec(folder), archive, into.getvalue())
    return f"{archive}: {header} {kind}"[:60]


def archive_bomb(folder: Path, rng: random.Random) -> str:
    """Little that unpacks to much, and members with the names of files elsewhere."""
    into = io.BytesIO()
    archive = any_archive(folder, rng)
    first = next(iter(arrays_of(folder / archive)))
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        name = rng.choice(
            (f"{first}.npy", f"../{first}.npy", f"/tmp/{first}.npy", first, "x" * 9999)
        )
        with file.open(name, "w") as member:
            for _ in range(rng.choice((1, 300))):
                member.write(bytes(1 << 20))
    content = into.getvalue()
    if rng.random() < 0.5:
        # The directory says that a member is small.
        size = (300 << 20).to_bytes(4, "little")
        content = content.replace(size, (100).to_bytes(4, "little"))
    write_archive(folder, read_spec(folder), archive, content)
    return f"{archive}: bomb"
