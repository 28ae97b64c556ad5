import pytest
from magic_shell import Notebook, store_run
from store_runs import begun, complete_trial, run_on_disk

from lagom_magic.events.facts import RunEnded, RunState
from lagom_magic.store.layout import default_home


@pytest.mark.parametrize("ui", ["html", "text"])
def test_a_run_that_was_cut_off_is_shown_as_interrupted_with_how_to_go_on(
    notebook: Notebook, capsys: pytest.CaptureFixture[str], ui: str
) -> None:
    run = store_run(state=None)
    notebook.run(f"%lagom attach {run.id} --ui {ui}").raise_error()
    shown = capsys.readouterr().out
    assert f"digits {run.id} · failed · " in shown
    assert " STOPPED " in shown
    assert "! interrupted: its driver ended before the run did\n" in shown
    assert "running" not in shown.lower()
    assert shown.endswith(f"\n%lagom resume {run.id} goes on with what is missing\n")


def test_a_run_that_was_stopped_is_shown_with_how_to_go_on(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = [*begun(), *complete_trial(0, 0.5), RunEnded(RunState.STOPPED, "stopped by its user")]
    run = run_on_disk(default_home(), facts=facts)
    notebook.run("%lagom attach --ui text").raise_error()
    assert capsys.readouterr().out.endswith(f"\n%lagom resume {run.name} goes on with what is missing\n")


def test_a_complete_run_is_shown_and_nothing_more_is_said(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    run = store_run()
    notebook.run(f"%lagom attach {run.id} --ui text").raise_error()
    assert capsys.readouterr().out.endswith(f"run folder: {run.dir.relative_to(run.dir.parents[2])}\n")
