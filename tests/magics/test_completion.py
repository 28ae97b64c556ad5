from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from magic_shell import Notebook, store_run

from lagom_magic.magics.completion import complete
from lagom_magic.spec.space import Float, Searchspace


def train(lr: float) -> float:
    return lr


class Net: ...


NAMES: dict[str, Any] = {
    "train": train,
    "Net": Net,
    "my_space": Searchspace(lr=Float(0, 1)),
    "small": {"lr": Float(0, 1)},
    "earlier": SimpleNamespace(hparams={"lr": 1}),
    "data": (1, 2),
    "_hidden": train,
}


def words(line: str) -> list[str] | None:
    found = complete(line, NAMES, lambda: ["20261122-093000-k3f7"])
    return None if found is None else found[1]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%lagom s", ["status", "show", "search", "stop", "spark"]),
        ("%%lagom ", ["hpo", "ablate", "train", "run"]),
        ("%%lagom hpo --tr", ["--trials", "--train-set", "--trial-timeout"]),
        ("%%lagom hpo --trials 3 --tr", ["--train-set", "--trial-timeout"]),
        ("%%lagom hpo --tag a --ta", ["--tag"]),
        ("%%lagom hpo --maximize acc --m", ["--model", "--module", "--max-failures", "--mlflow"]),
        ("%%lagom hpo --mlflow --tri", ["--trials", "--trial-timeout"]),
        ("%%lagom hpo --sampler g", ["grid", "gp", "gridsearch"]),
        ("%%lagom hpo --optimizer t", ["tpe"]),
        ("%%lagom hpo --pruner ", ["median", "none", "asha", "hyperband"]),
        ("%%lagom hpo --ui ", ["auto", "widget", "html", "text"]),
        ("%%lagom hpo --fn ", ["train"]),
        ("%%lagom hpo --space ", ["my_space", "small"]),
        ("%%lagom hpo --model ", ["Net", "train"]),
        ("%%lagom hpo --hparams ", ["earlier", "small"]),
        ("%%lagom hpo --trials ", []),
        ("%lagom show ", ["20261122-093000-k3f7", "--html"]),
        ("%lagom tag ", ["20261122-093000-k3f7", "--remove", "--note"]),
        ("%lagom tag k3f7 ", ["--remove", "--note"]),
        ("%lagom compare k3f7 20", ["20261122-093000-k3f7"]),
        ("%lagom delete a b 2", ["20261122-093000-k3f7"]),
        ("%lagom runs --state ", ["starting", "running", "complete", "stopped", "failed"]),
        ("%lagom stop ", ["20261122-093000-k3f7", "--now"]),
        ("%lagom stop --now ", ["20261122-093000-k3f7"]),
        ("%lagom stop k3f7 ", ["--now"]),
        ("%lagom prune ", []),
        ("%lagom prune 7 ", ["20261122-093000-k3f7"]),
        ("%lagom retry 7 20", ["20261122-093000-k3f7"]),
        ("%lagom config u", ["ui="]),
        ("%lagom runs ", ["--state", "--name", "--all"]),
    ],
)
def test_what_can_follow_is_offered(line: str, expected: list[str]) -> None:
    assert words(line) == expected


@pytest.mark.parametrize("line", ["x = 1", "%lagomx ", "%%lagom hpo --files da", "%%lagom hpo --fn earlier.hp"])
def test_other_lines_paths_and_attributes_are_left_to_ipython(line: str) -> None:
    assert words(line) is None


def offered(notebook: Notebook, cell: str, cursor: int | None = None) -> list[str]:
    with provisionalcompleter():
        return [found.text for found in notebook.shell.Completer.completions(cell, cursor or len(cell))]


def test_in_the_shell_only_our_words_are_offered_in_a_cell_of_several_lines_too(notebook: Notebook) -> None:
    line = "%%lagom hpo --t"
    cell = f"{line}\ndef train(lr): ..."
    expected = ["--trials", "--tag", "--train-set", "--test-set", "--timeout", "--trial-timeout"]
    assert offered(notebook, cell, len(line)) == expected


def test_in_the_shell_variables_and_stored_runs_are_offered(notebook: Notebook) -> None:
    notebook.run("def train(lr): ...")
    stored = store_run()
    assert offered(notebook, "%%lagom hpo --fn tr") == ["train"]
    assert offered(notebook, "%lagom show 2") == [stored.id]
