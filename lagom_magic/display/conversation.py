"""One page's conversation about a run: updates on their own, and a reply to each request; comm and socket are alike.

The widget in the kernel and the server extension's socket each make one and give it a way to send.
"""

from __future__ import annotations

import logging
import reprlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lagom_magic.display.answers import Answers, Backing
from lagom_magic.display.follower import UNWOKEN_LOOK_INTERVAL_S, Follower
from lagom_magic.display.wire import Message, error_message, reply_messages
from lagom_magic.display.wording import one_line
from lagom_magic.errors import ConfigError, LagomError

PROTOCOL = 1
_ID_LIMIT = 100

_log = logging.getLogger(__name__)


class Conversation:
    """Talks with one page about one run. Methods may be called from any thread."""

    def __init__(
        self,
        run_dir: Path,
        send: Callable[[Message], None],
        backing: Backing,
        look_interval_s: float = UNWOKEN_LOOK_INTERVAL_S,
    ) -> None:
        """Make it; `start` begins the updates.

        Args:
            run_dir: the run's folder.
            send: takes messages, one at a time, on several threads.
            backing: of the run.
            look_interval_s: as for `Follower`.
        """
        self._send_one, self._sending = send, threading.Lock()
        is_driven = None if backing.is_driven is None else self._is_driven
        self.follower = Follower(run_dir, self._send, is_driven=is_driven, look_interval_s=look_interval_s)
        self._answers = Answers(self.follower.reading, backing)

    def start(self) -> None:
        """Begin to tell what is new."""
        self.follower.start()

    def wake(self) -> None:
        """Say that the folder has news."""
        self.follower.wake()

    def end_of_driver(self) -> None:
        """The driver writes nothing more: forget it, and talk on from the folder alone."""
        self._answers.backing = self._answers.backing.without_driver(self.follower.reading.run_dir.name)
        self.wake()

    def close(self) -> bool:
        """End it; whether its thread has ended."""
        return self.follower.close()

    def hang_up(self) -> None:
        """End it without waiting for its thread."""
        self.follower.hang_up()

    def handle(self, request: Any) -> None:
        """Reply to what a page asks, on this thread; what is no request at all is left alone."""
        if not isinstance(request, dict) or not isinstance(request_id := request.get("id"), str):
            _log.debug("no request: %s", reprlib.repr(request))
            return
        for message in self._replies(request, request_id[:_ID_LIMIT]):
            self._send(message)

    def _replies(self, request: Message, request_id: str) -> list[Message]:
        try:
            if request.get("type") == "sync":
                return reply_messages(request_id, self._sync(request))
            return reply_messages(request_id, self._answers.answer(request))
        except (LagomError, OSError) as error:
            return [error_message(request_id, one_line(str(error), 1000))]
        except Exception as error:  # the request's outer edge: a bug of ours costs one reply
            _log.exception("cannot answer %s", reprlib.repr(request))
            return [error_message(request_id, one_line(f"{type(error).__name__}: {error}", 1000))]

    def _is_driven(self) -> bool:
        is_driven = self._answers.backing.is_driven
        return is_driven is not None and is_driven()

    def _sync(self, request: Message) -> bool:
        since, line = request.get("since", 0), request.get("lines", -1)
        if type(since) is not int or type(line) is not int:
            raise ConfigError("sync takes two whole numbers: since and lines.")
        self.follower.sync(since, line)
        return True

    def _send(self, message: Message) -> None:
        with self._sending:
            self._send_one(message)
