"""Parquet files as the data of a training: who reads which rows, in what order, as what, and how much of the files."""

from __future__ import annotations

import json
import pickle
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parquet_epochs import both_ways_of_loader, elsewhere, of_tensorflow

import lagom_magic
from lagom_magic.errors import ConfigError, LagomError
from lagom_magic.worker.distribution.parquet import ParquetData, is_parquet

ROOT = str(Path(lagom_magic.__file__).parents[1])


def folder_of(path: Path, files: Sequence[int], group: int) -> Path:
    """Files of so many rows, in row groups of `group`; column `id` counts through all of them."""
    path.mkdir(exist_ok=True)
    first = 0
    for index, n_rows in enumerate(files):
        ids = np.arange(first, first + n_rows)
        table = pa.table({"id": ids, "x": (ids / 2).astype("float32")})
        pq.write_table(table, path / f"part-{index:05}.parquet", row_group_size=group)
        first += n_rows
    (path / "_SUCCESS").touch()
    (path / ".part-00000.parquet.crc").touch()
    return path


def file_of(path: Path, columns: Mapping[str, Any]) -> Path:
    pq.write_table(pa.table(dict(columns)), path / "data.parquet")
    return path / "data.parquet"


def ids_of(data: ParquetData, rank: int, world_size: int, seed: Sequence[int] | None = None) -> list[int]:
    blocks = data.blocks(*data.rows_of(rank, world_size), seed)
    return [int(value) for block in blocks for value in block["id"]]


@settings(max_examples=25, deadline=None)
@given(
    files=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    group=st.integers(1, 15),
    world_size=st.integers(1, 4),
    seed=st.one_of(st.none(), st.just([7])),
)
def test_ranks_read_equally_many_rows_and_none_twice(
    tmp_path_factory: pytest.TempPathFactory, files: list[int], group: int, world_size: int, seed: list[int] | None
) -> None:
    n_rows = sum(files)
    data = ParquetData(folder_of(tmp_path_factory.mktemp("data"), files, group))
    assert len(data) == data.n_rows == n_rows
    if n_rows < world_size:
        with pytest.raises(ConfigError, match="too few for"):
            data.share(0, world_size)
        return
    shares = [ids_of(data, rank, world_size, seed) for rank in range(world_size)]
    assert {len(share) for share in shares} == {n_rows // world_size}
    assert sorted(row for share in shares for row in share) == list(range(n_rows // world_size * world_size))


def test_a_share_is_contiguous_and_names_the_row_groups_to_read(tmp_path: Path) -> None:
    data = ParquetData(folder_of(tmp_path / "data", [7, 3, 10], 4))
    assert [(p.file[-9], p.group, p.start, p.stop) for p in data.share(1, 2)] == [
        ("2", 0, 0, 4),
        ("2", 1, 0, 4),
        ("2", 2, 0, 2),
    ]
    assert ids_of(data, 1, 3) == [6, 7, 8, 9, 10, 11]


def test_what_travels_is_small_and_a_single_file_will_do(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "data", [5000], 10)
    data = pickle.loads(pickle.dumps(ParquetData(folder / "part-00000.parquet", columns=["id"])))
    assert len(pickle.dumps(data)) < 2000
    assert data.columns == ("id",)
    assert ids_of(data, 0, 1) == list(range(5000))
    assert list(next(data.blocks(0, 1, None))) == ["id"]
    assert repr(data).endswith("part-00000.parquet', 5,000 rows of id)")


def test_a_uri_is_read_as_a_path_is(tmp_path: Path) -> None:
    data = ParquetData(folder_of(tmp_path / "data", [3, 3], 2).as_uri())
    assert ids_of(data, 0, 2) == [0, 1, 2]


def test_each_kind_of_column_becomes_numbers_or_texts(tmp_path: Path) -> None:
    vector = pa.struct(
        [
            ("type", pa.int8()),
            ("size", pa.int32()),
            ("indices", pa.list_(pa.int32())),
            ("values", pa.list_(pa.float64())),
        ]
    )
    path = file_of(
        tmp_path,
        {
            "whole": pa.array([1, 2], pa.int16()),
            "gap": pa.array([1.5, None], pa.float32()),
            "is": pa.array([True, False]),
            "price": pa.array([Decimal("1.25"), Decimal("2.50")], pa.decimal128(8, 2)),
            "word": pa.array(["a", "b"]).dictionary_encode(),
            "list": pa.array([[1.0, 2.0], [3.0, 4.0]]),
            "image": pa.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], pa.list_(pa.list_(pa.int8(), 2), 2)),
            "ragged": pa.array([[1], [2, 3]]),
            "vector": pa.array(
                [
                    {"type": 1, "size": None, "indices": None, "values": [1.0, 2.0, 3.0]},
                    {"type": 0, "size": 3, "indices": [1], "values": [5.0]},
                ],
                vector,
            ),
        },
    )
    (block,) = ParquetData(path).blocks(0, 2, None)
    assert block["whole"].dtype == np.int16
    assert np.isnan(block["gap"]).tolist() == [False, True]
    assert block["is"].tolist() == [True, False]
    assert block["price"].tolist() == [1.25, 2.5]
    assert block["word"].tolist() == ["a", "b"]
    assert block["list"].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert block["image"].shape == (2, 2, 2)
    assert [row.tolist() for row in block["ragged"]] == [[1], [2, 3]]
    assert block["vector"].tolist() == [[1.0, 2.0, 3.0], [0.0, 5.0, 0.0]]


def test_lists_of_different_lengths_stay_as_they_are_when_shuffled(tmp_path: Path) -> None:
    rows = [[index] * (1 + index // 8192) for index in range(20_000)]
    data = ParquetData(file_of(tmp_path, {"x": pa.array(rows)}))
    found = [row.tolist() for block in data.blocks(0, len(data), [1]) for row in block["x"]]
    assert sorted(found) == sorted(rows)
    assert found != rows


def complaint(path: Any, **options: Any) -> str:
    def read() -> None:
        data = ParquetData(path, **options)
        list(data.blocks(0, len(data), None))

    with pytest.raises(LagomError) as caught:
        read()
    return str(caught.value)


def test_what_cannot_be_read_is_said_with_its_reason(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "data", [3], 3)
    assert "there is no Parquet file at" in complaint(tmp_path / "none.parquet")
    assert "has no column 'idd'; it has: id, x. Did you mean id?" in complaint(folder, columns=["idd"])
    assert "Allowed: a path, or a URI" in complaint("magic://bucket/data.parquet")
    pq.write_table(pa.table({"id": ["a"], "x": [1.0]}), folder / "part-9.parquet")
    assert "column 'id' is int64 in part-00000.parquet and string in part-9.parquet" in complaint(folder)
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    assert f"cannot be read on host {socket.gethostname()}" in complaint(tmp_path / "torn.parquet")
    (tmp_path / "by" / "year=2020").mkdir(parents=True)
    folder_of(tmp_path / "by" / "year=2020", [2], 2)
    assert "keeps the column 'year' in the names of its folders" in complaint(tmp_path / "by")


def test_columns_without_tensors_are_refused_by_name(tmp_path: Path) -> None:
    when = pa.array([0], pa.timestamp("us"))
    assert "column 'when' is timestamp[us], which has no tensors" in complaint(file_of(tmp_path, {"when": when}))
    assert "column 'n' (int64) has empty values (null)" in complaint(file_of(tmp_path, {"n": pa.array([1, None])}))
    assert "train_set: column 'm' is" in complaint(file_of(tmp_path, {"m": pa.array([{"a": 1}])}), label="train_set")


def test_paths_of_parquet_are_known_by_their_ends_and_contents(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "data", [3], 3)
    (tmp_path / "images").mkdir()
    assert all(map(is_parquet, (folder, str(folder), "s3://bucket/a.parquet", "hdfs://host/a.parquet/", "b.parq")))
    assert not any(
        map(is_parquet, (tmp_path / "images", "data.csv", "s3://bucket/images", 3, None, (folder,), "a\n.pq"))
    )


def test_pyarrow_missing_is_said_with_the_host() -> None:
    script = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from lagom_magic.worker.distribution.parquet import ParquetData\n"
        "try: ParquetData('a.parquet')\n"
        "except Exception as error: print(error)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert f"host {socket.gethostname()} has no pyarrow, which reads it. Run `pip install pyarrow`" in answer.stdout


class TestTorch:
    def rows(self, dataset: Any) -> list[int]:
        from torch.utils.data import DataLoader

        return [int(row) for batch in DataLoader(dataset, batch_size=16) for row in batch["id"]]

    def test_rows_are_dicts_of_tensors_and_of_this_rank_alone(self, tmp_path: Path) -> None:
        import torch

        data = ParquetData(folder_of(tmp_path / "data", [30, 71], 8))
        dataset = pickle.loads(pickle.dumps(data.for_rank("torch", 1, 2, 0)))
        assert isinstance(dataset, torch.utils.data.IterableDataset)
        assert dataset.lagom_share == (1, 2)
        assert len(dataset) == 100
        row = next(iter(dataset))
        assert (row["id"].dtype, row["x"].dtype, row["x"].shape) == (torch.int64, torch.float32, ())
        assert sorted(self.rows(dataset)) == list(range(50, 100))

    def test_each_epoch_has_an_order_of_its_own_which_torchs_seed_decides(self, tmp_path: Path) -> None:
        import torch

        data = ParquetData(folder_of(tmp_path / "data", [300], 32))
        runs = []
        for _ in range(2):
            torch.manual_seed(3)
            dataset = data.as_torch()
            runs.append([self.rows(dataset), self.rows(dataset)])
        assert runs[0] == runs[1]
        first, second = runs[0]
        assert first != second != sorted(second)
        assert sorted(first) == sorted(second) == list(range(300))

    def test_workers_of_a_loader_share_the_rows_and_shuffle_them(self, tmp_path: Path) -> None:
        data = ParquetData(folder_of(tmp_path / "data", [200], 16))
        for epochs in elsewhere(both_ways_of_loader, data):
            assert epochs[0] != epochs[1]
            assert [sorted(epoch) for epoch in epochs] == [list(range(100, 200))] * 2

    def test_a_test_set_is_whole_and_in_order_on_every_rank(self, tmp_path: Path) -> None:
        data = ParquetData(folder_of(tmp_path / "data", [31], 8))
        dataset = data.for_test().for_rank("torch", 1, 2, 0)
        assert not hasattr(dataset, "lagom_share")
        assert self.rows(dataset) == self.rows(dataset) == list(range(31))
        assert not data.is_test


@pytest.mark.slow
def test_tensorflow_gets_a_dataset_of_this_ranks_rows_in_another_order_each_epoch(tmp_path: Path) -> None:
    table = {"id": np.arange(101), "v": pa.array(np.arange(303.0).reshape(101, 3).tolist()), "t": ["a"] * 101}
    data = ParquetData(file_of(tmp_path, table))
    (tmp_path / "ragged").mkdir()
    ragged = ParquetData(file_of(tmp_path / "ragged", {"x": pa.array([[1, 2], [1, 2], [3]])}))
    found = elsewhere(of_tensorflow, data, ragged)
    assert found["share"] == (1, 2)
    assert found["n_rows"] == 50
    assert found["shapes"] == {"id": [], "v": [3], "t": []}
    assert found["epochs"][0] != found["epochs"][1]
    assert [sorted(epoch) for epoch in found["epochs"]] == [list(range(50, 100))] * 2
    assert found["again"] == found["epochs"][0], "the seed decides"
    assert found["whole"] == list(range(101))
    assert not found["whole_has_share"]
    assert "column 'x' has lists of different lengths" in found["error_of_ragged"]


#: One rank's epoch in a process of its own: what it read from disk, by how much its memory grew, and which rows it saw.
ONE_EPOCH = """
import json, resource, sys
import numpy as np
import pyarrow.parquet
from lagom_magic.worker.distribution.parquet import ParquetData

def n_read():
    with open("/proc/self/io") as file:
        return int(file.readline().split()[1])

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))

path, rank, world_size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
data = ParquetData(path)
list(data.blocks(*data.rows_of(rank, world_size * 100), None))
bytes_before, peak_before = n_read(), peak()
ids = np.concatenate([block["id"].copy() for block in data.blocks(*data.rows_of(rank, world_size), [1])])
print(json.dumps([n_read() - bytes_before, peak() - peak_before, len(ids), len(np.unique(ids)),
                  int(ids.min()), int(ids.max()), bool((np.diff(ids) > 0).all())]))
"""


def test_a_rank_reads_its_share_of_the_bytes_in_the_memory_of_a_buffer(tmp_path: Path) -> None:
    n_rows, width, world_size = 120_000, 256, 3
    random = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    for index in range(2):
        ids = np.arange(index * n_rows // 2, (index + 1) * n_rows // 2)
        values = pa.FixedSizeListArray.from_arrays(random.random(len(ids) * width, np.float32), width)
        pq.write_table(pa.table({"id": ids, "x": values}), tmp_path / "data" / f"{index}.parquet", row_group_size=5000)
    n_bytes = sum(path.stat().st_size for path in (tmp_path / "data").iterdir())
    assert n_bytes > 120e6
    for rank, world in ((0, world_size), (2, world_size), (0, 1)):
        answer = subprocess.run(
            [sys.executable, "-c", ONE_EPOCH, str(tmp_path / "data"), str(rank), str(world)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        n_read, grown, n_seen, n_unique, lowest, highest, is_sorted = json.loads(answer.stdout)
        assert n_seen == n_unique == n_rows // world
        assert (lowest, highest) == (rank * n_rows // world, (rank + 1) * n_rows // world - 1)
        assert not is_sorted
        assert n_read == pytest.approx(n_bytes / world, rel=0.1)
        assert grown < 90e6, "the buffer, copied once while it is filled, and some blocks"
