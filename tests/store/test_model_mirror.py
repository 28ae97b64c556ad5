"""The model registry of a home that LAGOM_HOME names by a URL: there and here alike, and shared by two machines."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from url_homes import Machine, files_below, put_there, remove_there

from lagom_magic import BaseConfig, model
from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.experiment import launch
from lagom_magic.store import registry
from lagom_magic.store.layout import default_home
from lagom_magic.store.mirror import refresh_home
from lagom_magic.store.model_mirror import fetch_model, send_models
from lagom_magic.store.model_version import Details
from lagom_magic.store.remote import Remote, open_remote


def there(url: str) -> dict[str, bytes]:
    """What the registry in the place has."""
    return files_below(url, ".models")


def here() -> dict[str, bytes]:
    """What this machine has of versions."""
    folder = default_home() / ".models"
    files = (path for path in folder.glob("*/[1-9]*/**/*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def exported(text: str = "weights") -> int:
    """The number of a version that this machine exports now."""
    Path("weights").write_text(text)
    return int(model.export("weights", "digits")["version"])


def numbers() -> list[int]:
    """Versions that this machine knows, after it has asked."""
    assert refresh_home() == ""
    return [one.version for one in registry.versions(default_home()).versions]


def test_an_export_is_there_at_once_and_the_other_machine_loads_it(url: str, machine: Machine) -> None:
    Path("weights").write_text("from a")
    model.export("weights", "digits", metrics={"accuracy": 0.9})
    assert there(url) == here()
    assert set(here()) == {"digits/1/model.json", "digits/1/files/weights"}
    machine("b")
    assert refresh_home() == ""
    assert set(here()) == {"digits/1/model.json"}
    assert model.get_best_model("digits", "accuracy")["path"].read_text() == "from a"
    assert here() == there(url)
    Path("weights").write_text("from b")
    assert model.export("weights", "digits")["version"] == 2
    machine("a")
    assert model.get_model("digits")["path"].read_text() == "from b"


def test_two_machines_that_took_one_number_end_with_two(url: str, machine: Machine) -> None:
    Path("weights").write_text("from a")
    model.export("weights", "digits")
    machine("b")
    Path("weights").write_text("from b")
    assert model.export("weights", "digits")["version"] == 2
    assert {path: data for path, data in there(url).items() if path.endswith("weights")} == {
        "digits/1/files/weights": b"from a",
        "digits/2/files/weights": b"from b",
    }
    assert [one.version for one in registry.versions(default_home()).versions] == [2]
    refresh_home()
    assert [one.version for one in registry.versions(default_home()).versions] == [1, 2]


def test_a_place_that_is_out_of_reach_gets_the_model_later(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = MemoryFileSystem if url.startswith("memory") else LocalFileSystem
    put = kind.put_file

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError("no right to write")

    monkeypatch.setattr(kind, "put_file", refuse)
    Path("weights").write_text("w")
    with pytest.warns(UserWarning, match=r"has not got the model: .*no right to write.* `%lagom models` sends it"):
        assert model.export("weights", "digits")["version"] == 1
    assert there(url) == {}
    monkeypatch.setattr(kind, "put_file", put)
    assert refresh_home() == ""
    assert there(url) == here()


def export_one() -> float:
    with open("weights", "w") as file:
        file.write("w")
    model.export("weights", "digits")
    return 1.0


def test_what_a_trial_exports_is_there_when_its_run_has_ended(url: str) -> None:
    run = launch(
        export_one, BaseConfig(), ui="none", make_launcher=lambda kit, _, n_workers: ProcessLauncher(kit, n_workers)
    )
    assert run.state == "COMPLETE"
    assert there(url) == here()
    assert "digits/1/files/weights" in here()


def test_a_version_that_was_sent_before_that_was_noted_is_not_made_twice(url: str) -> None:
    Path("weights").write_text("w")
    model.export("weights", "digits")
    (marker,) = (default_home() / ".remote/models").iterdir()
    marker.unlink()
    assert refresh_home() == ""
    assert [one.version for one in registry.versions(default_home()).versions] == [1]
    assert there(url) == here()


# two machines at once


def add_versions(home: Path, who: str, n_versions: int) -> None:
    """Versions in a machine's working copy, each with a file of its own."""

    def place(folder: Path) -> Details:
        (folder / "weights").write_text(f"{who} " * 1000)
        return Details(description=who)

    for _ in range(n_versions):
        registry.add(home, "digits", place)


def check_what_a_third_machine_finds(machine: Machine, expected: dict[str, int]) -> None:
    """All versions that two machines exported, each whole and with its own number."""
    machine("third")
    found: dict[str, int] = {}
    for number in numbers():
        version = registry.find(default_home(), "digits", number)
        fetch_model(version)
        version.check_files()
        assert version.path.read_text() == f"{version.description} " * 1000
        found[version.description] = found.get(version.description, 0) + 1
    assert found == expected


@pytest.mark.parametrize("url", ["memory://bucket/runs"], indirect=True)
def test_two_machines_that_send_one_number_in_the_same_moment_get_two(url: str, machine: Machine) -> None:
    class Meeting(MemoryFileSystem):
        """The first file of each machine is there before one of them goes on."""

        protocol = "meeting"
        cachable = False

        def put_file(self, lpath: str, rpath: str, *args: Any, **options: Any) -> None:
            super().put_file(lpath, rpath, *args, **options)
            if threading.current_thread() not in met:
                met.add(threading.current_thread())
                meeting.wait(30.0)

    met, meeting = set[threading.Thread](), threading.Barrier(2)
    opened = open_remote(url)

    def send(who: str) -> None:
        send_models(Path(f"home-{who}"), Remote(opened.address, Meeting(), "/bucket/runs"))

    for who in "ab":
        add_versions(Path(f"home-{who}"), who, 1)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(send, "ab", timeout=60.0))
    check_what_a_third_machine_finds(machine, {"a": 1, "b": 1})


def test_two_machines_that_send_many_versions_at_once_spoil_none(url: str, machine: Machine) -> None:
    def send(who: str) -> None:
        for _ in range(10):
            add_versions(Path(f"home-{who}"), who, 1)
            send_models(Path(f"home-{who}"), open_remote(url))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(send, "ab", timeout=60.0))
    check_what_a_third_machine_finds(machine, {"a": 10, "b": 10})


EXPORTING = """
import sys
from pathlib import Path
from lagom_magic import model

Path(sys.argv[1]).write_text(f"{sys.argv[2]} " * 1000)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    print(model.export(sys.argv[1], "digits", description=sys.argv[2])["version"], flush=True)
"""


@pytest.mark.parametrize("url", ["file://{tmp}/there"], indirect=True)
def test_processes_of_two_machines_and_of_one_export_at_once(url: str, machine: Machine, tmp_path: Path) -> None:
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", EXPORTING, f"weights-{who}-{n}", who],
            env={**os.environ, "LAGOM_CACHE": str(tmp_path / who)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for who in "ab"
        for n in (1, 2)
    ]
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("go\n")
        program.stdin.flush()
    given = [int(line) for program in programs for line in program.communicate(timeout=120)[0].split()]
    assert [program.returncode for program in programs] == [0] * 4
    assert len(set(given)) == 80
    check_what_a_third_machine_finds(machine, {"a": 40, "b": 40})
    assert sorted(given) == numbers()


# versions that are deleted


def test_a_version_that_was_deleted_there_does_not_come_back_and_neither_does_its_number(
    url: str, machine: Machine
) -> None:
    assert [exported("1"), exported("2")] == [1, 2]
    machine("b")
    assert numbers() == [1, 2]
    remove_there(url, ".models/digits/2")
    assert numbers() == [1]
    machine("a")
    assert numbers() == [1]
    assert {path.split("/")[1] for path in there(url)} == {"1"}
    machine("c")
    assert exported("3") == 3
    assert numbers() == [1, 3]
    remove_there(url, ".models/digits")
    machine("a")
    assert exported("4") == 4
    assert numbers() == [4]


def test_a_place_that_was_emptied_takes_no_version_from_the_machines_that_have_it(url: str) -> None:
    exported("1")
    for folder in (".models", ".claims"):
        remove_there(url, folder)
    assert numbers() == [1]
    assert model.get_model("digits")["path"].read_text() == "1"


def test_a_send_that_broke_off_goes_on_under_the_number_that_it_had(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = MemoryFileSystem if url.startswith("memory") else LocalFileSystem
    put = kind.put_file

    def put_claims_only(self: Any, lpath: str, rpath: str, *args: Any, **options: Any) -> None:
        if "/.claims/" not in rpath:
            raise ConnectionError("cut off")
        put(self, lpath, rpath, *args, **options)

    monkeypatch.setattr(kind, "put_file", put_claims_only)
    with pytest.warns(UserWarning, match="cut off"):
        assert exported() == 1
    monkeypatch.setattr(kind, "put_file", put)
    assert numbers() == [1]
    assert there(url) == here()


# exports of a run that two machines went on with


def add_export(trial_id: int, text: str = "weights") -> int:
    """The number of the version that this machine makes of a trial's export, as the driver does; nothing is sent."""

    def place(folder: Path) -> Details:
        (folder / "weights").write_text(text)
        return Details(
            run={"id": "20261122-093000-k3f7", "experiment": "digits", "dir": "/runs"},
            trial_id=trial_id,
            attempt=1,
            state="COMPLETE",
            folder="artifacts/models/digits",
        )

    return registry.add(default_home(), "digits", place).version


def trials() -> dict[int, int | None]:
    """{version: the trial that exported it}, after this machine has asked."""
    assert refresh_home() == ""
    return {one.version: one.trial_id for one in registry.versions(default_home()).versions}


def test_exports_that_another_machine_has_sent_meanwhile_become_the_same_versions_here(
    url: str, machine: Machine
) -> None:
    assert [add_export(trial_id) for trial_id in (0, 1, 2)] == [1, 2, 3]
    machine("b")
    assert [add_export(trial_id) for trial_id in (0, 1, 2, 3)] == [1, 2, 3, 4]
    assert trials() == {1: 0, 2: 1, 3: 2, 4: 3}
    machine("a")
    assert trials() == {1: 0, 2: 1, 3: 2, 4: 3}
    assert there(url) == here() | {"digits/4/files/weights": b"weights"}  # of its own it keeps the files, too
    assert trials() == {1: 0, 2: 1, 3: 2, 4: 3}
    assert model.get_model("digits")["trial_id"] == 3


def test_the_same_exports_under_other_numbers_take_those_that_they_have_there(url: str, machine: Machine) -> None:
    for trial_id in (0, 1, 2):
        add_export(trial_id)
    machine("b")
    for trial_id in (1, 0):
        add_export(trial_id)
    refresh_home()
    machine("a")
    assert trials() == {1: 1, 2: 0, 3: 2}
    for number in (1, 2, 3):
        assert model.get_model("digits", number)["path"].read_text() == "weights"
    machine("b")
    assert trials() == {1: 1, 2: 0, 3: 2}


def test_other_files_of_the_same_trial_are_a_version_of_their_own(url: str, machine: Machine) -> None:
    add_export(0, "from a")
    machine("b")
    add_export(0, "from b")
    refresh_home()
    machine("a")
    assert trials() == {1: 0, 2: 0}
    assert [model.get_model("digits", number)["path"].read_text() for number in (1, 2)] == ["from b", "from a"]


def test_an_export_that_was_deleted_there_is_not_sent_again_by_the_machine_that_had_it_too(
    url: str, machine: Machine
) -> None:
    for trial_id in (0, 1):
        add_export(trial_id)
    machine("b")
    for trial_id in (0, 1):
        add_export(trial_id)
    refresh_home()
    remove_there(url, ".models/digits/2")
    machine("a")
    assert trials() == {1: 0}
    assert {path.split("/")[1] for path in there(url)} == {"1"}


@pytest.mark.parametrize("deleted", ["digits/1", "digits"])
def test_a_machine_that_never_had_a_deleted_export_knows_that_it_was_registered(
    url: str, machine: Machine, deleted: str
) -> None:
    for trial_id in (0, 1):
        add_export(trial_id)
    first, second = registry.versions(default_home()).versions
    refresh_home()
    remove_there(url, f".models/{deleted}")
    machine("b")
    refresh_home()
    assert registry.was_registered(default_home(), "digits", first.fingerprint)
    assert registry.was_registered(default_home(), "digits", second.fingerprint) == (deleted == "digits")


@pytest.mark.parametrize("url", ["memory://bucket/runs"], indirect=True)
def test_claims_of_odd_names_lead_nowhere_and_hold_nobody_up(url: str, tmp_path: Path) -> None:
    add_export(0)
    for claim in ("1", "1.", "2.x", "3." + "0" * 63 + "g", "4." + "0" * 64 + "/x", "no.number"):
        put_there(url, f".claims/digits/{claim}", b"")
    assert trials() == {5: 0}
    kept = tmp_path.joinpath("a").glob("*/.models/digits@exports/*")
    assert [path.name for path in kept] == [registry.find(default_home(), "digits").fingerprint]


def test_an_export_whose_sending_broke_off_before_it_was_noted_there_is_noted_later(
    url: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = MemoryFileSystem if url.startswith("memory") else LocalFileSystem
    put = kind.put_file

    def put_no_notes(self: Any, lpath: str, rpath: str, *args: Any, **options: Any) -> None:
        if rpath.endswith(version.fingerprint):
            raise ConnectionError("cut off")
        put(self, lpath, rpath, *args, **options)

    add_export(0)
    (version,) = registry.versions(default_home()).versions
    monkeypatch.setattr(kind, "put_file", put_no_notes)
    assert "cut off" in refresh_home()
    monkeypatch.setattr(kind, "put_file", put)
    assert trials() == {1: 0}
    machine("b")
    for trial_id in (1, 0):
        add_export(trial_id)
    assert trials() == {1: 0, 3: 1}
