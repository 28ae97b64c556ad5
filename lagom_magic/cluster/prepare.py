"""Packs a run for its workers; called once on the caller's thread, before Spark is asked for anything."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lagom_magic.cluster.kit import WorkerKit, bootstrap_source, package_zip, path_additions
from lagom_magic.cluster.payload import PICKLER, pickle_payload
from lagom_magic.cluster.references import cell_sources
from lagom_magic.cluster.usercode import pack_user_code


def prepare_kit(
    payload: Mapping[str, Any],
    notebook_dir: Path,
    py_files: Sequence[str] = (),
    files: Sequence[str] = (),
    *,
    is_local: bool,
    distribution: dict[str, Any] | None = None,
) -> tuple[WorkerKit, tuple[str, ...]]:
    """Everything that workers get, and notes that a person should read.

    Args:
        payload: {"train_fn", "fixed", "wants", "hparam_names", "ablation"}.
        notebook_dir: the notebook's folder.
        py_files: of `--py-files`.
        files: of `--files`.
        is_local: whether workers run on this machine, where they also get what was added to sys.path.
        distribution: of a training on several workers at once.

    Raises:
        ConfigError: for what cannot be pickled or found.
        ClusterError: without pyspark.
    """
    code = pack_user_code(notebook_dir, payload["train_fn"], sys.modules, py_files, files)
    call = {**payload, "sources": cell_sources(payload["train_fn"])}
    pickled = pickle_payload(call, code.top_level_modules())
    code.add(f"{PICKLER}.py", pickled.pickler_source)
    kit = kit_of(pickled.data, code.zip(), notebook_dir, is_local=is_local, distribution=distribution)
    return kit, pickled.notes


def kit_of(
    payload: bytes,
    user_code_zip: bytes,
    notebook_dir: Path,
    *,
    is_local: bool,
    distribution: dict[str, Any] | None = None,
) -> WorkerKit:
    """The kit around a call that is pickled already, such as an earlier run's."""
    return WorkerKit(
        bootstrap_source=bootstrap_source(),
        package_zip=package_zip(),
        payload=payload,
        user_code_zip=user_code_zip,
        notebook_dir=str(notebook_dir.resolve()),
        session_path=path_additions(sys.path, notebook_dir) if is_local else (),
        notebook_python=f"{os.uname().nodename}:{sys.executable}",
        distribution=distribution,
    )
