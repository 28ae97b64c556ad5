"""Parquet files as the data of a training: each rank reads its rows of them, a few at a time.

`ParquetData` is made in the notebook, from the files' footers, and travels in place of the data. Ranks share rows by
number, in the order of the files: contiguous and equal shares, whatever the sizes of files and row groups are, since
ranks that take unequal numbers of steps would wait for each other for ever.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lagom_magic.errors import ConfigError, nearest
from lagom_magic.worker.distribution.parquet_reading import Columns, Place, Reader, open_place

SUFFIXES = (".parquet", ".parq", ".pq")
#: Footers that are read at the same time; each is a round trip where files are far away.
_N_READERS = 16


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of one row group.

    Attributes:
        file: its path, from the place of the data on.
        group: number of the row group in its file.
        start, stop: rows of the row group.
    """

    file: str
    group: int
    start: int
    stop: int


class ParquetData:
    """A Parquet file, or a folder of them, that each rank of a training reads its share of.

    Attributes:
        path: as given, relative ones made absolute.
        label: what messages call it.
        columns: the columns that are read.
        n_rows: of all files together.
        is_test: whether every rank gets all rows, in the order of the files, because they are evaluated on.
    """

    def __init__(self, path: str | os.PathLike[str], columns: Sequence[str] | None = None, *, label: str = "") -> None:
        """Reads the footers.

        Args:
            path: of a file or folder, or a URI that pyarrow.fs reads, such as hdfs://… or s3://….
            columns: those to be read; None = all.
            label: what messages call it; "" = its path.

        Raises:
            ConfigError: there are no such files, or they hold what cannot become tensors.
        """
        self.path = _absolute(path)
        self.label = label or self.path
        self.is_test = False
        place = open_place(self.path)
        files = _files(place, self.path)
        with ThreadPoolExecutor(_N_READERS, "lagom-parquet-footers") as threads:
            footers = list(threads.map(place.footer, files))
        self._kinds = _same_columns(self.label, files, footers, columns)
        self.columns = self._kinds.names
        #: Rows of each row group, by file.
        self._groups = {
            file: tuple(footer.row_group(index).num_rows for index in range(footer.num_row_groups))
            for file, footer in zip(files, footers, strict=True)
        }
        self.n_rows = sum(sum(groups) for groups in self._groups.values())
        n_bytes = sum(footer.row_group(i).total_byte_size for footer in footers for i in range(footer.num_row_groups))
        self._row_bytes = max(1, n_bytes // max(1, self.n_rows))

    def __repr__(self) -> str:
        return f"ParquetData({self.path!r}, {self.n_rows:,} rows of {', '.join(self.columns)})"

    def __len__(self) -> int:
        return self.n_rows

    def for_test(self) -> ParquetData:
        """The same to be evaluated on."""
        data = copy(self)
        data.is_test = True
        return data

    def rows_of(self, rank: int, world_size: int) -> tuple[int, int]:
        """First row of a rank's share and the one after its last.

        Fewer than `world_size` rows at the very end are nobody's.

        Raises:
            ConfigError: there are fewer rows than ranks.
        """
        size = self.n_rows // world_size
        if size == 0:
            raise ConfigError(
                f"{self.label} has {self.n_rows} rows, too few for {world_size} ranks. "
                f"Use --workers {self.n_rows or 1}."
            )
        return rank * size, (rank + 1) * size

    def share(self, rank: int, world_size: int) -> list[Piece]:
        """What a rank reads; all ranks read the same number of rows, and none twice."""
        return self.pieces(*self.rows_of(rank, world_size))

    def pieces(self, start: int, stop: int) -> list[Piece]:
        """The parts of row groups that hold rows `start` to `stop` of all."""
        found = []
        first = 0
        for file, groups in self._groups.items():
            for group, n_rows in enumerate(groups):
                inside = max(start - first, 0), min(stop - first, n_rows)
                if inside[0] < inside[1]:
                    found.append(Piece(file, group, *inside))
                first += n_rows
        return found

    def blocks(self, start: int, stop: int, seed: Sequence[int] | None) -> Iterator[dict[str, Any]]:
        """Rows `start` to `stop` as some arrays at a time, {column: array of rows}.

        Args:
            start: from 0.
            stop: the row after the last.
            seed: of the order; None = as in the files.
        """
        reader = Reader(self.path, self._kinds, self._row_bytes)
        return reader.blocks(self.pieces(start, stop), seed)

    def first_block(self) -> dict[str, Any]:
        """One row, for types and shapes."""
        return next(self.blocks(0, 1, None))

    def as_torch(self, rank: int = 0, world_size: int = 1) -> Any:
        """A `torch.utils.data.IterableDataset` of a rank's rows; by itself, of all. A row is {column: tensor}.

        `lagom_share` of it is (rank, world_size), where that is not (0, 1), and `lagom_whole()` is that of all rows.
        """
        from lagom_magic.worker.distribution.parquet_views import torch_rows

        return torch_rows(self, rank, world_size)

    def as_tensorflow(self, rank: int = 0, world_size: int = 1, seed: int | None = None) -> Any:
        """A `tf.data.Dataset` of a rank's rows, not batched; by itself, of all. A row is {column: tensor}.

        `_lagom_share` of it is (rank, world_size), where that is not (0, 1), and `_lagom_rows` what messages call it.

        Args:
            rank: of the reader.
            world_size: how many readers there are.
            seed: of the order of rows, which is another one in each epoch; None = a random one.
        """
        from lagom_magic.worker.distribution.parquet_views import tensorflow_rows

        return tensorflow_rows(self, rank, world_size, seed)

    def for_rank(self, framework: str, rank: int, world_size: int, seed: int | None) -> Any:
        """What the training function of a rank gets.

        Args:
            framework: "torch" or "tensorflow".
            rank: from 0.
            world_size: how many ranks there are.
            seed: of the run.
        """
        if self.is_test:
            rank, world_size = 0, 1
        if framework == "torch":
            return self.as_torch(rank, world_size)
        return self.as_tensorflow(rank, world_size, seed)


def is_parquet(value: object) -> bool:
    """Whether a value is the path of Parquet files: one that is called so, or a local folder that holds such files."""
    if not isinstance(value, (str, os.PathLike)):
        return False
    text = os.fspath(value)
    if not isinstance(text, str) or "\n" in text:
        return False
    if text.rstrip("/").endswith(SUFFIXES):
        return True
    folder = Path(text).expanduser()
    return "://" not in text and folder.is_dir() and any(next(folder.glob(f"*{end}"), None) for end in SUFFIXES)


def _absolute(path: str | os.PathLike[str]) -> str:
    text = os.fspath(path)
    return text if "://" in text else str(Path(text).expanduser().absolute())


def _files(place: Place, path: str) -> list[str]:
    """The files that hold rows, from the place on.

    Raises:
        ConfigError: there are none, or folders' names hold a column.
    """
    files = [name for name in place.files() if not name or name.endswith(SUFFIXES)]
    if not files:
        raise ConfigError(f"there is no Parquet file at {path}. Give the path of a file or of the folder with them.")
    for name in files:
        column = next((part for part in name.split("/")[:-1] if "=" in part), None)
        if column is not None:
            raise ConfigError(
                f"{path} keeps the column {column.partition('=')[0]!r} in the names of its folders ({column}), not in "
                "its files. Write it without partitionBy(…)."
            )
    return files


def _same_columns(label: str, files: Sequence[str], footers: Sequence[Any], columns: Sequence[str] | None) -> Columns:
    """The columns of the first file, which all others must have too."""
    schemas = [footer.schema.to_arrow_schema() for footer in footers]
    names = list(columns) if columns is not None else schemas[0].names
    for name in names:
        if name not in schemas[0].names:
            raise ConfigError(
                f"{label} has no column {name!r}; it has: {', '.join(schemas[0].names)}."
                f"{nearest(name, schemas[0].names)}"
            )
    for file, schema in zip(files, schemas, strict=True):
        for name in names:
            if name not in schema.names or schema.field(name).type != schemas[0].field(name).type:
                found = schema.field(name).type if name in schema.names else "missing"
                raise ConfigError(
                    f"{label}: column {name!r} is {schemas[0].field(name).type} in {files[0]} and {found} in {file}. "
                    "All files must have the same columns."
                )
    return Columns.of(label, {name: schemas[0].field(name).type for name in names})
