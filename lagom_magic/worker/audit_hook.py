"""The one audit hook of a trial process, for its write guard and for noting the files that it opens.

Python pays for each hook at each event, and more for a method than for a function; so both share one function.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from lagom_magic.worker.opened_files import MAX_PENDING, OpenedFiles
from lagom_magic.worker.write_guard import EVENTS, WriteGuard

#: What Python calls with an event and its arguments.
Hook = Callable[[str, tuple[Any, ...]], None]


def install(guard: WriteGuard, opened: OpenedFiles) -> None:
    """Begins to watch; Python cannot take an audit hook away again."""
    sys.addaudithook(shared_hook(guard, opened))
    guard.survive_forks()
    opened.survive_forks()


def shared_hook(guard: WriteGuard, opened: OpenedFiles) -> Hook:
    """Notes a file that is opened for reading at once, and hands on what is rarer: the guard comes first."""
    guarded, noted, pending, most = guard.on_event, opened.on_event, opened.pending, MAX_PENDING

    def on_event(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, _ = args
            # Python's own files tell a mode, which takes less time to compare than flags do; "r" is for reading alone.
            # A path of another type may be an object of the user's, which must not be kept alive.
            if mode == "r" and type(path) is str and len(pending) < most:
                pending.append(path)
            else:
                guarded(event, args)
                noted(event, args)
        elif event in EVENTS:
            guarded(event, args)
            noted(event, args)

    return on_event
