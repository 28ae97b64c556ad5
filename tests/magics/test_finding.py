from __future__ import annotations

import html.parser
import json
import os
import re
import shutil
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from magic_shell import LiveStandIn, Notebook, store_run
from store_runs import begun, complete_trial, record, run_on_disk, run_started, store_in

from lagom_magic.errors import ConfigError, StoreError
from lagom_magic.events.facts import (
    Fact,
    FileStored,
    MetricReported,
    RunEnded,
    RunState,
    TrialEnded,
    TrialError,
    TrialStarted,
    TrialState,
)
from lagom_magic.magics.finding import Finding, query_of
from lagom_magic.run import Run
from lagom_magic.store import registry
from lagom_magic.store.journal import JournalWriter
from lagom_magic.store.layout import default_home
from lagom_magic.store.model_version import Details

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e'\""


def said(notebook: Notebook, capsys: pytest.CaptureFixture[str], line: str) -> str:
    notebook.run(line).raise_error()
    return capsys.readouterr().out.rstrip("\n")


def rows(text: str) -> list[list[str]]:
    return [re.split(r"  +", line) for line in text.splitlines()]


def test_a_search_lists_the_runs_with_the_trial_that_fulfils_it(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = store_run("digits")
    store_run("iris")
    head, row = rows(said(notebook, capsys, '%lagom search "digits lr<0.3 accuracy>0.7"'))
    assert head[-3:] == ["trial", "lr", "accuracy"]
    assert (row[0], row[1], row[-3:]) == (stored.id, "digits", ["0", "0.25", "0.7500"])
    assert said(notebook, capsys, "%lagom search iris accuracy>0.9") == "no stored run is like that"
    assert len(rows(said(notebook, capsys, "%lagom search accuracy>0.7"))) == 3


def test_a_search_that_finds_nothing_names_what_no_run_knows(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(notebook, capsys, "%lagom search acuracy>0.7") == "no stored run is like that"
    store_run("digits")
    nothing = "no stored run is like that"
    assert said(notebook, capsys, "%lagom search acuracy>0.7 lr>0") == (
        f"{nothing}\nno complete trial has a metric or hyperparameter 'acuracy'. Near: accuracy"
    )
    assert said(notebook, capsys, "%lagom search zzz=1") == (
        f"{nothing}\nno complete trial has a metric or hyperparameter 'zzz'. Known: accuracy, lr"
    )
    assert said(notebook, capsys, "%lagom search accuracy>0.9") == nothing


def test_a_search_that_cannot_be_read_is_one_message(notebook: Notebook) -> None:
    store_run()
    assert notebook.error("%lagom search digits lr<") == (
        "ConfigError: The search cannot be read at character 11: lr< has no value after it. "
        "Write lr<0.01 without spaces.\n  digits lr<\n            ^"
    )
    assert notebook.error("%lagom search").startswith("ConfigError: There is nothing to search for.")


def test_a_search_shows_the_newest_and_all_when_asked(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(22):
        store_run("digits")
    assert said(notebook, capsys, "%lagom search digits").splitlines()[-1] == "… and 2 older: add --all"
    assert len(said(notebook, capsys, "%lagom search digits --all").splitlines()) == 23


@pytest.mark.parametrize(
    ("words", "query"),
    [
        (["digits lr<1"], "digits lr<1"),
        (['"a b" c'], '"a b" c'),
        (["digits", "learning rate"], 'digits "learning rate"'),
        (["digits lr<1", "tag:pii"], "digits lr<1 tag:pii"),
        (["a", "b"], "a b"),
    ],
)
def test_the_words_of_a_line_become_a_query(words: list[str], query: str) -> None:
    assert query_of(words) == query


def test_tags_and_a_note_are_given_shown_and_found(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    stored = store_run("digits")
    store_run("iris")
    name = f"run digits/{stored.id}"
    assert said(notebook, capsys, "%lagom tag digits") == f"{name}: no tags"
    assert "tags" not in said(notebook, capsys, "%lagom runs")
    line = f"%lagom tag {stored.id[-4:]} pii retention=90d --note 'of the paper'"
    assert said(notebook, capsys, line) == f"{name}: pii, retention=90d\nnote: of the paper"
    head, *listed = rows(said(notebook, capsys, "%lagom runs"))
    assert head[-1] == "tags"
    assert [row[-1] for row in listed if row[0] == stored.id] == ["pii retention=90d"]
    assert rows(said(notebook, capsys, "%lagom search paper tag:retention=90d"))[1][0] == stored.id
    assert said(notebook, capsys, "%lagom tag digits --remove pii --note ''") == f"{name}: retention=90d"
    assert notebook.error("%lagom tag digits a/b").startswith("ConfigError: tags (--tag) is 'a/b'; allowed: ")
    assert notebook.error("%lagom tag digits --remove x") == (
        "ConfigError: The run has no tag 'x' to remove. It has: retention=90d."
    )


def test_runs_are_listed_by_state_and_experiment(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    store_run("digits")
    stopped = store_run("iris", RunState.STOPPED)
    assert [row[0] for row in rows(said(notebook, capsys, "%lagom runs --state stopped"))[1:]] == [stopped.id]
    assert [row[1] for row in rows(said(notebook, capsys, "%lagom runs --name digits"))[1:]] == ["digits"]
    assert said(notebook, capsys, "%lagom runs --name digits --state STOPPED") == "no stored run is like that"
    assert notebook.error("%lagom runs --state stoped") == (
        "UsageError: %lagom runs: --state is 'stoped'; allowed: starting, running, complete, stopped, failed. "
        "Did you mean stopped?"
    )


def test_a_folder_that_cannot_be_read_is_told_of_below_the_list(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = store_run("good"), store_run("bad")
    (bad.dir / "run.json").write_text("")
    lines = said(notebook, capsys, "%lagom runs").splitlines()
    assert (lines[1].split()[0], lines[2]) == (good.id, "! 1 folder cannot be read and is left out:")
    assert lines[3].startswith(f"  bad/{bad.id}: it is not as a run's folder is made (JSONDecodeError")


def compared_run(experiment: str, lr: float, sampler: str = "random", source: str = "", packages: str = "") -> Path:
    trial = [
        TrialStarted(0, 1, 1, {"lr": lr, "width": 64}),
        TrialEnded(0, 1, 1, TrialState.COMPLETE, {"accuracy": 1 - lr}, 1 - lr, duration_s=1.0),
    ]
    facts: list[Fact] = [run_started(sampler=sampler, experiment=experiment), *trial, RunEnded(RunState.COMPLETE)]
    run = run_on_disk(default_home(), experiment, facts)
    (run / "source.py").write_text(source)
    (run / "environment.txt").write_text(f"# Python 3.12.1 (/usr/bin/python3)\nnumpy==2.1\n{packages}")
    return run


def test_runs_are_compared_with_what_differs_first(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    one = compared_run("one", 0.1, source="def train(lr):\n    model = small(lr)\n", packages="torch==2.12\n")
    two = compared_run("two", 0.2, "tpe", source="def train(lr):\n    model = large(lr)\n", packages="torch==2.13\n")
    text = said(notebook, capsys, "%lagom compare one two")
    differing, same, packages, diff = text.split("\n\n")
    table = {row[0]: row[1:] for row in rows(differing)}
    assert table["run"] == [one.name, two.name]
    assert (table["experiment"], table["sampler"]) == (["one", "two"], ["random", "tpe"])
    assert (table["lr"], table["metric accuracy"]) == (["0.1", "0.2"], ["0.9000", "0.8000"])
    assert same.startswith("the same in all:\n  state")
    assert re.search(r"width +64", same)
    assert packages.split() == ["packages", "that", "differ:", "torch", "2.12", "2.13"]
    assert diff.splitlines()[-3:] == [" def train(lr):", "-    model = small(lr)", "+    model = large(lr)"]


def test_three_runs_are_compared_and_what_is_missing_is_told(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two", "three"):
        run = compared_run(name, 0.1, source="\n".join(f"line {name} {n}" for n in range(100)))
    (run / "environment.txt").unlink()
    (run / "run.json").write_text("{")
    text = said(notebook, capsys, "%lagom compare one two three")
    assert len(rows(text)[0]) == 4
    assert text.count("more lines differ: compare the two source.py") == 2
    assert f"! {run.name}: run.json is damaged" in text
    assert notebook.error("%lagom compare one") == (
        "UsageError: %lagom compare: name two runs or more, such as %lagom compare k3f7 p2x9."
    )


def test_a_run_is_deleted_by_its_id_and_its_size_told(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    gone, stays = store_run("digits"), store_run("iris")
    (gone.dir / "trials" / "big").write_bytes(b"x" * 3_000_000)
    assert said(notebook, capsys, f"%lagom delete {gone.id}") == f"deleted run digits/{gone.id} (3 MB)"
    assert (os.listdir(gone.dir.parent), stays.dir.is_dir()) == ([], True)
    assert [row[1] for row in rows(said(notebook, capsys, "%lagom runs"))[1:]] == ["iris"]


def test_models_that_a_deleted_run_exported_stay_and_are_told(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = store_run("digits"), store_run("iris")

    def place(folder: Path, run: Run) -> Details:
        (folder / "model.bin").write_text("w")
        return Details(run={"id": run.id, "experiment": run.name, "dir": str(run.dir)})

    for run in (one, two, two):
        registry.add(default_home(), "model", partial(place, run=run))
    first, second = said(notebook, capsys, f"%lagom delete {one.id} {two.id}").splitlines()
    assert first.endswith("; 1 model that it exported stays")
    assert second.endswith("; 2 models that it exported stay")
    assert len(registry.versions(default_home()).versions) == 3


def test_several_runs_are_deleted_none_where_one_cannot_be(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = store_run("digits"), store_run("iris")
    assert notebook.error(f"%lagom delete {one.id} 2019").startswith("StoreError: There is no run '2019'")
    assert one.dir.is_dir()
    said(notebook, capsys, f"%lagom delete {one.id[-4:]} iris/{two.id} {one.id}")
    assert not one.dir.exists()
    assert not two.dir.exists()


def test_only_what_names_one_run_is_deleted(notebook: Notebook) -> None:
    stored = store_run("digits")
    notebook.shell.push({"mine": stored})
    for text in ("202", "lagom_run", ".", "..", "/", "digits/..", str(stored.dir.parent), "*"):
        assert notebook.error(f"%lagom delete {text}").startswith("StoreError: There is no run")
    assert notebook.error("%lagom delete digits") == (
        f"StoreError: 'digits' is an experiment with 1 run: {stored.id}. "
        "%lagom delete wants the id of each run that is to go."
    )
    assert notebook.error("%lagom delete mine") == (
        f"StoreError: 'mine' is a variable. %lagom delete wants the id of its run: %lagom delete {stored.id}"
    )
    store_run("iris")
    assert "begins 2 runs" in notebook.error(f"%lagom delete {stored.id[:8]}")
    assert notebook.error("%lagom delete").startswith("UsageError: %lagom delete: which run?")
    assert stored.dir.is_dir()


def test_of_an_experiment_that_was_to_be_deleted_the_newest_ids_are_named(notebook: Notebook) -> None:
    ids = sorted((store_run("digits").id for _ in range(7)), reverse=True)
    assert f"experiment with 7 runs: {', '.join(ids[:5])} and 2 older. " in notebook.error("%lagom delete digits")


def test_a_live_run_is_not_deleted(notebook: Notebook) -> None:
    with store_in(default_home()) as store:
        record(store, begun())
        assert f"Run {store.run_id} is alive" in notebook.error(f"%lagom delete {store.run_id}")
    live = notebook.backend.live = Run(store_run("mine", state=None).dir, LiveStandIn())
    assert "is alive" in notebook.error(f"%lagom delete {live.id}")
    assert live.dir.is_dir()


def test_a_run_that_is_a_link_is_not_deleted(notebook: Notebook, tmp_path: Path) -> None:
    stored = store_run("digits")
    elsewhere = tmp_path / "elsewhere"
    stored.dir.rename(elsewhere)
    stored.dir.symlink_to(elsewhere)
    assert "is a link" in notebook.error(f"%lagom delete {stored.id}")
    assert (elsewhere / "run.json").is_file()


def test_a_run_of_an_experiment_that_is_a_link_is_not_deleted(notebook: Notebook, tmp_path: Path) -> None:
    stored = store_run("digits")
    elsewhere = stored.dir.parent.rename(tmp_path / "elsewhere")
    stored.dir.parent.symlink_to(elsewhere)
    assert f"{stored.dir.parent} is a link" in notebook.error(f"%lagom delete {stored.id}")
    assert (elsewhere / stored.id / "run.json").is_file()


def at_each_rename(monkeypatch: pytest.MonkeyPatch, do: Callable[[Path], object]) -> None:
    """Does something just before a folder is put out of sight."""
    rename = os.rename

    def renamed(source: Path, target: Path) -> None:
        if Path(target).name.startswith(".deleting-"):
            do(Path(source))
        rename(source, target)

    monkeypatch.setattr(os, "rename", renamed)


def test_nobody_goes_on_with_a_run_while_it_is_deleted(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = store_run("digits")
    refused = list[str]()

    def go_on(run: Path) -> None:
        with pytest.raises(StoreError) as caught:
            JournalWriter(run / "events.jsonl", pytest.fail).close()
        refused.append(str(caught.value))

    at_each_rename(monkeypatch, go_on)
    Finding(notebook.backend, {}).delete([stored.id])
    assert refused == [f"run {stored.id} is alive: another process drives it."]
    assert not stored.dir.exists()


def test_a_run_that_has_gone_on_since_it_was_named_stays_and_what_was_deleted_before_is_told(
    notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = (store_run(name) for name in ("digits", "iris", "housing"))
    with ExitStack() as drivers:
        at_each_rename(
            monkeypatch,
            lambda _: drivers.enter_context(closing(JournalWriter(two.dir / "events.jsonl", pytest.fail))),
        )
        said = notebook.error(f"%lagom delete {one.id} {two.id} {three.id}").splitlines()
    assert said[0].startswith(f"StoreError: Run {two.id} is alive")
    assert re.fullmatch(rf"before that: deleted run digits/{one.id} \(.*\)", said[1])
    assert said[2:] == [f"not tried: {three.id}"]
    assert [run.dir.exists() for run in (one, two, three)] == [False, True, True]


def test_what_a_killed_delete_left_is_in_nobodys_way_and_goes_with_the_next(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    stored, other = store_run("digits"), store_run("iris")
    folder = stored.dir.parent
    left = [folder / f".deleting-{stored.id}", folder / f".deleting-{stored.id}-k3f7"]
    stays = [
        folder / ".deleting-notes",
        folder / f".deleting-{other.id}-in-work",
        other.dir.with_name(f".deleting-{stored.id}"),
    ]
    for path in (*left, *stays):
        shutil.copytree(stored.dir, path)
    with closing(JournalWriter(stays[1] / "events.jsonl", pytest.fail)):
        assert said(notebook, capsys, f"%lagom delete {stored.id}").startswith(f"deleted run digits/{stored.id}")
    assert sorted(folder.iterdir()) == sorted(stays[:2])
    assert stays[2].is_dir()


class Tags(html.parser.HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, tag: str, attribute: str) -> list[str]:
        return [
            str(attributes[attribute]) for name, attributes in self.found if name == tag and attribute in attributes
        ]


def hostile_run() -> Path:
    """A run with files, prints and curves, all of whose texts want to be more than text."""
    files = ("artifacts/plot.png", "artifacts/a b#?.txt", "artifacts/lost.txt", "../../../run.json", "artifacts/link")
    facts: list[Fact] = [
        *begun(),
        TrialStarted(0, 1, 1, {"lr": 0.1, HOSTILE: HOSTILE}),
        *(MetricReported(0, 1, 1, step, {"accuracy": 0.1 * step}) for step in range(5)),
        TrialEnded(0, 1, 1, TrialState.COMPLETE, {"accuracy": 0.75, HOSTILE: 1.0}, 0.75, files=files),
        *(FileStored(0, 1, name, 3, "") for name in files),
        TrialStarted(1, 1, 1, {"lr": 0.2}),
        TrialEnded(1, 1, 1, TrialState.FAILED, {}, None, error=TrialError("ValueError", HOSTILE)),
    ]
    with store_in(default_home()) as store:
        record(store, facts)
        store.write_output(1, 0, 1, f"printed {HOSTILE}\n".encode())
        record(store, [RunEnded(RunState.COMPLETE)])
    run = store.layout.root
    artifacts = run / "trials" / "0000" / "artifacts"
    artifacts.mkdir(parents=True, exist_ok=True)
    (artifacts / "plot.png").write_bytes(b"\x89PNG")
    (artifacts / "a b#?.txt").write_text("abc")
    (artifacts / "link").symlink_to("/etc/passwd")
    (run / "source.py").write_text(f"def train(): ...  # {HOSTILE}")
    document = json.loads((run / "run.json").read_text())
    document["config"] = {"description": HOSTILE, "tags": [HOSTILE], "num_trials": 2}
    (run / "run.json").write_text(json.dumps(document))
    return run


def test_a_report_is_one_file_with_everything_and_nothing_that_runs(
    notebook: Notebook, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = hostile_run()
    said(notebook, capsys, f"%lagom tag {run.name} paper --note '<b>note</b>'")
    answer = said(notebook, capsys, f"%lagom show {run.name} --html report.html")
    path = tmp_path / "report.html"
    assert re.fullmatch(rf"wrote {re.escape(str(path))} \([\d.]+ kB\): run digits/{run.name}", answer)
    page = path.read_text()
    tags = Tags(page)
    assert {"script", "iframe", "object", "link", "base", "form"}.isdisjoint(tag for tag, _ in tags.found)
    assert not [name for _, attributes in tags.found for name in attributes if name.startswith("on")]
    assert all(source.startswith("data:image/png;base64,") for source in tags.values("img", "src"))
    assert "default-src 'none'" in page
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", page)
    for words in ("printed <script>", "def train(): ...", "<b>note</b>", "paper", "num_trials", "0.7500", "FAILED"):
        assert words in tags.text or words.lower() in tags.text, words
    assert "numpy" in tags.text
    assert len([tag for tag, _ in tags.found if tag == "svg"]) >= 2
    links = [
        os.path.normpath(tmp_path / link.replace("%20", " ").replace("%23", "#").replace("%3F", "?"))
        for link in tags.values("a", "href")
    ]
    assert sorted(links) == [str(run / "trials/0000/artifacts" / name) for name in ("a b#?.txt", "plot.png")]


def test_a_report_is_made_of_what_can_be_read(
    notebook: Notebook, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = hostile_run()
    shutil.rmtree(run / "trials")
    for name in ("run.json", "source.py", "environment.txt", "console.log"):
        (run / name).unlink()
        (run / name).mkdir()
    with open(run / "events.jsonl", "ab") as file:
        file.write(b'{"seq": 1, "ty')
    Finding(notebook.backend, {}).report(run, "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "run.json cannot be read: it is no file" in page
    assert "0.7500" in page


def test_a_report_of_names_that_are_no_text_is_written_and_links_their_files(
    notebook: Notebook, tmp_path: Path
) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    run = store_run("digits").dir
    renamed = run.parent.with_name(os.fsdecode(b"digits\xe9"))
    run.parent.rename(renamed)
    run = renamed / run.name
    facts = [
        *begun(experiment=renamed.name),
        TrialStarted(0, 1, 1, {"lr": 0.1, name: name}),
        TrialEnded(0, 1, 1, TrialState.COMPLETE, {"accuracy": 0.75, name: 1.0}, 0.75, files=(f"files/{name}",)),
        FileStored(0, 1, f"files/{name}", 4, ""),
        RunEnded(RunState.COMPLETE),
    ]
    (run / "events.jsonl").unlink()
    journal = JournalWriter(run / "events.jsonl", pytest.fail)
    for fact in facts:
        journal.append(fact, 1.0)
    journal.close()
    document = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**document, "config": {"description": name, "tags": [name], "x": name}}))
    picture = run / "trials" / "0000" / "files" / name
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"\x89PNG")
    Finding(notebook.backend, {}).report(run, "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "<figcaption>" in page
    (link,) = Tags(page).values("a", "href")
    assert os.path.normpath(os.fsencode(tmp_path) + b"/" + unquote_to_bytes(link)) == os.fsencode(picture)


def test_a_report_of_an_ablation_has_its_table(notebook: Notebook, tmp_path: Path) -> None:
    journal = Path(__file__).parents[1] / "journals" / "ablation.jsonl"
    run = run_on_disk(default_home())
    shutil.copy(journal, run / "events.jsonl")
    Finding(notebook.backend, {}).report(run, "report.html")
    assert "What leaving out a component does to" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("report", "ends with .html"),
        ("lagom_runs/digits/run.json", "ends with .html"),
        ("nowhere/report.html", "There is no folder"),
        ("folder.html", "which is no file"),
        ("a\0.html", "ends with .html"),
        ("x" * 300 + ".html", "cannot be a file: File name too long"),
        ("", "ends with .html"),
    ],
)
def test_a_report_goes_only_where_a_report_may_go(notebook: Notebook, tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "folder.html").mkdir()
    run = store_run()
    with pytest.raises(ConfigError, match=message):
        Finding(notebook.backend, {}).report(run.dir, path)


def test_a_report_takes_the_place_of_a_report_and_of_no_other_file(notebook: Notebook, tmp_path: Path) -> None:
    path, finding = tmp_path / "report.html", Finding(notebook.backend, {})
    finding.report(store_run("iris").dir, "report.html")
    run = store_run("digits").dir
    finding.report(run, "report.html")
    assert run.name in path.read_text()
    for foreign in ("<!DOCTYPE html>\n<html><head><title>a thesis</title></head></html>", ""):
        path.write_text(foreign)
        with pytest.raises(ConfigError, match=r"is a file that %lagom did not write.*Name another, or delete it first"):
            finding.report(run, "report.html")
        assert path.read_text() == foreign


def test_a_page_that_quotes_the_mark_of_reports_is_no_report(notebook: Notebook, tmp_path: Path) -> None:
    run, path = hostile_run(), tmp_path / "report.html"
    Finding(notebook.backend, {}).report(run, "report.html")
    page = f"<html><body>{path.read_text()}</body></html>"
    path.write_text(page)
    with pytest.raises(ConfigError, match="did not write"):
        Finding(notebook.backend, {}).report(run, "report.html")
    assert path.read_text() == page


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=20) | st.sampled_from(["../x.html", "/etc/x/y.html", "a/../b.html", "~/x.htm", "x.HTML"]))
def test_whatever_the_path_of_a_report_no_other_file_is_touched(
    notebook: Notebook, tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.mktemp("reports") / "here"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    run = run_on_disk(folder / "home", facts=[*begun(), *complete_trial(0, 0.5), RunEnded(RunState.COMPLETE)])
    before = {path: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()}
    target = str(folder / text.lstrip("/~"))
    try:
        Finding(notebook.backend, {}).report(run, target)
        written = {Path(os.path.abspath(target))}
    except (ConfigError, StoreError):
        written = set()
    after = {path: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()}
    assert {path for path in after if after[path] != before.get(path)} == written
    assert before.keys() <= after.keys()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(max_size=12)
    | st.builds("/".join, st.lists(st.sampled_from(["..", ".", "", "digits", "2023", ".models", "*", "~"]), max_size=4))
)
def test_whatever_is_named_nothing_but_a_run_of_that_id_is_deleted(notebook: Notebook, text: str) -> None:
    for name in ("digits", "iris"):
        if not (default_home() / name).is_dir():
            for _ in range(2):  # so that no beginning names one alone
                store_run(name)
    before = sorted(default_home().parent.rglob("*"))
    with pytest.raises((StoreError, ConfigError)):
        Finding(notebook.backend, {}).delete([text])
    assert sorted(default_home().parent.rglob("*")) == before
