"""Tab completion of `%lagom` lines: verbs, options, their values, variables that fit, run ids."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion

from lagom_magic.magics.namespace import fitting
from lagom_magic.magics.options import VERBS, Option, Verb
from lagom_magic.magics.settings import SETTINGS

if TYPE_CHECKING:
    from IPython.core.completer import CompletionContext, SimpleMatcherResult
    from IPython.core.interactiveshell import InteractiveShell

    from lagom_magic.magics.backend import Backend

_LINE = re.compile(r"\s*(%%?)lagom\s+(.*)", re.DOTALL)


def complete(line: str, names: Mapping[str, Any], run_ids: Callable[[], Sequence[str]]) -> tuple[str, list[str]] | None:
    """What can follow.

    Args:
        line: the text before the cursor, of its line only.
        names: the notebook's namespace.
        run_ids: called when a run is asked for.

    Returns:
        The unfinished word and the words it can become; None where the line is not ours or we do not know
        better than IPython (paths, attributes).
    """
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    *before, fragment = match[2].split(" ")
    words = [word for word in before if word]
    offered = _offered(match[1], words, fragment, names, run_ids)
    if offered is None:
        return None
    return fragment, [word for word in offered if word.startswith(fragment)]


def _offered(
    sign: str, words: Sequence[str], fragment: str, names: Mapping[str, Any], run_ids: Callable[[], Sequence[str]]
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
    return [*_arguments(verb, words, run_ids), *(_flags(verb, words) if not fragment else ())]


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


def _arguments(verb: Verb, words: Sequence[str], run_ids: Callable[[], Sequence[str]]) -> Sequence[str]:
    n_given = sum(not word.startswith("-") for word in words[1:])
    awaited = [metavar for _, metavar, _ in verb.arguments][n_given : n_given + 1]
    if not awaited and verb.arguments and verb.arguments[-1][2] in ("*", "+"):  # one more of the last
        awaited = [verb.arguments[-1][1]]
    if awaited == ["RUN"]:
        return run_ids()
    return [f"{name}=" for name in SETTINGS] if verb.name == "config" else []


class LagomMatcher:
    """Our matcher in IPython's completer; where it knows the words, no other matcher adds its own."""

    matcher_api_version = 2
    matcher_identifier = "lagom_magic"
    matcher_priority = 100

    def __init__(self, shell: InteractiveShell, backend: Backend) -> None:
        self._shell, self._backend = shell, backend
        self.__qualname__ = type(self).__qualname__  # IPython asks for a function's

    def __call__(self, context: CompletionContext) -> SimpleMatcherResult:
        found = complete(context.text_until_cursor, self._shell.user_ns, self._backend.run_ids)
        if found is None:
            return {"completions": []}
        fragment, words = found
        return {
            "completions": [SimpleCompletion(word, type="magic") for word in words],
            "suppress": True,
            "matched_fragment": fragment,
            "ordered": True,
        }
