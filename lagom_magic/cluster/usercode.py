"""The user's own code and files, packed for workers that cannot see the notebook's folder; run once a run."""

from __future__ import annotations

import ast
import json
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from lagom_magic.cluster.kit import zip_bytes
from lagom_magic.cluster.references import imported_modules, is_installed, own_functions
from lagom_magic.errors import ConfigError
from lagom_magic.worker.workdir import FILES_FOLDER, FILES_ORIGINS

_OWN_PACKAGE = "lagom_magic"


@dataclass(slots=True)
class UserCode:
    """Collects {path inside the archive: content}.

    Attributes:
        notebook_dir: the notebook's folder, absolute.
    """

    notebook_dir: Path
    _files: dict[str, bytes] = field(default_factory=dict)
    #: What `--files` named → where it was.
    _origins: dict[str, str] = field(default_factory=dict)
    #: Top-level names that were looked at.
    _seen: set[tuple[Path, str]] = field(default_factory=set)

    def add_imported(self, modules: Mapping[str, ModuleType]) -> None:
        """Ship the modules among `modules` that lie below the notebook's folder, each with its whole package."""
        for name, module in list(modules.items()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and file.endswith(".py") and (base := self._base_of(name, Path(file))):
                self._add_module(base, name.partition(".")[0])

    def add_imports_of(self, function: Callable[..., Any]) -> None:
        """Ship the modules beside the notebook that the function will import only when it runs."""
        for inner in own_functions(function):
            for name in imported_modules(inner.__code__):
                self._add_module(self.notebook_dir, name.partition(".")[0])

    def _base_of(self, name: str, file: Path) -> Path | None:
        """The folder that `import name` was found in; None when it is not the user's own code."""
        if not file.is_relative_to(self.notebook_dir):
            file = file.resolve()
        if not file.is_relative_to(self.notebook_dir) or is_installed(file, self.notebook_dir):
            return None
        module_path = file.parent if file.name == "__init__.py" else file.with_suffix("")
        parts = name.split(".")
        if module_path.parts[-len(parts) :] != tuple(parts):  # as `__main__`, or loaded under another name
            return None
        return Path(*module_path.parts[: -len(parts)])

    def _add_module(self, base: Path, top: str) -> None:
        """Ship `top` of `base`, and what it imports from there in turn."""
        if (base, top) in self._seen or top == _OWN_PACKAGE:
            return
        self._seen.add((base, top))
        for path in _sources(base / top, base / f"{top}.py"):
            content = path.read_bytes()
            self._files.setdefault(path.relative_to(base).as_posix(), content)
            for name in _imports_in(content):
                self._add_module(base, name)

    def add_py_file(self, given: str) -> None:
        """Ship a module, a package's folder or an archive of modules, as `--py-files` names it.

        Raises:
            ConfigError: when it does not exist or is none of them.
        """
        path = self._existing(given, "--py-files")
        if path.is_dir() or path.suffix == ".py":
            for source in _sources(path, path):
                self._files[source.relative_to(path.parent).as_posix()] = source.read_bytes()
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if not name.endswith("/"):
                        self._files[name] = archive.read(name)
        else:
            raise ConfigError(f"--py-files {given}: takes a .py file, a package's folder, or a .zip, .egg or .whl.")

    def add_file(self, given: str) -> None:
        """Ship a file or folder that shall lie in the worker's working directory, as `--files` names it.

        Raises:
            ConfigError: when it does not exist.
        """
        path = self._existing(given, "--files")
        found = [path] if path.is_file() else [inner for inner in sorted(path.rglob("*")) if inner.is_file()]
        for file in found:
            self._files[f"{FILES_FOLDER}/{file.relative_to(path.parent).as_posix()}"] = file.read_bytes()
        self._origins[path.name] = str(path.resolve())
        self._files[FILES_ORIGINS] = json.dumps(self._origins).encode()

    def _existing(self, given: str, option: str) -> Path:
        path = (self.notebook_dir / Path(given).expanduser()).absolute()
        if not path.exists():
            raise ConfigError(f"{option} {given}: there is no {path}.")
        return path

    def add(self, name: str, content: bytes) -> None:
        """Ship `content` as the importable file `name`."""
        self._files[name] = content

    def top_level_modules(self) -> frozenset[str]:
        """Names that workers will be able to import from the archive."""
        firsts = {name.partition("/")[0].removesuffix(".py") for name in self._files}
        return frozenset(firsts - {FILES_FOLDER, FILES_ORIGINS})

    def zip(self) -> bytes:
        """The archive."""
        return zip_bytes(self._files)


def _sources(*candidates: Path) -> Iterator[Path]:
    """Python files among the candidates, and below those that are folders; no caches, no hidden folders."""
    for candidate in candidates:
        if candidate.is_file():
            yield candidate
        elif candidate.is_dir():
            for folder, subfolders, names in os.walk(candidate):
                hidden_or_environment = [
                    name
                    for name in subfolders
                    if name.startswith(".") or name == "__pycache__" or Path(folder, name, "pyvenv.cfg").exists()
                ]
                subfolders[:] = sorted(set(subfolders).difference(hidden_or_environment))
                yield from (Path(folder, name) for name in sorted(names) if name.endswith(".py"))


def _imports_in(source: bytes) -> list[str]:
    """Top-level names that a module's source imports absolutely, wherever in it."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # its import will tell
        return []
    nodes: list[Iterable[str]] = [
        [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.level == 0)
    ]
    return [name.partition(".")[0] for names in nodes for name in names if name]


def pack_user_code(
    notebook_dir: Path,
    function: Callable[..., Any],
    modules: Mapping[str, ModuleType],
    py_files: Sequence[str] = (),
    files: Sequence[str] = (),
) -> UserCode:
    """All of the user's own that the function may need on a worker.

    Args:
        notebook_dir: the notebook's folder; relative paths start from it.
        function: the training function.
        modules: `sys.modules`.
        py_files: of `--py-files`.
        files: of `--files`.

    Raises:
        ConfigError: when a file that was named does not exist.
    """
    code = UserCode(notebook_dir.resolve())
    code.add_imported(modules)
    code.add_imports_of(function)
    for given in py_files:
        code.add_py_file(given)
    for given in files:
        code.add_file(given)
    return code
