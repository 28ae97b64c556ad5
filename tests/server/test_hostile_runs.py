"""Run folders that somebody else wrote, and pages that behave badly: they spoil nothing for others."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import websocket
from lagom_server import Server
from store_runs import run_on_disk


@pytest.fixture
def home(server: Server) -> Iterator[Path]:
    folder = server.root / "lagom_runs"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def relative(server: Server, folder: Path) -> str:
    return folder.relative_to(server.root).as_posix()


def assert_is_refused(server: Server, folder: Path | str) -> None:
    text = folder if isinstance(folder, str) else relative(server, folder)
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        websocket.create_connection(server.socket_url(text, token=server.token), timeout=20)
    assert caught.value.status_code == 404
    assert server.ask("DELETE", "runs", dir=text)[0] == 404
    assert server.ask("POST", "control", {"action": "stop"}, dir=text)[0] == 404


@pytest.mark.parametrize("name", ["console.1.log", "console.log", "events.jsonl", "run.json"])
def test_a_file_of_a_run_that_leads_out_is_not_read(server: Server, home: Path, tmp_path: Path, name: str) -> None:
    outside, run = tmp_path / "secret", run_on_disk(home)
    outside.write_text("[w1 t0] a secret\n")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(outside)
    assert_is_refused(server, run)


@pytest.mark.parametrize("name", ["console.1.log", "console.log", "events.jsonl", "run.json"])
def test_a_pipe_in_place_of_a_runs_file_holds_nobody_up(server: Server, home: Path, name: str) -> None:
    run = run_on_disk(home)
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    assert_is_refused(server, run)
    assert server.ask("GET", "runs") == (200, {"runs": []})


def test_a_name_that_no_file_system_takes_is_not_found(server: Server, home: Path) -> None:
    assert_is_refused(server, "a" * 3000)
    assert server.ask("GET", "runs", under="a" * 3000)[0] == 404


def test_only_what_is_named_as_a_run_is_deleted(server: Server, home: Path) -> None:
    project = home / "project"
    shutil.copytree(run_on_disk(home), project)
    assert server.ask("DELETE", "runs", dir=relative(server, project))[0] == 404
    assert (project / "run.json").is_file()


RESULT = {"state": "COMPLETE", "duration_s": 1.0, "metric": "m", "counts": {}, "best_id": 0, "best_val": 1.0}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({**RESULT, "duration_s": float("nan")}),
        json.dumps({**RESULT, "duration_s": float("inf")}),
        json.dumps({**RESULT, "best_id": float("nan")}),
        json.dumps({**RESULT, "metric": [float("inf")]}),
        json.dumps({**RESULT, "counts": {"COMPLETE": float("inf")}}),
        json.dumps(RESULT).replace('"m"', "[" * 100_000 + "]" * 100_000),
        json.dumps(RESULT).replace('"best_val": 1.0', '"best_val": ' + '{"a":' * 900 + "1" + "}" * 900),
        "[" * 100_000,
        "x" * 10,
    ],
    ids=["nan", "inf", "best", "metric", "counts", "deep metric", "deep value", "deep", "nonsense"],
)
def test_a_result_that_nobody_can_read_hides_no_other_run(server: Server, home: Path, text: str) -> None:
    hostile, other = run_on_disk(home), run_on_disk(home, "other")
    (hostile / "result.json").write_text(text)
    status, answer = server.ask("GET", "runs")
    assert status == 200
    assert isinstance(answer, dict), "no JSON"
    assert "NaN" not in json.dumps(answer)
    assert "Infinity" not in json.dumps(answer)
    assert other.name in [row["run_id"] for row in answer["runs"]]


@pytest.mark.parametrize(
    "line",
    [
        '{"seq":9,"time":1,"type":"noticed","text":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"seq":9,"time":1,"type":"trial_started","trial_id":1,"attempt":1,"worker_id":1,"hparams":7}',
        '{"seq":9,"time":"soon","type":"run_ended","state":"COMPLETE","reason":""}',
    ],
    ids=["deep", "hparams", "time"],
)
def test_a_journal_that_nobody_can_read_hides_no_other_run(server: Server, home: Path, line: str) -> None:
    hostile, other = run_on_disk(home), run_on_disk(home, "other")
    (hostile / "result.json").unlink()
    (hostile / "events.jsonl").write_text(line + "\n" + (hostile / "events.jsonl").read_text())
    status, answer = server.ask("GET", "runs")
    assert (status, other.name in [row["run_id"] for row in answer["runs"]]) == (200, True)


@pytest.mark.parametrize("field", ["trial_id", "attempt", "path", "since", "id", "type", "action", "offset"])
def test_a_deep_request_costs_one_reply(server: Server, home: Path, field: str) -> None:
    deep = "[" * 900 + "]" * 900
    requests = {
        name: json.dumps({"type": kind, "id": "x", "trial_id": 0, "attempt": 1, "lines": -1, name: "DEEP"})
        for name, kind in {
            "trial_id": "trial", "attempt": "log", "path": "file", "since": "sync", "id": "trial", "type": "",
            "action": "control", "offset": "log",
        }.items()
    }  # fmt: skip
    url = server.socket_url(relative(server, run_on_disk(home)), token=server.token)
    with closing(websocket.create_connection(url, timeout=20)) as connection:
        connection.send(requests[field].replace('"DEEP"', deep))
        connection.send(json.dumps({"type": "trial", "id": "after", "trial_id": 0}))
        replies: dict[str, Any] = {}
        while "after" not in replies:
            message = json.loads(connection.recv())
            replies[message.get("id")] = message
        assert replies["after"]["ok"]


def test_a_page_that_does_not_read_holds_up_no_other(server: Server, home: Path) -> None:
    run = run_on_disk(home)
    (run / "trials" / "0001" / "output.log").parent.mkdir(exist_ok=True)
    (run / "trials" / "0001" / "output.log").write_text("a line\n" * 10_000)
    url = server.socket_url(relative(server, run), token=server.token)
    options = ((socket.SOL_SOCKET, socket.SO_RCVBUF, 4096),)
    with closing(websocket.create_connection(url, timeout=20, sockopt=options)) as deaf:
        request = {"type": "log", "id": "x", "trial_id": 1, "attempt": 1, "offset": -1}
        deaf.settimeout(2)
        text = json.dumps({**request, "padding": "x" * 60_000})
        with suppress(websocket.WebSocketTimeoutException):  # the way is full
            while True:
                deaf.send(text)
        with closing(websocket.create_connection(url, timeout=10)) as other:
            other.send(json.dumps(request))
            while (message := json.loads(other.recv()))["type"] != "reply":
                pass
            assert message["ok"]
        assert server.ask("GET", "runs")[0] == 200


def test_a_deleted_run_takes_its_tensorboard_with_it(server: Server, home: Path) -> None:
    run = run_on_disk(home)
    url = server.socket_url(relative(server, run), token=server.token)
    with closing(websocket.create_connection(url, timeout=90)) as connection:
        connection.send(json.dumps({"type": "board", "id": "b"}))
        while (message := json.loads(connection.recv()))["type"] != "reply":
            pass
    port = message["value"]["port"]
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    assert server.ask("DELETE", "runs", dir=relative(server, run))[0] == 204
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
