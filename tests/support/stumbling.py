"""Something that goes wrong at any step of a call, for tests of what it leaves behind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import lagom_magic

_PACKAGE = str(Path(lagom_magic.__file__).parent)


@contextmanager
def interrupted_at(nth: int, caller: str) -> Iterator[list[str]]:
    """An interrupt when this thread begins the nth function of ours that one of ours in a file `caller` calls.

    Yields:
        What was called so, as it comes.
    """
    called: list[str] = []

    def look(frame: FrameType, event: str, argument: object) -> None:
        back = frame.f_back
        if event != "call" or back is None or not frame.f_code.co_filename.startswith(_PACKAGE):
            return
        if back.f_code.co_filename == f"{_PACKAGE}/{caller}":
            called.append(frame.f_code.co_name)
            if len(called) == nth:
                sys.setprofile(None)
                raise KeyboardInterrupt

    sys.setprofile(look)
    try:
        yield called
    finally:
        sys.setprofile(None)
