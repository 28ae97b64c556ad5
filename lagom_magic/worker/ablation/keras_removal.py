"""Leaves layers out of Keras models by wiring their graph anew; called by `removal`.

In subclassed models and layers, whose wiring Keras does not know, `keras_attributes` puts stand-ins in their place.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from lagom_magic.errors import NotRemovableError
from lagom_magic.spec.parts import is_keras_graph, keras_layers
from lagom_magic.worker.ablation.changes import Changes, first_line, not_removable
from lagom_magic.worker.ablation.keras_attributes import forbid_calls, replace_attributes
from lagom_magic.worker.ablation.keras_layers import keep_weights, made_anew

_BESIDE_THE_GRAPH = (
    "it is called by another way than its place in the graph, such as the function of a Lambda layer or another model."
)


def without_layers(model: Any, names: list[str], changes: Changes) -> Any:
    """The model without the layers, compiled as it was.

    Raises:
        NotRemovableError: when the rest does not fit together, or gives an output of another shape.
    """
    before = _output_shapes(model)
    ablated = _Removal(names, changes).of(model, names)
    after = _output_shapes(ablated)
    if after != before:
        raise not_removable(names, f"the model's output would be of shape {_joined(after)}, not {_joined(before)}.")
    _compile_as(model, ablated, names)
    return ablated


class _Removal:
    """Leaves parts out of a model, and of models and layers within it.

    Args:
        names: of all parts that are left out, for messages.
    """

    def __init__(self, names: list[str], changes: Changes) -> None:
        self.names = names
        self.changes = changes

    def of(self, model: Any, names: list[str], prefix: str = "") -> Any:
        """The model without the layers.

        Args:
            model: a model, or a layer that holds layers.
            names: within this model.
            prefix: of this model's own name within the whole, such as "encoder/".
        """
        if not is_keras_graph(model):
            return self._of_subclassed(model, names, prefix)
        within: dict[str, list[str]] = {}
        for name in names:
            first, _, rest = name.partition("/")
            within.setdefault(first, []).extend([rest] if rest else [])
        if isinstance(model, sys.modules["keras"].Sequential) and model._functional is None:
            return self._of_unbuilt(model, within, prefix)
        return _Rewiring(self, model, within, prefix).rewired()

    def _of_subclassed(self, model: Any, names: list[str], prefix: str) -> Any:
        layers = dict(keras_layers(model))
        replace_attributes(model, {name: layers[name] for name in names}, self, prefix)
        return model

    def _of_unbuilt(self, model: Any, within: dict[str, list[str]], prefix: str) -> Any:
        """A Sequential that has not seen a shape yet: its layers have no weights, so none can misfit."""
        if within.get(model.layers[-1].name) == []:
            raise self.error(
                f"{prefix}{model.layers[-1].name} gives the output of a model whose shapes are not known yet. "
                "Begin the model with keras.Input(shape=…)."
            )
        layers = []
        for layer in model.layers:
            inner = within.get(layer.name)
            if inner != []:
                layers.append(self.of(layer, inner, f"{prefix}{layer.name}/") if inner else layer)
            else:
                forbid_calls(layer, f"{prefix}{layer.name}", _BESIDE_THE_GRAPH)
                self.changes.say(f"{prefix}{layer.name}: removed")
        return self.constructed(model, layers)

    def constructed(self, model: Any, *structure: Any) -> Any:
        """A model of the same class and name."""
        cls = type(model)
        is_plain = cls.__init__ is sys.modules["keras"].Sequential.__init__
        if not is_plain and not sys.modules["keras.src.models.functional"].functional_like_constructor(cls):
            raise self.error(
                f"{cls.__name__} wires its layers in its own __init__, so it cannot be wired anew. Build the model by "
                "functions, or make the layers attributes that call() uses."
            )
        return cls(*structure, name=model.name, **({} if model.trainable else {"trainable": False}))

    def error(self, reason: str) -> NotRemovableError:
        return not_removable(self.names, reason if reason.endswith(".") else f"{reason}.")


class _Rewiring:
    """One graph of layers that is run through again without some of them.

    A layer whose inputs have the shapes they had stays the very same object, with its weights and seeds. From the first
    one on that sees another shape, layers are made anew from their configuration.
    """

    def __init__(self, removal: _Removal, model: Any, within: dict[str, list[str]], prefix: str) -> None:
        self._removal = removal
        self._model = model
        self._within = within
        self._prefix = prefix
        self._graph = getattr(model, "_functional", None) or model
        #: {id of layer: (shape, dtype) of its inputs when it was first called}
        self._inputs: dict[int, list[Any]] = {}
        #: {id of layer: the one in the new model}
        self._successors: dict[int, Any] = {}
        #: The ids of layers that were left out, which may not be called any more.
        self._forbidden: set[int] = set()

    def rewired(self) -> Any:
        self._look()
        _forget_calls(self._graph)
        outputs = self._graph._run_through_graph(self._graph._inputs_struct, call_fn=self._call)
        if self._graph is self._model:
            model = self._removal.constructed(self._model, self._graph._inputs_struct, outputs)
        else:
            _forget_calls(type(self._graph)(self._graph._inputs_struct, outputs))
            kept = [self._successors[id(layer)] for layer in self._model.layers if id(layer) in self._successors]
            model = self._removal.constructed(self._model, [self._graph.inputs[0]._keras_history.operation, *kept])
        self._check_outputs(model)
        self._say_what_went_along(model)
        return model

    def _look(self) -> None:
        """Notes what each layer saw, and which input takes the place of a layer that goes."""
        used = {id(x) for node in _nodes(self._graph) for x in node.input_tensors}
        used |= {id(x) for x in self._graph.outputs}
        for node in _nodes(self._graph):
            layer = node.operation
            self._inputs.setdefault(id(layer), [(x.shape, x.dtype) for x in node.input_tensors])
            if not self._is_left_out(layer):
                continue
            name = self._prefix + layer.name
            if any(id(x) in used for x in node.outputs[1:]):
                raise self._removal.error(
                    f"{name} gives {len(node.outputs)} tensors, and an input can take the place of the first only"
                )
            if id(layer) not in self._forbidden:
                self._forbidden.add(id(layer))
                forbid_calls(layer, name, _BESIDE_THE_GRAPH)
            origins = [x._keras_history.operation.name for x in node.input_tensors]
            more = f", of its inputs {origins[0]} takes its place (not {', '.join(origins[1:])})" if origins[1:] else ""
            self._removal.changes.say(f"{name}: removed{more}")

    def _is_left_out(self, layer: Any) -> bool:
        return self._within.get(layer.name) == [] and isinstance(layer, sys.modules["keras"].layers.Layer)

    def _call(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer, or what has taken its place, on tensors of the new graph."""
        inputs = _tensors((args, kwargs))
        if self._is_left_out(layer):
            return inputs[0]
        is_first = id(layer) not in self._successors
        if is_first:
            self._successors[id(layer)] = self._successor(layer, inputs)
        successor = self._successors[id(layer)]
        try:
            outputs = successor(*args, **kwargs)
        except Exception as error:  # Keras' and the layers' own, of every kind
            shapes = _joined([x.shape for x in inputs])
            raise self._removal.error(
                f"without it {self._prefix}{layer.name} gets input of shape {shapes}, which does not fit: "
                f"{first_line(error)}"
            ) from error
        is_anew = is_first and successor is not layer and not self._within.get(layer.name)
        if is_anew and not keep_weights(layer, successor):
            shapes = _joined([x.shape for x in inputs])
            self._removal.changes.say(f"{self._prefix}{layer.name}: new weights, for its input is now {shapes}")
        return outputs

    def _successor(self, layer: Any, inputs: list[Any]) -> Any:
        inner = self._within.get(layer.name)
        if inner:
            return self._removal.of(layer, inner, f"{self._prefix}{layer.name}/")
        if self._inputs[id(layer)] == [(x.shape, x.dtype) for x in inputs]:
            return layer
        if not isinstance(layer, sys.modules["keras"].layers.Layer):  # an operation such as x + y, which keeps nothing
            return layer
        try:
            return made_anew(layer)
        except Exception as error:  # whatever a custom layer's own configuration raises
            raise self._removal.error(
                f"{self._prefix}{layer.name} after it needs other weights, and {type(layer).__name__} cannot be made "
                f"anew from its configuration (get_config, from_config): {first_line(error)}"
            ) from error

    def _check_outputs(self, model: Any) -> None:
        names = [self._graph.output_names, getattr(model, "_functional", model).output_names]
        if len(names[0]) > 1 and names[0] != names[1]:
            raise self._removal.error(
                f"the model's outputs would be {_joined(names[1])}, not {_joined(names[0])}; losses go by these names"
            )

    def _say_what_went_along(self, model: Any) -> None:
        kept = {layer.name for layer in model.layers}
        gone = [layer.name for layer in self._model.layers if layer.name not in kept and not self._is_left_out(layer)]
        if gone:
            self._removal.changes.say(f"{', '.join(self._prefix + name for name in gone)}: removed, now without use")


def _nodes(graph: Any) -> Iterator[Any]:
    """Every call of a layer, those whose results are used earlier first."""
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        yield from (node for node in graph._nodes_by_depth[depth] if not node.is_input)


def _forget_calls(graph: Any) -> None:
    """Takes a graph's calls out of its layers' books, so that `layer.output` will be that of the next graph."""
    calls = set(_nodes(graph))
    for layer in graph.operations:
        layer._inbound_nodes[:] = [node for node in layer._inbound_nodes if node not in calls]
        layer._outbound_nodes[:] = [node for node in layer._outbound_nodes if node not in calls]


def _tensors(structure: Any) -> list[Any]:
    keras = sys.modules["keras"]
    return [x for x in keras.tree.flatten(structure) if isinstance(x, keras.KerasTensor)]


def _output_shapes(model: Any) -> list[Any] | None:
    """None where they are not known: in subclassed models, and before a Sequential has seen its input."""
    graph = getattr(model, "_functional", model)
    return [x.shape for x in graph.outputs] if graph is not None and is_keras_graph(graph) else None


def _joined(values: Any) -> str:
    return " and ".join(map(str, values))


def _compile_as(model: Any, ablated: Any, names: list[str]) -> None:
    """Compiles the new model with what the other one was compiled with; a used optimizer is made anew."""
    if not model.compiled:
        return
    base = sys.modules["keras"].Model
    if type(model).compile is not base.compile:
        if ablated is model:
            return
        if type(model).compile_from_config is base.compile_from_config:
            raise not_removable(
                names,
                f"{type(model).__name__} has its own compile(), whose arguments are not known. Compile the model in "
                "the training function, after it was made.",
            )
        ablated.compile_from_config(model.get_compile_config())
        return
    arguments = dict(model._compile_config.config)
    optimizer = arguments["optimizer"]
    if ablated is model and not optimizer.built:
        return
    if optimizer.built:
        arguments["optimizer"] = type(optimizer).from_config(optimizer.get_config())
    ablated.compile(**arguments)
