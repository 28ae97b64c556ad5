"""The verbs of `%lagom` that look and steer; each answers with the text to print."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from lagom_magic.display.text import render_text
from lagom_magic.display.wording import NOTHING, metric, one_line
from lagom_magic.magics.backend import Backend
from lagom_magic.magics.finding import Finding
from lagom_magic.magics.namespace import named_run
from lagom_magic.magics.parse import assignments
from lagom_magic.magics.settings import Settings

if TYPE_CHECKING:
    from lagom_magic.cluster.session import SessionInfo
    from lagom_magic.run import Run


class Verbs:
    """One method a verb.

    Args:
        backend: the package, or a stand-in.
        settings: of this kernel.
        names: the notebook's namespace, in which RUN may be a variable.
    """

    def __init__(self, backend: Backend, settings: Settings, names: Mapping[str, Any]) -> None:
        self._backend, self._settings, self._names = backend, settings, names
        #: The run that was watched, which the notebook then has as `lagom_run`.
        self.attached: Run | None = None
        self._finding = Finding(backend, names)

    def say(self, name: str, values: argparse.Namespace) -> str:
        """What the verb answers."""
        answers: dict[str, Callable[..., str]] = {
            "status": self._status,
            "runs": self._finding.runs,
            "search": self._finding.search,
            "tag": self._finding.tag,
            "compare": self._finding.compare,
            "delete": self._finding.delete,
            "show": self._show,
            "stop": self._stop,
            "prune": self._prune,
            "retry": self._retry,
            "best": self._best,
            "board": self._board,
            "attach": self._attach,
            "models": self._models,
            "mlflow": self._mlflow,
            "lineage": self._lineage,
            "spark": self._spark,
            "config": self._config,
        }
        return answers[name](**{key: value for key, value in vars(values).items() if value is not None})

    def _status(self) -> str:
        live = self._backend.current_run()
        if live is not None:
            return _face(live)
        last = self._last()
        if last is None:
            return "no run is live, and none is stored yet; start one with %%lagom hpo"
        if last.is_alive:
            elsewhere = f"The last one goes on in another one, or in a script: %lagom attach {last.id} watches it"
            return f"no run is live in this kernel. {elsewhere}\n{last!r}"
        return f"no run is live. The last one:\n{last!r}{_hint(last)}"

    def _show(self, run: str = "", html: str = "") -> str:
        found = self._found(run) or self._last()
        if found is None:
            raise UsageError("%lagom show: there is no run yet. Start one with %%lagom hpo.")
        return self._finding.report(found.dir, html) if html else _face(found)

    def _stop(self, run: str = "", now: bool = False) -> str:
        found = self._found(run)
        if found is None:
            return "no run is live in this kernel: nothing to stop"
        if not found.is_alive:
            raise UsageError(f"%lagom stop: run {found.id} has ended ({found.state.value}): there is nothing to stop.")
        found.stop(now=now)
        return f"stopping run {found.id}; finished trials are kept"

    def _prune(self, trial: str, run: str = "") -> str:
        return self._steer("prune", trial, run)

    def _retry(self, trial: str, run: str = "") -> str:
        return self._steer("retry", trial, run)

    def _steer(self, action: str, trial: str, run: str) -> str:
        if not trial.isdecimal():
            raise UsageError(f"%lagom {action}: {trial!r} is no trial's number. Try %lagom {action} 7.")
        found = self._found(run)
        if found is None:
            raise UsageError(f"%lagom {action}: no run is live in this kernel. Name another's: %lagom {action} 7 RUN.")
        if action == "prune":
            found.prune(int(trial))
            return f"trial {int(trial)} of run {found.id} ends at its next broadcast, if it is running"
        found.retry(int(trial))
        return f"trial {int(trial)} of run {found.id} runs again, if it has failed"

    def _found(self, run: str) -> Run | None:
        """The run that a person names, with its driver if that is in this process; the live one without a name."""
        live = self._backend.current_run()
        found = self._stored(run) if run else live
        return live if found == live else found

    def _stored(self, run: str) -> Run:
        return named_run(run, self._names, self._backend)

    def _best(self, run: str = "") -> str:
        found = self._found(run) or self._last()
        if found is None:
            raise UsageError("%lagom best: there is no run yet. Start one with %%lagom hpo.")
        best, head = found.best, f"run {found.name}/{found.id} ({found.state.value})"
        if found.is_ablation:
            return f"{head} is an ablation, whose best trial is no result. Its table: lagom_run.ablation"
        if best is None:
            return f"{head}: no complete trial with a metric"
        rows = [(f"  {name}", repr(value)) for name, value in best.hparams.items()]
        score = _score(found.view.metric_name, best.metric)
        return "\n".join([f"{head}: trial {best.id}, {score}", *([_table(rows)] if rows else [])])

    def _board(self, runs: Sequence[str] = (), stop: bool = False) -> str:
        from lagom_magic.magics.board import say_board
        from lagom_magic.store.mirror import fetch

        found = [self._found(run) for run in runs] or [self._found("") or self._last()]
        for run in filter(None, found):
            fetch(run.dir)
        return say_board([run for run in found if run is not None], stop=stop)

    def _attach(self, run: str = "", ui: str = "") -> str:
        from lagom_magic.magics.attach import attach

        found = self._found(run) or self._last()
        if found is None:
            raise UsageError("%lagom attach: there is no run yet. Start one with %%lagom hpo.")
        self.attached = found
        return attach(found, ui or self._settings.get("ui") or "auto")

    def _mlflow(self, run: str = "", uri: str = "") -> str:
        from lagom_magic.mlflow_bridge.address import tracking_address
        from lagom_magic.mlflow_bridge.follow import send_stored

        if "://" in run and not uri:
            run, uri = "", run
        found = self._stored(run) if run else self._last()
        if found is None:
            raise UsageError("%lagom mlflow: there is no run yet. Start one with %%lagom hpo.")
        return send_stored(found.dir, tracking_address(uri))

    def _models(self, model: str = "", **filters: Any) -> str:
        from lagom_magic.magics.models import say_models

        return say_models(self._backend.models(model), **filters)

    def _lineage(self, target: str) -> str:
        from lagom_magic.magics.lineage import say_lineage
        from lagom_magic.store.layout import default_home

        return say_lineage(target, self._names, self._backend, default_home())

    def _last(self) -> Run | None:
        ids = self._backend.run_ids()
        return self._backend.find_run(ids[0]) if ids else None

    def _spark(self, master: str = "", conf: Sequence[str] = ()) -> str:
        if not master and conf:
            raise UsageError("%lagom spark: --conf is for starting a session: name a master, such as local[4].")
        if master:
            settings = {key: _spark_text(value) for key, value in assignments(conf, "--conf").items()}
            return _session(self._backend.start_session(master, settings))
        session = self._backend.describe_session()
        if session is None:
            return (
                "no Spark session; %%lagom starts a local one when it needs it, or start yours: %lagom spark local[4]"
            )
        return _session(session)

    def _config(self, setting: Sequence[str] = ()) -> str:
        self._settings.set(setting)
        return _table([("setting", "value", "variable", ""), *self._settings.table()])


def _spark_text(value: Any) -> str:
    """As Spark writes it: true, not True."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _session(session: SessionInfo) -> str:
    return "\n".join(
        [
            f"Spark {session.version} on {session.master}{' (started by lagom)' if session.is_ours else ''}",
            f"slots: {session.slots}   GPUs: {session.n_gpus}",
            f"UI: {session.ui_link or 'off'}",
        ]
    )


def _face(run: Run) -> str:
    return f"{render_text(run.view, time.time(), str(run.dir))}{_noted(run)}{_hint(run)}"


def _noted(run: Run) -> str:
    """Lines with what people have said of a run; '' where nobody has."""
    noted = {
        "description": one_line(run.description, 500),
        "tags": ", ".join(one_line(tag, 64) for tag in run.tags),
        "note": one_line(run.note, 500),
    }
    return "".join(f"\n{what}: {text}" for what, text in noted.items() if text)


def _hint(run: Run) -> str:
    """A line on how to go on with a run that ended early; '' for others."""
    from lagom_magic.resuming import how_to_go_on

    how = how_to_go_on(run)
    return f"\n{how}" if how else ""


def _score(name: str | None, value: float | None) -> str:
    return NOTHING if value is None else f"{name or 'metric'} {metric(value)}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
