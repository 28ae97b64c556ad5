"""What the columns of Parquet and CSV files are called, and how such files are laid out.

Used by `spec/datasets.py` on the driver, and by `worker/ablation/features_files.py`, which copies them.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from lagom_magic.errors import ConfigError

PARQUET_SUFFIXES = (".parquet", ".parq", ".pq")
_CSV_SUFFIX = ".csv"
_DELIMITERS = (",", ";", "\t", "|")
_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class CsvColumns:
    """The header of a CSV file.

    Attributes:
        header: all fields as they stand there.
        delimiter: between fields.
        line_end: of the header.
        mark: the byte order mark that some programs begin a file with; "".
    """

    header: tuple[str, ...]
    delimiter: str
    line_end: str
    mark: str

    @property
    def names(self) -> tuple[str, ...]:
        """The columns; those without a name, as of an index, do not count."""
        return tuple(name for name in self.header if name)


@dataclass(frozen=True, slots=True)
class ParquetColumns:
    """The columns of Parquet files.

    Attributes:
        names: of the first file, without pandas' index.
        filesystem: pyarrow's, where the files are.
        root: of the data on it.
        files: names from the root on, in order; "" for a file alone.
    """

    names: tuple[str, ...]
    filesystem: Any
    root: str
    files: tuple[str, ...]

    def full(self, file: str) -> str:
        """The path of one of the files."""
        return f"{self.root.rstrip('/')}/{file}" if file else self.root


def shown(name: object) -> str:
    """A column's name as one line of a message, whatever characters it has."""
    text = str(name)
    return text if text.strip() and text.isprintable() else repr(text)


def is_csv(path: str | os.PathLike[str]) -> bool:
    """Whether a path is called like a CSV file."""
    return os.fspath(path).lower().endswith(_CSV_SUFFIX)


def looks_like_path(text: str) -> bool:
    """Whether a text can be the path of data, and is not a label."""
    return text.lower().rstrip("/").endswith((*PARQUET_SUFFIXES, _CSV_SUFFIX)) or os.path.isdir(_expanded(text))


def is_missing(path: str | os.PathLike[str]) -> bool:
    """Whether a local path leads nowhere on this machine."""
    return not is_uri(path) and not os.path.exists(_expanded(path))


def is_uri(path: str | os.PathLike[str]) -> bool:
    """Whether it is one of pyarrow's file systems, such as hdfs://…."""
    return "://" in os.fspath(path)


@contextmanager
def open_csv(path: str | os.PathLike[str], mode: str = "r") -> Iterator[IO[str]]:
    """The file as text that is the same bytes again when it is written, whatever its encoding."""
    with open(_expanded(path), mode, newline="", encoding="utf-8", errors="surrogateescape") as file:
        yield file


def csv_columns(path: str | os.PathLike[str]) -> CsvColumns:
    """The header of a CSV file.

    Raises:
        ConfigError: the file is not there, or has no header.
    """
    if is_uri(path):
        raise ConfigError(
            f"{os.fspath(path)} is a URI, and CSV files are read from local paths only. Give a path, or Parquet files."
        )
    _check_there(path)
    if os.path.isdir(_expanded(path)):
        raise ConfigError(
            f"{os.fspath(path)} is a folder. Give the path of one CSV file, or a folder of Parquet files."
        )
    with open_csv(path) as file:
        mark = _BYTE_ORDER_MARK if file.read(1) == _BYTE_ORDER_MARK else ""
        start = len(mark.encode())
        file.seek(start)
        line = file.readline()
        bare = re.sub(r'"[^"]*"', "", line)
        delimiter = max(_DELIMITERS, key=bare.count)
        file.seek(start)
        header = tuple(next(csv.reader(file, delimiter=delimiter), ()))
    if not any(header) or all(not name or _is_number(name) for name in header):
        raise ConfigError(
            f"{os.fspath(path)} has no header: its first line is {line.strip()[:80]!r}. The columns of a CSV file must "
            "be named in its first line."
        )
    return CsvColumns(header, delimiter, "\r\n" if line.endswith("\r\n") else "\n", mark)


def parquet_columns(path: str | os.PathLike[str]) -> ParquetColumns:
    """The columns of a Parquet file, or of the folder or URI with such files.

    Raises:
        ConfigError: there are none, they cannot be read, or folders' names hold a column.
    """
    _check_there(path)
    text = os.fspath(path)
    try:
        import pyarrow
        import pyarrow.parquet as pq
        from pyarrow.fs import FileSystem, LocalFileSystem
    except ImportError as error:
        raise ConfigError(f"{text} needs pyarrow, which reads Parquet: %pip install 'lagom-magic[parquet]'.") from error
    try:
        if is_uri(path):
            filesystem, root = FileSystem.from_uri(text.replace("s3a://", "s3://", 1))
        else:
            filesystem, root = LocalFileSystem(), _expanded(path)
        files = _parquet_files(filesystem, root, text)
        columns = ParquetColumns((), filesystem, root, files)
        schema = pq.read_schema(columns.full(files[0]), filesystem=filesystem)
    except ConfigError:
        raise
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise ConfigError(f"{text} cannot be read as Parquet: {error}") from error
    index = _index_columns(schema)
    return ParquetColumns(tuple(name for name in schema.names if name not in index), filesystem, root, files)


def _parquet_files(filesystem: Any, root: str, path: str) -> tuple[str, ...]:
    from pyarrow.fs import FileSelector, FileType

    if filesystem.get_file_info(root).type == FileType.File:
        if not root.lower().endswith(PARQUET_SUFFIXES):
            raise ConfigError(
                f"{path} is called neither a Parquet file ({', '.join(PARQUET_SUFFIXES)}) nor a CSV file (.csv)."
            )
        return ("",)
    found = filesystem.get_file_info(FileSelector(root, recursive=True, allow_not_found=True))
    base = root.rstrip("/") + "/"
    names = [info.path.removeprefix(base) for info in found if info.type == FileType.File]
    files = sorted(
        name
        for name in names
        if name.lower().endswith(PARQUET_SUFFIXES) and not any(part.startswith(("_", ".")) for part in name.split("/"))
    )
    if not files:
        raise ConfigError(
            f"there is no Parquet file below {path}. Give the path of one, of the folder with them, or of a CSV file."
        )
    for part in (part for name in files for part in name.split("/")[:-1]):
        if "=" in part:
            raise ConfigError(
                f"{path} keeps the column {part.partition('=')[0]!r} in the names of its folders ({shown(part)}), "
                "not in its files. Write it without partitions."
            )
    return tuple(files)


def _index_columns(schema: Any) -> set[str]:
    """Columns that pandas makes its index of when it reads the file."""
    told = (schema.metadata or {}).get(b"pandas")
    return {name for name in json.loads(told)["index_columns"] if isinstance(name, str)} if told else set()


def _check_there(path: str | os.PathLike[str]) -> None:
    if is_missing(path):
        raise ConfigError(f"There is no file or folder {os.fspath(path)!r} (looked in {os.getcwd()}).")


def _expanded(path: str | os.PathLike[str]) -> str:
    return os.path.expanduser(path)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
