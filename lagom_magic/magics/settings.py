"""Settings of this kernel, shown and changed by `%lagom config`.

They are the `LAGOM_*` environment variables, so `experiment.lagom` and the processes that we start agree with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass

from IPython.core.error import UsageError

from lagom_magic.errors import nearest
from lagom_magic.spec.secret_urls import without_secrets


@dataclass(frozen=True)
class Setting:
    """One setting: its default as people read it, and the values that it takes."""

    name: str
    default: str
    help: str
    example: str
    pattern: str = r".+"
    allowed: str = "any path"

    @property
    def variable(self) -> str:
        """The environment variable behind it."""
        return f"LAGOM_{self.name.upper()}"


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting(
            "home", "./lagom_runs", "where runs are kept: a folder, or a URL", "./my_runs", allowed="any path or URL"
        ),
        Setting("ui", "auto", "the view under the cell", "text", r"auto|widget|html|text", "auto, widget, html, text"),
        Setting("workers", "all slots", "how many at most", "2", r"[1-9]\d*", "a whole number >= 1"),
        Setting("noninteractive", "0", "1 = nobody watches: plain lines, no --detach", "1", r"[01]", "0, 1"),
        Setting(
            "start_timeout",
            "120",
            "seconds until the first worker must be there",
            "600",
            r"\d+(\.\d+)?",
            "a number of seconds",
        ),
        Setting("log", "off", "debug = write driver.log into the run's folder", "debug", r"off|debug", "off, debug"),
    )
}


class Settings:
    """The settings in an environment; `restore` takes the changes back.

    Args:
        environment: `os.environ`, or a dict in tests.
    """

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self._environment = environment
        #: variable → its value before we changed it; None = it had none.
        self._before: dict[str, str | None] = {}

    def get(self, name: str) -> str | None:
        """The value, or None where the default holds.

        Raises:
            UsageError: when the environment holds a value that cannot work.
        """
        value = self._environment.get(SETTINGS[name].variable, "")
        if value:
            _check(SETTINGS[name], value, SETTINGS[name].variable)
        return value or None

    def set(self, pairs: Iterable[str]) -> None:
        """Changes settings given as `K=V`; an empty value is the default again. One wrong pair changes nothing.

        Raises:
            UsageError: for an unknown setting, with the nearest, or a value that is not allowed.
        """
        for setting, value in [_parsed(pair) for pair in pairs]:
            self._before.setdefault(setting.variable, self._environment.get(setting.variable))
            if value:
                self._environment[setting.variable] = value
            else:
                self._environment.pop(setting.variable, None)

    def restore(self) -> None:
        """Gives every changed variable its value from before."""
        for variable, value in self._before.items():
            if value is None:
                self._environment.pop(variable, None)
            else:
                self._environment[variable] = value
        self._before.clear()

    @property
    def is_noninteractive(self) -> bool:
        """Whether nobody watches: Run All, nbconvert, papermill."""
        return self.get("noninteractive") == "1"

    def table(self) -> list[tuple[str, str, str, str]]:
        """Rows of (name, value, variable, help)."""
        return [(s.name, without_secrets(self.get(s.name) or s.default), s.variable, s.help) for s in SETTINGS.values()]


def _parsed(pair: str) -> tuple[Setting, str]:
    name, equals, value = pair.partition("=")
    if name not in SETTINGS:
        known = ", ".join(SETTINGS)
        raise UsageError(f"%lagom config: unknown setting {name!r}; known: {known}.{nearest(name, SETTINGS)}")
    if not equals:
        raise UsageError(f"%lagom config: {pair!r} must be K=V, such as {name}={SETTINGS[name].example}.")
    if value:
        _check(SETTINGS[name], value, name)
    return SETTINGS[name], value


def _check(setting: Setting, value: str, shown_name: str) -> None:
    if not re.fullmatch(setting.pattern, value):
        raise UsageError(
            f"%lagom config: {shown_name} is {value!r}; allowed: {setting.allowed}. "
            f"Mend it: %lagom config {setting.name}={setting.example}"
        )
