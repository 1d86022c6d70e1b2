"""Rows -> files, as they come: what was computed is there when anything fails."""

from __future__ import annotations

import contextlib
import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
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

# Rows that a Parquet file is given at once.
_GROUP = 4096


def _rounded(name: str, value: Value) -> Value:
    if not isinstance(value, float):
        return value
    assert math.isfinite(value), "a table cell has to be a number"
    return round(value, _DIGITS.get(name, _USUAL_DIGITS))


class CsvTable:
    """Comma-separated values, an empty cell where there is nothing to say."""

    def __init__(self, path: Path, columns: Mapping[str, type]) -> None:
        """Open the file, replacing one of the same name, and write the columns' names.

        Raises:
            OSError: it can't be written.
        """
        # A file name that is no valid text is written with escapes, rather than not at all.
        self._file = path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(columns)
        self._file.flush()

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows."""
        self._writer.writerows([_cell(name, value) for name, value in row.items()] for row in rows)
        self._file.flush()

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def _cell(name: str, value: Value) -> str:
    rounded = _rounded(name, value)
    if isinstance(rounded, float):
        return f"{rounded:.{_DIGITS.get(name, _USUAL_DIGITS)}f}"
    return "" if rounded is None else str(rounded)


class JsonLinesTable:
    """A JSON object a line, null where there is nothing to say."""

    def __init__(self, path: Path, columns: Mapping[str, type]) -> None:
        """Open the file, replacing one of the same name.

        Raises:
            OSError: it can't be written.
        """
        del columns
        self._file = path.open("w", encoding="utf-8", errors="backslashreplace", newline="")

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows."""
        for row in rows:
            fields = {name: _rounded(name, value) for name, value in row.items()}
            self._file.write(json.dumps(fields, ensure_ascii=False, allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


class ParquetTable:
    """Apache Parquet, which other programs can read once it is closed."""

    def __init__(self, path: Path, columns: Mapping[str, type]) -> None:
        """Open the file, replacing one of the same name.

        Raises:
            MissingExtraError: pyarrow is missing.
            OSError: it can't be written.
        """
        try:
            import pyarrow.parquet
        except ModuleNotFoundError:
            raise MissingExtraError("a Parquet table", "table") from None
        kinds = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
        self._arrow: Any = pyarrow
        self._schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
        self._writer: Any = pyarrow.parquet.ParquetWriter(str(path), self._schema)
        self._rows: list[Row] = []

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows."""
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
        self._writer.write_table(self._arrow.Table.from_pylist(clean, self._schema))
        self._rows = []

    def close(self) -> None:
        """Finish the file."""
        try:
            if self._rows:
                self._put()
        finally:
            self._writer.close()


def _plain(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


_TABLES: dict[Form, type[CsvTable | JsonLinesTable | ParquetTable]] = {
    "csv": CsvTable,
    "jsonl": JsonLinesTable,
    "parquet": ParquetTable,
}


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
        self._tables: list[CsvTable | JsonLinesTable | ParquetTable] = []
        with contextlib.ExitStack() as opened:
            for form in forms:
                table = _TABLES[form](stem.with_name(f"{stem.name}.{form}"), columns)
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._files.close()
