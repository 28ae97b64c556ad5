"""Parts of global batches: complete, even, and weighed so that ranks together count as one process."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from lagom_magic.errors import ConfigError
from lagom_magic.worker.distribution.base import Place
from lagom_magic.worker.distribution.torch_batches import cut, is_made_of, n_rows_of
from lagom_magic.worker.distribution.torch_random import RandomStreams
from lagom_magic.worker.distribution.torch_rows import Common, RowsOfBlocks, RowsOfShare
from lagom_magic.worker.distribution.torch_shares import share_of


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
@pytest.mark.parametrize("n_rows", range(1, 20))
@pytest.mark.parametrize("usual", [1, 4, 16])
def test_the_parts_of_a_batch_are_all_of_it_and_weigh_as_much_as_the_ranks(
    n_rows: int, usual: int, world_size: int
) -> None:
    shares = [share_of(n_rows, usual, rank, world_size) for rank in range(world_size)]
    own = [row for share in shares if share.weight for row in range(share.start, share.stop)]
    assert own == list(range(n_rows))
    assert sum(share.weight for share in shares) == pytest.approx(world_size)
    assert all(share.stop > share.start for share in shares)
    assert shares[0].weight > 0


def test_a_tail_is_not_cut_into_single_rows_but_a_usual_batch_is() -> None:
    assert [share_of(3, 16, rank, 2).stop for rank in range(2)] == [3, 3]
    assert [share_of(3, 16, rank, 2).weight for rank in range(2)] == [2.0, 0.0]
    assert [share_of(2, 2, rank, 2).weight for rank in range(2)] == [1.0, 1.0]


def test_ready_batches_are_cut_where_they_have_rows() -> None:
    batch = {"x": torch.arange(6).view(3, 2), "pair": (torch.arange(3), ["a", "b", "c"]), "scale": 2.0}
    part = cut(batch, n_rows_of(batch), slice(1, 3))
    assert part["x"].tolist() == [[2, 3], [4, 5]]
    assert part["pair"][0].tolist() == [1, 2]
    assert part["pair"][1] == ["b", "c"]
    assert part["scale"] == 2.0
    with pytest.raises(ConfigError, match=r"first dimensions \[2, 3\]"):
        n_rows_of((torch.zeros(2), torch.zeros(3)))
    with pytest.raises(ConfigError, match="batch_size"):
        n_rows_of("text")


def test_a_dataset_made_of_the_test_set_is_known() -> None:
    inputs, targets = torch.arange(8.0), torch.arange(8.0) + 1
    test_set = TensorDataset(inputs, targets)
    assert is_made_of(test_set, test_set)
    assert is_made_of(Subset(test_set, [1, 2]), test_set)
    assert is_made_of(ConcatDataset([Subset(test_set, [1])]), test_set)
    assert is_made_of(TensorDataset(torch.from_numpy(inputs.numpy()), targets), (inputs.numpy(), targets.numpy()))
    assert not is_made_of(TensorDataset(inputs + 0), test_set)
    assert not is_made_of(test_set, None)


@pytest.mark.parametrize("batch_size", [4, 5])
def test_rows_of_a_rank_are_taken_in_equally_many_steps(batch_size: int) -> None:
    streams = RandomStreams(0)
    of_ranks = [
        [len(rows) for _, rows in RowsOfShare(range(15), batch_size, False, Place(rank, 2, ""), streams)]
        for rank in range(2)
    ]
    assert of_ranks[0] == of_ranks[1]
    assert sum(of_ranks[0]) == 15
    assert len(of_ranks[0]) == -(-30 // batch_size)


def test_what_travels_to_workers_of_a_loader_can_be_pickled_and_passes_attributes_on() -> None:
    class_ = Subset(TensorDataset(torch.arange(4)), [0, 1])
    wrapped = pickle.loads(pickle.dumps(RowsOfBlocks(class_, 2, False, Place(0, 1, ""), RandomStreams(0))))
    assert wrapped.indices == [0, 1]
    wrapped.indices = [3]
    assert [int(row[0]) for _, [row] in wrapped] == [3]
    assert len(Common([1, 2], RandomStreams(0))) == 2
