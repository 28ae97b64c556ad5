"""What was done to leave parts of a model out, in words, and what to say of a part that cannot be left out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

from lagom_magic.errors import NotRemovableError

_MAX_REASON = 300
_NEVER_RUN = "never run, so leaving it out changes nothing but its parameters"


class Changes(list[str]):
    """Lines such as "conv2: identity in its place"; copies of a model write into the same list."""

    def say(self, line: str) -> None:
        """Adds a line that is not there yet."""
        if line not in self:
            self.append(line)

    def expect_run(self, name: str) -> None:
        """Says that a part never ran, until `say_run` says what took its place."""
        self.say(f"{name}: {_NEVER_RUN}")

    def say_run(self, name: str, how: str) -> None:
        """Says what the model found in the part's place when it ran."""
        line, expected = f"{name}: {how}", f"{name}: {_NEVER_RUN}"
        if line not in self and expected in self:
            self[self.index(expected)] = line
        else:
            self.say(line)

    def __deepcopy__(self, memo: Any) -> Self:
        return self


def not_removable(names: Iterable[str], reason: str) -> NotRemovableError:
    """The error for parts that the model cannot do without, with what to do instead."""
    return NotRemovableError(
        f"{', '.join(names)} cannot be left out: {reason} Leave it out together with what depends on it "
        "(study.model.layers.include_groups), or compare with a model of your own: study.add('…', model=make_other)."
    )


def first_line(error: BaseException) -> str:
    """The error's first words, as one sentence."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return line[:_MAX_REASON].rstrip(".") + "."
