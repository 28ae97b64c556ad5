"""Leaves layers out of subclassed Keras models: a stand-in takes their attribute; used by `keras_removal`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol

from lagom_magic.errors import NotRemovableError
from lagom_magic.spec.parts import layers_in_attributes
from lagom_magic.worker.ablation.changes import Changes, not_removable


class Removal(Protocol):
    """What leaves parts out of a model that lies in an attribute."""

    changes: Changes

    def of(self, model: Any, names: list[str], prefix: str = "") -> Any: ...

    def error(self, reason: str) -> NotRemovableError: ...


def replace_attributes(model: Any, left_out: Mapping[str, Any], removal: Removal, prefix: str) -> None:
    """Puts stand-ins in place of layers, everywhere in the model where they are held.

    Args:
        model: a model, or a layer that holds layers.
        left_out: {name within the model: layer}; names with further "/" lie in a layer of this model.
        removal: leaves parts out of layers within this one.
        prefix: of the model's own name within the whole.
    """
    inside = {name: layer for layers in layers_in_attributes(model).values() for name, layer in layers.items()}
    successors: dict[int, Any] = {}
    for name, layer in inside.items():
        if name in left_out:
            forbid_calls(
                layer,
                f"{prefix}{name}",
                "it is called by another way than its attribute, such as a list in a list, or an object or function "
                "that holds it.",
            )
            removal.changes.expect_run(f"{prefix}{name}")
            successors[id(layer)] = _stand_in_class()(_LeftOut(layer, f"{prefix}{name}", removal), name=layer.name)
        elif inner := [other.removeprefix(f"{name}/") for other in left_out if other.startswith(f"{name}/")]:
            successors[id(layer)] = removal.of(layer, inner, f"{prefix}{name}/")
    for attribute in layers_in_attributes(model):
        value = getattr(model, attribute)
        replaced = _replaced(value, successors)
        if replaced is not value:
            _set(model, attribute, replaced)
    places: dict[int, int] = {}
    for place, layer in enumerate(model._layers):
        places.setdefault(id(successors.get(id(layer), layer)), place)
    for layer in inside.values():
        if successors.get(id(layer), layer) is not layer:
            model._tracker.untrack(layer)
    model._layers.sort(key=lambda layer: places[id(layer)])  # `for layer in self.layers` goes by it


def forbid_calls(layer: Any, name: str, reason: str) -> None:
    """Lets a layer that was left out raise when it is run on data; its shapes can still be asked for.

    Keras wraps errors of the symbolic runs in which it builds a model, so the data's own run is waited for.
    """
    symbolic_scope = sys.modules["keras.src.backend.common.symbolic_scope"]
    call = layer.call

    def refuse(*args: Any, **kwargs: Any) -> Any:
        if symbolic_scope.in_symbolic_scope():
            return call(*args, **kwargs)
        error = not_removable([name], reason)
        error._keras_call_info_injected = True  # type: ignore[attr-defined]  # else Keras adds tensors to the words
        raise error

    layer.call = refuse


def _replaced(value: Any, successors: Mapping[int, Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: successors.get(id(item), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [successors.get(id(item), item) for item in value]
        return tuple(items) if isinstance(value, tuple) else items
    return successors.get(id(value), value)


def _set(model: Any, attribute: str, value: Any) -> None:
    """Sets an attribute of a model that may have been built, to which Keras adds no layers otherwise."""
    tracker = model._tracker
    is_locked = tracker.locked
    tracker.unlock()
    try:
        setattr(model, attribute, value)
    finally:
        if is_locked:
            tracker.lock()


class _LeftOut:
    """A layer that was left out, kept to learn from symbolic tensors what it would give.

    Nothing is computed, and no model counts or trains its weights. Being no layer, it is not tracked by Keras.
    """

    def __init__(self, layer: Any, name: str, removal: Removal) -> None:
        self.layer = layer
        self.name = name
        self.removal = removal
        self._outputs: dict[Any, Any] = {}

    def outputs(self, given: list[Any], *args: Any, **kwargs: Any) -> Any:
        """Tensors without values, in the structure of the layer's output; the first size, the batch's, is open."""
        key = tuple((tuple(x.shape[1:]), str(x.dtype)) for x in given)
        if key not in self._outputs:
            symbolic = sys.modules["keras"].tree.map_structure(_symbolic, (args, kwargs))
            self._outputs[key] = self.layer(*symbolic[0], **symbolic[1])
        return self._outputs[key]

    def say(self, how: str) -> None:
        self.removal.changes.say_run(self.name, how)

    def zeros(self, like: Any, first: Any) -> Any:
        """Zeros of a shape whose open sizes are those of the first input."""
        ops = sys.modules["keras"].ops
        sizes = ops.shape(first)
        if any(size is None and axis >= len(sizes) for axis, size in enumerate(like.shape)):
            raise self.removal.error(f"the shape of the output of {self.name}, {like.shape}, depends on the data.")
        shape = [sizes[axis] if size is None else size for axis, size in enumerate(like.shape)]
        return ops.zeros(shape, dtype=like.dtype)


@cache
def _stand_in_class() -> Any:
    """The class of stand-ins; made late, for Keras is not there when this module is loaded."""
    keras = sys.modules["keras"]

    class StandIn(keras.layers.Layer):  # type: ignore[misc,name-defined]
        """Gives its input where the layer's output has the same shape, else zeros of the output's shape."""

        def __init__(self, left_out: _LeftOut, name: str) -> None:
            super().__init__(name=name)
            self.supports_masking = True
            self._left_out = left_out

        def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            given = _tensors((inputs, args, kwargs))
            outputs = self._left_out.outputs(given, inputs, *args, **kwargs)
            flat = keras.tree.flatten(outputs)
            is_same = tuple(given[0].shape[1:]) == tuple(flat[0].shape[1:])
            self._left_out.say("identity in its place" if is_same else "zeros in its place")
            values = [self._left_out.zeros(x, given[0]) for x in flat]
            return keras.tree.pack_sequence_as(outputs, [given[0], *values[1:]] if is_same else values)

    return StandIn


def _is_tensor(x: Any) -> bool:
    keras = sys.modules["keras"]
    return isinstance(x, keras.KerasTensor) or bool(keras.ops.is_tensor(x))


def _tensors(structure: Any) -> list[Any]:
    return [x for x in sys.modules["keras"].tree.flatten(structure) if _is_tensor(x)]


def _symbolic(x: Any) -> Any:
    keras = sys.modules["keras"]
    if not _is_tensor(x):
        return x
    return keras.KerasTensor((None, *x.shape[1:]), dtype=keras.backend.standardize_dtype(x.dtype))
