"""Reads rows of Parquet files as NumPy arrays, a few at a time and in a shuffled order; used by `ParquetData`."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lagom_magic.errors import ConfigError, LagomError

if TYPE_CHECKING:
    from lagom_magic.worker.distribution.parquet import Piece

#: What is read at once, and what waits to be mixed: of a local disk, milliseconds and rows of many places.
_BLOCK_BYTES = 2 * 2**20
_BUFFER_BYTES = 32 * 2**20
_MAX_BLOCK_ROWS = 8192
#: A column is read in parts of this size where that costs nothing, so that a huge row group needs no huge memory.
_READ_BYTES = 2**16
#: Spark's ML vectors, dense and sparse, as Parquet holds them.
_VECTOR_FIELDS = {"type", "size", "indices", "values"}


class Place:
    """Where files lie: a folder, or a file alone, which is then called ""."""

    def __init__(self, path: str, filesystem: Any, root: str) -> None:
        self.path = path
        self._filesystem = filesystem
        self._root = root

    @property
    def is_local(self) -> bool:
        return bool(self._filesystem.type_name == "local")

    def files(self) -> list[str]:
        """Names of all files in it, in order; not those that Spark and others hide with "_" or "."."""
        from pyarrow.fs import FileSelector, FileType

        with self._explained():
            kind = self._filesystem.get_file_info(self._root).type
            if kind == FileType.File:
                return [""]
            found = self._filesystem.get_file_info(FileSelector(self._root, recursive=True, allow_not_found=True))
        base = self._root.rstrip("/") + "/"
        names = [info.path.removeprefix(base) for info in found if info.type == FileType.File]
        return sorted(name for name in names if not any(part.startswith(("_", ".")) for part in name.split("/")))

    def footer(self, name: str) -> Any:
        """The metadata of a file, pyarrow's."""
        import pyarrow.parquet as pq

        with self._explained(name), self._filesystem.open_input_file(self._full(name)) as source:
            return pq.read_metadata(source)

    def open(self, name: str) -> Any:
        """The file as pyarrow's ParquetFile; to be closed."""
        import pyarrow.parquet as pq

        with self._explained(name):
            return pq.ParquetFile(
                self._filesystem.open_input_file(self._full(name)),
                pre_buffer=False,
                buffer_size=_READ_BYTES if self.is_local else 0,
            )

    def delete(self) -> None:
        """Removes the folder and all that is in it, if it is there."""
        from pyarrow.fs import FileType

        with self._explained():
            if self._filesystem.get_file_info(self._root).type == FileType.Directory:
                self._filesystem.delete_dir(self._root)

    def _full(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}" if name else self._root

    @contextmanager
    def _explained(self, name: str = "") -> Iterator[None]:
        """Says what could not be read, and where."""
        import pyarrow

        try:
            yield
        except (OSError, pyarrow.ArrowException) as error:
            raise LagomError(
                f"{self.path}{f' ({name})' if name else ''} cannot be read on host {socket.gethostname()}: {error}. "
                "It must lie where the notebook and all workers see it under the same path: a shared folder, or a URI "
                "that pyarrow.fs reads, such as hdfs://… or s3://…."
            ) from error


def open_place(path: str) -> Place:
    """Where a path or URI leads.

    Raises:
        ConfigError: pyarrow is missing, or knows no such URI.
    """
    require_pyarrow(path)
    import pyarrow
    from pyarrow.fs import FileSystem, LocalFileSystem

    if "://" not in path:
        return Place(path, LocalFileSystem(), path)
    scheme, _, rest = path.partition("://")
    try:
        filesystem, root = FileSystem.from_uri(f"{scheme.removesuffix('a') if scheme == 's3a' else scheme}://{rest}")
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise ConfigError(
            f"{path} cannot be opened on host {socket.gethostname()}: {error}. Allowed: a path, or a URI that "
            "pyarrow.fs reads, such as hdfs://…, s3://…, gs://… or file:///…."
        ) from error
    return Place(path, filesystem, root)


def require_pyarrow(path: str) -> None:
    """Imports pyarrow and what it imports; done before a process forks readers, so that none does it again.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import pyarrow.fs
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(
            f"{path} is Parquet, and host {socket.gethostname()} has no pyarrow, which reads it. "
            "Run `pip install pyarrow` there; the notebook's host and all workers need it."
        ) from error
    pyarrow.array([False]).to_numpy(zero_copy_only=False)  # imports pandas where it is installed


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns that can become arrays.

    Attributes:
        label: of the data, for messages.
        names: in order.
    """

    label: str
    names: tuple[str, ...]

    @classmethod
    def of(cls, label: str, types: dict[str, Any]) -> Columns:
        """Checks pyarrow's types.

        Raises:
            ConfigError: one cannot become an array of numbers or texts.
        """
        for name, kind in types.items():
            if not _is_readable(kind):
                raise ConfigError(
                    f"{label}: column {name!r} is {kind}, which has no tensors. Allowed: numbers, booleans, texts, "
                    "lists of numbers, and Spark's ML vectors. Cast it to a number, or leave it out."
                )
        return cls(label, tuple(types))

    def arrays(self, batch: Any) -> dict[str, Any]:
        """A record batch as {column: array}; the first dimension of each is rows."""
        return {name: self._array(name, batch.column(name)) for name in self.names}

    def _array(self, name: str, column: Any) -> Any:
        import numpy as np

        array = _as_numpy(column, lambda problem: ConfigError(f"{self.label}: column {name!r} {problem}"))
        return array if array.flags.writeable else np.array(array)


def _is_readable(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        return _is_readable(kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = kind.value_type
        return _is_readable(inner) and not (types.is_string(inner) or types.is_struct(inner))
    if types.is_struct(kind):
        return {kind.field(index).name for index in range(kind.num_fields)} == _VECTOR_FIELDS
    texts = types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind)
    numbers = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind)
    return bool(texts or numbers)


def _as_numpy(column: Any, wrong: Callable[[str], ConfigError]) -> Any:
    """An arrow array as a NumPy one: of numbers, or of objects for texts and lists of different lengths."""
    import numpy as np
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        return _as_numpy(column.dictionary_decode(), wrong)
    if column.null_count and not pa.types.is_floating(kind):
        raise wrong(f"({kind}) has empty values (null). Fill them, as with df.fillna(…), or drop those rows.")
    if pa.types.is_struct(kind):
        return _vectors(column, wrong)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        values = _as_numpy(column.flatten(), wrong)
        lengths = column.value_lengths().to_numpy(zero_copy_only=False)
        return _rows_of(values, lengths)
    if pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _rows_of(values: Any, lengths: Any) -> Any:
    """Values that lie one after the other, as an array of rows."""
    import numpy as np

    if len(lengths) and (lengths == lengths[0]).all():
        return values.reshape(len(lengths), int(lengths[0]), *values.shape[1:])
    return _objects(np.split(values, np.cumsum(lengths)[:-1]))


def _vectors(column: Any, wrong: Callable[[str], ConfigError]) -> Any:
    """Spark's ML vectors as one matrix."""
    import numpy as np

    values, indices, sizes = (column.field(name) for name in ("values", "indices", "size"))
    is_sparse = column.field("type").to_numpy(zero_copy_only=False) == 0
    n_values = values.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    widths = np.where(is_sparse, sizes.fill_null(0).to_numpy(zero_copy_only=False), n_values)
    if len(widths) and (widths != widths[0]).any():
        raise wrong(f"has vectors of different sizes ({widths.min()} to {widths.max()}). Make them equally long.")
    matrix = np.zeros((len(widths), int(widths[0]) if len(widths) else 0))
    rows = np.repeat(np.arange(len(widths)), n_values)
    places = np.concatenate([np.arange(n) for n in n_values]) if len(n_values) else rows
    places[is_sparse[rows]] = indices.flatten().to_numpy(zero_copy_only=False)
    matrix[rows, places] = values.flatten().to_numpy(zero_copy_only=False)
    return matrix


class Reader:
    """Reads pieces of row groups, one after the other; holds one open file, one block, and what waits to be mixed."""

    def __init__(self, path: str, columns: Columns, row_bytes: int) -> None:
        self._path = path
        self._columns = columns
        self._block_rows = max(1, min(_MAX_BLOCK_ROWS, _BLOCK_BYTES // row_bytes))
        self._buffer_rows = max(self._block_rows, _BUFFER_BYTES // row_bytes)

    def blocks(self, pieces: Sequence[Piece], seed: Sequence[int] | None) -> Iterator[dict[str, Any]]:
        """The rows of the pieces.

        Args:
            pieces: what to read.
            seed: shuffles the pieces, and rows that are at most the buffer's size apart; None = in order.
        """
        if seed is None:
            return self._read(pieces)
        import numpy as np

        random = np.random.default_rng(list(seed))
        order = random.permutation(len(pieces))
        return self._mixed(self._read([pieces[index] for index in order]), random)

    def _read(self, pieces: Sequence[Piece]) -> Iterator[dict[str, Any]]:
        place = open_place(self._path)
        file, name = None, None
        try:
            for piece in pieces:
                if file is None or name != piece.file:
                    if file is not None:
                        file.close(force=True)
                    file, name = place.open(piece.file), piece.file
                for batch in self._batches(file, piece):
                    yield self._columns.arrays(batch)
        finally:
            if file is not None:
                file.close(force=True)

    def _batches(self, file: Any, piece: Piece) -> Iterator[Any]:
        """The rows of one piece as arrow's record batches."""
        first = 0
        batches = file.iter_batches(
            batch_size=self._block_rows,
            row_groups=[piece.group],
            columns=list(self._columns.names),
            use_threads=False,  # so that a forked worker of a DataLoader can read too
        )
        for batch in batches:
            start, stop = max(piece.start - first, 0), min(piece.stop - first, batch.num_rows)
            if start < stop:
                yield batch.slice(start, stop - start)
            first += batch.num_rows
            if first >= piece.stop:
                return

    def _mixed(self, blocks: Iterator[dict[str, Any]], random: Any) -> Iterator[dict[str, Any]]:
        """The same rows: a buffer is filled first, then rows of it, taken by chance, make room for each block."""
        first: list[dict[str, Any]] = []
        n_waiting = 0
        for block in blocks:
            first.append(block)
            n_waiting += _n_rows(block)
            if n_waiting >= self._buffer_rows:
                break
        if not first:
            return
        waiting = {name: _joined([block[name] for block in first]) for name in first[0]}
        first.clear()
        for block in blocks:
            places = random.choice(n_waiting, _n_rows(block), replace=False)
            yield {name: rows[places] for name, rows in waiting.items()}
            waiting = {name: _replaced(rows, places, block[name]) for name, rows in waiting.items()}
        order = random.permutation(n_waiting)
        for start in range(0, n_waiting, self._block_rows):
            places = order[start : start + self._block_rows]
            yield {name: rows[places] for name, rows in waiting.items()}


def _n_rows(block: dict[str, Any]) -> int:
    return len(next(iter(block.values())))


def _joined(arrays: Sequence[Any]) -> Any:
    """Rows of several arrays."""
    import numpy as np

    if len({(array.dtype, array.shape[1:]) for array in arrays}) == 1:
        return np.concatenate(arrays)
    return _objects([row for array in arrays for row in array])


def _replaced(array: Any, places: Any, rows: Any) -> Any:
    """The array with other rows in these places; changed in place where it can be."""
    if array.dtype == rows.dtype and array.shape[1:] == rows.shape[1:]:
        array[places] = rows
        return array
    changed = _objects(list(array))
    changed[places] = _objects(list(rows))
    return changed


def _objects(rows: Sequence[Any]) -> Any:
    """An array of rows that are not alike, such as lists of different lengths."""
    import numpy as np

    array = np.empty(len(rows), object)
    for index, row in enumerate(rows):
        array[index] = row
    return array
