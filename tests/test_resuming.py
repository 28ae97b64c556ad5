"""Going on with runs, and running them and their trials again, with real trial processes and without Spark."""

from __future__ import annotations

import inspect
import json
import random
import shutil
import textwrap
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.errors import ConfigError, LagomError, RunError
from lagom_magic.events.facts import RunState, TrialState
from lagom_magic.experiment import launch
from lagom_magic.resuming import RepeatedCall, config_of, config_of_trial, repeated_trial
from lagom_magic.run import Run
from lagom_magic.spec.config import AblationConfig, BaseConfig, OptimizationConfig
from lagom_magic.spec.space import Float, Int
from lagom_magic.spec.study import Switch
from lagom_magic.store import call as calls
from lagom_magic.store.console_file import ConsoleReader
from lagom_magic.store.layout import RunLayout


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAGOM_HOME", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def called(what: Any, config: BaseConfig, resumed: Run | None = None) -> Run:
    """The run, also where it ended in an error."""
    try:
        return launch(what, config, ui="none", make_launcher=lambda kit, _, n: ProcessLauncher(kit, n), resumed=resumed)
    except RunError as error:
        return Run(error.run.dir)


def noisy(x: Float(0.0, 1.0), n: Int(1, 9) = 3, reporter=None):  # type: ignore[no-untyped-def]
    reporter.broadcast(x, step=0)
    return {"score": x + n + random.random()}


def search(n_trials: int, **options: Any) -> OptimizationConfig:
    return OptimizationConfig(num_trials=n_trials, workers=2, seed=5, pruner="none", **options)


def cut(run: Run, n_lines: int, tail: bytes = b"") -> Run:
    """The run as if its driver had been killed after so many lines of its journal."""
    journal = run.dir / "events.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:n_lines]) + tail)
    (run.dir / "result.json").unlink()
    return Run(run.dir)


def line_of(run: Run, kind: str, nth: int) -> int:
    """The number of the journal's line that holds the nth fact of a kind."""
    kinds = [json.loads(line)["type"] for line in (run.dir / "events.jsonl").read_text().splitlines()]
    return [number for number, found in enumerate(kinds, 1) if found == kind][nth - 1]


@pytest.mark.parametrize("sampler", ["random", "grid", "qmc", "tpe"])
def test_a_run_that_was_cut_off_ends_as_if_it_had_not_been(sampler: str) -> None:
    space = {"x": Float(0.0, 1.0, step=0.25), "n": Int(1, 3)}
    config = OptimizationConfig(
        num_trials=8, workers=1, seed=5, pruner="none", optimizer=sampler, searchspace=space, name="whole"
    )

    def plain(x, n):  # type: ignore[no-untyped-def]
        return {"score": x + n + random.random()}

    whole = called(plain, config)
    broken = called(plain, config)
    broken = cut(broken, line_of(broken, "trial_ended", 5), tail=b'{"seq":99,"ti')
    assert broken.state is RunState.FAILED
    resumed = called(RepeatedCall(broken), config_of(broken), broken)
    assert resumed.dir == broken.dir
    assert resumed.state is RunState.COMPLETE
    assert [trial.hparams for trial in resumed.trials] == [trial.hparams for trial in whole.trials]
    assert [trial.metric for trial in resumed.trials] == [trial.metric for trial in whole.trials]
    assert [trial.attempt for trial in resumed.trials[:5]] == [1] * 5


def test_only_what_is_missing_runs_again() -> None:
    run = called(noisy, search(6))
    before = {trial.id: trial.metric for trial in run.trials}
    run = cut(run, line_of(run, "trial_ended", 4))
    ended = {trial.id for trial in run.trials if trial.state is TrialState.COMPLETE}
    lines = len((run.dir / "events.jsonl").read_text().splitlines())
    resumed = called(RepeatedCall(run), config_of(run), run)
    assert {trial.id: trial.metric for trial in resumed.trials} == before
    new = [json.loads(line) for line in (run.dir / "events.jsonl").read_text().splitlines()[lines:]]
    again = [fact["trial_id"] for fact in new if fact["type"] == "trial_started"]
    assert sorted(again) == sorted(before.keys() - ended)
    assert [fact["seq"] for fact in new] == list(range(lines, lines + len(new)))
    assert json.loads((run.dir / "result.json").read_text())["counts"] == {"COMPLETE": 6}


def test_a_stopped_run_goes_on_with_the_cells_own_function() -> None:
    run = called(noisy, search(5))
    run = cut(run, line_of(run, "trial_ended", 2))

    def noisy_now(x: Float(0.0, 1.0), n: Int(1, 9) = 3, reporter=None):  # type: ignore[no-untyped-def]
        return {"score": 100.0}

    resumed = called(noisy_now, search(5, optimization_key=None), run)
    assert sorted(trial.metric or 0 for trial in resumed.trials)[2:] == [100.0] * 3
    assert "100.0" in (run.dir / "source.2.py").read_text()
    assert "noisy" in (run.dir / "source.py").read_text()


def test_a_finished_run_is_extended() -> None:
    long = called(noisy, search(9))
    short = called(noisy, search(4))
    longer = called(RepeatedCall(short), config_of(short, {"num_trials": 9}), short)
    assert [trial.metric for trial in longer.trials] == [trial.metric for trial in long.trials]
    assert [trial.attempt for trial in longer.trials] == [1] * 9
    assert longer.view.n_trials == 9
    assert longer.best == Run(longer.dir).best


def test_an_ablation_goes_on_with_the_same_repeats() -> None:
    def switched(augment: Switch() = True):  # type: ignore[no-untyped-def]
        return {"score": random.random() + augment}

    config = AblationConfig(repeats=3, workers=1, optimization_key="score")
    whole = called(switched, config)
    broken = called(switched, config)
    broken = cut(broken, line_of(broken, "trial_started", 4))
    resumed = called(RepeatedCall(broken), config_of(broken), broken)
    assert [trial.hparams for trial in resumed.trials] == [trial.hparams for trial in whole.trials]
    assert [trial.metric for trial in resumed.trials] == [trial.metric for trial in whole.trials]


def test_nothing_missing_is_told_with_how_to_go_on() -> None:
    run = called(noisy, search(3))
    with pytest.raises(ConfigError, match=r"3 of 3 trials have ended. --trials 6 goes on with more"):
        called(RepeatedCall(run), config_of(run), run)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"seed": 6}, "the seed was 5 and is 6"),
        ({"optimizer": "tpe"}, "the sampler was 'random' and is 'tpe'"),
        ({"direction": "min"}, "the direction was 'max' and is 'min'"),
        (
            {"searchspace": {"x": Float(0.0, 2.0), "n": Int(1, 9)}},
            "the search space differs: x: Float(0, 1) → Float(0, 2). Leave that",
        ),
        (
            {"searchspace": {"x": Float(0.0, 1.0, step=0.5), "n": Int(1, 9, when={"x": 1.0})}},
            "differs: x: Float(0, 1) → Float(0, 1, step=0.5), n: Int(1, 9) → Int(1, 9) when {'x': 1.0}",
        ),
        (
            {"searchspace": {"x": Float(0.0, 1.0000001), "n": Int(1, 9)}},
            "x: Float(when=None, low=0.0, high=1.0, log=False, step=None) → Float(when=None, low=0.0, high=1.0000001, ",
        ),
        ({"hparams": {"n": 4}}, "the search space differs: n: Int(1, 9) → not searched. Leave that"),
    ],
)
def test_another_search_is_no_continuation(options: dict[str, Any], what: str) -> None:
    run = called(noisy, search(3))

    def plain(x, n=3, reporter=None):  # type: ignore[no-untyped-def]
        return x

    settings: dict[str, Any] = {"searchspace": {"x": Float(0.0, 1.0), "n": Int(1, 9)}, **options}
    config = OptimizationConfig(**{"num_trials": 6, "workers": 2, "seed": 5, "pruner": "none", **settings})
    with pytest.raises(ConfigError, match="cannot go on with another search") as raised:
        called(plain, config, run)
    assert what in str(raised.value)
    assert Run(run.dir).state is RunState.COMPLETE


def test_other_values_of_what_is_fixed_are_no_continuation() -> None:
    def scaled(x: Float(0.0, 1.0), scale, shift=0):  # type: ignore[no-untyped-def]
        return x * scale

    run = called(scaled, search(2, hparams={"scale": 2}))
    with pytest.raises(ConfigError, match=r"what is fixed differs: scale: 2 → 3, shift: not fixed → 1\. Leave that"):
        called(scaled, search(4, hparams={"scale": 3, "shift": 1}), run)


def test_fewer_trials_than_a_run_has_are_told_to_be_the_number_in_all() -> None:
    run = called(noisy, search(3))
    with pytest.raises(ConfigError) as raised:
        called(RepeatedCall(run), config_of(run, {"num_trials": 2}), run)
    assert str(raised.value) == (
        f"run {run.id} has 3 trials already, and --trials is the number in all, which makes 2. "
        "--trials 6 goes on with more."
    )


def test_fewer_repeats_than_an_ablation_has_are_told_to_be_the_number_in_all() -> None:
    def switched(augment: Switch() = True):  # type: ignore[no-untyped-def]
        return {"score": float(augment)}

    run = called(switched, AblationConfig(repeats=3, workers=1, optimization_key="score"))
    for repeats, message in (
        (1, "has 6 trials already, and --repeats is the number in all, which makes 2. --repeats 6 goes on with more."),
        (3, "is missing: 6 of 6 trials have ended. --repeats 6 goes on with more."),
    ):
        with pytest.raises(ConfigError) as raised:
            called(RepeatedCall(run), config_of(run, {"repeats": repeats}), run)
        assert str(raised.value).endswith(message)


def test_more_repeats_than_trials_may_run_tell_what_is_in_the_way() -> None:
    run = called(leaves_out, AblationConfig(repeats=1, num_trials=2, workers=1, optimization_key="score"))
    assert run.view.notices == ["the ablation has 3 trials, and 2 of them run; --trials 3 runs all."]
    with pytest.raises(ConfigError) as raised:
        called(RepeatedCall(run), config_of(run, {"repeats": 5}), run)
    assert str(raised.value).endswith(
        "2 of 2 trials have ended. --trials 2 is all that may run; a larger one goes on with more."
    )


def test_a_trial_is_repeated_with_its_seed_and_gives_the_same_metric() -> None:
    run = called(noisy, search(4))
    for trial in run.trials[1:3]:
        again = called(repeated_trial(run, trial.id), config_of_trial(run))
        assert again.dir != run.dir
        assert again.trials[0].hparams == trial.hparams
        assert again.trials[0].metric == trial.metric
        suggestion = {"hparams": trial.hparams, "budget": None, "seed_id": trial.id}
        assert again.config["repeats"] == {"run_id": run.id, "trial_id": trial.id, "suggestion": suggestion}


def leaves_out(x: Switch(0.0) = 0.3, y: Switch(0.0) = 0.5):  # type: ignore[no-untyped-def]
    return {"score": x + y + random.random()}


def forget_what_it_repeats(run: Run) -> None:
    """As runs were stored before they kept what their trial was suggested."""
    document = json.loads((run.dir / "run.json").read_text())
    document["repeats"].pop("suggestion")
    (run.dir / "run.json").write_text(json.dumps(document))


@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize("function", [noisy, leaves_out])
def test_the_repetition_of_a_trial_is_repeated_with_its_hyperparameters_and_seed(
    function: Any, *, is_old: bool
) -> None:
    ablation = AblationConfig(repeats=3, workers=1, seed=5, optimization_key="score")
    run = called(function, search(4) if function is noisy else ablation)
    trial = run.trials[2]
    first = called(repeated_trial(run, trial.id), config_of_trial(run))
    if is_old:
        forget_what_it_repeats(first)
    whole = called(RepeatedCall(Run(first.dir)), config_of(first))
    one = called(repeated_trial(Run(first.dir), 0), config_of_trial(first))
    third = called(RepeatedCall(whole), config_of(whole))
    for again in (first, whole, one, third):
        assert (again.trials[0].hparams, again.trials[0].metric) == (trial.hparams, trial.metric)


@pytest.mark.parametrize("n_lines", [0, 1, 2, 4])
def test_the_repetition_of_a_trial_that_was_cut_off_goes_on(n_lines: int) -> None:
    run = called(noisy, search(3, hparams={"n": 4}))
    again = called(repeated_trial(run, 1), config_of_trial(run))
    cut(again, n_lines)
    resumed = called(RepeatedCall(Run(again.dir)), config_of(Run(again.dir)), Run(again.dir))
    assert [trial.metric for trial in resumed.trials] == [run.trials[1].metric]
    assert resumed.state is RunState.COMPLETE
    assert not [text for text in resumed.view.notices if "source" in text]


def test_a_whole_run_is_repeated_from_its_folder() -> None:
    run = called(noisy, search(3))
    again = called(RepeatedCall(run), config_of(run))
    assert again.dir != run.dir
    assert [trial.metric for trial in again.trials] == [trial.metric for trial in run.trials]
    assert (again.dir / "source.py").read_text() == (run.dir / "source.py").read_text()


def test_a_trial_that_never_was_cannot_be_repeated() -> None:
    run = called(noisy, search(2))
    with pytest.raises(ConfigError, match=r"has no trial 7 that was started; it has 0 to 1"):
        repeated_trial(run, 7)


def test_a_run_without_its_function_says_how_to_go_on() -> None:
    run = called(noisy, search(3))
    shutil.rmtree(run.dir / "call")
    with pytest.raises(LagomError, match=f"Run the function's cell with --resume {run.id}"):
        called(RepeatedCall(run), config_of(run, {"num_trials": 6}), run)
    assert Run(run.dir).state is RunState.COMPLETE
    resumed = called(noisy, search(6), run)
    assert len(resumed.trials) == 6


def test_a_function_too_big_to_keep_leaves_no_older_one_to_go_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    def mended(x: Float(0.0, 1.0), n: Int(1, 9) = 3, reporter=None):  # type: ignore[no-untyped-def]
        return {"score": 100.0}

    run = called(noisy, search(3))
    monkeypatch.setattr(calls, "MAX_PAYLOAD_BYTES", 10)
    run = called(mended, search(4), run)
    assert any("does not keep" in notice for notice in run.view.notices)
    with pytest.raises(LagomError, match=f"Run the function's cell with --resume {run.id}"):
        called(RepeatedCall(run), config_of(run, {"num_trials": 6}), run)


@pytest.mark.parametrize("is_repeated", [True, False], ids=["rerun", "resume"])
def test_a_run_whose_source_is_lost_goes_on_without_it(is_repeated: bool) -> None:
    run = called(noisy, search(3))
    (run.dir / "source.py").unlink()
    again = called(RepeatedCall(run), config_of(run, {"num_trials": 4}), None if is_repeated else run)
    assert [trial.state for trial in again.trials] == [TrialState.COMPLETE] * 4
    assert not (run.dir / "source.py").exists()
    if is_repeated:
        assert (again.dir / "source.py").read_text() == "# the source of noisy is not known\n"


def test_the_source_of_a_run_is_that_of_the_function_that_it_keeps() -> None:
    def mended(x: Float(0.0, 1.0), n: Int(1, 9) = 3, reporter=None):  # type: ignore[no-untyped-def]
        return {"score": 100.0}

    run = called(noisy, search(1))
    for n_trials, function, newest in (
        (2, mended, "source.2.py"),
        (3, mended, "source.2.py"),
        (4, noisy, "source.3.py"),
    ):
        run = called(function, search(n_trials), run)
        kept = RunLayout(run.dir).newest_source
        assert (kept.name, kept.read_text()) == (newest, textwrap.dedent(inspect.getsource(function)))
        again = called(RepeatedCall(run), config_of(run, {"num_trials": 1}))
        assert (again.dir / "source.py").read_text() == kept.read_text()
        assert (again.trials[0].metric == 100.0) == (function is mended)


def test_a_failed_trial_stays_failed_and_a_stopped_one_runs_again() -> None:
    def fails_once(x: Float(0.0, 1.0)):  # type: ignore[no-untyped-def]
        if x > 0.5:
            raise ValueError("too big")
        return x

    run = called(fails_once, search(6))
    states = [trial.state for trial in run.trials]
    assert TrialState.FAILED in states
    assert TrialState.COMPLETE in states
    run = cut(run, line_of(run, "trial_ended", 4))
    resumed = called(RepeatedCall(run), config_of(run), run)
    assert [trial.state for trial in resumed.trials] == states


@pytest.mark.parametrize("pause_s", [3600.0, -3600.0], ids=["an hour", "the clock set back"])
def test_the_elapsed_time_leaves_out_the_pause(pause_s: float) -> None:
    run = called(noisy, search(3))
    run = cut(run, line_of(run, "trial_ended", 2))
    journal = run.dir / "events.jsonl"
    facts = [json.loads(line) for line in journal.read_text().splitlines()]
    for fact in facts:
        fact["time"] -= pause_s
    before_s = facts[-1]["time"] - facts[0]["time"]
    journal.write_text("".join(json.dumps(fact) + "\n" for fact in facts))
    resumed = called(RepeatedCall(Run(run.dir)), config_of(run), Run(run.dir))
    assert before_s < json.loads((resumed.dir / "result.json").read_text())["duration_s"] < before_s + 60


def test_an_extension_is_remembered_by_the_next_resume() -> None:
    short = called(noisy, search(4))
    longer = called(RepeatedCall(short), config_of(short, {"num_trials": 8}), short)
    longer = cut(longer, line_of(longer, "trial_ended", 6))
    resumed = called(RepeatedCall(longer), config_of(longer), longer)
    assert [trial.state for trial in resumed.trials] == [TrialState.COMPLETE] * 8


def test_a_mended_function_is_the_one_that_is_gone_on_with() -> None:
    run = called(noisy, search(6))
    run = cut(run, line_of(run, "trial_ended", 2))

    def mended(x: Float(0.0, 1.0), n: Int(1, 9) = 3, reporter=None):  # type: ignore[no-untyped-def]
        return {"score": 100.0}

    run = called(mended, search(6), run)
    told = "the source is not that of the trials before (source.py): the table holds numbers of both."
    assert run.view.notices[-1] == told
    run = cut(run, line_of(run, "trial_ended", 4))
    resumed = called(RepeatedCall(run), config_of(run), run)
    assert sorted(trial.metric or 0 for trial in resumed.trials)[2:] == [100.0] * 4


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_an_unseeded_search_is_resumed_with_what_it_had(sampler: str) -> None:
    config = OptimizationConfig(num_trials=5, workers=1, seed=None, pruner="none", optimizer=sampler)
    run = called(noisy, config)
    before = [trial.hparams for trial in run.trials]
    run = cut(run, line_of(run, "trial_ended", 3))
    n_began = len(run.trials)
    resumed = called(RepeatedCall(run), config_of(run), run)
    assert [trial.hparams for trial in resumed.trials[:n_began]] == before[:n_began]
    assert len(resumed.trials) == 5


def test_an_ablation_that_leaves_out_something_else_is_no_continuation() -> None:
    def first(decay: Switch(0.0) = 0.3):  # type: ignore[no-untyped-def]
        return {"score": decay}

    def other(decay: Switch(0.25) = 0.3):  # type: ignore[no-untyped-def]
        return {"score": decay}

    run = called(first, AblationConfig(repeats=2, workers=1, optimization_key="score"))
    with pytest.raises(ConfigError, match=r"another ablation: decay leave out something else"):
        called(other, AblationConfig(repeats=4, workers=1, optimization_key="score"), run)


def test_files_that_did_not_arrive_before_the_cut_are_told() -> None:
    def writes(x: Float(0.0, 1.0)):  # type: ignore[no-untyped-def]
        with open("notes.txt", "w") as file:
            file.write("text")
        return {"score": x, "notes": "notes.txt"}

    run = called(writes, search(3, optimization_key="score"))
    run = cut(run, line_of(run, "trial_ended", 2))
    resumed = called(RepeatedCall(run), config_of(run), run)
    (notice,) = [text for text in resumed.view.notices if "did not arrive" in text]
    assert "artifacts/notes.txt of trial" in notice


def test_a_kept_function_reads_beside_its_own_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reads():  # type: ignore[no-untyped-def]
        with open("data.txt") as file:
            return {"score": float(file.read())}

    (tmp_path / "data.txt").write_text("7")
    run = called(reads, BaseConfig())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    again = called(RepeatedCall(run), config_of(run))
    assert again.trials[0].metric == 7.0


def test_a_resume_that_cannot_write_leaves_the_run_as_it_was() -> None:
    def mended(x: Float(0.0, 1.0), n: Int(1, 9) = 3, reporter=None):  # type: ignore[no-untyped-def]
        return {"score": 100.0}

    run = called(noisy, search(3))
    before = json.loads((run.dir / "result.json").read_text())
    (run.dir / "source.2.py").mkdir()
    with pytest.raises(LagomError, match="Cannot go on in the run folder"):
        called(mended, search(5), run)
    assert not Run(run.dir).is_alive
    assert json.loads((run.dir / "result.json").read_text())["counts"] == before["counts"]
    (run.dir / "source.2.py").rmdir()
    assert len(called(RepeatedCall(run), config_of(run, {"num_trials": 5}), run).trials) == 5


def points(run: Run, trial: str) -> list[tuple[int, float]]:
    """What TensorBoard draws of a trial's score."""
    events = EventAccumulator(str(run.dir / "tensorboard" / trial)).Reload()
    return [(event.step, event.value) for event in events.Scalars("score")]


def event_file(run: Run, trial: str) -> Path:
    (path,) = (run.dir / "tensorboard" / trial).glob("*.lagom")
    return path


@pytest.mark.parametrize("left", ["nothing", "half a file", "no end", "all"])
def test_what_a_killed_driver_had_not_written_of_ended_trials_is_made_up(left: str) -> None:
    def broadcasts(x: Float(0.0, 1.0), reporter=None):  # type: ignore[no-untyped-def]
        for step in range(3):
            reporter.broadcast({"score": x + step}, step=step)
        return {"score": x + 10}

    config = OptimizationConfig(num_trials=3, workers=1, seed=5, pruner="none", optimization_key="score")
    run = called(broadcasts, config)
    expected, document = points(run, "0001"), (run.dir / "trials/0001/trial.json").read_text()
    run = cut(run, line_of(run, "trial_ended", 2))
    shutil.rmtree(run.dir / "tensorboard/0002")
    path = event_file(run, "0001")
    whole = path.read_bytes()
    path.write_bytes({"half a file": whole[: len(whole) // 2], "no end": whole[:-40]}.get(left, whole))
    if left != "all":
        (run.dir / "trials/0001/trial.json").unlink()
    if left == "nothing":
        path.unlink()
    untouched = event_file(run, "0000").stat().st_mtime_ns
    resumed = called(RepeatedCall(run), config_of(run), run)
    assert (run.dir / "trials/0001/trial.json").read_text() == document
    assert points(resumed, "0001") == expected
    assert event_file(resumed, "0001").read_bytes() == whole
    assert event_file(resumed, "0000").stat().st_mtime_ns == untouched
    assert len(points(resumed, "0002")) == len(expected)


def test_a_run_that_was_killed_after_its_last_trial_is_brought_to_its_end() -> None:
    run = called(noisy, search(3))
    before = {trial.id: trial.metric for trial in run.trials}
    run = cut(run, line_of(run, "trial_ended", 3))
    (run.dir / "trials/0002/trial.json").unlink()
    event_file(run, "0002").unlink()
    assert run.state is RunState.FAILED
    resumed = called(RepeatedCall(run), config_of(run), run)
    assert resumed.state is RunState.COMPLETE
    assert {trial.id: trial.metric for trial in resumed.trials} == before
    assert json.loads((run.dir / "result.json").read_text())["counts"] == {"COMPLETE": 3}
    assert (run.dir / "trials/0002/trial.json").is_file()
    assert len(points(resumed, "0002")) == 1
    with pytest.raises(ConfigError, match="3 of 3 trials have ended"):
        called(RepeatedCall(resumed), config_of(resumed), resumed)


def test_a_trial_of_an_isolated_run_is_repeated_isolated() -> None:
    def has_template(x: Float(0.0, 1.0)):  # type: ignore[no-untyped-def]
        import os
        from pathlib import Path

        parent = Path(f"/proc/{os.getppid()}")
        family = [
            parent,
            *(Path("/proc", pid) for pid in (parent / f"task/{parent.name}/children").read_text().split()),
        ]
        return {"score": float(any(b"lagom_magic.worker.template" in (p / "cmdline").read_bytes() for p in family))}

    for isolate in (True, False):
        run = called(has_template, search(2, isolate=isolate))
        assert [trial.metric for trial in run.trials] == [isolate] * 2
        again = called(repeated_trial(run, 1), config_of_trial(run))
        assert again.trials[0].metric == isolate
        assert called(RepeatedCall(again), config_of(again)).trials[0].metric == isolate


def test_an_ablation_whose_switch_has_another_value_when_on_is_no_continuation() -> None:
    def first(decay: Switch(0.0) = 0.3, augment: Switch() = True):  # type: ignore[no-untyped-def]
        return {"score": decay}

    def other(decay: Switch(0.0) = 0.5, augment: Switch() = True):  # type: ignore[no-untyped-def]
        return {"score": decay}

    config = AblationConfig(repeats=1, workers=1, optimization_key="score")
    run = called(first, config)
    more = AblationConfig(repeats=2, workers=1, optimization_key="score")
    with pytest.raises(ConfigError, match=r"another ablation: the switch decay was 0\.3 .* and is 0\.5"):
        called(other, more, run)
    document = json.loads((run.dir / "run.json").read_text())
    for left_out in document["components"].values():  # as runs were stored that did not say it
        left_out.pop("on", None)
    (run.dir / "run.json").write_text(json.dumps(document))
    assert len(called(first, more, Run(run.dir)).trials) == 6


def test_lines_of_the_earlier_session_are_not_printed_again(capsys: pytest.CaptureFixture[str]) -> None:
    def talks(x: Float(0.0, 1.0), trial=None):  # type: ignore[no-untyped-def]
        print(f"this is trial {trial.id}")
        return {"score": x}

    run = called(talks, search(2))
    before = (run.dir / "console.log").read_text()
    launch(
        RepeatedCall(run),
        config_of(run, {"num_trials": 3}),
        ui="text",
        make_launcher=lambda kit, _, n: ProcessLauncher(kit, n),
        resumed=run,
    )
    printed = capsys.readouterr().out
    (line,) = [line for line in printed.splitlines() if "this is trial" in line]
    assert line.endswith(" t2] this is trial 2")
    assert (run.dir / "console.log").read_text() == f"{before}{line}\n"


@pytest.mark.parametrize("parts", [[], ["console.log"], ["console.1.log"], ["console.1.log", "console.log"]], ids=str)
def test_a_reader_of_new_lines_passes_over_all_parts_of_the_console(tmp_path: Path, parts: list[str]) -> None:
    for part in parts:
        (tmp_path / part).write_text("old\n")
    reader = ConsoleReader(tmp_path)
    reader.skip()
    with open(tmp_path / "console.log", "a") as file:
        file.write("new\n")
    assert reader.read_new(1 << 20) == "new\n"
    reader.close()
