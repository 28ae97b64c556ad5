"""Parts of the Keras side that need Keras and no other rank: hooks, hints for old code, precision, strategies."""

from __future__ import annotations

from typing import Any

import pytest

from lagom_magic.worker.distribution.keras_legacy import explain_legacy
from tests.distribution import keras_alone, keras_functions

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    results: dict[str, Any] = keras_functions.run_alone(keras_alone.look, {})
    return results


def test_every_hook_is_replaced_while_it_is_applied_and_restored_after(seen: dict[str, Any]) -> None:
    assert seen["hooks"], "none was found"
    for where, (is_replaced, is_restored) in seen["hooks"].items():
        assert is_replaced, where
        assert is_restored, where


def test_what_is_set_beside_the_hooks_is_restored_too(seen: dict[str, Any]) -> None:
    assert seen["load_model"] == [True, True]
    assert seen["policies"] == ["float32", "mixed_bfloat16", "float32"]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("gone", ["has no optimizers.base_optimizer:BaseOptimizer.no_such_hook", "keras==3.15.1"]),
        ("renamed", ["(self, grads, trainable_variables), not (self, gradients)", "keras==3.15.1"]),
        ("no module", ["has no no_such_module:function"]),
    ],
)
def test_another_keras_is_refused_by_naming_what_it_lacks(seen: dict[str, Any], what: str, words: list[str]) -> None:
    for word in words:
        assert word in seen["guards"][what]


def test_an_unknown_precision_is_refused_with_the_known_ones(seen: dict[str, Any]) -> None:
    assert "mixed_precision 'fp4' is unknown to Keras. Known: bf16, fp16" in seen["unknown precision"]


def test_a_strategy_that_knows_nothing_of_the_other_ranks_is_refused(seen: dict[str, Any]) -> None:
    assert "creates tf.distribute.MirroredStrategy itself" in seen["mirrored"]
    assert "would train a model of its own" in seen["mirrored"]


def test_a_function_that_trains_nothing_together_is_warned_of(seen: dict[str, Any]) -> None:
    assert "Nothing was trained together" in seen["warning"]


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("lr", "`Adam(learning_rate=…)`"),
        ("input_shape", "`input_shape=(4,)`"),
        ("fit_generator", "`model.fit(generator)`"),
        ("predict_classes", "`model.predict(x).argmax(axis=-1)`"),
        ("legacy optimizer", "`keras.optimizers.Adam(…)`"),
        ("saved model", '`model.save("model.keras")`'),
        ("weights file", '`"best.weights.h5"`'),
        ("experimental", "is in `keras.layers`"),
        ("np_utils", "`keras.utils.to_categorical`"),
    ],
)
def test_code_for_keras_2_is_told_the_line_to_change(seen: dict[str, Any], code: str, advice: str) -> None:
    assert advice in (seen["legacy"][code] or f"no advice; the error: {seen['legacy errors'][code]}")


def test_an_error_that_has_nothing_to_do_with_keras_2_gets_no_advice() -> None:
    assert explain_legacy(ValueError("my own mistake")) is None
