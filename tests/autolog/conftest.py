"""Fixtures of the tests of auto-logging."""

from __future__ import annotations

from logged_runs import track

__all__ = ["track"]
