"""Ends a fork of the trial process that comes back from the user's code, where it would go on as the trial.

A function that calls `os.fork` and forgets `os._exit` returns twice, in two processes; one of them is the trial.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

from lagom_magic.worker.failure import user_traceback


@contextlib.contextmanager
def forks_end_here(flush: Callable[[], object]) -> Iterator[None]:
    """Lets only the process that entered the block leave it; a fork of it ends there as a program does.

    Args:
        flush: writes out what the standard streams still hold.
    """
    pid = os.getpid()
    try:
        yield
    except BaseException as error:
        if os.getpid() != pid:
            _end(error, flush)
        raise
    if os.getpid() != pid:
        _end(None, flush)


def _end(error: BaseException | None, flush: Callable[[], object]) -> NoReturn:
    code = 1
    try:
        code = _exit_code(error)
        flush()
    finally:  # whatever the user's code made of the streams
        os._exit(code)


def _exit_code(error: BaseException | None) -> int:
    """What Python would end with; tells on stderr what it would tell."""
    if error is None:
        return 0
    if not isinstance(error, SystemExit):
        sys.stderr.write(user_traceback(error))
        return 1
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    sys.stderr.write(f"{error.code}\n")
    return 1
