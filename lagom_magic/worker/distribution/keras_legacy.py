"""Recognises code for Keras 2 by the error it gets from Keras 3, and knows the line to change."""

from __future__ import annotations

import re

_OLD_KERAS = " Or keep the old Keras, outside of `%%lagom train`: `pip install tf_keras` and TF_USE_LEGACY_KERAS=1."

#: (what the error's text matches, what to do); the first match counts.
_RULES: list[tuple[str, str]] = [
    (
        r"Argument\(s\) not recognized: \{'lr':",
        "Keras 3 calls this `learning_rate`: write `Adam(learning_rate=…)` for `Adam(lr=…)`.",
    ),
    (
        r"[Ii]nvalid input shape for input.*Expected shape \(None, None|expected shape=\(None, None.*found shape",
        "In Keras 3 the batch is no part of an input's shape: write `keras.Input((4,))` or `input_shape=(4,)` for "
        "`input_shape=(None, 4)`.",
    ),
    (
        r"has no attribute 'fit_generator'|has no attribute 'evaluate_generator'|has no attribute 'predict_generator'",
        "Keras 3 has one function for all input: write `model.fit(generator)` for `model.fit_generator(generator)`; "
        "likewise `evaluate` and `predict`.",
    ),
    (
        r"has no attribute 'predict_classes'|has no attribute 'predict_proba'",
        "Write `model.predict(x).argmax(axis=-1)` for `model.predict_classes(x)`, and `predict` for `predict_proba`.",
    ),
    (
        r"`keras\.optimizers\.legacy` is not supported",
        "Write `keras.optimizers.Adam(…)` for `keras.optimizers.legacy.Adam(…)`.",
    ),
    (
        r"Invalid filepath extension for saving|The `save_format` argument is deprecated in Keras 3",
        'Keras 3 saves to one file: write `model.save("model.keras")`; `model.export(folder)` makes a SavedModel.',
    ),
    (
        r"must end in `\.weights\.h5`",
        'Keras 3 wants this ending: write `"best.weights.h5"`.',
    ),
    (
        r"keras\.layers\.experimental|has no attribute 'experimental'",
        "What was in `keras.layers.experimental.preprocessing` is in `keras.layers`.",
    ),
    (
        r"No module named '(tensorflow\.)?keras\.wrappers'|No module named 'keras\.utils\.np_utils'",
        "This part of Keras 2 is gone: use `keras.utils.to_categorical`, or scikeras for scikit-learn's interface.",
    ),
]


def explain_legacy(error: BaseException) -> str | None:
    """The line to change when code for Keras 2 has met Keras 3, ready to append to the error's text; else None."""
    seen: list[str] = []
    current: BaseException | None = error
    while current is not None and len(seen) < 10:
        seen.append(str(current))
        current = current.__cause__ or current.__context__
    text = "\n".join(seen)
    for pattern, advice in _RULES:
        if re.search(pattern, text, re.DOTALL):
            return f" {advice}{_OLD_KERAS}"
    return None
