"""What a person types after `%lagom search`, understood: words, comparisons and fields; pure, used by `store.search`.

digits "learning rate" lr<0.01 accuracy>0.9 tag:pii state:failed
"""

from __future__ import annotations

import math
import operator
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from lagom_magic.errors import ConfigError, nearest
from lagom_magic.events.facts import RunState

#: Characters and terms of one search.
_LENGTH_LIMIT, _TERMS_LIMIT = 2_000, 64
_KINDS = ("hpo", "ablate", "train", "run")
_STATES = tuple(state.value.lower() for state in RunState)
#: Field → the only values that it takes; () = any.
FIELDS: dict[str, tuple[str, ...]] = {
    "tag": (),
    "state": _STATES,
    "kind": _KINDS,
    "user": (),
    "model": (),
    "name": (),
}
#: Stands between texts that are not one, so that no phrase reaches over; no word is written with it.
BREAK = "_"
_WORD = re.compile(r"[^\W_]+")
#: Up to here, either sign, a float that is whole is no other whole number rounded.
EXACT_LIMIT = 1 << 53


def _is_same(value: float, wanted: float) -> bool:
    """Whether two numbers are the same: whole ones exactly, and others but for a billionth.

    A whole number and the float that it is are one, because the index keeps floats.
    """
    if isinstance(wanted, int) and (isinstance(value, int) or (value.is_integer() and abs(value) <= EXACT_LIMIT)):
        return value == wanted
    try:
        return math.isclose(value, wanted, rel_tol=1e-9)
    except OverflowError:  # a whole number beyond what a float holds is no float
        return False


_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": _is_same,
}


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that stand side by side.

    Attributes:
        words: as `words_of` gives them; not empty.
        is_begun: the last one may go on: `lear` finds `learning`.
    """

    words: tuple[str, ...]
    is_begun: bool

    def is_in(self, text: str) -> bool:
        """Whether a text of `searchable` has it."""
        return f" {' '.join(self.words)}{'' if self.is_begun else ' '}" in text


@dataclass(frozen=True, slots=True)
class Comparison:
    """A metric or hyperparameter, and what it must be.

    Attributes:
        name: of a metric or hyperparameter.
        sign: < <= > >= or =.
        number: what it is compared with, an int when typed as one; None for a text, which only = takes.
        text: the same as typed.
    """

    name: str
    sign: str
    number: float | None
    text: str

    def holds(self, value: Any) -> bool:
        """Whether a metric's or hyperparameter's value is as wanted."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return self.number is not None and _COMPARE[self.sign](value, self.number)
        if self.sign != "=":
            return False
        return self.text == value if isinstance(value, str) else self.text.lower() == str(value).lower()


class TrialValues(NamedTuple):
    """A complete trial, as far as comparisons look at it."""

    id: int
    metrics: Mapping[str, Any]
    hparams: Mapping[str, Any]

    def fulfils(self, comparison: Comparison) -> bool:
        """Whether its metric or its hyperparameter of that name is as wanted."""
        name = comparison.name
        return (name in self.metrics and comparison.holds(self.metrics[name])) or (
            name in self.hparams and comparison.holds(self.hparams[name])
        )


@dataclass(frozen=True, slots=True)
class Query:
    """All of it must be true of a run, and all comparisons of one and the same of its complete trials.

    Attributes:
        phrases: what its texts must have.
        comparisons: what one of its complete trials must fulfil.
        fields: (field, value) that it must have.
    """

    phrases: tuple[Phrase, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()

    def is_fulfilled_by(self, trial: TrialValues) -> bool:
        return all(trial.fulfils(comparison) for comparison in self.comparisons)


def words_of(text: str) -> list[str]:
    """The words of a text, without accents and in small letters, each of ASCII letters and digits alone.

    Other alphabets are spelled out letter by letter, so that whatever compares words need not know them.
    """
    folded = text.casefold()
    if not folded.isascii():
        decomposed = unicodedata.normalize("NFKD", folded)
        folded = "".join(sign for sign in decomposed if not unicodedata.combining(sign)).casefold()
    return [word if word.isascii() else _spelled(word) for word in _WORD.findall(folded)]


def searchable(texts: Iterator[str]) -> str:
    """Texts as one, in the form that `Phrase.is_in` looks into."""
    return f" {f' {BREAK} '.join(' '.join(words_of(text)) for text in texts)} "


def _spelled(word: str) -> str:
    return "".join(sign if sign.isascii() else f"u{ord(sign):06x}" for sign in word)


def parse_query(text: str) -> Query:
    """The query that a text means.

    Raises:
        ConfigError: when it cannot be read; shows where and how to mend it.
    """
    if len(text) > _LENGTH_LIMIT:
        raise ConfigError(
            f"The search has {len(text):,} characters; at most {_LENGTH_LIMIT:,} are allowed. Shorten it."
        )
    terms = list(_terms(text))
    if not terms:
        raise ConfigError(
            "There is nothing to search for. Write words, comparisons and fields: digits lr<0.01 accuracy>0.9 tag:pii"
        )
    if len(terms) > _TERMS_LIMIT:
        raise ConfigError(f"The search has {len(terms)} terms; at most {_TERMS_LIMIT} are allowed. Leave some out.")
    phrases, comparisons, fields = [], [], []
    for term in terms:
        match term.read():
            case Phrase() as phrase:
                phrases.append(phrase)
            case Comparison() as comparison:
                comparisons.append(comparison)
            case field:
                fields.append(field)
    return Query(tuple(phrases), tuple(comparisons), tuple(fields))


@dataclass(frozen=True, slots=True)
class _Term:
    """What stands between spaces.

    Attributes:
        query: the whole text, for messages.
        signs: its characters without the quotes, each with its place and whether it was quoted.
        begin: its place.
    """

    query: str
    signs: tuple[tuple[str, int, bool], ...]
    begin: int

    def read(self) -> Phrase | Comparison | tuple[str, str]:
        for index, (sign, _, is_quoted) in enumerate(self.signs):
            if not is_quoted and sign in ":<>=":
                return self._field(index) if sign == ":" else self._comparison(index)
        words = words_of(self._text())
        if not words:
            self._refuse(self.begin, f"{self._text()!r} has no letter and no digit to look for", "Leave it out")
        return Phrase(tuple(words), is_begun=not all(is_quoted for _, _, is_quoted in self.signs))

    def _field(self, index: int) -> tuple[str, str]:
        field, value, place = self._text(0, index).lower(), self._text(index + 1), self._place(index + 1)
        if field not in FIELDS:
            known = ", ".join(f"{name}:" for name in FIELDS)
            self._refuse(
                self.begin,
                f"there is no field {field!r}; known: {known}",
                f'{nearest(field, FIELDS).strip()} Or put the word into quotes: "{self._text()}"'.strip(),
            )
        if not value:
            self._refuse(place, f"{field}: has no value", f"Write {field}:{_EXAMPLES[field]} without a space")
        allowed = FIELDS[field]
        if allowed and value.lower() not in allowed:
            hint = nearest(value.lower(), allowed).strip() or f"Write {field}:{_EXAMPLES[field]}"
            self._refuse(place, f"{field}: is {value!r}; allowed: {', '.join(allowed)}", hint)
        return field, value.lower() if allowed else value

    def _comparison(self, index: int) -> Comparison:
        sign = self.signs[index][0]
        name, after = self._text(0, index), index + 1
        if sign in "<>" and self._text(after, after + 1) == "=" and not self.signs[after][2]:
            sign, after = f"{sign}=", after + 1
        value, place = self._text(after), self._place(after)
        shown = name if name and not name.endswith("!") else "lr"
        if not name:
            self._refuse(self.begin, f"{sign!r} has no name before it", f"Write {shown}{sign}0.01 without spaces")
        if name.endswith("!"):
            self._refuse(self.begin, "there is no '!='", "Use < <= > >= or =")
        if not value:
            self._refuse(place, f"{shown}{sign} has no value after it", f"Write {shown}{sign}0.01 without spaces")
        if not self.signs[after][2] and value[0] in "<>=":
            self._refuse(self._place(index), f"there is no '{sign}{value[0]}'", "Use < <= > >= or =")
        number = _number(value)
        if number is None and sign != "=":
            self._refuse(
                place,
                f"{value!r} is no number, and {shown}{sign} needs one",
                f"Write {shown}{sign}0.01, or {shown}=text",
            )
        return Comparison(name, sign, number, value)

    def _text(self, begin: int = 0, end: int | None = None) -> str:
        return "".join(sign for sign, _, _ in self.signs[begin:end])

    def _place(self, index: int) -> int:
        return self.signs[index][1] if index < len(self.signs) else self.signs[-1][1] + 1

    def _refuse(self, place: int, what: str, fix: str) -> NoReturn:
        raise _unreadable(self.query, place, what, fix)


_EXAMPLES = {"tag": "pii", "state": "failed", "kind": "hpo", "user": "ada", "model": "digits", "name": "digits"}


def _terms(query: str) -> Iterator[_Term]:
    signs: list[tuple[str, int, bool]] = []
    begin, quote = -1, -1
    for place, sign in enumerate(query):
        if sign == '"':
            begin, quote = (place if begin < 0 else begin), (place if quote < 0 else -1)
        elif quote >= 0 or not sign.isspace():
            begin = place if begin < 0 else begin
            signs.append((sign, place, quote >= 0))
        elif begin >= 0:
            yield _Term(query, tuple(signs), begin)
            signs, begin = [], -1
    if quote >= 0:
        raise _unreadable(query, quote, "this quote has no end", 'Write the other " after the last word of the phrase')
    if begin >= 0:
        yield _Term(query, tuple(signs), begin)


def _unreadable(query: str, place: int, what: str, fix: str) -> ConfigError:
    shown = "".join(sign if sign.isprintable() else " " for sign in query)
    begin = max(0, place - 60)
    return ConfigError(
        f"The search cannot be read at character {place + 1}: {what}. {fix}.\n"
        f"  {shown[begin : place + 40]}\n  {' ' * (place - begin)}^"
    )


def _number(text: str) -> float | None:
    """The number that the text is; None for another text, and for nan, which is like nothing."""
    if "_" in text:
        return None
    with suppress(ValueError):
        return int(text)
    with suppress(ValueError):
        number = float(text)
        return None if math.isnan(number) else number
    return None
