"""The event files as TensorBoard's own reader and its HParams plugin see them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from store_runs import SPACE, Written, begun, hparams, record, store_in
from tensorboard import context
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import api_pb2, list_session_groups
from tensorboard.plugins.hparams.backend_context import Context

from lagom_magic.events.facts import Fact, MetricReported, TrialEnded, TrialRequeued, TrialStarted, TrialState
from lagom_magic.spec.space_json import space_to_json
from lagom_magic.store.layout import RunLayout
from lagom_magic.store.tensorboard import TensorBoardWriter


class Board:
    """TensorBoard's view of a logdir."""

    def __init__(self, logdir: Path) -> None:
        self._events = EventMultiplexer()
        self._events.AddRunsFromDirectory(str(logdir))
        self._events.Reload()
        provider = MultiplexerDataProvider(self._events, str(logdir))
        self._context = Context(base_plugin.TBContext(data_provider=provider))
        self._request = context.RequestContext()

    @property
    def runs(self) -> set[str]:
        return set(self._events.Runs())

    def scalars(self, run: str, tag: str) -> list[tuple[int, float]]:
        return [(event.step, event.tensor_proto.float_val[0]) for event in self._events.Tensors(run, tag)]

    def experiment(self) -> Any:
        metadata = self._context.hparams_metadata(self._request, "")
        return self._context.experiment_from_metadata(self._request, "", True, metadata, [])

    def sessions(self) -> dict[str, Any]:
        wanted = api_pb2.ListSessionGroupsRequest(
            start_index=0, slice_size=100, allowed_statuses=api_pb2.Status.values(), include_metrics=True
        )
        groups = list_session_groups.Handler(self._request, self._context, "", wanted).run().session_groups
        return {group.name: group for group in groups}


def write(folder: Path, facts: list[Fact]) -> Board:
    writer = TensorBoardWriter(RunLayout(folder), space_to_json(SPACE))
    for number, fact in enumerate(facts):
        writer.add(fact, 1_000_000_000.0 + number)
    writer.close()
    return Board(folder / "tensorboard")


def start(trial_id: int, attempt: int = 1) -> TrialStarted:
    return TrialStarted(trial_id, attempt, 1, hparams(trial_id))


def report(trial_id: int, step: int, **metrics: float) -> MetricReported:
    return MetricReported(trial_id, 1, 1, step, metrics)


def end(trial_id: int, state: TrialState = TrialState.COMPLETE, attempt: int = 1, **metrics: float) -> TrialEnded:
    return TrialEnded(trial_id, attempt, 1, state, metrics)


def test_every_reported_number_and_the_final_ones_are_scalars(tmp_path: Path) -> None:
    reports = [report(0, step, accuracy=step / 4) for step in range(3)]
    board = write(tmp_path, [*begun(), start(0), *reports, end(0, accuracy=0.75, loss=0.25)])
    assert board.scalars("0000", "accuracy") == [(0, 0.0), (1, 0.25), (2, 0.5), (2, 0.75)]
    assert board.scalars("0000", "loss") == [(2, 0.25)]


def test_a_final_number_that_was_just_reported_is_not_written_twice(tmp_path: Path) -> None:
    board = write(tmp_path, [*begun(), start(0), report(0, 5, accuracy=0.5), end(0, accuracy=0.5)])
    assert board.scalars("0000", "accuracy") == [(5, 0.5)]


def test_hparams_status_and_times_of_each_trial_are_there(tmp_path: Path) -> None:
    board = write(tmp_path, [*begun(), start(0), end(0, accuracy=0.5), start(1), end(1, TrialState.FAILED)])
    sessions = board.sessions()
    assert sessions["0000"].hparams["lr"].number_value == 0.1
    assert sessions["0000"].hparams["activation"].string_value == "relu"
    assert sessions["0000"].metric_values[0].value == 0.5
    assert sessions["0000"].sessions[0].status == api_pb2.STATUS_SUCCESS
    assert sessions["0000"].sessions[0].end_time_secs - sessions["0000"].sessions[0].start_time_secs == 1.0
    assert sessions["0001"].sessions[0].status == api_pb2.STATUS_FAILURE


def test_the_config_names_the_space_the_fixed_hparams_and_the_counted_metric_first(tmp_path: Path) -> None:
    experiment = write(tmp_path, [*begun(), start(0), end(0, loss=0.1, accuracy=0.5)]).experiment()
    infos = {info.name: info for info in experiment.hparam_infos}
    assert set(infos) == {"lr", "activation", "epochs"}
    assert infos["lr"].domain_interval.max_value == 1.0
    assert [choice.string_value for choice in infos["activation"].domain_discrete.values] == ["relu", "tanh"]
    assert [info.name.tag for info in experiment.metric_infos] == ["accuracy", "loss"]


def test_metrics_that_show_up_later_are_in_the_config_at_the_end(tmp_path: Path) -> None:
    writer = TensorBoardWriter(RunLayout(tmp_path), {})
    for fact in [*begun(), start(0), report(0, 0, accuracy=0.5)]:
        writer.add(fact, 1e9)
    writer.flush()
    writer.add(end(0, accuracy=0.5, f1=0.25), 1e9)
    writer.close()
    experiment = Board(tmp_path / "tensorboard").experiment()
    assert [info.name.tag for info in experiment.metric_infos] == ["accuracy", "f1"]


def test_a_second_attempt_is_a_run_of_its_own_and_the_first_is_closed_as_failed(tmp_path: Path) -> None:
    facts = [*begun(), start(0), TrialRequeued(0, 2, "lost"), start(0, 2), end(0, attempt=2, accuracy=0.5)]
    board = write(tmp_path, facts)
    assert {"0000", "0000.2"} <= board.runs
    assert board.sessions()["0000"].sessions[0].status == api_pb2.STATUS_FAILURE
    assert board.sessions()["0000.2"].sessions[0].status == api_pb2.STATUS_SUCCESS


def test_numbers_that_are_not_finite_are_kept(tmp_path: Path) -> None:
    facts = [
        *begun(),
        start(0),
        report(0, 0, loss=math.nan),
        report(0, 1, loss=math.inf),
        report(0, 2, loss=-1e300),
        end(0),
    ]
    (_, first), (_, second), (_, third) = write(tmp_path, facts).scalars("0000", "loss")
    assert math.isnan(first)
    assert (second, third) == (math.inf, -math.inf)  # TensorBoard's numbers have 32 bits


@pytest.mark.parametrize(
    "value", [None, True, [1, 2], {"a": 1}, math.nan, pytest.param(10**400, id="huge"), "text", b"x", 1.5]
)
def test_any_hparam_can_be_shown(tmp_path: Path, value: object) -> None:
    started = TrialStarted(0, 1, 1, {"odd": value})
    board = write(tmp_path, [*begun(), started, end(0, accuracy=0.5)])
    shown = board.sessions()["0000"].hparams["odd"]
    assert shown.WhichOneof("kind") == {True: "bool_value", 1.5: "number_value"}.get(
        value if isinstance(value, (bool, float)) else None, "string_value"
    )


def test_texts_that_utf8_lacks_are_spelled_out_everywhere(tmp_path: Path) -> None:
    odd, shown = "s\udcff", "s\\udcff"
    space = {odd: {"kind": "Categorical", "choices": [odd, "b"]}}
    writer = TensorBoardWriter(RunLayout(tmp_path), space)
    for fact in [*begun(), TrialStarted(0, 1, 1, {odd: odd, f"{odd}2": 1.0}), end(0, **{odd: 0.5})]:
        writer.add(fact, 1e9)
    writer.close()
    board = Board(tmp_path / "tensorboard")
    assert board.scalars("0000", shown) == [(0, 0.5)]
    assert board.sessions()["0000"].hparams[shown].string_value == shown
    experiment = board.experiment()
    assert [info.name for info in experiment.hparam_infos] == [shown, f"{shown}2"]
    assert [info.name.tag for info in experiment.metric_infos] == [shown]
    assert experiment.hparam_infos[0].domain_discrete.values[0].string_value == shown


def test_a_choice_of_mixed_kinds_is_text_everywhere(tmp_path: Path) -> None:
    space = {"c": {"kind": "Categorical", "choices": [None, 1, "auto"]}}
    writer = TensorBoardWriter(RunLayout(tmp_path), space)
    for fact in [*begun(), TrialStarted(0, 1, 1, {"c": 1}), end(0, accuracy=0.5)]:
        writer.add(fact, 1e9)
    writer.close()
    board = Board(tmp_path / "tensorboard")
    assert board.sessions()["0000"].hparams["c"].string_value == "1"
    assert board.experiment().hparam_infos[0].type == api_pb2.DATA_TYPE_STRING


def test_nothing_waits_to_be_written_after_a_flush(tmp_path: Path) -> None:
    writer = TensorBoardWriter(RunLayout(tmp_path), {})
    assert not writer.is_dirty
    writer.add(start(0), 1e9)
    assert writer.is_dirty
    writer.flush()
    assert not writer.is_dirty


def test_a_running_trial_is_seen_by_tensorboard_within_about_a_second(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        written = Written(store)
        record(store, [*begun(), start(0), report(0, 0, accuracy=0.25)])
        folder = store.layout.tensorboard_dir(0, 1)
        written.wait_until(lambda: folder.is_dir() and (store.layout.tensorboard / "0000").exists())
        written.wait_until(lambda: Board(store.layout.tensorboard).runs >= {"0000", "."})
        board = Board(store.layout.tensorboard)
        assert board.scalars("0000", "accuracy") == [(0, 0.25)]
        assert board.sessions()["0000"].hparams["lr"].number_value == 0.1
        assert board.sessions()["0000"].sessions[0].status == api_pb2.STATUS_UNKNOWN
