"""What an ablation study is made of; declared here, carried out by a later version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lagom_magic.spec import checks


@dataclass(frozen=True)
class Switch:
    """Marks an argument that an ablation turns off: `def train(augment: Switch() = True)`."""


@dataclass(frozen=True, kw_only=True)
class AblationStudy:
    """What the variants of an ablation have in common.

    Attributes:
        dataset: the data whose features can be left out.
        label_name: the column that is predicted, never left out.
        model: a class or factory whose layers can be left out.
    """

    dataset: Any = None
    label_name: str | None = None
    model: Any = None

    def __post_init__(self) -> None:
        if self.label_name is not None and not isinstance(self.label_name, str):
            raise checks.wrong("label_name", self.label_name, "a column's name", "Try label_name='y'.")
        if self.model is not None:
            checks.model_source("model", self.model)
