"""The parts of a Keras, PyTorch or scikit-learn model that an ablation can leave out, and their names.

Run in the notebook, where a study lists and checks them, and in the trial process, which leaves them out by name.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lagom_magic.errors import ConfigError

Library = Literal["keras", "torch", "sklearn"]

#: What says most about a Keras layer: attribute → what it counts; the first one that a layer has is shown.
_KERAS_COUNTS = {"units": "unit", "filters": "filter", "num_heads": "head"}
_MAX_ABOUT = 60
#: Attribute of a scikit-learn composition → what takes the place of one of its members that is left out.
COMPOSITIONS = {"steps": "passthrough", "transformers": "drop", "transformer_list": "drop", "estimators": "drop"}


@dataclass(frozen=True)
class Part:
    """A named part of a model.

    Attributes:
        name: Keras: the layer's name, "outer/inner" in nested models; in subclassed models and layers the name of the
            attribute, "blocks/0" in a list or dict. PyTorch: as in `named_modules()`. scikit-learn: as in `set_params`.
        kind: "layer" (or module), "step" of a scikit-learn composition.
        about: one short line, such as "Dense, 64 units".
    """

    name: str
    kind: Literal["layer", "step"]
    about: str


def parts_of(model: Any) -> list[Part]:
    """Every part of the model that has a name, in its order; empty for one without parts.

    Raises:
        ConfigError: for what is no Keras, PyTorch or scikit-learn model, and for a ScriptModule.
    """
    library = library_of(model)
    if library == "keras":
        return [Part(name, "layer", _about_layer(layer)) for name, layer in keras_layers(model)]
    if library == "torch":
        return [Part(name, "layer", _about_module(module)) for name, module in _torch_modules(model)]
    return [Part(name, "step", _shortened(repr(step))) for name, step in sklearn_steps(model)]


def library_of(model: Any) -> Library:
    """The library that the model is made with; imports none.

    Raises:
        ConfigError: for what is no Keras, PyTorch or scikit-learn model.
    """
    keras, torch = sys.modules.get("keras"), sys.modules.get("torch")
    if keras is not None and isinstance(model, keras.Model):  # with torch as its backend, it is an nn.Module as well
        return "keras"
    if torch is not None and isinstance(model, torch.nn.Module):
        return "torch"
    if _is_estimator(model):
        return "sklearn"
    what = f"the class {model.__name__}" if isinstance(model, type) else f"an object of {type(model).__name__}"
    raise ConfigError(
        f"{what} is no model whose parts could be left out: that is a Keras 3 model, a torch.nn.Module or a "
        "scikit-learn estimator. If it is wrapped in something else, let the model's function return the model itself."
    )


def built(factory: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What the factory returns, with Keras' automatic names as in a fresh process: dense, dense_1 …

    So a name in the notebook's listing means the same layer in every trial, whatever was built before. Afterwards the
    process goes on counting where it was, or after the names just given, lest layers added to the model get one twice.
    """
    before = _swap_keras_names(None)
    try:
        return factory(*args, **kwargs)
    finally:
        given = _swap_keras_names(before) or {}
        if before is None:
            _swap_keras_names(given or None)
        else:
            before.update({name: max(count, before[name]) for name, count in given.items()})


def _swap_keras_names(counts: Any) -> Any:
    """Keras' counters of automatic names, {prefix: number given}, which are replaced; None without any."""
    state = sys.modules.get("keras.src.backend.common.global_state")
    if state is None:
        return None
    found = state.get_global_attribute("object_name_uids")
    state.set_global_attribute("object_name_uids", counts)
    return found


# Keras


def keras_layers(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(name, layer) of all layers but inputs, nested ones after the one they lie in; shared ones once."""
    seen: set[int] = set()
    for name, layer in _keras_children(model):
        if id(layer) not in seen:
            seen.add(id(layer))
            yield prefix + name, layer
            if is_keras_graph(layer) or not _is_of_keras(layer):
                yield from keras_layers(layer, f"{prefix}{name}/")


def is_keras_graph(model: Any) -> bool:
    """Whether Keras knows how the layers are wired: Sequential and functional models."""
    functional = sys.modules["keras.src.models.functional"].Functional
    return isinstance(model, (sys.modules["keras"].Sequential, functional))


def layers_in_attributes(layer: Any) -> dict[str, dict[str, Any]]:
    """{attribute: {name: layer}} of a subclassed model or layer; lists, tuples and dicts hold several."""
    base = sys.modules["keras"].layers.Layer
    found = {}
    for attribute, value in vars(layer).items():
        if attribute == "_layers" or attribute.startswith("_self_"):  # Keras' and TensorFlow's own books
            continue
        if isinstance(value, base):
            found[attribute] = {attribute: value}
        elif isinstance(value, (list, tuple, Mapping)):
            items = value.items() if isinstance(value, Mapping) else enumerate(value)
            inside = {f"{attribute}/{key}": item for key, item in items if isinstance(item, base)}
            if inside:
                found[attribute] = inside
    return found


def _keras_children(model: Any) -> list[tuple[str, Any]]:
    if is_keras_graph(model):
        inputs = sys.modules["keras"].layers.InputLayer
        return [(layer.name, layer) for layer in model.layers if not isinstance(layer, inputs)]
    return [item for layers in layers_in_attributes(model).values() for item in layers.items()]


def _is_of_keras(layer: Any) -> bool:
    return type(layer).__module__.partition(".")[0] == "keras"


def _about_layer(layer: Any) -> str:
    kind = type(layer).__name__
    if is_keras_graph(layer):
        return f"{kind}, {_counted(len(_keras_children(layer)), 'layer')}"
    for attribute, thing in _KERAS_COUNTS.items():
        number = getattr(layer, attribute, None)
        if isinstance(number, int):
            return f"{kind}, {_counted(number, thing)}"
    rate = getattr(layer, "rate", None)
    return f"{kind}, rate {rate}" if isinstance(rate, (int, float)) else kind


# PyTorch


def _torch_modules(model: Any) -> Iterator[tuple[str, Any]]:
    """(name, module) as in `named_modules()`, but for what lies in a ScriptModule, whose code is fixed."""
    script = sys.modules["torch"].jit.ScriptModule
    if isinstance(model, script):
        raise ConfigError(
            "the model is a ScriptModule, whose code calls what was there when it was scripted, so nothing can be left "
            "out of it. Give the model before scripting (torch.jit.script, torch.jit.trace)."
        )
    scripted: set[int] = set()
    for name, module in model.named_modules():
        if isinstance(module, script):
            scripted |= {id(inner) for inner in module.modules() if inner is not module}
        if name and id(module) not in scripted:
            yield name, module


def _about_module(module: Any) -> str:
    kind = type(module).__name__
    n_inside = sum(1 for _ in module.children())
    if n_inside:
        return f"{kind}, {_counted(n_inside, 'module')}"
    details = re.sub(r"\b(in|out|num)_features=|, bias=True\b", "", str(module.extra_repr()))
    return _shortened(f"{kind}({details})")


# scikit-learn


def sklearn_steps(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(name, step) of all members of pipelines and other compositions, nested ones after the one they lie in."""
    for name, step in sklearn_members(model):
        yield prefix + name, step
        if _is_estimator(step):
            yield from sklearn_steps(step, f"{prefix}{name}__")
    for name, inner in sklearn_wrapped(model):
        yield from sklearn_steps(inner, f"{prefix}{name}__")


def sklearn_members(model: Any) -> list[tuple[str, Any]]:
    """What a Pipeline, ColumnTransformer, FeatureUnion, voting or stacking ensemble holds: (name, member)."""
    for attribute in COMPOSITIONS:
        members = getattr(model, attribute, None)
        if isinstance(members, list) and members and all(isinstance(member, tuple) for member in members):
            return [(member[0], member[1]) for member in members if _can_be_left_out(member[1], attribute)]
    return []


def sklearn_wrapped(model: Any) -> list[tuple[str, Any]]:
    """(parameter, estimator) of what a meta-estimator wraps, such as the `estimator` of GridSearchCV."""
    parameters: dict[str, Any] = model.get_params(deep=False)
    return [(name, value) for name, value in parameters.items() if _is_estimator(value)]


def _can_be_left_out(member: Any, attribute: str) -> bool:
    """What passes columns through can be dropped; what does nothing already is no part."""
    return _is_estimator(member) or (member == "passthrough" and COMPOSITIONS[attribute] == "drop")


def _is_estimator(value: Any) -> bool:
    return not isinstance(value, type) and _is_made_with_sklearn(type(value))


def _is_made_with_sklearn(cls: type) -> bool:
    return hasattr(cls, "get_params") and any(base.__module__.startswith("sklearn.") for base in cls.__mro__)


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_ABOUT else line[: _MAX_ABOUT - 1] + "…"
