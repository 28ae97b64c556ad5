"""What a function meets when two ranks train it with Keras: callbacks, files, checkpoints, data, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.distribution import keras_behaviours, keras_functions
from tests.support.ranks import run_ranks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BATCH_SIZE, TEST_BATCH_SIZE = 8, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[dict[str, Any]]:
    return run_ranks(
        keras_behaviours.behave,
        {"train_set": keras_functions.rows(50), "test_set": keras_functions.rows(20, seed=4)},
        world_size=2,
        settings={
            "framework": "tensorflow",
            "collective_timeout_s": 60,
            "train_batch_size": BATCH_SIZE,
            "test_batch_size": TEST_BATCH_SIZE,
        },
        arguments={"folder": str(folder)},
        folder=folder / "artifacts",
        gives_distribution=True,
    )


def test_callbacks_see_the_same_numbers_and_decide_alike_on_all_ranks(ranks: list[dict[str, Any]]) -> None:
    first, second = (result["callbacks"] for result in ranks)
    assert first["seen"] == second["seen"]
    assert first["n_epochs"] == second["n_epochs"] < 20  # EarlyStopping
    assert first["rate"] == second["rate"] < 0.5  # ReduceLROnPlateau
    assert first["digest"] == second["digest"]


def test_rank_0_alone_writes_files_and_draws_progress_bars(ranks: list[dict[str, Any]]) -> None:
    first, second = (result["callbacks"] for result in ranks)
    assert second["files"] == []
    assert second["printed"] == ""
    assert "Epoch 1/20" in first["printed"]
    events = [name for name in first["files"] if "tfevents" in name]
    assert sorted(name.split("/")[1] for name in events) == ["train", "validation"]
    assert {"best.keras", "last.keras", "log.csv", "newest.weights.h5"} <= set(first["files"])


def test_all_ranks_load_what_rank_0_has_written(ranks: list[dict[str, Any]]) -> None:
    for name in ("best", "last"):
        for ours, theirs in zip(ranks[0]["callbacks"][name], ranks[1]["callbacks"][name], strict=True):
            assert np.array_equal(ours, theirs)


def test_when_one_rank_wants_to_stop_all_stop_at_the_same_step(ranks: list[dict[str, Any]]) -> None:
    first, second = (result["stopped"] for result in ranks)
    assert first == second
    assert (first["n_epochs"], first["n_batches"]) == (2, 5)


def test_all_ranks_go_on_from_keras_own_backup(ranks: list[dict[str, Any]]) -> None:
    first, second = (result["backup"] for result in ranks)
    assert first["digest"] == second["digest"]
    assert len(first["history"]["loss"]) == 2


@pytest.mark.parametrize("data", ["arrays", "tf.data"])
def test_a_training_that_goes_on_from_a_checkpoint_ends_as_the_unbroken_one(
    ranks: list[dict[str, Any]], data: str
) -> None:
    results = [result[f"checkpoint of {data}"] for result in ranks]
    for result in results:
        assert result["resumed"]["digest"] == result["unbroken"]["digest"] == results[0]["unbroken"]["digest"]
        assert result["resumed"]["history"]["loss"] == result["unbroken"]["history"]["loss"][3:]
        assert result["resumed"]["drawn"] == result["unbroken"]["drawn"]
        assert result["resumed"]["values"]["epoch"] == 3
        assert result["resumed"]["values"]["best"].tolist() == [0.0, 1.0, 2.0]
    assert [result["exists"] for result in results] == [True, False]


def test_a_checkpoint_that_does_not_fit_is_refused_with_what_to_do(ranks: list[dict[str, Any]]) -> None:
    count, shape, missing, unbuilt, unknown = ranks[0]["refused"]
    assert "has 6 variables of 'model' and the one to load it into has 2" in count
    assert "is of shape (6, 9), in the checkpoint of shape (6, 8)" in shape
    assert "has no 'm'; it has: n." in missing
    assert "give it an Input" in unbuilt
    assert "'thing' is a object" in unknown


def test_a_tuple_with_a_batch_size_arrives_as_batches_of_that_many_rows_per_worker(
    ranks: list[dict[str, Any]],
) -> None:
    first, second = (result["batched"] for result in ranks)
    assert first["shapes"] == second["shapes"] == [(2 * BATCH_SIZE, 6)] * 3 + [(2, 6)]
    assert first["outcome"]["digest"] == second["outcome"]["digest"]


def test_ranks_own_rows_are_trained_in_the_steps_of_the_batches_that_the_user_made(
    ranks: list[dict[str, Any]],
) -> None:
    first, second = (result["share"] for result in ranks)
    assert first["digest"] == second["digest"]
    # 24 rows a rank in batches of 10, 10 and 4: two ranks need two steps for each; two epochs.
    assert first["steps"] == second["steps"] == 12


def test_the_model_that_was_fitted_last_is_saved_for_the_run(ranks: list[dict[str, Any]], folder: Path) -> None:
    expected = ranks[0]["last model"]
    found = keras_functions.run_alone(keras_behaviours.weights_in, {"path": str(folder / "artifacts" / "model.keras")})
    for ours, theirs in zip(found, expected, strict=True):
        assert np.array_equal(ours, theirs)


def test_an_error_of_one_rank_is_that_ranks_and_for_the_others_a_consequence() -> None:
    first, second = run_ranks(
        keras_behaviours.fail_on_rank_1,
        {},
        world_size=2,
        settings={"framework": "tensorflow", "mixed_precision": "fp16", "collective_timeout_s": 60},
        gives_distribution=True,
    )
    assert (first["kind"], first["is_consequence"]) == ("CollectiveError", True)
    assert "rank 1 has gone while it was to average gradients" in first["text"]
    assert (second["kind"], second["is_consequence"]) == ("ValueError", False)
    assert first["policy"] == second["policy"] == "mixed_float16"
    assert first["optimizer"] == "LossScaleOptimizer"
    assert first["loss"] == second["loss"]


def test_a_function_with_a_strategy_of_its_own_is_left_alone_and_told_of_the_others() -> None:
    results = run_ranks(keras_behaviours.strategy_of_its_own, {}, world_size=2, settings={"framework": "tensorflow"})
    assert results == [{"replicas": 2, "index": 0, "sum": 3.0}, {"replicas": 2, "index": 1, "sum": 3.0}]
