"""What models and tags may be called: names that become folders' and words of a search, so they are kept plain."""

from __future__ import annotations

import re

from lagom_magic.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def is_plain_name(name: object) -> bool:
    """Whether it is text of 1 to 64 letters, digits, dots, dashes and underscores, not dots alone."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None and set(name) != {"."}


def check_plain_name(name: object, what: str) -> str:
    """The name.

    Args:
        name: as the user gave it.
        what: it is of, such as "model".

    Raises:
        ConfigError: when it is not plain.
    """
    if isinstance(name, str) and is_plain_name(name):
        return name
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")[:64] if isinstance(name, str) else ""
    hint = f" Try {plain!r}." if plain else ""
    raise ConfigError(
        f"{name!r:.200} cannot be the name of a {what}: use 1 to 64 letters, digits, '.', '_' and '-', "
        f"not dots alone.{hint}"
    )
