"""How TensorFlow's ranks meet and exchange numbers: in threads of this process, over real sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from lagom_magic.worker.distribution.base import Place
from lagom_magic.worker.distribution.tensorflow_collectives import CollectiveError, Collectives, Purpose

HOST = "127.0.0.1"


@contextlib.contextmanager
def collectives_of(world_size: int, timeout_s: float = 10.0) -> Iterator[list[Collectives]]:
    ranks = [Collectives(Place(rank, world_size, HOST), timeout_s) for rank in range(world_size)]
    try:
        yield ranks
    finally:
        for one in ranks:
            one.mesh.close()


def on_all(ranks: list[Collectives], act: Callable[[Collectives], Any]) -> list[Any]:
    """What `act` returns or raises on each rank, all at once."""
    with ThreadPoolExecutor(len(ranks), "rank") as pool:
        futures: list[Future[Any]] = [pool.submit(act, one) for one in ranks]
        return [future.exception() or future.result() for future in futures]


def connect(ranks: list[Collectives]) -> None:
    addresses = [one.mesh.address for one in ranks]
    assert on_all(ranks, lambda one: one.mesh.connect(addresses)) == [None] * len(ranks)


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [0, 1, 7, 1_000_003])
def test_all_ranks_get_bitwise_the_same_sum(world_size: int, size: int) -> None:
    arrays = [np.random.default_rng(rank).normal(size=size).astype("float32") for rank in range(world_size)]
    with collectives_of(world_size) as ranks:
        connect(ranks)
        sums = on_all(ranks, lambda one: one.all_reduce(arrays[one.rank], Purpose.GRADIENTS))
    np.testing.assert_allclose(sums[0], np.sum(arrays, axis=0), rtol=1e-5, atol=1e-5)
    assert all(np.array_equal(one, sums[0]) for one in sums)


def test_rank_0s_array_and_bytes_reach_all_and_everybodys_bytes_too() -> None:
    def act(one: Collectives) -> Any:
        array = one.broadcast(np.full((2, 3), one.rank, "int16"), Purpose.VARIABLES)
        scalar = one.broadcast(np.float64(one.rank + 0.5), Purpose.VARIABLES)
        data = one.broadcast_bytes(b"file" if one.rank == 0 else b"other", Purpose.FILE)
        nothing = one.broadcast_bytes(b"", Purpose.FILE)
        return array.tolist(), float(scalar), data, nothing, one.gather_bytes(b"x" * one.rank, Purpose.RANDOM)

    with collectives_of(3) as ranks:
        connect(ranks)
        assert on_all(ranks, act) == [([[0] * 3] * 2, 0.5, b"file", b"", [b"", b"x", b"xx"])] * 3


def test_what_one_rank_says_counts_for_any() -> None:
    with collectives_of(3) as ranks:
        connect(ranks)
        assert on_all(ranks, lambda one: one.any(one.rank == 2, Purpose.DECISION)) == [True] * 3
        assert on_all(ranks, lambda one: one.any(False, Purpose.DECISION)) == [False] * 3


def test_a_rank_that_never_dials_is_named() -> None:
    with collectives_of(3, timeout_s=0.5) as ranks:
        addresses = [one.mesh.address for one in ranks]
        errors = on_all(ranks[:2], lambda one: one.mesh.connect(addresses))
    assert all(
        isinstance(error, CollectiveError) and "rank 2 did not connect within 0.5 s" in str(error) for error in errors
    )


def test_a_late_rank_is_named_by_all_others() -> None:
    with collectives_of(3, timeout_s=0.5) as ranks:
        connect(ranks)
        begun = time.monotonic()
        errors = on_all(ranks[:2], lambda one: one.all_reduce(np.ones(5), Purpose.GRADIENTS))
        assert time.monotonic() - begun < 5
        assert [str(error) for error in errors] == ["rank 2 did not come to average gradients within 0.5 s"] * 2


def test_why_a_rank_gives_up_reaches_those_who_did_not_wait_for_the_late_one() -> None:
    def act(one: Collectives) -> Any:
        if one.rank == 1:
            one.mesh.timeout_s = 10.0
            return one.broadcast(np.ones(5), Purpose.VARIABLES)
        one.mesh.exchange(Purpose.VARIABLES, {}, {2: memoryview(bytearray(4))})
        return None

    with collectives_of(3, timeout_s=0.5) as ranks:
        connect(ranks)
        errors = on_all(ranks[:2], act)
    assert [str(error) for error in errors] == ["rank 2 did not come to share variables within 0.5 s"] * 2


def test_a_rank_that_ends_is_named_at_once() -> None:
    with collectives_of(2, timeout_s=30.0) as ranks:
        connect(ranks)
        ranks[1].mesh.close()
        begun = time.monotonic()
        with pytest.raises(CollectiveError, match="rank 1 has gone while it was to merge metrics"):
            ranks[0].all_reduce(np.ones(5), Purpose.METRICS)
        assert time.monotonic() - begun < 2
        with pytest.raises(CollectiveError, match="rank 1 has gone while it was to merge metrics"):
            ranks[0].all_reduce(np.ones(5), Purpose.GRADIENTS)  # the first error stays the reason


def test_ranks_at_different_places_of_the_program_say_where() -> None:
    def act(one: Collectives) -> Any:
        return one.all_reduce(np.ones(3 + one.rank), Purpose.METRICS if one.rank else Purpose.GRADIENTS)

    with collectives_of(2) as ranks:
        connect(ranks)
        errors = [str(error) for error in on_all(ranks, act)]
    assert any(
        "rank 0 is to average gradients (exchange 0, 24 bytes), rank 1 is to merge metrics" in e for e in errors
    ) or (any("rank 1 is to merge metrics (exchange 0, 32 bytes), rank 0 is to average gradients" in e for e in errors))


@pytest.mark.parametrize("garbage", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 200])
def test_a_stranger_is_dropped_and_the_ranks_meet_all_the_same(garbage: bytes) -> None:
    with collectives_of(2) as ranks:
        addresses = [one.mesh.address for one in ranks]
        port = int(addresses[0].partition("/")[0].rpartition(":")[2])
        with socket.create_connection((HOST, port), timeout=5) as stranger:
            stranger.sendall(garbage)
            if not garbage:
                stranger.shutdown(socket.SHUT_WR)
            assert on_all(ranks, lambda one: one.mesh.connect(addresses)) == [None] * 2
            assert on_all(ranks, lambda one: one.any(True, Purpose.DECISION)) == [True] * 2


def test_who_does_not_know_the_ranks_secret_is_not_let_in_and_not_believed() -> None:
    with collectives_of(2, timeout_s=1.0) as ranks:
        addresses = [one.mesh.address for one in ranks]
        others = [address[:-1] + ("0" if address[-1] != "0" else "1") for address in addresses]
        errors = on_all(ranks, lambda one: one.mesh.connect(others if one.rank else addresses))
    assert "rank 1 did not connect within 1 s" in str(errors[0])
    assert isinstance(errors[1], CollectiveError)


def test_connecting_leaves_no_listening_port_and_closing_no_socket() -> None:
    with collectives_of(2) as ranks:
        ports = [int(one.mesh.address.partition("/")[0].rpartition(":")[2]) for one in ranks]
        connect(ranks)
        for port in ports:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((HOST, port), timeout=5)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rank")]
