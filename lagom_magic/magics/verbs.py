"""The verbs of `%lagom` that look and steer; each answers with the text to print."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from lagom_magic.display.text import render_text
from lagom_magic.display.wording import NOTHING, duration, metric
from lagom_magic.magics.backend import Backend
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
    """

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self._backend, self._settings = backend, settings

    def say(self, name: str, values: argparse.Namespace) -> str:
        """What the verb answers."""
        answers: dict[str, Callable[..., str]] = {
            "status": self._status,
            "runs": self._runs,
            "show": self._show,
            "stop": self._stop,
            "best": self._best,
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
        return f"no run is live. The last one:\n{last!r}"

    def _runs(self) -> str:
        stored = self._backend.runs()
        if not stored:
            return f"no run is stored in {self._settings.get('home') or './lagom_runs'} yet; start one with %%lagom hpo"
        rows = [
            (
                run.run_id,
                run.experiment,
                run.kind,
                run.state.value,
                f"{run.created_at:%Y-%m-%d %H:%M}",
                duration(run.duration_s),
                str(run.n_done),
                _score(run.metric, run.best_val),
            )
            for run in stored
        ]
        return _table([("run", "experiment", "kind", "state", "started", "took", "trials", "best"), *rows])

    def _show(self, run: str) -> str:
        return _face(self._backend.find_run(run))

    def _stop(self, run: str = "", now: bool = False) -> str:
        live = self._backend.current_run()
        if live is None:
            return "no run is live in this kernel: nothing to stop"
        if run and self._backend.find_run(run).dir != live.dir:
            raise UsageError(f"%lagom stop: {run} is not the live run of this kernel, {live.id} is. Use %lagom stop.")
        live.stop(now=now)
        return f"stopping run {live.id}; finished trials are kept"

    def _best(self, run: str = "") -> str:
        found = self._backend.find_run(run) if run else self._backend.current_run() or self._last()
        if found is None:
            raise UsageError("%lagom best: there is no run yet. Start one with %%lagom hpo.")
        best, head = found.best, f"run {found.name}/{found.id} ({found.state.value})"
        if best is None:
            return f"{head}: no complete trial with a metric"
        rows = [(f"  {name}", repr(value)) for name, value in best.hparams.items()]
        score = _score(found.view.metric_name, best.metric)
        return "\n".join([f"{head}: trial {best.id}, {score}", *([_table(rows)] if rows else [])])

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
    return render_text(run.view, time.time(), str(run.dir))


def _score(name: str | None, value: float | None) -> str:
    return NOTHING if value is None else f"{name or 'metric'} {metric(value)}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
