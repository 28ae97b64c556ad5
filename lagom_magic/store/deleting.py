"""Deletes the folder of a run that is over; for `%lagom delete` and the Jupyter server, so that both ask the same.

Nobody can go on with the run meanwhile, and what a killed call has left is found by the next one.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from lagom_magic.errors import StoreError
from lagom_magic.store.journal import is_being_written
from lagom_magic.store.layout import RunLayout, is_run_id
from lagom_magic.store.mirror import forget

#: How the name of a folder begins that is being deleted; its run's id follows.
_HIDDEN = ".deleting-"


def check_deletable(folder: Path) -> None:
    """Whether a run may be deleted, as far as can be told without holding it; changes nothing.

    Args:
        folder: of the run, as a person named it.

    Raises:
        StoreError: for one that is alive, or that lies behind a link: nobody sees from there what is deleted.
    """
    if is_being_written(folder):
        raise alive(folder)
    for link in (folder, folder.parent):
        if link.is_symlink():
            raise StoreError(f"{link} is a link. Delete what it leads to yourself, and then the link.")


def delete_run(folder: Path, let_go: Callable[[Path], object]) -> int:
    """Deletes a run's folder: out of sight at once, and then what is in it; also what killed calls have left beside it.

    Args:
        folder: of the run; `check_deletable` has been asked.
        let_go: called with the folder before it goes and while nobody can go on with the run.

    Returns:
        How many bytes it held.

    Raises:
        StoreError: when the run is alive, or its folder or its copy elsewhere cannot be deleted.
    """
    with _undriven(folder):
        let_go(folder)
        hidden = folder.with_name(f"{_HIDDEN}{folder.name}-{secrets.token_hex(4)}")
        try:
            n_bytes = sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
            folder.rename(hidden)
        except OSError as error:
            raise StoreError(f"Run {folder.name} cannot be deleted: {error}.") from error
        try:
            forget(folder)
        except BaseException:
            hidden.rename(folder)
            raise
        try:
            shutil.rmtree(hidden)
        except OSError as error:
            raise StoreError(f"Run {folder.name} is deleted in part only, the rest is in {hidden}: {error}.") from error
    _sweep(folder.parent)
    return n_bytes


def alive(folder: Path) -> StoreError:
    """What to say of a run that somebody drives."""
    return StoreError(f"Run {folder.name} is alive: stop it before you delete it, with %lagom stop {folder.name}")


@contextmanager
def _undriven(folder: Path) -> Iterator[None]:
    """Holds the journal's lock, as a driver does, so that none goes on with the run meanwhile.

    Raises:
        StoreError: when one has it.
    """
    with ExitStack() as held:
        if not _locked(RunLayout(folder).journal, held):
            raise alive(folder)
        yield


def _locked(journal: Path, held: ExitStack) -> bool:
    """Whether the lock was got; where there is no journal yet, or no locks, counts as got."""
    mode = os.O_RDWR if os.access(journal, os.W_OK) else os.O_RDONLY  # NFS locks only what may be written
    try:
        descriptor = os.open(journal, mode | os.O_NONBLOCK | os.O_CLOEXEC)
        held.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held.callback(fcntl.flock, descriptor, fcntl.LOCK_UN)  # a forked child would hold it on
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _sweep(experiment: Path) -> None:
    """Deletes what killed calls have left of runs, but not what another call is at work on."""
    for left in experiment.glob(f"{_HIDDEN}*"):
        if is_run_id("-".join(left.name.removeprefix(_HIDDEN).split("-")[:3])) and not left.is_symlink():
            with suppress(StoreError), _undriven(left):
                shutil.rmtree(left, ignore_errors=True)
