import threading

import pytest

from lagom_magic.store.follower import Follower

WAIT_S = 20.0


class Steps:
    """What a follower did, in order; each step can be waited for."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._changed = threading.Condition()

    def add(self, step: str) -> None:
        with self._changed:
            self.done.append(step)
            self._changed.notify_all()

    def wait_for(self, n: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.done) >= n, WAIT_S)


def test_news_give_turns_and_the_end_gives_one_last_step() -> None:
    steps = Steps()
    follower = Follower("lagom-test", lambda: steps.add("turn") or 0.0, lambda: steps.add("finish"))
    follower.start()
    steps.wait_for(1)  # what was there before it began
    for n in (2, 3):
        follower.wake()
        steps.wait_for(n)
    assert follower.close(WAIT_S)
    assert steps.done == ["turn", "turn", "turn", "finish"]


def test_without_news_nothing_is_done() -> None:
    steps = Steps()
    follower = Follower("lagom-test", lambda: steps.add("turn") or 0.0, lambda: steps.add("finish"))
    follower.start()
    steps.wait_for(1)
    assert follower.close(WAIT_S)
    assert steps.done == ["turn", "finish"]


def test_the_end_does_not_wait_for_the_next_turn_and_a_bug_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    steps = Steps()

    def turn() -> float:
        steps.add("turn")
        raise ValueError("a bug")

    follower = Follower("lagom-test", turn, lambda: steps.add("finish"))
    follower.start()
    steps.wait_for(1)
    assert follower.close(WAIT_S)
    assert steps.done == ["turn", "finish"]
    assert "lagom-test failed; the run goes on." in caplog.text


def test_one_that_hangs_is_left_behind() -> None:
    steps, may_end = Steps(), threading.Event()

    def finish() -> None:
        may_end.wait(WAIT_S)
        steps.add("finish")

    follower = Follower("lagom-test", lambda: steps.add("turn") or 0.0, finish)
    follower.start()
    assert not follower.close(0.05)
    may_end.set()
    steps.wait_for(2)
    assert follower.close(WAIT_S)
