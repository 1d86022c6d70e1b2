"""Records of TFRecord files taken out and apart, against TensorFlow's own writer and parser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from emojax.data.records import DamagedError, find_records, read_record, take_apart

SIZES = [1, 0, 127, 128, 5000, 70_000]


def example(faces: bytes, extra: int = 3) -> bytes:
    """A serialised example with fields of all kinds, one of them with a long name."""
    feature = {
        "faces": tf.train.Feature(bytes_list=tf.train.BytesList(value=[faces])),
        "facesque": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"faces", b""])),
        "a" * 200: tf.train.Feature(int64_list=tf.train.Int64List(value=[-1, 2**40])),
        "none": tf.train.Feature(),
    }
    for index in range(extra):
        value = tf.train.FloatList(value=[index / 7])
        feature[f"f{index}"] = tf.train.Feature(float_list=value)
    whole = tf.train.Example(features=tf.train.Features(feature=feature))
    return whole.SerializeToString()


def pictures() -> list[bytes]:
    rng = np.random.default_rng(0)
    return [rng.bytes(size) for size in SIZES]


def read_all(path: Path) -> list[bytes]:
    return [read_record(path, start, stop) for start, stop in find_records(path).tolist()]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for faces in pictures():
            writer.write(example(faces))
    return path


def test_records_are_found_and_read_as_they_were_written(file: Path) -> None:
    assert read_all(file) == [example(faces) for faces in pictures()]
    assert find_records(file)[-1, 1] + 4 == file.stat().st_size
    empty = file.with_name("empty")
    empty.write_bytes(b"")
    assert find_records(empty).shape == (0, 2)


@pytest.mark.parametrize("extra", [0, 1, 40])
def test_an_example_is_taken_apart_into_the_field_and_all_else(extra: int) -> None:
    for faces in pictures():
        whole = example(faces, extra)
        parts = take_apart(whole, b"faces")
        assert whole[parts.start : parts.stop] == faces
        wanted = tf.train.Example.FromString(whole)
        del wanted.features.feature["faces"]
        assert tf.train.Example.FromString(parts.rest) == wanted


def test_a_field_that_is_not_one_value_of_bytes_is_refused() -> None:
    for name in (b"f1", b"facesque", b"none", b"gone"):
        with pytest.raises(DamagedError, match=name.decode()):
            take_apart(example(b"abc"), name)
    for content in (b"", b"\x0a", b"\x0a\xff", b"\x0a\x05abc", b"\xff" * 40, b"\x12\x00"):
        with pytest.raises(DamagedError):
            take_apart(content, b"faces")
    whole = example(bytes(300))
    for length in range(len(whole)):
        with pytest.raises(DamagedError):
            take_apart(whole[:length], b"faces")


def test_every_altered_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "one.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(example(b"abcdef", extra=0))
    content = path.read_bytes()
    for at in range(len(content)):
        altered = bytearray(content)
        altered[at] ^= 1 << at % 8
        path.write_bytes(altered)
        with pytest.raises(DamagedError, match=r"one\.tfrecord"):
            read_all(path)


def test_a_file_that_ends_early_is_noticed(file: Path) -> None:
    content = file.read_bytes()
    ends = {0, *(find_records(file)[:, 1] + 4).tolist()}
    for length in {*range(40), *range(len(content) - 40, len(content))} - ends:
        file.write_bytes(content[:length])
        with pytest.raises(DamagedError, match=r"some\.tfrecord ends inside record"):
            find_records(file)
