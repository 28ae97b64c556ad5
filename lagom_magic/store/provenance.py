"""Where a run came from: run.json, source.py and environment.txt, written when it begins."""

from __future__ import annotations

import getpass
import os
import platform
import socket
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from lagom_magic.store.jsontext import json_text
from lagom_magic.store.layout import FORMAT, RunLayout, write_whole


def write_run_json(layout: RunLayout, experiment: str, document: Mapping[str, Any], now: datetime) -> None:
    """Write what was asked for, and by whom, where and when.

    Args:
        layout: of the run.
        experiment: its experiment's name.
        document: kind, config, search space …; its keys stand beside ours and win.
        now: with its time zone.

    Raises:
        OSError: as the file system reports it.
    """
    ours = {
        "format": FORMAT,
        "run_id": layout.root.name,
        "experiment": experiment,
        "created_at": now.isoformat(timespec="milliseconds"),
        "driver": {"host": socket.gethostname(), "pid": os.getpid(), "user": _user(), "cwd": os.getcwd()},
    }
    write_whole(layout.run_json, json_text(ours | dict(document)).encode())


def write_source(layout: RunLayout, source: str) -> None:
    """Write the cell's or module's text.

    Raises:
        OSError: as the file system reports it.
    """
    write_whole(layout.source, source.encode(errors="backslashreplace"))


def write_environment(layout: RunLayout) -> None:
    """Write what the driver runs on, in the form of a requirements file.

    Raises:
        OSError: as the file system reports it.
    """
    header = f"# Python {platform.python_version()} ({sys.executable})\n# {platform.platform()}\n"
    write_whole(layout.environment, (header + "\n".join(_installed()) + "\n").encode())


def _installed() -> list[str]:
    """'name==version' of all packages, read off their folders' names: parsing their metadata takes half a second."""
    found: dict[str, str] = {}
    for folder in map(Path, sys.path):
        for info in [*folder.glob("*.dist-info"), *folder.glob("*.egg-info")]:
            name, _, version = info.stem.partition("-")
            found.setdefault(name.lower(), f"{name}=={version}" if version else name)  # the first is imported
    return [found[name] for name in sorted(found)]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user id without a name
        return str(os.getuid())
