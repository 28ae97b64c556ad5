"""Makes a Keras layer anew for input of another shape, and keeps the weights that fit; used by `keras_removal`."""

from __future__ import annotations

import sys
from typing import Any

#: Their objects are found by name when a configuration is read; all others must be named.
_FOUND_BY_KERAS = {"builtins", "keras", "tensorflow", "numpy"}


def made_anew(layer: Any) -> Any:
    """A layer of the same class, name and configuration that has not seen an input yet."""
    keras = sys.modules["keras"]
    if type(layer) is keras.layers.Lambda:  # its configuration would hold code without the names that the code uses
        return keras.layers.Lambda(
            layer.function,
            output_shape=layer._output_shape,
            mask=layer.mask,
            arguments=layer.arguments,
            name=layer.name,
            dtype=layer.dtype_policy,
        )
    with keras.utils.custom_object_scope(_own_objects(layer)):
        return type(layer).from_config(layer.get_config())


def keep_weights(layer: Any, successor: Any) -> bool:
    """Gives the successor, which has been called, the values of all weights whose shapes are the same.

    Returns:
        Whether that was so for all of them.
    """
    pairs = list(zip(layer._flatten_layers(), successor._flatten_layers(), strict=False))
    are_kept = len(layer.weights) == len(successor.weights)
    for old, new in pairs:
        new.trainable = old.trainable
        for ours, theirs in zip(new._seed_generators, old._seed_generators, strict=False):
            ours.state.assign(theirs.state)
        values: dict[str, Any] = {}
        wanted: dict[str, Any] = {}
        old.save_own_variables(values)
        new.save_own_variables(wanted)
        if {name: value.shape for name, value in values.items()} != {n: value.shape for n, value in wanted.items()}:
            are_kept = False
        elif values:
            new.load_own_variables(values)
    return are_kept


def _own_objects(layer: Any) -> dict[str, Any]:
    """{name: class or function} of what a layer and those within it are made of beside Keras' own."""
    found = {}
    for part in layer._flatten_layers():
        for value in (type(part), *vars(part).values()):
            made_of = value if isinstance(getattr(value, "__name__", None), str) else type(value)
            if str(getattr(made_of, "__module__", "")).partition(".")[0] not in _FOUND_BY_KERAS:
                found[made_of.__name__] = made_of
    return found
