"""The extension in a real server: who may ask, for which folders, and what a page gets."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import websocket
from display_runs import GrowingRun, run_started, some_run, trial_facts
from lagom_server import Server
from page import Page
from store_runs import run_on_disk

from lagom_magic.errors import StoreError
from lagom_magic.events.facts import RunEnded, RunState, TrialState
from lagom_magic.server.handlers import _delete
from lagom_magic.server.places import Places
from lagom_magic.store.journal import JournalWriter
from lagom_magic.store.requests import RequestPipe

RUN_ID = "20261122-093000-k3f7"


@pytest.fixture
def home(server: Server) -> Iterator[Path]:
    folder = server.root / "lagom_runs"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


class LivingRun(GrowingRun):
    """A run whose driver, this process, holds the journal's lock."""

    def __init__(self, home: Path) -> None:
        folder = home / "digits" / RUN_ID
        folder.mkdir(parents=True)
        super().__init__(folder)
        (folder / "run.json").write_text(json.dumps({"kind": "hpo", "created_at": "2026-11-22T09:30:00+00:00"}))
        self._journal = open(folder / "events.jsonl", "ab")  # noqa: SIM115 - closed in `end`
        fcntl.flock(self._journal, fcntl.LOCK_EX)
        self.record([run_started()])

    def end(self) -> None:
        """What the end of its driver does, however it ends."""
        self._journal.close()


@pytest.fixture
def living(home: Path) -> Iterator[LivingRun]:
    run = LivingRun(home)
    yield run
    run.end()


def relative(server: Server, folder: Path) -> str:
    return folder.relative_to(server.root).as_posix()


# Who may ask


@pytest.mark.parametrize(
    ("method", "name"),
    [("GET", "runs"), ("DELETE", "runs"), ("POST", "control"), ("DELETE", "board"), ("GET", "view")],
)
def test_without_the_token_nothing_is_answered(server: Server, living: LivingRun, method: str, name: str) -> None:
    status, body = server.ask(method, name, headers={}, dir=relative(server, living.folder))
    assert status in (302, 403)
    assert "digits" not in str(body)
    assert living.folder.is_dir()


def test_a_socket_without_the_token_is_refused(server: Server, living: LivingRun) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        websocket.create_connection(server.socket_url(relative(server, living.folder)), timeout=20)
    assert caught.value.status_code == 403


def test_a_socket_from_another_site_is_refused(server: Server, living: LivingRun) -> None:
    url, cookie = server.socket_url(relative(server, living.folder)), logged_in(server)
    with closing(websocket.create_connection(url, timeout=20, cookie=cookie)):
        pass
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        websocket.create_connection(url, timeout=20, cookie=cookie, origin="https://evil.example")
    assert caught.value.status_code == 403


@pytest.mark.parametrize(("method", "name"), [("DELETE", "runs"), ("POST", "control"), ("DELETE", "board")])
def test_what_changes_something_needs_the_xsrf_token_of_a_browser(
    server: Server, home: Path, method: str, name: str
) -> None:
    folder = run_on_disk(home)
    cookie = logged_in(server)
    body = {"action": "stop", "trial_id": None} if method == "POST" else None
    status, answer = server.ask(method, name, body, {"Cookie": cookie}, dir=relative(server, folder))
    assert (status, "XSRF" in str(answer) or "_xsrf" in str(answer)) == (403, True)
    assert folder.is_dir()
    xsrf = dict(part.split("=", 1) for part in cookie.split("; "))["_xsrf"]
    headers = {"Cookie": cookie, "X-XSRFToken": xsrf}
    status, answer = server.ask(method, name, body, headers, dir=relative(server, folder))
    assert status == (204 if method == "DELETE" else 409), answer


def logged_in(server: Server) -> str:
    """The cookies of a browser that came with the token in the URL."""

    jar = urllib.request.HTTPCookieProcessor()
    opener = urllib.request.build_opener(jar)
    with opener.open(f"{server.url}api/contents?token={server.token}", timeout=20):
        pass
    with opener.open(f"{server.url}login?token={server.token}", timeout=20):
        pass
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar.cookiejar)


# Which folders


@pytest.mark.parametrize(
    "folder", ["", ".", "..", "../..", "/", "/etc", "lagom_runs", "lagom_runs/../..", "nowhere", "a\0b", "~", "%2e%2e"]
)
def test_a_folder_that_holds_no_run_below_the_root_is_not_found(server: Server, home: Path, folder: str) -> None:
    for method, name in (("DELETE", "runs"), ("POST", "control"), ("DELETE", "board")):
        assert server.ask(method, name, {"action": "stop"}, dir=folder)[0] == 404
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        websocket.create_connection(server.socket_url(folder, token=server.token), timeout=20)
    assert caught.value.status_code == 404


def test_a_run_outside_of_the_root_is_not_found_by_any_way(server: Server, home: Path, tmp_path: Path) -> None:
    outside = run_on_disk(tmp_path)
    (home / "link").symlink_to(outside)
    (home / "digits").symlink_to(outside.parent)
    for folder in (str(outside), "lagom_runs/link", f"lagom_runs/digits/{outside.name}"):
        assert server.ask("DELETE", "runs", dir=folder)[0] == 404
        assert server.ask("POST", "control", {"action": "stop"}, dir=folder)[0] == 404
        assert server.ask("DELETE", "board", dir=folder)[0] == 404
    assert server.ask("GET", "runs", under=str(tmp_path))[0] == 404
    assert server.ask("GET", "runs")[1] == {"runs": []}
    assert outside.is_dir()


def test_a_journal_that_leads_out_is_not_read(server: Server, home: Path, tmp_path: Path) -> None:
    outside, inside = run_on_disk(tmp_path), run_on_disk(home)
    (inside / "events.jsonl").unlink()
    (inside / "events.jsonl").symlink_to(outside / "events.jsonl")
    assert server.ask("DELETE", "runs", dir=relative(server, inside))[0] == 404
    assert server.ask("GET", "runs")[1] == {"runs": []}


def test_an_absolute_folder_below_the_root_is_found(server: Server, home: Path) -> None:
    folder = run_on_disk(home)
    with page_on(server, str(folder)) as socket:
        assert socket.update()["run"]["run_id"] == ""  # the helper's facts have none


# HTTP


def test_runs_are_listed_newest_first_with_what_a_list_shows(server: Server, home: Path, living: LivingRun) -> None:
    past = run_on_disk(home, "wine")
    status, answer = server.ask("GET", "runs", under="lagom_runs")
    assert status == 200
    rows = {row["experiment"]: row for row in answer["runs"]}
    assert rows.keys() == {"wine", "digits"}
    assert [row["run_id"] for row in answer["runs"]] == sorted((row["run_id"] for row in rows.values()), reverse=True)
    created = json.loads((past / "run.json").read_text())["created_at"]
    assert rows["wine"] == {
        "dir": f"lagom_runs/wine/{past.name}",
        "run_id": past.name,
        "experiment": "wine",
        "kind": "hpo",
        "state": "COMPLETE",
        "is_live": False,
        "created_at": created,
        "duration_s": rows["wine"]["duration_s"],
        "n_done": 3,
        "n_trials": 3,
        "metric": "accuracy",
        "best_id": 1,
        "best_val": 0.9,
    }
    assert (rows["digits"]["is_live"], rows["digits"]["state"]) == (True, "STARTING")
    assert server.ask("GET", "runs")[1] == answer


def test_a_run_is_deleted_and_a_living_one_is_not(server: Server, home: Path, living: LivingRun) -> None:
    past = run_on_disk(home)
    assert server.ask("DELETE", "runs", dir=relative(server, past)) == (204, "")
    assert not past.exists()
    status, answer = server.ask("DELETE", "runs", dir=relative(server, living.folder))
    assert (status, "alive" in answer["message"]) == (409, True)
    assert living.folder.is_dir()


def test_a_run_behind_a_link_is_not_deleted(server: Server, home: Path) -> None:
    past = run_on_disk(home)
    (home / "mine").symlink_to(past.parent)
    (past.parent / "20261122-093000-link").symlink_to(past)
    for folder in (f"lagom_runs/mine/{past.name}", "lagom_runs/digits/20261122-093000-link"):
        status, answer = server.ask("DELETE", "runs", dir=folder)
        assert (status, "is a link. Delete what it leads to yourself" in answer["message"]) == (409, True)
    assert past.is_dir()


def test_what_a_killed_delete_left_goes_with_the_next(server: Server, home: Path) -> None:
    past = run_on_disk(home)
    shutil.copytree(past, past.with_name(f".deleting-{past.name}-k3f7"))
    assert server.ask("DELETE", "runs", dir=relative(server, past)) == (204, "")
    assert list(past.parent.iterdir()) == []


def test_nobody_goes_on_with_a_run_while_it_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    past, rename, refused = run_on_disk(tmp_path), os.rename, list[str]()

    def renamed(source: Path, target: Path) -> None:
        with pytest.raises(StoreError) as caught:
            JournalWriter(Path(source) / "events.jsonl", pytest.fail).close()
        refused.append(str(caught.value))
        rename(source, target)

    monkeypatch.setattr(os, "rename", renamed)
    _delete(Places(tmp_path), f"digits/{past.name}")
    assert refused == [f"run {past.name} is alive: another process drives it."]
    assert not past.exists()


def test_control_reaches_a_living_run(server: Server, living: LivingRun) -> None:
    folder = relative(server, living.folder)
    with closing(RequestPipe(living.folder / "requests")) as pipe:
        status, answer = server.ask("POST", "control", {"action": "prune", "trial_id": 4}, dir=folder)
        assert (status, answer) == (200, {"text": "Trial 4 is asked to end at its next report."})
        assert [(request.action, request.trial_id) for request in pipe.read()] == [("prune", 4)]
        for body in ({"action": "delete"}, {"action": "prune"}, ["stop"], None):
            assert server.ask("POST", "control", body, dir=folder)[0] == 400


# The socket


class Socket:
    """A page's socket, and the page."""

    def __init__(self, connection: websocket.WebSocket) -> None:
        self.connection, self.page = connection, Page()
        self.messages: list[dict[str, Any]] = []

    def receive(self) -> dict[str, Any]:
        text = self.connection.recv()
        assert text, "the server has closed the socket"
        assert len(text if isinstance(text, bytes) else text.encode()) <= 64 * 1024
        message = json.loads(text)
        assert isinstance(message, dict)
        self.messages.append(message)
        if message["type"] == "update":
            self.page.take(message)
        return message

    def update(self) -> dict[str, Any]:
        while (message := self.receive())["type"] != "update":
            pass
        return message

    def until(self, is_so: Callable[[Page], Any]) -> None:
        while not is_so(self.page):
            self.receive()

    def ask(self, kind: str, **fields: Any) -> Any:
        request_id = str(len(self.messages))
        self.connection.send(json.dumps({"type": kind, "id": request_id, **fields}))
        while (message := self.receive()).get("id") != request_id:
            pass
        return message["value"] if message["ok"] else message["error"]


@contextmanager
def page_on(server: Server, folder: str) -> Iterator[Socket]:
    url = server.socket_url(folder, token=server.token)
    with closing(websocket.create_connection(url, timeout=30)) as connection:
        yield Socket(connection)
        connection.shutdown()  # also where the server has closed it, which `close` takes for closed


def test_a_page_follows_a_living_run_to_its_end(server: Server, living: LivingRun) -> None:
    with page_on(server, relative(server, living.folder)) as socket:
        socket.until(lambda page: page.run and page.run["experiment"] == "digits")
        living.record(trial_facts(0, None))
        living.print("[w1 t0] hello\n")
        socket.until(lambda page: 0 in page.trials and page.lines == ["[w1 t0] hello"])
        living.record([*trial_facts(0, TrialState.COMPLETE)[-1:], RunEnded(RunState.COMPLETE)])
        living.end()
        socket.until(lambda page: page.run["state"] == "COMPLETE")
        assert socket.page.trials[0]["value"] == 0.5
        assert socket.page.n_gaps == 0


def test_a_run_whose_driver_dies_is_shown_as_interrupted(server: Server, living: LivingRun) -> None:
    living.record(trial_facts(0, None))
    with page_on(server, relative(server, living.folder)) as socket:
        socket.until(lambda page: 0 in page.trials)
        living.end()
        socket.until(lambda page: page.run["state"] == "FAILED")
        assert "interrupted" in socket.page.run["state_reason"]


def test_a_page_that_comes_back_is_told_only_what_it_missed(server: Server, living: LivingRun) -> None:
    living.record(some_run()[1:])
    folder = relative(server, living.folder)
    with page_on(server, folder) as socket:
        socket.until(lambda page: len(page.trials) == 6)
        seq = socket.page.seq
    living.record(trial_facts(6, None))
    with page_on(server, folder) as socket:
        socket.update()
        assert socket.ask("sync", since=seq, lines=-1) is True
        socket.until(lambda page: socket.messages[-1]["type"] == "update")
        assert [row["id"] for row in socket.messages[-1]["trials"]] == [6]


def test_two_pages_of_one_run_do_not_disturb_each_other(server: Server, living: LivingRun) -> None:
    folder = relative(server, living.folder)
    with page_on(server, folder) as first, page_on(server, folder) as second:
        first.update()
        second.ask("sync", since=0, lines=-1)
        living.record(trial_facts(0, None))
        first.until(lambda page: 0 in page.trials)
        second.until(lambda page: 0 in page.trials)
        assert first.page.n_gaps == 0


def test_what_a_page_asks_is_answered_from_the_folder(server: Server, home: Path) -> None:
    past = run_on_disk(home)
    (past / "trials" / "0001").mkdir(exist_ok=True)
    (past / "trials" / "0001" / "output.log").write_text("a line\n")
    with page_on(server, relative(server, past)) as socket:
        assert socket.ask("trial", trial_id=1)["hparams"]["lr"] == 0.05
        assert socket.ask("log", trial_id=1, attempt=1, offset=-1)["text"] == "a line\n"
        assert "no file" in socket.ask("file", trial_id=1, attempt=1, path="../../run.json")
        assert socket.ask("importance") == "importance needs 10 complete trials; this run has 3."
        assert "ended" in socket.ask("control", action="stop", trial_id=None)
        assert "cannot ask" in socket.ask("nonsense")


def test_a_runs_tensorboard_is_started_once_and_ended(server: Server, home: Path) -> None:
    past = run_on_disk(home)
    folder = relative(server, past)
    assert server.ask("DELETE", "board", dir=folder) == (204, "")  # there is none
    with page_on(server, folder) as socket:
        board = socket.ask("board")
        assert socket.ask("board") == board
    address = f"http://127.0.0.1:{board['port']}/"
    with urllib.request.urlopen(address, timeout=20) as answer:
        assert answer.status == 200
    assert server.ask("DELETE", "board", dir=folder) == (204, "")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address, timeout=20)
    assert past.is_dir()


def test_importance_of_a_run_sums_to_one(server: Server, home: Path) -> None:
    from store_runs import begun, complete_trial

    facts = [*begun(), *[f for i in range(12) for f in complete_trial(i, i / 20)], RunEnded(RunState.COMPLETE)]
    with page_on(server, relative(server, run_on_disk(home, facts=facts))) as socket:
        shares = socket.ask("importance")
        assert set(shares) == {"lr", "activation"}
        assert sum(shares.values()) == pytest.approx(1)


def test_a_living_run_is_steered_over_the_socket(server: Server, living: LivingRun) -> None:
    with closing(RequestPipe(living.folder / "requests")) as pipe:
        with page_on(server, relative(server, living.folder)) as socket:
            assert "stopping" in socket.ask("control", action="stop", trial_id=None)["text"]
        assert [request.action for request in pipe.read()] == ["stop"]


@pytest.mark.parametrize("text", ["no json", "[]", "x" * 70_000])
def test_a_page_that_talks_nonsense_is_hung_up_on(server: Server, living: LivingRun, text: str) -> None:
    with page_on(server, relative(server, living.folder)) as socket:
        socket.connection.send(text)
        with pytest.raises(AssertionError, match="closed the socket"):
            socket.until(lambda _: False)


def test_more_sockets_than_there_may_be_are_refused_and_their_places_come_back(
    server: Server, living: LivingRun
) -> None:
    from lagom_magic.server.socket import SOCKETS_LIMIT

    url = server.socket_url(relative(server, living.folder), token=server.token)
    connections = [websocket.create_connection(url, timeout=30) for _ in range(SOCKETS_LIMIT)]
    try:
        with pytest.raises(websocket.WebSocketBadStatusException) as caught:
            websocket.create_connection(url, timeout=30)
        assert caught.value.status_code == 503
    finally:
        for connection in connections:
            connection.close()
    with page_on(server, relative(server, living.folder)) as socket:
        assert socket.update()["run"]["experiment"] == "digits"
