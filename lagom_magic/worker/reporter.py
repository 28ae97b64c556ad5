"""The `reporter` argument: how a training function tells of its progress, and learns that it should end."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from typing import Any

from lagom_magic.errors import TrialPruned, TrialStopped
from lagom_magic.events.facts import MAX_WHOLE, Metrics, number_to_json
from lagom_magic.worker.checkpoints import Checkpoints
from lagom_magic.worker.control import Control
from lagom_magic.worker.numbers import as_number


class Reporter:
    """Lives for one trial. Every value is delivered; nothing here waits."""

    def __init__(
        self,
        control: Control,
        trial_id: int,
        attempt: int,
        worker_id: int,
        metric_name: str,
        flush_prints: Callable[[], None],
    ) -> None:
        self._control = control
        self._flush_prints = flush_prints
        self._trial_id = trial_id
        self._attempt = attempt
        self._worker_id = worker_id
        self._metric_name = metric_name
        self._pid = os.getpid()
        self._last_step: int | None = None
        self._ordered: type[BaseException] | None = None
        #: Of a training; elsewhere there is nothing to go on from.
        self.checkpoints: Checkpoints | None = None
        #: The signal that `broadcast` has raised, if it has; user code may have swallowed it.
        self.raised: type[BaseException] | None = None

    def broadcast(self, metric: Any, step: int | None = None) -> None:
        """Reports progress.

        Args:
            metric: a number (NumPy scalars and 0-d tensors too), or a dict of several.
            step: when it was measured, never less than before; 0, 1, 2, … when left out.

        Raises:
            TrialPruned: the pruner has given this trial up; again at every later call.
            TrialStopped: the run was stopped; again at every later call.
            TypeError: `metric` or `step` is no number.
            ValueError: `step` is less than the last one, or no whole number of 64 bits.
        """
        if os.getpid() != self._pid:
            raise RuntimeError(
                "reporter.broadcast was called in a child process; call it in the one that runs the training function."
            )
        self._send(self._metrics_of(metric), self._step_of(step))

    def broadcast_logged(self, metrics: Metrics, step: int | None = None) -> None:
        """As `broadcast`, of what a library has logged by itself."""
        self._send(metrics, self._step_of(step), is_automatic=True)

    @property
    def last_step(self) -> int | None:
        """Of the last report; None before the first."""
        return self._last_step

    def _send(self, metrics: Metrics, step: int, *, is_automatic: bool = False) -> None:
        self._last_step = step
        report = {
            "type": "metric_reported",
            "trial_id": self._trial_id,
            "attempt": self._attempt,
            "worker_id": self._worker_id,
            "step": step,
            "metrics": {name: number_to_json(value) for name, value in metrics.items()},
        }
        self._control.send({**report, "is_automatic": True} if is_automatic else report)
        while (message := self._control.poll()) is not None:
            self._obey(message)
        if self._ordered is not None:
            self.raised = self._ordered
            raise self._ordered(f"at step {step}")

    def log(self, msg: Any, jupyter: bool = True) -> None:
        """Prints a message; with `jupyter=False` only into the trial's output.log."""
        if jupyter:
            print(msg)  # noqa: T201 - the captured output is the log
            return
        self._flush_prints()
        self._control.send({"type": "log", "text": f"{msg}\n"})

    def checkpoint(self, **objects: Any) -> None:
        """Keeps what a later attempt of this training needs to go on from here; call it on all ranks alike.

        Where the function is not trained on several workers (`%%lagom hpo`, a plain call) it does nothing.

        Args:
            **objects: models, optimizers, schedulers, whatever has `state_dict`, and plain values:
                `reporter.checkpoint(model=model, optimizer=optimizer, epoch=epoch)`.
        """
        if self.checkpoints is not None:
            self._flush_prints()
            self.checkpoints.save(objects)

    def restore(self, **objects: Any) -> dict[str, Any]:
        """Brings objects back, in place, to what the last checkpoint kept under their names.

        Returns:
            The plain values of the checkpoint; {} when there is none, and the function begins at its beginning:
            `first = reporter.restore(model=model, optimizer=optimizer).get("epoch", -1) + 1`.
        """
        return {} if self.checkpoints is None else self.checkpoints.restore(objects)

    def stop(self) -> None:
        """Makes the next broadcast raise `TrialStopped`; safe in a signal handler."""
        self._ordered = TrialStopped

    def _obey(self, message: dict[str, Any]) -> None:
        if (message.get("trial_id"), message.get("attempt")) != (self._trial_id, self._attempt):
            return
        if message["type"] == "stop_trial":
            self._ordered = TrialStopped
        elif message["type"] == "prune_trial" and self._ordered is None:
            self._ordered = TrialPruned

    def _metrics_of(self, metric: Any) -> Metrics:
        given = metric if isinstance(metric, dict) else {self._metric_name: metric}
        if not given:
            raise TypeError("reporter.broadcast({}): give at least one number.")
        metrics: Metrics = {}
        for name, value in given.items():
            number = as_number(value)
            if number is None:
                raise TypeError(
                    f"reporter.broadcast: {name!r} is {_shortened(value)} ({type(value).__name__}), not a number. "
                    "Give a number, or a dict of numbers such as {'loss': 0.1, 'accuracy': 0.9}."
                )
            metrics[str(name)] = number
        return metrics

    def _step_of(self, step: Any) -> int:
        last = self._last_step
        if step is None:
            return 0 if last is None else last + 1
        try:
            step = operator.index(step)
        except TypeError:
            raise TypeError(f"reporter.broadcast: step={_shortened(step)} is not a whole number.") from None
        if abs(step) > MAX_WHOLE:
            raise ValueError(f"reporter.broadcast: step={_shortened(step)}; allowed: whole numbers of 64 bits.")
        if last is not None and step < last:
            raise ValueError(
                f"reporter.broadcast: step={step} after step={last}; steps must not decrease. "
                "With two loops, count on: step = epoch * n_batches + batch."
            )
        return int(step)


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
