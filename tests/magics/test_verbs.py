import json
from dataclasses import replace

import pytest
from magic_shell import LiveStandIn, Notebook, store_run
from store_runs import begun, complete_trial, record, run_on_disk, store_in

from lagom_magic.events.facts import Fact, RunEnded, RunState
from lagom_magic.run import Run
from lagom_magic.store.layout import default_home
from lagom_magic.store.requests import Request
from lagom_magic.store.tags import change_notes


def said(notebook: Notebook, capsys: pytest.CaptureFixture[str], line: str) -> str:
    notebook.run(line).raise_error()
    return capsys.readouterr().out


def test_without_a_run_the_verbs_say_so(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    start = "start one with %%lagom hpo\n"
    assert said(notebook, capsys, "%lagom status") == f"no run is live, and none is stored yet; {start}"
    assert said(notebook, capsys, "%lagom runs") == f"no run is stored in ./lagom_runs yet; {start}"
    assert said(notebook, capsys, "%lagom stop") == "no run is live in this kernel: nothing to stop\n"
    assert notebook.error("%lagom best") == "UsageError: %lagom best: there is no run yet. Start one with %%lagom hpo."


def test_runs_lists_what_is_stored(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    done, stopped = store_run("digits"), store_run("iris", RunState.STOPPED)
    head, *rows = [line.split() for line in said(notebook, capsys, "%lagom runs").splitlines()]
    assert head == ["run", "experiment", "kind", "state", "started", "took", "trials", "best"]
    assert {row[0]: row[1:4] for row in rows} == {
        done.id: ["digits", "hpo", "COMPLETE"],
        stopped.id: ["iris", "hpo", "STOPPED"],
    }
    assert all(row[-2:] == ["accuracy", "0.7500"] for row in rows)


def test_runs_lists_the_newest_and_says_how_many_more_there_are(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(22):
        store_run("digits")
    head, *rows, more = said(notebook, capsys, "%lagom runs").splitlines()
    assert (head.split()[0], len(rows), more) == ("run", 20, "… and 2 older: %lagom runs --all")
    everything = said(notebook, capsys, "%lagom runs --all").splitlines()
    assert len(everything) == 23
    assert everything[1:21] == rows


def test_status_shows_the_live_run_and_otherwise_the_last(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = store_run()
    assert said(notebook, capsys, "%lagom status").startswith(
        f"no run is live. The last one:\nRun digits/{stored.id}: complete"
    )
    notebook.backend.live = Run(store_run("iris", state=None).dir, LiveStandIn())
    assert f"iris {notebook.backend.live.id}" in said(notebook, capsys, "%lagom status")


def test_status_says_that_the_last_run_goes_on_elsewhere_and_how_to_watch_it(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    with store_in(default_home()) as store:  # no driver of this notebook's
        record(store, begun())
        run = store.run_id
        assert said(notebook, capsys, "%lagom status").startswith(
            f"no run is live in this kernel. The last one goes on in another one, or in a script: "
            f"%lagom attach {run} watches it\nRun digits/{run}: running"
        )


@pytest.mark.parametrize("end", [[RunEnded(RunState.STOPPED, "stopped by its user")], []], ids=["stopped", "cut off"])
def test_a_run_that_was_stopped_or_cut_off_says_how_to_go_on(
    notebook: Notebook, capsys: pytest.CaptureFixture[str], end: list[Fact]
) -> None:
    run = run_on_disk(default_home(), facts=[*begun(), *complete_trial(0, 0.5), *end])
    hint = f"%lagom resume {run.name} goes on with what is missing"
    assert said(notebook, capsys, "%lagom status").splitlines()[-1] == hint
    assert said(notebook, capsys, "%lagom show").splitlines()[-1] == hint


def test_a_run_of_which_nothing_is_missing_is_not_to_be_gone_on_with(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = [fact for number in range(3) for fact in complete_trial(number, 0.5)]
    for state in (RunState.COMPLETE, RunState.STOPPED):
        run = run_on_disk(default_home(), facts=[*begun(), *trials, RunEnded(state)])
        assert "resume" not in said(notebook, capsys, f"%lagom show {run.name}")
    assert "resume" not in said(notebook, capsys, "%lagom status")
    with store_in(default_home()) as store:
        record(store, begun())
        assert "resume" not in said(notebook, capsys, f"%lagom show {store.run_id}")


def test_show_draws_a_run_that_its_last_letters_name(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    stored = store_run()
    shown = said(notebook, capsys, f"%lagom show {stored.id[-4:]}")
    assert f"digits {stored.id}" in shown
    assert f"run folder: {stored.dir}" in shown
    assert notebook.error("%lagom show 2019").startswith("StoreError: There is no run '2019'")


def test_show_says_what_people_noted_of_a_run(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    stored = store_run()
    assert "tags" not in said(notebook, capsys, "%lagom show")
    document = {**stored.config, "config": {"description": "a first\n\x1b[31mtry", "tags": ["team=vision"]}}
    (stored.dir / "run.json").write_text(json.dumps(document))
    change_notes(stored.dir, add=["keep"], note="a good one\nsee the wiki")
    assert said(notebook, capsys, "%lagom show").splitlines()[-4:] == [
        f"run folder: {stored.dir}",
        "description: a first try",
        "tags: team=vision, keep",
        "note: a good one see the wiki",
    ]


def test_show_says_what_trials_warn_of(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    warned = [replace(end, warnings=("it is\nodd",)) for end in complete_trial(0, 0.5)[1:]]
    run_on_disk(default_home(), facts=[*begun(), *complete_trial(0, 0.5)[:1], *warned, RunEnded(RunState.COMPLETE)])
    assert "\n! trial 0 warns: it is odd\n" in said(notebook, capsys, "%lagom show")


def test_best_shows_the_trial_and_its_hyperparameters(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    stored = store_run()
    expected = f"run digits/{stored.id} (COMPLETE): trial 0, accuracy 0.7500\n  lr  0.25\n"
    assert said(notebook, capsys, "%lagom best") == expected
    assert said(notebook, capsys, "%lagom best digits") == expected
    notebook.backend.live = Run(store_run("iris", state=None).dir, LiveStandIn())
    assert said(notebook, capsys, "%lagom best") == (
        f"run iris/{notebook.backend.live.id} (RUNNING): no complete trial with a metric\n"
    )


def test_stop_stops_the_live_run_in_order_or_now(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    driver = LiveStandIn()
    live = notebook.backend.live = Run(store_run(state=None).dir, driver)
    assert said(notebook, capsys, "%lagom stop") == f"stopping run {live.id}; finished trials are kept\n"
    said(notebook, capsys, f"%lagom stop {live.id} --now")
    assert driver.stops == ["in order", "now"]


def test_stop_refuses_a_run_that_has_ended(notebook: Notebook) -> None:
    other, driver = store_run("iris"), LiveStandIn()
    notebook.backend.live = Run(store_run(state=None).dir, driver)
    assert notebook.error("%lagom stop iris") == (
        f"UsageError: %lagom stop: run {other.id} has ended (COMPLETE): there is nothing to stop."
    )
    assert driver.stops == []


def test_a_run_of_another_kernel_is_stopped_and_steered_through_its_pipe(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    with store_in(default_home()) as store:  # no driver of this notebook's
        record(store, begun())
        run, pipe = store.layout.root.name, store.requests
        assert said(notebook, capsys, f"%lagom prune 3 {run}") == (
            f"trial 3 of run {run} ends at its next broadcast, if it is running\n"
        )
        assert said(notebook, capsys, f"%lagom retry 4 {run[-4:]}") == (
            f"trial 4 of run {run} runs again, if it has failed\n"
        )
        assert said(notebook, capsys, f"%lagom stop {run} --now") == f"stopping run {run}; finished trials are kept\n"
        assert pipe is not None
        assert pipe.read() == [Request("prune", 3), Request("retry", 4), Request("stop")]


def test_prune_and_retry_reach_the_live_run_of_this_kernel(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    driver = LiveStandIn()
    live = notebook.backend.live = Run(store_run(state=None).dir, driver)
    said(notebook, capsys, "%lagom prune 3")
    said(notebook, capsys, f"%lagom retry 0 {live.id}")
    assert driver.asked == [("prune", 3), ("retry", 0)]


def test_prune_and_retry_say_what_they_lack(notebook: Notebook) -> None:
    assert notebook.error("%lagom prune 7") == (
        "UsageError: %lagom prune: no run is live in this kernel. Name another's: %lagom prune 7 RUN."
    )
    assert notebook.error("%lagom retry best") == (
        "UsageError: %lagom retry: 'best' is no trial's number. Try %lagom retry 7."
    )
    ended = store_run()
    assert notebook.error(f"%lagom retry 0 {ended.id}") == (
        f"StoreError: run {ended.id} has ended: it is too late to retry trial 0."
    )


def test_spark_starts_a_session_and_shows_it(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(notebook, capsys, "%lagom spark") == (
        "no Spark session; %%lagom starts a local one when it needs it, or start yours: %lagom spark local[4]\n"
    )
    shown = said(notebook, capsys, "%lagom spark local[4] --conf spark.ui.enabled=True --conf a=b")
    assert shown == ("Spark 4.0.0 on local[4] {'spark.ui.enabled': 'true', 'a': 'b'}\nslots: 6   GPUs: 0\nUI: off\n")
    assert said(notebook, capsys, "%lagom spark") == shown
    assert notebook.error("%lagom spark --conf a=b") == (
        "UsageError: %lagom spark: --conf is for starting a session: name a master, such as local[4]."
    )


def test_config_shows_and_changes_settings(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(notebook, capsys, "%lagom config workers=2")
    assert [line.split()[:3] for line in shown.splitlines()][:4] == [
        ["setting", "value", "variable"],
        ["home", "./lagom_runs", "LAGOM_HOME"],
        ["ui", "auto", "LAGOM_UI"],
        ["workers", "2", "LAGOM_WORKERS"],
    ]


def test_show_takes_the_last_run_or_a_variable_that_holds_one(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    assert notebook.error("%lagom show") == (
        "UsageError: %lagom show: there is no run yet. Start one with %%lagom hpo."
    )
    stored = store_run("digits")
    assert f"digits {stored.id}" in said(notebook, capsys, "%lagom show")
    store_run("iris")
    notebook.shell.push({"mine": stored, "its_id": stored.id})
    assert f"digits {stored.id}" in said(notebook, capsys, "%lagom show mine")
    assert f"digits {stored.id}" in said(notebook, capsys, "%lagom show its_id")
