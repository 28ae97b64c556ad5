"""How long it takes to list and to search 10,000 stored runs: `python benchmarks/bench_find.py`.

The runs are copies of one that the store's own writers made, each with numbers, a name and a source of its own; a
tenth of them has a tag. Prints Markdown: medians over calls that find the index as the call before left it, and how
long the first call of all took, which reads every folder.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lagom_magic.events.facts import RunEnded, RunStarted, RunState, TrialEnded, TrialStarted, TrialState
from lagom_magic.store.index import list_runs, run_dirs, runs
from lagom_magic.store.search import search
from lagom_magic.store.store import RunStore

TRIALS = 5
EXPERIMENTS = ("digits", "iris", "housing", "speech", "weather")
SOURCE = """\
def train(lr, width, reporter=None):
    model = build(width, layers={layers})
    for epoch in range(20):
        accuracy = fit_one_epoch(model, lr)
        if reporter:
            reporter.broadcast(accuracy, step=epoch)
    return {{"accuracy": accuracy, "loss": 1 - accuracy}}
"""
QUERIES = (
    "digits",
    '"fit one epoch"',
    "accuracy>0.9",
    "digits lr<0.01 accuracy>0.9 tag:pii",
    "lr<0.01 accuracy>0.9",
    "state:failed",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--home", type=Path, help="keep the runs there, or use those that lie there")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="lagom-find-") as folder:
        home = arguments.home or Path(folder)
        if len(run_dirs(home)) < arguments.runs:
            make_runs(home, arguments.runs)
        print_figures(home, arguments.repeats)


def make_runs(home: Path, n_runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        template = template_run(Path(folder))
        files = {path.relative_to(template): path.read_text() for path in template.rglob("*.json*")}
        for number in range(n_runs):
            copy_run(home, files, number)


def template_run(home: Path) -> Path:
    document = {
        "kind": "hpo",
        "train_fn": "train",
        "config": {"description": "a run of many", "tags": [], "num_trials": TRIALS},
        "searchspace": {},
    }
    store = RunStore.create(home, "digits", document, "", on_error=_fail)
    facts: list[Any] = [RunStarted("RUN", "digits", "hpo", TRIALS, 1, "accuracy", "max", "random", "none", 0, ("lr",))]
    for trial in range(TRIALS):
        metrics = {"accuracy": 100.0 + trial, "loss": 200.0 + trial}
        facts.append(TrialStarted(trial, 1, 1, {"lr": 300.0 + trial, "width": 64, "optimizer": "adam"}))
        facts.append(TrialEnded(trial, 1, 1, TrialState.COMPLETE, metrics, 100.0 + trial, duration_s=1.0))
    for fact in [*facts, RunEnded(RunState.COMPLETE)]:
        store.record(fact, time.time())
    store.close()
    return store.layout.root


def _fail(text: str) -> None:
    raise RuntimeError(text)


def copy_run(home: Path, files: dict[Path, str], number: int) -> None:
    """A copy whose trials have other numbers: those of the template stand for them."""
    draw = random.Random(number)
    experiment = EXPERIMENTS[number % len(EXPERIMENTS)]
    day, second = divmod(number * 300, 86_400)
    run_id = f"2026{1 + day // 28:02d}{1 + day % 28:02d}-{second // 3600:02d}{second // 60 % 60:02d}00-{number:04d}"
    accuracies = [round(draw.uniform(0.3, 0.95), 6) for _ in range(TRIALS)]
    texts = {"RUN": run_id}
    for trial, accuracy in enumerate(accuracies):
        texts[f"10{trial}.0"], texts[f"20{trial}.0"] = str(accuracy), str(round(1 - accuracy, 6))
        texts[f"30{trial}.0"] = str(round(10 ** draw.uniform(-4, -1), 6))
    root = home / experiment / run_id
    for path, content in files.items():
        text = content
        for old, new in texts.items():
            text = text.replace(old, new)
        if path.name == "run.json" and number % 10 == 0:
            document = json.loads(text)
            document["config"]["tags"] = ["pii", "retention=90d"]
            text = json.dumps(document)
        elif path.name == "result.json":
            best = max(range(TRIALS), key=accuracies.__getitem__)
            text = json.dumps(json.loads(text) | {"best_id": best, "best_val": accuracies[best]})
        elif path.name == "events.jsonl" and number % 50 == 0:
            text = text.replace('"run_ended","state":"COMPLETE"', '"run_ended","state":"FAILED"')
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / "source.py").write_text(SOURCE.format(layers=number))


def print_figures(home: Path, repeats: int) -> None:
    begin = time.perf_counter()
    n_runs = len(runs(home))
    cold_s = time.perf_counter() - begin
    if cold_s > 1:
        time.sleep(2.5)  # what was written less than 2 s before it was read is read again
        runs(home)
    print(f"{n_runs:,} runs, Python {sys.version.split()[0]}; the first list of all took {cold_s:.1f} s.\n")
    print("| | median, ms | best, ms | found |\n| --- | ---: | ---: | ---: |")
    calls: list[tuple[str, Callable[[], int]]] = [
        ("list of all", lambda: len(runs(home))),
        ("list of the newest 20", lambda: len(list_runs(home, 20).runs)),
        ("ids, for completion", lambda: len(run_dirs(home))),
    ]
    for query in QUERIES:
        calls.append((f"search `{query}`", lambda query=query: found(home, query)))  # type: ignore[misc]
    for name, call in calls:
        n_found, times_ms = 0, []
        for _ in range(repeats):
            begin = time.perf_counter()
            n_found = call()
            times_ms.append(1e3 * (time.perf_counter() - begin))
        print(f"| {name} | {statistics.median(times_ms):.0f} | {min(times_ms):.0f} | {n_found:,} |", flush=True)


def found(home: Path, query: str) -> int:
    findings = search(home, query, limit=20)
    return len(findings.found) + findings.n_more


if __name__ == "__main__":
    main()
