"""Why a trial failed, in words: from an exception in the function, or from the death of its process."""

from __future__ import annotations

import os
import signal
import sys
import traceback

from lagom_magic.events.facts import TrialError

_OUR_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_MAX_MESSAGE_CHARACTERS = 10_000
_MAX_TRACEBACK_CHARACTERS = 200_000
#: Packages that pip knows by another name than Python.
_PACKAGES = {
    "cv2": "opencv-python",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
_HINTS = {
    signal.SIGKILL: " Often the machine was out of memory.",
    signal.SIGSEGV: " A segmentation fault in C code; the stack is in output.log.",
    signal.SIGABRT: " C code gave up; the stack is in output.log.",
}


def from_exception(error: BaseException, notebook_dir: str, host: str, notebook_python: str = "") -> TrialError:
    """The error of a training function that raised, with the user's frames only.

    Args:
        error: what it raised.
        notebook_dir: the notebook's folder as the driver names it.
        host: this machine.
        notebook_python: the notebook's interpreter, "host:path".
    """
    message = _safe_text(error)
    if hint := _hint(error, notebook_dir, host, notebook_python):
        stop = "" if message.endswith((".", "!", "?")) else "."
        message = f"{message}{stop} {hint}"
    return TrialError(
        kind=type(error).__name__,
        message=message[:_MAX_MESSAGE_CHARACTERS],
        traceback=user_traceback(error)[-_MAX_TRACEBACK_CHARACTERS:],
    )


def from_exit(status: int) -> TrialError:
    """The error of a trial process that ended by itself, from its wait status."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return TrialError(
            "EXIT", f"The trial process ended with exit code {code} before the function returned (os._exit?)."
        )
    name = _signal_name(-code)
    hint = _HINTS.get(signal.Signals(-code), "") if name.startswith("SIG") else ""
    return TrialError(name, f"The trial process was ended by {name} (exit code {code}).{hint}")


def user_traceback(error: BaseException) -> str:
    """The traceback as Python prints it, without the frames of this package."""
    report = traceback.TracebackException.from_exception(error)
    seen: set[int] = set()
    pending: list[traceback.TracebackException | None] = [report]
    while pending:
        part = pending.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        part.stack = traceback.StackSummary.from_list([f for f in part.stack if not f.filename.startswith(_OUR_FOLDER)])
        pending += [part.__cause__, part.__context__, *(part.exceptions or [])]
    return "".join(report.format())


def _safe_text(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"The training function called sys.exit({error.code!r}); let it return instead."
    try:
        return str(error)
    except Exception as second:  # the user's own __str__
        return f"(its text raised {type(second).__name__})"


def _hint(error: BaseException, notebook_dir: str, host: str, notebook_python: str) -> str:
    """What to do about errors that come from running elsewhere; '' when there is nothing to say."""
    if isinstance(error, ModuleNotFoundError) and error.name and "." not in error.name:  # else its package is there
        return _about_module(error.name, notebook_dir, host, notebook_python)
    if isinstance(error, FileNotFoundError) and isinstance(error.filename, (str, bytes)):
        name = os.fsdecode(error.filename)
        if name and not os.path.isabs(name) and not os.path.isdir(notebook_dir):
            return (
                f"The worker on host {host} does not see the notebook's folder {notebook_dir}. If {name!r} lies "
                f"beside the notebook, ship it with `--files {name.split(os.sep)[0]}`."
            )
        if name and not os.path.isabs(name) and os.path.exists(os.path.join(notebook_dir, name)):
            return f"{name!r} came to the notebook's folder after this worker began; ship it with `--files {name}`."
    return ""


def _about_module(name: str, notebook_dir: str, host: str, notebook_python: str) -> str:
    """How to get a module that is missing here: installed, or sent along when it lies beside the notebook."""
    missing = f"Package {name!r} is missing on worker host {host} ({sys.executable})"
    own = [f"{name}.py"] if os.path.isfile(os.path.join(notebook_dir, f"{name}.py")) else []
    own += [name] if os.path.isdir(os.path.join(notebook_dir, name)) else []
    if own:
        return f"{missing}. If you mean {own[0]!r} beside the notebook, ship it with `--py-files {own[0]}`."
    package = _PACKAGES.get(name, name)
    if notebook_python == f"{host}:{sys.executable}":
        return f"{missing}, which is the notebook's own: `%pip install {package}`."
    if os.path.isdir(notebook_dir):
        return f"{missing}: install it there (`pip install {package}`)."
    return f"{missing}: install it there (`pip install {package}`), or ship a module of yours with `--py-files`."


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGNAL {number}"
