"""What a function's code refers to."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lagom_magic.cluster.references import (
    imported_modules,
    is_installed,
    own_functions,
    plain_function,
    preload_modules,
    used_variables,
)

LIMIT = 3


def in_notebook(source: str) -> Callable[..., Any]:
    """`train` of a cell, as IPython would define it."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(source, namespace)
    function: Callable[..., Any] = namespace["train"]
    return function


def test_globals_and_enclosing_variables_are_seen_in_nested_code_too() -> None:
    width = 4

    def train() -> list[object]:
        return [json.dumps(width) for _ in range(LIMIT)]

    assert used_variables(train) == {"json": json, "width": 4, "LIMIT": 3}


def test_imports_inside_functions_are_found_with_their_dots() -> None:
    train = in_notebook("def train():\n import a.b\n def inner():\n  from c.d import e\n return inner")
    function = plain_function(train)
    assert function is not None
    assert imported_modules(function.__code__) == ["a.b", "c.d"]


def test_functions_of_the_notebook_are_followed_and_recursion_ends() -> None:
    train = in_notebook("import json\ndef helper():\n return train()\ndef train():\n return helper(), json.loads")
    assert [function.__name__ for function in own_functions(train)] == ["train", "helper"]


@pytest.mark.parametrize("wrap", [functools.partial, functools.lru_cache, lambda function: function])
def test_the_plain_function_is_found_behind_wrappers(wrap: Callable[..., Any]) -> None:
    assert plain_function(wrap(plain_function)) is plain_function


def test_preloads_are_what_the_function_and_its_helpers_use_but_not_the_users_own_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lagom_test_beside.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "lagom_test_beside", ModuleType("lagom_test_beside"))
    train = in_notebook(
        "import json, lagom_test_beside\nfrom csv import DictReader\n"
        "def helper():\n import lagom_test_beside.inner, wave\n"
        "def train():\n return helper(), json, DictReader, print, lagom_test_beside"
    )
    assert preload_modules(train, tmp_path) == ["csv", "json", "wave"]


def test_what_pytorch_imports_late_is_preloaded_where_an_optimizer_is_used(tmp_path: Path) -> None:
    plain = in_notebook("import torch\ndef train():\n return torch.ones(1)")
    training = in_notebook("import torch\ndef train():\n return torch.optim.SGD([], lr=1)")
    assert preload_modules(plain, tmp_path) == ["torch"]
    assert preload_modules(training, tmp_path) == ["torch", "torch._dynamo"]


def test_an_environment_below_the_notebooks_folder_is_no_user_code(tmp_path: Path) -> None:
    environment = tmp_path / "env"
    environment.mkdir()
    (environment / "pyvenv.cfg").write_text("")
    assert is_installed(environment / "lib" / "x.py", tmp_path)
    assert is_installed(tmp_path / "site-packages" / "x.py", tmp_path)
    assert not is_installed(tmp_path / "x.py", tmp_path)
