"""Where the links led that a trial had made in its working directory; `opened_files.py` asks when they are gone."""

from __future__ import annotations

import os
from collections.abc import Mapping

#: As many as Linux follows for one name.
_MAX_FOLLOWED = 40


class OwnLinks:
    """Links that are not there any more; all others are followed by the operating system."""

    def __init__(self, targets: Mapping[str, str]) -> None:
        """Name them.

        Args:
            targets: absolute path → what it led to, as `os.readlink` tells; below a folder that is no link.
        """
        self._targets = targets
        #: Folder as it was named → where it led; a trial's files are in few.
        self._folders: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._targets)

    def follow(self, path: str) -> str:
        """Where an absolute path led; as it is when no file system takes such a name."""
        folder, _, name = path.rpartition("/")
        try:
            if folder not in self._folders:
                self._folders[folder] = self._walk(folder)
            led = f"{self._folders[folder]}/{name}"
            return self._walk(led) if led in self._targets else led
        except ValueError:
            return path

    def _walk(self, path: str) -> str:
        """Goes along a path, step by step, without a slash at its end."""
        steps, place, n_followed = path.split("/")[::-1], "", 0
        while steps:
            step = steps.pop()
            if step == "..":
                place = os.path.dirname(os.path.realpath(place)).rstrip("/")
            elif step not in ("", "."):
                here = f"{place}/{step}"
                target = self._targets.get(here)
                if target is None or n_followed == _MAX_FOLLOWED:
                    place = here
                else:
                    n_followed += 1
                    steps += target.split("/")[::-1]
                    place = "" if target.startswith("/") else place
        return place
