"""Workers as plain processes."""

from __future__ import annotations

from launcher_contract import LauncherContract, Switchboard, kit

from lagom_magic.cluster.kit import WorkerKit
from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.driver.launcher import Launcher


class TestProcessLauncher(LauncherContract):
    """The launcher of tests keeps the contract."""

    def launcher(self, kit: WorkerKit, n_workers: int) -> Launcher:
        return ProcessLauncher(kit, n_workers)

    def test_a_worker_without_a_slot_waits_for_one(self, board: Switchboard) -> None:
        launcher = ProcessLauncher(kit(), n_workers=2, n_slots=1)
        try:
            for worker_id in (1, 2):
                launcher.start(board.ticket(worker_id), board.on_exit)
            first = board.next_worker()
            first.order("return")
            assert board.next_exit()[0] == first.hello["ticket"]["worker_id"]
            assert board.next_worker().hello["ticket"]["worker_id"] != first.hello["ticket"]["worker_id"]
            assert "at most 1" in launcher.describe_shortage()
        finally:
            launcher.close(timeout_s=10)

    def test_close_also_ends_the_wait_for_a_slot(self, board: Switchboard) -> None:
        launcher = ProcessLauncher(kit(), n_workers=1, n_slots=0)
        launcher.start(board.ticket(1), board.on_exit)
        launcher.close(timeout_s=10)
        assert board.next_exit() == (1, 1, "its process was ended")
