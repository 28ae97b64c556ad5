from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from magic_shell import Notebook, store_run

from lagom_magic.magics.completion import _model_words, complete
from lagom_magic.spec.space import Float, Searchspace
from lagom_magic.store import registry
from lagom_magic.store.layout import default_home
from lagom_magic.store.model_version import Details


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
    found = complete(
        line,
        NAMES,
        lambda: ["20261122-093000-k3f7"],
        lambda fragment: ["digits:2", "digits:1"] if ":" in fragment else ["digits", "trees"],
    )
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
        ("%lagom lineage di", ["digits"]),
        ("%lagom lineage digits:", ["digits:2", "digits:1"]),
        ("%lagom lineage 2026", ["20261122-093000-k3f7"]),
        ("%lagom lineage digits ", []),
        ("%lagom models t", ["trees"]),
        ("%lagom models ", ["digits", "trees", "--sort", "--ascending", "--user", "--version", "--all"]),
        ("%lagom models digits:", []),
        ("%lagom models trees d", []),
        ("%lagom models --sort accuracy t", ["trees"]),
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


def test_in_the_shell_models_runs_and_files_are_offered_where_any_of_them_may_stand(notebook: Notebook) -> None:
    stored = store_run()
    for name in ("digits", "trees", "trees"):
        registry.add(default_home(), name, _weights)
    for path in ("dates.csv", "d ays.csv", ".dot", "data/rows.csv", "data/.hidden"):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text("1")
    every = offered(notebook, "%lagom lineage ")
    assert every[:3] == ["digits", "trees", stored.id]
    assert {"'d ays.csv'", "data/", "dates.csv"} <= set(every)
    assert ".dot" not in every
    assert offered(notebook, "%lagom lineage d") == ["digits", "data/", "dates.csv"]
    assert offered(notebook, "%lagom lineage 'd") == ["'d ays.csv'"]
    assert offered(notebook, "%lagom lineage data/") == ["data/rows.csv"]
    assert offered(notebook, "%lagom lineage ./da") == ["./data/", "./dates.csv"]
    assert offered(notebook, "%lagom lineage .d") == [".dot"]
    assert offered(notebook, f"%lagom lineage {Path.cwd()}/data/r") == [f"{Path.cwd()}/data/rows.csv"]
    assert offered(notebook, f"%lagom lineage {stored.id[:10]}") == [stored.id]
    assert offered(notebook, "%lagom lineage trees:") == ["trees:2", "trees:1"]
    assert _model_words("missing:") == _model_words("../x:") == []
    assert words("%lagom lineage missing/x") == []
    assert offered(notebook, "%lagom models tr") == ["trees"]


def test_files_below_the_home_folder_are_offered_as_they_are_typed(
    notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "rows.csv").write_text("1")
    assert offered(notebook, "%lagom lineage ~/ro") == ["~/rows.csv"]


def _weights(folder: Path) -> Details:
    (folder / "weights.bin").write_text("1")
    return Details()
