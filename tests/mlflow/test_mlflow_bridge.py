"""Runs of ours in a real MLflow server: the same numbers, files and models as in the run's folder."""

from __future__ import annotations

import gc
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from calling_home import Home, by_value, call_home, open_home
from mlflow_server import MlflowServer
from picky_proxy import picky_proxy
from store_runs import begun, complete_trial, hparams, record, run_on_disk, store_in

from lagom_magic import Float, OptimizationConfig, Run
from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.errors import ConfigError, StoreError
from lagom_magic.events.facts import (
    FileStored,
    MetricReported,
    RunEnded,
    RunState,
    TrialEnded,
    TrialError,
    TrialRequeued,
    TrialStarted,
    TrialState,
)
from lagom_magic.experiment import launch
from lagom_magic.mlflow_bridge.address import tracking_address
from lagom_magic.mlflow_bridge.follow import send_stored
from lagom_magic.spec.config import BaseConfig
from lagom_magic.spec.secret_urls import SecretUrl
from lagom_magic.store.journal import JournalReader

Start = Callable[..., Run]

WAIT_S = 60.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(server: MlflowServer) -> Any:
    return client_of(server)


@pytest.fixture(autouse=True)
def _mlflow_lets_go() -> Iterator[None]:
    """MLflow keeps its connections for the life of the process."""
    yield
    from mlflow.utils.request_utils import _cached_get_request_session

    _cached_get_request_session.cache_clear()
    gc.collect()


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    monkeypatch.setenv("LAGOM_HOME", str(tmp_path / "runs"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.chdir(tmp_path)

    def start(train_fn: Callable[..., Any], config: BaseConfig, **options: Any) -> Run:
        launcher = {"ui": "none", "make_launcher": lambda kit, _, n_workers: ProcessLauncher(kit, n_workers)}
        return launch(train_fn, config, **launcher | options)

    return start


def search(uri: str, **options: Any) -> OptimizationConfig:
    return OptimizationConfig(**{"num_trials": 4, "workers": 2, "optimization_key": "score", "mlflow": uri} | options)


def quadratic(x: Float(-1, 1) = 0.0, epochs=3, reporter=None):
    for step in range(epochs):
        reporter.broadcast({"score": 1 - x * x / (step + 1), "gap": float("nan")}, step=step)
    with open("notes.txt", "w") as file:
        file.write(f"x was {x}")
    return {"score": 1 - x * x, "notes": "notes.txt"}


def test_a_search_is_the_same_there_as_in_its_folder(start: Start, server: MlflowServer, client: Any) -> None:
    config = search(
        server.uri, name="quadratic", hparams={"epochs": 3}, tags=["pii", "retention=90d"], description="a parabola"
    )
    run = start(quadratic, config)
    parent, children = mirrored(client, run)
    assert (parent.info.status, parent.data.params) == ("FINISHED", {"epochs": "3"})
    expected = {"pii": "true", "retention": "90d", "mlflow.note.content": "a parabola", "lagom.sampler": "random"}
    assert expected.items() <= parent.data.tags.items()
    assert parent.data.metrics == {"score": run.best.metric}
    assert artifacts(server, parent) == {
        name: (run.dir / name).read_bytes() for name in ("run.json", "source.py", "environment.txt", "result.json")
    }
    assert sorted(children) == ["0000", "0001", "0002", "0003"]
    for trial in run.trials:
        child = children[trial.dir.name]
        assert child.info.status == "FINISHED"
        assert {name: float(value) for name, value in child.data.params.items()} == trial.hparams
        assert history(client, child, "score") == reported(run, trial.id, "score")
        assert len(client.get_metric_history(child.info.run_id, "gap")) == 3
        assert artifacts(server, child)["artifacts/notes.txt"] == (trial.dir / "artifacts" / "notes.txt").read_bytes()


def failing(x: Float(-1, 1) = 0.0):
    if x < 0:
        raise ValueError("x is too small")
    return {"score": x}


def test_a_failed_trial_is_failed_there_with_its_error(start: Start, server: MlflowServer, client: Any) -> None:
    run = start(failing, search(server.uri, num_trials=6))
    parent, children = mirrored(client, run)
    assert parent.data.tags["lagom.best_trial"] == str(run["best_id"])
    failed = [trial for trial in run.trials if trial.state == "FAILED"]
    assert failed
    assert len(failed) < 6
    for trial in failed:
        child = children[trial.dir.name]
        assert child.info.status == "FAILED"
        assert child.data.tags["lagom.error"] == "ValueError: x is too small"
        assert artifacts(server, child)["error.txt"].decode() == str(trial.error)


def test_it_is_there_while_the_run_goes_on(start: Start, server: MlflowServer, client: Any) -> None:
    with open_home() as home:
        port = home.port

        @by_value
        def waiting(x: Float(0, 1) = 0.0, reporter=None):
            reporter.broadcast(x, step=7)
            call_home(port)
            return {"score": x}

        def watch() -> None:
            home.next_caller()
            until(lambda: any("metric" in child.data.metrics for child in children_now(client, "waiting")))
            (child,) = children_now(client, "waiting")
            seen.append((child.info.status, child.info.end_time))

        seen: list[tuple[str, int | None]] = []
        with watched(home, watch):
            run = start(waiting, search(server.uri, num_trials=1, workers=1, optimization_key=None))
    assert seen == [("RUNNING", None)]
    assert mirrored(client, run)[1]["0000"].info.status == "FINISHED"


def test_a_run_that_is_extended_goes_on_there_too(start: Start, server: MlflowServer, client: Any) -> None:
    config = {"num_trials": 2, "workers": 1, "name": "extended"}
    first = start(quadratic, search(server.uri, **config))
    run = start(quadratic, search(server.uri, **config | {"num_trials": 4}), resumed=first)
    assert run.id == first.id
    parent, children = mirrored(client, run)
    assert (parent.info.status, sorted(children)) == ("FINISHED", ["0000", "0001", "0002", "0003"])
    assert parent.data.tags["lagom.best_trial"] == str(run["best_id"])
    for trial in run.trials:
        assert history(client, children[trial.dir.name], "score") == reported(run, trial.id, "score")


def test_what_libraries_were_told_is_there_and_a_hyperparameter_of_the_same_name_wins(
    server: MlflowServer, client: Any, tmp_path: Path
) -> None:
    logged = {"SVC.C": 2.0, "SVC.kernel": "rbf", "lr": 99.0}
    with store_in(tmp_path, "logged") as store:
        record(store, begun(experiment="logged"))
        record(store, [TrialStarted(0, 1, 1, hparams(0))])
        record(store, [TrialEnded(0, 1, 1, TrialState.COMPLETE, {"accuracy": 0.5}, 0.5, params=logged)])
        record(store, [RunEnded(RunState.COMPLETE)])
    for _ in range(2):
        said = send_stored(store.layout.root, SecretUrl(server.uri))
        assert "would not take" not in said
    _, children = mirrored(client, Run(store.layout.root))
    expected = {name: str(value) for name, value in hparams(0).items()} | {"SVC.C": "2.0", "SVC.kernel": "rbf"}
    assert children["0000"].data.params == expected


# servers that are not there


def test_a_run_beside_a_server_that_is_down_is_sent_afterwards_once(
    start: Start, server: MlflowServer, client: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    down = MlflowServer(tmp_path)  # holds a port, and has not been started
    uri = down.uri.replace("http://", "http://me:s3cret@")
    run = start(quadratic, search(uri, name="later"), ui="text")
    assert run.state == "COMPLETE"
    (notice,) = run.view.notices
    assert notice.startswith(f"MLflow at http://***@127.0.0.1:{down.port} is not there (")
    said = (run.dir / "console.log").read_text().splitlines()[-1]
    assert said.endswith(f"Send the rest with `%lagom mlflow {run.id}`.")
    shown = capsys.readouterr().out
    assert said in shown
    assert notice in shown
    assert "s3cret" not in shown
    assert [path for path in run.dir.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()] == []
    assert run.config["config"]["mlflow"] == f"http://***@127.0.0.1:{down.port}"

    address = SecretUrl(server.uri.replace("http://", "http://me:s3cret@"))
    for _ in range(2):
        assert send_stored(run.dir, address) == (
            f"MLflow at http://***@127.0.0.1:{server.port} has run {run.id}: 4 trials."
        )
    parent, children = mirrored(client, run)
    assert (parent.info.status, len(children)) == ("FINISHED", 4)
    for trial in run.trials:
        assert history(client, children[trial.dir.name], "score") == reported(run, trial.id, "score")


@pytest.mark.slow
def test_a_server_that_goes_and_comes_back_has_everything_once(start: Start, tmp_path: Path) -> None:
    server = MlflowServer(tmp_path)
    server.start()
    client = client_of(server)
    try:
        with open_home() as home:
            port = home.port

            @by_value
            def waiting(x: Float(0, 1) = 0.0, reporter=None):
                for step in range(5):
                    reporter.broadcast({"level": x + step}, step=step)
                call_home(port)
                for step in range(5, 10):
                    reporter.broadcast({"level": x + step}, step=step)
                return {"score": x}

            def watch() -> None:
                caller = home.next_caller()
                until(lambda: any("level" in child.data.metrics for child in children_now(client, "waiting")))
                server.stop()
                caller.say()
                home.next_caller()  # the second trial: the first has ended with nobody to tell
                server.start()

            with watched(home, watch):
                run = start(waiting, search(server.uri, num_trials=2, workers=1, optimization_key="score"))
        assert run.state == "COMPLETE"
        _, children = mirrored(client, run)
        assert len(children) == 2
        for trial in run.trials:
            assert history(client, children[trial.dir.name], "level") == [
                (step, trial.hparams["x"] + step) for step in range(10)
            ]
            assert children[trial.dir.name].info.status == "FINISHED"
        assert not (run.dir / "console.log").exists()  # where it would say what is missing
    finally:
        server.stop()


# stored runs


def test_attempts_pruned_and_interrupted_trials_are_told_apart(
    server: MlflowServer, client: Any, tmp_path: Path
) -> None:
    with store_in(tmp_path) as store:
        record(
            store,
            [
                *begun(),
                TrialStarted(0, 1, 1, hparams(0)),
                TrialRequeued(0, 2, "worker 1 was lost"),
                TrialStarted(0, 2, 1, hparams(0)),
                TrialEnded(0, 2, 1, TrialState.PRUNED, {"accuracy": 0.5}, None, duration_s=1.0),
                *complete_trial(1, 0.9),
                TrialStarted(2, 1, 1, hparams(2)),
                TrialStarted(3, 1, 1, hparams(3)),
                TrialEnded(3, 1, 1, TrialState.FAILED, error=TrialError("OSError", "no disk"), duration_s=1.0),
                TrialRequeued(3, 2, "it is tried again"),
                TrialStarted(3, 2, 1, hparams(3)),
                TrialEnded(3, 2, 1, TrialState.COMPLETE, {"accuracy": 0.8}, 0.8, duration_s=1.0),
            ],
        )  # and then its driver dies
        run_dir = store.layout.root
    send_stored(run_dir, SecretUrl(server.uri))
    parent, children = mirrored(client, Run(run_dir))
    assert parent.info.status == "FAILED"
    assert {name: (child.info.status, child.data.tags.get("lagom.state")) for name, child in children.items()} == {
        "0000": ("KILLED", "LOST"),
        "0000.2": ("KILLED", "PRUNED"),
        "0001": ("FINISHED", "COMPLETE"),
        "0002": ("KILLED", None),
        "0003": ("FAILED", "FAILED"),
        "0003.2": ("FINISHED", "COMPLETE"),
    }


def test_thousands_of_reports_and_strange_names_arrive(server: MlflowServer, client: Any, tmp_path: Path) -> None:
    reports = [MetricReported(0, 1, 1, step, {"acc@1": float(step), "b/../c": 1.0}) for step in range(2500)]
    many = {f"p{number}": "long" * 3000 for number in range(118)} | {"a@": 1, "a#": 2}
    ended = TrialEnded(0, 1, 1, TrialState.COMPLETE, {"accuracy": 1.0}, 1.0, duration_s=1.0)
    facts = [*begun(), TrialStarted(0, 1, 1, many), *reports, ended, RunEnded(RunState.COMPLETE)]
    with store_in(tmp_path) as store:
        record(store, facts)
    send_stored(store.layout.root, SecretUrl(server.uri))
    _, children = mirrored(client, Run(store.layout.root))
    params = children["0000"].data.params
    assert (len(params), params["a_"], params["a__2"], params["p7"]) == (120, "1", "2", "long" * 1500)
    assert history(client, children["0000"], "acc_1") == [(step, float(step)) for step in range(2500)]
    assert len(history(client, children["0000"], "b/c")) == 2500


def test_no_two_metrics_or_parameters_become_one(server: MlflowServer, client: Any, tmp_path: Path) -> None:
    first = {"ошибка": 1.0, "оценка": 2.0, "a@": 3.0}
    later = {"a#": 4.0, "a@": 5.0, "a_": 6.0}
    ended = TrialEnded(0, 1, 1, TrialState.COMPLETE, {"a#": 7.0}, 7.0, params={"SVC.é#": 2, "SVC.é?": 3})
    facts = [
        *begun(experiment="named"),
        TrialStarted(0, 1, 1, {"SVC.é@": 1}),
        MetricReported(0, 1, 1, 0, first),
        MetricReported(0, 1, 1, 1, later),
        ended,
        RunEnded(RunState.COMPLETE),
    ]
    run_dir = run_on_disk(tmp_path, "named", facts)
    journal = run_dir / "events.jsonl"
    whole = journal.read_bytes()
    cut = next(i for i, line in enumerate(whole.splitlines()) if b'"a#"' in line)
    journal.write_bytes(b"".join(whole.splitlines(keepends=True)[:cut]))
    send_stored(run_dir, SecretUrl(server.uri))  # and then its driver goes on
    journal.write_bytes(whole)
    send_stored(run_dir, SecretUrl(server.uri))
    child = mirrored(client, Run(run_dir))[1]["0000"]
    histories = {name: history(client, child, name) for name in child.data.metrics}
    assert histories == {
        "ошибка": [(0, 1.0)],
        "оценка": [(0, 2.0)],
        "a_": [(0, 3.0), (1, 5.0)],
        "a__2": [(1, 4.0), (1, 7.0)],
        "a__3": [(1, 6.0)],
    }
    assert child.data.params == {"SVC.é_": "1", "SVC.é__2": "2", "SVC.é__3": "3"}


def test_a_live_run_is_not_sent_afterwards(server: MlflowServer, tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        record(store, begun())
        with pytest.raises(StoreError, match="is alive"):
            send_stored(store.layout.root, SecretUrl(server.uri))


def test_what_the_server_refuses_keeps_nothing_else_back(server: MlflowServer, client: Any, tmp_path: Path) -> None:
    trials = [*complete_trial(0, 0.5), *complete_trial(1, 0.9)]
    facts = [*begun(experiment="refusing"), *trials, RunEnded(RunState.COMPLETE)]
    run_dir = run_on_disk(tmp_path, "refusing", facts)
    experiment = client.create_experiment("refusing")
    tags = {"lagom.run_id": run_dir.name}
    parent = client.create_run(experiment, tags=tags).info.run_id
    tags = {"mlflow.parentRunId": parent, "lagom.trial": "0000", "mlflow.runName": "0000"}
    client.log_param(client.create_run(experiment, tags=tags).info.run_id, "lr", "of another run")
    said = send_stored(run_dir, SecretUrl(server.uri))
    assert "would not take all of this run (hyperparameters or metrics: " in said
    assert "lr" in said
    _, children = mirrored(client, Run(run_dir))
    assert [children[name].data.metrics["accuracy"] for name in sorted(children)] == [0.5, 0.9]


def with_files(home: Path, experiment: str, names: list[str]) -> Path:
    """A run whose one trial returned these files, each with its own name as content."""
    started, done = complete_trial(0, 0.5)
    stored = [FileStored(0, 1, f"artifacts/{name}", 6, "0" * 64) for name in names]
    whole = [*begun(experiment=experiment), started, *stored, done, RunEnded(RunState.COMPLETE)]
    run_dir = run_on_disk(home, experiment, whole)
    for name in names:
        path = run_dir / "trials" / "0000" / "artifacts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(name))
    return run_dir


def test_a_file_that_is_refused_keeps_nothing_else_back(server: MlflowServer, client: Any, tmp_path: Path) -> None:
    run_dir = with_files(tmp_path, "picky", ["big.bin", "gone.txt", "small.txt"])
    with picky_proxy(server.port, {"big.bin": 413, "gone.txt": 404}) as uri:
        said = send_stored(run_dir, SecretUrl(uri))
    assert "has run" in said
    assert "would not take all of this run (a file: 413 Client Error" in said
    assert "big.bin" in said
    parent, children = mirrored(client, Run(run_dir))
    assert (parent.info.status, children["0000"].info.status) == ("FINISHED", "FINISHED")
    assert children["0000"].data.metrics["accuracy"] == 0.5
    sent = artifacts(server, children["0000"])
    assert {name for name in sent if name.startswith("artifacts/")} == {"artifacts/small.txt"}


@pytest.mark.parametrize("status", [401, 403, 408, 503])
def test_a_file_that_may_be_taken_later_is_sent_again_and_metrics_need_not_wait_for_it(
    server: MlflowServer, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    run_dir = with_files(tmp_path, f"patient-{status}", ["plot.png", "notes.txt"])
    answers = {"plot.png": status}
    with picky_proxy(server.port, answers) as uri:
        with pytest.raises(StoreError, match="did not take run"):
            send_stored(run_dir, SecretUrl(uri))
        child = mirrored(client, Run(run_dir))[1]["0000"]
        assert (child.info.status, child.data.metrics["accuracy"]) == ("RUNNING", 0.5)
        answers.clear()
        assert "would not take" not in send_stored(run_dir, SecretUrl(uri))
    child = mirrored(client, Run(run_dir))[1]["0000"]
    assert child.info.status == "FINISHED"
    assert {"artifacts/plot.png", "artifacts/notes.txt"} <= set(artifacts(server, child))
    assert len(client.get_metric_history(child.info.run_id, "accuracy")) == 1


def test_files_whose_names_mean_something_else_in_a_url_arrive_under_names_of_their_own(
    server: MlflowServer, client: Any, tmp_path: Path
) -> None:
    plain = ["loss_1.png", "with space.txt", "übung.txt", ".hidden"]
    odd = [
        "loss#1.png",
        "loss#2.png",
        "loss?1.png",
        "100%25.txt",
        "100%.txt",
        "a\nb.txt",
        ".env#",
        "m#1/w#.bin",
        "caf\udce9",
    ]
    run_dir = with_files(tmp_path, "odd", plain + odd)
    for _ in range(2):
        assert "would not take" not in send_stored(run_dir, SecretUrl(server.uri))
    child = mirrored(client, Run(run_dir))[1]["0000"]
    sent = {name: content for name, content in artifacts(server, child).items() if name.startswith("artifacts/")}
    assert sorted(sent.values()) == sorted(map(os.fsencode, plain + odd))
    assert all(sent[f"artifacts/{name}"] == os.fsencode(name) for name in plain)
    by_content = {content: name for name, content in sent.items()}
    assert re.fullmatch(r"artifacts/loss_1-[0-9a-f]{8}\.png", by_content[b"loss#1.png"])


# models


def test_a_link_that_leads_out_of_the_run_is_not_sent(server: MlflowServer, client: Any, tmp_path: Path) -> None:
    private = tmp_path / "id_rsa"
    private.write_text("secret")
    files = [FileStored(0, 1, f"artifacts/{name}", 6, "0" * 64) for name in ("a.txt", "b.txt")]
    started, done = complete_trial(0, 0.5)
    facts = [*begun(experiment="linked"), started, *files, done, RunEnded(RunState.COMPLETE)]
    run_dir = run_on_disk(tmp_path, "linked", facts)
    folder = run_dir / "trials" / "0000" / "artifacts"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("inside")
    (folder / "b.txt").symlink_to(private)
    send_stored(run_dir, SecretUrl(server.uri))
    _, children = mirrored(client, Run(run_dir))
    sent = artifacts(server, children["0000"])
    assert sent["artifacts/a.txt"] == b"inside"
    assert "artifacts/b.txt" not in sent


def exporting(x: Float(0, 1) = 0.5):
    from pathlib import Path

    from lagom_magic import model

    Path("weights.txt").write_text(f"weights {x}")
    model.export("weights.txt", "digits-model", metrics={"score": x}, description="of digits")
    return {"score": x}


def test_an_exported_model_is_a_version_there_that_names_ours(start: Start, server: MlflowServer, client: Any) -> None:
    run = start(exporting, search(server.uri, num_trials=2))
    _, children = mirrored(client, run)
    versions = client.search_model_versions("name = 'digits-model'")
    assert len(versions) == 2
    ours = {document["version"]: document for document in registered(run)}
    for version in versions:
        document = ours.pop(int(version.tags["lagom.version"]))
        child = children[version.tags["lagom.trial"]]
        assert (version.run_id, version.tags["lagom.run_id"]) == (child.info.run_id, run.id)
        assert version.description == "of digits"
        assert float(version.tags["lagom.metric.score"]) == document["metrics"]["score"]
        assert version.source == f"{child.info.artifact_uri}/{document['folder']}"
        inside = f"{document['folder']}/weights.txt"
        assert artifacts(server, child)[inside].decode() == f"weights {child.data.params['x']}"
    send_stored(run.dir, SecretUrl(server.uri))
    assert len(client.search_model_versions("name = 'digits-model'")) == 2


# what is refused


def test_without_a_uri_anywhere_the_error_says_so(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI is not set"):
        start(quadratic, search(""))


def test_the_environment_names_the_server(
    start: Start, server: MlflowServer, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    run = start(quadratic, search("", num_trials=1, name="by-environment"))
    assert len(mirrored(client, run)[1]) == 1


def test_a_password_is_not_in_the_configs_text() -> None:
    config = search("http://me:s3cret@host:5000/?token=s3cret")
    assert "s3cret" not in repr(config)
    assert config.document()["mlflow"] == "http://***@host:5000/?***"
    with pytest.raises(ConfigError, match="give the whole URI again"):
        tracking_address(config.document()["mlflow"])


# what the tests look at


def client_of(server: MlflowServer) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(server.uri, server.uri)


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline, "it did not come"
        threading.Event().wait(0.2)


@contextmanager
def watched(home: Home, watch: Callable[[], None]) -> Iterator[None]:
    """Watches beside, and lets the trials go in any case; what it raises is raised here at the end."""
    with ThreadPoolExecutor(1, "test") as pool:
        watching = pool.submit(watch)
        watching.add_done_callback(lambda _: home.close())
        yield
        watching.result(WAIT_S)


def children_now(client: Any, experiment: str) -> list[Any]:
    """The children of all runs of an experiment, which may not be there yet."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return []
    runs = client.search_runs([found.experiment_id])
    return [run for run in runs if "lagom.trial" in run.data.tags]


def registered(run: Run) -> list[dict[str, Any]]:
    """The documents of our registry's versions that a run made."""
    documents = [json.loads(path.read_bytes()) for path in (run.dir.parent.parent / ".models").glob("*/*/model.json")]
    return [document for document in documents if document["run"]["id"] == run.id]


def mirrored(client: Any, run: Run) -> tuple[Any, dict[str, Any]]:
    """The parent run and its children by name."""
    experiment = client.get_experiment_by_name(run.name)
    found = client.search_runs([experiment.experiment_id], f"tags.`lagom.run_id` = '{run.id}'")
    assert len(found) == 1
    (parent,) = found
    children = client.search_runs(
        [experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'", max_results=5000
    )
    named = {child.info.run_name: child for child in children}
    assert len(named) == len(children)
    return parent, named


def artifacts(server: MlflowServer, run: Any) -> dict[str, bytes]:
    """Path → content of all artifacts of a run, as the server's disk has them."""
    uri = run.info.artifact_uri
    assert uri.startswith("mlflow-artifacts:/")
    root = server.folder / "artifacts" / uri.removeprefix("mlflow-artifacts:/")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def history(client: Any, child: Any, name: str) -> list[tuple[int, float]]:
    return sorted((one.step, one.value) for one in client.get_metric_history(child.info.run_id, name))


def reported(run: Run, trial_id: int, name: str) -> list[tuple[int, float]]:
    """(step, value) of every report and of the end, from the journal."""
    facts = [line.fact for line in JournalReader(run.dir).read_new()]
    reports = [
        (fact.step, fact.metrics[name])
        for fact in facts
        if isinstance(fact, MetricReported) and fact.trial_id == trial_id
    ]
    ends = [fact.metrics[name] for fact in facts if isinstance(fact, TrialEnded) and fact.trial_id == trial_id]
    return sorted([*reports, *((reports[-1][0], value) for value in ends)])
