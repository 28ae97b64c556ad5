"""One TensorBoard in a process of its own, started by `board.py`; imports nothing of ours.

Reads one JSON line, `{"parent_pid": …, "further_pids": […], "flags": {…}}`, answers one, `{"port": …}`, once pages are
served, and ends when its parent or one of the further processes does. Its standard input is a pipe that nobody writes
to again, and the parent's end closes with it however it ends; a fork of the parent may hold that pipe for longer, so
the parent itself is watched too.
"""

from __future__ import annotations

import json
import os
import select
import sys
import threading
import urllib.parse
import urllib.request
from typing import Any

_FIRST_PAGE_TIMEOUT_S = 30.0


def main() -> None:
    """Serves until one of those that it ends with is gone; never returns."""
    settings = json.loads(sys.stdin.buffer.readline())
    pids = (settings["parent_pid"], *settings["further_pids"])
    watching = threading.Thread(target=_end_with, args=(pids,), name="lagom-watch", daemon=True)
    watching.start()
    answer = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nobody reads what TensorBoard or a plugin may print
    url = _serve(settings["flags"])
    os.write(answer, json.dumps({"port": urllib.parse.urlsplit(url).port}).encode() + b"\n")
    os.close(answer)
    watching.join()


def _serve(flags: dict[str, Any]) -> str:
    """Starts TensorBoard in a thread; its address, when it has answered there."""
    from tensorboard import program

    # A proxy of the user's network must not come between TensorBoard and its data server.
    os.environ["no_grpc_proxy"] = "localhost,127.0.0.1"  # noqa: SIM112 - so gRPC spells it
    board = program.TensorBoard()
    board.configure(**flags)
    url: str = board.launch()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(url + "data/environment", timeout=_FIRST_PAGE_TIMEOUT_S).close()
    return url


def _end_with(pids: tuple[int, ...]) -> None:
    """Ends this process, and with it TensorBoard's data server, when one of them has ended or the parent says so."""
    watched = [sys.stdin.fileno()]
    if hasattr(os, "pidfd_open"):
        for pid in pids:
            try:
                watched.append(os.pidfd_open(pid))
            except ProcessLookupError:  # it has ended already
                os._exit(0)
            except OSError:  # a container may forbid it: the pipe alone must do
                pass
    select.select(watched, [], [])
    os._exit(0)


if __name__ == "__main__":
    main()
