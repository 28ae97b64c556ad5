"""Leaves features out of a dataset, so that the user's code gets data of the same kind and does not change.

Called in a trial process. The given object is never changed: other trials of the same process have it too.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lagom_magic.spec.dataset_files import is_csv, is_missing
from lagom_magic.spec.dataset_kinds import kind_of
from lagom_magic.spec.datasets import check_left_out, checked_names, feature_parts, features_of, features_of_item
from lagom_magic.worker.ablation.features_files import csv_without, parquet_without
from lagom_magic.worker.ablation.features_items import tensorflow_without, torch_without
from lagom_magic.worker.ablation.features_values import dict_without, records_without, sliced


def without_features(
    data: Any,
    names: Sequence[str],
    *,
    label_name: str | None,
    feature_names: Sequence[str] | None,
    folder: Path,
) -> Any:
    """The dataset without some features; all else is as it was, in the same order.

    Args:
        data: as `spec.datasets.features_of` takes it; relative paths count from the working directory.
        names: the features to leave out; none = the data themselves.
        label_name: as there.
        feature_names: as there.
        folder: where copies of files go, each in a folder of its own; made if needed. The caller removes it.

    Returns:
        Data of the same kind: of a path the path of a copy, a text or a `Path` as it was.

    Raises:
        ConfigError: a feature is unknown, none would be left, or the data are of a kind that is not known; for a torch
            dataset when its first item is read.
        FileNotFoundError: a file is not on this machine.
    """
    _check_files_are_here(data)
    if not names:
        return data
    given = checked_names(feature_names)
    leaver = _Leaver(frozenset(names), label_name, given, folder)
    if kind_of(data) != "torch":  # whose first item is checked when it is read
        check_left_out(names, features_of(data, label_name, given), label_name)
    return leaver.without(data)


@dataclass(frozen=True, slots=True)
class _Leaver:
    """What is left out, for a dataset and its parts."""

    names: frozenset[str]
    label_name: str | None
    feature_names: list[str] | None
    folder: Path

    @property
    def kept(self) -> list[int]:
        """The places that stay, of data whose columns have no names of their own."""
        return [index for index, name in enumerate(self.feature_names or ()) if name not in self.names]

    def without(self, data: Any) -> Any:
        match kind_of(data):
            case "pandas":
                return data.iloc[:, self._kept_of(data.columns)].copy()
            case "polars":
                return data.drop(sorted(self.names))
            case "arrow":
                return data.select(self._kept_of(data.column_names))
            case "records":
                return records_without(data, self.names)
            case "dict":
                return dict_without(data, self.names)
            case "path":
                copy_file = csv_without if is_csv(data) else parquet_without
                copied = copy_file(data, self.names, self.folder)
                return str(copied) if isinstance(data, str) else copied
            case "torch":
                check = partial(_check_item, self.names, self.label_name, self.feature_names, type(data).__name__)
                return torch_without(data, self.names, self.kept, check)
            case "tensorflow":
                return tensorflow_without(data, self.names, self.kept)
            case "array":
                return sliced(data, self.kept)
            case _:
                return self._parts_without(data)

    def _kept_of(self, columns: Iterable[object]) -> list[int]:
        return [index for index, name in enumerate(columns) if str(name) not in self.names]

    def _parts_without(self, data: Sequence[Any]) -> Any:
        """A tuple or list, whose labels and weights stay the same objects."""
        positions = feature_parts(data, self.label_name, self.feature_names)
        parts = [self.without(part) if index in positions else part for index, part in enumerate(data)]
        if hasattr(data, "_fields"):
            return type(data)(*parts)
        return parts if isinstance(data, list) else tuple(parts)


def _check_item(
    names: frozenset[str], label_name: str | None, feature_names: list[str] | None, what: str, item: Any
) -> None:
    check_left_out(sorted(names), features_of_item(item, label_name, feature_names, what), label_name)


def _check_files_are_here(data: Any) -> None:
    kind = kind_of(data)
    if kind == "parts":
        for part in data:
            _check_files_are_here(part)
    elif kind == "path" and is_missing(data):
        path = os.fspath(data)
        plain = os.path.normpath(path)
        name = plain if plain.startswith((os.sep, os.pardir, "~")) else plain.split(os.sep)[0]
        raise FileNotFoundError(
            f"The dataset {path!r} is not there on the worker host {socket.gethostname()} (looked in {os.getcwd()}). "
            f"Ship it with `--files {name}`, which puts {os.path.basename(name)!r} into the working directory of every "
            "trial, or give a path that all workers see."
        )
