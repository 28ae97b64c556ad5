"""Keeps the model registry alike in the working copy and in the place that LAGOM_HOME names by a URL.

Versions are made in the working copy and sent whole, `model.json` last. Of those that others made `model.json` is
fetched for the list, and the files when somebody asks for the model.

A number is claimed before its files are sent. Object stores have no rename that could do that, and not all file
systems can create a file only where there is none; so a claim is a file of a name that nobody else has,
`.claims/<model>/<number>.<random>`. Who writes one and then finds itself alone with that number has it; who finds
others takes a later one. Of two that claim at once the one that looks last sees both, so never do both have it.
Claims stay: the number of a version that was deleted is not given again, and a copy of such a version is known by its
claim and goes, too. When all of an export of a run is there, `.claims/<model>/<number>.<fingerprint>` says so, for
ever: another machine that went on with that run, and made the same version, takes that one and sends none.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lagom_magic.errors import StoreError
from lagom_magic.spec.names import is_plain_name
from lagom_magic.store.layout import default_home, home_url
from lagom_magic.store.locks import locked
from lagom_magic.store.model_version import DOCUMENT, FILES, ModelVersion
from lagom_magic.store.registry import FOLDER, is_number, mark_registered, names, renumber, versions
from lagom_magic.store.remote import Remote, RemoteError, open_remote

logger = logging.getLogger("lagom_magic.store")

#: Of the numbers of models' versions, in the remote home folder.
CLAIMS = ".claims"


def send_models(home: Path, remote: Remote) -> None:
    """Send the versions that are not there yet, and look at the outcome.

    Raises:
        RemoteError: for the first that is not taken.
        StoreError: when the registry of the working copy cannot be read or written.
    """
    for name in names(home):
        if all(_marker(home, "models", one.name, one.version).exists() for one in versions(home, name).versions):
            continue
        with _sending(home, name):
            for version in versions(home, name).versions:  # another process may have sent or renamed some meanwhile
                if _marker(home, "models", version.name, version.version).exists():
                    continue
                number = _number_there(version, remote)
                if number is None:
                    _send(home, version, remote)
                else:
                    _take_theirs(home, version, number, remote)


def _number_there(version: ModelVersion, remote: Remote) -> int | None:
    """The number under which the same export of a run was sent already, if it was."""
    if not version.fingerprint:
        return None
    claims = _claims_of(version.name, remote)
    return next((_number_of(claim) for claim in claims if _suffix_of(claim) == version.fingerprint), None)


def _take_theirs(home: Path, version: ModelVersion, number: int, remote: Remote) -> None:
    """Let ours, which is the same export, be the version there: its number and document, our files."""
    theirs = version.dir.with_name(str(number))
    document = f"{FOLDER}/{version.name}/{number}/{DOCUMENT}"
    if remote.size_of(document) is None:
        _tell_deleted(version, remote)
        _drop(home, version)
    elif theirs != version.dir and theirs.exists():  # fetched already; or ours in its place gets another number
        _drop(home, version)
    else:
        _replace_document(version, document, remote)
        os.rename(version.dir, theirs)
        _mark(home, "models", version.name, number)


def _replace_document(version: ModelVersion, document: str, remote: Remote) -> None:
    beside = version.dir.parent / f".part-{secrets.token_hex(8)}"
    try:
        remote.get(document, beside)
        os.replace(beside, version.dir / DOCUMENT)
    finally:
        beside.unlink(missing_ok=True)


def _tell_deleted(version: ModelVersion, remote: Remote) -> None:
    name, number = version.name, version.version
    logger.warning("%s version %d was deleted in %s, so it is here, too", name, number, remote.shown)


def _drop(home: Path, version: ModelVersion) -> None:
    """Remove a version here."""
    part = version.dir.parent / f".part-{secrets.token_hex(8)}"
    with contextlib.suppress(FileNotFoundError):  # another process does the same
        os.rename(version.dir, part)
        _marker(home, "models", version.name, version.version).unlink(missing_ok=True)
        shutil.rmtree(part)


def _send(home: Path, version: ModelVersion, remote: Remote) -> ModelVersion:
    """The version as it is there, see `send_models`; for who holds `_sending`."""
    if DOCUMENT in remote.files(_path(version)) and _is_same(version, remote):
        _note_sent(home, version, remote)
        return version
    version = _claimed(home, version, remote)
    paths = [f"{FILES}/{file['path']}" for file in version.files]
    for path in [*paths, DOCUMENT]:
        remote.put(version.dir / path, f"{_path(version)}/{path}")
    there = remote.files(_path(version))
    for path in [*paths, DOCUMENT]:
        if path not in there or there[path].size_bytes != (version.dir / path).stat().st_size:
            raise RemoteError(f"{_path(version)}/{path} is not there as it was sent")
    _note_sent(home, version, remote)
    return version


def _note_sent(home: Path, version: ModelVersion, remote: Remote) -> None:
    """Take down that all of a version is there; only then, for an export that is noted and not there was deleted."""
    if version.fingerprint:
        remote.put(version.dir / DOCUMENT, f"{CLAIMS}/{version.name}/{version.version}.{version.fingerprint}")
    _mark(home, "models", version.name, version.version)
    _marker(home, "claimed", version.name, version.version).unlink(missing_ok=True)


def _claimed(home: Path, version: ModelVersion, remote: Remote) -> ModelVersion:
    """The version under a number that is this machine's alone: its own, or else a later one."""
    while not _marker(home, "claimed", version.name, version.version).exists():
        number = version.version
        taken = _numbers_taken(version.name, remote)
        n_before = 0
        if number not in taken:
            claim = f"{number}.{secrets.token_hex(8)}"
            remote.put(version.dir / DOCUMENT, f"{CLAIMS}/{version.name}/{claim}")
            claims = [name for name in _claims_of(version.name, remote) if _number_of(name) == number]
            if claims == [claim]:
                _mark(home, "claimed", version.name, version.version)
                break
            n_before = sum(name < claim for name in claims)  # so that those who met go apart
        version = renumber(version, max(number, *taken, 0) + n_before)
        logger.warning(
            "%s has a version %d of %s already: ours is version %d now",
            remote.shown,
            number,
            version.name,
            version.version,
        )
    return version


def _numbers_taken(name: str, remote: Remote) -> set[int]:
    """All numbers of a model's versions that were ever claimed, or that lie there."""
    folders = filter(is_number, remote.folders(f"{FOLDER}/{name}"))
    return {_number_of(claim) for claim in _claims_of(name, remote)} | set(map(int, folders))


def _claims_of(name: str, remote: Remote) -> list[str]:
    return [claim for claim in remote.files(f"{CLAIMS}/{name}") if is_number(claim.partition(".")[0])]


def _number_of(claim: str) -> int:
    return int(claim.partition(".")[0])


def _suffix_of(claim: str) -> str:
    return claim.partition(".")[2]


@contextmanager
def _sending(home: Path, name: str) -> Iterator[None]:
    """Held by one process of this machine at a time, for what it does with a model's versions that are not sent."""
    path = home / ".remote" / "sending" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path):
        yield


def _is_same(version: ModelVersion, remote: Remote) -> bool:
    """Whether what is there is this version, which was sent before somebody could take note of it."""
    beside = version.dir.parent / f".part-{secrets.token_hex(8)}"
    try:
        remote.get(f"{_path(version)}/{DOCUMENT}", beside)
        return beside.read_bytes() == (version.dir / DOCUMENT).read_bytes()
    finally:
        beside.unlink(missing_ok=True)


def pull_models(home: Path, remote: Remote) -> None:
    """Fetch what is known of the versions that others made, and drop copies of those that were deleted there.

    Raises:
        RemoteError: when the place cannot be read.
    """
    ours, claims = names(home), _all_claims(remote)
    for name in sorted({*ours, *filter(is_plain_name, [*remote.folders(FOLDER), *claims])}):
        known = versions(home, name).versions if name in ours else ()
        sent = [one for one in known if _marker(home, "models", name, one.version).exists()]
        there = set(filter(is_number, remote.folders(f"{FOLDER}/{name}")))  # after `sent`, so that it has all of them
        for number in sorted(there, key=int):
            folder = home / FOLDER / name / number
            if not folder.exists() and DOCUMENT in remote.files(f"{FOLDER}/{name}/{number}"):
                _pull(home, folder, remote)
        deleted = [claim for claim in claims.get(name, ()) if str(_number_of(claim)) not in there]
        for claim in deleted:  # so that nobody who resumes its run here makes it again
            mark_registered(home, name, _suffix_of(claim))
        _drop_deleted(home, [one for one in sent if str(one.version) not in there], deleted, remote)


def _all_claims(remote: Remote) -> dict[str, list[str]]:
    """{model: its claims}."""
    found: dict[str, list[str]] = {}
    for path in remote.files(CLAIMS):
        name, _, claim = path.partition("/")
        if is_number(claim.partition(".")[0]):
            found.setdefault(name, []).append(claim)
    return found


def _drop_deleted(home: Path, missing: Sequence[ModelVersion], deleted: Sequence[str], remote: Remote) -> None:
    """Remove copies of versions that were there and are not any more.

    Only where their claims still are: a place that was emptied, or is another one now, takes nothing away.
    """
    claimed = {_number_of(claim) for claim in deleted}
    for version in missing:
        if version.version in claimed:
            _tell_deleted(version, remote)
            mark_registered(home, version.name, version.fingerprint)
            _drop(home, version)


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
    _mark(home, "models", folder.parent.name, int(folder.name))


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
    home, remote = default_home(), open_remote(url)
    try:
        with _sending(home, version.name):
            version = _as_it_is_now(home, version)
            if not _marker(home, "models", version.name, version.version).exists():
                version = _send(home, version, remote)
        return version, ""
    except StoreError as error:
        problem = str(error).rstrip(".")
        return version, f"{remote.shown} has not got the model: {problem}. The next run or `%lagom models` sends it."


def _as_it_is_now(home: Path, version: ModelVersion) -> ModelVersion:
    """The version, which another process of this machine may have sent under another number meanwhile."""
    same = (version.created_at, version.user, version.files)
    found = [one for one in versions(home, version.name).versions if (one.created_at, one.user, one.files) == same]
    return version if version in found or not found else found[-1]


def _path(version: ModelVersion) -> str:
    return f"{FOLDER}/{version.name}/{version.version}"


def _marker(home: Path, kind: str, name: str, number: int) -> Path:
    """A file that says something of a version: 'models', it is in the remote place; 'claimed', its number is ours."""
    return home / ".remote" / kind / f"{name}@{number}"


def _mark(home: Path, kind: str, name: str, number: int) -> None:
    marker = _marker(home, kind, name, number)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
