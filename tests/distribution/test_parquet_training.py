"""Ranks that train on Parquet files: their own rows in training, all rows in evaluation; unbatched ones are refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from lagom_magic.worker.distribution.parquet import ParquetData
from tests.support.ranks import run_ranks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

N_ROWS = 60


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ParquetData:
    path = tmp_path_factory.mktemp("data") / "rows.parquet"
    ids = np.arange(N_ROWS)
    pq.write_table(pa.table({"id": ids, "x": (ids / N_ROWS).astype("float32")}), path, row_group_size=7)
    return ParquetData(path, label="train_set")


class Pairs(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """As users wrap what they are given."""

    def __init__(self, source: Any) -> None:
        self.source = source

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for row in self.source:
            yield row["x"].reshape(1), row["id"]


def learn(module: Any, train_set: Any, n_workers: int) -> dict[str, list[Any]]:
    """Which rows it sees: in two epochs of training with an evaluation after each."""
    model = module()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    keeps = n_workers > 0
    loader = DataLoader(Pairs(train_set), batch_size=10, num_workers=n_workers, persistent_workers=keeps)
    seen: dict[str, list[Any]] = {"trained": [], "evaluated": [], "by rows": []}
    for _ in range(2):
        model.train()
        for inputs, ids in loader:
            optimiser.zero_grad()
            model(inputs).mean().backward()
            optimiser.step()
            seen["trained"] += ids.tolist()
        model.eval()
        with torch.no_grad():
            seen["evaluated"].append([int(number) for _, ids in loader for number in ids])
            seen["by rows"].append([int(row) for batch in DataLoader(train_set, batch_size=8) for row in batch["id"]])
    return seen


def linear() -> nn.Module:
    return nn.Linear(1, 1)


@pytest.mark.parametrize("n_workers", [0, 2])
def test_torch_trains_on_each_row_once_and_evaluates_on_all_of_them_on_each_rank(
    data: ParquetData, n_workers: int
) -> None:
    ranks = run_ranks(
        learn,
        {"module": linear, "train_set": data},
        world_size=2,
        settings={"framework": "torch", "collective_timeout_s": 60},
        arguments={"n_workers": n_workers},
    )
    assert sorted(number for rank in ranks for number in rank["trained"]) == sorted([*range(N_ROWS)] * 2)
    for rank in ranks:
        for epoch in [*rank["evaluated"], *rank["by rows"]]:
            assert sorted(epoch) == list(range(N_ROWS))
    assert ranks[0]["by rows"] == ranks[1]["by rows"]


def fit_single_rows(train_set: Any) -> dict[str, str]:
    import keras

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    pairs = train_set.map(lambda row: (row["x"], row["id"]))
    messages = {}
    for name, call in {
        "rows": lambda: model.fit(train_set, verbose=0),
        "mapped": lambda: model.evaluate(pairs.shuffle(5), verbose=0),
        "batched": lambda: model.fit(pairs.batch(10), verbose=0),
    }.items():
        try:
            call()
        except ValueError as error:
            messages[name] = f"{type(error).__name__}: {error}"
    return messages


def test_keras_is_told_to_make_batches_of_single_rows(data: ParquetData) -> None:
    settings = {"framework": "tensorflow", "collective_timeout_s": 60}
    for messages in run_ranks(fit_single_rows, {"train_set": data}, world_size=2, settings=settings):
        assert messages.keys() == {"rows", "mapped"}
        for message in messages.values():
            assert message.startswith(
                "ConfigError: Keras takes batches of (inputs, targets), and here come single rows"
            )
            assert "of train_set with the columns id, x. " in message
            assert ".batch(64)" in message
