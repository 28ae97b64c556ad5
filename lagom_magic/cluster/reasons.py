"""Says in one line why a Spark job ended: Spark answers with pages of Java in which the cause is one line."""

from __future__ import annotations

import re

_MAX_LENGTH = 300

#: What Spark says → what it means; the first that matches counts.
_KNOWN = (
    (r"SparkContext (was|has been) shut ?down|stopped SparkContext", "the Spark session was stopped"),
    (r"cancelled|was killed", "its Spark job was cancelled"),
    (r"Python worker exited unexpectedly", "its Python process was killed or crashed"),
    (r"Python worker failed to connect back", "its Python process could not be started"),
)


def one_line_reason(message: str) -> str:
    """The cause in the message of Spark's exception: the last line of the Python error in it, when there is one."""
    tracebacks = message.split("Traceback (most recent call last):\n")
    if len(tracebacks) > 1:
        return _shortened(_error_of(tracebacks[-1]))
    for pattern, meaning in _KNOWN:
        if re.search(pattern, message, re.IGNORECASE):
            return meaning
    if lost := re.search(r"ExecutorLostFailure.*?Reason: ([^\n]+)", message):
        return _shortened(f"its executor was lost: {lost.group(1)}")
    if cause := re.search(r"most recent failure: Lost task \S+ in stage \S+ \(TID \d+\) \([^)]*\): ([^\n]+)", message):
        return _shortened(cause.group(1))
    return _shortened(next((line for line in message.splitlines() if line.strip()), "its Spark job failed"))


def _error_of(traceback: str) -> str:
    """`KeyError: 'a'` of the lines below "Traceback"; of a message with several lines the first and the last."""
    python_lines = re.split(r"\n\s*at (?:org|java|scala|jdk)\.", traceback)[0].splitlines()
    lines = [re.sub(r"\s*SQLSTATE: \w+$", "", line).strip() for line in _after_frames(python_lines)]
    error = [line for line in lines if line]
    if not error:
        return "its Python code failed"
    return error[0] if len(error) == 1 else f"{error[0]} {error[-1]}"


def _after_frames(lines: list[str]) -> list[str]:
    for index, line in enumerate(lines):
        if line and not line[0].isspace():
            return lines[index:]
    return []


def _shortened(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 2]} …"
