"""`%lagom` and `%%lagom` themselves: from the typed line to what is called."""

from __future__ import annotations

import argparse
import keyword
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from lagom_magic.errors import ConfigError, RunError
from lagom_magic.magics import parse
from lagom_magic.magics.backend import Backend
from lagom_magic.magics.build import build_config
from lagom_magic.magics.cells import functions_in, run_cell, training_function
from lagom_magic.magics.namespace import named_run
from lagom_magic.magics.options import Verb
from lagom_magic.magics.parse import literal
from lagom_magic.magics.settings import Settings

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from lagom_magic.resuming import RepeatedCall
    from lagom_magic.run import Run
    from lagom_magic.spec.config import BaseConfig


#: Verbs that start a run without a function of the notebook.
_AGAIN = ("resume", "rerun")
#: Their options that the config takes as numbers.
_NUMBERS_AGAIN = ("num_trials", "repeats", "workers")


@magics_class
class LagomMagics(Magics):
    """The magics of one shell.

    Args:
        shell: whose.
        backend: the package, or a stand-in.
        settings: of this kernel.
    """

    def __init__(self, shell: InteractiveShell, backend: Backend, settings: Settings) -> None:
        super().__init__(shell)
        self._shell = shell
        self.backend = backend
        self.settings = settings

    @no_var_expand
    @line_cell_magic
    def lagom(self, line: str, cell: str | None = None) -> None:
        """Turn the function of a cell into an experiment on Spark.

        A search: each trial calls the function with other hyperparameters::

            %%lagom hpo --trials 30 --workers 4 --pruner asha --maximize accuracy
            from lagom_magic import Float, Int

            def train(lr: Float(1e-4, 1e-1, log=True), width: Int(16, 256) = 64, reporter=None):
                for epoch in range(20):
                    accuracy = ...
                    if reporter: reporter.broadcast(accuracy, step=epoch)
                return {"accuracy": accuracy}

        One model, trained by all workers together::

            %%lagom train --workers 4 --module Net --train-set train_set --hparams lagom_run.best
            def train(module, train_set, lr=0.01, reporter=None):
                model = module()
                ...

        One tracked call of a function that is there already::

            %lagom run --fn train --hparams lagom_run.best

        Looking and steering::

            %lagom status            the live run
            %lagom runs              the newest runs
            %lagom stop              stop the live run, keep what is finished
            %lagom spark local[4]    start Spark yourself

        The finished run is `lagom_run`. `%lagom` lists all verbs, `%lagom hpo --help` all options of one.
        """
        words = parse.split(line)
        sign = "%lagom" if cell is None else "%%lagom"
        if words[:1] in ([], ["help"], ["-h"], ["--help"]) and (words or cell is None):
            print(parse.overview())  # noqa: T201 - the cell's output
            return
        verb = parse.find_verb(words, is_cell=cell is not None)
        if any(word in parse.HELP_FLAGS for word in words):
            print(parse.help_of(verb, sign))  # noqa: T201
            return
        values = parse.parse(verb, words[1:], sign)
        if verb.is_cell:
            self._start(verb, values, cell, f"{sign} {verb.name}")
        elif verb.name in _AGAIN:
            self._start_again(verb, values, f"{sign} {verb.name}")
        else:
            from lagom_magic.magics.verbs import Verbs

            verbs = Verbs(self.backend, self.settings, self._shell.user_ns)
            answer = verbs.say(verb.name, values)
            if verbs.attached is not None:
                self._bind(verbs.attached, None)
            if answer:  # else it is shown already
                print(answer)  # noqa: T201

    def _start(self, verb: Verb, values: argparse.Namespace, cell: str | None, prog: str) -> None:
        """Runs the cell, then its function; binds the run also when it ended early."""
        out = _variable(getattr(values, "out", None), prog)
        self._refuse_second_run()
        if cell is not None:
            run_cell(self._shell, cell)
        names = self._shell.user_ns
        defined = functions_in(self._shell, cell) if cell is not None else []
        train_fn = training_function(getattr(values, "fn", None), defined, names, prog)
        from lagom_magic.resuming import inherited_options

        resumed = self._resumed(values)
        inherited = None if resumed is None or verb.name == "train" else inherited_options(resumed, vars(values))
        config = build_config(verb, values, names, self.settings, train_fn, inherited)
        self._launch(train_fn, config, values, out, cell, resumed)

    def _start_again(self, verb: Verb, values: argparse.Namespace, prog: str) -> None:
        """Goes on with a stored run, or repeats it, from its folder alone."""
        from lagom_magic.magics.lineage import changed_data
        from lagom_magic.resuming import RepeatedCall, config_of, config_of_trial, repeated_trial

        out = _variable(getattr(values, "out", None), prog)
        self._refuse_second_run()
        run = self._named_or_last(getattr(values, "run", ""), prog)
        given = {name: literal(value) for name, value in vars(values).items() if name in _NUMBERS_AGAIN}
        given |= {name: value for name, value in vars(values).items() if name in ("timeout", "mlflow")}
        trial = literal(values.trial) if "trial" in values else None
        if trial is not None and (type(trial) is not int or trial < 0):
            raise UsageError(f"{prog}: --trial {values.trial!r} is no trial's number. Try --trial 7.")
        if verb.name == "rerun" and (note := changed_data(run, trial)):
            print(f"lagom: {note}")  # noqa: T201 - the cell's output
        if trial is not None:
            self._launch(repeated_trial(run, trial), config_of_trial(run, given), values, out)
        else:
            is_resumed = verb.name == "resume"
            self._launch(RepeatedCall(run), config_of(run, given), values, out, resumed=run if is_resumed else None)

    def _named_or_last(self, text: str, prog: str) -> Run:
        if text:
            return named_run(text, self._shell.user_ns, self.backend)
        ids = self.backend.run_ids()
        if not ids:
            raise UsageError(f"{prog}: no run is stored yet. Start one with %%lagom hpo.")
        return self.backend.find_run(ids[0])

    def _launch(
        self,
        called: Callable[..., Any] | RepeatedCall,
        config: BaseConfig,
        values: argparse.Namespace,
        out: str | None,
        cell: str | None = None,
        resumed: Run | None = None,
    ) -> None:
        face = getattr(values, "ui", None) or self.settings.get("ui") or "auto"
        try:
            run = self.backend.launch(
                called, config, detach=self._detaches(values), ui=face, source=cell, resumed=resumed
            )
        except RunError as error:
            if error.run is not None:
                self._bind(error.run, out)
            raise
        self._bind(run, out)

    def _refuse_second_run(self) -> None:
        live = self.backend.current_run()
        if live is not None:
            raise ConfigError(
                f"run {live.id} is live in this kernel, which has one at a time. Wait for it, or stop it: %lagom stop"
            )

    def _resumed(self, values: argparse.Namespace) -> Run | None:
        text = getattr(values, "resume", None)
        if text is None:
            return None
        return named_run(text, self._shell.user_ns, self.backend)

    def _detaches(self, values: argparse.Namespace) -> bool:
        if not getattr(values, "detach", False):
            return False
        if self.settings.is_noninteractive:
            warnings.warn(
                "--detach is ignored, since LAGOM_NONINTERACTIVE=1: the cell waits for its run.", stacklevel=2
            )
            return False
        return True

    def _bind(self, run: Run, out: str | None) -> None:
        self._shell.push({"lagom_run": run, **({out: run} if out else {})})  # type: ignore[no-untyped-call]


def _variable(name: str | None, prog: str) -> str | None:
    if name is not None and (not name.isidentifier() or keyword.iskeyword(name)):
        raise UsageError(f"{prog}: --out {name!r} cannot be a variable; allowed: a Python name. Try --out my_run.")
    return name
