"""Large examples taken out of TFRecord files, each read straight to its place in a batch.

TensorFlow copies a clip's faces six times on their way from the file into a shuffled batch;
for half a megabyte each that is all the time it takes. Here they are copied once from what
was read. All that is small is left to TensorFlow's parser.

Source: the TFRecord format, https://www.tensorflow.org/tutorials/load_data/tfrecord, and
the wire format of protocol buffers, https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import NamedTuple

import google_crc32c
import numpy as np

_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
_LENGTHY = 2
"""The wire type of what says its length first: messages, strings and bytes."""


class DamagedError(Exception):
    """A file that is no TFRecord file of examples, or was altered; says what was found."""


class Parts(NamedTuple):
    """An example taken apart."""

    start: int
    """Where the bytes of the large field begin in the record."""
    stop: int
    """Where they end."""
    rest: bytes
    """The example without that field, serialised."""


def masked_checksum(content: bytes) -> int:
    """Return the checksum that the format keeps: CRC-32C, rotated and shifted."""
    checksum = google_crc32c.value(content)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def find_records(path: Path) -> np.ndarray:
    """Return where each record's content begins and ends in the file, int64 [record, 2].

    Reads sixteen bytes of each record.

    Raises:
        DamagedError: the file ends inside a record, or a length was altered.
        OSError: it can't be read.
    """
    found = []
    with path.open("rb", buffering=0) as file:
        size, at = os.fstat(file.fileno()).st_size, 0
        while at < size:
            file.seek(at)
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                raise DamagedError(f"{path.name} ends inside record {len(found)}")
            length, checksum = _HEADER.unpack(header)
            if masked_checksum(header[:8]) != checksum:
                raise DamagedError(f"the length of record {len(found)} of {path.name} was altered")
            start = at + _HEADER.size
            at = start + length + _CHECKSUM.size
            if at > size:
                raise DamagedError(f"{path.name} ends inside record {len(found)}")
            found.append((start, start + length))
    return np.array(found, np.int64).reshape(-1, 2)


def read_record(path: Path, start: int, stop: int) -> bytes:
    """Return a record's content.

    Args:
        path: of the file.
        start: where the content begins, as `find_records` has it.
        stop: where it ends.

    Raises:
        DamagedError: it isn't what was written.
        OSError: the file can't be read.
    """
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        content = file.read(stop - start)
        checksum = file.read(_CHECKSUM.size)
    if len(content) < stop - start or checksum != _CHECKSUM.pack(masked_checksum(content)):
        raise DamagedError(f"the record at byte {start} of {path.name} was altered")
    return content


def take_apart(example: bytes, field: bytes) -> Parts:
    """Return where the bytes of a field lie in a serialised `tf.train.Example`, and the rest.

    Args:
        example: holds the field as a list of one bytes value.
        field: its name.

    Raises:
        DamagedError: there is no such field.
    """
    try:
        at, end = _message(example, 0, len(example), number=1)
        first = at
        while at < end:
            start, stop = _message(example, at, end, number=1)
            key_start, key_stop = _message(example, start, stop, number=1)
            if example[key_start:key_stop] != field:
                at = stop
                continue
            feature, _ = _message(example, key_stop, stop, number=2)
            values, _ = _message(example, feature, stop, number=1)
            value_start, value_stop = _message(example, values, stop, number=1)
            if value_stop != stop:
                break
            others = example[first:at] + example[stop:end]
            return Parts(value_start, value_stop, b"\x0a" + _varint(len(others)) + others)
    except IndexError:
        pass
    raise DamagedError(f"an example without {field.decode()} as a value of bytes")


def _message(content: bytes, at: int, end: int, number: int) -> tuple[int, int]:
    """Return where the content of the field that stands at `at` begins and ends."""
    if content[at] != number << 3 | _LENGTHY:
        raise IndexError(at)
    at, length, shift = at + 1, 0, 0
    while True:
        byte = content[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    if at + length > end:
        raise IndexError(at)
    return at, at + length


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*digits, number))
