"""The widget in a real kernel, with a page's messages sent as a front end sends them, also while the cell is busy."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import start_new_kernel
from jupyter_core.utils import ensure_event_loop
from nbclient import NotebookClient
from page import Page

from lagom_magic.display.widget import is_built

pytestmark = pytest.mark.lab

SET_UP = f"""
import sys, threading, json
sys.path[:0] = {[path for path in sys.path if path]!r}
from pathlib import Path
from display_runs import GrowingRun, run_started, some_run, trial_facts
from lagom_magic.display.answers import Backing
from lagom_magic.display.liveview import LiveView
from lagom_magic.display.notebook import NotebookPublisher, has_person, kernel_shell
from lagom_magic.display.publisher import FACES
from lagom_magic.events.facts import *
from lagom_magic.store.requests import RequestPipe

static = Path("static"); static.mkdir()
(static / "widget.js").write_text("export default {{ render() {{}} }};")
(static / "widget.css").write_text(".lagom {{}}")
run = GrowingRun(Path("run").absolute())
(run.folder / "run.json").write_text("{{}}")
pipe = RequestPipe(run.folder / "requests")
is_driven = True

def show():
    publisher = NotebookPublisher(kernel_shell(), tuple(FACES), is_live=True, wants_widget=True)
    view = LiveView(run.folder, publisher, Backing(lambda: {{"lr": 1.0}}, lambda: is_driven), static)
    view.start()
    return view
"""
SHOW = "view = show()"
GROW = """
run.record([run_started(), *trial_facts(0, None)])
run.print("[w1 t0] <b>hello</b>\\n")
view.wake()
"""
END = """
run.record([*trial_facts(0, TrialState.COMPLETE)[-1:], RunEnded(RunState.COMPLETE)])
view.close()
is_driven = False
view.wake()
assert view.conversation.follower.wait(20) and view.error is None
"""

Message = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def event_loop_of_jupyter_client() -> None:
    """Make the one loop that jupyter_client keeps for its blocking calls, so that no test seems to leak it."""
    ensure_event_loop()


class FrontEnd:
    """A kernel's client that keeps every message, and speaks for the widget's page."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self.client, self.page = client, Page()
        self.messages: list[Message] = []
        self._n_requests = 0

    def until(self, is_so: Callable[[Message], bool], timeout_s: float = 30.0) -> Message:
        deadline = time.monotonic() + timeout_s
        while True:
            message = self.client.get_iopub_msg(timeout=max(0.0, deadline - time.monotonic()))
            self.messages.append(message)
            content = self._from_widget(message)
            if content.get("type") == "update":
                self.page.take(content)
            if is_so(message):
                return message

    def run(self, cell: str) -> str:
        """Executes a cell to its end; the id of its request."""
        request = self.client.execute(cell)
        self.until(lambda message: is_idle(message) and parent_of(message) == request)
        errors = [m["content"] for m in self.messages if m["msg_type"] == "error"]
        assert errors == []
        return str(request)

    def ask(self, kind: str, subshell_id: str | None = None, timeout_s: float = 30.0, **fields: Any) -> Any:
        """What the kernel replies to a page."""
        self._n_requests += 1
        request = {"type": kind, "id": f"r{self._n_requests}", **fields}
        content = {"comm_id": self.comm_id, "data": {"method": "custom", "content": request}}
        message = self.client.session.msg("comm_msg", content)
        message["header"]["subshell_id"] = subshell_id
        self.client.shell_channel.send(message)
        answer = self.until(lambda m: self._from_widget(m).get("id") == request["id"], timeout_s)
        reply = self._from_widget(answer)
        return reply["value"] if reply["ok"] else reply["error"]

    def new_subshell(self) -> str:
        """As a front end makes one for the comms of a target."""
        message = self.client.session.msg("create_subshell_request", {})
        self.client.control_channel.send(message)
        reply = self.client.control_channel.get_msg(timeout=30)
        return str(reply["content"]["subshell_id"])

    @property
    def opened(self) -> Message:
        """State of the widget that was opened last."""
        models = [
            m["content"]
            for m in self.messages
            if m["msg_type"] == "comm_open" and m["content"]["data"]["state"].get("_model_name") == "AnyModel"
        ]
        return dict(models[-1])

    @property
    def comm_id(self) -> str:
        return str(self.opened["comm_id"])

    @property
    def displays(self) -> list[Message]:
        return [m for m in self.messages if m["msg_type"] in ("display_data", "update_display_data")]

    @property
    def run_id(self) -> str:
        """Of the run that is shown last."""
        return str(self.displays[-1]["content"]["data"]["application/vnd.lagom-magic.run+json"]["run_id"])

    def _from_widget(self, message: Message) -> Message:
        if message["msg_type"] != "comm_msg" or message["content"]["data"].get("method") != "custom":
            return {}
        content = message["content"]["data"]["content"]
        assert isinstance(content, dict)
        return content


def parent_of(message: Message) -> str:
    return str(message["parent_header"].get("msg_id"))


def is_idle(message: Message) -> bool:
    return message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"


@contextmanager
def front_end(folder: Path) -> Iterator[FrontEnd]:
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(folder))
    try:
        yield FrontEnd(client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
        client.context.term()


@pytest.fixture
def front(tmp_path: Path) -> Iterator[FrontEnd]:
    with front_end(tmp_path) as front:
        front.run(SET_UP)
        yield front


def test_one_output_holds_widget_run_and_faces_under_the_cell_that_began(front: FrontEnd, tmp_path: Path) -> None:
    cell = front.run(SHOW)
    front.run(GROW)
    front.run(END)
    first, last = front.displays
    assert [first["msg_type"], last["msg_type"]] == ["display_data", "update_display_data"]
    assert parent_of(first) == parent_of(last) == cell
    data = last["content"]["data"]
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == front.comm_id
    assert data["application/vnd.lagom-magic.run+json"] == {"dir": str(tmp_path / "run"), "run_id": "run", "format": 1}
    assert "· complete ·" in data["text/plain"]
    assert data["text/plain"].endswith("\n\n1 line printed:\n[w1 t0] <b>hello</b>")
    assert "<summary>1 line printed</summary><pre>[w1 t0] &lt;b&gt;hello&lt;/b&gt;</pre>" in data["text/html"]
    assert [m for m in front.messages if m["msg_type"] == "stream"] == []


def test_the_widget_itself_holds_enough_for_a_head(front: FrontEnd, tmp_path: Path) -> None:
    front.run(SHOW)
    state = front.opened["data"]["state"]
    assert (state["dir"], state["protocol"], state["run"]["state"]) == (str(tmp_path / "run"), 1, "STARTING")
    assert state["_esm"].startswith("export default")
    front.run(GROW)
    front.run(END)
    states = [
        m["content"]["data"]["state"]["run"]["state"]
        for m in front.messages
        if m["msg_type"] == "comm_msg" and "run" in m["content"]["data"].get("state", {})
    ]
    assert states[-1] == "COMPLETE"
    assert len(states) <= 3


def test_a_page_is_told_as_the_run_grows(front: FrontEnd) -> None:
    front.run(SHOW)
    front.run(GROW)
    front.run(END)
    assert front.page.trials[0]["state"] == "COMPLETE"
    assert front.page.lines == ["[w1 t0] <b>hello</b>"]
    assert front.page.n_gaps == 0


def test_requests_are_answered_while_the_cell_is_busy(front: FrontEnd) -> None:
    front.run(SHOW + GROW)
    subshell_id = front.new_subshell()
    busy = front.client.execute("release = threading.Event(); print('busy', flush=True); release.wait(60)")
    front.until(lambda m: m["msg_type"] == "stream" and "busy" in m["content"]["text"])
    assert front.ask("sync", subshell_id, since=0, lines=-1) is True
    began = time.monotonic()
    assert "stopping" in front.ask("control", subshell_id, action="stop", trial_id=None)["text"]
    assert time.monotonic() - began < 2
    assert "Trial 0" in front.ask("control", subshell_id, action="prune", trial_id=0)["text"]
    assert not any(is_idle(m) and parent_of(m) == busy for m in front.messages)
    if 0 not in front.page.trials:  # an update may come behind the replies
        front.until(lambda _: 0 in front.page.trials)
    assert front.page.trials[0]["state"] == "RUNNING"
    # What it looks like from the driver's side, by the same subshell: the main one is still busy.
    release = front.client.session.msg("execute_request", execute_content("release.set()"))
    release["header"]["subshell_id"] = subshell_id
    front.client.shell_channel.send(release)
    front.until(lambda m: is_idle(m) and parent_of(m) == busy)
    front.run("assert [r.action for r in pipe.read()] == ['stop', 'prune']")


def execute_content(code: str) -> dict[str, Any]:
    return {"code": code, "silent": True, "store_history": False, "user_expressions": {}, "allow_stdin": False}


def test_requests_are_answered_long_after_the_end_and_no_thread_stays(front: FrontEnd, tmp_path: Path) -> None:
    front.run(SHOW + GROW + END)
    assert front.ask("trial", trial_id=0)["hparams"] == {"lr": 0.1, "width": 32}
    folder = tmp_path / "run" / "trials" / "0000"
    folder.mkdir(parents=True)
    (folder / "output.log").write_text("a line\n")
    assert front.ask("log", trial_id=0, attempt=1, offset=-1)["text"] == "a line\n"
    assert front.ask("importance") == {"lr": 1.0}
    late = front.page = Page()
    assert front.ask("sync", since=0, lines=-1) is True
    front.run("assert view.conversation.follower.wait(20)")
    assert (late.run["state"], late.lines) == ("COMPLETE", ["[w1 t0] <b>hello</b>"])
    front.run("assert not [t for t in threading.enumerate() if t.name.startswith('lagom')], threading.enumerate()")


def test_a_person_is_told_from_a_tool_that_executes_notebooks(front: FrontEnd, tmp_path: Path) -> None:
    front.run("assert has_person(kernel_shell())")
    front.run("%%capture\nassert not has_person(kernel_shell())")
    front.run(
        "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()): assert not has_person(kernel_shell())"
    )
    place = tmp_path / "tool"
    place.mkdir()
    cells = [nbformat.v4.new_code_cell(source) for source in (SET_UP, "assert not has_person(kernel_shell())")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, kernel_name="python3", timeout=60, resources={"metadata": {"path": place}}).execute()


def test_asked_for_a_widget_where_nobody_watches_it_says_why_and_shows_the_html_face(front: FrontEnd) -> None:
    front.run(
        "import contextlib, io, warnings\n"
        "from lagom_magic.display import make_publisher\n"
        "with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(io.StringIO()):\n"
        "    warnings.simplefilter('always')\n"
        "    assert not make_publisher('widget').wants_widget\n"
        "    assert not make_publisher('html').wants_widget\n"
        "    assert not make_publisher('auto').wants_widget\n"
        "(warning,) = [one for one in caught if 'widget' in str(one.message)]\n"
        "assert 'the HTML face is shown: nobody watches' in str(warning.message), warning"
    )


def test_a_widget_that_cannot_be_made_costs_the_run_nothing_and_the_html_face_is_shown(front: FrontEnd) -> None:
    front.run(
        "import logging; told = []; logging.getLogger('lagom_magic').addHandler(handler := logging.Handler())\n"
        "handler.emit = lambda record: told.append(record.getMessage())\n"
        "publisher = NotebookPublisher(kernel_shell(), tuple(FACES), is_live=True, wants_widget=True)\n"
        "view = LiveView(run.folder, publisher, Backing(lambda: {}), Path('nowhere'))\n"
        "view.start()\n"
        "run.record([run_started(), RunEnded(RunState.COMPLETE)])\n"
        "view.wake()\n"
        "view.close()\n"
        "assert isinstance(view.error, FileNotFoundError) and 'cannot be made' in told[0], (view.error, told)"
    )
    assert set(front.displays[-1]["content"]["data"]) == {"text/html", "text/plain"}
    assert "· complete ·" in front.displays[-1]["content"]["data"]["text/plain"]


def test_an_output_that_cannot_be_shown_costs_the_run_nothing_and_is_told(front: FrontEnd) -> None:
    front.run(
        "class Broken(NotebookPublisher):\n"
        "    def show(self, bundle, is_final): raise ConnectionError('the front end is gone')\n"
        "view = LiveView(run.folder, Broken(kernel_shell(), tuple(FACES), True, True), Backing(lambda: {}), static)\n"
        "view.start()\n"
        "assert isinstance(view.error, ConnectionError)\n"
        "view.close()"
    )


def test_a_driver_that_crashed_is_shown_as_interrupted_and_is_let_go(front: FrontEnd) -> None:
    front.run(
        "import gc, weakref\n"
        "class Driver:\n"
        "    is_alive = True\n"
        "    def steer(self, record): pass\n"
        "def show_driven():\n"
        "    driver = Driver()\n"
        "    publisher = NotebookPublisher(kernel_shell(), tuple(FACES), is_live=True, wants_widget=True)\n"
        "    backing = Backing(lambda: {}, lambda: driver.is_alive, driver.steer)\n"
        "    view = LiveView(run.folder, publisher, backing, static)\n"
        "    view.start()\n"
        "    return view, weakref.ref(driver)\n"
        "view, driver = show_driven()"
    )
    front.run(GROW)
    assert front.ask("control", action="prune", trial_id=0)["text"].startswith("Trial 0 is asked")
    front.run("view.close(); assert view.conversation.follower.wait(20); gc.collect(); assert driver() is None")
    assert "interrupted" in front.displays[-1]["content"]["data"]["text/plain"]
    assert front.page.run["state"] == "FAILED"
    assert front.ask("control", action="stop", trial_id=None) == "run run has ended."


def test_a_view_that_is_left_shows_the_run_as_it_goes_on_and_still_talks(front: FrontEnd) -> None:
    front.run(SHOW)
    front.run(GROW)
    front.run("view.leave(); assert view.error is None")
    data = front.displays[-1]["content"]["data"]
    assert "RUNNING" in data["text/plain"]
    assert "interrupted" not in data["text/plain"] + data["text/html"]
    assert front.ask("control", action="prune", trial_id=0)["text"].startswith("Trial 0 is asked")
    front.run(END)


LAUNCH = """
from lagom_magic import Float, OptimizationConfig
from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.experiment import launch

def train(lr: Float(0, 1) = 0.5, reporter=None):
    print("hello from a trial")
    return {"score": lr}

def start(ui):
    config = OptimizationConfig(num_trials=2, workers=1, optimization_key="score")
    return launch(train, config, ui=ui, make_launcher=lambda kit, _, n: ProcessLauncher(kit, n))
"""


def test_a_launched_run_shows_its_widget_where_the_page_is_built_and_its_html_face_where_not(front: FrontEnd) -> None:
    front.run(LAUNCH)
    cell = front.run("done = start('auto')")
    data = front.displays[-1]["content"]["data"]
    text = "".join(m["content"]["text"] for m in front.messages if m["msg_type"] == "stream" and parent_of(m) == cell)
    assert "· complete · 2 of 2 trials" in data["text/plain"]
    assert ("application/vnd.jupyter.widget-view+json" in data) == is_built()
    assert ("hello from a trial" in text) == (not is_built())
    assert ("hello from a trial" in data["text/plain"]) == is_built()
    if is_built():
        assert front.ask("trial", trial_id=1)["metrics"].keys() == {"score"}
        assert front.ask("importance") == "importance needs 10 complete trials; this run has 2."
        assert front.ask("control", action="stop", trial_id=None) == f"run {front.run_id} has ended."
        assert "has ended" in front.ask("control", action="prune", trial_id=1)


def test_the_html_face_is_shown_alone_with_prints_on_stdout(front: FrontEnd) -> None:
    front.run(LAUNCH)
    front.run("done = start('html')")
    assert set(front.displays[-1]["content"]["data"]) == {"text/html", "text/plain"}
    assert any("hello from a trial" in m["content"]["text"] for m in front.messages if m["msg_type"] == "stream")


def test_messages_are_json_that_a_front_end_can_read(front: FrontEnd) -> None:
    front.run(
        SHOW + "\nrun.record([run_started(experiment='\\ud800'), *trial_facts(0, None, hparams={'x': float('nan')})])"
    )
    front.run("view.wake()" + END)
    assert front.page.trials[0]["hparams"] == {"x": "nan"}
    json.dumps(front.page.run)
