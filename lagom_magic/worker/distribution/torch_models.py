"""The models of an oblivious function: their factories, made so that each product trains on all ranks."""

from __future__ import annotations

import functools
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lagom_magic.errors import ConfigError
from lagom_magic.worker.distribution.torch_collectives import RanksApartError, broadcast_all, gathered_numbers
from lagom_magic.worker.distribution.torch_precision import in_mixed_precision
from lagom_magic.worker.distribution.torch_reducer import GradientReducer
from lagom_magic.worker.distribution.torch_shares import BatchWeight

if TYPE_CHECKING:
    import torch


class Strategy(ABC):
    """How one module becomes that of all ranks; in place, so that it stays the object that its user made."""

    #: Whether ranks train on different rows.
    shards_data = True

    @abstractmethod
    def adopt(self, module: torch.nn.Module) -> None:
        """Makes a module ready before an optimiser sees its parameters; equal on all ranks from here on.

        Raises:
            ConfigError: it cannot be one of this strategy.
        """

    @abstractmethod
    def settle(self, module: torch.nn.Module) -> None:
        """Looks after parameters and modules that were added since."""

    @abstractmethod
    def verify(self, module: torch.nn.Module) -> None:
        """Raises AssertionError unless what runs is what was asked for."""

    def n_passes(self, module: torch.nn.Module) -> int:
        """How many backward passes have gone through a module, as far as the strategy sees them."""
        return 0

    @contextmanager
    def gathering(self, *, keeps: bool) -> Iterator[None]:
        """In this block `state_dict()` is whole on ranks that keep it; all ranks must call it."""
        yield

    def close(self) -> None:  # noqa: B027
        """Takes off what was put on modules."""


class Replicated(Strategy):
    """Each rank holds the whole module (`ddp`); gradients are averaged in backward."""

    def __init__(self, world_size: int, weight: BatchWeight, mixed_precision: str | None) -> None:
        self._world_size = world_size
        self._weight = weight
        self._mixed_precision = mixed_precision
        self._reducers: dict[int, GradientReducer] = {}

    def adopt(self, module: torch.nn.Module) -> None:
        import torch
        import torch.distributed as dist

        for part in module.modules():
            if isinstance(part, torch.nn.Embedding | torch.nn.EmbeddingBag) and part.sparse:
                raise ConfigError(
                    f"{type(module).__name__} has an embedding with sparse=True, whose gradients %%lagom train does "
                    "not average. Use sparse=False."
                )
        group = dist.new_group() if self._reducers else None  # the order of messages is each reducer's own
        reducer = GradientReducer(self._world_size, self._weight, group)
        reducer.watch(module.parameters())
        self._reducers[id(module)] = reducer
        broadcast_all([*module.parameters(), *module.buffers()])
        if self._mixed_precision:
            in_mixed_precision(module, self._mixed_precision)

    def settle(self, module: torch.nn.Module) -> None:
        if self._reducers[id(module)].watch(module.parameters()):
            broadcast_all([*module.parameters(), *module.buffers()])

    def n_passes(self, module: torch.nn.Module) -> int:
        return self._reducers[id(module)].n_passes

    def verify(self, module: torch.nn.Module) -> None:
        n_watched = self._reducers[id(module)].n_watched
        assert n_watched >= len(list(module.parameters())), "not all parameters are reduced"

    def close(self) -> None:
        for reducer in self._reducers.values():
            reducer.close()
        self._reducers.clear()


class Models:
    """All modules that the factories of one function made on this rank."""

    def __init__(self, strategy: Strategy, world_size: int) -> None:
        self._strategy = strategy
        self._world_size = world_size
        #: (number of its factory, module), as they were made: an order that is the same on all ranks.
        self._products: list[tuple[int, torch.nn.Module]] = []
        #: Backward passes of each product when the last epoch of training had ended.
        self._n_passes: list[int] = []
        #: The products that this epoch trained.
        self._trained: list[torch.nn.Module] = []
        #: Those whose buffers are more than running statistics; None = to be looked up.
        self._with_other_buffers: list[torch.nn.Module] | None = None
        self._has_additions = False
        self._is_making = False

    def factories(self, given: Any) -> Any:
        """What the function gets in place of the class, factory or list of them that it was given."""
        if isinstance(given, list | tuple):
            return type(given)(self._factory(make, index) for index, make in enumerate(given))
        return self._factory(given, 0)

    def _factory(self, make: Any, index: int) -> Any:
        import torch

        if isinstance(make, torch.nn.Module) or not callable(make):
            raise ConfigError(
                f"the module of %%lagom train is a {type(make).__name__} instance, and a class or a factory is needed: "
                "each rank makes its own. Give the class itself, or `lambda: Net(…)`."
            )
        if isinstance(make, type):
            return _class_of_adopted(make, lambda product: self._adopted(product, index), self._made)

        @functools.wraps(make, updated=())
        def factory(*args: Any, **kwargs: Any) -> Any:
            with self._made():
                product = make(*args, **kwargs)
            return self._adopted(product, index)

        return factory

    @contextmanager
    def _made(self) -> Iterator[None]:
        """Modules are registered in this block because one is made, not because one is changed."""
        was_making, self._is_making = self._is_making, True
        try:
            yield
        finally:
            self._is_making = was_making

    def _adopted(self, product: Any, index: int) -> Any:
        import torch

        if not isinstance(product, torch.nn.Module):
            kind = type(product)
            is_keras = kind.__module__.partition(".")[0] in ("keras", "tf_keras")
            fix = ". It is Keras': use --strategy mirrored, or leave --strategy out" if is_keras else ""
            raise ConfigError(f"the factory of the module returned a {kind.__name__}, not a torch.nn.Module{fix}")
        if self._is_making or any(product is known for known in self):
            return product
        name = type(product).__name__
        if not any(parameter.requires_grad for parameter in product.parameters()):
            raise ConfigError(f"{name} has no parameters to train, so there is nothing that ranks could share")
        if any(torch.nn.parameter.is_lazy(tensor) for tensor in [*product.parameters(), *product.buffers()]):
            raise ConfigError(
                f"{name} has lazy parameters, whose shapes are not known yet. Let the factory run a batch through it, "
                "or give the sizes."
            )
        with self._made():
            self._strategy.adopt(product)
        self._strategy.verify(product)
        self._products.append((index, product))
        self._with_other_buffers = None
        return product

    def __iter__(self) -> Iterator[torch.nn.Module]:
        return (module for _, module in self._products)

    def trained(self) -> list[torch.nn.Module]:
        """What each factory made last."""
        return [module for _, module in sorted(dict(self._products).items())]

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Notices modules, parameters and buffers that are added anywhere, until the end of the block."""
        from torch.nn.modules import module as hooks

        def note(*_: Any) -> None:
            if not self._is_making and self._products:
                self._has_additions = True
                self._with_other_buffers = None

        handles = [
            hooks.register_module_module_registration_hook(note),
            hooks.register_module_parameter_registration_hook(note),
            hooks.register_module_buffer_registration_hook(note),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._strategy.close()

    def settle(self) -> None:
        """Makes layers that were added to a module after its factory had made it part of the training."""
        if not self._has_additions:
            return
        self._has_additions = False
        for module in self:
            self._strategy.settle(module)
            self._strategy.verify(module)

    def are_evaluating(self) -> bool:
        """Whether no module is in training mode; before any is made, too.

        Those that were trained once and not in the last epoch do not count: nobody may use them any more.
        """
        new = [module for _, module in self._products[len(self._n_passes) :]]
        untrained = [module for n_passes, module in zip(self._n_passes, self, strict=False) if n_passes == 0]
        return not any(module.training for module in [*self._trained, *untrained, *new])

    def end_epoch(self) -> None:
        """Takes note of which modules were trained since the last time."""
        n_passes = [self._strategy.n_passes(module) for module in self]
        before = self._n_passes + [0] * (len(n_passes) - len(self._n_passes))
        trained = [module for module, now, then in zip(self, n_passes, before, strict=True) if now > then]
        self._n_passes = n_passes
        self._trained = trained or self._trained

    def sync_buffers(self, *, before_step: bool = False) -> None:
        """Gives all ranks the buffers of rank 0, as running statistics of batch normalisation.

        Those are read in evaluation only, so before a step that trains only other buffers make this necessary.
        """
        if not before_step:
            chosen = list(self)
        elif self._with_other_buffers is None:
            chosen = [module for module in self if len(list(module.buffers())) > _n_running_statistics(module)]
            self._with_other_buffers = chosen
        else:
            chosen = self._with_other_buffers
        for module in chosen:
            broadcast_all(module.buffers())

    def check_equal(self, other: Mapping[str, Any]) -> None:
        """Finds out whether ranks have drifted apart, by one small message.

        Args:
            other: {what: value} that must be equal too, beside the weights.

        Raises:
            RanksApartError: they have.
        """
        checked = {"weights": [_checksum(module) for module in self], **other}
        digests = [_digest(value) for value in checked.values()]
        of_ranks = gathered_numbers(digests, self._world_size)
        for index, what in enumerate(checked):
            apart = [rank for rank, numbers in enumerate(of_ranks) if numbers[index] != of_ranks[0][index]]
            if apart:
                raise RanksApartError(
                    f"The ranks no longer train the same model: {what} of rank {apart[0]} differ from those of rank 0. "
                    "Something in the training function is different on each rank, such as a learning rate that "
                    "follows the loss of the rank's own rows, an update of weights that does not go through "
                    "`backward()`, or a seed from the clock."
                )


def _n_running_statistics(module: torch.nn.Module) -> int:
    from torch.nn.modules.batchnorm import _NormBase

    return sum(len(list(part.buffers(recurse=False))) for part in module.modules() if isinstance(part, _NormBase))


def _digest(value: Any) -> int:
    return int.from_bytes(hashlib.blake2b(repr(value).encode(), digest_size=7).digest())


def _checksum(module: torch.nn.Module) -> int:
    """A number that differs when a bit of the parameters does, but for coincidence; 0 for parameters in shards."""
    import torch
    from torch.distributed.tensor import DTensor

    integers = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    total = 0
    for index, parameter in enumerate(module.parameters()):
        if not isinstance(parameter, DTensor) and parameter.element_size() in integers:
            bits = parameter.detach().contiguous().view(integers[parameter.element_size()])
            total += (index + 1) * int(bits.sum(dtype=torch.int64).item())
    return total


def _class_of_adopted(cls: type, adopted: Callable[[Any], Any], made: Callable[[], Any]) -> type:
    """A class that is `cls` to its user, but that what it makes is adopted: it is called, asked and inherited from."""

    class Adopting(type(cls)):  # type: ignore[misc]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            with made():
                product = cls(*args, **kwargs) if self is seen else super().__call__(*args, **kwargs)
            return adopted(product)

        def __instancecheck__(self, thing: object) -> bool:
            return type.__instancecheck__(cls if self is seen else self, thing)

        def __subclasscheck__(self, kind: type) -> bool:
            return type.__subclasscheck__(cls if self is seen else self, kind)

    members = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    seen: type = Adopting(cls.__name__, (cls,), members)
    return seen
