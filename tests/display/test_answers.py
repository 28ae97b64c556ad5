from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from display_runs import GrowingRun, run_started, trial_facts

from lagom_magic.display.answers import FILE_BYTES, LOG_BYTES, Answers, Backing
from lagom_magic.display.conversation import Conversation
from lagom_magic.display.reading import RunReading
from lagom_magic.display.wire import MESSAGE_LIMIT_BYTES, Message, wire_size
from lagom_magic.errors import ConfigError, StoreError
from lagom_magic.events.facts import (
    FileStored,
    MetricReported,
    TrialEnded,
    TrialError,
    TrialRequeued,
    TrialStarted,
    TrialState,
)
from lagom_magic.store.requests import RequestPipe

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


class Asked:
    """A run in a folder, and somebody who asks about it."""

    def __init__(self, folder: Path) -> None:
        self.run = GrowingRun(folder)
        self.reading = RunReading(folder, lambda: True)
        self.answers = Answers(self.reading, Backing(lambda: {"lr": 0.75, "width": 0.25}))

    def record(self, *facts: Any) -> None:
        self.run.record(facts)
        self.reading.refresh()

    def ask(self, kind: str, **fields: Any) -> Any:
        return self.answers.answer({"type": kind, "id": "1", **fields})

    def refused(self, kind: str, **fields: Any) -> str:
        with pytest.raises((ConfigError, StoreError)) as caught:
            self.ask(kind, **fields)
        return str(caught.value)

    def store(self, path: str, data: bytes, trial_id: int = 0) -> Path:
        """A file of a trial, and its line in the journal."""
        file = self.trial_dir(trial_id) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        self.record(FileStored(trial_id, 1, path, len(data), ""))
        return file

    def trial_dir(self, trial_id: int = 0) -> Path:
        return self.run.folder / "trials" / f"{trial_id:04d}"

    def print(self, data: bytes) -> None:
        self.trial_dir().mkdir(parents=True, exist_ok=True)
        (self.trial_dir() / "output.log").write_bytes(data)

    def log(self, offset: int = -1, attempt: int = 1) -> Any:
        return self.ask("log", trial_id=0, attempt=attempt, offset=offset)


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    asked = Asked(tmp_path / "run")
    asked.record(run_started(), *trial_facts(0, TrialState.COMPLETE))
    yield asked
    asked.reading.close()


def test_a_trials_details_are_exact_and_whole(asked: Asked) -> None:
    lr, error = 0.12345678901234567, TrialError("E", "a\nb", "Traceback …")
    asked.record(
        TrialStarted(1, 1, 1, {"lr": lr, "text": "x" * 1000}),
        MetricReported(1, 1, 1, 0, {"accuracy": 0.5, "loss": 2.5}),
        MetricReported(1, 1, 1, 1, {"accuracy": 0.123456789}),
        TrialEnded(1, 1, 1, TrialState.FAILED, error=error, warnings=("w",), values={"k": "v"}),
        FileStored(1, 1, "artifacts/a.png", 3, ""),
    )
    assert asked.ask("trial", trial_id=1) == {
        "attempt": 1,
        "dir": str(asked.run.folder / "trials" / "0001"),
        "hparams": {"lr": lr, "text": "x" * 1000},
        "metrics": {"accuracy": 0.123456789, "loss": 2.5},
        "error": {"kind": "E", "message": "a\nb", "traceback": "Traceback …"},
        "values": {"k": "v"},
        "warnings": ["w"],
        "files": [{"path": "artifacts/a.png", "size_bytes": 3}],
        "requeue_reason": "",
        "curves": {"accuracy": [[0, 0.5], [1, 0.123456789]], "loss": [[0, 2.5]]},
    }


def test_curves_are_of_the_latest_attempt_and_at_most_500_points(asked: Asked) -> None:
    asked.record(TrialStarted(1, 1, 1, {}), MetricReported(1, 1, 1, 0, {"loss": 9.0}), TrialRequeued(1, 2, "lost"))
    asked.record(TrialStarted(1, 2, 1, {}), *[MetricReported(1, 2, 1, s, {"loss": float(s)}) for s in range(2000)])
    asked.record(TrialStarted(11, 1, 1, {}), MetricReported(11, 1, 1, 5000, {"loss": 1.0}))
    trial = asked.ask("trial", trial_id=1)
    assert (trial["attempt"], trial["requeue_reason"]) == (2, "lost")
    loss = trial["curves"]["loss"]
    assert (len(loss), loss[0], loss[-1]) == (500, [0, 0.0], [1999, 1999.0])


@pytest.mark.parametrize("trial_id", [7, -1, None, "0", True, 1.0])
def test_a_trial_that_is_not_there_is_refused(asked: Asked, trial_id: Any) -> None:
    assert "trial" in asked.refused("trial", trial_id=trial_id)


@pytest.mark.parametrize("kind", ["shutdown", None, 3, "__init__"])
def test_another_kind_of_request_is_refused_with_the_known_ones(asked: Asked, kind: Any) -> None:
    assert "allowed: trial, log, file" in asked.refused(kind)


def test_a_log_is_read_from_its_end_and_followed(asked: Asked) -> None:
    assert asked.log() == {"text": "", "begin": 0, "end": 0, "size": 0}
    lines = b"".join(b"line %06d\n" % i for i in range(10_000))
    asked.print(lines)
    end = asked.log()
    assert end["text"].startswith("line ")
    assert len(end["text"]) > LOG_BYTES - 20
    assert (end["end"], end["size"]) == (len(lines), len(lines))
    assert lines[end["begin"] :].decode() == end["text"]
    asked.print(lines + b"more\nhalf")
    assert asked.log(end["end"])["text"] == "more\nhalf"


def test_a_log_is_read_from_its_start_in_whole_lines(asked: Asked) -> None:
    lines = "".join(f"ligne é {i}\n" for i in range(20_000)).encode()
    asked.print(lines)
    text, offset = "", 0
    while True:
        piece = asked.log(offset)
        text, offset = text + piece["text"], piece["end"]
        if offset == piece["size"]:
            break
        assert piece["text"].endswith("\n")
    assert text.encode() == lines


def test_one_endless_line_comes_in_pieces_and_no_character_is_torn(asked: Asked) -> None:
    asked.print("é".encode() * 60_000)
    text, offset = "", 0
    while offset < 120_000:
        piece = asked.log(offset)
        text, offset = text + piece["text"], piece["end"]
    assert text == "é" * 60_000


def test_bytes_that_are_no_text_can_be_read_to_their_end(asked: Asked) -> None:
    asked.print(b"\xff\xfe\x00ok\n\xe2\x82")
    piece = asked.log(0)
    assert (piece["text"], piece["end"], piece["size"]) == ("\\xff\\xfe\x00ok\n", 6, 8)
    assert asked.log(6)["text"] == "\\xe2\\x82"


def test_a_log_of_an_attempt_that_never_was_is_refused(asked: Asked) -> None:
    assert "there is no attempt 2" in asked.refused("log", trial_id=0, attempt=2, offset=0)
    assert "offset" in asked.refused("log", trial_id=0, attempt=1, offset=-2)


def test_a_log_that_leads_out_is_refused(asked: Asked, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    asked.trial_dir().mkdir(parents=True)
    (asked.trial_dir() / "output.log").symlink_to(secret)
    assert "leads out" in asked.refused("log", trial_id=0, attempt=1, offset=0)


def test_a_pipe_in_place_of_a_log_does_not_hang(asked: Asked) -> None:
    asked.trial_dir().mkdir(parents=True)
    os.mkfifo(asked.trial_dir() / "output.log")
    assert "no regular file" in asked.refused("log", trial_id=0, attempt=1, offset=0)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [(PNG, "image/png"), (b"\xff\xd8\xff1", "image/jpeg"), (b"GIF89a", "image/gif"), (b"RIFF1234WEBP", "image/webp")],
)
def test_a_picture_is_known_by_its_first_bytes(asked: Asked, data: bytes, media_type: str) -> None:
    asked.store("artifacts/figure", data)
    answer = asked.ask("file", trial_id=0, attempt=1, path="artifacts/figure")
    assert answer == {"media_type": media_type, "base64": base64.b64encode(data).decode()}


def test_what_is_no_picture_is_refused(asked: Asked) -> None:
    asked.store("artifacts/page.png", b"<svg onload=alert(1)>")
    refusal = asked.refused("file", trial_id=0, attempt=1, path="artifacts/page.png")
    assert "no PNG, JPEG, GIF or WebP" in refusal


def test_only_files_that_the_journal_lists_are_shown(asked: Asked) -> None:
    (asked.trial_dir() / "files").mkdir(parents=True)
    (asked.trial_dir() / "files" / "unlisted.png").write_bytes(PNG)
    for path in ("files/unlisted.png", "../../events.jsonl", "/etc/passwd", "", None, ["x"], "artifacts/none.png"):
        assert "has no file" in asked.refused("file", trial_id=0, attempt=1, path=path)
    assert "has no file" in asked.refused("file", trial_id=0, attempt=2, path="files/unlisted.png")


def test_a_listed_path_that_leads_out_is_refused(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(PNG)
    (asked.trial_dir() / "artifacts").mkdir(parents=True)
    (asked.trial_dir() / "artifacts" / "link.png").symlink_to(tmp_path / "secret.png")
    (asked.trial_dir() / "artifacts" / "out").symlink_to(tmp_path)
    for path in ("artifacts/link.png", "artifacts/out/secret.png"):
        asked.record(FileStored(0, 1, path, 1, ""))
        assert "leads out" in asked.refused("file", trial_id=0, attempt=1, path=path)


def test_a_trials_folder_that_leads_out_shows_neither_files_nor_log(asked: Asked, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere"
    (outside / "files").mkdir(parents=True)
    (outside / "files" / "secret.png").write_bytes(PNG)
    (outside / "output.log").write_text("secret")
    asked.trial_dir().parent.mkdir()
    asked.trial_dir().symlink_to(outside)
    asked.record(FileStored(0, 1, "files/secret.png", 1, ""))
    assert "leads out" in asked.refused("file", trial_id=0, attempt=1, path="files/secret.png")
    assert "leads out" in asked.refused("log", trial_id=0, attempt=1, offset=-1)


def test_a_file_that_is_too_large_is_refused_with_its_size(asked: Asked) -> None:
    file = asked.store("artifacts/large.png", PNG)
    os.truncate(file, FILE_BYTES + 1)
    assert "8,388,609 bytes" in asked.refused("file", trial_id=0, attempt=1, path="artifacts/large.png")


def test_importance_is_what_was_computed(asked: Asked) -> None:
    assert asked.ask("importance") == {"lr": 0.75, "width": 0.25}


def test_control_reaches_the_runs_pipe(asked: Asked) -> None:
    pipe = RequestPipe(asked.run.folder / "requests")
    try:
        assert (
            asked.ask("control", action="stop", trial_id=None)["text"]
            == "The run is stopping; finished trials are kept."
        )
        assert "Trial 3" in asked.ask("control", action="prune", trial_id=3)["text"]
        assert [(request.action, request.trial_id) for request in pipe.read()] == [("stop", None), ("prune", 3)]
        assert "allowed: stop, prune, retry" in asked.refused("control", action="delete", trial_id=3)
    finally:
        pipe.close()


def test_control_of_a_run_that_has_ended_is_refused(asked: Asked) -> None:
    assert "ended" in asked.refused("control", action="stop")


def conversation(folder: Path, sent: list[Message]) -> Conversation:
    return Conversation(folder, sent.append, Backing(lambda: {"lr": 1.0}, lambda: True), look_interval_s=600)


def test_a_long_reply_comes_in_parts_that_fit(asked: Asked) -> None:
    asked.store("artifacts/a.png", PNG + os.urandom(300_000))
    sent: list[Message] = []
    talk = conversation(asked.run.folder, sent)
    talk.follower.reading.refresh()
    talk.handle({"type": "file", "id": "a1", "trial_id": 0, "attempt": 1, "path": "artifacts/a.png"})
    assert all(wire_size(message) <= MESSAGE_LIMIT_BYTES for message in sent)
    assert [(m["type"], m["id"], m["index"], m["n_parts"]) for m in sent] == [
        ("part", "a1", index, len(sent)) for index in range(len(sent))
    ]
    value = json.loads("".join(message["data"] for message in sent))
    assert value == asked.ask("file", trial_id=0, attempt=1, path="artifacts/a.png")
    talk.close()


def test_each_request_gets_one_reply_and_what_is_none_gets_nothing(asked: Asked) -> None:
    sent: list[Message] = []
    talk = conversation(asked.run.folder, sent)
    for request in ("text", None, [1], {"type": "importance"}, {"type": "importance", "id": 3}):
        talk.handle(request)
    assert sent == []
    talk.handle({"type": "importance", "id": "a"})
    talk.handle({"type": "nonsense", "id": "b"})
    talk.handle({"type": "sync", "id": "c", "since": "x"})
    assert [(message["id"], message["ok"]) for message in sent] == [("a", True), ("b", False), ("c", False)]
    assert sent[2]["error"] == "sync takes two whole numbers: since and lines."
    assert talk.close()
