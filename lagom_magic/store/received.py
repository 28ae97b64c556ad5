"""Where a file that a worker sends may lie: below its trial's folders, never through a link; used by the receivers.

A worker is trusted no further than that: a path that leads out, by name or by a link that lies there, is refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from lagom_magic.errors import StoreError
from lagom_magic.events import paths
from lagom_magic.events.paths import TENSORBOARD
from lagom_magic.store.layout import RunLayout

#: (trial_id, attempt, path)
Key = tuple[int, int, str]


def key_of(header: Mapping[str, Any]) -> Key:
    """Which file a chunk belongs to.

    Raises:
        StoreError: for a header of the wrong form.
    """
    trial_id, attempt, path = header.get("trial_id"), header.get("attempt"), header.get("path")
    is_right = type(trial_id) is int and trial_id >= 0 and type(attempt) is int and attempt >= 1 and type(path) is str
    if not is_right:
        raise StoreError(f"A file chunk names trial {trial_id!r}, attempt {attempt!r}, path {path!r}.")
    return trial_id, attempt, path  # type: ignore[return-value]


def safe_parts(path: str) -> tuple[str, ...]:
    """The parts of a file's path.

    Raises:
        StoreError: when it could lead elsewhere; see `events.paths`.
    """
    try:
        return paths.safe_parts(path)
    except ValueError as error:
        raise StoreError(str(error)) from error


def open_parent(layout: RunLayout, key: Key) -> tuple[int, str]:
    """Descriptor of the folder that a file belongs in, made when missing, and the file's name.

    Raises:
        StoreError: for a path that is refused.
        OSError: as the file system reports it, for a link in the way too.
    """
    trial_id, attempt, path = key
    root, *folders, name = safe_parts(path)
    if root == TENSORBOARD:
        layout.tensorboard.mkdir(exist_ok=True)
        return _open_folder(str(layout.tensorboard), [layout.trial_name(trial_id, attempt), *folders]), name
    trial_dir = layout.trial_dir(trial_id, attempt)
    trial_dir.mkdir(exist_ok=True)
    return _open_folder(str(trial_dir), [root, *folders]), name


def _open_folder(root: str, folders: list[str]) -> int:
    """Descriptor of a folder below `root`, made when missing; never through a link."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    folder = os.open(root, flags)
    for name in folders:
        above = folder
        try:
            with suppress(FileExistsError):  # a folder, or what os.open refuses
                os.mkdir(name, 0o755, dir_fd=above)
            folder = os.open(name, flags, dir_fd=above)
        finally:
            os.close(above)
    return folder
