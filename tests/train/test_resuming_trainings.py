"""Trainings that go on and are repeated from what their folder keeps, without the notebook's function."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

import pytest
from calling_home import Home
from masters import ended, facts_of
from small_training import Net, assert_learned_the_same, config, train, wait_for_checkpoint

from lagom_magic.cluster.session import SessionInfo
from lagom_magic.errors import ConfigError, StoreError
from lagom_magic.events import facts
from lagom_magic.resuming import RepeatedCall, checkpoint_of, config_of, inherited_options, repeated_trial
from lagom_magic.run import Run
from lagom_magic.spec.config import TfDistributedConfig, TorchDistributedConfig

Launch = Callable[..., Run]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def resumed(run_here: Launch, run: Run) -> Run:
    """As `%lagom resume RUN` does it."""
    return run_here(RepeatedCall(run), config_of(run), resumed=run)


def test_a_stopped_training_goes_on_from_its_checkpoint_with_the_function_that_its_folder_keeps(
    run_here: Launch, home: Home
) -> None:
    first = run_here(train, config(hparams={"port": home.port, "lr": 0.1}), detach=True)
    home.next_callers(2)
    wait_for_checkpoint(first, "000002")
    first.stop()
    ended(first)
    assert first.state == "STOPPED"
    second = resumed(run_here, Run(first.dir))
    assert second.dir != first.dir
    assert_learned_the_same(second)
    assert [fact.step for fact in facts_of(second, facts.MetricReported)] == [3, 4]
    assert f"goes on from the last checkpoint of run {first.id}, in this new run." in second.view.notices
    assert (second.config["resumes"], second.config["repeats"]) == (first.id, None)
    assert (second.config["config"]["module"], second.config["fixed_hparams"]["lr"]) == ("Net", 0.1)
    assert (second.dir / "source.py").read_text() == (first.dir / "source.py").read_text()
    unbegun = Run(shutil.copytree(second.dir, second.dir.with_name("20260101-000000-cutt")))
    begin = (second.dir / "events.jsonl").read_text().partition("\n")[0]
    (unbegun.dir / "events.jsonl").write_text(f"{begin}\n")
    assert unbegun.trials == []
    assert checkpoint_of(unbegun, is_kept_call=True).read_bytes() == checkpoint_of(second).read_bytes()
    with pytest.raises(ConfigError, match=f"nothing of run {second.id} is missing: its training is complete"):
        resumed(run_here, second)
    again = run_here(RepeatedCall(second), config_of(second), detach=True)
    for caller in home.next_callers(2):
        caller.say()
    ended(again)
    assert again.view.notices == [
        f"repeats run {second.id} from its beginning, without the checkpoint of run {first.id} that it had."
    ]
    assert [fact.step for fact in facts_of(again, facts.MetricReported)] == list(range(5))


def test_a_failed_training_that_kept_no_checkpoint_says_how_to_begin_anew(run_here: Launch) -> None:
    def fails(reporter=None):  # type: ignore[no-untyped-def]
        raise ValueError("at once")

    first = run_here(fails, TorchDistributedConfig(workers=1))
    assert first.state == "FAILED"
    with pytest.raises(ConfigError, match=f"kept no checkpoint to go on from.* %lagom rerun {first.id} begins anew"):
        resumed(run_here, first)


def test_a_training_is_repeated_from_its_folder_on_as_many_workers(run_here: Launch) -> None:
    first = run_here(train, config())
    document = json.loads((first.dir / "run.json").read_text())
    document["config"]["workers"] = None  # as many as there were
    (first.dir / "run.json").write_text(json.dumps(document))
    again = run_here(RepeatedCall(first), config_of(first))
    assert again.dir != first.dir
    assert again.view.header is not None
    assert (again.view.header.kind, again.view.header.n_workers) == ("train", 2)
    assert_learned_the_same(again)
    assert again.trials[0].metrics == first.trials[0].metrics
    assert again.view.notices == [f"repeats run {first.id}."]
    with pytest.raises(ConfigError, match=f"is a training, which is one trial: %lagom rerun {first.id} repeats it"):
        repeated_trial(first, 0)
    with pytest.raises(ConfigError, match=f"in a new run: %lagom resume {first.id}, or run its cell"):
        inherited_options(first, set())


def test_a_training_of_before_functions_were_kept_needs_its_cell(run_here: Launch) -> None:
    first = run_here(train, config(workers=1))
    for file in (first.dir / "call").iterdir():
        file.unlink()
    (first.dir / "call").rmdir()
    with pytest.raises(
        StoreError, match=f"does not keep its function.*Run the function's cell with --resume {first.id}"
    ):
        run_here(RepeatedCall(first), config_of(first))


@pytest.mark.spark
def test_a_training_on_what_goes_with_its_run_is_not_kept(run_here: Launch, on_local_spark: SessionInfo) -> None:
    from pyspark.sql import SparkSession

    def reads(module, train_set):  # type: ignore[no-untyped-def]
        module()
        return {"n_rows": len(list(train_set))}

    frame = SparkSession.builder.getOrCreate().range(8)
    run = run_here(reads, TorchDistributedConfig(workers=1, module=Net, train_set=frame))
    assert run.result == {"n_rows": 8.0}, run.error
    assert not (run.dir / "call").exists()
    with pytest.raises(StoreError, match="does not keep its function"):
        run_here(RepeatedCall(run), config_of(run))


@pytest.mark.parametrize("made", [TorchDistributedConfig, TfDistributedConfig])
def test_the_framework_and_the_options_of_a_stored_training_are_those_that_it_had(
    run_here: Launch, made: type[TorchDistributedConfig] | type[TfDistributedConfig]
) -> None:
    def plain():  # type: ignore[no-untyped-def]
        return 1.0

    given = made(workers=1, mixed_precision=True, collective_timeout="90s", seed=4, retries=2, name="kept")
    run = run_here(plain, given, detach=True)
    ended(run)
    assert config_of(run) == given
    with pytest.raises(ConfigError, match="is of %%lagom train, which has no --trials: drop it"):
        config_of(run, {"num_trials": 9})
