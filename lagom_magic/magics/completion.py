"""Tab completion of `%lagom` lines: verbs, options, their values, variables that fit, runs, models and files."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion

from lagom_magic.errors import StoreError
from lagom_magic.magics.namespace import fitting
from lagom_magic.magics.options import VERBS, Option, Verb
from lagom_magic.magics.settings import SETTINGS

if TYPE_CHECKING:
    from IPython.core.completer import CompletionContext, SimpleMatcherResult
    from IPython.core.interactiveshell import InteractiveShell

    from lagom_magic.magics.backend import Backend

_LINE = re.compile(r"\s*(%%?)lagom\s+(.*)", re.DOTALL)


def complete(
    line: str,
    names: Mapping[str, Any],
    run_ids: Callable[[], Sequence[str]],
    models: Callable[[str], Sequence[str]],
) -> tuple[str, list[str]] | None:
    """What can follow.

    Args:
        line: the text before the cursor, of its line only.
        names: the notebook's namespace.
        run_ids: called when a run is asked for.
        models: called with the unfinished word when a model is asked for.

    Returns:
        The unfinished word and the words it can become; None where the line is not ours or we do not know
        better than IPython (paths, attributes).
    """
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    *before, fragment = match[2].split(" ")
    words = [word for word in before if word]
    offered = _offered(match[1], words, fragment, names, run_ids, models)
    if offered is None:
        return None
    return fragment, [word for word in offered if word.startswith(fragment)]


def _offered(
    sign: str,
    words: Sequence[str],
    fragment: str,
    names: Mapping[str, Any],
    run_ids: Callable[[], Sequence[str]],
    models: Callable[[str], Sequence[str]],
) -> Sequence[str] | None:
    if not words:
        return [verb.name for verb in VERBS.values() if verb.is_cell or sign == "%"]
    verb = VERBS.get(words[0])
    if verb is None:
        return []
    awaiting = _option(verb, words[-1])
    if awaiting is not None and awaiting.metavar and not (awaiting.bare is not None and fragment.startswith("-")):
        return _values(awaiting, fragment, names)
    if fragment.startswith("-"):
        return _flags(verb, words)
    awaited = _awaited(verb, words)
    found: list[str] = []
    if awaited == "MODEL|FILE|RUN" or (awaited == "NAME" and verb.name == "models" and ":" not in fragment):
        found += models(fragment)
    if awaited in ("RUN", "MODEL|FILE|RUN"):
        found += run_ids()
    if awaited == "MODEL|FILE|RUN":
        found += _files(fragment)
    if awaited == "K=V" and verb.name == "config":
        found += [f"{name}=" for name in SETTINGS]
    return [*found, *(_flags(verb, words) if not fragment else ())]


def _option(verb: Verb, flag: str) -> Option | None:
    return next((option for option in verb.options if flag in (option.flag, option.alias)), None)


def _values(option: Option, fragment: str, names: Mapping[str, Any]) -> Sequence[str] | None:
    if option.metavar in ("PATH", "FILE") or "." in fragment:
        return None
    return [*option.words, *(fitting(names, option.name_of) if option.name_of else ())]


def _flags(verb: Verb, words: Sequence[str]) -> list[str]:
    given = [option for option in (_option(verb, word) for word in words) if option is not None]
    groups = {option.group for option in given if option.group}
    return [
        option.flag for option in verb.options if option.group not in groups and (option.repeats or option not in given)
    ]


def _awaited(verb: Verb, words: Sequence[str]) -> str:
    """The metavar of the argument that comes next; "" when there is none."""
    n_given = sum(not word.startswith("-") and not _takes(verb, before) for before, word in pairwise(words))
    if n_given < len(verb.arguments):
        return verb.arguments[n_given][1]
    _, metavar, how_many = verb.arguments[-1] if verb.arguments else ("", "", "")
    return metavar if how_many in ("*", "+") else ""


def _takes(verb: Verb, flag: str) -> bool:
    """Whether what follows is an option's value, and no argument."""
    option = _option(verb, flag)
    return option is not None and option.metavar != "" and option.bare is None


def _files(fragment: str) -> list[str]:
    """Files and folders that the word could name, as they must be typed; hidden ones once their dot is there."""
    folder, slash, begun = fragment.lstrip("'").rpartition("/")
    try:
        with os.scandir(os.path.expanduser(folder + slash) or os.curdir) as entries:
            found = [entry.name + "/" * entry.is_dir() for entry in entries if entry.name.startswith(begun)]
    except (OSError, ValueError):  # there is no such folder, or none that may be read
        return []
    shown = sorted(name for name in found if begun.startswith(".") or not name.startswith("."))
    if folder.startswith("~"):  # in quotes it would be no person's home
        return [folder + slash + shlex.quote(name) for name in shown]
    return [shlex.quote(folder + slash + name) for name in shown]


def _model_words(fragment: str) -> list[str]:
    """Models of the registry by name, or, once its colon is there, the versions of one, the newest first."""
    from lagom_magic.spec.names import is_plain_name
    from lagom_magic.store import registry
    from lagom_magic.store.layout import default_home

    name, colon, _ = fragment.partition(":")
    try:
        if not colon:
            return registry.names(default_home())
        versions = registry.versions(default_home(), name).versions if is_plain_name(name) else ()
        return [f"{name}:{one.version}" for one in reversed(versions)]
    except StoreError:  # there is no such model, or the registry cannot be read, which the verb itself will say
        return []


class LagomMatcher:
    """Our matcher in IPython's completer; where it knows the words, no other matcher adds its own."""

    matcher_api_version = 2
    matcher_identifier = "lagom_magic"
    matcher_priority = 100

    def __init__(self, shell: InteractiveShell, backend: Backend) -> None:
        self._shell, self._backend = shell, backend
        self.__qualname__ = type(self).__qualname__  # IPython asks for a function's

    def __call__(self, context: CompletionContext) -> SimpleMatcherResult:
        found = complete(context.text_until_cursor, self._shell.user_ns, self._backend.run_ids, _model_words)
        if found is None:
            return {"completions": []}
        fragment, words = found
        return {
            "completions": [SimpleCompletion(word, type="magic") for word in words],
            "suppress": True,
            "matched_fragment": fragment,
            "ordered": True,
        }
