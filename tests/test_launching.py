"""What a person is told before a run begins."""

from __future__ import annotations

from typing import Any, cast

import pytest

from lagom_magic.cluster.session import SessionInfo
from lagom_magic.launching import _few_slots, _no_gang


@pytest.mark.parametrize(
    ("is_ours", "of_gpus", "what"),
    [
        (
            True,
            False,
            "local[4] has 2, as 2 more are kept for the notebook's other cells: use --workers 2, or restart the "
            "kernel: Spark starts with as many slots as its first run asks for.",
        ),
        (False, False, "local[4] has no more slots than 2: use --workers 2, or a session with more cores."),
        (
            True,
            True,
            "local[4] has no more slots for that share of GPUs than 2: use --workers 2, or a session with more GPUs.",
        ),
    ],
)
def test_too_few_slots_for_a_training_are_told_with_all_numbers(is_ours: bool, of_gpus: bool, what: str) -> None:
    text = _no_gang(local_4(is_ours=is_ours), 2, 3, of_gpus)
    assert text == f"a training on 3 workers needs 3 slots at once, and {what}"


def test_a_search_goes_on_with_the_slots_that_there_are_and_says_so() -> None:
    assert _few_slots(local_4(is_ours=False), 2, 3, of_gpus=False) == (
        "running on 2 of 3 workers: local[4] has no more slots than 2 (use --workers 2, or a session with more cores)."
    )


def local_4(*, is_ours: bool) -> SessionInfo:
    return SessionInfo(cast(Any, None), "4.0.0", "local[4]", 2, 0, "", is_ours)
