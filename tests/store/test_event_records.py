"""Records encoded by hand, read back by the library that they are made for."""

from __future__ import annotations

import math
from typing import Any

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.compat.proto import event_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from lagom_magic.store.event_records import RecordEncoder

ENCODER = RecordEncoder(google_crc32c.value, b"")
TIMES = st.floats(min_value=0, max_value=1e12)


def parsed(record: bytes) -> Any:
    length = int.from_bytes(record[:8], "little")
    assert len(record) == 8 + 4 + length + 4
    return event_pb2.Event.FromString(record[12:-4])


def plugin_data(record: bytes) -> Any:
    (value,) = parsed(record).summary.value
    assert value.metadata.plugin_data.plugin_name == "hparams"
    return plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)


@given(st.dictionaries(st.text(max_size=200), st.floats(), max_size=4), st.integers(-(2**63), 2**63 - 1), TIMES)
def test_scalars_are_read_back(metrics: dict[str, float], step: int, time: float) -> None:
    event = parsed(ENCODER.scalars(metrics, step, time))
    assert (event.step, event.wall_time) == (step, time)
    assert [value.tag for value in event.summary.value] == list(metrics)
    for value, number in zip(event.summary.value, metrics.values(), strict=True):
        if math.isnan(number):
            assert math.isnan(value.simple_value)
        else:
            assert value.simple_value == pytest.approx(number, rel=1e-6, abs=1e-37) or abs(number) > 3.4e38


@given(st.dictionaries(st.text(), st.booleans() | st.floats(allow_nan=False) | st.text()), TIMES)
def test_hyperparameters_are_read_back(hparams: dict[str, Any], time: float) -> None:
    info = plugin_data(ENCODER.session_start(hparams, time)).session_start_info
    assert (info.group_name, info.start_time_secs) == ("", time)
    read = {key: getattr(value, value.WhichOneof("kind")) for key, value in info.hparams.items()}
    assert read == hparams
    assert {key: type(value) for key, value in read.items()} == {key: type(value) for key, value in hparams.items()}


@given(st.integers(0, 3), TIMES)
def test_the_end_is_read_back(status: int, time: float) -> None:
    info = plugin_data(ENCODER.session_end(status, time)).session_end_info
    assert (info.status, info.end_time_secs) == (status, time)


def test_every_file_begins_with_its_version() -> None:
    assert parsed(ENCODER.file_start(1.5)).file_version == "brain.Event:2"


def test_a_number_beyond_float32_is_infinite() -> None:
    values = parsed(ENCODER.scalars({"a": 1e300, "b": -1e300}, 0, 0.0)).summary.value
    assert [value.simple_value for value in values] == [math.inf, -math.inf]
