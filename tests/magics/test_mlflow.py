import pytest
from magic_shell import Notebook, store_run

TRAIN = "def train(lr=0.1): ...\n"


@pytest.mark.parametrize(
    ("options", "mlflow"),
    [
        ("", None),
        ("--mlflow", ""),
        ("--mlflow --trials 3", ""),
        ("--mlflow http://127.0.0.1:5000 --trials 3", "http://127.0.0.1:5000"),
        ("--trials 3 --mlflow=databricks", "databricks"),
    ],
)
def test_the_server_may_be_named_or_left_to_the_environment(
    notebook: Notebook, options: str, mlflow: str | None
) -> None:
    notebook.run(f"%%lagom hpo {options}\n{TRAIN}").raise_error()
    (launch,) = notebook.backend.launches
    assert launch.config.mlflow == mlflow


def test_sending_a_run_says_what_is_missing(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert notebook.error("%lagom mlflow").startswith("UsageError: %lagom mlflow: there is no run yet.")
    run = store_run()
    assert "MLFLOW_TRACKING_URI is not set" in notebook.error("%lagom mlflow")
    assert "MLFLOW_TRACKING_URI is not set" in notebook.error(f"%lagom mlflow {run.id}")
    nobody = "http://me:s3cret@127.0.0.1:9"
    for words in (nobody, f"{run.id} {nobody}", f"digits {nobody}"):
        said = notebook.error(f"%lagom mlflow {words}")
        assert said.startswith(f"StoreError: MLflow at http://***@127.0.0.1:9 did not take run {run.id}: ")
        assert "s3cret" not in said
