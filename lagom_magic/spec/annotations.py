"""Annotations of a training function: which declare hyperparameters, and the function without any.

Read on the driver. What travels to a worker carries none, since an annotation may name whatever the notebook has.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, get_args, get_origin

from lagom_magic.errors import ConfigError
from lagom_magic.spec.space import Domain
from lagom_magic.spec.study import Switch

_DOMAIN_TEXT = re.compile(r"\b(Float|Int|Categorical|Ordinal|Switch)\b")


def plain_function(train_fn: Callable[..., Any]) -> Callable[..., Any]:
    """The function below partials, bound methods, callable objects and `functools.wraps`."""
    fn: Any = train_fn
    while isinstance(fn, partial):
        fn = fn.func
    if not inspect.isroutine(fn):
        fn = type(fn).__call__
    unwrapped: Callable[..., Any] = inspect.unwrap(getattr(fn, "__func__", fn))
    return unwrapped


def declared_domains(train_fn: Callable[..., Any], parameters: Mapping[str, inspect.Parameter]) -> dict[str, Domain]:
    """The domains that annotations declare, by argument.

    Raises:
        ConfigError: for a domain without its range, two domains of one argument, or text that cannot be read.
    """
    found: dict[str, Domain] = {}
    for name, parameter in parameters.items():
        domain = _domain_in(name, _resolved(train_fn, name, parameter.annotation))
        if domain is not None:
            found[name] = domain
    return found


def declared_switches(train_fn: Callable[..., Any], parameters: Mapping[str, inspect.Parameter]) -> dict[str, Switch]:
    """The arguments whose annotations say that an ablation turns them off, with how."""
    return {
        name: part if isinstance(part, Switch) else Switch()
        for name, parameter in parameters.items()
        for part in _parts(_resolved(train_fn, name, parameter.annotation))
        if part is Switch or isinstance(part, Switch)
    }


def _resolved(train_fn: Callable[..., Any], name: str, annotation: Any) -> Any:
    """The annotation; as text (`from __future__ import annotations`) it is read where the function was written."""
    if not isinstance(annotation, str):
        return annotation
    fn = plain_function(train_fn)
    try:
        return eval(annotation, *_scopes(fn))
    except ConfigError:
        raise
    except Exception as error:  # whatever the user's own text raises; only a domain is our business
        if not _DOMAIN_TEXT.search(annotation):
            return annotation
        raise ConfigError(
            f"The annotation of argument {name!r} cannot be read: {annotation} raised {type(error).__name__}: {error}. "
            "Import its names in the notebook: from lagom_magic import Float, Int, Categorical, Ordinal, Switch."
        ) from error


def _scopes(fn: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    names = getattr(getattr(fn, "__code__", None), "co_freevars", ())
    enclosing = {}
    for name, cell in zip(names, getattr(fn, "__closure__", None) or (), strict=False):
        if not _is_empty(cell):
            enclosing[name] = cell.cell_contents
    return getattr(fn, "__globals__", {}), enclosing


def _domain_in(name: str, annotation: Any) -> Domain | None:
    parts = _parts(annotation)
    for part in parts:
        if isinstance(part, type) and issubclass(part, Domain):
            example = "Float(1e-4, 1e-1)" if part.__name__ == "Float" else f"{part.__name__}(...)"
            raise ConfigError(f"Argument {name!r} is annotated {part.__name__}, without its values: write {example}.")
    domains = [part for part in parts if isinstance(part, Domain)]
    if len(domains) > 1:
        raise ConfigError(
            f"Argument {name!r} has {len(domains)} domains: {', '.join(d.describe() for d in domains)}. Keep one."
        )
    return domains[0] if domains else None


def _parts(annotation: Any) -> tuple[Any, ...]:
    """What an annotation says to us: of `Annotated[float, Float(0, 1)]`, what follows the type."""
    return get_args(annotation)[1:] if get_origin(annotation) is Annotated else (annotation,)


def strip_annotations(train_fn: Callable[..., Any]) -> Callable[..., Any]:
    """A copy of the function without annotations; closure, defaults and decorators are kept.

    A callable object is returned as it is: its class belongs to the user.
    """
    fn: Any = train_fn
    if isinstance(fn, partial):
        return partial(strip_annotations(fn.func), *fn.args, **fn.keywords)
    if isinstance(fn, types.MethodType):
        return types.MethodType(strip_annotations(fn.__func__), fn.__self__)
    if isinstance(fn, types.FunctionType):
        return _bare_copy(fn)
    return train_fn


def _bare_copy(fn: types.FunctionType) -> types.FunctionType:
    wrapped = getattr(fn, "__wrapped__", None)
    bare_wrapped = strip_annotations(wrapped) if wrapped is not None else None
    closure = tuple(
        types.CellType(bare_wrapped)
        if wrapped is not None and not _is_empty(cell) and cell.cell_contents is wrapped
        else cell
        for cell in fn.__closure__ or ()
    )
    copy = types.FunctionType(fn.__code__, fn.__globals__, fn.__name__, fn.__defaults__, closure or None)
    copy.__kwdefaults__ = fn.__kwdefaults__
    copy.__qualname__, copy.__module__, copy.__doc__ = fn.__qualname__, fn.__module__, fn.__doc__
    copy.__dict__.update(fn.__dict__)
    if bare_wrapped is not None:
        copy.__dict__["__wrapped__"] = bare_wrapped
    return copy


def _is_empty(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - looking is the only test there is
    except ValueError:
        return True
    return False
