"""What a report says, and how much of it at once; its safety is in tests/magics/test_finding.py."""

from __future__ import annotations

import base64
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from html import unescape
from math import nan
from pathlib import Path
from typing import Any

import pytest
from store_runs import begun, complete_trial, run_on_disk, whole_run

from lagom_magic.display.report import PLOT_LIMIT, WARNING_LIMIT, render_report
from lagom_magic.display.stored import read_stored
from lagom_magic.display.trial_files import UNFOLDED_LIMIT
from lagom_magic.events.facts import (
    Fact,
    FileStored,
    FilesUsed,
    MetricReported,
    ModelExported,
    RunEnded,
    RunState,
    TrialEnded,
    TrialRequeued,
    TrialStarted,
    TrialState,
)
from lagom_magic.store.tags import change_notes

HASH = "52b36f54b180400e566240e91515e74ff166b91c9ec5baf1290aaaa43896fcdb"
NOBODY = 65534
HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e'\""


def read(path: str, **more: Any) -> dict[str, Any]:
    return {"path": path, "size_bytes": 71_075, "mtime": 1.0, "sha256": HASH, **more}


def trial(trial_id: int, value: float | None, *before_end: Fact, **ended: Any) -> list[Fact]:
    metrics = {} if value is None else {"accuracy": value}
    end = TrialEnded(trial_id, 1, 1, TrialState.COMPLETE, metrics, value, **ended)
    return [TrialStarted(trial_id, 1, 1, {"lr": trial_id / 10}), *before_end, end]


def report(home: Path, facts: Iterable[Fact], documents: dict[str, Any] | None = None) -> str:
    """The report of a run that has ended, with these keys in its JSON files."""
    run = run_on_disk(home, facts=[*begun(), *facts, RunEnded(RunState.COMPLETE)])
    for name, content in (documents or {}).items():
        path = run / name
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**known, **content}))
    return render_report(read_stored(run), 0.0, home)


def words(html: str) -> str:
    """As a person reads it."""
    plain = re.sub(r"<style>.*?</style>|</?(?:span|b|small|time|a)\b[^>]*>", "", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", plain)).split())


def section(html: str, title: str) -> str:
    return html.partition(f"<h2>{title}</h2>")[2].partition("</section>")[0]


def unfolded(html: str) -> str:
    return re.sub(r"<details>.*?</details>", "", html, flags=re.DOTALL)


def test_it_begins_with_which_run_it_is_when_and_by_whom(tmp_path: Path) -> None:
    run = run_on_disk(tmp_path, facts=whole_run())
    document = json.loads((run / "run.json").read_text())
    document |= {
        "created_at": "2026-11-29T14:15:03.091+01:00",
        "driver": {"host": "vm", "user": "ada"},
        "config": {"description": "First try.", "tags": ["old"]},
    }
    (run / "run.json").write_text(json.dumps(document))
    change_notes(run, ["champion"], ["old"], "good & <b>cheap</b>")
    html = render_report(read_stored(run), 0.0, tmp_path)
    head = html.partition("<header>")[2].partition("</header>")[0]
    assert head.startswith(f"<h1>digits <small>{run.name}</small></h1>")
    assert re.fullmatch(
        rf"digits {run.name} ✔ complete started 29 November 2026, 14:15 UTC\+01:00 by ada on vm · took [\d.]+ m?s "
        r"First try. Note: good & <b>cheap</b> champion",
        words(head),
    )
    assert html.count("champion") == 1
    assert "old" not in words(html)
    assert html.count(run.name) < 6
    assert "lg-head" not in html.partition("</style></head>")[2].replace(".lg-head", "")


@pytest.mark.parametrize("document", [{}, {"created_at": 3, "driver": 3}, {"created_at": "x", "driver": {"user": {}}}])
def test_without_run_json_the_journal_says_when_it_began(tmp_path: Path, document: dict[str, Any]) -> None:
    run = run_on_disk(tmp_path, facts=whole_run())
    (run / "run.json").write_text(json.dumps(document))
    assert re.search(
        r"started \d+ \w+ \d{4}, \d\d:\d\d UTC · took", words(render_report(read_stored(run), 0.0, tmp_path))
    )


def test_it_says_what_every_trial_was_called_with(tmp_path: Path) -> None:
    document = {"defaults": {"csv": "a.csv", "layers": [1, 2]}, "fixed_hparams": {"depth": 5}}
    html = report(tmp_path, trial(0, 0.5), {"run.json": document})
    assert "Arguments csv a.csv layers [1, 2] depth 5" in words(section(html, "Where it came from"))
    assert "Arguments" not in words(report(tmp_path, trial(0, 0.5)))


def test_it_says_where_the_run_came_from(tmp_path: Path) -> None:
    used = FilesUsed(1, 1, 1, (read("/data/customers.csv"), read("/data/big", sha256="")), (read("/out/x"),), n_more=3)
    export = ModelExported(
        1, 1, 1, "churn", "artifacts/models/churn", {"accuracy": 0.9}, "", "xgboost", {"inputs": "6", "outputs": "2"}, 1
    )
    other = ModelExported(0, 1, 1, "churn", "artifacts/models/churn", {"accuracy": 0.5}, "", "sklearn")
    facts = [*trial(0, 0.5, FilesUsed(0, 1, 1, (read("/data/other.csv"),)), other), *trial(1, 0.9, used, export)]
    git = {"commit": "7f4c861bfbdad633b", "branch": "main", "remote": "https://host/repo", "is_dirty": True}
    given = {"argument": "train_set", "kind": "csv", "files": [read("/data/customers.csv")], "n_files": 2}
    hardware = {"cpu": "EPYC", "cores": 2, "memory_bytes": 25_276_502_016, "gpus": []}
    provenance = {"notebook": "/home/ada/mine.ipynb", "git": git, "inputs": [given], "hardware": hardware}
    run_json = {"train_fn": "forest", "repeats": {"run_id": "20261122-093000-k3f7", "trial_id": 7}}
    html = report(tmp_path, facts, {"provenance.json": provenance, "run.json": run_json})
    found = words(unfolded(section(html, "Where it came from")))
    for text in (
        "notebook mine.ipynb, in /home/ada",
        "function forest",
        "code commit 7f4c861bfbda on branch main, with changes that were not committed",
        "repository https://host/repo",
        "repeats trial 7 of run 20261122-093000-k3f7",
        "EPYC, 2 cores, 25.3 GB of memory",
        "Data that the run was given or trial 1 read",
        "/data/customers.csv given as train_set, read 71.1 kB 52b36f54b180… /data/big read 71.1 kB – … and 4 more",
        "churn xgboost accuracy 0.9000 6 → 2 trial 1",
    ):
        assert text in found
    assert "other.csv" not in html
    assert "/out/x" not in html
    assert "sklearn" not in found
    assert "1 model of other trials" in words(html)


@pytest.mark.parametrize("value", [None, 3, "x", [3], {"files": 3}, {"commit": 3, "cores": "x", "gpus": 3}, [{}]])
def test_a_provenance_of_any_form_is_read(tmp_path: Path, value: Any) -> None:
    names = ("notebook", "git", "hardware", "inputs")
    documents = {"provenance.json": dict.fromkeys(names, value), "run.json": dict.fromkeys(("repeats", "spark"), value)}
    reads = (read("/x", size_bytes=value, sha256=value),)
    assert "/x" in report(tmp_path, trial(0, 0.5, FilesUsed(0, 1, 1, reads)), documents)


def test_what_workers_say_stays_text(tmp_path: Path) -> None:
    export = ModelExported(0, 1, 1, "m", "artifacts/models/m", {HOSTILE: 1.0}, HOSTILE, HOSTILE, {HOSTILE: HOSTILE})
    used = FilesUsed(0, 1, 1, (read(HOSTILE, sha256=HOSTILE),))
    ended = {"warnings": (HOSTILE,), "values": {HOSTILE: HOSTILE}, "params": {HOSTILE: HOSTILE, f"{HOSTILE} 2.x": None}}
    texts = {"notebook": f"/{HOSTILE}.ipynb", "git": dict.fromkeys(("commit", "branch", "remote"), HOSTILE)}
    driver = {"user": HOSTILE, "host": HOSTILE}
    given = {"argument": HOSTILE, "files": [read("/x")], "n_files": 1}
    run_json = {"driver": driver, "kind": HOSTILE, "searchspace": {HOSTILE: {"kind": HOSTILE, "low": HOSTILE}}}
    documents = {"provenance.json": {**texts, "inputs": [given]}, "run.json": run_json}
    html = report(tmp_path, trial(0, 0.5, export, used, **ended), documents)
    assert "<script" not in html
    assert not set(html) & set("\x1b\u202e")
    assert words(html).count("<script>") > 15


def test_warnings_are_told_once_with_their_trials(tmp_path: Path) -> None:
    facts = [fact for number in range(8) for fact in trial(number, 0.5, warnings=("slow", f"only {number}"))]
    found = words(section(report(tmp_path, facts), "Warnings"))
    assert found.startswith("trials 0, 1, 2, 3, 4 and 3 more: slow trial 0: only 0")
    many = trial(0, 0.5, warnings=tuple(f"w{number}" for number in range(WARNING_LIMIT + 2)))
    assert words(section(report(tmp_path, many), "Warnings")).endswith(f"w{WARNING_LIMIT - 1} … and 2 more")


def test_what_is_not_set_of_the_logged_parameters_is_folded(tmp_path: Path) -> None:
    params = {"X.depth": 3, "X.gamma": None, "X 2.depth": 3, "X 3.depth": 5}
    html = section(report(tmp_path, trial(0, 0.5, params=params)), "Logged parameters of trial 0")
    assert words(unfolded(html)) == "X.depth 3 X 3.depth 5"
    assert "2 parameters not set, or as in the first fit X.gamma None X 2.depth 3" in words(html)
    html = section(report(tmp_path, trial(0, 0.5, params={"X.gamma": None})), "Logged parameters of trial 0")
    assert "1 parameter not set X.gamma" in words(html)


def with_files(home: Path, numbers: dict[int, int]) -> str:
    """The files of a report, of trials that have so many; trial 1 is the best, and its second attempt."""
    names = {trial_id: [f"artifacts/f{number}.csv" for number in range(n)] for trial_id, n in numbers.items()}
    facts: list[Fact] = [*begun(), *(TrialStarted(trial_id, 1, 1, {}) for trial_id in names)]
    facts += [TrialRequeued(1, 2, "lost"), TrialStarted(1, 2, 1, {})]
    for trial_id, paths in names.items():
        attempt = 2 if trial_id == 1 else 1
        facts.append(TrialEnded(trial_id, attempt, 1, TrialState.COMPLETE, {}, float(trial_id == 1)))
        facts += [FileStored(trial_id, attempt, path, 3, "") for path in paths]
    run = run_on_disk(home, facts=[*facts, RunEnded(RunState.COMPLETE)])
    for trial_id, paths in names.items():
        for path in paths:
            file = run / "trials" / ("0001.2" if trial_id == 1 else f"{trial_id:04}") / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("abc")
    return section(render_report(read_stored(run), 0.0, home), "Files")


def test_files_stand_by_their_trial_the_best_one_first(tmp_path: Path) -> None:
    found = words(with_files(tmp_path, {0: 1, 1: 2}))
    assert found == "trial 1, attempt 2 f0.csv 3 bytes · f1.csv 3 bytes trial 0 f0.csv 3 bytes"


@pytest.fixture
def readable_home() -> Iterator[Path]:
    """A folder that any user may enter."""
    umask = os.umask(0o022)
    try:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            yield Path(folder)
    finally:
        os.umask(umask)


@contextmanager
def without_privileges() -> Iterator[None]:
    """As a user whom modes of files bind, which root is not."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_picture_that_cannot_be_read_is_told_and_the_others_are_there(readable_home: Path) -> None:
    names = ("hidden.png", "seen.png")
    stored = [FileStored(0, 1, f"artifacts/{name}", 3, "") for name in names]
    run = run_on_disk(readable_home, facts=[*begun(), *trial(0, 0.5, *stored), RunEnded(RunState.COMPLETE)])
    folder = run / "trials" / "0000" / "artifacts"
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"PNG")
    (folder / "hidden.png").chmod(0)
    with without_privileges():
        html = render_report(read_stored(run), 0.0, readable_home)
    assert words(html).count("hidden.png cannot be read: Permission denied") == 1
    assert f'<img src="data:image/png;base64,{base64.b64encode(b"PNG").decode()}" alt="artifacts/seen.png">' in html


def test_files_that_cannot_be_looked_at_are_told_and_the_others_are_there(readable_home: Path) -> None:
    too_long = "/".join(["artifacts", *["a" * 200] * 30])
    names = ("artifacts/closed/hidden.png", "artifacts/seen.csv", too_long)
    stored = [FileStored(0, 1, name, 3, "") for name in names]
    run = run_on_disk(readable_home, facts=[*begun(), *trial(0, 0.5, *stored), RunEnded(RunState.COMPLETE)])
    for name in names[:2]:
        path = run / "trials" / "0000" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("abc")
    path.parent.joinpath("closed").chmod(0)
    with without_privileges():
        html = render_report(read_stored(run), 0.0, readable_home)
    path.parent.joinpath("closed").chmod(0o700)
    found = words(section(html, "Files"))
    assert "closed/hidden.png cannot be read: Permission denied" in found
    assert "cannot be read: File name too long" in found
    assert "seen.csv 3 bytes" in found


@pytest.mark.parametrize(("numbers", "n_shown"), [({0: 4, 1: 5, 2: 5}, 9), ({0: 2, 1: 15}, 10), ({0: 5, 1: 5}, 10)])
def test_of_many_files_the_first_are_seen_at_once(tmp_path: Path, numbers: dict[int, int], n_shown: int) -> None:
    html = with_files(tmp_path, numbers)
    assert unfolded(html).count("<a ") == n_shown <= UNFOLDED_LIMIT
    assert html.count("<a ") == sum(numbers.values())


def test_a_wide_table_has_all_columns_the_metric_that_counts_first(tmp_path: Path) -> None:
    names = [f"a_rather_long_name_of_hyperparameter_{number}" for number in range(12)]
    facts: list[Fact] = []
    for trial_id in range(2):
        metrics = {"accuracy": 0.5, **{f"metric_{number}": 1.0 for number in range(6)}}
        facts.append(TrialStarted(trial_id, 1, 1, dict.fromkeys(names, f"{trial_id}{'x' * 40}")))
        facts.append(MetricReported(trial_id, 1, 1, 0, {"accuracy": 0.4}))
        facts.append(TrialEnded(trial_id, 1, 1, TrialState.COMPLETE, metrics, 0.5))
    run = run_on_disk(tmp_path, facts=[*begun(hparam_names=tuple(names)), *facts, RunEnded(RunState.COMPLETE)])
    html = render_report(read_stored(run), 0.0, tmp_path)
    heads = re.findall(r'<th scope="col"[^>]*>([^<]*)', html)
    others = [*names, *(f"metric_{number}" for number in range(6))]
    assert heads == ["trial", "state", "worker", "accuracy ↑", "curve", *others, "step", "time"]
    assert f"<td>1{'x' * 40}</td>" in html.replace(' class="lg-wide"', "")
    assert "without a column" not in html


def test_what_has_no_column_even_so_is_named(tmp_path: Path) -> None:
    names = [f"h{number}" for number in range(60)]
    facts = [
        fact
        for trial_id in range(2)
        for fact in (
            TrialStarted(trial_id, 1, 1, dict.fromkeys(names, trial_id)),
            TrialEnded(trial_id, 1, 1, TrialState.COMPLETE, {"accuracy": 0.5, "loss": 0.1}, 0.5),
        )
    ]
    run = run_on_disk(tmp_path, facts=[*begun(hparam_names=tuple(names)), *facts, RunEnded(RunState.COMPLETE)])
    found = words(render_report(read_stored(run), 0.0, tmp_path))
    assert f"without a column: {' · '.join(names[40:])}; metrics without a column: loss" in found


def test_a_result_without_a_number_is_shown_as_what_it_is(tmp_path: Path) -> None:
    html = report(tmp_path, trial(0, None, values={"answer": "'forty-two'"}))
    assert "best: no number" in words(html)
    assert "answer 'forty-two'" in words(section(html, "Result"))


def test_what_the_best_trial_reported_beside_the_metric_that_counts_is_drawn(tmp_path: Path) -> None:
    def logged(trial_id: int, step: int, **metrics: float) -> MetricReported:
        return MetricReported(trial_id, 1, 1, step, metrics, is_automatic=True)

    reports = [logged(0, step, loss=1 / (step + 1), lr=0.1, **{HOSTILE: step}) for step in range(3)]
    reports.append(logged(0, 3, loss=nan, once=1.0))
    other = [logged(1, step, f1=step) for step in range(3)]
    html = report(tmp_path, [*trial(0, 0.5, *reports), *trial(1, 0.25, *other)])
    drawn = section(html, "Curves of trial 0")
    captions = [words(caption) for caption in re.findall(r"<figcaption>(.*?)</figcaption>", drawn)]
    assert (captions[:2], len(captions)) == (["loss", "lr"], 3)
    assert 'aria-label="loss over steps, from 1.000 to 0.3333"' in drawn
    assert "<script" not in drawn


def test_without_reports_or_with_those_alone_that_the_card_draws_there_is_no_section_of_curves(tmp_path: Path) -> None:
    reports = [MetricReported(0, 1, 1, step, {"accuracy": step / 4}) for step in range(3)]
    assert "<h2>Curves" not in report(tmp_path, trial(0, 0.5)) + report(tmp_path, trial(0, 0.5, *reports))


def test_the_metric_that_counts_is_drawn_with_the_others(tmp_path: Path) -> None:
    reports = [MetricReported(0, 1, 1, step, {"accuracy": step / 4, "loss": 1.0}) for step in range(3)]
    drawn = section(report(tmp_path, trial(0, 0.5, *reports)), "Curves of trial 0")
    assert re.findall(r"<figcaption>(.*?)</figcaption>", drawn) == ["accuracy", "loss"]


def test_of_very_many_metrics_the_first_are_drawn(tmp_path: Path) -> None:
    reports = [MetricReported(0, 1, 1, step, {f"m{n}": 1.0 for n in range(PLOT_LIMIT + 3)}) for step in range(2)]
    drawn = section(report(tmp_path, trial(0, 0.5, *reports)), "Curves of trial 0")
    assert (drawn.count("<figure>"), words(drawn).endswith("… and 3 more")) == (PLOT_LIMIT, True)


def test_options_and_space_are_told_and_the_rest_of_run_json_is_folded(tmp_path: Path) -> None:
    config = {
        "num_trials": 16,
        "optimizer": "randomsearch",
        "es_policy": "median",
        "hb_interval": 1,
        "direction": "max",
    }
    run_json = {"driver": {"host": "vm"}, "config": {**config, "optimization_key": "f1"}}
    html = section(report(tmp_path, complete_trial(0, 0.5), {"run.json": run_json}), "Configuration")
    assert words(unfolded(html)).startswith(
        "verb %%lagom hpo --maximize f1 --trials 16 --sampler random --pruner median"
    )
    assert "lr Float(0.0001, 1.0, log=True)" in words(unfolded(html))
    for text in ("hb_interval", "vm", "es_policy"):
        assert text not in unfolded(html)
        assert text in html
