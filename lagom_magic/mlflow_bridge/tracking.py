"""What the bridge asks of a tracking server: the only module that imports `mlflow`.

Every call is one or two requests, and can be made again after it failed.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

from lagom_magic.errors import LagomError
from lagom_magic.spec.secret_urls import SecretUrl

#: How long a server may take to answer at all, in seconds.
_PROBE_TIMEOUT_S = 5.0
#: What MLflow takes in one call, and in one name or value.
_MAX_METRICS, _MAX_PARAMS, _MAX_NAME, _MAX_PARAM, _MAX_TAG = 900, 90, 250, 6000, 5000
_Item = TypeVar("_Item")
_NOT_IN_NAMES = re.compile(r"[^\w./: -]")
#: What means something else in the URL that a file is sent to, and what no URL holds.
_NOT_IN_FILES = re.compile(r"[#?%\\\x00-\x1f\x7f\ud800-\udfff]")
_MAX_STEM = 60

#: Tags by which a run of ours is known again, and how far it has been sent.
RUN_ID, TRIAL, SEQ = "lagom.run_id", "lagom.trial", "lagom.seq"
_PARENT, _NAME = "mlflow.parentRunId", "mlflow.runName"


#: What MLflow answers when it will never take what it was given.
_REFUSALS = frozenset(
    {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST", "ENDPOINT_NOT_FOUND", "FEATURE_DISABLED"}
)
#: Answers to a file, from 400 to 499, that may be others later: who one is, and how much is asked.
_PASSING = frozenset({401, 403, 408, 429})


class Unreachable(LagomError, OSError):
    """The tracking server does not answer, or lets nobody in; what was to be sent is sent again."""


class Refused(LagomError, ValueError):
    """The tracking server will not take what it was given; asking again is of no use."""


class Metric(NamedTuple):
    """One value; `time_ms` since the epoch."""

    name: str
    value: float
    time_ms: int
    step: int


@dataclass(frozen=True, slots=True)
class Known:
    """A run that the server has already.

    Attributes:
        id: MLflow's.
        seq: the journal's line up to which its reports were sent; -1 = none.
    """

    id: str
    is_ended: bool = False
    seq: int = -1


class Names:
    """What MLflow calls the metrics of one run, or its parameters: two never become one.

    Where two become alike the later gets a number; so all are to be known in the journal's order.
    """

    def __init__(self) -> None:
        self._theirs: dict[str, str] = {}
        self._taken: set[str] = set()

    def know(self, names: Iterable[str]) -> None:
        """Give them their names now."""
        for name in names:
            self.of(name)

    def of(self, name: str) -> str:
        """The one of ours, always the same."""
        if name not in self._theirs:
            theirs, number = _name(name), 2
            while theirs in self._taken:
                theirs, number = f"{_name(name)[: _MAX_NAME - 5]}_{number}", number + 1
            self._theirs[name] = theirs
            self._taken.add(theirs)
        return self._theirs[name]


@dataclass(slots=True)
class Batch:
    """Metrics, parameters and tags of one run, as ours are called; the names stay when the rest is sent."""

    metrics: list[Metric] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metric_names: Names = field(default_factory=Names)
    param_names: Names = field(default_factory=Names)

    def __bool__(self) -> bool:
        return bool(self.metrics or self.params or self.tags)

    def clear(self) -> None:
        self.metrics, self.params, self.tags = [], {}, {}


class Tracking:
    """One tracking server, of which nothing is asked before it is needed."""

    def __init__(self, address: SecretUrl) -> None:
        self._address = address
        self._client: Any = None

    def probe(self) -> None:
        """Find out in a few seconds whether somebody is there; MLflow's own patience is minutes.

        Raises:
            Unreachable: when nobody is.
        """
        import requests

        uri = self._address.shown.replace("***@", "").partition("?")[0]
        if not uri.startswith(("http://", "https://")):
            return
        try:
            requests.head(uri, timeout=_PROBE_TIMEOUT_S, allow_redirects=False).close()
        except requests.exceptions.SSLError:  # somebody is, and MLflow knows whether to trust them
            return
        except requests.exceptions.RequestException as error:
            raise Unreachable(self._address.cleaned(error)) from None

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Any]:
        """MLflow's client; what goes wrong is said without the credentials of the URI.

        Raises:
            Unreachable: when it is worth another try.
            Refused: when it is not.
        """
        import requests
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        try:
            if self._client is None:
                self._client = MlflowClient(tracking_uri=self._address.url, registry_uri=self._address.url)
            yield self._client
        except MlflowException as error:
            kind = Refused if error.error_code in _REFUSALS else Unreachable
            raise kind(self._address.cleaned(error)) from None  # what it was raised from quotes the credentials
        except requests.exceptions.HTTPError as error:  # of a file; what else is asked MLflow answers in its own words
            status = 0 if error.response is None else error.response.status_code
            kind = Refused if 400 <= status < 500 and status not in _PASSING else Unreachable
            raise kind(self._address.cleaned(error)) from None
        except (requests.exceptions.RequestException, OSError) as error:
            raise Unreachable(self._address.cleaned(error)) from None

    def experiment(self, name: str) -> str:
        """The id of the experiment, made when missing.

        Raises:
            Unreachable, Refused: when the server does not do it; so do all below.
        """
        from mlflow.exceptions import MlflowException

        with self._asking() as client:
            found = client.get_experiment_by_name(name)
            if found is not None:
                return str(found.experiment_id)
            try:
                return str(client.create_experiment(name))
            except MlflowException:
                found = client.get_experiment_by_name(name)
                if found is None:
                    raise
                return str(found.experiment_id)  # another run has just made it

    def find_run(self, experiment_id: str, run_id: str) -> Known | None:
        """The parent run that mirrors our run."""
        with self._asking() as client:
            found = client.search_runs([experiment_id], f"tags.`{RUN_ID}` = '{run_id}'", max_results=10)
            return next((_known(run) for run in found if _PARENT not in run.data.tags), None)

    def find_trials(self, experiment_id: str, parent: str) -> dict[str, Known]:
        """The child runs of a parent, by the names of the trials' folders."""
        known: dict[str, Known] = {}
        token = None
        with self._asking() as client:
            while True:
                page = client.search_runs(
                    [experiment_id], f"tags.`{_PARENT}` = '{parent}'", max_results=1000, page_token=token
                )
                known |= {run.data.tags[TRIAL]: _known(run) for run in page if TRIAL in run.data.tags}
                token = page.token
                if not token:
                    return known

    def create_run(
        self, experiment_id: str, name: str, started_ms: int, tags: Mapping[str, str], parent: str | None = None
    ) -> str:
        """A new run's id."""
        marks = {_NAME: name, **({_PARENT: parent} if parent else {})}
        with self._asking() as client:
            run = client.create_run(experiment_id, start_time=started_ms, tags=_tags({**tags, **marks}))
            return str(run.info.run_id)

    def log(self, run: str, batch: Batch) -> None:
        """Send a batch, in as many calls as it needs; the tags go with the last one.

        Raises:
            Refused: when a part of it was; the others are there.
        """
        from mlflow.entities import Metric as TheirMetric
        from mlflow.entities import Param, RunTag

        metric_name, param_name = batch.metric_names.of, batch.param_names.of
        metrics = [TheirMetric(metric_name(one.name), one.value, one.time_ms, one.step) for one in batch.metrics]
        params = [Param(param_name(name), _text(value)[:_MAX_PARAM]) for name, value in batch.params.items()]
        tags = [RunTag(name, text) for name, text in _tags(batch.tags).items()]
        parts: list[dict[str, Any]] = [
            *({"params": part} for part in _cut(params, _MAX_PARAMS)),
            *({"metrics": part} for part in _cut(metrics, _MAX_METRICS)),
        ]
        if tags and metrics:
            parts[-1]["tags"] = tags
        elif tags:
            parts.append({"tags": tags})
        refusal: Refused | None = None
        for part in parts:
            try:
                with self._asking() as client:
                    client.log_batch(run, **part)
            except Refused as error:
                refusal = refusal or error
        if refusal is not None:
            raise refusal

    def log_file(self, run: str, path: Path, name: str) -> None:
        """Send a file, as the artifact `name` ('trials/plot.png'); see `_file_name`."""
        theirs = PurePosixPath(_file_name(name))
        folder = theirs.parent.as_posix()
        with self._asking() as client, _called(path, theirs.name) as sent:
            client.log_artifact(run, str(sent), None if folder == "." else folder)

    def log_text(self, run: str, text: str, name: str) -> None:
        """Send a text as the artifact `name`."""
        with self._asking() as client:
            client.log_text(run, text, name)

    def end(self, run: str, status: str, ended_ms: int) -> None:
        """Close a run.

        Args:
            run: MLflow's id.
            status: FINISHED, FAILED or KILLED.
            ended_ms: since the epoch.
        """
        from mlflow.entities import RunStatus

        with self._asking() as client:
            # Not `set_terminated`, which asks once more and writes two links into whatever cell runs now.
            store = client._tracking_client.store
            store.update_run_info(run, RunStatus.from_string(status), ended_ms, None)

    def register(
        self, name: str, run: str, folder: str, key: Mapping[str, str], tags: Mapping[str, str], description: str
    ) -> None:
        """Make a version of a model in the server's registry, unless one has the tags of `key` already.

        Args:
            name: of the model.
            run: MLflow's id of the run whose artifacts its files are.
            folder: in which they are.
            key: tags that name this very export.
            tags: those to set beside.
            description: of the version.
        """
        from mlflow.exceptions import MlflowException

        with self._asking() as client:
            for version in client.search_model_versions(f"name = '{name}'"):
                if key.items() <= version.tags.items():
                    return
            try:
                client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            source = f"{client.get_run(run).info.artifact_uri}/{folder}"
            client.create_model_version(
                name,
                source,
                run_id=run,
                tags=_tags({**tags, **key}),
                description=description or None,
                await_creation_for=0,
            )


def _known(run: Any) -> Known:
    seq = run.data.tags.get(SEQ, "")
    is_ended = run.info.status in ("FINISHED", "FAILED", "KILLED")
    return Known(run.info.run_id, is_ended, int(seq) if seq.isdecimal() else -1)


def _name(name: str) -> str:
    """A name as MLflow takes it."""
    parts = [part for part in _NOT_IN_NAMES.sub("_", name).split("/") if part not in ("", ".", "..")]
    return "/".join(parts)[:_MAX_NAME] or "_"


def _file_name(path: str) -> str:
    """What an artifact is called there: a part that a URL does not hold is cleaned, and told apart by a hash."""
    return "/".join(_cleaned(part) if _NOT_IN_FILES.search(part) else part for part in path.split("/"))


def _cleaned(part: str) -> str:
    clean = PurePosixPath(_NOT_IN_FILES.sub("_", part))
    digest = hashlib.sha256(part.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{clean.stem[:_MAX_STEM]}-{digest}{clean.suffix[:_MAX_STEM]}"


@contextlib.contextmanager
def _called(path: Path, name: str) -> Iterator[Path]:
    """The file under another name: MLflow takes an artifact's from its path."""
    if path.name == name:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="lagom-mlflow-") as folder:
        link = Path(folder, name)
        link.symlink_to(path.absolute())
        yield link


def _cut(items: Sequence[_Item], size: int) -> list[Sequence[_Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {_name(name): text[:_MAX_TAG] for name, text in tags.items()}


def tags_of(words: Iterable[str]) -> dict[str, str]:
    """Our tags as MLflow's: 'retention=90d' as name and value, 'pii' with the value 'true'.

    Names that MLflow and we use ourselves get the prefix 'tag.'.
    """
    tags = {}
    for word in words:
        name, _, value = str(word).partition("=")
        if name.startswith(("mlflow.", "lagom.")):
            name = f"tag.{name}"
        tags[name] = value or "true"
    return tags
