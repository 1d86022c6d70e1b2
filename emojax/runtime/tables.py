"""Rows -> files, as they come: what was computed is there when anything fails."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from emojax.errors import MissingExtraError
from emojax.runtime.rows import Row, Value

Form = Literal["csv", "jsonl", "parquet"]
"""How a table is written: comma-separated, a JSON object a line, Apache Parquet."""

# Of a number that is no time: a probability needs no more, and a file is a third as large.
_DIGITS = {
    **{"timestamp": 6, "start": 6, "end": 6, "peak_time": 6},
    **{"window_start": 6, "window_end": 6},
}
_USUAL_DIGITS = 4

_SPECIAL = re.compile('[,"\r\n]')

# A spreadsheet computes a cell that begins with one of these.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

# Rows that a Parquet file is given at once.
_GROUP = 4096


def _rounded(name: str, value: Value) -> Value:
    if not isinstance(value, float):
        return value
    assert math.isfinite(value), "a table cell has to be a number"
    return round(value, _DIGITS.get(name, _USUAL_DIGITS))


class _GrowingFile:
    """A file of whole lines, whatever happens: what a full disk cuts off is taken back."""

    def __init__(self, path: Path, first: str = "") -> None:
        self._path = path
        # Not buffered: what could not be written would be tried again, and told again, at the end.
        self._file = path.open("wb", buffering=0)
        self._length = 0
        with contextlib.ExitStack() as failed:
            failed.callback(self.close)
            self.append(first)
            failed.pop_all()

    def append(self, lines: str) -> None:
        # A file name that is no valid text is written with escapes, rather than not at all.
        waiting = memoryview(lines.encode("utf-8", "backslashreplace"))
        length = self._length + len(waiting)
        try:
            while waiting:
                waiting = waiting[self._file.write(waiting) :]
        except OSError as error:
            # /dev/full and pipes have no length.
            with contextlib.suppress(OSError):
                self._file.truncate(self._length)
            raise OSError(error.errno, error.strerror, str(self._path)) from None
        self._length = length

    def close(self) -> None:
        self._file.close()


class CsvTable:
    """Comma-separated values, an empty cell where there is nothing to say."""

    def __init__(self, path: Path, columns: Mapping[str, type]) -> None:
        """Open the file, replacing one of the same name, and write the columns' names.

        Raises:
            OSError: it can't be written.
        """
        self._file = _GrowingFile(path, _csv_lines([list(columns)]))

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows.

        Raises:
            OSError: they can't be written; those of earlier calls are there.
        """
        self._file.append(_csv_lines([csv_cells(row) for row in rows]))

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def _csv_lines(lines: list[list[str]]) -> str:
    return "".join(",".join(map(_quoted, line)) + "\n" for line in lines)


def _quoted(cell: str) -> str:
    # Before Python 3.13 the module csv leaves a carriage return bare, and readers end a row there.
    return '"' + cell.replace('"', '""') + '"' if _SPECIAL.search(cell) else cell


def csv_cells(row: Row) -> list[str]:
    """Return a row's cells as they stand in a CSV file, before quoting."""
    return [_cell(name, value) for name, value in row.items()]


def csv_text(columns: Mapping[str, type], rows: Sequence[Row]) -> str:
    """Return what `CsvTable` writes, as one text.

    Args:
        columns: names, and what is in them.
        rows: with these columns.
    """
    return _csv_lines([list(columns), *map(csv_cells, rows)])


def plain_row(row: Row) -> Row:
    """Return a row as it stands in a JSON file: numbers with as many digits as in a CSV."""
    return {name: _rounded(name, value) for name, value in row.items()}


def _cell(name: str, value: Value) -> str:
    rounded = _rounded(name, value)
    if isinstance(rounded, float):
        return f"{rounded:.{_DIGITS.get(name, _USUAL_DIGITS)}f}"
    if name == "file" and str(rounded).startswith(_FORMULA):
        # The same path, and no formula.
        return f"./{rounded}"
    return "" if rounded is None else str(rounded)


class JsonLinesTable:
    """A JSON object a line, null where there is nothing to say."""

    def __init__(self, path: Path, columns: Mapping[str, type]) -> None:
        """Open the file, replacing one of the same name.

        Raises:
            OSError: it can't be written.
        """
        del columns
        self._file = _GrowingFile(path)

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows.

        Raises:
            OSError: they can't be written; those of earlier calls are there.
        """
        fields = map(plain_row, rows)
        lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in fields]
        self._file.append("".join(lines))

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def _load_arrow() -> Any:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise MissingExtraError("a Parquet table", "table") from None
    return pyarrow


class ParquetTable:
    """Apache Parquet, which other programs can read once it is closed."""

    def __init__(self, path: Path, columns: Mapping[str, type]) -> None:
        """Open the file, replacing one of the same name.

        Raises:
            MissingExtraError: pyarrow is missing.
            OSError: it can't be written.
        """
        self._arrow = arrow = _load_arrow()
        kinds = {str: arrow.string(), int: arrow.int64(), float: arrow.float64()}
        self._schema = arrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
        # The file object, not the name: Arrow would read a name such as `a:b` as a URL.
        self._path = path
        self._file = path.open("wb")
        self._writer = arrow.parquet.ParquetWriter(self._file, self._schema)
        self._rows: list[Row] = []
        self._failed = False

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows.

        Raises:
            OSError: those that had waited can't be written.
        """
        self._rows += rows
        if len(self._rows) >= _GROUP:
            self._put()

    def _put(self) -> None:
        # A file name that is no valid text holds halves of characters, which Arrow refuses.
        clean = [
            {
                name: _plain(value) if isinstance(value, str) else value
                for name, value in row.items()
            }
            for row in self._rows
        ]
        table = self._arrow.Table.from_pylist(clean, self._schema)
        with self._told():
            self._writer.write_table(table)
        self._rows = []

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Name the file in what a full disk raises, and try nothing again."""
        try:
            yield
        except OSError as error:
            self._failed = True
            raise OSError(error.errno, error.strerror or str(error), str(self._path)) from None

    def close(self) -> None:
        """Finish the file.

        Raises:
            OSError: what had waited can't be written.
        """
        try:
            if self._failed:
                return
            if self._rows:
                self._put()
            with self._told():
                self._writer.close()
                self._file.close()
        finally:
            # What failed was told already, and Arrow and Python would complain of it again.
            with contextlib.suppress(OSError, ValueError):
                self._writer.close()
            with contextlib.suppress(OSError):
                self._file.close()


def _plain(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


_TABLES: dict[Form, type[CsvTable | JsonLinesTable | ParquetTable]] = {
    "csv": CsvTable,
    "jsonl": JsonLinesTable,
    "parquet": ParquetTable,
}


def _path(stem: Path, form: Form) -> Path:
    return stem.with_name(f"{stem.name}.{form}")


def check_tables(stems: Sequence[Path], forms: Sequence[Form]) -> None:
    """Refuse tables that can't be written, before opening the first of them empties it.

    Args:
        stems: paths without a suffix.
        forms: how they are written.

    Raises:
        MissingExtraError: a package for one of the forms is missing.
        OSError: a file can't be written.
    """
    if "parquet" in forms:
        _load_arrow()
    for path in (_path(stem, form) for stem in stems for form in forms):
        # Not a pipe: its reader would take this for the end.
        if path.is_file() or path.is_dir():
            path.open("ab").close()


class Tables:
    """The same rows in one or several files. Use it as a context."""

    def __init__(self, stem: Path, columns: Mapping[str, type], forms: Sequence[Form]) -> None:
        """Open the files, replacing those of the same name.

        Args:
            stem: path without a suffix.
            columns: names, and what is in them.
            forms: how they are written; the suffix too.

        Raises:
            MissingExtraError: a package for one of the forms is missing.
            OSError: a file can't be written.
        """
        check_tables([stem], forms)
        self._tables: list[CsvTable | JsonLinesTable | ParquetTable] = []
        with contextlib.ExitStack() as opened:
            for form in forms:
                table = _TABLES[form](_path(stem, form), columns)
                opened.callback(table.close)
                self._tables.append(table)
            self._files = opened.pop_all()
        self.num_rows = 0

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows to each file."""
        for table in self._tables:
            table.write(rows)
        self.num_rows += len(rows)

    def __enter__(self) -> Tables:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()
