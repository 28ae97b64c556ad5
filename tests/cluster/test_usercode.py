"""The user's own code and files on their way to workers."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lagom_magic.cluster.usercode import pack_user_code
from lagom_magic.errors import ConfigError


def nothing() -> None:
    """A training function that imports nothing."""


def write(folder: Path, files: dict[str, str]) -> None:
    """Write {path: content} below the folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def module(name: str, file: Path) -> dict[str, ModuleType]:
    """As `sys.modules` would have it."""
    loaded = ModuleType(name)
    loaded.__file__ = str(file)
    return {name: loaded}


def packed(
    folder: Path,
    modules: dict[str, ModuleType] | None = None,
    function: Callable[..., Any] = nothing,
    **options: list[str],
) -> dict[str, bytes]:
    archive = pack_user_code(folder, function, modules or {}, **options).zip()
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def test_an_imported_module_beside_the_notebook_travels_and_others_stay(tmp_path: Path) -> None:
    write(tmp_path, {"helper.py": "x = 1", "unrelated.py": "y = 1"})
    assert packed(tmp_path, module("helper", tmp_path / "helper.py") | sys.modules) == {"helper.py": b"x = 1"}


def test_an_imported_submodule_brings_its_whole_package_without_caches(tmp_path: Path) -> None:
    shipped = {"lib/__init__.py": "", "lib/deep/a.py": "1", "lib/b.py": "2"}
    write(tmp_path, {**shipped, "lib/__pycache__/c.py": "3", "lib/env/d.py": "4", "lib/env/pyvenv.cfg": ""})
    found = packed(tmp_path, module("lib.deep.a", tmp_path / "lib" / "deep" / "a.py"))
    assert set(found) == set(shipped)


def test_a_module_in_a_folder_that_was_added_to_the_path_keeps_its_import_name(tmp_path: Path) -> None:
    write(tmp_path, {"src/helper.py": ""})
    assert set(packed(tmp_path, module("helper", tmp_path / "src" / "helper.py"))) == {"helper.py"}


def test_what_a_function_imports_only_when_it_runs_travels_with_what_that_imports(tmp_path: Path) -> None:
    write(tmp_path, {"late.py": "import json\nfrom later import x", "later.py": "x = 1", "never.py": ""})

    def train() -> None:
        import late  # type: ignore[import-not-found]  # noqa: F401

    assert set(packed(tmp_path, function=train)) == {"late.py", "later.py"}


def test_packages_of_an_environment_below_the_notebook_stay(tmp_path: Path) -> None:
    write(tmp_path, {"site-packages/torch.py": ""})
    file = tmp_path / "site-packages" / "torch.py"
    assert packed(tmp_path, module("torch", file)) == {}


def test_our_own_package_is_not_taken_for_the_users(tmp_path: Path) -> None:
    write(tmp_path, {"lagom_magic/__init__.py": ""})
    assert packed(tmp_path, module("lagom_magic", tmp_path / "lagom_magic" / "__init__.py")) == {}


def test_py_files_may_be_a_module_a_package_or_an_archive(tmp_path: Path) -> None:
    write(tmp_path, {"given/one.py": "1", "given/pack/__init__.py": "2"})
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("three.py", "3")
    found = packed(tmp_path, py_files=["given/one.py", str(tmp_path / "given" / "pack"), "more.zip"])
    assert found == {"one.py": b"1", "pack/__init__.py": b"2", "three.py": b"3"}


def test_files_lie_apart_under_their_own_names(tmp_path: Path) -> None:
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "deep" / "a.csv").write_bytes(b"\0\1")
    (tmp_path / "b.json").write_text("{}")
    found = packed(tmp_path, files=["data", "b.json"])
    origins = {"data": str(tmp_path / "data"), "b.json": str(tmp_path / "b.json")}
    assert json.loads(found.pop("__files__.json")) == origins
    assert found == {"__files__/data/deep/a.csv": b"\0\1", "__files__/b.json": b"{}"}


@pytest.mark.parametrize("option", ["py_files", "files"])
def test_a_file_that_is_missing_is_an_error_that_names_the_option(tmp_path: Path, option: str) -> None:
    with pytest.raises(ConfigError, match=f"--{option.replace('_', '-')} gone.py: there is no"):
        packed(tmp_path, **{option: ["gone.py"]})


def test_py_files_that_are_no_python_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("")
    with pytest.raises(ConfigError, match=r"takes a \.py file"):
        packed(tmp_path, py_files=["data.csv"])
