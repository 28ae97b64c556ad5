"""Where a run came from: run.json and source.py, written when it begins; environment.txt and provenance.json, later.

`provenance.json` holds, each None or empty where it is not known:

    format     1
    notebook   path of the notebook
    git        root, commit, branch, remote, is_dirty, and whether `git.diff`, beside it, is whole
    hardware   of the driver's machine: cpu, cores, usable_cores, memory_bytes, gpus
    spark      settings of the session, "(hidden)" where they may hold a secret
    inputs     data that the run was given: argument, kind, files ({"path", "size_bytes", "mtime", "sha256"} each,
               folders end in "/"), n_files

Of the environment nothing is kept.
"""

from __future__ import annotations

import getpass
import os
import platform
import re
import socket
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from lagom_magic.spec.secret_urls import without_secrets
from lagom_magic.store.data_files import file_entries
from lagom_magic.store.git import git_state
from lagom_magic.store.jsontext import json_text
from lagom_magic.store.layout import FORMAT, RunLayout, write_unless_kept, write_whole

#: What stands in place of a setting that may hold a secret.
HIDDEN = "(hidden)"
_SECRET = re.compile(r"secret|passw|pwd|passphrase|token|credential|key|signature|auth(?!or)|\bsas\b", re.IGNORECASE)
#: Settings that say how a session is made, and have no place for a secret; of all others the name alone is stored.
_KNOWN = re.compile(
    r"spark\.(master|version|app\.(id|name|startTime)|submit\.deployMode|default\.parallelism|serializer|scheduler\..*"
    r"|(driver|executor)\.(cores|memory|memoryOverhead|memoryOverheadFactor|instances|maxResultSize|id|host|port"
    r"|bindAddress|resource\..*)|task\..*|dynamicAllocation\..*|shuffle\..*|memory\..*|locality\..*|speculation.*"
    r"|network\.timeout|rpc\.(message\.maxSize|askTimeout)|python\..*|pyspark\..*|ui\.(enabled|port|showConsoleProgress)"
    r"|local\.dir|rdd\.compress|kryo.*|cores\.max|stage\..*|blacklist\..*|excludeOnFailure\..*"
    r"|sql\.(shuffle|adaptive|files|execution|ansi|parquet|orc|session|broadcastTimeout|autoBroadcastJoinThreshold"
    r"|caseSensitive|warehouse)\b.*|kubernetes\.(namespace|executor\.(request|limit)\..*)|yarn\.queue)"
)
#: Settings that are environment variables of Spark's processes.
_ENVIRONMENT = re.compile(r"(executorEnv|appMasterEnv|driverEnv)\.", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s,;'\"]+", re.IGNORECASE)


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
        "driver": _driver(),
    }
    write_whole(layout.run_json, json_text(ours | dict(document)).encode())


def rewrite_run_json(layout: RunLayout, document: Mapping[str, Any], changed: Mapping[str, Any]) -> None:
    """Write what a run that is resumed goes on with, and who drives it now.

    Args:
        layout: of the run.
        document: its content so far.
        changed: keys in place of what they were.

    Raises:
        OSError: as the file system reports it.
    """
    write_whole(layout.run_json, json_text({**document, **changed, "driver": _driver()}).encode())


def _driver() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "user": _user(), "cwd": os.getcwd()}


def write_source(layout: RunLayout, source: str) -> None:
    """Write the cell's or module's text.

    Raises:
        OSError: as the file system reports it.
    """
    write_whole(layout.source, source.encode(errors="backslashreplace"))


def write_environment(layout: RunLayout) -> None:
    """Write what the driver runs on, in the form of a requirements file.

    A run that is resumed where something else is installed keeps both: environment.2.txt, environment.3.txt …

    Raises:
        OSError: as the file system reports it.
    """
    header = f"# Python {platform.python_version()} ({sys.executable})\n# {platform.platform()}\n"
    write_unless_kept(layout.environment, header + "\n".join(_installed()) + "\n")


def write_provenance(layout: RunLayout, notebook_dir: Path, gather: Callable[[], Mapping[str, Any]]) -> None:
    """Write provenance.json, and git.diff where something is not committed; may take seconds.

    Args:
        layout: of the run.
        notebook_dir: whose state in git counts.
        gather: what the launching knows: `spark`, the session's settings, and `inputs`, {"argument", "kind", "paths",
            "n_files"} each.

    Raises:
        OSError: as the file system reports it.
    """
    git = git_state(notebook_dir)
    if git is not None and git.diff:
        write_whole(layout.git_diff, git.diff)
    known = dict(gather())
    document = {
        "format": FORMAT,
        "notebook": notebook_path(os.environ, vars(sys.modules["__main__"])),
        "git": None
        if git is None
        else {
            "root": git.root,
            "commit": git.commit,
            "branch": git.branch,
            "remote": git.remote,
            "is_dirty": bool(git.diff),
            "is_diff_whole": git.is_whole,
        },
        "hardware": hardware(),
        "spark": None if known.get("spark") is None else redacted(known["spark"]),
        "inputs": [_input(item) for item in known.get("inputs", [])],
    }
    write_whole(layout.provenance, json_text(document).encode(errors="backslashreplace"))


def _input(item: Mapping[str, Any]) -> dict[str, Any]:
    entries, n_more = file_entries(item["paths"])
    n_files = max(int(item["n_files"]), len(entries) + n_more)
    return {"argument": item["argument"], "kind": item["kind"], "files": entries, "n_files": n_files}


def notebook_path(environment: Mapping[str, str], names: Mapping[str, Any]) -> str | None:
    """Where the notebook lies, as far as whoever started the kernel says; None when nobody does.

    Args:
        environment: Jupyter's server names the notebook there; a console's name has no suffix, and is none.
        names: the notebook's namespace, into which Visual Studio Code puts it.
    """
    told = (
        names.get("__vsc_ipynb_file__"),
        environment.get("JPY_SESSION_NAME"),
        environment.get("PAPERMILL_INPUT_PATH"),
    )
    return next((path for path in told if isinstance(path, str) and path.endswith(".ipynb")), None)


def hardware() -> dict[str, Any]:
    """The machine of this process, as far as it says so at once."""
    return {
        "cpu": _first_value(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": [
            _first_value(path, "Model") for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
        ],
    }


def _first_value(path: Path, name: str) -> str:
    """From lines such as `name : value`; "" without one."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), "")


def redacted(conf: Mapping[str, str]) -> dict[str, str]:
    """Settings of Spark, sorted, without what may be a secret.

    Shown are the values of settings that are known to hold none: how many, how big, which master. Of these are hidden
    all the same those whose key sounds like a secret, environment variables, what Spark itself would hide
    (`spark.redaction.regex`), values that contain such a word themselves, and the credentials in URLs.
    """
    pattern = conf.get("spark.redaction.regex", "")
    try:
        theirs = re.compile(pattern) if pattern else None
    except re.error:  # Java's regular expressions are others: rather too little than too much
        theirs = re.compile("")
    return {key: _shown(key, str(conf[key]), theirs) for key in sorted(conf)}


def _shown(key: str, value: str, theirs: re.Pattern[str] | None) -> str:
    if not _KNOWN.fullmatch(key) or _SECRET.search(key) or _ENVIRONMENT.search(key) or _SECRET.search(value):
        return HIDDEN
    if theirs is not None and (theirs.search(key) or theirs.search(value)):
        return HIDDEN
    return _URL.sub(lambda found: without_secrets(found[0]), value)


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
