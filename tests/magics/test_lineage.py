"""`%lagom lineage`, over real run folders and a real registry; one of them made by real trial processes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from magic_shell import Notebook, store_run
from store_runs import begun, record, run_on_disk, store_in

from lagom_magic import BaseConfig, Int, OptimizationConfig, Run
from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.events.facts import Fact, FilesUsed, RunEnded, RunState, TrialEnded, TrialStarted, TrialState
from lagom_magic.experiment import launch
from lagom_magic.magics.lineage import Node, _trials
from lagom_magic.store import registry
from lagom_magic.store.data_files import file_entries
from lagom_magic.store.layout import default_home
from lagom_magic.store.model_version import Details

CONTENT = b"a,y\n1,0\n2,1\n"


def lineage(notebook: Notebook, capsys: pytest.CaptureFixture[str], target: object) -> list[str]:
    capsys.readouterr()
    notebook.run(f"%lagom lineage {target}").raise_error()
    return capsys.readouterr().out.rstrip("\n").splitlines()


def searched(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Two trials that read data.csv, write elsewhere and export a model each."""
    Path("data.csv").write_bytes(CONTENT)
    Path("out").mkdir()
    out = str(Path("out").absolute())

    def train(data_path, depth):
        from sklearn.tree import DecisionTreeClassifier

        from lagom_magic import model

        frame = pd.read_csv(data_path)
        tree = DecisionTreeClassifier(max_depth=depth).fit(frame[["a"]], frame["y"])
        accuracy = tree.score(frame[["a"]], frame["y"])
        model.export(tree, "trees", metrics={"accuracy": accuracy})
        with open(f"{out}/log.txt", "a") as file:
            file.write("trained\n")
        return accuracy

    config = OptimizationConfig(
        num_trials=2, workers=1, name="forest", searchspace={"depth": Int(1, 1)}, hparams={"data_path": "data.csv"}
    )
    return launch(train, config, ui="none", make_launcher=lambda kit, _, n: ProcessLauncher(kit, n))


def test_from_model_to_run_to_data_and_back(
    notebook: Notebook, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in ("init -q", "-c user.name=A -c user.email=a@b commit -q --allow-empty -m first"):
        subprocess.run(["git", *command.split()], check=True)
    monkeypatch.setenv("JPY_SESSION_NAME", "/nb/titanic.ipynb")
    run = searched(monkeypatch)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout[:10]
    data, log = Path("data.csv").absolute(), Path("out/log.txt").absolute()
    of_data = f"12 bytes · sha256 {hashlib.sha256(CONTENT).hexdigest()[:10]}"
    of_log = f"16 bytes · sha256 {hashlib.sha256(log.read_bytes()).hexdigest()[:10]}"
    earlier = f"8 bytes · sha256 {hashlib.sha256(b'trained' + os.linesep.encode()).hexdigest()[:10]}"
    source = f"source {run.dir}/source.py · notebook /nb/titanic.ipynb · git {commit}"

    head, trial, origin, *files = lineage(notebook, capsys, "trees:1")
    assert head.startswith("model trees:1 · accuracy 1.000 · sklearn · 20")
    assert trial == f"└─ from trial 0 of run forest/{run.id} · COMPLETE · data_path data.csv, depth 1"
    assert origin.startswith(f"   ├─ {source} on ma")
    assert files == [f"   ├─ read {data} · {of_data} · unchanged", f"   └─ wrote {log} · {earlier} · changed since"]
    assert lineage(notebook, capsys, "trees")[0].startswith("model trees:2")

    models = [f"→ model trees:{i + 1} · accuracy 1.000 · sklearn from trial {i}" for i in (0, 1)]
    head, _, *rows = lineage(notebook, capsys, run.id)
    assert head == f"run forest/{run.id} · COMPLETE · 2 trials"
    assert rows == [
        f"├─ read {data} by trials 0–1 · {of_data} · unchanged",
        f"├─ wrote {log} by trials 0–1 (2 different contents) · {of_log} · unchanged",
        f"├─ {models[0]}",
        f"└─ {models[1]}",
    ]

    notebook.shell.user_ns |= {"run": run, "path": "data.csv"}
    assert lineage(notebook, capsys, "run") == [head, *lineage(notebook, capsys, run.id)[1:]]
    expected = [
        f"file {data} · 12 bytes",
        f"└─ run forest/{run.id}",
        "   ├─ read by trials 0–1 · the same content as now",
        f"   ├─ {models[0]}",
        f"   └─ {models[1]}",
    ]
    assert lineage(notebook, capsys, "data.csv") == lineage(notebook, capsys, "path") == expected

    data.write_bytes(b"a,y\n9,9\n9,9\n")
    os.utime(data, (1, 1))
    assert lineage(notebook, capsys, "data.csv")[2].endswith(
        f"another content than now, sha256 {hashlib.sha256(CONTENT).hexdigest()[:10]}"
    )
    assert lineage(notebook, capsys, "trees:1")[3].endswith("changed since")
    data.unlink()
    assert lineage(notebook, capsys, "trees:1")[3].endswith("not there any more")
    assert lineage(notebook, capsys, data)[0].endswith("not there any more")
    assert lineage(notebook, capsys, "./out/")[1] == f"└─ run forest/{run.id}"
    shutil.rmtree(run.dir)
    assert lineage(notebook, capsys, "trees:1")[1:] == [
        f"└─ from trial 0 of run forest/{run.id}, which is not there any more",
        f"   └─ read {data} · {of_data} · not there any more",
    ]


def test_models_and_files_of_a_retried_trial_are_those_of_the_attempt_that_made_them(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        Path(f"{number}.csv").write_text("1")

    def train(trial):
        from lagom_magic import model

        with open(f"{trial.attempt}.csv") as file:
            Path("kept.txt").write_text(file.read())
        model.export("kept.txt", "base")
        if trial.attempt == 1:
            raise ValueError("once more")
        return 1

    config = BaseConfig(name="again", retries=1)
    run = launch(train, config, ui="none", make_launcher=lambda kit, _, n: ProcessLauncher(kit, n))
    first, second = Path("1.csv").absolute(), Path("2.csv").absolute()

    _, of_failed, _, *files = lineage(notebook, capsys, "base:1")
    assert of_failed == f"└─ from trial 0 of run again/{run.id} · FAILED"
    assert [line.split(" · ")[0] for line in files] == [f"   └─ read {first}"]
    _, of_complete, _, *files = lineage(notebook, capsys, "base:2")
    assert of_complete == f"└─ from trial 0 (attempt 2) of run again/{run.id} · COMPLETE"
    assert [line.split(" · ")[0] for line in files] == [f"   └─ read {second}"]

    used, exported = lineage(notebook, capsys, "1.csv")[2:]
    assert used.startswith("   ├─ read by trial 0 · ")
    assert exported == "   └─ → model base:1 from trial 0"
    used, exported = lineage(notebook, capsys, "2.csv")[2:]
    assert used.startswith("   ├─ read by trial 0 (attempt 2) · ")
    assert exported == "   └─ → model base:2 · metric 1.000 from trial 0 (attempt 2)"
    kept = run.dir / "trials" / "0000.2" / "files" / "kept.txt"
    assert lineage(notebook, capsys, kept)[1] == f"└─ kept from trial 0 (attempt 2) of run again/{run.id}"


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        ([(3, 1)], "trial 3"),
        ([(0, 1), (1, 1), (2, 1), (5, 1)], "trials 0–2, 5"),
        ([(3, 1), (7, 1), (7, 2), (8, 2)], "trial 3, trial 7 (attempts 1–2), trial 8 (attempt 2)"),
    ],
)
def test_trials_are_told_with_attempts_that_are_not_their_first(attempts: list[tuple[int, int]], expected: str) -> None:
    assert _trials(attempts) == expected


def test_files_of_runs_and_models_say_where_they_are_from(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    home = default_home()
    run = store_run("digits")
    kept = run.dir / "trials" / "0003" / "files" / "rows.csv"
    kept.parent.mkdir(parents=True)
    kept.write_text("1")

    def place(folder: Path) -> Details:
        (folder / "base.bin").write_text("weights")
        return Details()

    version = registry.add(home, "base", place)
    reads = tuple({"path": str(path), "size_bytes": 1, "mtime": 0.0, "sha256": ""} for path in (kept, version.path))
    with store_in(home, "next") as store:
        ended = TrialEnded(0, 1, 1, TrialState.COMPLETE, {}, 0.5, duration_s=1.0)
        used = FilesUsed(0, 1, 1, reads, n_more=7)
        record(store, [*begun(), TrialStarted(0, 1, 1, {}), used, ended, RunEnded(RunState.COMPLETE)])
        following = store.layout.root.name
    _, _, first, second, more = lineage(notebook, capsys, following)
    assert first.endswith(f"kept from trial 3 of run digits/{run.id}")
    assert second.endswith("of model base:1")
    assert more == "└─ and about 7 more files beyond what is recorded"
    assert lineage(notebook, capsys, kept)[1:] == [
        f"├─ kept from trial 3 of run digits/{run.id}",
        f"└─ run next/{following}",
        "   └─ read by trial 0 · 1 byte · changed since",
    ]
    assert lineage(notebook, capsys, version.path)[1] == "├─ of model base:1"
    assert lineage(notebook, capsys, "base")[1:] == ["└─ exported outside of a run"]


def test_a_file_that_nobody_used_says_so(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    Path("lonely.csv").write_text("1")
    shown = lineage(notebook, capsys, "lonely.csv")
    assert shown[0].startswith("file ")
    assert shown[1].startswith("└─ no run is known to have used it")


def test_a_run_of_before_has_its_source_alone(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    run = store_run("digits")
    assert lineage(notebook, capsys, "digits") == [
        f"run digits/{run.id} · COMPLETE · 1 trial",
        f"└─ source {run.dir}/source.py",
    ]


@pytest.mark.parametrize(
    ("document", "line"),
    [
        ({"repeats": {"run_id": "20261122-093000-k3f7", "trial_id": 7}}, "repeats trial 7 of run 20261122-093000-k3f7"),
        ({"repeats": {"run_id": "20261122-093000-k3f7", "trial_id": None}}, "repeats run 20261122-093000-k3f7"),
        ({"resumes": "20261122-093000-k3f7"}, "goes on from the checkpoint of run 20261122-093000-k3f7"),
        ({"repeats": {"run_id": "\x1b[2J\n"}}, "repeats run "),
        ({"repeats": [1], "resumes": 2}, None),
        ({"repeats": {}}, None),
    ],
)
def test_a_run_that_repeats_another_names_it_and_so_does_a_model_of_it(
    notebook: Notebook, capsys: pytest.CaptureFixture[str], document: dict[str, object], line: str | None
) -> None:
    run = store_run("digits")
    (run.dir / "run.json").write_text(json.dumps(run.config | document))

    def place(folder: Path) -> Details:
        return replace(
            _weights(folder), run={"id": run.id, "experiment": "digits", "dir": str(run.dir)}, trial_id=0, attempt=1
        )

    expected = [] if line is None else [line]
    assert [row[3:] for row in lineage(notebook, capsys, "digits")[2:]] == expected
    registry.add(default_home(), "trees", place)
    assert [row[6:] for row in lineage(notebook, capsys, "trees")[3:]] == expected


def test_a_rerun_names_the_data_that_have_changed_since(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(6):
        Path(f"{number}.csv").write_text("1")
    entries, _ = file_entries([f"{number}.csv" for number in range(6)])
    facts: list[Fact] = [*begun()]
    for trial_id, reads in enumerate((entries[:5], entries[5:])):
        ended = TrialEnded(trial_id, 1, 1, TrialState.COMPLETE, {}, 0.5, duration_s=1.0)
        facts += [TrialStarted(trial_id, 1, 1, {}), FilesUsed(trial_id, 1, 1, tuple(reads)), ended]
    run = run_on_disk(default_home(), facts=[*facts, RunEnded(RunState.COMPLETE)])

    def notes(line: str) -> list[str]:
        capsys.readouterr()
        notebook.launched(line)
        return [text for text in capsys.readouterr().out.splitlines() if text.startswith("lagom: ")]

    assert notes(f"%lagom rerun {run.name}") == notes(f"%lagom rerun {run.name} --trial 0") == []
    Path("1.csv").write_text("another")
    Path("2.csv").unlink()
    here = Path.cwd()
    expected = f"lagom: data that run {run.name} read: {here}/1.csv (changed since), {here}/2.csv (not there any more)"
    assert notes(f"%lagom rerun {run.name}") == notes(f"%lagom rerun {run.name} --trial 0") == [expected]
    assert notes(f"%lagom rerun {run.name} --trial 1") == notes(f"%lagom resume {run.name} --trials 9") == []
    for number in (3, 4, 5):
        Path(f"{number}.csv").unlink()
    assert notes(f"%lagom rerun {run.name}") == [f"{expected}, {here}/3.csv (not there any more), and 2 more"]


def test_what_is_nothing_is_an_error_that_says_what_there_is(notebook: Notebook) -> None:
    run = store_run("digits")
    message = notebook.error("%lagom lineage digitz")
    assert message.startswith("UsageError: %lagom lineage: 'digitz' is no model, and no file. There is no run 'digitz'")
    assert "digits" in message
    assert notebook.error("%lagom lineage trees:7").startswith("UsageError: %lagom lineage: 'trees:7' is no model")
    registry.add(default_home(), "trees", _weights)
    assert "has no version 7" in notebook.error("%lagom lineage trees:7")
    assert "MODEL|FILE|RUN" in notebook.error("%lagom lineage")
    assert run.dir.exists()


def _weights(folder: Path) -> Details:
    (folder / "weights.bin").write_text("1")
    return Details()


def test_foreign_text_reaches_the_screen_harmless(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    path = "/d/\x1b[31mred\n/../\u202ex.csv"
    with store_in(default_home(), "digits") as store:
        used = FilesUsed(0, 1, 1, ({"path": path, "size_bytes": 1, "mtime": 0.0, "sha256": "\x1b[2J"},))
        ended = TrialEnded(0, 1, 1, TrialState.COMPLETE, {}, 0.5, duration_s=1.0)
        record(store, [*begun(), TrialStarted(0, 1, 1, {}), used, ended, RunEnded(RunState.COMPLETE)])
    text = "\n".join(lineage(notebook, capsys, "digits"))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert len(text.splitlines()) == 3


def test_a_tree_is_drawn_with_its_branches() -> None:
    tree = Node("a", [Node("b", [Node("c"), Node("d")]), Node("e", [Node("f")])])
    assert tree.lines() == ["a", "├─ b", "│  ├─ c", "│  └─ d", "└─ e", "   └─ f"]
