"""Makes the data of a training ready to travel: Spark DataFrames and paths of Parquet files become `ParquetData`.

Called on the caller's thread while a run is put together. A DataFrame is written once, to a folder that lives as long
as the run: LAGOM_DATA_DIR, which may be a URI, else one below the folder of all runs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import socket
import sys
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lagom_magic.errors import ClusterError, ConfigError, LagomError
from lagom_magic.worker.distribution.parquet import ParquetData, is_parquet
from lagom_magic.worker.distribution.parquet_reading import open_place, require_pyarrow

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

logger = logging.getLogger("lagom_magic")

VARIABLE = "LAGOM_DATA_DIR"
#: Arguments that may be data; the last one is evaluated on.
_SETS = ("dataset", "train_set", "test_set")
#: Row groups of what we write: small beside a rank's memory, large beside what reading one costs.
_ROW_GROUP_BYTES = 16 * 2**20


class RunData:
    """The data of one run."""

    def __init__(self, home: Path, *, is_shared: bool) -> None:
        """Do nothing yet.

        Args:
            home: the folder of all runs.
            is_shared: whether workers share out rows; else data travel as they are.
        """
        self._home = home
        self._is_shared = is_shared
        self._remove: Callable[[], object] | None = None
        self._folder = ""

    def looked_up(self, fixed: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments, where the path of Parquet files has become their `ParquetData`.

        Raises:
            ConfigError: the files are not there, or their columns have no tensors; or there is a Spark DataFrame, and
                workers do not share out rows.
        """
        return {name: self._looked_up(name, value) for name, value in fixed.items()}

    def _looked_up(self, name: str, value: Any) -> Any:
        if name not in _SETS:
            return value
        if not self._is_shared:
            return _refused_frame(name, value)
        if is_parquet(value):
            value = ParquetData(value)
        return value.for_test() if name == "test_set" and isinstance(value, ParquetData) else value

    def has_frames(self, fixed: Mapping[str, Any]) -> bool:
        """Whether something must be written first."""
        return len(self.without_frames(fixed)) < len(fixed)

    def without_frames(self, fixed: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments without Spark DataFrames."""
        return {name: value for name, value in fixed.items() if not is_frame(value)}

    def written(self, fixed: Mapping[str, Any], announce: Callable[[str], None]) -> dict[str, Any]:
        """The arguments, where each Spark DataFrame has become its `ParquetData`; other values as they are.

        Raises:
            ConfigError: a column has no tensors.
            ClusterError: executors do not write to where the notebook reads.
        """
        values = dict(fixed)
        for name, value in fixed.items():
            if is_frame(value):
                announce(f"lagom: writing {name}, a Spark DataFrame, as Parquet files that the workers read …")
                data = self._write(name, value)
                values[name] = data.for_test() if name == "test_set" else data
        return values

    def notes(self, fixed: Mapping[str, Any], world_size: int) -> tuple[str, ...]:
        """What a person should know of how rows are shared out.

        Raises:
            ConfigError: there are fewer rows than ranks.
        """
        notes = []
        for name, data in fixed.items():
            if isinstance(data, ParquetData) and self._is_shared and not data.is_test:
                first, last = data.rows_of(0, world_size)
                n_left = data.n_rows - (last - first) * world_size
                if n_left:
                    notes.append(
                        f"{name} has {data.n_rows:,} rows: each of {world_size} ranks reads {last - first:,} of them, "
                        f"and {n_left} at the end {'is' if n_left == 1 else 'are'} left out, so that all take as many "
                        "steps."
                    )
        return tuple(notes)

    def _write(self, name: str, frame: DataFrame) -> ParquetData:
        from pyspark.sql import Observation
        from pyspark.sql.functions import count, lit

        path = f"{self._open_folder()}/{name}"
        frame.limit(0).write.parquet(_for_spark(f"{path}.columns"))
        self._check_is_shared(f"{path}.columns", name)
        ParquetData(f"{path}.columns", label=name)  # says what is wrong with a column before hours of writing
        seen = Observation()
        observed = frame.observe(seen, count(lit(1)).alias("n_rows"))
        observed.write.option("parquet.block.size", _ROW_GROUP_BYTES).parquet(_for_spark(path))
        self._check_is_shared(path, name)
        data = ParquetData(path, label=name)
        n_rows = int(seen.get["n_rows"])
        if data.n_rows != n_rows:
            raise self._not_shared(name, f"only {data.n_rows:,} of its {n_rows:,} rows are")
        return data

    def _check_is_shared(self, path: str, name: str) -> None:
        if not open_place(path).files():
            raise self._not_shared(name, "nothing of it is")

    def _not_shared(self, name: str, what: str) -> ClusterError:
        return ClusterError(
            f"Spark has written {name} to {self._folder}, but {what} there for the notebook: its executors write to "
            f"disks of their own. Set {VARIABLE} to a place that the notebook and all workers see: a shared folder, or "
            "a URI that pyarrow.fs and Spark know, such as hdfs://…, s3://… or gs://…."
        )

    def _open_folder(self) -> str:
        """The run's own folder or URI, which `close` removes."""
        if self._folder:
            return self._folder
        place = os.environ.get(VARIABLE, "")
        name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        require_pyarrow(place or "A Spark DataFrame, once written,")
        if "://" in place:
            self._folder = f"{place.rstrip('/')}/lagom-{name}"
            self._remove = weakref.finalize(self, _remove_place, self._folder)
        else:
            parent = Path(place).expanduser().absolute() / "lagom-data" if place else self._home / ".data"
            folder = parent / name
            folder.mkdir(parents=True)
            _remove_stale(parent)
            self._folder = str(folder)
            self._remove = weakref.finalize(self, _remove_folder, folder)
        return self._folder

    def close(self) -> None:
        """Removes what was written; any thread, any number of times. Python's end does it too."""
        if self._remove is not None:
            self._remove()


def is_frame(value: object) -> bool:
    """Whether it is a Spark DataFrame; imports no pyspark."""
    sql = sys.modules.get("pyspark.sql")
    return sql is not None and isinstance(value, sql.DataFrame)


def _refused_frame(name: str, value: Any) -> Any:
    if is_frame(value):
        raise ConfigError(
            f"{name} is a Spark DataFrame, which only the notebook can read; %%lagom train shares its rows out, other "
            "runs do not. Hand over what fits into memory, as with toPandas(), or write it to Parquet files and read "
            "those in the function."
        )
    return value


def _for_spark(path: str) -> str:
    """A local path so that Spark does not look for it in a cluster's default file system."""
    return path if "://" in path else f"file://{path}"


def _remove_folder(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        logger.warning("%s is left behind: %s", folder, error)
    with contextlib.suppress(OSError):  # another run's data are there
        folder.parent.rmdir()


def _remove_place(uri: str) -> None:
    try:
        open_place(uri).delete()
    except LagomError as error:
        logger.warning("%s is left behind: %s", uri, error)


def _remove_stale(parent: Path) -> None:
    """Removes what killed processes of this host have left."""
    for folder in parent.iterdir():
        host, _, rest = folder.name.rpartition("-")[0].rpartition("-")
        if host == socket.gethostname() and rest.isdigit() and not _is_alive(int(rest)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
