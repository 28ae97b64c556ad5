"""The `%lagom` and `%%lagom` magics: parse a line, find the function of a cell, hand both to `experiment`."""

from lagom_magic.magics.extension import load, unload

__all__ = ["load", "unload"]
