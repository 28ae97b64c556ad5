"""One oblivious function under way on one rank: its models, its loaders, its random numbers, its checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lagom_magic.errors import ConfigError
from lagom_magic.worker.distribution.base import Place
from lagom_magic.worker.distribution.torch_batches import is_made_of
from lagom_magic.worker.distribution.torch_collectives import from_rank_0, gathered
from lagom_magic.worker.distribution.torch_loading import ShardedLoaders
from lagom_magic.worker.distribution.torch_models import Models, Replicated, Strategy
from lagom_magic.worker.distribution.torch_precision import dtype_of
from lagom_magic.worker.distribution.torch_random import RandomStreams, random_state, restore_random_state
from lagom_magic.worker.distribution.torch_shares import BatchWeight
from lagom_magic.worker.distribution.torch_states import as_saved, read, restore, write

if TYPE_CHECKING:
    import torch

#: In a checkpoint: what is ours, beside the user's objects.
_OWN = "lagom"


class TorchTraining:
    """Brings the parts together; lives while the function runs."""

    def __init__(self, place: Place, settings: Mapping[str, Any], *, test_set: Any) -> None:
        self._place = place
        self._test_set = test_set
        self._streams = RandomStreams(place.rank)
        self._weight = BatchWeight()
        self._strategy = self._made_strategy(settings)
        self._optimisers: list[torch.optim.Optimizer] = []
        self.models = Models(self._strategy, place.world_size)
        self._loaders = ShardedLoaders(
            place,
            self._streams,
            self._weight,
            evaluates=self._evaluates,
            before_use=self._before_use,
            before_step=self._before_step,
            after_epoch=self._after_epoch,
            on_stop=self.models.end_epoch,
        )

    def _made_strategy(self, settings: Mapping[str, Any]) -> Strategy:
        mixed_precision = settings.get("mixed_precision") or None
        if mixed_precision:
            dtype_of(mixed_precision)
        match settings.get("strategy") or "auto":
            case "fsdp":
                from lagom_magic.worker.distribution.torch_sharding import Sharded

                return Sharded(self._place, self._weight, mixed_precision)
            case "tp":
                from lagom_magic.worker.distribution.torch_tensor_parallel import TensorParallel

                return TensorParallel(self._place, mixed_precision)
            case _:
                return Replicated(self._place.world_size, self._weight, mixed_precision)

    @contextmanager
    def applied(self) -> Iterator[None]:
        from torch.optim.optimizer import register_optimizer_step_pre_hook

        self._synchronise_random_numbers()
        handle = register_optimizer_step_pre_hook(self._meet_optimiser)
        try:
            with self.models.watched(), self._loaders.patched():
                yield
        finally:
            handle.remove()

    def _synchronise_random_numbers(self) -> None:
        restore_random_state(from_rank_0(random_state()))

    def finish(self) -> None:
        """Looks at what the function has left behind, when it returned.

        Raises:
            RanksApartError: the ranks' models differ.
        """
        self._check_equal()

    @property
    def has_all_worked_alone(self) -> bool:
        """Whether every rank has trained on all rows, though they are to be shared out."""
        return self._strategy.shards_data and self._loaders.n_steps == 0 and bool(self._optimisers)

    def _evaluates(self, loader: Any) -> bool:
        import torch

        return (
            not self._strategy.shards_data
            or not torch.is_grad_enabled()
            or self.models.are_evaluating()
            or is_made_of(loader.dataset, self._test_set)
        )

    def _before_use(self) -> None:
        self.models.settle()
        if self._loaders.n_steps:
            self.models.sync_buffers()
        elif not self._streams.is_own and not self.models.are_evaluating():
            self._synchronise_random_numbers()  # the function may have seeded from the clock

    def _before_step(self) -> None:
        self.models.settle()
        if self._loaders.n_steps:
            self.models.sync_buffers(before_step=True)

    def _after_epoch(self) -> None:
        self.models.sync_buffers()
        self._check_equal()

    def _check_equal(self) -> None:
        settings = self._optimiser_settings()
        self.models.check_equal(
            {"settings of optimisers": settings, "random numbers outside of loops": self._streams.common_digest()}
        )

    def _meet_optimiser(self, optimiser: torch.optim.Optimizer, *_: Any) -> None:
        if not any(optimiser is known for known in self._optimisers):
            self._optimisers.append(optimiser)

    def _optimiser_settings(self) -> list[float]:
        """Learning rates and the like, which schedulers change."""
        return [
            float(value)
            for optimiser in self._optimisers
            for group in optimiser.param_groups
            for value in group.values()
            if isinstance(value, int | float)
        ]

    def model_states(self) -> dict[str, Any]:
        """{file name: state dict} on rank 0; all ranks must call it."""
        self.models.sync_buffers()
        modules = self.models.trained()
        names = ["model.pt"] if len(modules) == 1 else [f"model_{index}.pt" for index in range(len(modules))]
        return {name: self._whole_state(module) for name, module in zip(names, modules, strict=True)}

    def _whole_state(self, module: torch.nn.Module) -> Any:
        keeps = self._place.rank == 0
        with self._strategy.gathering(keeps=keeps):
            state = module.state_dict()
        return {name: as_saved(value, keeps=keeps, where=name) for name, value in state.items()} if keeps else None

    def save(self, path: str, objects: Mapping[str, Any]) -> None:
        """Writes a checkpoint on rank 0; all ranks must call it at the same place."""
        import torch

        self.models.sync_buffers()
        keeps = self._place.rank == 0
        content: dict[str, Any] = {}
        for name, thing in objects.items():
            if isinstance(thing, torch.nn.Module):
                content[name] = self._whole_state(thing)
            else:
                state = thing.state_dict() if hasattr(thing, "state_dict") else thing
                content[name] = as_saved(state, keeps=keeps, where=name)
        common, own = self._streams.states()
        own_states = gathered(own, self._place.world_size)
        if keeps:
            random = {"common": common, "own": own_states, "loaders": self._loaders.generator_states()}
            write(path, {_OWN: as_saved(random), "objects": content})
        gathered(None, self._place.world_size)  # nobody goes on before the file is there

    def load(self, path: str, objects: Mapping[str, Any]) -> dict[str, Any]:
        """Brings objects back, and returns the plain values."""
        content = read(path)
        own = content[_OWN]
        values: dict[str, Any] = {}
        for name, thing in objects.items():
            if hasattr(thing, "load_state_dict") and name not in content["objects"]:
                there = ", ".join(sorted(content["objects"])) or "nothing"
                raise ConfigError(f"The checkpoint has no {name!r}; it has: {there}.")
        for name, state in content["objects"].items():
            thing = objects.get(name)
            if hasattr(thing, "load_state_dict"):
                restore(thing, state)
            else:
                values[name] = state
        self._loaders.restore_generators(own["loaders"])
        rank = self._place.rank
        self._streams.restore(own["common"], own["own"][rank] if rank < len(own["own"]) else None)
        return values
