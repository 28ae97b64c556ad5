"""Turns the training function and its arguments into the opaque bytes that trial processes open; run once a run."""

from __future__ import annotations

import importlib.util
import pickle
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from lagom_magic.cluster.culprit import find_culprit
from lagom_magic.cluster.references import plain_function, used_variables
from lagom_magic.errors import ClusterError, ConfigError
from lagom_magic.spec.variants import AblationPlan, Variant

#: Above it the run says what makes the payload so big.
LARGE_BYTES = 10_000_000

#: The name that pyspark's cloudpickle has in our pickles. It travels along as a file of that name, so that a trial
#: process need not import all of pyspark (0.2 s and 40 MB) to open its function, and always has the version that
#: pickled it.
PICKLER = "lagom_cloudpickle"


@dataclass(frozen=True, slots=True)
class PickledPayload:
    """What travels.

    Attributes:
        data: the pickle; opening it needs `PICKLER` to be importable.
        pickler_source: the file of that module.
        notes: what a person should know, such as that it is very big.
    """

    data: bytes
    pickler_source: bytes
    notes: tuple[str, ...] = ()


def pickle_payload(payload: Mapping[str, Any], shipped: frozenset[str] = frozenset()) -> PickledPayload:
    """Pickles {"train_fn", "fixed", "wants", "hparam_names", "ablation"}.

    Args:
        payload: the call. Functions and classes of the notebook travel by value, those of modules by name.
        shipped: top-level modules that travel as source. The function's own module, when it is neither shipped nor
            installed, travels by value too.

    Raises:
        ConfigError: names what cannot be pickled, its type and what to do.
        ClusterError: without pyspark and cloudpickle.
    """
    pickler = _load_pickler()
    with _own_module_by_value(pickler, payload["train_fn"], shipped):
        try:
            data: bytes = pickler.dumps(dict(payload), protocol=pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # users' objects raise anything when they are pickled
            raise ConfigError(_explain(pickler, payload, error)) from error
        notes = (_size_note(pickler, payload, len(data)),) if len(data) > LARGE_BYTES else ()
    assert pickler.__file__ is not None
    return PickledPayload(data, Path(pickler.__file__).read_bytes(), notes)


def _load_pickler() -> Any:
    """The copy of cloudpickle in pyspark, else the installed one, under our name for it."""
    if PICKLER in sys.modules:
        return sys.modules[PICKLER]
    spec = importlib.util.spec_from_file_location(PICKLER, _pickler_file())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[PICKLER] = module
    spec.loader.exec_module(module)
    return module


def _pickler_file() -> Path:
    for package, inside in (("pyspark", "cloudpickle/cloudpickle.py"), ("cloudpickle", "cloudpickle.py")):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            return Path(spec.origin).parent / inside
    raise ClusterError('Spark is not installed here (there is no pyspark). Run `pip install "lagom-magic[local]"`.')


@contextmanager
def _own_module_by_value(pickler: Any, train_fn: Any, shipped: frozenset[str]) -> Iterator[None]:
    """A script's or test's own module can be imported here but nowhere else."""
    function = plain_function(train_fn)
    module = None if function is None else sys.modules.get(function.__module__)
    if module is None or not _stays_here(module, shipped):
        yield
        return
    pickler.register_pickle_by_value(module)
    try:
        yield
    finally:
        pickler.unregister_pickle_by_value(module)


def _stays_here(module: ModuleType, shipped: frozenset[str]) -> bool:
    file = getattr(module, "__file__", None)
    if module.__name__ == "__main__" or file is None or module.__name__.partition(".")[0] in shipped:
        return False
    installed = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return not any(Path(file).is_relative_to(folder) for folder in installed)


def _explain(pickler: Any, payload: Mapping[str, Any], error: Exception) -> str:
    def can_pickle(value: object) -> bool:
        try:
            pickler.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        except Exception:  # as above; the answer is all that counts
            return False
        return True

    culprit = find_culprit(_roots(payload), can_pickle)
    if culprit is None:
        return f"The training function cannot travel to the workers: {type(error).__name__}: {error}"
    return f"The training function cannot travel to the workers: {culprit.describe()}"


def _roots(payload: Mapping[str, Any]) -> dict[str, object]:
    function = payload["train_fn"]
    return {getattr(function, "__name__", "train_fn"): function, **_given(payload)}


def _given(payload: Mapping[str, Any]) -> dict[str, object]:
    """What the function gets by name; of an ablation, what each variant is made from."""
    plan: AblationPlan | None = payload.get("ablation")
    if plan is None:
        return dict(payload["fixed"])
    own = {name: value for label, variant in plan.variants.items() for name, value in _made_by_people(label, variant)}
    return {**payload["fixed"], **({} if plan.model is None else {"model": plan.model}), **plan.data, **own}


def _made_by_people(label: str, variant: Variant) -> Iterator[tuple[str, object]]:
    for what in ("model", "dataset"):
        if getattr(variant, what) is not None:
            yield f"{what} of {label}", getattr(variant, what)


def _size_note(pickler: Any, payload: Mapping[str, Any], size: int) -> str:
    """The biggest things in the payload by name."""
    function = plain_function(payload["train_fn"])
    parts = {**_given(payload), **({} if function is None else used_variables(function))}
    sizes = sorted(((len(pickler.dumps(value)), name) for name, value in parts.items()), reverse=True)[:3]
    biggest = ", ".join(f"`{name}` {_megabytes(part)}" for part, name in sizes if part > LARGE_BYTES / 100)
    return (
        f"The training function carries {_megabytes(size)} to every worker"
        f"{f' ({biggest})' if biggest else ''}; load such data inside the function instead."
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
