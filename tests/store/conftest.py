"""Fixtures that several tests of the store share."""

from url_homes import machine, url

__all__ = ["machine", "url"]
