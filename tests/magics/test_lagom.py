import json
import re

import pytest
from magic_shell import LiveStandIn, Notebook, store_run

from lagom_magic.cluster.references import cell_sources
from lagom_magic.errors import RunFailed, RunStopped
from lagom_magic.resuming import RepeatedCall
from lagom_magic.run import Run
from lagom_magic.search.base import Suggestion
from lagom_magic.spec.config import BaseConfig, OptimizationConfig
from lagom_magic.spec.space import Float, Searchspace

TRAIN = """
from lagom_magic import Float

def train(lr: Float(0, 1) = 0.5, reporter=None):
    return lr * 2
"""


def test_a_cell_is_run_and_its_function_searched(notebook: Notebook) -> None:
    launch = notebook.launched("%%lagom hpo --trials 3 --maximize accuracy" + TRAIN)
    assert isinstance(launch.config, OptimizationConfig)
    assert (launch.config.num_trials, launch.config.metric, launch.config.direction) == (3, "accuracy", "max")
    assert launch.train_fn is notebook["train"]
    assert (launch.detach, launch.ui) == (False, "auto")
    assert launch.source == TRAIN.lstrip("\n")
    assert notebook["train"](lr=2) == 4


def test_run_is_one_tracked_call(notebook: Notebook) -> None:
    assert type(notebook.launched("%%lagom run --minimize loss" + TRAIN).config) is BaseConfig


def test_a_line_uses_a_function_that_is_there(notebook: Notebook) -> None:
    notebook.run(TRAIN)
    launch = notebook.launched("%lagom hpo --fn train --trials 2")
    assert launch.train_fn is notebook["train"]
    assert launch.source is None


def test_the_run_is_bound_also_under_its_own_name(notebook: Notebook) -> None:
    notebook.launched("%%lagom hpo --out mine" + TRAIN)
    assert isinstance(notebook["lagom_run"], Run)
    assert notebook["mine"] is notebook["lagom_run"]


@pytest.mark.parametrize("kind", [RunStopped, RunFailed])
def test_a_run_that_ended_early_is_bound_and_the_cell_fails_with_one_line(
    notebook: Notebook, kind: type[RunStopped] | type[RunFailed], capsys: pytest.CaptureFixture[str]
) -> None:
    notebook.backend.ends_with = lambda run: kind("every trial failed", run)
    assert notebook.error("%%lagom hpo --out mine" + TRAIN) == f"{kind.__name__}: every trial failed"
    assert capsys.readouterr().out == f"{kind.__name__}: every trial failed\n"
    assert notebook["lagom_run"] is notebook["mine"]


def test_a_run_that_never_began_binds_nothing(notebook: Notebook) -> None:
    notebook.backend.ends_with = lambda run: RunFailed("no slot", None)
    notebook.error("%%lagom hpo" + TRAIN)
    assert "lagom_run" not in notebook.shell.user_ns


def test_a_cell_that_raises_starts_nothing(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    message = notebook.error("%%lagom hpo\n1 / 0")
    assert message == "LagomError: the cell raised ZeroDivisionError (above), so nothing was started."
    assert "ZeroDivisionError: division by zero" in capsys.readouterr().out
    assert notebook.backend.launches == []
    assert notebook.error("%%lagom hpo\ndef train(:").startswith("LagomError: the cell raised SyntaxError (above)")


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("x = 1\n1 / 0", 3),
        ("\n\n1 / 0", 4),
        ("    x = 1\n    1 / 0", 3),
        ("x = 1\ndef train(:", 3),
        ("x = 1\n  y = 2", 3),
        (">>> x = 1\n>>> 1 / 0", 3),
    ],
)
def test_an_error_of_the_cell_names_its_number_and_the_line_that_a_person_sees(
    notebook: Notebook, capsys: pytest.CaptureFixture[str], body: str, line: int
) -> None:
    notebook.shell.run_cell("first = 1", store_history=True)
    notebook.shell.run_cell(f"%%lagom hpo\n{body}", store_history=True)
    assert re.search(rf"File <ipython-input-2-\w+>:{line}\n", capsys.readouterr().out)
    assert notebook.shell.execution_count == 3


def test_a_function_of_the_cell_knows_its_lines_as_a_person_sees_them(notebook: Notebook) -> None:
    train_fn = notebook.launched("%%lagom hpo" + TRAIN).train_fn
    assert train_fn.__code__.co_firstlineno == 4
    (text,) = cell_sources(train_fn).values()
    assert text.splitlines()[3:] == TRAIN.splitlines()[3:]


def test_another_cell_magic_may_stand_below(notebook: Notebook) -> None:
    notebook.launched("%%lagom hpo --fn train\n%%time" + TRAIN)


def test_a_cell_that_awaits_is_refused(notebook: Notebook) -> None:
    assert notebook.error("%%lagom hpo\nimport asyncio\nawait asyncio.sleep(0)") == (
        "UsageError: %%lagom: the cell awaits at its top level. Await in a cell before, or in asyncio.run()."
    )


def test_a_mistyped_line_runs_nothing_of_the_cell(notebook: Notebook) -> None:
    notebook.error("%%lagom hpo --trails 3\ntouched = True")
    assert "touched" not in notebook.shell.user_ns


def test_a_cell_with_magics_and_shell_lines_of_its_own_can_be_run(notebook: Notebook) -> None:
    assert notebook.launched("%%lagom hpo\nwhere = %pwd" + TRAIN).train_fn is notebook["train"]


def test_braces_and_dollars_in_the_line_stay_as_they_are(notebook: Notebook) -> None:
    notebook.run("x = 3")
    config = notebook.launched("%%lagom hpo --description '{x} $x'" + TRAIN).config
    assert config.description == "{x} $x"


def test_of_several_functions_the_last_is_run_and_named(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    launch = notebook.launched("%%lagom hpo\ndef build(): ...\ndef build(): ..." + TRAIN)
    assert launch.train_fn is notebook["train"]
    note = "lagom: running train(), the last of 2 functions in the cell; choose with --fn NAME\n"
    assert capsys.readouterr().out == note
    assert notebook.launched("%%lagom hpo --fn build\ndef build(): ..." + TRAIN).train_fn is notebook["build"]
    assert capsys.readouterr().out == ""


def test_a_cell_without_a_function_says_what_the_notebook_has(notebook: Notebook) -> None:
    assert notebook.error("%%lagom hpo\nx = 1") == (
        "UsageError: %%lagom hpo: the cell defines no function. Write one in it, or name one: --fn NAME."
    )
    notebook.run(TRAIN)
    assert notebook.error("%lagom run") == (
        "UsageError: %lagom run: the cell defines no function. Write one in it, or name one: --fn NAME. "
        "The notebook has: train."
    )


def test_the_function_must_be_there_and_callable(notebook: Notebook) -> None:
    notebook.run(TRAIN + "\ntrial = 3")
    assert notebook.error("%lagom hpo --fn trainn") == (
        "UsageError: lagom: --fn trainn: the notebook has no variable 'trainn'. Define it first. Did you mean train?"
    )
    assert notebook.error("%lagom hpo --fn trial") == (
        "UsageError: %lagom hpo: --fn trial is of type int; allowed: a function. Did you mean train?"
    )


def test_names_are_variables_that_the_cell_itself_may_define(notebook: Notebook) -> None:
    cell = """%%lagom hpo --space spaces.small --model Net --dataset data --hparams earlier.best --set epochs=3
from types import SimpleNamespace
from lagom_magic import Float, Searchspace
spaces = SimpleNamespace(small=Searchspace(lr=Float(0, 1)))
earlier = SimpleNamespace(best=SimpleNamespace(hparams={"epochs": 1, "width": 8}))
data = (1, 2)
class Net: ...
def train(lr, model, dataset, epochs, width): ...
"""
    config = notebook.launched(cell).config
    assert isinstance(config, OptimizationConfig)
    assert config.searchspace == Searchspace(lr=Float(0, 1))
    assert config.model is notebook["Net"]
    assert config.dataset is notebook["data"]
    assert config.hparams == {"epochs": 3, "width": 8}


def test_a_second_run_beside_a_live_one_is_refused_with_the_way_to_stop_it(notebook: Notebook) -> None:
    notebook.backend.live = Run(store_run(state=None).dir, LiveStandIn())
    name = notebook.backend.live.id
    assert notebook.error("%%lagom hpo\ntouched = True") == (
        f"ConfigError: run {name} is live in this kernel, which has one at a time. Wait for it, or stop it: %lagom stop"
    )
    assert "touched" not in notebook.shell.user_ns


def test_detach_is_passed_on_but_ignored_with_a_warning_where_nobody_watches(notebook: Notebook) -> None:
    assert notebook.launched("%%lagom hpo --detach" + TRAIN).detach is True
    notebook.run("%lagom config noninteractive=1")
    with pytest.warns(UserWarning, match="--detach is ignored, since LAGOM_NONINTERACTIVE=1: the cell waits"):
        launch = notebook.launched("%%lagom hpo --detach" + TRAIN)
    assert launch.detach is False


def test_settings_of_the_kernel_hold_where_the_line_says_nothing(notebook: Notebook) -> None:
    notebook.run("%lagom config workers=3 ui=text")
    launch = notebook.launched("%%lagom hpo" + TRAIN)
    assert (launch.config.workers, launch.ui) == (3, "text")
    launch = notebook.launched("%%lagom hpo --workers 1 --ui html" + TRAIN)
    assert (launch.config.workers, launch.ui) == (1, "html")


def test_out_must_be_a_variables_name(notebook: Notebook) -> None:
    assert notebook.error("%%lagom hpo --out my-run" + TRAIN) == (
        "UsageError: %%lagom hpo: --out 'my-run' cannot be a variable; allowed: a Python name. Try --out my_run."
    )


def test_lagom_alone_lists_the_verbs_of_this_version(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    notebook.run("%lagom")
    listed = re.findall(r"^ +%%?lagom (\w+)", capsys.readouterr().out, re.MULTILINE)
    assert listed == [
        "hpo",
        "ablate",
        "train",
        "run",
        "resume",
        "rerun",
        "status",
        "runs",
        "show",
        "search",
        "tag",
        "compare",
        "delete",
        "attach",
        "stop",
        "prune",
        "retry",
        "best",
        "board",
        "mlflow",
        "models",
        "lineage",
        "spark",
        "config",
    ]


@pytest.mark.parametrize("cell", ["%%lagom hpo --help", "%%lagom hpo --help\nx = 1", "%lagom hpo -h"])
def test_help_shows_options_and_examples_and_runs_nothing(
    notebook: Notebook, cell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook.run(cell).raise_error()
    shown = capsys.readouterr().out
    assert "usage: %" in shown
    assert "--trials N" in shown
    assert "examples:\n  %%lagom hpo --trials 30 --workers 4 --pruner asha --maximize accuracy" in shown
    assert "  Ordinal([16, 32, 64])          one of several values that have an order\n" in shown
    assert "--resume RUN" in shown
    assert "x" not in notebook.shell.user_ns


def test_a_question_mark_shows_the_magics_own_help(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    notebook.run("%%lagom?")
    assert "Turn the function of a cell into an experiment on Spark." in capsys.readouterr().out


def stored_search(notebook: Notebook) -> Run:
    """A run with a config, as a launch leaves it."""
    run = store_run()
    config = OptimizationConfig(
        num_trials=40, optimizer="tpe", pruner="asha", seed=3, optimization_key="accuracy", workers=2, tags=["pii"]
    )
    document = {**run.config, "config": config.document(), "searchspace": {}, "train_fn": "train"}
    (run.dir / "run.json").write_text(json.dumps(document))
    return run


def test_resume_goes_on_with_the_options_that_the_run_had(notebook: Notebook) -> None:
    run = stored_search(notebook)
    launch = notebook.launched(f"%lagom resume {run.id} --trials 50")
    config = launch.config
    assert isinstance(config, OptimizationConfig)
    assert (config.num_trials, config.optimizer, config.pruner, config.seed) == (50, "tpe", "asha", 3)
    assert (config.metric, config.workers, config.tags) == ("accuracy", 2, ("pii",))
    assert launch.resumed == run
    assert launch.train_fn == RepeatedCall(run)


@pytest.mark.parametrize("verb", ["resume", "rerun"])
def test_resume_and_rerun_without_a_name_mean_the_last_run(notebook: Notebook, verb: str) -> None:
    run = stored_search(notebook)
    launch = notebook.launched(f"%lagom {verb}")
    assert (launch.train_fn, launch.resumed) == (RepeatedCall(run), run if verb == "resume" else None)


def test_rerun_of_a_trial_is_one_call_with_what_it_had(notebook: Notebook) -> None:
    run = stored_search(notebook)
    launch = notebook.launched(f"%lagom rerun {run.id} --trial 0")
    assert launch.train_fn == RepeatedCall(run, 0)
    assert RepeatedCall(run, 0).suggestion() == Suggestion({"lr": 0.25}, None, 0)
    assert type(launch.config) is BaseConfig
    assert (launch.config.metric, launch.config.seed, launch.config.workers) == ("accuracy", 0, 1)


def test_a_cell_that_resumes_takes_over_what_its_line_does_not_say(notebook: Notebook) -> None:
    run = stored_search(notebook)
    launch = notebook.launched(f"%%lagom hpo --resume {run.id} --trials 60 --minimize loss" + TRAIN)
    config = launch.config
    assert isinstance(config, OptimizationConfig)
    assert (config.num_trials, config.optimizer, config.seed) == (60, "tpe", 3)
    assert (config.metric, config.direction) == ("loss", "min")
    assert launch.resumed == run
    assert launch.train_fn is notebook["train"]


def test_a_run_that_was_searched_by_an_object_needs_one_again(notebook: Notebook) -> None:
    run = stored_search(notebook)
    document = run.config
    document["config"]["optimizer"] = "MySampler"
    (run.dir / "run.json").write_text(json.dumps(document))
    text = notebook.error(f"%lagom resume {run.id}")
    assert "used an object as optimizer: MySampler, which its folder does not keep" in text
    assert f"--resume {run.id} --sampler NAME" in text


@pytest.mark.parametrize("trial", ["x", "-1", "1.5"])
def test_what_is_no_trials_number_is_refused(notebook: Notebook, trial: str) -> None:
    stored_search(notebook)
    assert notebook.error(f"%lagom rerun --trial={trial}") == (
        f"UsageError: %lagom rerun: --trial {trial!r} is no trial's number. Try --trial 7."
    )


def test_attach_shows_a_run_that_has_ended(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    run = stored_search(notebook)
    notebook.run(f"%lagom attach {run.id} --ui text")
    assert "accuracy" in capsys.readouterr().out
