"""Copies of Parquet and CSV files without some columns; read and written a little at a time, whatever their size."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from lagom_magic.errors import ConfigError
from lagom_magic.spec.dataset_files import ParquetColumns, csv_columns, open_csv, parquet_columns


def csv_without(path: str | os.PathLike[str], names: Collection[str], folder: Path) -> Path:
    """A copy of a CSV file without some columns; quotes stand only where a field needs them.

    Args:
        path: of the file.
        names: of the columns, as in its header.
        folder: a new one in it gets the copy.

    Raises:
        ConfigError: a line does not have as many fields as the header.
    """
    columns = csv_columns(path)
    kept = [index for index, name in enumerate(columns.header) if name not in names]
    copied = _place_for(path, folder)
    with open_csv(path) as source, open_csv(copied, "x") as target:
        target.write(source.read(len(columns.mark)))
        writer = csv.writer(target, delimiter=columns.delimiter, lineterminator=columns.line_end)
        for fields in _lines(source, path, columns.delimiter, len(columns.header)):
            writer.writerow([fields[index] for index in kept] if fields else [])
    return copied


def _lines(source: Any, path: str | os.PathLike[str], delimiter: str, n_fields: int) -> Iterator[list[str]]:
    reader = csv.reader(source, delimiter=delimiter)
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise ConfigError(f"{os.fspath(path)}, line {reader.line_num}: {error}.") from error
        if fields is None:
            return
        if fields and len(fields) != n_fields:
            raise ConfigError(
                f"{os.fspath(path)}, line {reader.line_num} has {len(fields)} fields, and the header has {n_fields}: "
                "which of them belong to a column cannot be told. Mend the file."
            )
        yield fields


def parquet_without(path: str | os.PathLike[str], names: Collection[str], folder: Path) -> Path:
    """A copy of a Parquet file, or of a folder of them, without some columns; row groups stay as they are.

    Arguments and errors are those of `csv_without`.
    """
    columns = parquet_columns(path)
    copied = _place_for(path, folder)
    for file in columns.files:
        target = copied / file if file else copied
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy_file(columns, file, names, target)
    return copied


def _copy_file(columns: ParquetColumns, file: str, names: Collection[str], target: Path) -> None:
    """Copies one file; holds one row group of it, decoded."""
    import pyarrow.parquet as pq

    with columns.filesystem.open_input_file(columns.full(file)) as stream, pq.ParquetFile(stream) as source:
        schema = source.schema_arrow
        kept = [name for name in schema.names if name not in names]
        for name in names:
            if name in schema.names:
                schema = schema.remove(schema.get_field_index(name))
        with pq.ParquetWriter(target, schema) as writer:
            for group in range(source.num_row_groups):
                # `columns` takes a.b along with a, where a column is called so. No threads: user code may fork later.
                rows = source.read_row_group(group, columns=kept, use_threads=False).select(kept)
                writer.write_table(rows, row_group_size=max(1, rows.num_rows))


def _place_for(path: str | os.PathLike[str], folder: Path) -> Path:
    """Where a copy goes: it is called as the original, in a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    name = os.path.basename(os.path.abspath(os.fspath(path))) or "data"
    return Path(tempfile.mkdtemp(prefix="without-", dir=folder)) / name
