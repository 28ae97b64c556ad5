"""URLs that may hold credentials: how they are stored and shown, without user, password and query."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit, urlunsplit


def without_secrets(url: str) -> str:
    """The URL with '***' for the credentials in it; one without any stays as it is."""
    try:
        parts = urlsplit(url)
    except ValueError:  # such as an open bracket: say nothing of it rather than too much
        return "***"
    _, at, host = parts.netloc.rpartition("@")
    if not at and not parts.query:
        return url
    parts = parts._replace(netloc=f"***@{host}" if at else host, query="***" if parts.query else "", fragment="")
    return urlunsplit(parts)


def without_password(url: str) -> str:
    """The URL without password and query. The user stays: of `abfs://container@account` it is part of the place."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    user, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}{at}{host}", query="", fragment=""))


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
        """The first line of an error's message, which may quote the URL, without the credentials."""
        text = str(error).replace(self.url, self.shown).strip() or type(error).__name__
        if self.shown not in (self.url, "***"):
            parts = urlsplit(self.url)
            userinfo = parts.netloc.rpartition("@")[0]
            for secret in (parts.query, userinfo, userinfo.partition(":")[2]):
                for form in (secret, unquote(secret)):
                    text = text.replace(form, "***") if form else text
        return text.splitlines()[0][:500]
