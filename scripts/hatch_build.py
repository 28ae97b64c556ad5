"""Puts the built front end into wheel and sdist; hatchling runs it, in its own environment.

An sdist holds what was built, so that a wheel from it needs no node. An editable install takes nothing and builds
nothing, so it is quick and needs no node either: `make ui` builds and links the front end there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LABEXTENSION = "lagom_magic/labextension"
#: The last files that each step of the build writes.
OUTPUT = [
    "lagom_magic/display/static/widget.js",
    "lagom_magic/display/static/widget.css",
    f"{LABEXTENSION}/package.json",
]
INSTALLED_AS = "share/jupyter/labextensions/lagom-magic"


class FrontEndHook(BuildHookInterface):
    """Builds widget and JupyterLab extension where they are missing, and says where the wheel installs the latter."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What brings yarn, only for where it will run."""
        return ["jupyter-builder>=1.2,<2"] if not self._is_built() and shutil.which("node") else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        if not self._is_built():
            self._build()
        if self.target_name == "wheel":
            build_data["shared_data"] |= {
                LABEXTENSION: INSTALLED_AS,
                "labextension/install.json": f"{INSTALLED_AS}/install.json",
            }

    def _is_built(self) -> bool:
        return all((Path(self.root) / name).is_file() for name in OUTPUT)

    def _build(self) -> None:
        if not shutil.which("node"):
            _give_up("and there is no node on PATH; install node >= 20, or run `make ui`, which brings its own")
        jlpm = shutil.which("jlpm")
        if jlpm is None:
            _give_up("and there is no jlpm on PATH; a build without --no-build-isolation brings it")
        for step in (["install", "--immutable"], ["build"]):
            self.app.display_info(f"Building the live view: jlpm {' '.join(step)}")
            exit_code = subprocess.run([jlpm, *step], cwd=self.root, check=False).returncode
            if exit_code:
                _give_up(f"and `jlpm {' '.join(step)}` ended with exit code {exit_code}; see what it said above")


def _give_up(why: str) -> NoReturn:
    sys.exit(f"The live view of lagom_magic is not built here, {why}.")
