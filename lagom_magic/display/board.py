"""TensorBoard for a run: one process a run folder, for `%lagom board` and the JupyterLab panel.

It listens on 127.0.0.1 alone, for TensorBoard knows no password, and ends with this process however that ends; if asked
for, also with the one that drives the run. It runs in a session of its own, because ■ interrupts the kernel's whole
process group.
"""

from __future__ import annotations

import contextlib
import html
import json
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import psutil

from lagom_magic.display import board_process
from lagom_magic.errors import LagomError
from lagom_magic.events.fold import RunView
from lagom_magic.store.journal import read_view
from lagom_magic.store.layout import RunLayout
from lagom_magic.store.tensorboard import write_common_columns

MIME_TYPE = "application/vnd.lagom-magic.board+json"

#: A first import from a slow disk takes long; a second start takes one or two seconds.
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 5.0
_RELOAD_S, _RELOAD_MANY_S, _MANY_TRIALS = 5.0, 15.0, 200
_LAST_WORDS = 5
#: Retries of a live run's trials that several runs' TensorBoard waits for; it has others when it is asked for again.
_FORESEEN_RETRIES = 3
#: Of one process, each some hundred megabytes; a further one takes the place of the one asked for longest ago.
_BOARDS_LIMIT = 8


@dataclass(frozen=True)
class Board:
    """A TensorBoard that was started.

    Attributes:
        run_dir: the run that it shows; of several the first.
        port: on 127.0.0.1.
    """

    run_dir: Path
    port: int
    _process: subprocess.Popen[bytes]
    #: Links to the folders of several runs; None for one run.
    _links: tempfile.TemporaryDirectory[str] | None
    #: Takes leave of the process when it has ended by itself, which else would stay in the system's table.
    _reaper: threading.Thread

    @property
    def logdir(self) -> Path:
        return RunLayout(self.run_dir).tensorboard

    @property
    def url(self) -> str:
        """For a browser on this machine."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def path(self) -> str:
        """Where jupyter-server-proxy shows it, below the Jupyter server's base URL; the slash at its end counts."""
        return f"proxy/{self.port}/"

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """Ends it and waits until it is gone."""
        _end(self._process)
        self._reaper.join(_STOP_TIMEOUT_S)
        if self._links is not None:
            self._links.cleanup()


class _Boards:
    """Those of this process: a second call for a run gets the first one's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: {run folders: their board, which may have died}; the one asked for last comes last.
        self._boards: dict[tuple[Path, ...], Board] = {}

    def open(self, *run_dirs: Path, end_with_driver: bool = False) -> Board:
        with self._lock:
            board = self._boards.pop(run_dirs, None)
            if board is not None and not board.is_alive:
                board.stop()  # gives its pipe back
                board = None
            if board is not None and board._links is not None:
                for run_dir in run_dirs:  # a live one may have more by now than was foreseen
                    _link_trials(Path(board._links.name), run_dir, _document(RunLayout(run_dir)), read_view(run_dir))
            if board is None:
                board = _start(run_dirs, _living_driver(run_dirs[0]) if end_with_driver else None)
                while len(self._boards) >= _BOARDS_LIMIT:
                    self._boards.pop(next(iter(self._boards))).stop()
            self._boards[run_dirs] = board
            return board

    def stop(self, *run_dirs: Path) -> bool:
        with self._lock:
            board = self._boards.pop(run_dirs, None)
            if board is None:
                return False
            was_alive = board.is_alive
            board.stop()
            return was_alive


_boards = _Boards()


def open_board(run_dir: Path | str, *, end_with_driver: bool = False) -> Board:
    """The run's TensorBoard, started if it is not there; returns when it serves.

    Args:
        run_dir: of the run.
        end_with_driver: let one that is started end also with the process that drives the run or drove it, when that
            is alive on this machine, where Linux can tell of its end.

    Raises:
        LagomError: when it cannot be started; holds its last words.
    """
    return _boards.open(Path(run_dir).absolute(), end_with_driver=end_with_driver)


def open_common_board(run_dirs: Sequence[Path]) -> Board:
    """One TensorBoard for several runs, each a folder of its own there, with one table of hyperparameters.

    Raises:
        LagomError: when it cannot be started; holds its last words.
    """
    return _boards.open(*dict.fromkeys(run_dir.absolute() for run_dir in run_dirs))


def stop_board(*run_dirs: Path | str) -> bool:
    """Ends the TensorBoard that this process has started for a run, or for these together; False without one."""
    return _boards.stop(*dict.fromkeys(Path(run_dir).absolute() for run_dir in run_dirs))


def board_bundle(board: Board, *others: Path) -> dict[str, Any]:
    """What a cell shows: our JupyterLab extension draws the first in the cell, everything else shows a link.

    `others` are the runs that it shows beside its first one.

    A page cannot be told by static HTML where jupyter-server-proxy is, so the link is for a browser on this machine
    unless TENSORBOARD_PROXY_URL, as TensorBoard itself reads it, names the way.
    """
    names = [f"{run_dir.parent.name}/{run_dir.name}" for run_dir in (board.run_dir, *others)]
    what = f"run{'s' * (len(names) > 1)} {', '.join(names)}"
    template = os.environ.get("TENSORBOARD_PROXY_URL")
    link = template.replace("%PORT%", str(board.port)) if template else board.url
    elsewhere = "" if template else f"{os.environ.get('JUPYTERHUB_SERVICE_PREFIX', '<Jupyter>/')}{board.path}"
    hint = f" (from another machine, where jupyter-server-proxy is installed: {elsewhere})" if elsewhere else ""
    return {
        MIME_TYPE: {"format": 1, "port": board.port, "dir": str(board.run_dir)},
        "text/html": (
            f'<a href="{html.escape(link)}" target="_blank" rel="noopener">TensorBoard of {html.escape(what)}</a>'
            f"{html.escape(hint)}"
        ),
        "text/plain": f"TensorBoard of {what}: {link}{hint}",
    }


def _start(run_dirs: tuple[Path, ...], driver_pid: int | None) -> Board:
    run_dir, *others = run_dirs
    layout = RunLayout(run_dir)
    links = _linked(run_dirs) if others else None
    try:
        return _started(run_dir, layout, links, driver_pid)
    except BaseException:  # ■ too
        if links is not None:
            links.cleanup()
        raise


def _linked(run_dirs: tuple[Path, ...]) -> tempfile.TemporaryDirectory[str]:
    """A logdir with a link to each trial's, and the columns of all runs.

    Not to the runs' own folders: these hold the columns of one, and TensorBoard takes the first ones that it meets.
    """
    links = tempfile.TemporaryDirectory(prefix="lagom-board-")
    spaces, views = [], []
    for run_dir in run_dirs:
        document, view = _document(RunLayout(run_dir)), read_view(run_dir)
        spaces.append(document.get("searchspace") or {})
        views.append(view)
        _link_trials(Path(links.name), run_dir, document, view)
    write_common_columns(Path(links.name), zip(spaces, views, strict=True))
    return links


def _link_trials(links: Path, run_dir: Path, document: Mapping[str, Any], view: RunView) -> None:
    """Link the folder of each trial of a run, also those that a live run may still make; what is linked stays."""
    folder, there = links / f"{run_dir.parent.name}-{run_dir.name}", RunLayout(run_dir).tensorboard
    folder.mkdir(exist_ok=True)
    names = {path.name for path in there.iterdir() if path.is_dir()} if there.is_dir() else set()
    if not view.state.is_final:  # links that lead nowhere yet
        config = document.get("config")
        retries = config.get("retries") if isinstance(config, dict) else 0
        # A lost worker's trial is started once more.
        n_more = 1 + (min(retries, _FORESEEN_RETRIES) if isinstance(retries, int) else 0)
        for trial_id in range(view.n_trials or 0):
            trial = view.trials.get(trial_id)
            attempts = range(1, (trial.attempt if trial is not None else 1) + n_more + 1)
            names |= {RunLayout.trial_name(trial_id, attempt) for attempt in attempts}
    for name in names:
        _link(folder / name, there / name)
    # The Profile tab follows no links to folders, so each trace that is there has one.
    for trace in there.glob("*/**/plugins/profile/*/*.xplane.pb"):
        link = folder / "profiles" / trace.relative_to(there)
        link.parent.mkdir(parents=True, exist_ok=True)
        _link(link, trace)


def _link(link: Path, target: Path) -> None:
    with contextlib.suppress(FileExistsError):
        link.symlink_to(target)


def _document(layout: RunLayout) -> dict[str, Any]:
    """Content of run.json; {} when it is lost."""
    try:
        document = json.loads(layout.run_json.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _started(
    run_dir: Path, layout: RunLayout, links: tempfile.TemporaryDirectory[str] | None, driver_pid: int | None
) -> Board:
    title = f"{run_dir.parent.name}/{run_dir.name}"
    flags = {
        "logdir": str(layout.tensorboard) if links is None else links.name,
        "host": "127.0.0.1",
        "port": 0,
        "reload_interval": _RELOAD_MANY_S if _n_trials(layout) > _MANY_TRIALS else _RELOAD_S,
        # Where TensorBoard's data server is missing: else only the newest event file of a trial would be followed.
        "reload_multifile": True,
        "window_title": title if links is None else f"{title} and others",
    }
    settings = {
        "parent_pid": os.getpid(),
        "further_pids": [] if driver_pid is None else [driver_pid],
        "flags": flags,
    }
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            # By its file and with -P: a user's own module in the working directory must not be taken for TensorBoard.
            [sys.executable, "-P", board_process.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd="/",
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with process.stdout:
                with contextlib.suppress(BrokenPipeError):  # it died at once; its last words say why
                    process.stdin.write(json.dumps(settings).encode() + b"\n")
                    process.stdin.flush()
                answer = _first_line(process.stdout)
        except BaseException:  # ■ too
            _end(process)
            raise
        if not answer:
            _end(process)
            raise LagomError(_why(process, stderr))
    reaper = threading.Thread(target=process.wait, name="lagom-board", daemon=True)
    reaper.start()
    return Board(run_dir, json.loads(answer)["port"], process, links, reaper)


def _living_driver(run_dir: Path) -> int | None:
    """The process id in run.json, when that process is alive on this machine and no later one with the same id."""
    try:
        document = json.loads(RunLayout(run_dir).run_json.read_bytes())
        host, pid = document["driver"]["host"], document["driver"]["pid"]
        created_at = datetime.fromisoformat(document["created_at"]).timestamp()
    except (OSError, ValueError, OverflowError, KeyError, TypeError):  # lost, or not as we write it
        return None
    if host != socket.gethostname() or type(pid) is not int or pid <= 0:
        return None
    try:
        process = psutil.Process(pid)
        is_it = process.create_time() <= created_at and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:  # it has ended, or is hidden from us
        return None
    return pid if is_it else None


def _n_trials(layout: RunLayout) -> int:
    """How many trials the run has or will have, as far as its folder tells."""
    try:
        planned = int(json.loads(layout.run_json.read_bytes())["config"]["num_trials"])
    except (OSError, ValueError, KeyError, TypeError):  # lost, or of a single call
        planned = 0
    n_there = len(os.listdir(layout.tensorboard)) if layout.tensorboard.is_dir() else 0
    return max(planned, n_there)


def _first_line(pipe: IO[bytes]) -> bytes:
    """What the process answers; b"" when it ends without a word, or takes too long."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return b""
            data = os.read(pipe.fileno(), 1 << 12)
            if not data:
                return b""
            line += data
    return line


def _why(process: subprocess.Popen[bytes], stderr: IO[bytes]) -> str:
    stderr.seek(0)
    words = stderr.read().decode("utf-8", "replace").strip().splitlines()[-_LAST_WORDS:]
    said = "\n".join(words) or f"it said nothing; exit code {process.returncode}"
    return f"TensorBoard did not start within {_START_TIMEOUT_S:.0f} s, or ended at once. Its last words:\n{said}"


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended
        process.stdin.close()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_STOP_TIMEOUT_S)
