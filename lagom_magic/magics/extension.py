"""What `%load_ext lagom_magic` and `%unload_ext lagom_magic` do to a shell."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from lagom_magic.errors import LagomError
from lagom_magic.magics.backend import Backend, PackageBackend
from lagom_magic.magics.completion import LagomMatcher
from lagom_magic.magics.lagom import LagomMagics
from lagom_magic.magics.settings import Settings

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_KEY = LagomMagics.__name__


def load(shell: InteractiveShell, backend: Backend | None = None, platform: str = sys.platform) -> None:
    """Brings the magics, once; a second call changes nothing.

    Args:
        shell: a notebook's or a terminal's.
        backend: what the magics call; None = the package.
        platform: as `sys.platform`.

    Raises:
        LagomError: on Windows.
    """
    if platform.startswith("win"):
        raise LagomError(
            "lagom_magic runs on Linux and macOS, not on Windows itself, since its workers need POSIX processes. "
            "Start Jupyter inside WSL2: https://learn.microsoft.com/windows/wsl/install"
        )
    if _KEY in shell.magics_manager.registry:
        return
    backend = backend or PackageBackend()
    magics = LagomMagics(shell, backend, Settings(os.environ))
    shell.register_magics(magics)
    shell.Completer.custom_matchers.append(LagomMatcher(shell, backend))
    shell.input_transformers_cleanup.insert(0, own_line)


def unload(shell: InteractiveShell) -> None:
    """Takes everything away that `load` brought."""
    manager = shell.magics_manager
    if _KEY not in manager.registry:
        return
    manager.registry.pop(_KEY).settings.restore()
    for kind in ("line", "cell"):
        manager.magics[kind].pop("lagom", None)
    matchers = shell.Completer.custom_matchers
    matchers[:] = [matcher for matcher in matchers if not isinstance(matcher, LagomMatcher)]
    shell.input_transformers_cleanup.remove(own_line)


def own_line(lines: list[str]) -> list[str]:
    """A cell of one line of ours: `%%lagom …` alone means `%lagom …`, and `%lagom VERB?` asks for the verb's help.

    IPython refuses a cell magic without a cell, and takes the `?` for a question about a Python object.
    """
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is None or any(line.strip() for line in lines[first + 1 :]):
        return lines
    words = lines[first].split()
    if len(words) < 2 or words[0] not in ("%lagom", "%%lagom"):
        return lines
    text = " ".join(words)
    if text.endswith("?"):
        return [f"%lagom {words[1].rstrip('?')} --help\n"]
    return [lines[first][1:]] if words[0] == "%%lagom" else lines
