"""URLs that may hold credentials: how they are stored and shown, without user, password and query."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote, unquote

_HIDDEN = "***"
#: Before a URL's host, also where `jdbc:` or a link of fsspec's comes before it, and where it has no scheme.
_BEGIN = re.compile(r"(?:(?<=:)|(?<!\S))//")
#: Where a URL ends: a space, or the next link of fsspec's chain, `zip://x.csv::simplecache::s3://bucket`.
_END = re.compile(r"\s|::(?:[a-z][\w+.-]*::)*[a-z][\w+.-]*://", re.IGNORECASE)
_SPACE = re.compile(r"\s")
_AUTHORITY_END = re.compile(r"[/?#]")
_PLAIN_HOST = re.compile(r"(?:\[[^\]]*\]|[^:]*)(?::\d{0,5})?")
_PATH_END = re.compile(r"[?#]")
#: What begins a query, a fragment, or the properties that JDBC takes.
_TAIL = re.compile(r"[?#]|;(?=[\w.-]+=)")


def without_secrets(url: str) -> str:
    """The URL, or all in a text, with '***' for the credentials, query and fragment; one without any stays as it is.

    A password may have signs in it that should have been quoted, so it reaches to the last '@' that may end it. An '@'
    behind a plain host, or a host with a port, is one of the path: `s3://bucket/a@b`.
    """
    shown, done = list[str](), 0
    for link in _links(url):
        if link.begin < link.last_at:
            shown += url[done : link.begin], _HIDDEN
            done = link.last_at
        if link.tail + 1 < link.end:
            shown += url[done : link.tail + 1], _HIDDEN
            done = link.end
    return "".join([*shown, url[done:]])


def without_password(url: str) -> str:
    """The URL without password and query. The user stays: of `abfs://container@account` it is part of the place."""
    kept, done = list[str](), 0
    for link in _links(url):
        user = url[link.begin : link.at].partition(":")[0]
        kept += url[done : link.begin], user, url[link.at : _place(_PATH_END, url, link.at, link.end)]
        done = link.end
    return "".join([*kept, url[done:]])


class SecretUrl:
    """A URL and how to speak of it.

    Attributes:
        url: with its credentials; never show it.
        shown: without them.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.shown = without_secrets(url)

    def __repr__(self) -> str:
        return f"SecretUrl({self.shown!r})"

    def cleaned(self, error: BaseException) -> str:
        """The first line of an error's message, which may quote the URL or others, without the credentials."""
        text = str(error).replace(self.url, self.shown).strip() or type(error).__name__
        wholes, words = _secrets(self.url)
        for secret in sorted(wholes, key=len, reverse=True):
            text = text.replace(secret, _HIDDEN)
        for word in words:
            text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", _HIDDEN, text)
        return without_secrets(text).splitlines()[0][:500]


class _Link(NamedTuple):
    """Places in a text, of a URL or one link of a chain.

    Attributes:
        begin: behind '//'.
        at: of the '@' that ends the credentials, as libraries read them; `begin` without any.
        last_at: of the last one that may be meant to.
        tail: of the sign before query, fragment or properties; `end` without any.
        end: of the link.
    """

    begin: int
    at: int
    last_at: int
    tail: int
    end: int


def _links(text: str) -> Iterator[_Link]:
    begin, end = 0, 0
    while (found := _BEGIN.search(text, begin)) is not None:
        begin = found.end()
        if begin > end:
            end = _place(_END, text, begin, len(text))
        at, last_at, end = _credentials(text, begin, end)
        host = max(begin, last_at)
        tail, nested = _place(_TAIL, text, host, end), text.find("://", host, end)
        if 0 <= nested < tail:  # a URL in the path, which has the rest
            yield _Link(begin, at, last_at, host, host)
            begin = host
        else:
            yield _Link(begin, at, last_at, tail, end)
            begin = end


def _credentials(text: str, begin: int, end: int) -> tuple[int, int, int]:
    """`at`, `last_at` and `end` of a link."""
    authority_end = _place(_AUTHORITY_END, text, begin, end)
    at = text.rfind("@", begin, authority_end)
    if at >= 0:
        has_password = text.find(":", begin, at) >= 0
        last_at = text.rfind("@", begin, _place(_PATH_END, text, begin, end)) if has_password else at
        return at, last_at, end
    if _PLAIN_HOST.fullmatch(text, begin, authority_end):
        return begin, begin, end
    if (at := text.rfind("@", begin, end)) < 0:  # unless the password looks like a link
        end = _place(_SPACE, text, begin, len(text))
        at = text.rfind("@", begin, end)
    return max(begin, at), max(begin, at), end


def _place(pattern: re.Pattern[str], text: str, begin: int, end: int) -> int:
    """Where a pattern is first found; the end without it."""
    found = pattern.search(text, begin, end)
    return end if found is None else found.start()


def _secrets(url: str) -> tuple[set[str], set[str]]:
    """What an error may quote of a URL: texts to hide wherever they stand, and such as are hidden only as words."""
    wholes, words = set[str](), set[str]()
    for link in _links(url):
        wholes.add(url[link.tail + 1 : link.end])
        for credentials in (url[link.begin : link.at], url[link.begin : link.last_at]):
            password = credentials.partition(":")[2]
            wholes |= {credentials, password}
            words.update(re.split(r"[/?#@:]", password))
    wholes |= {form(secret) for secret in wholes for form in (unquote, quote, lambda text: quote(text, safe=""))}
    return wholes - {""}, words - {""}
