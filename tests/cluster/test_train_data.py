"""What data become on their way from the notebook to the workers: called functions, Parquet files, Spark DataFrames."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lagom_magic.cluster.data import RunData
from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.cluster.session import SessionInfo
from lagom_magic.errors import ClusterError, ConfigError, RunFailed, RunStopped
from lagom_magic.experiment import launch
from lagom_magic.run import Run
from lagom_magic.spec.config import BaseConfig, OptimizationConfig, TorchDistributedConfig
from lagom_magic.worker.distribution.parquet import ParquetData

Launch = Callable[..., Run]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all runs."""
    monkeypatch.setenv("LAGOM_HOME", str(tmp_path / "runs"))
    monkeypatch.delenv("LAGOM_DATA_DIR", raising=False)
    return tmp_path / "runs"


def run_here(train_fn: Callable[..., Any], config: BaseConfig) -> Run:
    return launch(train_fn, config, ui="none", make_launcher=lambda kit, _, n_workers: ProcessLauncher(kit, n_workers))


def file_of(path: Path, n_rows: int) -> Path:
    pq.write_table(pa.table({"id": np.arange(n_rows)}), path)
    return path


def train(train_set: Any, test_set: Any = None) -> dict[str, float]:
    return {"n_rows": float(len(train_set)), "last": float(test_set)}


class TestProcessData:
    def test_it_runs_here_once_and_the_function_gets_what_it_returns(self, home: Path, tmp_path: Path) -> None:
        calls = []

        def process_data(train_path: Path, test_path: int) -> Any:
            calls.append(os.getpid())
            return train_path.read_text().split(), test_path + 1

        (tmp_path / "words.txt").write_text("a b c")
        config = BaseConfig(process_data=process_data, train_set=tmp_path / "words.txt", test_set=6)
        assert run_here(train, config).result == {"n_rows": 3.0, "last": 7.0}
        assert calls == [os.getpid()]

    def test_a_search_takes_it_too(self, home: Path) -> None:
        config = OptimizationConfig(
            process_data=lambda n: [0] * n,
            dataset=4,
            num_trials=2,
            workers=1,
            searchspace={"x": ("DOUBLE", [0.0, 1.0])},
        )
        run = run_here(lambda x, dataset: x + len(dataset), config)
        assert all(4 <= trial.metrics["metric"] <= 5 for trial in run.trials)

    def test_its_own_error_goes_through_with_its_traceback(self, home: Path) -> None:
        def process_data(train_path: str) -> Any:
            raise FileNotFoundError(f"no {train_path}")

        with pytest.raises(FileNotFoundError, match="no words") as caught:
            run_here(train, BaseConfig(process_data=process_data, train_set="words"))
        assert caught.traceback[-1].name == "process_data"
        assert not home.exists()

    def test_an_interrupt_in_it_ends_the_cell_before_anything_has_run(self, home: Path) -> None:
        config = BaseConfig(process_data=lambda path: os.kill(os.getpid(), signal.SIGINT), train_set="words")
        with pytest.raises(RunStopped, match="nothing has run"):
            run_here(train, config)
        assert not home.exists()

    def test_what_cannot_travel_is_named(self, home: Path) -> None:
        config = BaseConfig(process_data=lambda path: (i for i in path), train_set="words")
        with pytest.raises(ConfigError, match="`train_set` is a generator"):
            run_here(train, config)


class TestPaths:
    def test_parquet_of_a_shared_run_is_looked_up_and_anything_else_stays(self, home: Path, tmp_path: Path) -> None:
        path = file_of(tmp_path / "a.parquet", 7)
        given = {"train_set": path, "test_set": str(path), "dataset": "images", "model": str(path)}
        found = RunData(home, is_shared=True).looked_up(given)
        assert (found["dataset"], found["model"]) == ("images", str(path))
        assert isinstance(found["train_set"], ParquetData)
        assert (found["train_set"].is_test, found["test_set"].is_test) == (False, True)
        assert RunData(home, is_shared=False).looked_up(given) == given

    def test_what_is_left_out_is_told(self, home: Path, tmp_path: Path) -> None:
        data = RunData(home, is_shared=True)
        given = data.looked_up({name: file_of(tmp_path / "a.parquet", 7) for name in ("train_set", "test_set")})
        assert data.notes(given, 3) == (
            "train_set has 7 rows: each of 3 ranks reads 2 of them, and 1 at the end is left out, "
            "so that all take as many steps.",
        )
        assert data.notes(given, 7) == ()
        with pytest.raises(ConfigError, match="too few for 8 ranks"):
            data.notes(given, 8)


@pytest.mark.spark
class TestFrames:
    @pytest.fixture(autouse=True)
    def _session(self, on_local_spark: SessionInfo) -> None:
        from pyspark.sql import SparkSession

        self.spark = SparkSession.builder.getOrCreate()

    def written(self, data: RunData, **frames: Any) -> dict[str, Any]:
        said: list[str] = []
        values = data.written(frames, said.append)
        assert len(said) == len(frames)
        return values

    def test_a_frame_is_written_once_and_removed_at_the_end(self, home: Path) -> None:
        from pyspark.ml.linalg import Vectors
        from pyspark.sql import functions as f

        rows = [(index, Vectors.sparse(3, [1], [float(index)])) for index in range(101)]
        frame = self.spark.createDataFrame(rows, ["id", "features"])
        data = RunData(home, is_shared=True)
        values = self.written(data, train_set=frame.repartition(3), test_set=frame.filter(f.col("id") < 2))
        shares = [list(values["train_set"].for_rank("torch", rank, 2, 0)) for rank in range(2)]
        assert [len(share) for share in shares] == [50, 50]
        seen = {int(row["id"]): row["features"].tolist() for share in shares for row in share}
        assert len(seen) == 100
        assert all(vector == [0.0, float(index), 0.0] for index, vector in seen.items())
        assert sorted(int(row["id"]) for row in values["test_set"].as_torch()) == [0, 1]
        assert len(list((home / ".data").iterdir())) == 1
        data.close()
        data.close()
        assert list(home.iterdir()) == []

    def test_big_frames_get_row_groups_that_can_be_shared_out(self, home: Path) -> None:
        from pyspark.sql import functions as f

        wide = self.spark.range(0, 90_000, 1, 1).select("id", f.array(*[f.rand(seed) for seed in range(60)]).alias("x"))
        data = RunData(home, is_shared=True)
        train_set = self.written(data, train_set=wide)["train_set"]
        sizes = [piece.stop for piece in train_set.pieces(0, train_set.n_rows)]
        assert sum(sizes) == 90_000
        assert max(sizes) * 488 < 24e6
        data.close()

    def test_a_place_of_ones_own_may_be_a_uri(
        self, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for place, root in (
            ((tmp_path / "mine").as_uri(), tmp_path / "mine"),
            (str(tmp_path / "my own"), tmp_path / "my own"),
        ):
            monkeypatch.setenv("LAGOM_DATA_DIR", place)
            root.mkdir()
            data = RunData(home, is_shared=True)
            train_set = self.written(data, train_set=self.spark.range(5))["train_set"]
            assert train_set.n_rows == 5
            assert root in Path(train_set.path.removeprefix("file://")).parents
            data.close()
            assert list(root.rglob("*.parquet")) == []
        assert not home.exists()

    def test_a_column_without_tensors_is_refused_before_anything_is_computed(self, home: Path) -> None:
        from pyspark.sql import functions as f

        never = f.udf(lambda _: 1 / 0, "int")
        frame = self.spark.range(3).select(never("id").alias("n"), f.current_date().alias("day"))
        data = RunData(home, is_shared=True)
        with pytest.raises(ConfigError, match="train_set: column 'day' is date32"):
            self.written(data, train_set=frame)
        data.close()

    def test_executors_with_disks_of_their_own_are_found_out(self, home: Path, tmp_path: Path) -> None:
        data = RunData(home, is_shared=True)
        data._open_folder()
        with pytest.raises(ClusterError, match=r"nothing of it is there .* Set LAGOM_DATA_DIR to a place .* hdfs://"):
            data._check_is_shared(str(tmp_path / "elsewhere"), "train_set")
        data.close()

    def test_what_a_killed_process_has_left_goes_with_the_next_run(self, home: Path) -> None:
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        names = [f"{socket.gethostname()}-{pid}-ab" for pid in (ended.pid, os.getpid())] + ["elsewhere-1-ab"]
        for name in names:
            (home / ".data" / name).mkdir(parents=True)
        data = RunData(home, is_shared=True)
        self.written(data, train_set=self.spark.range(3))
        data.close()
        assert sorted(path.name for path in (home / ".data").iterdir()) == sorted(names[1:])

    def test_outside_of_a_training_a_frame_is_refused_with_the_fix(self, home: Path) -> None:
        with pytest.raises(ConfigError, match=r"train_set is a Spark DataFrame.*toPandas"):
            run_here(train, BaseConfig(train_set=self.spark.range(3)))


def test_a_folder_that_cannot_be_removed_is_told_in_the_log(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = RunData(home, is_shared=True)
    Path(data._open_folder()).rmdir()
    with caplog.at_level(logging.WARNING, "lagom_magic"):
        data.close()
    assert "is left behind" in caplog.text


def make_linear() -> Any:
    import torch

    return torch.nn.Linear(1, 1)


def train_on_rows(module: Any, train_set: Any, test_set: Any, trial: Any, fails: bool = False) -> dict[str, float]:
    """Plain PyTorch; what this rank saw stands in its output."""
    import torch
    from torch.utils.data import DataLoader

    model = module()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    seen: list[int] = []
    n_steps = 0
    for batch in DataLoader(train_set, batch_size=16, shuffle=True):
        optimizer.zero_grad()
        model(batch["id"].float().unsqueeze(1)).mean().backward()
        optimizer.step()
        seen += batch["id"].tolist()
        n_steps += 1
    if fails:
        raise ValueError("on purpose")
    model.eval()
    n_test = sum(len(batch["id"]) for batch in DataLoader(test_set, batch_size=16))
    print(f"rank {trial.rank}: {n_steps} steps, {len(set(seen))} rows from {min(seen)} to {max(seen)}")
    return {"n_steps": n_steps, "n_rows": len(seen), "n_test": n_test}


class TestTraining:
    def config(self, tmp_path: Path, **options: Any) -> TorchDistributedConfig:
        path = file_of(tmp_path / "rows.parquet", 101)
        return TorchDistributedConfig(module=make_linear, train_set=path, test_set=path, workers=2, **options)

    def test_each_rank_trains_on_its_rows_and_evaluates_on_all(self, home: Path, tmp_path: Path) -> None:
        run = run_here(train_on_rows, self.config(tmp_path))
        assert run.result == {"n_steps": 7.0, "n_rows": 50.0, "n_test": 101.0}
        logs = [(run.dir / "trials" / "0000" / name).read_text() for name in ("output.log", "output.r1.log")]
        assert "rank 0: 7 steps, 50 rows from 0 to 49" in logs[0]
        assert "rank 1: 7 steps, 50 rows from 50 to 99" in logs[1]
        assert any("101 rows: each of 2 ranks reads 50" in notice for notice in run.view.notices)

    @pytest.mark.spark
    @pytest.mark.slow
    def test_a_frames_files_go_with_a_run_that_fails(
        self, home: Path, tmp_path: Path, on_local_spark: SessionInfo
    ) -> None:
        from pyspark.sql import SparkSession

        frame = SparkSession.builder.getOrCreate().range(101)

        def both(train_path: str, test_path: str) -> Any:
            return frame, frame

        with pytest.raises(RunFailed, match="on purpose"):
            run_here(train_on_rows, self.config(tmp_path, process_data=both, hparams={"fails": True}))
        assert not (home / ".data").exists()
