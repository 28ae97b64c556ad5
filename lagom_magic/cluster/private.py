"""The user's own folder below the temporary directory, for what Spark's start needs on disk.

Other users can write to the temporary directory, so a folder counts only when it is ours and closed to them.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from lagom_magic.errors import ClusterError


def private_folder(kind: str, content: str = "") -> Path:
    """`<tmp>/lagom-<uid>/<kind>`, or with `content` `<kind>-<its hash>`; made with mode 0700 when missing.

    Raises:
        ClusterError: when somebody else owns the folder or others can write to it.
    """
    digest = f"-{hashlib.sha256(content.encode()).hexdigest()[:16]}" if content else ""
    root = _ours(Path(tempfile.gettempdir()) / f"lagom-{os.getuid()}")
    return _ours(root / f"{kind}{digest}")


def write_whole(path: Path, text: str) -> None:
    """Make the file when it is missing; nobody sees it half written. For a folder that is named by its content."""
    if not path.exists():
        beside = path.with_name(f"{path.name}.{os.getpid()}")
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)


def _ours(folder: Path) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise ClusterError(
            f"{folder} is not a folder of yours alone, so it cannot be trusted. "
            "Remove it, or set TMPDIR to a folder that only you can write to."
        )
    return folder
