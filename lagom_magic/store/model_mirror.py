"""Keeps the model registry alike in the working copy and in the place that LAGOM_HOME names by a URL.

Versions are made in the working copy and sent whole, `model.json` last. Of those that others made `model.json` is
fetched for the list, and the files when somebody asks for the model. Object stores have no rename that claims a number:
when two machines made the same one, that of the later sender gets the next.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from pathlib import Path

from lagom_magic.errors import StoreError
from lagom_magic.spec.names import is_plain_name
from lagom_magic.store.layout import default_home, home_url
from lagom_magic.store.model_version import DOCUMENT, FILES, ModelVersion
from lagom_magic.store.registry import FOLDER, is_number, names, renumber, versions
from lagom_magic.store.remote import Remote, RemoteError, open_remote

logger = logging.getLogger("lagom_magic.store")


def send_models(home: Path, remote: Remote) -> None:
    """Send the versions that are not there yet, and look at the outcome.

    Raises:
        RemoteError: for the first that is not taken.
        StoreError: when the registry of the working copy cannot be read or written.
    """
    for name in names(home):
        for version in versions(home, name).versions:
            if not _marker(home, version.name, version.version).exists():
                _send(home, version, remote)


def _send(home: Path, version: ModelVersion, remote: Remote) -> ModelVersion:
    """The version as it is there, see `send_models`."""
    if DOCUMENT in remote.files(_path(version)):
        if _is_same(version, remote):
            _mark(home, version.name, version.version)
            return version
        taken = [int(number) for number in remote.folders(f"{FOLDER}/{version.name}") if is_number(number)]
        moved = renumber(version, taken)
        logger.warning(
            "%s has a version %d of %s already: ours is version %d now",
            remote.shown,
            version.version,
            version.name,
            moved.version,
        )
        version = moved
    paths = [f"{FILES}/{file['path']}" for file in version.files]
    for path in [*paths, DOCUMENT]:
        remote.put(version.dir / path, f"{_path(version)}/{path}")
    there = remote.files(_path(version))
    for path in [*paths, DOCUMENT]:
        if path not in there or there[path].size_bytes != (version.dir / path).stat().st_size:
            raise RemoteError(f"{_path(version)}/{path} is not there as it was sent")
    _mark(home, version.name, version.version)
    return version


def _is_same(version: ModelVersion, remote: Remote) -> bool:
    """Whether what is there is this version, which was sent before somebody could take note of it."""
    beside = version.dir.parent / f".part-{secrets.token_hex(8)}"
    try:
        remote.get(f"{_path(version)}/{DOCUMENT}", beside)
        return beside.read_bytes() == (version.dir / DOCUMENT).read_bytes()
    finally:
        beside.unlink(missing_ok=True)


def pull_models(home: Path, remote: Remote) -> None:
    """Fetch what is known of the versions that others made.

    Raises:
        RemoteError: when the place cannot be read.
    """
    for name in filter(is_plain_name, remote.folders(FOLDER)):
        for number in filter(is_number, remote.folders(f"{FOLDER}/{name}")):
            folder = home / FOLDER / name / number
            if not folder.exists() and DOCUMENT in remote.files(f"{FOLDER}/{name}/{number}"):
                _pull(home, folder, remote)


def _pull(home: Path, folder: Path, remote: Remote) -> None:
    part = folder.parent / f".part-{secrets.token_hex(8)}"
    (part / FILES).mkdir(parents=True)
    try:
        remote.get(f"{FOLDER}/{folder.parent.name}/{folder.name}/{DOCUMENT}", part / DOCUMENT)
        os.rename(part, folder)
    except OSError as error:
        if isinstance(error, RemoteError) or not folder.exists():
            raise
        return  # made here meanwhile
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _mark(home, folder.parent.name, int(folder.name))


def fetch_model(version: ModelVersion) -> None:
    """Fetch the files of a version that are in the remote place only; nothing where LAGOM_HOME is a folder.

    Raises:
        ConfigError: when its URL cannot work.
        StoreError: when a file cannot be fetched.
    """
    url = home_url()
    if url is None:
        return
    missing = [file["path"] for file in version.files if not (version.dir / FILES / file["path"]).is_file()]
    if not missing:
        return
    remote = open_remote(url)
    for path in missing:
        target = version.dir / FILES / path
        beside = target.with_name(f".{secrets.token_hex(8)}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            remote.get(f"{_path(version)}/{FILES}/{path}", beside)
            os.rename(beside, target)
        finally:
            beside.unlink(missing_ok=True)
    version.check_files()


def send_export(version: ModelVersion) -> tuple[ModelVersion, str]:
    """Send a version that was exported just now, outside of a run.

    Returns:
        The version, under another number when somebody else had its own; and why it is in the working copy alone,
        for a person, or "".

    Raises:
        ConfigError: when LAGOM_HOME's URL cannot work.
    """
    url = home_url()
    if url is None:
        return version, ""
    remote = open_remote(url)
    try:
        return _send(default_home(), version, remote), ""
    except StoreError as error:
        problem = str(error).rstrip(".")
        return version, f"{remote.shown} has not got the model: {problem}. The next run or `%lagom models` sends it."


def _path(version: ModelVersion) -> str:
    return f"{FOLDER}/{version.name}/{version.version}"


def _marker(home: Path, name: str, number: int) -> Path:
    """A file that says that a version is in the remote place."""
    return home / ".remote" / "models" / f"{name}@{number}"


def _mark(home: Path, name: str, number: int) -> None:
    marker = _marker(home, name, number)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
