from __future__ import annotations

import json
import math
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lagom_magic.events.facts import (
    FACTS,
    MAX_WHOLE,
    Fact,
    FileStored,
    FilesUsed,
    MetricReported,
    ModelExported,
    Noticed,
    RunEnded,
    RunStarted,
    RunState,
    TrialEnded,
    TrialError,
    TrialRequeued,
    TrialStarted,
    TrialState,
    WorkerLost,
    WorkerRegistered,
    from_record,
    number_from_json,
    to_record,
)

ids = st.integers(0, 10**9)
text = st.text(max_size=20)
numbers = st.floats(allow_nan=False)
metrics = st.dictionaries(text, numbers, max_size=3)
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
hparams = st.dictionaries(text, plain | st.lists(plain, max_size=2), max_size=3)
texts = st.lists(text, max_size=2).map(tuple)
paths = st.from_regex(r"(artifacts|files|checkpoint)(/[a-zé][a-z é.]{0,9}){1,3}", fullmatch=True)
facts = st.one_of(
    st.builds(
        RunStarted,
        text,
        text,
        text,
        st.none() | ids,
        ids,
        st.none() | text,
        st.sampled_from(["max", "min"]),
        text,
        text,
        st.none() | ids,
        texts,
    ),
    st.builds(WorkerRegistered, ids, ids, text, ids, texts, text),
    st.builds(WorkerLost, ids, ids, text),
    st.builds(TrialStarted, ids, ids, ids, hparams, st.none() | ids),
    st.builds(MetricReported, ids, ids, ids, ids, metrics),
    st.builds(
        TrialEnded,
        ids,
        ids,
        ids,
        st.sampled_from(TrialState),
        metrics,
        st.none() | numbers,
        st.floats(0, 1e9),
        st.none() | st.builds(TrialError, text, text, text),
        texts,
        texts,
        st.dictionaries(text, text, max_size=2),
    ),
    st.builds(TrialRequeued, ids, ids, text),
    st.builds(FileStored, ids, ids, paths, ids, text),
    st.builds(Noticed, text),
    st.builds(RunEnded, st.sampled_from(RunState), text),
)


@given(facts)
def test_a_fact_survives_json_in_both_directions(fact: Fact) -> None:
    record = json.loads(json.dumps(to_record(fact), allow_nan=False))
    assert from_record(record) == fact
    assert json.loads(json.dumps(to_record(from_record(record)))) == record


def test_nan_is_written_as_text_and_read_as_nan() -> None:
    record = to_record(MetricReported(0, 1, 1, 0, {"loss": math.nan}))
    assert record["metrics"] == {"loss": "nan"}
    fact = from_record(record)
    assert isinstance(fact, MetricReported)
    assert math.isnan(fact.metrics["loss"])


@pytest.mark.parametrize("kind", FACTS.values())
def test_a_newer_versions_field_is_ignored_and_a_missing_one_is_an_error(kind: type[Fact]) -> None:
    with pytest.raises(ValueError, match=kind.type):
        from_record({"type": kind.type})
    assert all(field.name != "from_the_future" for field in fields(kind))
    assert from_record({"type": "noticed", "text": "x", "from_the_future": 1}) == Noticed("x")


@pytest.mark.parametrize("record", [{}, {"type": "nonsense"}, {"type": "run_ended", "state": "FINALIZED"}])
def test_a_record_that_is_no_fact_is_an_error(record: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"unknown event|not a valid"):
        from_record(record)


def test_text_that_is_no_number_is_an_error() -> None:
    with pytest.raises(ValueError, match="'NaN' is no number"):
        number_from_json("NaN")


def test_numbers_that_nobody_can_draw_or_store_are_no_facts() -> None:
    right = to_record(MetricReported(0, 1, 1, 3, {"loss": 0.5}))
    largest = {"step": MAX_WHOLE, "metrics": {"loss": 10**308}}
    assert from_record(right | largest) == MetricReported(0, 1, 1, MAX_WHOLE, {"loss": 10**308})
    for wrong in ({"step": MAX_WHOLE + 1}, {"step": 10**400}, {"metrics": {"loss": 10**400}}):
        with pytest.raises(ValueError, match=r"64 bits|beyond what a float holds"):
            from_record(right | wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ["x"]},
        {"name": "../x"},
        {"name": ".."},
        {"folder": 5},
        {"folder": "artifacts/models/../../x"},
        {"folder": "artifacts/other"},
        {"folder": "artifacts/models/"},
        {"folder": "artifacts/models/a\0b"},
        {"description": 3},
        {"description": "x" * 10_001},
        {"signature": {"inputs": 3}},
        {"signature": ["x"]},
        {"signature": {str(number): "" for number in range(60)}},
        {"metrics": {"accuracy": "high"}},
        {"metrics": 3},
        {"n_files": "1"},
    ],
)
def test_an_export_that_a_worker_makes_up_is_refused(wrong: dict[str, object]) -> None:
    right = to_record(ModelExported(0, 1, 1, "digits", "artifacts/models/digits", {"accuracy": 0.5}))
    assert from_record(right) == ModelExported(0, 1, 1, "digits", "artifacts/models/digits", {"accuracy": 0.5})
    with pytest.raises(ValueError, match=r"malformed model_exported event|is no number"):
        from_record(right | wrong)


@pytest.mark.parametrize("reads", [3, [1], [{"path": 3}], [{}], "text", [{"path": "x"}] * 2_001])
def test_files_that_a_worker_makes_up_are_refused(reads: object) -> None:
    right = to_record(FilesUsed(0, 1, 1, ({"path": "/data.csv"},)))
    assert from_record(right) == FilesUsed(0, 1, 1, ({"path": "/data.csv"},))
    with pytest.raises(ValueError, match="malformed files_used event"):
        from_record(right | {"reads": reads})


@pytest.mark.parametrize(
    "path",
    ["artifacts/../../x", "/etc/passwd", "artifacts", "notes.json", "artifacts//x", "files/a\0b", "", 5, ["files/x"]],
)
def test_a_stored_file_that_would_lie_elsewhere_is_no_fact(path: object) -> None:
    right = to_record(FileStored(0, 1, "artifacts/plot.png", 3, "abc"))
    assert from_record(right) == FileStored(0, 1, "artifacts/plot.png", 3, "abc")
    with pytest.raises(ValueError, match=r"is refused|malformed file_stored"):
        from_record(right | {"path": path})
