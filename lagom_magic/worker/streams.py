"""The trial process's own output: settings that make lines appear soon, and the flush at a trial's end.

File descriptors 1 and 2 are one pipe to the supervisor; prints, C's printf and subprocesses all end there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

_LINE_BUFFERED = 1  # _IOLBF


class Streams:
    """Python's and C's standard output of this process."""

    def __init__(self) -> None:
        self._python = (sys.stdout, sys.stderr)
        for stream in self._python:
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
        self._flush_c = _line_buffered_c_streams()
        self._pipe = os.fstat(1)

    def flush(self) -> None:
        """Writes out what Python and C still hold."""
        for stream in (*self._python, sys.stdout, sys.stderr):  # ours first: a trial's own may not know how
            if stream is not None and not getattr(stream, "closed", False):
                stream.flush()
        self._flush_c(None)

    def restore(self) -> bool:
        """Undoes what a trial did to the streams; False when it cannot be undone."""
        if sys.stdout is not self._python[0] or sys.stderr is not self._python[1]:
            sys.stdout, sys.stderr = self._python
        return not any(stream.closed for stream in self._python) and _is_same_file(self._pipe, 1)


def _is_same_file(known: os.stat_result, fd: int) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), known)
    except OSError:
        return False


def _line_buffered_c_streams() -> Callable[[Any], int]:
    """C's `fflush`, after making its stdout line-buffered: a process that dies must not take lines with it."""
    import ctypes

    libc = ctypes.CDLL(None)
    if sys.platform == "linux":
        libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, _LINE_BUFFERED, 0)
    flush: Callable[[Any], int] = libc.fflush
    return flush
