"""Data files as provenance tells of them: size, time and a hash; and whether they have changed since then.

An entry is {"path", "size_bytes", "mtime", "sha256" ("" beyond a limit)}. That of a folder, whose path ends in "/", is
{"path", "mtime", "n_files"}. `FilesUsed`, provenance.json and the registry's model.json hold such entries.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from lagom_magic.spec.secret_urls import without_secrets

#: Of a folder so many files are named, and looked for.
_MAX_NAMED = 200
_MAX_COUNTED = 10_000
#: Bytes that are hashed, of one file and of all that are described at once.
MAX_HASHED_BYTES = 64 << 20

Change = Literal["same", "changed", "gone", "unknown"]


def file_entries(paths: Sequence[str]) -> tuple[list[dict[str, Any]], int]:
    """Entries of files, of those in folders, and of URIs, which have a path alone; and how many more there are."""
    entries: list[dict[str, Any]] = []
    n_more = 0
    bytes_left = MAX_HASHED_BYTES
    for path in _with_content(paths):
        if len(entries) >= _MAX_NAMED:
            n_more += 1
            continue
        if "://" in path:
            entries.append({"path": without_secrets(path)})
            continue
        entry = _entry(os.path.realpath(path), bytes_left)
        if entry is not None:
            entries.append(entry)
            bytes_left -= entry["size_bytes"] if entry["sha256"] else 0
    return entries, n_more


def _with_content(paths: Sequence[str]) -> Iterator[str]:
    for path in paths:
        if "://" not in path and os.path.isdir(path):
            yield from islice(_files_in(path), _MAX_COUNTED)
        else:
            yield path


def _files_in(folder: str) -> Iterator[str]:
    """Files of data: none whose name begins with a dot or an underscore, which Spark uses for its own."""
    for path, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[:1] not in "._")
        yield from (os.path.join(path, name) for name in sorted(names) if name[:1] not in "._")


def _entry(path: str, bytes_left: int) -> dict[str, Any] | None:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return None
        sha256 = _sha256(path) if status.st_size <= bytes_left else ""
    except (OSError, ValueError):  # gone meanwhile, or not ours to read
        return None
    return {"path": path, "size_bytes": status.st_size, "mtime": status.st_mtime, "sha256": sha256}


def change_of(entry: Mapping[str, Any]) -> Change:
    """What has become of a file or folder since an entry was made.

    A file of the same size and time is the same. One with another time is the same if its hash is, as far as that is
    known and the file not too large to be read for it. Of a folder only files that came or went are noticed.
    """
    path = str(entry["path"])
    if "://" in path:
        return "unknown"
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return "gone"
    except (OSError, ValueError):
        return "unknown"
    if "size_bytes" not in entry:
        return "same" if status.st_mtime == entry.get("mtime") else "changed"
    if status.st_size != entry["size_bytes"]:
        return "changed"
    if status.st_mtime == entry.get("mtime"):
        return "same"
    sha256 = entry.get("sha256") or ""
    if not sha256 or status.st_size > MAX_HASHED_BYTES or not stat.S_ISREG(status.st_mode):
        return "changed"
    try:
        return "same" if _sha256(path) == sha256 else "changed"
    except OSError:
        return "unknown"


def _sha256(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
