"""What the magics understand: every verb with its options, read by the parser, the help and the completion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lagom_magic.events.facts import RunState
from lagom_magic.spec.config import PRUNERS, SAMPLER_ALIASES, SAMPLERS
from lagom_magic.spec.framework import STRATEGIES

#: What a NAME names, for completion.
NameOf = Literal["", "function", "space", "model", "data", "hparams", "object"]


#: What `--strategy` takes.
STRATEGY_WORDS = ("auto", *STRATEGIES)

#: Faces of the view, and those of a later version.
FACES = ("auto", "widget", "html", "text")


@dataclass(frozen=True)
class Option:
    """One option of a verb.

    Attributes:
        flag: as typed; with `dest`, it names the field of the config that it sets.
        metavar: what follows it; "" = nothing does.
        words: values to offer.
        name_of: the value is a variable of the notebook, of this kind.
        group: options of one group exclude each other.
        bare: the value when none follows; None = one must.
    """

    flag: str
    dest: str
    help: str
    metavar: str = ""
    words: tuple[str, ...] = ()
    name_of: NameOf = ""
    repeats: bool = False
    group: str = ""
    alias: str = ""
    bare: str | None = None


@dataclass(frozen=True)
class Verb:
    """One verb.

    Attributes:
        summary: one line for the overview.
        arguments: what follows that is no option, as (dest, metavar, how many, as argparse counts).
        topics: what else its help explains, before the examples.
        is_cell: it runs the function of a cell.
    """

    name: str
    summary: str
    options: tuple[Option, ...] = ()
    arguments: tuple[tuple[str, str, str], ...] = ()
    examples: str = ""
    topics: str = ""
    is_cell: bool = False


#: The kinds of hyperparameter, for the help.
_HYPERPARAMETERS = """\
hyperparameters, as annotations or in a Searchspace:
  Float(1e-4, 1e-1, log=True)    a number; log=True: on a log scale; step=0.1: in steps
  Int(16, 256)                   a whole number, both ends included; log and step as well
  Categorical(["adam", "sgd"])   one of several values
  Ordinal([16, 32, 64])          one of several values that have an order
  …, when={"optimizer": "sgd"}   any of them, only where another has that value, or one of a list"""

#: What `%lagom search` understands, for its help.
_SEARCH_LANGUAGE = """\
all of it must be true of a run:
  digits                         a word of the run's name, id, description, note, tags, source, or of
                                 the names of its function, metrics and hyperparameters; or how one begins
  "learning rate"                words side by side
  lr<0.01 accuracy>=0.9          < <= > >= = on metrics and hyperparameters: one complete trial fulfils all
  tag:pii tag:retention=90d      also state:failed kind:hpo user:ada model:digits name:digits"""

_RUN_STATES = tuple(state.value.lower() for state in RunState)

_SEARCH = (
    Option("--trials", "num_trials", "how many trials at most (20)", "N"),
    Option("--space", "searchspace", "a Searchspace or dict, instead of annotations", "NAME", name_of="space"),
    Option(
        "--sampler",
        "optimizer",
        f"{', '.join(SAMPLERS)}, or an object (random)",
        "NAME",
        words=(*SAMPLERS, *SAMPLER_ALIASES),
        name_of="object",
        alias="--optimizer",
    ),
    Option(
        "--pruner", "pruner", f"{', '.join(PRUNERS)}, or an object (median)", "NAME", words=PRUNERS, name_of="object"
    ),
    Option("--isolate", "isolate", "a fresh process for each trial"),
)

_COMMON = (
    Option("--maximize", "maximize", "the metric that counts; the best is the largest", "METRIC", group="metric"),
    Option("--minimize", "minimize", "the metric that counts; the best is the smallest", "METRIC", group="metric"),
    Option("--workers", "workers", "how many at most (all slots of the session)", "N"),
    Option("--gpus-per-worker", "gpus_per_worker", "0.5 packs two workers on a GPU", "F"),
    Option("--fn", "fn", "the training function (the last def of the cell)", "NAME", name_of="function"),
    Option("--name", "name", "the experiment that the run belongs to (the function's name)", "EXPERIMENT"),
    Option("--description", "description", "a line about the run", "TEXT"),
    Option("--tag", "tags", "a word to find the run by", "T", repeats=True),
    Option("--out", "out", "a variable that gets the run, beside lagom_run", "VAR"),
    Option("--detach", "detach", "return at once; the run goes on"),
    Option("--model", "model", "a model class or factory", "NAME", name_of="model", group="model"),
    Option("--module", "module", "the same", "NAME", name_of="model", group="model"),
    Option("--dataset", "dataset", "fills the argument dataset", "NAME", name_of="data"),
    Option("--train-set", "train_set", "fills the argument train_set", "NAME", name_of="data"),
    Option("--test-set", "test_set", "fills the argument test_set", "NAME", name_of="data"),
    Option("--process-data", "process_data", "makes the sets of what is given, here, once", "NAME", name_of="function"),
    Option("--hparams", "hparams", "fixes arguments: a dict, a Trial or a Run", "NAME", name_of="hparams"),
    Option("--set", "set", "fixes one argument", "K=V", repeats=True),
    Option("--files", "files", "a file or folder that the function reads", "PATH", repeats=True),
    Option("--py-files", "py_files", "a module or package that the function imports", "PATH", repeats=True),
    Option("--seed", "seed", "of the run (0)", "N", group="seed"),
    Option("--no-seed", "no_seed", "seed nothing", group="seed"),
    Option("--no-autolog", "no_autolog", "do not log what Keras, scikit-learn … train by themselves"),
    Option("--log-weights", "log_weights", "histograms of weights, every so many steps", "N"),
    Option("--timeout", "timeout", "of the run: 90s, 30m, 1h30m (none)", "TIME"),
    Option("--trial-timeout", "trial_timeout", "of a trial (none)", "TIME"),
    Option("--retries", "retries", "how often a failed trial runs again (0)", "N"),
    Option("--max-failures", "max_failures", "stop when more trials failed (all)", "N"),
    Option("--mlflow", "mlflow", "mirror the run into a tracking server ($MLFLOW_TRACKING_URI)", "URI", bare=""),
    Option("--ui", "ui", "auto, widget, html or text (auto)", "FACE", words=FACES),
)

_DISTRIBUTED = (
    Option(
        "--strategy", "strategy", "auto, ddp, fsdp, tp (PyTorch) or mirrored (TensorFlow)", "S", words=STRATEGY_WORDS
    ),
    Option("--mixed-precision", "mixed_precision", "bf16 or fp16 (float32)", "P", words=("bf16", "fp16")),
    Option("--average-metrics", "average_metrics", "report the mean over ranks (rank 0's)"),
    Option("--collective-timeout", "collective_timeout", "how long a rank may wait for the others (10m)", "TIME"),
)

_ABLATION = (
    Option("--study", "ablation_study", "an AblationStudy: which features, layers …", "NAME", name_of="object"),
    Option("--repeats", "repeats", "how often each variant runs, with other seeds (1)", "N"),
    Option("--order", "order", "2 = pairs of components too (1)", "N", words=("1", "2")),
    Option("--until-width", "until_width", "repeat on while an interval is wider", "W"),
    Option("--trials", "num_trials", "how many trials at most (what the repeats need)", "N"),
)

_RESUME_TRAINING = Option("--resume", "resume", "go on from the last checkpoint of an earlier run", "RUN")
_RESUME = Option("--resume", "resume", "go on with an earlier run: what it lacks, or more --trials", "RUN")

#: Of a run that is gone on with or repeated: what may be other than it was.
_AGAIN = tuple(option for option in _COMMON if option.dest in ("workers", "timeout", "mlflow", "out", "detach", "ui"))

VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb(
            "hpo",
            "search the hyperparameters of the cell's function",
            (*_SEARCH, *_COMMON, _RESUME),
            examples="""\
  %%lagom hpo --trials 30 --workers 4 --pruner asha --maximize accuracy
  def train(lr: Float(1e-4, 1e-1, log=True), width: Int(16, 256) = 64, reporter=None):
      ...
      return {"accuracy": accuracy, "loss": loss}

  %lagom hpo --fn train --space my_space --sampler tpe --minimize loss --set epochs=5""",
            topics=_HYPERPARAMETERS,
            is_cell=True,
        ),
        Verb(
            "ablate",
            "leave parts of the cell's function, model and data out, one by one",
            (*_ABLATION, *_COMMON, _RESUME),
            examples="""\
  %%lagom ablate --repeats 5 --maximize accuracy
  from lagom_magic import Switch

  def train(augment: Switch() = True, dropout: Switch(0.0) = 0.3, reporter=None):
      ...
      return {"accuracy": accuracy}

  study = AblationStudy(dataset=frame, label_name="y", model=make_model)
  study.features.include()                           # every column
  study.model.layers.include("conv1", "conv2")       # study.model.layers.print_all() lists them
  study.model.layers.include_groups(prefix="block1_")
  %lagom ablate --fn train --study study --repeats 5 --order 2

  lagom_run.ablation                                 # the table, as a DataFrame""",
            is_cell=True,
        ),
        Verb(
            "train",
            "train one model on all workers together with the cell's function",
            (*_DISTRIBUTED, *_COMMON, _RESUME_TRAINING),
            examples="""\
  %%lagom train --workers 4 --module Net --train-set train_set --test-set test_set --hparams lagom_run.best
  def train(module, train_set, test_set, hparams, reporter=None):
      model = module()                                  # plain PyTorch; the batch size is that of all workers
      loader = DataLoader(train_set, batch_size=256, shuffle=True)
      ...
      return {"accuracy": accuracy}

  %lagom train --fn train --strategy fsdp --mixed-precision bf16""",
            is_cell=True,
        ),
        Verb(
            "run",
            "call the cell's function once on a worker, tracked",
            (*_COMMON, _RESUME),
            examples="""\
  %%lagom run --name digits --set lr=0.01
  def train(lr, reporter=None): ...

  %lagom run --fn train --hparams lagom_run.best""",
            is_cell=True,
        ),
        Verb(
            "resume",
            "go on with a run (the last one): what was cut off or stopped, or more trials; a training in a new run",
            (
                Option("--trials", "num_trials", "how many trials in all (as before)", "N"),
                Option("--repeats", "repeats", "of an ablation: how often each variant runs in all (as before)", "N"),
                *_AGAIN,
            ),
            (("run", "RUN", "?"),),
            "  %lagom resume\n  %lagom resume k3f7 --trials 50",
        ),
        Verb(
            "rerun",
            "repeat a run, or one of its trials, from its folder, with the same seeds",
            (Option("--trial", "trial", "only this one, as a run of its own", "N"), *_AGAIN),
            (("run", "RUN", "?"),),
            "  %lagom rerun k3f7\n  %lagom rerun k3f7 --trial 7",
        ),
        Verb("status", "the live run of this kernel", examples="  %lagom status"),
        Verb(
            "runs",
            "the newest runs of this folder",
            (
                Option("--state", "state", "only those in this state", "STATE", words=_RUN_STATES),
                Option("--name", "name", "only those of this experiment", "EXPERIMENT"),
                Option("--all", "is_all", "every one of them"),
            ),
            examples="  %lagom runs\n  %lagom runs --state failed\n  %lagom runs --name digits --all",
        ),
        Verb(
            "show",
            "one run (the last one), as stored",
            (Option("--html", "html", "write a report for people without this tool", "FILE"),),
            (("run", "RUN", "?"),),
            "  %lagom show\n  %lagom show k3f7\n  %lagom show lagom_run --html report.html",
        ),
        Verb(
            "search",
            "find stored runs by words, metrics, hyperparameters and tags",
            (Option("--all", "is_all", "every one of them"),),
            (("words", "TEXT", "*"),),
            """\
  %lagom search "digits lr<0.01 accuracy>0.9 tag:pii"
  %lagom search 'state:failed "learning rate"'
  %lagom search user:ada model:digits""",
            topics=_SEARCH_LANGUAGE,
        ),
        Verb(
            "tag",
            "give a stored run tags or a note, or say which it has",
            (
                Option("--remove", "remove", "take a tag away", "T", repeats=True),
                Option("--note", "note", "what to know of the run; an empty text removes it", "TEXT"),
            ),
            (("run", "RUN", "1"), ("tags", "T", "*")),
            "  %lagom tag k3f7 pii retention=90d\n  %lagom tag lagom_run --remove pii --note 'the run of the paper'",
        ),
        Verb(
            "compare",
            "runs side by side: hyperparameters, metrics, settings, packages and source",
            arguments=(("runs", "RUN", "*"),),
            examples="  %lagom compare k3f7 p2x9\n  %lagom compare lagom_run digits",
        ),
        Verb(
            "delete",
            "delete stored runs that are over, with all their files; exported models stay",
            arguments=(("runs", "RUN", "*"),),
            examples="  %lagom delete 20261122-093000-k3f7",
        ),
        Verb(
            "attach",
            "watch a run (the live one), or another kernel's, until it ends (■: stop watching); it is lagom_run then",
            (next(option for option in _COMMON if option.dest == "ui"),),
            (("run", "RUN", "?"),),
            "  %lagom attach\n  %lagom attach k3f7",
        ),
        Verb(
            "stop",
            "stop the live run, or another kernel's; finished trials are kept",
            (Option("--now", "now", "do not wait for trials to end by themselves"),),
            (("run", "RUN", "?"),),
            "  %lagom stop --now\n  %lagom stop k3f7",
        ),
        Verb(
            "prune",
            "give up on a running trial of the live run, or of another kernel's",
            arguments=(("trial", "TRIAL", "1"), ("run", "RUN", "?")),
            examples="  %lagom prune 7\n  %lagom prune 7 k3f7",
        ),
        Verb(
            "retry",
            "run a failed trial of it again",
            arguments=(("trial", "TRIAL", "1"), ("run", "RUN", "?")),
            examples="  %lagom retry 7",
        ),
        Verb(
            "best", "the best trial of a run (the last one)", arguments=(("run", "RUN", "?"),), examples="  %lagom best"
        ),
        Verb(
            "board",
            "TensorBoard of a run (the newest one), also while it goes on; or one for several runs",
            (Option("--stop", "stop", "end it"),),
            (("runs", "RUN", "*"),),
            "  %lagom board\n  %lagom board k3f7 --stop\n  %lagom board k3f7 m2x9",
        ),
        Verb(
            "mlflow",
            "send a stored run (the last one) into an MLflow tracking server ($MLFLOW_TRACKING_URI)",
            arguments=(("run", "RUN", "?"), ("uri", "URI", "?")),
            examples="  %lagom mlflow k3f7\n  %lagom mlflow lagom_run http://127.0.0.1:5000",
        ),
        Verb(
            "models",
            "the model registry: versions, their metrics, and where they come from",
            (
                Option("--sort", "sort", "by a metric, the largest first", "METRIC"),
                Option("--ascending", "ascending", "the smallest first"),
                Option("--user", "user", "only what this person exported", "U"),
                Option("--version", "version", "only versions of this number", "N"),
                Option("--all", "is_all", "every one of them"),
            ),
            (("model", "NAME", "?"),),
            "  %lagom models\n  %lagom models digits --sort accuracy\n  %lagom models --sort loss --ascending",
        ),
        Verb(
            "lineage",
            "what a model, a file or a run came from, and what came of it",
            arguments=(("target", "MODEL|FILE|RUN", "1"),),
            examples="  %lagom lineage digits:3\n  %lagom lineage data/titanic.csv\n  %lagom lineage k3f7",
        ),
        Verb(
            "spark",
            "the Spark session, or start one",
            (Option("--conf", "conf", "a Spark setting", "K=V", repeats=True),),
            (("master", "MASTER", "?"),),
            "  %lagom spark\n  %lagom spark local[4] --conf spark.driver.memory=4g",
        ),
        Verb(
            "config",
            "settings of this kernel",
            arguments=(("setting", "K=V", "*"),),
            examples="  %lagom config\n  %lagom config ui=text workers=2",
        ),
    )
}
