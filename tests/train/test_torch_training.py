"""`%%lagom train` with PyTorch: a function that knows nothing of other workers learns what it learns alone."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from calling_home import Home
from masters import ended, facts_of
from small_training import Net, assert_learned_the_same, config, train, wait_for_checkpoint

from lagom_magic.events import facts
from lagom_magic.run import Run

Launch = Callable[..., Run]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_workers_learn_what_one_process_learns(run_here: Launch, strategy: str) -> None:
    run = run_here(train, config(strategy=strategy))
    assert_learned_the_same(run)
    [trial] = run.trials
    assert trial.metrics.keys() == {"loss", "metric"}
    assert run.result["loss"] == trial.metrics["loss"]
    [started] = facts_of(run, facts.TrialStarted)
    assert started.world_size == 2
    assert [fact.step for fact in facts_of(run, facts.MetricReported)] == list(range(5))
    assert isinstance(run.load_model(Net), Net)


def test_each_rank_prints_under_its_own_name_and_into_a_log_of_its_own(run_here: Launch) -> None:
    run = run_here(train, config())
    console = (run.dir / "console.log").read_text().splitlines()
    for rank in (0, 1):
        assert [line for line in console if line.startswith(f"[r{rank}] ")] == [
            f"[r{rank}] epoch {i}" for i in range(5)
        ]
    expected = "".join(f"epoch {epoch}\n" for epoch in range(5))
    assert (run.trials[0].dir / "output.log").read_text() == expected
    assert (run.trials[0].dir / "output.r1.log").read_text() == expected


def test_a_rank_that_raises_stops_all_within_two_seconds_and_its_own_traceback_is_shown(
    run_here: Launch, home: Home
) -> None:
    run = run_here(train, config(hparams={"port": home.port, "trouble": "raises"}), detach=True)
    caller = home.next_caller()
    caller.say()
    begun = time.monotonic()
    ended(run)
    assert time.monotonic() - begun < 2
    assert run.state == "FAILED"
    error = run.trials[0].error
    assert error is not None
    assert error.kind == "ValueError"
    assert error.message.startswith("rank 1 (worker 2 on ")
    assert error.message.endswith("): a bad batch")
    assert 'raise ValueError("a bad batch")' in error.traceback
    assert run.error is not None
    assert "a bad batch" in run.error


def test_a_rank_that_is_killed_is_named(run_here: Launch, home: Home) -> None:
    run = run_here(train, config(hparams={"port": home.port}), detach=True)
    callers = {caller.facts["rank"]: caller for caller in home.next_callers(2)}
    callers[1].process.kill()
    callers[0].say()
    ended(run)
    error = run.trials[0].error
    assert error is not None
    assert error.kind == "SIGKILL"
    assert error.message.startswith("rank 1 (worker 2 on ")


def test_a_rank_that_hangs_ends_the_training_at_the_collective_timeout_and_is_named(run_here: Launch) -> None:
    run = run_here(train, config(hparams={"trouble": "hangs"}, collective_timeout=3))
    assert run.state == "FAILED"
    error = run.trials[0].error
    assert error is not None
    assert error.message.startswith("no word of rank 1 (worker 2 on ")


def test_a_training_that_fails_goes_on_from_its_last_checkpoint(run_here: Launch) -> None:
    run = run_here(train, config(hparams={"trouble": "raises"}, retries=1))
    [requeued] = facts_of(run, facts.TrialRequeued)
    assert requeued.attempt == 2
    second = [fact for fact in facts_of(run, facts.MetricReported) if fact.attempt == 2]
    assert [fact.step for fact in second] in ([3, 4], [2, 3, 4])
    assert_learned_the_same(run)


def test_a_lost_worker_costs_one_attempt_which_goes_on_from_the_last_checkpoint(run_here: Launch, home: Home) -> None:
    run = run_here(train, config(hparams={"port": home.port}), detach=True)
    callers = {caller.facts["rank"]: caller for caller in home.next_callers(2)}
    callers[1].supervisor.kill()
    callers[0].say()
    ended(run)
    assert_learned_the_same(run)
    assert run.trials[0].attempt == 2


def test_a_stopped_training_is_resumed_from_its_checkpoint(run_here: Launch, home: Home) -> None:
    first = run_here(train, config(hparams={"port": home.port}), detach=True)
    for caller in home.next_callers(2):
        assert caller.facts["attempt"] == 1
    first.stop()
    ended(first)
    assert first.state == "STOPPED"
    second = run_here(train, config(), resumed=first)
    assert_learned_the_same(second)
    assert [fact.step for fact in facts_of(second, facts.MetricReported)] in ([3, 4], [2, 3, 4])


def test_a_complete_training_is_resumed_with_a_hint_that_nothing_may_be_left_to_do(run_here: Launch) -> None:
    first = run_here(train, config(workers=1))
    second = run_here(train, config(workers=1), resumed=first)
    assert second.view.notices == [
        f"going on from the checkpoint of run {first.id}, which is complete: there may be nothing left to do. "
        "Give more epochs."
    ]


def test_a_training_without_the_metric_that_was_named_fails_and_keeps_its_model(run_here: Launch) -> None:
    run = run_here(train, config(workers=1, optimization_key="acuracy", retries=1))
    assert run.state == "FAILED"
    assert run.error == "trial 0: the metric 'acuracy' is not among what it returned: loss."
    assert run.trials[0].attempt == 1
    assert isinstance(run.load_model(Net), Net)


def test_one_slot_too_few_is_told_with_both_numbers_in_time(run_here: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGOM_START_TIMEOUT", "4")
    begun = time.monotonic()
    run = run_here(train, config(workers=2), n_slots=1)
    assert time.monotonic() - begun < 15
    assert run.state == "FAILED"
    assert run.error is not None
    assert run.error.startswith("1 of the 2 workers that train together came within 4 s.")


def test_one_worker_alone_trains_too(run_here: Launch) -> None:
    assert_learned_the_same(run_here(train, config(workers=1)))


def test_a_model_that_a_function_distributes_by_itself_and_returns_is_kept(run_here: Launch) -> None:
    def by_itself(module, trial):
        import torch.distributed as dist

        dist.init_process_group("gloo")
        model = module()
        with open(f"shard{trial.rank}.txt", "w") as file:
            file.write("of this rank")
        dist.destroy_process_group()
        return {"loss": 1.0, "model": model}

    run = run_here(by_itself, config(train_set=None, strategy="fsdp"))
    assert run.state == "COMPLETE", run.error
    [warning] = run.trials[0].warnings
    assert warning.startswith("--strategy had no effect: the function distributes by itself")
    assert isinstance(run.load_model(Net), Net)
    files = run.trials[0].dir / "files"
    assert [path.relative_to(files).as_posix() for path in sorted(files.rglob("*.txt"))] == [
        "rank1/shard1.txt",
        "shard0.txt",
    ]


def test_a_checkpoint_that_does_not_come_is_an_error_and_no_training_from_the_beginning(
    run_here: Launch, home: Home
) -> None:
    run = run_here(train, config(hparams={"port": home.port}, retries=1), detach=True)
    callers = {caller.facts["rank"]: caller for caller in home.next_callers(2)}
    wait_for_checkpoint(run, "000003")
    for path in (run.trials[0].dir / "checkpoint").iterdir():
        path.unlink()
    callers[1].process.kill()
    callers[0].say()
    ended(run)
    error = run.trials[0].error
    assert run.trials[0].attempt == 2
    assert error is not None
    assert error.kind == "CHECKPOINT"
    assert "The checkpoint to go on from did not come: No such file or directory" in error.message
