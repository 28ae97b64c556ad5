"""From the text after `%lagom` to a verb and its values; every mistake is one line that names the fix."""

from __future__ import annotations

import argparse
import ast
import shlex
from collections.abc import Sequence
from typing import Any, NoReturn

from IPython.core.error import UsageError

from lagom_magic.errors import nearest
from lagom_magic.magics.options import FACES, VERBS, Option, Verb

HELP_FLAGS = ("-h", "--help")


class LineParser(argparse.ArgumentParser):
    """An argparse parser that complains in IPython's way and never ends the process."""

    #: The verb that it reads.
    verb: Verb

    def error(self, message: str) -> NoReturn:
        if message.startswith("the following arguments are required"):  # argparse names T… too, which need not be
            wanted = next(metavar for _, metavar, count in self.verb.arguments if count == "1")
            example = self.verb.examples.strip().splitlines()[0]
            message = f"which {wanted}? It is to {self.verb.summary}: {example}"
        raise UsageError(f"{self.prog}: {message}. See {self.prog} --help.")


def split(line: str) -> list[str]:
    """The words of a line, quotes taken off.

    Raises:
        UsageError: for a quote without its end.
    """
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"lagom: {error} in: {line.strip()} . Close the quote.") from error


def find_verb(words: Sequence[str], *, is_cell: bool) -> Verb:
    """The verb that the first word names.

    Raises:
        UsageError: for an unknown verb, with the nearest; for a line verb on a cell.
    """
    name = words[0] if words else ""
    cell_verbs = [verb.name for verb in VERBS.values() if verb.is_cell]
    known = cell_verbs if is_cell else list(VERBS)
    if name not in known:
        sign = "%%lagom" if is_cell else "%lagom"
        if name in VERBS:
            raise UsageError(
                f"%%lagom {name}: a cell runs with {', '.join(cell_verbs[:-1])} or {cell_verbs[-1]}. "
                f"Use %lagom {name} on a line."
            )
        what = f"unknown verb {name!r};" if name else "which verb?"
        raise UsageError(f"{sign}: {what} known: {', '.join(known)}.{nearest(name, known)}")
    return VERBS[name]


def parse(verb: Verb, words: Sequence[str], sign: str) -> argparse.Namespace:
    """The values given, by dest; options that were not given are absent.

    Args:
        verb: whose options.
        words: what follows the verb.
        sign: "%lagom" or "%%lagom", for messages.

    Raises:
        UsageError: for an unknown option, with the nearest; a missing value; options that exclude each other.
    """
    parser = build_parser(verb, sign)
    values, rest = parser.parse_known_args(list(words))
    for word in rest:
        _refuse(verb, parser.prog, word)
    if "ui" in values:
        _check_face(parser.prog, values.ui)
    return values


def _check_face(prog: str, face: str) -> None:
    if face not in FACES:
        raise UsageError(f"{prog}: --ui is {face!r}; allowed: {', '.join(FACES)}.{nearest(face, FACES)}")


def _refuse(verb: Verb, prog: str, word: str) -> NoReturn:
    flags = _flags(verb)
    if word.startswith("--"):
        flag = word.partition("=")[0]
        known = f" Known: {', '.join(flags)}." if flags else " It has none."
        owners = [other.name for other in VERBS.values() if flag in _flags(other)]
        hint = f" It is one of {', '.join(owners)}." if owners else nearest(flag, flags) or known
        raise UsageError(f"{prog}: unknown option {flag}.{hint} See {prog} --help.")
    raise UsageError(f"{prog}: what is {word!r}? See {prog} --help.")


def _flags(verb: Verb) -> list[str]:
    return [flag for option in verb.options for flag in (option.flag, option.alias) if flag]


def build_parser(verb: Verb, sign: str) -> LineParser:
    """The parser of one verb; it also writes the verb's help."""
    parser = LineParser(
        prog=f"{sign} {verb.name}",
        description=verb.summary[0].upper() + verb.summary[1:] + ".",
        epilog="\n\n".join([*([verb.topics] if verb.topics else []), f"examples:\n{verb.examples}"]),
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
        add_help=False,
        argument_default=argparse.SUPPRESS,
        usage=_usage(verb, sign),
    )
    parser.verb = verb
    for dest, metavar, count in verb.arguments:
        parser.add_argument(dest, metavar=metavar, nargs=None if count == "1" else count)
    groups: dict[str, Any] = {}
    for option in verb.options:
        owner = parser
        if option.group:
            owner = groups.setdefault(option.group, parser.add_mutually_exclusive_group())
        _add(owner, option)
    return parser


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """One option a line, as wide as our lines of code, wherever it is read."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=110)


def _usage(verb: Verb, sign: str) -> str:
    arguments = [metavar if count == "1" else f"[{metavar}]" for _, metavar, count in verb.arguments]
    return " ".join([sign.replace("%", "%%"), verb.name, *arguments, *(["[options]"] if verb.options else [])])


def _add(owner: Any, option: Option) -> None:
    flags = [option.flag, *([option.alias] if option.alias else [])]
    text = option.help + ("; may be repeated" if option.repeats else "")
    if not option.metavar:
        owner.add_argument(*flags, dest=option.dest, action="store_true", help=text)
    else:
        action = "append" if option.repeats else _Once
        bare = {} if option.bare is None else {"nargs": "?", "const": option.bare}
        owner.add_argument(*flags, dest=option.dest, metavar=option.metavar, action=action, help=text, **bare)


class _Once(argparse.Action):
    """Stores a value; a second one would silently win, so it is an error."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        if hasattr(namespace, self.dest):
            parser.error(f"{option} is given twice")
        setattr(namespace, self.dest, values)


def assignments(texts: Sequence[str], flag: str) -> dict[str, Any]:
    """`K=V` pairs; a value is read as a Python literal where it is one, and is text otherwise.

    Raises:
        UsageError: for a pair without '=' or key, or a key given twice.
    """
    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"lagom: {flag} {text!r} must be K=V, such as {flag} lr=0.1.")
        if key.strip() in values:
            raise UsageError(f"lagom: {flag} names {key.strip()!r} twice. Keep one.")
        values[key.strip()] = literal(value.strip())
    return values


def literal(text: str) -> Any:
    """The Python literal that the text is, else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def overview() -> str:
    """What `%lagom` alone says."""
    width = max(map(len, VERBS))
    lines = [f"  {'%%' if verb.is_cell else ' %'}lagom {verb.name:<{width}}  {verb.summary}" for verb in VERBS.values()]
    return "\n".join(
        ["lagom turns the function of a cell into an experiment on Spark.", "", *lines, "", "Help: %lagom VERB --help"]
    )


def help_of(verb: Verb, sign: str) -> str:
    """The help of one verb, with examples."""
    return build_parser(verb, sign).format_help()
