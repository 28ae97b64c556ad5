"""Whether a training function distributes by itself: seen in its code and that of the user's own that it refers to."""

from __future__ import annotations

import dis
import functools
import inspect
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

#: Packages whose use means that ranks, processes and gradients are somebody's business already.
_DISTRIBUTING_PACKAGES = frozenset(
    {"accelerate", "colossalai", "composer", "deepspeed", "fairscale", "horovod", "ignite", "lightning"}
    | {"lightning_fabric", "pytorch_lightning", "torchtnt"}
)
_DISTRIBUTING_MODULES = ("torch.distributed", "torch.nn.parallel.distributed", "torch.utils.data.distributed")
_DISTRIBUTING_NAMES = frozenset(
    {"torch.nn.parallel.DistributedDataParallel", "torch.utils.data.DistributedSampler", "torch.nn.SyncBatchNorm"}
)
#: Names of those that only ask, or that do nothing to a training.
_HARMLESS = frozenset(
    {"is_available", "is_initialized", "is_torchelastic_launched", "get_rank", "get_world_size", "barrier"}
    | {"seed_everything", "set_seed"}
)
#: The code below these folders is not the user's.
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def distributes_by_itself(train_fn: Callable[..., Any]) -> str | None:
    """What a function refers to that distributes, such as "accelerate.Accelerator"; None when nothing does."""
    return next(filter(_is_distributing, _references(train_fn, set())), None)


def _is_distributing(path: str) -> bool:
    package, _, rest = path.partition(".")
    name = path.rpartition(".")[2]
    if not rest or name in _HARMLESS:
        return False
    if package in _DISTRIBUTING_PACKAGES or path in _DISTRIBUTING_NAMES:
        return True
    if package in ("transformers", "trl", "sentence_transformers") and name.endswith("Trainer"):
        return True
    return any(path.startswith(f"{module}.") for module in _DISTRIBUTING_MODULES)


def _references(thing: Any, seen: set[int]) -> Iterator[str]:
    """Dotted names of what a function or class refers to, and of what the user's own functions among these do."""
    thing = _unwrapped(thing)
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, FunctionType):
        if thing.__code__.co_filename.startswith(_LIBRARIES):
            return
        closure = inspect.getclosurevars(thing).nonlocals if thing.__closure__ else {}
        yield from _references_of_code(thing.__code__, thing.__globals__, closure, {}, seen)
    elif isinstance(thing, type):
        yield from (f"{base.__module__}.{base.__qualname__}" for base in thing.__mro__)
        if not _is_of_library(thing):
            for member in list(vars(thing).values()):
                yield from _references(member, seen)
    elif type(thing).__module__ != "builtins":
        yield from _references(type(thing), seen)


def _unwrapped(thing: Any) -> Any:
    while True:
        match thing:
            case functools.partial():
                thing = thing.func
            case staticmethod() | classmethod() | MethodType():
                thing = thing.__func__
            case property():
                thing = thing.fget
            case FunctionType() if hasattr(thing, "__wrapped__"):
                thing = thing.__wrapped__
            case _:
                return thing


def _is_of_library(kind: type) -> bool:
    module = sys.modules.get(kind.__module__)
    file = getattr(module, "__file__", None)
    return kind.__module__ == "builtins" or (file is not None and file.startswith(_LIBRARIES))


def _references_of_code(
    code: CodeType, names: Mapping[str, Any], free: Mapping[str, Any], imported: Mapping[str, str], seen: set[int]
) -> Iterator[str]:
    """Follows names through their attributes, and those that the code itself imports.

    Args:
        code: of a function.
        names: what its globals are bound to.
        free: what its free variables are bound to.
        imported: {name: dotted path} of what an enclosing function imports.
        seen: ids of functions and classes that were looked at.
    """
    imported = dict(imported)
    package = ""  # that the last import statement named
    path: str | None = None  # of the value on top of the stack, where that is known
    for step in dis.get_instructions(code):
        name = str(step.argval)
        if step.opname == "IMPORT_NAME":
            package = path = name
            yield name
        elif step.opname == "IMPORT_FROM":  # also of `import a.b as c`, which gets b from a.b
            path = package if package.endswith(f".{name}") else f"{package}.{name}"
            yield path
        elif step.opname.startswith("STORE_") and path is not None:
            imported[name] = name if path.startswith(f"{name}.") else path  # `import a.b` binds a
            path = None
        elif step.opname.startswith("LOAD_") and step.opname not in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_CONST"):
            path = imported.get(name)
            bound = names if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") else free
            if path is None and name in bound and "FAST" not in step.opname:
                value = bound[name]
                path = value.__name__ if isinstance(value, ModuleType) else None
                yield from _references_of_value(value, seen)
        elif step.opname in ("LOAD_ATTR", "LOAD_METHOD") and path is not None:
            path = f"{path}.{name}"
            yield path
        elif step.opname not in ("CACHE", "PUSH_NULL", "PRECALL", "SWAP", "POP_TOP", "NOP"):
            path = None
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _references_of_code(constant, names, free, imported, seen)


def _references_of_value(value: Any, seen: set[int]) -> Iterator[str]:
    if isinstance(value, ModuleType):
        return
    if isinstance(value, FunctionType | type):
        yield f"{value.__module__}.{value.__qualname__}"
    yield from _references(value, seen)
