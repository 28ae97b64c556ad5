"""The model registry: a folder beside the runs, written by `model.export` and by the store when a trial exports.

    $LAGOM_HOME/.models/<name>/<version>/model.json     what there is to know
    $LAGOM_HOME/.models/<name>/<version>/files/…        one file or one folder: the model
    $LAGOM_HOME/.models/<name>@newest                   the highest number that was ever given
    $LAGOM_HOME/.models/<name>@exports/<fingerprint>    an export of a run that was ever registered; empty

A version is made beside and renamed to the next number. The rename is the claim, so that kernels which export at once
get numbers of their own; and nobody sees half a version. A number that was given stays given: who deletes a version,
or all of a model, does not make another one appear under its name; nor does the run that exported it, when it goes on.
"""

from __future__ import annotations

import errno
import getpass
import json
import math
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from lagom_magic.errors import ConfigError, StoreError, nearest
from lagom_magic.spec.names import check_plain_name, is_plain_name
from lagom_magic.store.jsontext import json_text
from lagom_magic.store.layout import write_whole
from lagom_magic.store.locks import locked
from lagom_magic.store.model_version import (
    DOCUMENT,
    FILES,
    FORMAT,
    Details,
    ModelVersion,
    is_fingerprint,
    read_version,
    sha256_of,
)

#: Of all models, in the home folder.
FOLDER = ".models"
#: Begins the name of what is to become a version.
_PART = ".part-"
#: Seconds after which it is what a killed process has left.
_LEFT_S = 24 * 3600.0

#: What a rename to a number says that another one has.
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
_MAX_DIGITS = 9
_MAX_NAMED = 10


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies in the registry.

    Attributes:
        versions: by name, then by number.
        notes: a line for each folder that cannot be read.
    """

    versions: tuple[ModelVersion, ...]
    notes: tuple[str, ...]


def add(
    home: Path,
    name: str,
    place: Callable[[Path], Details],
    hashes: Mapping[str, str] | None = None,
) -> ModelVersion:
    """A new version.

    Args:
        home: the folder of all experiments; made when missing.
        name: the model's.
        place: puts the one file or folder that is the model into the empty folder that it is given, and says what
            is known of it.
        hashes: {path below that folder: SHA-256 as hex} of those that are known already.

    Raises:
        ConfigError: for a name that is not plain.
        StoreError: when the registry cannot be written.
        Exception: what `place` raises; nothing is left behind then.
    """
    folder = home / FOLDER / check_plain_name(name, "model")
    _remove_left(folder)
    part = folder / f"{_PART}{secrets.token_hex(8)}"
    try:
        (part / FILES).mkdir(parents=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        details = place(part / FILES)
        try:
            version = _claim(folder, part, _document(name, details, _files_in(part / FILES, hashes or {})))
        except OSError as error:
            raise error if isinstance(error, StoreError) else _unwritable(folder, error) from error
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    mark_registered(home, name, version.fingerprint)
    return version


def mark_registered(home: Path, name: str, fingerprint: str) -> None:
    """Take down that an export of a run is, or was, a version of a model; does nothing for what is no fingerprint.

    After the version, for who is killed in between has the version itself to tell; before it, the model would be lost.
    The same where the disk does not take it. It lies in the registry, not in the run: the run's folder travels before
    its models do, and whoever resumes it elsewhere has to make those that never came.
    """
    mark = _mark_of(home, name, fingerprint)
    if is_fingerprint(fingerprint):
        with suppress(OSError):
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()


def was_registered(home: Path, name: str, fingerprint: str) -> bool:
    """Whether `mark_registered` was told of an export; its version may be deleted."""
    return _mark_of(home, name, fingerprint).exists()


def _mark_of(home: Path, name: str, fingerprint: str) -> Path:
    return home / FOLDER / f"{check_plain_name(name, 'model')}@exports" / fingerprint


def _remove_left(folder: Path) -> None:
    """Remove what killed exports have left; what cannot be removed is left to the next one."""
    with suppress(OSError):
        for part in folder.glob(f"{_PART}*"):
            with suppress(OSError):
                status = part.lstat()
                if status.st_mtime >= time.time() - _LEFT_S:
                    continue
                if stat.S_ISDIR(status.st_mode):
                    shutil.rmtree(part, ignore_errors=True)
                else:
                    part.unlink()


def _document(name: str, details: Details, files: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": name,
        "version": 0,
        "created_at": datetime.now().astimezone().isoformat(),
        "user": _user(),
        "description": details.description,
        "metrics": details.metrics,
        "framework": details.framework,
        "signature": details.signature,
        "run": details.run,
        "trial_id": details.trial_id,
        "attempt": details.attempt,
        "state": details.state,
        "folder": details.folder,
        "inputs": details.inputs,
        "files": files,
    }


def renumber(version: ModelVersion, above: int) -> ModelVersion:
    """The same under another number, because its own is taken elsewhere.

    Args:
        version: as it was read.
        above: the number is to be higher.

    Raises:
        StoreError: when the registry cannot be written; it stays then.
    """
    folder = version.dir.parent
    part = folder / f".renumbered-{version.version}-{secrets.token_hex(8)}"  # a version: never what an export left
    try:
        document = json.loads((version.dir / DOCUMENT).read_bytes())
        os.rename(version.dir, part)
        try:
            return _claim(folder, part, document, above)
        except BaseException:
            if part.exists():
                os.rename(part, version.dir)
            raise
    except OSError as error:
        raise _unwritable(folder, error) from error


def _claim(folder: Path, part: Path, document: dict[str, Any], above: int = 0) -> ModelVersion:
    """Name the finished part by the next number."""
    while True:
        number = _next_number(folder, above)
        document["version"] = number
        write_whole(part / DOCUMENT, json_text(document).encode())
        try:
            os.rename(part, folder / str(number))
            return read_version(folder / str(number))
        except OSError as error:
            if error.errno not in _TAKEN:
                raise


def _next_number(folder: Path, above: int) -> int:
    """A number that no version of the model has had, taken down as given.

    A file system without locks may give it to two; then the rename decides.
    """
    with locked(folder.with_name(f"{folder.name}@newest")) as descriptor:
        given = os.pread(descriptor, 2 * _MAX_DIGITS, 0).decode(errors="replace").strip()
        number = max(above, int(given) if is_number(given) else 0, *_numbers_in(folder), 0) + 1
        data = f"{number}\n".encode()
        os.pwrite(descriptor, data, 0)
        os.ftruncate(descriptor, len(data))
        return number


def _files_in(folder: Path, hashes: Mapping[str, str]) -> list[dict[str, Any]]:
    """What `place` has put there.

    Raises:
        StoreError: when that is not one file or one folder, or holds links or nothing.
    """
    if len(os.listdir(folder)) != 1:
        raise StoreError(f"A version of a model is one file or one folder; there are {len(os.listdir(folder))}.")
    found = []
    for path, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted([*names, *(name for name in folders if os.path.islink(os.path.join(path, name)))]):
            whole = Path(path, name)
            if whole.is_symlink() or not whole.is_file():
                raise StoreError(f"{name} is a link or no regular file; a version holds files alone.")
            inner = whole.relative_to(folder).as_posix()
            sha256 = hashes.get(inner) or sha256_of(whole)
            found.append({"path": inner, "size_bytes": whole.stat().st_size, "sha256": sha256})
    if not found:
        raise StoreError("A version of a model must hold a file.")
    return found


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        return ""


def _unwritable(folder: Path, error: OSError) -> StoreError:
    return StoreError(f"The model registry {folder} cannot be written: {error}. LAGOM_HOME names another folder.")


def _numbers_in(folder: Path) -> list[int]:
    """Versions that are taken, in no order."""
    try:
        return [int(entry) for entry in os.listdir(folder) if is_number(entry)]
    except FileNotFoundError:
        return []


def is_number(text: str) -> bool:
    """Whether a folder's name is that of a version."""
    return text.isascii() and text.isdigit() and text[0] != "0" and len(text) <= _MAX_DIGITS


def names(home: Path) -> list[str]:
    """All models that have a version, sorted.

    Raises:
        StoreError: when the registry is there and cannot be read.
    """
    try:
        entries = sorted(entry.name for entry in os.scandir(home / FOLDER) if entry.is_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"The model registry {home / FOLDER} cannot be read: {error}.") from error
    return [name for name in entries if is_plain_name(name) and _has_versions(home / FOLDER / name)]


def _has_versions(folder: Path) -> bool:
    try:
        return bool(_numbers_in(folder))
    except OSError:  # a note of `versions` says why
        return True


def versions(home: Path, name: str | None = None) -> Listing:
    """All versions, of one model or of all; what cannot be read is a note.

    Args:
        home: the folder of all experiments; need not exist.
        name: None = of all models.

    Raises:
        ConfigError: for a name that is not plain.
        StoreError: when there is no model of that name, or the registry is there and cannot be read at all.
    """
    if name is not None:
        _numbers_of(home, check_plain_name(name, "model"))
    wanted = names(home) if name is None else [name]
    found: list[ModelVersion] = []
    notes: list[str] = []
    for model in wanted:
        folder = home / FOLDER / model
        try:
            numbers = sorted(_numbers_in(folder))
        except OSError as error:
            notes.append(f"{model} cannot be read: {error.strerror or error}")
            continue
        for number in numbers:
            try:
                found.append(read_version(folder / str(number)))
            except StoreError as error:
                notes.append(str(error))
    return Listing(tuple(found), tuple(notes))


def find(home: Path, name: str, version: int | None = None) -> ModelVersion:
    """One version, the newest when none is named.

    Raises:
        ConfigError: for a name that is not plain, or a version that is no number from 1.
        StoreError: when there is none, or it cannot be read.
    """
    check_plain_name(name, "model")
    if version is not None and (type(version) is not int or version < 1):
        raise ConfigError(f"version={version!r:.80} of {name}: a version is a whole number from 1; None is the newest.")
    numbers = sorted(_numbers_of(home, name))
    if version is None:
        return read_version(home / FOLDER / name / str(numbers[-1]))
    if version not in numbers:
        known = ", ".join(map(str, numbers[-_MAX_NAMED:]))
        more = f" (of {len(numbers):,})" if len(numbers) > _MAX_NAMED else ""
        raise StoreError(f"{name} has no version {version}. It has {known}{more}.")
    return read_version(home / FOLDER / name / str(version))


def _numbers_of(home: Path, name: str) -> list[int]:
    try:
        numbers = _numbers_in(home / FOLDER / name)
    except OSError as error:
        raise StoreError(f"The model {name} cannot be read: {error}.") from error
    if numbers:
        return numbers
    known = names(home)
    if not known:
        raise StoreError(f"There is no model {name!r}: none lies in {home} yet. model.export(…) adds one.")
    listed = ", ".join(known[:_MAX_NAMED]) + (", …" if len(known) > _MAX_NAMED else "")
    raise StoreError(f"There is no model {name!r} in {home}.{nearest(name, known)} There are: {listed}.")


def best(home: Path, name: str, metric: str, direction: Literal["max", "min"]) -> tuple[ModelVersion, tuple[str, ...]]:
    """The version with the best value of a metric, the earliest among equals, and notes of what cannot be read.

    A version without the metric, or with one that is not finite, is passed over.

    Raises:
        ConfigError: for a name that is not plain, or when no version has the metric.
        StoreError: when there is no such model.
    """
    listing = versions(home, check_plain_name(name, "model"))
    valued = [one for one in listing.versions if math.isfinite(one.metrics.get(metric, math.nan))]
    if not valued:
        raise ConfigError(_no_metric(name, metric, listing))
    sign = 1 if direction == "max" else -1
    return max(valued, key=lambda one: (sign * one.metrics[metric], -one.version)), listing.notes


def _no_metric(name: str, metric: str, listing: Listing) -> str:
    if any(metric in one.metrics for one in listing.versions):
        return f"No version of {name} has a finite {metric!r}."
    known = sorted({key for one in listing.versions for key in one.metrics})
    if not known:
        return f"No version of {name} has metrics. Give them: model.export(…, {name!r}, metrics={{{metric!r}: …}})."
    return f"No version of {name} has the metric {metric!r}.{nearest(metric, known)} There are: {', '.join(known)}."
