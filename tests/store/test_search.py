from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_runs import begun, record, run_on_disk, store_in, whole_run

from lagom_magic.errors import ConfigError
from lagom_magic.events.facts import (
    Fact,
    ModelExported,
    RunEnded,
    RunState,
    TrialEnded,
    TrialError,
    TrialStarted,
    TrialState,
)
from lagom_magic.store.entries import read_entry
from lagom_magic.store.index import run_dirs
from lagom_magic.store.query import parse_query, words_of
from lagom_magic.store.search import matches, search
from lagom_magic.store.snapshot import INDEX_NAME
from lagom_magic.store.tags import change_notes

LATER_S = 4e9


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def make_run(
    home: Path,
    experiment: str,
    trials: list[tuple[dict[str, Any], dict[str, float]]],
    state: RunState = RunState.COMPLETE,
    models: tuple[str, ...] = (),
    source: str = "",
    **config: Any,
) -> Path:
    """A run with these (hyperparameters, metrics); the accuracy counts."""
    facts: list[Fact] = begun()
    for number, (hparams, metrics) in enumerate(trials):
        facts.append(TrialStarted(number, 1, 1, hparams))
        facts += [ModelExported(number, 1, 1, model, "artifacts/models/m") for model in models]
        facts.append(TrialEnded(number, 1, 1, TrialState.COMPLETE, metrics, metrics.get("accuracy")))
    run = run_on_disk(home, experiment, [*facts, RunEnded(state)])
    document = json.loads((run / "run.json").read_text())
    document |= {"config": config, "train_fn": "fit_numbers", "driver": {"user": "ada"}}
    (run / "run.json").write_text(json.dumps(document))
    (run / "source.py").write_text(source)
    return run


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    make_run(
        folder,
        "digits",
        [
            ({"lr": 0.001, "optimizer": "adam"}, {"accuracy": 0.5}),
            ({"lr": 0.1, "optimizer": "sgd"}, {"accuracy": 0.95}),
        ],
        source="def fit_digits(learning_rate):\n    return RBFKernel(learning_rate)\n",
        tags=["pii", "retention=90d"],
        description="Über die Ziffern: 'NEAR' OR (x AND y*)",
    )
    make_run(
        folder,
        "iris",
        [({"lr": 0.001, "layers": 3, "bias": True}, {"accuracy": 0.97, "loss": 0.1})],
        models=("flowers",),
        source="learning the rate",
    )
    make_run(folder, "housing", [({"lr": 1}, {"accuracy": math.inf, "loss": math.nan})], state=RunState.FAILED)
    ended = TrialEnded(0, 1, 1, TrialState.FAILED, {"accuracy": 0.99}, None, error=TrialError("OOM", "no memory"))
    run_on_disk(folder, "speech", [*begun(), TrialStarted(0, 1, 1, {"lr": 0.001}), ended, RunEnded(RunState.STOPPED)])
    (run,) = (path for path in run_dirs(folder) if path.parent.name == "speech")
    change_notes(run, ["paper"], note="the run of the Tübingen talk")
    return folder


def found(home: Path, query: str) -> list[str]:
    """Experiments that match: read from the folders first, then through the index."""
    results = [sorted(hit.summary.experiment for hit in search(home, query, now_s=at_s).found) for at_s in (0, LATER_S)]
    assert results[0] == results[1]
    return results[0]


@pytest.mark.parametrize(
    ("query", "experiments"),
    [
        ("digits", ["digits"]),
        ("DIGITS", ["digits"]),
        ("dig", ["digits"]),
        ("igits", []),
        ("fit_numbers", ["digits", "housing", "iris"]),
        ("fit_dig", ["digits"]),
        ("learning rate", ["digits", "iris"]),
        ('"learning rate"', ["digits"]),
        ('"learning rat"', []),
        ("learning_rat", ["digits"]),
        ("uber ziffern", ["digits"]),
        ("ÜBER", ["digits"]),
        ("'near'", ["digits"]),
        ("tubingen", ["speech"]),
        ("optimizer", ["digits"]),
        ("loss", ["housing", "iris"]),
        ("nothing", []),
        ("digits nothing", []),
        ("accuracy>0.9", ["digits", "housing", "iris"]),
        ("accuracy>=0.97", ["housing", "iris"]),
        ("accuracy<0.9", ["digits"]),
        ("accuracy=0.95", ["digits"]),
        ("accuracy=inf", ["housing"]),
        ("lr<0.01 accuracy>0.9", ["iris"]),
        ("lr=1", ["housing"]),
        ("lr=1.0", ["housing"]),
        ("loss<1", ["iris"]),
        ("optimizer=adam", ["digits"]),
        ("optimizer=adam accuracy>0.9", []),
        ("optimizer=Adam", []),
        ("bias=true", ["iris"]),
        ("layers<=3 layers>=3", ["iris"]),
        ("nothing<1", []),
        ("tag:pii", ["digits"]),
        ("tag:retention", ["digits"]),
        ("tag:retention=90d", ["digits"]),
        ("tag:retention=30d", []),
        ("tag:paper", ["speech"]),
        ("tag:PII", []),
        ("state:failed", ["housing"]),
        ("state:STOPPED", ["speech"]),
        ("kind:hpo", ["digits", "housing", "iris", "speech"]),
        ("kind:train", []),
        ("user:ada iris", ["iris"]),
        ("model:flowers", ["iris"]),
        ("model:flower", []),
        ("name:iris", ["iris"]),
        ("digits lr<0.2 accuracy>0.9 tag:pii", ["digits"]),
    ],
)
def test_a_query_finds_what_it_describes(home: Path, query: str, experiments: list[str]) -> None:
    assert found(home, query) == experiments


def test_the_best_trial_of_those_that_fulfil_the_comparisons_is_shown(home: Path) -> None:
    (hit,) = search(home, "name:digits accuracy<0.9").found
    assert hit.trial is not None
    assert (hit.trial.id, hit.trial.hparams["lr"]) == (0, 0.001)
    (hit,) = search(home, "name:digits lr<1").found
    assert hit.trial is not None
    assert hit.trial.id == 1
    assert [hit.trial for hit in search(home, "digits").found] == [None]


def test_the_newest_are_shown_and_the_older_ones_counted(home: Path) -> None:
    findings = search(home, "kind:hpo", limit=3)
    assert (len(findings.found), findings.n_more) == (3, 1)


def test_a_tag_and_a_note_are_found_as_soon_as_they_are_given(tmp_path: Path) -> None:
    run = run_on_disk(tmp_path)
    assert found(tmp_path, "paper") == []
    change_notes(run, ["paper"], note="for Åse")
    assert found(tmp_path, "paper tag:paper ase") == ["digits"]
    change_notes(run, remove=["paper"])
    assert found(tmp_path, "tag:paper") == []


def test_the_words_of_all_functions_that_a_run_went_on_with_are_found(tmp_path: Path) -> None:
    run = make_run(tmp_path, "mended", [], source="albatross")
    assert (found(tmp_path, "albatross"), found(tmp_path, "zebrafish")) == (["mended"], [])
    for number, word in enumerate(("zebrafish", "walrus"), 2):
        (run / f"source.{number}.py").write_text(word)
    for word in ("albatross", "zebrafish", "walrus"):
        assert found(tmp_path, word) == ["mended"]


def test_a_live_run_is_found_by_what_it_has_so_far(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        record(store, whole_run()[:-1])
        assert found(tmp_path, "accuracy>0.8 state:running") == ["digits"]


def test_a_metric_returned_as_a_plain_number_has_the_name_of_the_run(tmp_path: Path) -> None:
    ended = TrialEnded(0, 1, 1, TrialState.COMPLETE, {"metric": 0.8}, 0.8)
    run_on_disk(tmp_path, facts=[*begun(), TrialStarted(0, 1, 1, {}), ended, RunEnded(RunState.COMPLETE)])
    assert found(tmp_path, "accuracy>0.7") == ["digits"]


def test_one_that_cannot_be_read_is_told_of(tmp_path: Path) -> None:
    run_on_disk(tmp_path, "good")
    bad = run_on_disk(tmp_path, "bad")
    (bad / "run.json").write_text("[]")
    findings = search(tmp_path, "kind:hpo")
    assert [hit.summary.experiment for hit in findings.found] == ["good"]
    assert list(findings.unreadable) == [f"bad/{bad.name}"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "There is nothing to search for. Write words"),
        ("  ", "There is nothing to search for."),
        ("a lr<", "at character 6: lr< has no value after it. Write lr<0.01 without spaces.\n  a lr<\n       ^"),
        ("lr < 0.1", "at character 4: '<' has no name before it. Write lr<0.01 without spaces."),
        ("<0.1", "at character 1: '<' has no name before it. Write lr<0.01 without spaces."),
        ("lr<abc", "at character 4: 'abc' is no number, and lr< needs one. Write lr<0.01, or lr=text."),
        ("lr<nan", "'nan' is no number"),
        ("lr==1", "at character 3: there is no '=='. Use < <= > >= or =."),
        ("lr=<1", "there is no '=<'"),
        ("lr!=1", "at character 1: there is no '!='. Use < <= > >= or =."),
        ('a "b c', "at character 3: this quote has no end."),
        ("a ***", "at character 3: '***' has no letter and no digit to look for. Leave it out."),
        ('""', "has no letter and no digit"),
        ("stat:failed", "at character 1: there is no field 'stat'; known: tag:, state:, kind:"),
        ("stat:failed", 'Did you mean state? Or put the word into quotes: "stat:failed".'),
        ("state:faild", "at character 7: state: is 'faild'; allowed: starting, running, complete"),
        ("tag:", "at character 5: tag: has no value. Write tag:pii without a space."),
        ("x " * 65, "The search has 65 terms; at most 64 are allowed."),
        ("x" * 2001, "The search has 2,001 characters; at most 2,000 are allowed."),
    ],
)
def test_a_query_that_cannot_be_read_is_one_error_with_place_and_fix(query: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_query(query)
    assert message in str(caught.value)


def test_quotes_take_the_meaning_from_signs(home: Path) -> None:
    assert found(home, '"die Ziffern: near"') == ["digits"]
    assert parse_query('"val loss"<0.1').comparisons[0].name == "val loss"


def test_words_are_of_plain_letters_and_digits() -> None:
    assert words_of("Größe_x2, naïve 中文") == ["grosse", "x2", "naive", "u004e2du006587"]


_SPECIAL = st.sampled_from(
    [
        *"\"*-+^:(){}<>=!~?%_.,;'\\ \t\n\0ü中é😀",
        "NEAR",
        "AND",
        "OR",
        "NOT",
        "NEAR(",
        "text:",
        "words",
        "digits",
        "tag:pii",
    ]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.lists(_SPECIAL | st.text(max_size=6), max_size=8).map("".join))
def test_whatever_is_typed_is_searched_for_or_refused(home: Path, query: str) -> None:
    try:
        parse_query(query)
    except ConfigError:
        with pytest.raises(ConfigError):
            search(home, query)
        return
    found(home, query)


_TERMS = st.sampled_from(
    [
        *("alpha", "al", "beta", '"alpha beta"', "gamma_delta", "gamma", "e1", "name:e1", "tag:x", "tag:k", "tag:k=1"),
        *("state:complete", "state:failed", "kind:hpo", "model:m1", "user:ada", "optimizer=adam", "lr=0.5", "n=2"),
        *(
            f"{name}{sign}{value}"
            for name in ("lr", "accuracy", "n")
            for sign in ("<", ">=")
            for value in (0.25, 0.5, 2)
        ),
    ]
)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A home of various runs, and what their folders say without an index."""
    folder, draw = tmp_path_factory.mktemp("many"), random.Random(7)
    for number in range(12):
        trials = [
            (
                {
                    "lr": draw.choice([0.1, 0.5, "high"]),
                    "n": draw.choice([1, 2, 3]),
                    "optimizer": draw.choice(["adam", "sgd"]),
                },
                {"accuracy": draw.choice([0.2, 0.5, 0.9, math.inf])},
            )
            for _ in range(draw.randrange(4))
        ]
        make_run(
            folder,
            f"e{number % 3}",
            trials,
            state=draw.choice([RunState.COMPLETE, RunState.FAILED]),
            models=("m1",) if draw.random() < 0.3 else (),
            source=" ".join(draw.sample(["alpha", "beta", "gamma_delta", "alphabet"], 2)),
            tags=draw.sample(["x", "k=1", "k=2"], draw.randrange(3)),
        )
    return folder, [read_entry(path, LATER_S) for path in run_dirs(folder)]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(terms=st.lists(_TERMS, min_size=1, max_size=4))
def test_the_index_finds_what_the_folders_say(many: tuple[Path, list[Any]], terms: list[str]) -> None:
    home, entries = many
    query = parse_query(" ".join(terms))
    expected = {}
    for entry in entries:
        trial = next((trial for trial in entry.trials if query.is_fulfilled_by(trial)), None)
        if matches(query, entry) and (trial is not None or not query.comparisons):
            expected[entry.summary.run_id] = trial.id if query.comparisons and trial is not None else None
    hits = search(home, " ".join(terms), now_s=LATER_S).found
    assert {hit.summary.run_id: hit.trial and hit.trial.id for hit in hits} == expected
    assert (home / INDEX_NAME).is_file()


@pytest.fixture(scope="module")
def odd_numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of runs that each had an odd number as n, which is also the name."""
    folder = tmp_path_factory.mktemp("odd")
    for name, value in _ODD_NUMBERS.items():
        make_run(folder, name, [({"n": value}, {"accuracy": 0.5})])
    make_run(folder, "mixed", [({"n": value}, {"accuracy": 0.5}) for value in (1, 2**53 + 1, "16", 2**2048)])
    return folder


_ODD_NUMBERS = {
    "seven": 7,
    "nearly_seven": 7.000000001,
    "seed": 3_000_000_000,
    "seed_and_2": 3_000_000_002,
    "exact": 2**53,
    "exact_and_1": 2**53 + 1,
    "float_exact": float(2**53),
    "large_float": 1e300,
    "tiny": 5e-324,
    "minus_exact_and_1": -(2**53) - 1,
    "huge": 2**2048 + 1,
    "minus_huge": -(2**2048) - 1,
}


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("n=7", ["nearly_seven", "seven"]),
        ("n=3000000000", ["seed"]),
        ("n=3000000002", ["seed_and_2"]),
        ("n=3e9", ["seed", "seed_and_2"]),
        ("n=9007199254740992", ["exact", "float_exact"]),
        ("n=9007199254740993", ["exact_and_1", "mixed"]),
        ("n>=9007199254740993 n<1e299", ["exact_and_1", "mixed"]),
        ("n>9007199254740992 n<1e299", ["exact_and_1", "mixed"]),
        ("n<9007199254740993 n>3000000002", ["exact", "float_exact"]),
        ("n<-9007199254740992", ["minus_exact_and_1", "minus_huge"]),
        ("n<=-9007199254740993", ["minus_exact_and_1", "minus_huge"]),
        (f"n={2**2048 + 1}", ["huge"]),
        (f"n>={2**2048}", ["huge", "mixed"]),
        (f"n>{2**2048}", ["huge"]),
        ("n=inf", []),
        ("n=16", ["mixed"]),
    ],
)
def test_whole_numbers_are_compared_exactly_however_large(odd_numbers: Path, query: str, names: list[str]) -> None:
    assert found(odd_numbers, query) == names


_BOUNDS = st.sampled_from(
    [*map(str, _ODD_NUMBERS.values()), "inf", "-inf", "1e308", "1e309", "0", "16", "9007199254740994", str(2**2048)]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(terms=st.lists(st.tuples(st.sampled_from(["<", "<=", ">", ">=", "="]), _BOUNDS), min_size=1, max_size=2))
def test_index_and_folders_agree_on_odd_numbers(odd_numbers: Path, terms: list[tuple[str, str]]) -> None:
    found(odd_numbers, " ".join(f"n{sign}{bound}" for sign, bound in terms))


@pytest.mark.parametrize("has_index", [True, False])
def test_names_that_no_complete_trial_has_are_told_when_nothing_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_index: bool
) -> None:
    if not has_index:
        monkeypatch.setattr("lagom_magic.store.snapshot._index_files", lambda home: iter(()))
    make_run(tmp_path, "boosted", [({"lr": 0.1, "depth": 3}, {"validation_0-logloss": 0.4, "accuracy": 0.9})])
    assert search(tmp_path, "logloss<0.5 acuracy>0 lr>0").unknown == {
        "logloss": ["validation_0-logloss"],
        "acuracy": ["accuracy"],
    }
    assert search(tmp_path, "zzz=1").unknown == {"zzz": []}
    assert search(tmp_path, "zzz=1").known == ["accuracy", "depth", "lr", "validation_0-logloss"]
    assert search(tmp_path, "lr<0.01").unknown == {}
    assert search(tmp_path, "lr<1").known == []
    assert search(tmp_path / "empty", "zzz=1").unknown == {}
