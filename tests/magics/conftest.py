from collections.abc import Iterator
from pathlib import Path

import pytest
from magic_shell import Notebook, open_notebook


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "UI", "WORKERS", "NONINTERACTIVE", "LOG"):
        monkeypatch.delenv(f"LAGOM_{name}", raising=False)
    with open_notebook(tmp_path / "ipython") as opened:
        yield opened
