"""The list of runs without a server, at a time of the test's choosing."""

from __future__ import annotations

from pathlib import Path

import pytest
from store_runs import begun, record, run_on_disk, store_in, whole_run

from lagom_magic.server.listing import list_runs
from lagom_magic.server.places import Places

#: Long after and long before everything was written: an index keeps what has not changed lately.
LATER_S, EARLIER_S = 4e9, 0.0


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "lagom_magic"


def test_a_row_from_the_index_is_that_from_the_folder(tmp_path: Path, cache: Path) -> None:
    for experiment, facts in (("digits", None), ("iris", whole_run(())), ("died", begun())):
        root = run_on_disk(tmp_path / "deep" / "home", experiment, facts)
        if experiment == "died":
            (root / "result.json").unlink()
    with store_in(tmp_path, "alive") as store:
        record(store, begun())
        read = list_runs(Places(tmp_path), tmp_path, EARLIER_S)
        assert list_runs(Places(tmp_path), tmp_path, LATER_S) == read
        assert list_runs(Places(tmp_path), tmp_path, LATER_S) == read
    assert {row["experiment"]: row["is_live"] for row in read} == {
        "digits": False,
        "iris": False,
        "died": False,
        "alive": True,
    }
    assert len(list(cache.iterdir())) == 2
    assert not list(tmp_path.rglob(".index.sqlite"))
