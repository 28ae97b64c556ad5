from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_runs import Written, record, store_in, whole_run

from lagom_magic.store.layout import RunLayout
from lagom_magic.store.provenance import (
    HIDDEN,
    notebook_path,
    redacted,
    write_environment,
    write_provenance,
    write_run_json,
    write_source,
)


def test_environment_lists_python_platform_and_every_package_once(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    write_environment(layout)
    python, system, *packages = layout.environment.read_text().splitlines()
    assert platform.python_version() in python
    assert platform.platform() in system
    assert f"pytest=={importlib.metadata.version('pytest')}" in packages
    names = [package.partition("==")[0].lower() for package in packages]
    assert names == sorted(set(names))


def test_run_json_keeps_what_json_lacks_readable(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path / "20261122-093000-k3f7")
    layout.root.mkdir()
    write_run_json(layout, "digits", {"kind": "hpo", "low": math.inf, "fn": len}, datetime(2026, 11, 22, tzinfo=UTC))
    document = json.loads(layout.run_json.read_text())
    assert document["format"] == 1
    assert document["run_id"] == "20261122-093000-k3f7"
    assert document["created_at"] == "2026-11-22T00:00:00.000+00:00"
    assert document["low"] == "inf"
    assert document["fn"] == "<built-in function len>"


def test_a_cell_that_is_no_unicode_is_kept_escaped(tmp_path: Path) -> None:
    write_source(RunLayout(tmp_path), "x = '\ud800'\n")
    assert RunLayout(tmp_path).source.read_text() == "x = '\\ud800'\n"


def provenance_of(layout: RunLayout) -> dict[str, Any]:
    document = json.loads(layout.provenance.read_text())
    assert isinstance(document, dict)
    return document


def test_provenance_holds_notebook_git_hardware_spark_and_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/me/titanic.ipynb")
    layout = RunLayout(tmp_path)
    rows = tmp_path / "data" / "rows.csv"
    rows.parent.mkdir()
    rows.write_text("1\n")
    inputs = [
        {"argument": "train_set", "kind": "path", "paths": [str(rows.parent)], "n_files": 1},
        {"argument": "test_set", "kind": "Spark DataFrame", "paths": ["s3://me:pw@bucket/a"], "n_files": 7},
    ]
    write_provenance(layout, tmp_path, lambda: {"spark": {"spark.app.name": "lagom"}, "inputs": inputs})
    document = provenance_of(layout)
    assert document["format"] == 1
    assert document["notebook"] == "/home/me/titanic.ipynb"
    assert document["git"] is None
    assert document["hardware"]["cores"] == os.cpu_count()
    assert document["hardware"]["memory_bytes"] > 2**28
    assert document["hardware"]["cpu"]
    assert document["spark"] == {"spark.app.name": "lagom"}
    entry = {
        "path": str(rows),
        "size_bytes": 2,
        "mtime": rows.stat().st_mtime,
        "sha256": hashlib.sha256(b"1\n").hexdigest(),
    }
    assert document["inputs"] == [
        {"argument": "train_set", "kind": "path", "files": [entry], "n_files": 1},
        {"argument": "test_set", "kind": "Spark DataFrame", "files": [{"path": "s3://***@bucket/a"}], "n_files": 7},
    ]
    assert not layout.git_diff.exists()


def test_what_is_not_committed_is_kept_beside(tmp_path: Path) -> None:
    folder, layout = tmp_path / "nb", RunLayout(tmp_path)
    folder.mkdir()
    (folder / "a.py").write_text("a = 1\n")
    for command in ("init -q", "add .", "-c user.name=A -c user.email=a@b commit -qm first"):
        subprocess.run(["git", *command.split()], cwd=folder, check=True)
    (folder / "a.py").write_text("a = 2\n")
    write_provenance(layout, folder, dict)
    assert provenance_of(layout)["git"]["is_dirty"]
    assert len(provenance_of(layout)["git"]["commit"]) == 40
    assert "+a = 2" in layout.git_diff.read_text()


@pytest.mark.parametrize(
    ("names", "environment", "path"),
    [
        ({}, {}, None),
        ({}, {"JPY_SESSION_NAME": "/nb/a.ipynb"}, "/nb/a.ipynb"),
        ({}, {"JPY_SESSION_NAME": "/nb/console-1"}, None),
        ({}, {"PAPERMILL_INPUT_PATH": "a.ipynb"}, "a.ipynb"),
        ({"__vsc_ipynb_file__": "/nb/code.ipynb"}, {"JPY_SESSION_NAME": "/nb/x-jvsc.ipynb"}, "/nb/code.ipynb"),
        ({"__vsc_ipynb_file__": 3}, {}, None),
    ],
)
def test_the_notebook_is_named_by_whoever_started_the_kernel(
    names: dict[str, Any], environment: dict[str, str], path: str | None
) -> None:
    assert notebook_path(environment, names) == path


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("spark.master", "local[4]", "local[4]"),
        ("spark.sql.shuffle.partitions", "8", "8"),
        ("spark.ssl.keyStorePassword", "hunter2", HIDDEN),
        ("spark.executor.memory", "4g", "4g"),
        ("spark.ssl.trustStore", "/a/b.jks", HIDDEN),
        ("spark.some.webhook", "https://hooks/T0/hunter2", HIDDEN),
        ("spark.my.jdbc", "jdbc:oracle:thin:scott/hunter2@//h/db", HIDDEN),
        ("spark.driver.extraJavaOptions", "-Dfoo=hunter2", HIDDEN),
        ("spark.hadoop.fs.s3a.access.key", "hunter2", HIDDEN),
        ("spark.hadoop.fs.s3a.session.token", "hunter2", HIDDEN),
        ("spark.hadoop.fs.azure.sas.fixed.x", "hunter2", HIDDEN),
        ("spark.executorEnv.HARMLESS", "hunter2", HIDDEN),
        ("spark.yarn.appMasterEnv.HARMLESS", "hunter2", HIDDEN),
        ("spark.driver.extraJavaOptions", "-Xmx1g -Djavax.net.ssl.trustStorePassword=hunter2", HIDDEN),
        ("spark.jars.repositories", "https://me:hunter2@repo/x,https://b/y", HIDDEN),
        ("spark.local.dir", "s3a://bucket/x?sig=hunter2", "s3a://bucket/x?***"),
        ("spark.master", "spark://me:hunter2@host:7077", "spark://***@host:7077"),
    ],
)
def test_settings_of_spark_are_shown_without_secrets(key: str, value: str, shown: str) -> None:
    assert redacted({key: value}) == {key: shown}


def test_what_spark_itself_would_hide_is_hidden() -> None:
    conf = {
        "spark.redaction.regex": "(?i)purple",
        "spark.app.name": "a purple word",
        "spark.task.purple": "1",
        "spark.task.b": "2",
    }
    assert {key: value for key, value in redacted(conf).items() if value != HIDDEN} == {"spark.task.b": "2"}
    assert set(redacted({"spark.redaction.regex": "(?<", "spark.task.a": "1"}).values()) == {HIDDEN}


WORDS = [
    "secret",
    "password",
    "passwd",
    "token",
    "credential",
    "credentials",
    "key",
    "keystore",
    "access.key",
    "apikey",
]
SECRETS = st.text(alphabet="QXZJ0123456789", min_size=8, max_size=20)
PLAIN = st.text(alphabet="abdfghilmn.", max_size=10)


@given(PLAIN, st.sampled_from(WORDS), PLAIN, SECRETS, st.booleans())
def test_no_value_of_a_key_that_sounds_like_a_secret_is_shown(
    before: str, word: str, after: str, secret: str, is_upper: bool
) -> None:
    key = f"spark.task.{before}{word.upper() if is_upper else word}{after}"
    assert secret not in json.dumps(list(redacted({key: f"x {secret} y"}).values()))


@given(PLAIN, SECRETS, SECRETS, st.sampled_from(["https", "s3a", "jdbc:postgresql", "hdfs"]), PLAIN)
def test_no_credentials_of_a_url_are_shown(key: str, user: str, password: str, scheme: str, path: str) -> None:
    value = f"--x={scheme}://{user}:{password}@host/{path} rest"
    assert password not in redacted({f"spark.task.{key}": value})[f"spark.task.{key}"]
    assert set(redacted({f"spark.task.{key}": value})) == {f"spark.task.{key}"}


def test_a_provenance_that_cannot_be_written_is_told_and_the_run_goes_on(tmp_path: Path) -> None:
    errors: list[str] = []
    with store_in(tmp_path, on_error=errors.append) as store:
        store.keep_provenance(tmp_path, lambda: {"spark": 3})
    assert (store.layout.root / "result.json").exists()
    assert len(errors) == 1
    assert errors[0].startswith("provenance.json is not written: ")
    assert not store.layout.provenance.exists()


def test_the_end_of_a_run_waits_for_its_provenance(tmp_path: Path) -> None:
    may_go_on = threading.Event()

    def gather() -> dict[str, Any]:
        assert may_go_on.wait(20.0)
        return {"spark": {"spark.task.a": "1"}}

    with store_in(tmp_path) as store:
        store.keep_provenance(tmp_path, gather)
        record(store, whole_run())
        Written(store).wait_until((store.layout.root / "trials" / "0002" / "trial.json").exists)
        may_go_on.set()
    assert provenance_of(store.layout)["spark"] == {"spark.task.a": "1"}
