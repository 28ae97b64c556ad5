"""Which files the data were read from that a run was given; for provenance.json, on a thread of the store's."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lagom_magic.cluster.data import is_frame
from lagom_magic.worker.distribution.parquet import ParquetData

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

logger = logging.getLogger("lagom_magic")

#: Of a Spark DataFrame's files so many are named: each costs a call into Spark's JVM.
_MAX_FILES = 200
_SETS = ("dataset", "train_set", "test_set")


def inputs_of(given: Mapping[str, Any], notebook_dir: Path) -> list[dict[str, Any]]:
    """The arguments that are read from files.

    Args:
        given: the config's fields.
        notebook_dir: where relative paths begin.

    Returns:
        {"argument", "kind": "Spark DataFrame" or "path", "paths", "n_files"} each. Paths are absolute, or URIs.
    """
    values = {name: given.get(name) for name in _SETS}
    study = given.get("ablation_study")
    if study is not None:
        values["dataset"] = getattr(study, "dataset", None)
    found = []
    for name, value in values.items():
        if is_frame(value):
            paths, n_files = _files_of(value)
            found.append({"argument": name, "kind": "Spark DataFrame", "paths": paths, "n_files": n_files})
        elif (path := _path_of(value, notebook_dir)) is not None:
            found.append({"argument": name, "kind": "path", "paths": [path], "n_files": 1})
    return found


def _files_of(frame: DataFrame) -> tuple[list[str], int]:
    """The first files that a DataFrame reads, and how many there are; none when Spark cannot say."""
    from py4j.protocol import Py4JError

    try:
        files = frame._jdf.inputFiles()  # its public form copies every name, of which there may be a million
        return [_local(str(files[i])) for i in range(min(len(files), _MAX_FILES))], len(files)
    except (Py4JError, OSError, AttributeError) as error:  # its session was stopped, or a file is gone
        logger.debug("the files of a Spark DataFrame are not known: %s", error)
        return [], 0


def _path_of(value: Any, notebook_dir: Path) -> str | None:
    """The path that an argument is; None for other text, such as the name of a dataset."""
    if isinstance(value, ParquetData):
        return value.path
    if not isinstance(value, (str, os.PathLike)):
        return None
    text = os.fspath(value)
    if not isinstance(text, str) or not text or "\n" in text or "\0" in text:
        return None
    if "://" in text:
        return _local(text)
    path = os.path.join(notebook_dir, os.path.expanduser(text))
    return path if os.path.exists(path) else None


def _local(uri: str) -> str:
    """The path in a `file:` URI, as Spark writes it; others as they are."""
    from urllib.parse import unquote, urlsplit

    return unquote(urlsplit(uri).path) if uri.startswith("file:/") else uri
