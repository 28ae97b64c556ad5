"""From a function to a run that has begun: what a person is told before, and what is left where that fails."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from stumbling import interrupted_at

from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.cluster.session import SessionInfo
from lagom_magic.events.facts import RunState
from lagom_magic.experiment import launch
from lagom_magic.launching import Launching, _few_slots, _no_gang
from lagom_magic.run import Run
from lagom_magic.spec.config import OptimizationConfig
from lagom_magic.spec.space import Float
from lagom_magic.store.journal import is_being_written


@pytest.mark.parametrize(
    ("is_ours", "of_gpus", "what"),
    [
        (
            True,
            False,
            "local[4] has 2, as 2 more are kept for the notebook's other cells: use --workers 2, or restart the "
            "kernel: Spark starts with as many slots as its first run asks for.",
        ),
        (False, False, "local[4] has no more slots than 2: use --workers 2, or a session with more cores."),
        (
            True,
            True,
            "local[4] has no more slots for that share of GPUs than 2: use --workers 2, or a session with more GPUs.",
        ),
    ],
)
def test_too_few_slots_for_a_training_are_told_with_all_numbers(is_ours: bool, of_gpus: bool, what: str) -> None:
    text = _no_gang(local_4(is_ours=is_ours), 2, 3, of_gpus)
    assert text == f"a training on 3 workers needs 3 slots at once, and {what}"


def test_a_search_goes_on_with_the_slots_that_there_are_and_says_so() -> None:
    assert _few_slots(local_4(is_ours=False), 2, 3, of_gpus=False) == (
        "running on 2 of 3 workers: local[4] has no more slots than 2 (use --workers 2, or a session with more cores)."
    )


def local_4(*, is_ours: bool) -> SessionInfo:
    return SessionInfo(cast(Any, None), "4.0.0", "local[4]", 2, 0, "", is_ours)


def plain(x: Float(0.0, 1.0)):  # type: ignore[no-untyped-def]
    return {"score": x}


def mended(x: Float(0.0, 1.0)):  # type: ignore[no-untyped-def]
    return {"score": x + 100.0}


def search(n_trials: int) -> OptimizationConfig:
    return OptimizationConfig(num_trials=n_trials, workers=1, seed=5, pruner="none", name="plain")


def launching(function: Any, config: OptimizationConfig, resumed: Run | None = None) -> Launching:
    """One that is to be started."""
    made = Launching(function, config, "", Path.cwd(), lambda kit, _, n: ProcessLauncher(kit, n), resumed)
    made.open_cluster("text")
    return made


@pytest.mark.parametrize("is_resumed", [True, False], ids=["resumed", "new"])
def test_a_start_that_is_interrupted_at_any_step_leaves_the_run_free(
    is_resumed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAGOM_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)  # in a repository git takes its time
    resumed = None
    if is_resumed:
        resumed = launch(plain, search(2), ui="none", make_launcher=lambda kit, _, n: ProcessLauncher(kit, n))
    for nth in count(1):
        begun = launching(mended, search(3), resumed)
        try:
            with interrupted_at(nth, "launching.py") as called:
                run = begun.start()
        except KeyboardInterrupt:
            assert [str(path) for path in tmp_path.glob("plain/*") if is_being_written(path)] == [], called
        else:
            break
    assert nth > 20
    assert run.wait(60)
    assert (run.state, len(run.trials)) == (RunState.COMPLETE, 3)
