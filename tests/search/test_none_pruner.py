from search_contracts import PrunerContract

from lagom_magic.search.none_pruner import NonePruner


class TestNonePruner(PrunerContract):
    def make(self, direction):
        return NonePruner()


def test_nothing_is_pruned() -> None:
    pruner = NonePruner()
    assert not any(pruner.report(trial, step, -trial) for trial in range(5) for step in range(5))
