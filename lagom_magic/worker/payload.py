"""The training function as it travelled: opaque bytes that are unpickled in the trial process only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lagom_magic.spec.variants import AblationPlan


@dataclass(frozen=True, slots=True)
class Payload:
    """A training function and how to call it.

    Attributes:
        train_fn: the user's function, annotations stripped.
        fixed: argument name → value, the same for every trial.
        wants: which of hparams, reporter, seed, trial and budget it takes.
        hparam_names: hyperparameters that are passed by their own name.
        ablation: what each trial leaves out; None = this is no ablation.
    """

    train_fn: Callable[..., Any]
    fixed: dict[str, Any]
    wants: frozenset[str]
    hparam_names: tuple[str, ...]
    ablation: AblationPlan | None = None

    @classmethod
    def load(cls, path: str) -> Payload:
        """Unpickles it; imports what the function needs, so anything may be raised."""
        import pickle

        with open(path, "rb") as file:
            content = pickle.load(file)
        _show_in_tracebacks(content.get("sources", {}))
        return cls(
            content["train_fn"],
            content["fixed"],
            frozenset(content["wants"]),
            tuple(content["hparam_names"]),
            content.get("ablation"),
        )

    def call(
        self,
        hparams: dict[str, Any],
        offered: dict[str, Callable[[], Any]],
        fixed: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls the function.

        Args:
            hparams: every hyperparameter of the trial, searched and fixed.
            offered: argument name → how to make it; made only if wanted.
            fixed: in place of `self.fixed`, where a distribution or an ablation has adapted it.
        """
        named = {name: hparams[name] for name in self.hparam_names if name in hparams}
        wanted = {name: make() for name, make in offered.items() if name in self.wants}
        return self.train_fn(**{**(self.fixed if fixed is None else fixed), **named, **wanted})


def _show_in_tracebacks(sources: dict[str, str]) -> None:
    """Makes the text of notebook cells known, so that tracebacks have their lines."""
    import linecache

    for name, text in sources.items():
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)


def pickler_of(path: str) -> str | None:
    """The module that a payload needs to be unpickled, found without doing so."""
    with open(path, "rb") as file:
        head = file.read(1 << 16)
    for name in ("lagom_cloudpickle", "pyspark.cloudpickle", "cloudpickle"):
        if name.encode() in head:
            return name
    return None
