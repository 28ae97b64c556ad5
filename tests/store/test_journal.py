from __future__ import annotations

import json
import math
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lagom_magic.events.facts import Noticed, RunEnded, RunState, TrialStarted, TrialState
from lagom_magic.store.journal import JournalReader, JournalWriter, interrupt, is_being_written, read_view

errors: list[str] = []


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[JournalWriter]:
    errors.clear()
    writer = JournalWriter(tmp_path / "events.jsonl", errors.append)
    yield writer
    writer.close()


def test_lines_carry_a_dense_seq_and_the_time_before_the_fact(writer: JournalWriter, tmp_path: Path) -> None:
    for number in range(3):
        writer.append(Noticed(f"n{number}"), 1000.25 + number)
    writer.flush()
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert lines[0] == '{"seq":0,"time":1000.25,"type":"noticed","text":"n0"}'
    assert [json.loads(line)["seq"] for line in lines] == [0, 1, 2]


def test_facts_are_visible_after_flush_and_read_once(writer: JournalWriter, tmp_path: Path) -> None:
    reader = JournalReader(tmp_path)
    writer.append(Noticed("a"), 1.0)
    assert reader.read_new() == []
    writer.flush()
    assert [(line.seq, line.time, line.fact) for line in reader.read_new()] == [(0, 1.0, Noticed("a"))]
    assert reader.read_new() == []


def test_a_torn_last_line_waits_for_its_end(tmp_path: Path) -> None:
    journal = tmp_path / "events.jsonl"
    journal.write_bytes(b'{"seq":0,"time":1.0,"type":"noticed","text":"a"}\n{"seq":1,"time":')
    reader = JournalReader(tmp_path)
    assert [line.fact for line in reader.read_new()] == [Noticed("a")]
    with journal.open("ab") as file:
        file.write(b'2.0,"type":"noticed","text":"b"}\n')
    assert [line.fact for line in reader.read_new()] == [Noticed("b")]


def test_lines_of_a_newer_version_and_damaged_ones_are_left_out_and_counted(tmp_path: Path) -> None:
    lines = [
        b'{"seq":0,"time":1.0,"type":"from_the_future"}',
        b"\xff\xfe not json",
        b"[]",
        b"[" * 100_000,
        b'{"seq":3,"time":1.0,"type":"noticed","text":"x"}',
    ]
    (tmp_path / "events.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    reader = JournalReader(tmp_path)
    assert [line.seq for line in reader.read_new()] == [3]
    assert reader.n_unreadable == 4


def test_a_journal_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    assert JournalReader(tmp_path).read_new() == []
    assert not is_being_written(tmp_path)


def test_hparams_that_json_lacks_do_not_hurt_the_journal(writer: JournalWriter, tmp_path: Path) -> None:
    writer.append(TrialStarted(0, 1, 1, {"a": math.nan, "b": object, "c": {1: "\ud800"}}), 1.0)
    writer.flush()
    fact = JournalReader(tmp_path).read_new()[0].fact
    assert isinstance(fact, TrialStarted)
    assert fact.hparams["a"] == "nan"
    assert fact.hparams["b"] == "<class 'object'>"


def test_what_a_full_disk_refuses_is_told_and_written_later(
    writer: JournalWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))
        writer.append(Noticed("a" * 100), 1.0)
        writer.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert len(errors) == 1
    assert "events.jsonl" in errors[0]
    writer.append(Noticed("b"), 2.0)
    writer.flush()
    assert [line.fact for line in JournalReader(tmp_path).read_new()] == [Noticed("a" * 100), Noticed("b")]


def test_a_reader_can_tell_a_living_run_from_a_dead_one(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "events.jsonl", errors.append)
    assert is_being_written(tmp_path)
    writer.append(TrialStarted(0, 1, 1, {}), 1.0)
    writer.flush()
    assert read_view(tmp_path).trials[0].state is TrialState.RUNNING
    writer.close()
    assert not is_being_written(tmp_path)
    view = read_view(tmp_path)
    assert view.state is RunState.FAILED
    assert view.state_reason.startswith("interrupted")
    assert view.trials[0].state is TrialState.STOPPED


def test_a_run_that_has_ended_is_not_interrupted(writer: JournalWriter, tmp_path: Path) -> None:
    writer.append(RunEnded(RunState.STOPPED, "by hand"), 1.0)
    writer.flush()
    view = read_view(tmp_path)
    interrupt(view)
    assert (view.state, view.state_reason) == (RunState.STOPPED, "by hand")


def test_a_closed_run_is_over_even_while_a_forked_child_holds_the_file(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "events.jsonl", errors.append)
    inherited = os.dup(writer._descriptor)  # what a fork does
    try:
        writer.close()
        assert not is_being_written(tmp_path)
    finally:
        os.close(inherited)
