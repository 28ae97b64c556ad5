"""Which files the data were read from that a run was given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lagom_magic import AblationStudy
from lagom_magic.cluster.inputs import inputs_of
from lagom_magic.cluster.session import SessionInfo, settings_of
from lagom_magic.store.data_files import file_entries
from lagom_magic.store.provenance import redacted
from lagom_magic.worker.distribution.parquet import ParquetData


def given(argument: str, path: object) -> dict[str, object]:
    return {"argument": argument, "kind": "path", "paths": [str(path)], "n_files": 1}


def test_paths_are_those_that_are_there_from_the_notebooks_folder(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("1")
    (tmp_path / "folder").mkdir()
    fields = {"train_set": "rows.csv", "test_set": tmp_path / "folder", "dataset": "mnist", "name": "rows.csv"}
    assert inputs_of(fields, tmp_path) == [
        given("train_set", tmp_path / "rows.csv"),
        given("test_set", tmp_path / "folder"),
    ]


@pytest.mark.parametrize("value", [None, 3, "", "a\nb", "a\0b", b"rows.csv", np.zeros(3), object()])
def test_other_values_are_no_paths(value: object, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("1")
    assert inputs_of({"dataset": value}, tmp_path) == []


def test_uris_stay_and_those_of_local_files_become_paths(tmp_path: Path) -> None:
    fields = {"train_set": "hdfs://host/a b", "test_set": f"file://{tmp_path}/a%20b.parquet"}
    assert inputs_of(fields, tmp_path) == [
        given("train_set", "hdfs://host/a b"),
        given("test_set", f"{tmp_path}/a b.parquet"),
    ]


def test_parquet_data_and_the_dataset_of_a_study_count_too(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.0], "y": [0.0]})
    frame.to_parquet(tmp_path / "rows.parquet")
    study = AblationStudy(dataset=str(tmp_path / "rows.parquet"), label_name="y")
    assert inputs_of({"ablation_study": study}, tmp_path) == [given("dataset", tmp_path / "rows.parquet")]
    assert inputs_of({"train_set": ParquetData(tmp_path / "rows.parquet")}, tmp_path) == [
        given("train_set", tmp_path / "rows.parquet")
    ]


@pytest.mark.spark
class TestOfSpark:
    def test_a_data_frame_is_the_files_that_it_reads(self, on_local_spark: SessionInfo, tmp_path: Path) -> None:
        from pyspark.sql import SparkSession

        spark = SparkSession.builder.getOrCreate()
        for number in range(3):
            pd.DataFrame({"a": [1.0, 2.0]}).to_parquet(tmp_path / f"part {number}.parquet")
        frame = spark.read.parquet(str(tmp_path)).where("a > 1")
        [found] = inputs_of({"train_set": frame}, tmp_path)
        assert (found["argument"], found["kind"], found["n_files"]) == ("train_set", "Spark DataFrame", 3)
        entries, _ = file_entries(found["paths"])
        assert sorted(entry["path"] for entry in entries) == [str(tmp_path / f"part {i}.parquet") for i in range(3)]
        [made] = inputs_of({"dataset": spark.range(3)}, tmp_path)
        assert (made["paths"], made["n_files"]) == ([], 0)

    def test_settings_are_those_of_the_session_and_a_stopped_one_has_none(self, on_local_spark: SessionInfo) -> None:
        settings = settings_of(on_local_spark.context)
        assert settings is not None
        assert redacted(settings)["spark.master"] == on_local_spark.master
        assert settings_of(None) is None  # type: ignore[arg-type]
