"""A plain process in the place of a Spark task, for `ProcessLauncher`; standard library only, run as a script.

Reads one pickle from its stdin (its parent wrote it), runs the bootstrap in it, and ends at once when the parent has
closed the pipe, as a Spark task's process does when its executor is gone.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from typing import Any


def _end_with_parent() -> None:
    # Not through sys.stdin: a thread inside it makes the interpreter's own end fatal.
    os.read(0, 1)
    os._exit(1)


def main() -> None:
    """Run the worker that stdin describes."""
    bootstrap_source, launch = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, name="lagom-parent-watch", daemon=True).start()
    bootstrap: dict[str, Any] = {"__name__": "lagom_bootstrap"}
    exec(compile(bootstrap_source, "lagom_bootstrap.py", "exec"), bootstrap)
    bootstrap["run_worker"](launch)


if __name__ == "__main__":
    main()
