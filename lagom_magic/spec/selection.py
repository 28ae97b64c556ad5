"""Which parts of data and model a study leaves out: names included and excluded, checked against what is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lagom_magic.errors import ConfigError, nearest
from lagom_magic.spec import checks
from lagom_magic.spec.parts import Part


@dataclass(frozen=True)
class Group:
    """Parts of a model that are left out together: those listed, or those whose names begin with `prefix`."""

    names: tuple[str, ...] = ()
    prefix: str = ""

    @property
    def label(self) -> str:
        """How tables call it."""
        return f"{self.prefix}*" if self.prefix else ", ".join(self.names)

    def members(self, known: Sequence[str]) -> tuple[str, ...]:
        """The parts, of those that the model has; a part whose parent is one as well is left to that.

        Raises:
            ConfigError: for a name or prefix that it lacks.
        """
        if not self.prefix:
            return tuple(known_name("layers.include_groups", name, known) for name in self.names)
        found = [name for name in known if name.startswith(self.prefix)]
        if not found:
            raise ConfigError(
                f"layers.include_groups(prefix={self.prefix!r}): no part of the model begins so. It has: "
                f"{listed(known)}.{nearest(self.prefix, known)}"
            )
        return tuple(name for name in found if not any(is_within(name, other) for other in found))


class Features:
    """The features of a study that are left out, one by one."""

    def __init__(self, list_all: Callable[[], list[str]]) -> None:
        self._list_all = list_all
        self._includes_all = False
        self._included: list[str] = []
        self._excluded: list[str] = []

    def include(self, *names: str | Iterable[str]) -> None:
        """Leave out each of these, `include("age", "fare")` or `include(["age", "fare"])`; without names, each one."""
        self._includes_all |= not names
        self._included += flat("features.include", names)

    def exclude(self, *names: str | Iterable[str]) -> None:
        """Never leave these out; when nothing was included, all others are."""
        self._excluded += flat("features.exclude", names)

    def list_all(self) -> list[str]:
        """The names that the dataset has, without the label.

        Raises:
            ConfigError: when they cannot be told.
        """
        return self._list_all()

    @property
    def is_chosen(self) -> bool:
        """Whether anything was said of them."""
        return bool(self._includes_all or self._included or self._excluded)

    def described(self) -> str:
        """What was chosen, as a person said it; ""."""
        return _described(self._includes_all, self._included, self._excluded)

    @property
    def needs_all(self) -> bool:
        """Whether the dataset must say what it has."""
        return self._includes_all or not self._included

    def chosen(self, known: Sequence[str] | None) -> tuple[str, ...]:
        """The features that are left out, in the order of the dataset.

        Args:
            known: what the dataset has; None = it does not say, and those included are taken as they are.

        Raises:
            ConfigError: for a name that the dataset lacks.
        """
        if known is None:
            return tuple(name for name in dict.fromkeys(self._included) if name not in self._excluded)
        for how, names in (("features.include", self._included), ("features.exclude", self._excluded)):
            for name in names:
                known_name(how, name, known)
        wanted = known if self.needs_all else self._included
        return tuple(name for name in known if name in wanted and name not in self._excluded)


class Layers:
    """The parts of a study's model that are left out: layers, modules or steps, one by one and in groups."""

    def __init__(self, parts: Callable[[], list[Part]]) -> None:
        self._parts = parts
        self._includes_all = False
        self._included: list[str] = []
        self._excluded: list[str] = []
        self._groups: list[Group] = []
        self._excluded_groups: list[Group] = []

    def include(self, *names: str | Iterable[str]) -> None:
        """Leave out each of these; without names, each part that the model has."""
        self._includes_all |= not names
        self._included += flat("layers.include", names)

    def exclude(self, *names: str | Iterable[str]) -> None:
        """Never leave these out one by one; when nothing was included, all others are."""
        self._excluded += flat("layers.exclude", names)

    def include_groups(self, groups: Iterable[str | Iterable[str]] = (), *, prefix: str | None = None) -> None:
        """Leave parts out together.

        Args:
            groups: the names of one group, or a list of such lists.
            prefix: all parts whose names begin so, as one group.
        """
        self._groups += _groups("include_groups", groups, prefix)

    def exclude_groups(self, groups: Iterable[str | Iterable[str]] = (), *, prefix: str | None = None) -> None:
        """Take groups back that were included."""
        self._excluded_groups += _groups("exclude_groups", groups, prefix)

    def list_all(self) -> list[str]:
        """The names of the model's parts; it is built for that."""
        return [part.name for part in self._parts()]

    def print_all(self) -> None:
        """Print the model's parts, a line each; it is built for that."""
        parts = self._parts()
        width = max((len(part.name) for part in parts), default=0)
        for part in parts:
            print(f"{part.name:<{width}}  {part.about}".rstrip())  # noqa: T201 - what it is for

    def print_all_groups(self) -> None:
        """Print the groups that are left out, a line each."""
        for label, names in self.chosen_groups(self.list_all()).items():
            print(f"{label}  {', '.join(names)}")  # noqa: T201 - what it is for

    @property
    def is_chosen(self) -> bool:
        """Whether anything was said of them."""
        return bool(self._includes_all or self._included or self._excluded or self._groups)

    def described(self) -> str:
        """What was chosen, as a person said it; ""."""
        groups = [f"[{group.label}]" for group in self._groups if group not in self._excluded_groups]
        single = _described(self._includes_all, self._included, self._excluded)
        return ", ".join([*([single] if single else []), *groups])

    def chosen(self, known: Sequence[str]) -> tuple[str, ...]:
        """The parts that are left out one by one, of those that the model has, in its order.

        Raises:
            ConfigError: for a name that the model lacks.
        """
        if not (self._includes_all or self._included or self._excluded):
            return ()
        for how, names in (("layers.include", self._included), ("layers.exclude", self._excluded)):
            for name in names:
                known_name(how, name, known)
        wanted = known if self._includes_all or not self._included else self._included
        return tuple(name for name in known if name in wanted and name not in self._excluded)

    def chosen_groups(self, known: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Label → parts of each group, of those that the model has.

        Raises:
            ConfigError: for a name or prefix that the model lacks, or a group taken back that was never included.
        """
        for group in self._excluded_groups:
            if group not in self._groups:
                labels = [included.label for included in self._groups]
                raise ConfigError(
                    f"layers.exclude_groups names {group.label!r}, which is not included; groups: "
                    f"{listed(labels)}.{nearest(group.label, labels)}"
                )
        groups = [group for group in self._groups if group not in self._excluded_groups]
        return {group.label: group.members(known) for group in groups}


def known_name(how: str, name: str, known: Sequence[str]) -> str:
    """The name, which is one of those known.

    Raises:
        ConfigError: with the nearest, when it is not.
    """
    if name not in known:
        raise ConfigError(f"{how} names {name!r}, which is not there; known: {listed(known)}.{nearest(name, known)}")
    return name


def is_same(value: Any, other: Any) -> bool:
    """Whether two values are equal; arrays and the like, whose comparison is no bool, are when they are one object."""
    try:
        return value is other or bool(value == other)
    except (TypeError, ValueError):
        return False


def is_within(name: str, other: str) -> bool:
    """Whether a part lies in another one: 'encoder.conv' in 'encoder'."""
    return any(name.startswith(f"{other}{separator}") for separator in (".", "/", "__"))


def _described(includes_all: bool, included: Sequence[str], excluded: Sequence[str]) -> str:
    if not (includes_all or included or excluded):
        return ""
    what = "all" if includes_all or not included else listed(included)
    return what + (f" but {listed(excluded)}" if excluded else "")


def _groups(how: str, groups: Any, prefix: Any) -> list[Group]:
    if prefix is not None:
        if not isinstance(prefix, str) or not prefix:
            raise checks.not_taken(how, prefix, "the beginning of names", f"{how}(prefix='block1_')")
        return [Group(prefix=prefix)]
    items = [groups] if isinstance(groups, str) else list(groups)
    if not items:
        raise checks.not_taken(how, items, "names, lists of names, or prefix=…", f"{how}([['conv1', 'bn1']])")
    nested = [item for item in items if not isinstance(item, str)]
    if not nested:
        return [Group(tuple(flat(how, items)))]
    return [Group(tuple(flat(how, [item] if isinstance(item, str) else item))) for item in items]


def flat(how: str, names: Iterable[Any]) -> list[str]:
    """The names of `f("a", "b")` and `f(["a", "b"])`."""
    found: list[Any] = []
    for name in [names] if isinstance(names, str) else names:
        found += [name] if isinstance(name, str) else list(name) if isinstance(name, Iterable) else [name]
    for name in found:
        if not isinstance(name, str) or not name:
            raise checks.not_taken(how, name, "names", f"{how}('a', 'b')")
    return list(dict.fromkeys(found))


def listed(names: Sequence[str], limit: int = 20) -> str:
    """The names for a message: 'a, b and 3 more'."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(name if name.isprintable() else repr(name) for name in names[:limit]) or "none") + more
