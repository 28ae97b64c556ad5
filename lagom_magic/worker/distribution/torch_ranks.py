"""PyTorch's side of `%%lagom train`: makes a trial process one rank of a training whose function need not know.

A function that distributes by itself (torch.distributed, Accelerate, Lightning, Hugging Face's Trainer …) is found by
its code and left alone; it finds the variables that torchrun would set, and a store that is open already.

For an oblivious function, while it runs,

* what its `module` or `model` makes starts with rank 0's weights on all ranks, and is replicated (`ddp`, `auto`) or
  cut into shards (`fsdp`), in place;
* `DataLoader`s that train yield the rank's rows of each global batch, so the function's batch size stays that of one
  process; those that evaluate (over `test_set`, without gradients, or with all modules in eval mode) yield everything;
* losses are means over a batch: ranks count by their rows, so an update is that of one process, uneven tails included;
* batch normalisation normalises with the rank's own rows, and rank 0's running statistics are everyone's;
* loop bodies draw random numbers of the rank's own (dropout, noise), everything else common ones (order of the data).

Settings: `strategy` "auto" | "ddp" | "fsdp" | "tp", `backend` None | "gloo" | "nccl" …, `mixed_precision`
None | False | "bf16" | "fp16", `collective_timeout_s` > 0.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from lagom_magic.errors import ConfigError, nearest
from lagom_magic.worker.distribution.base import Distribution, Place
from lagom_magic.worker.distribution.torch_awareness import distributes_by_itself
from lagom_magic.worker.distribution.torch_batches import is_made_of
from lagom_magic.worker.distribution.torch_collectives import CollectiveError, is_of_another_rank, together
from lagom_magic.worker.distribution.torch_training import TorchTraining

STRATEGIES = ("auto", "ddp", "fsdp", "tp")
#: Names of the argument that takes the class or factory of the model.
MODULE_NAMES = ("module", "model")
DEFAULT_TIMEOUT_S = 600.0
#: How long a rank that has finished keeps the store open for the others.
LEAVE_TIMEOUT_S = 5.0
#: Linux's request for an interface's address (netdevice(7)).
_SIOCGIFADDR = 0x8915


class TorchRanks(Distribution):
    """One rank of a torch training."""

    def __init__(self, place: Place, settings: Mapping[str, Any]) -> None:
        super().__init__(place, settings)
        self._timeout = timedelta(seconds=float(settings.get("collective_timeout_s") or DEFAULT_TIMEOUT_S))
        self._store: Any = None
        self._address: tuple[str, int] | None = None
        self._training: TorchTraining | None = None
        self._environment: dict[str, str | None] = {}
        self._excepthook: Callable[..., Any] | None = None
        self._is_finished = False

    def prepare(self) -> str:
        import torch.distributed as dist

        strategy = self.settings.get("strategy") or "auto"
        if strategy not in STRATEGIES:
            raise ConfigError(
                f"unknown strategy {strategy!r} for torch; known: {', '.join(STRATEGIES)}."
                f"{nearest(strategy, STRATEGIES)}"
            )
        if self.place.rank != 0:
            return f"{self.place.host}:0"
        self._store = dist.TCPStore(
            self.place.host, 0, self.place.world_size, True, timeout=self._timeout, wait_for_workers=False
        )
        return f"{self.place.host}:{self._store.port}"

    def join(self, addresses: Sequence[str]) -> None:
        import torch.distributed as dist

        host, _, port = addresses[0].rpartition(":")
        self._address = (host, int(port))
        if self.place.rank != 0:
            self._store = dist.TCPStore(
                host, int(port), self.place.world_size, False, timeout=self._timeout, wait_for_workers=False
            )
        self._set_environment([address.rpartition(":")[0] for address in addresses])

    def _set_environment(self, hosts: Sequence[str]) -> None:
        """What torchrun would tell a script; the store is the one that rank 0 has opened (AGENT_STORE)."""
        assert self._address is not None
        rank, world_size = self.place.rank, self.place.world_size
        nodes = list(dict.fromkeys(hosts))
        node = hosts[rank]
        variables: dict[str, Any] = {
            "RANK": rank,
            "WORLD_SIZE": world_size,
            "LOCAL_RANK": hosts[:rank].count(node),
            "LOCAL_WORLD_SIZE": hosts.count(node),
            "GROUP_RANK": nodes.index(node),
            "GROUP_WORLD_SIZE": len(nodes),
            "ROLE_RANK": rank,
            "ROLE_WORLD_SIZE": world_size,
            "ROLE_NAME": "default",
            "MASTER_ADDR": self._address[0],
            "MASTER_PORT": self._address[1],
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RESTART_COUNT": 0,
            "TORCHELASTIC_MAX_RESTARTS": 0,
            "TORCHELASTIC_RUN_ID": "lagom",
        }
        # Else gloo listens where the host's name leads, which may be an address that no other host reaches.
        interface = interface_of(self.place.host)
        if interface and "GLOO_SOCKET_IFNAME" not in os.environ:
            variables["GLOO_SOCKET_IFNAME"] = interface
        self._environment = {name: os.environ.get(name) for name in variables}
        os.environ.update({name: str(value) for name, value in variables.items()})

    @contextmanager
    def applied(self, train_fn: Callable[..., Any], given: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        if (reason := distributes_by_itself(train_fn)) is not None:
            self.leave_alone(reason)
            yield self.shared_out(given, has_all_rows=True)
            return
        given = self.shared_out(given, has_all_rows=self.settings.get("strategy") == "tp")
        names = [name for name in MODULE_NAMES if given.get(name) is not None]
        if not names:
            function = getattr(train_fn, "__name__", "the function")
            raise ConfigError(
                f"{function} takes no `module` (or `model`) and does not distribute by itself, so its "
                f"{self.place.world_size} ranks would train apart. Let it take the class of its model as the argument "
                f"`module`, build the model with `module(…)`, and name the class with --module."
            )
        self._start_group()
        with ExitStack() as stack:
            self._training = TorchTraining(self.place, self.settings, test_set=_test_set_of(given))
            stack.callback(self._end_training)
            stack.enter_context(self._training.applied())
            try:
                yield {**given, **{name: self._training.models.factories(given[name]) for name in names}}
                self._finish()
                if self._training.has_all_worked_alone:
                    self.warn(
                        "no DataLoader was iterated for training, so every rank has done all of the work. What a "
                        "torch.utils.data.DataLoader yields while a module is in training mode is shared out."
                    )
            except CollectiveError as error:
                raise CollectiveError(f"{error}{self._who_returned()}") from error

    def _finish(self) -> None:
        """What is to be seen when the function has returned on all ranks; once."""
        if self._training is not None and not self._is_finished:
            self._await_returns()
            self._training.finish()
            self._is_finished = True

    def _await_returns(self) -> None:
        """Waits until the function has returned on all ranks, in words of its own rather than in a collective."""
        self._store.set(_returned(self.place.rank), "")
        with together("the training function"):
            self._store.wait([_returned(rank) for rank in range(self.place.world_size)], self._timeout)

    def _who_returned(self) -> str:
        """Which of the other ranks are through, for the message of one that waits in vain."""
        ranks = [rank for rank in range(self.place.world_size) if rank != self.place.rank]
        try:
            returned = [rank for rank in ranks if self._store.check([_returned(rank)])]
        except RuntimeError:  # the store was rank 0's, and is gone with it
            return ""
        names = ", ".join(f"rank {rank}" for rank in returned)
        return f"\nThe function has returned on {names} already." if returned else ""

    def _end_training(self) -> None:
        self._training = None

    def _start_group(self) -> None:
        import torch
        import torch.distributed as dist

        self._excepthook = sys.excepthook  # init_process_group puts its own there, and leaves it
        backend = self.settings.get("backend")
        if torch.cuda.is_available():
            torch.cuda.set_device(0)  # CUDA_VISIBLE_DEVICES shows this rank's alone
            if backend in (None, "nccl"):
                backend = "cpu:gloo,cuda:nccl"  # tensors of both kinds are exchanged
        dist.init_process_group(
            backend or "gloo",
            store=dist.PrefixStore("lagom", self._store),
            rank=self.place.rank,
            world_size=self.place.world_size,
            timeout=self._timeout,
        )

    def save_model(self, folder: str) -> bool:
        """Writes `model.pt`, a state dict, or `model_0.pt`, `model_1.pt` … for a list of modules."""
        if self._training is None:
            return False
        self._finish()
        from lagom_magic.worker.distribution.torch_states import write

        for name, state in self._training.model_states().items():
            if self.place.rank == 0:
                Path(folder).mkdir(parents=True, exist_ok=True)
                write(str(Path(folder) / name), state)
        return True

    def save_checkpoint(self, path: str, objects: Mapping[str, Any]) -> None:
        self._needed_training("save_checkpoint").save(path, objects)

    def load_checkpoint(self, path: str, objects: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._needed_training("load_checkpoint").load(path, objects)

    def _needed_training(self, what: str) -> TorchTraining:
        if self._training is None:
            raise ConfigError(f"{what} works in functions that do not distribute by themselves; this one saves its own")
        return self._training

    def is_consequence(self, error: BaseException) -> bool:
        return is_of_another_rank(error)

    def leave(self) -> None:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()
        if self._excepthook is not None:
            sys.excepthook = self._excepthook
        if self._store is not None:
            self._wait_for_others()
            self._store = None
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._environment.clear()

    def _wait_for_others(self) -> None:
        """Keeps rank 0's store open until all have left, or for a moment when some never will."""
        import torch.distributed as dist

        with suppress(dist.DistError, RuntimeError, socket.error):  # the others may have gone for good
            if self._store.add("lagom/left", 1) == self.place.world_size:
                self._store.set("lagom/all-left", "")
            elif self.place.rank == 0:
                self._store.wait(["lagom/all-left"], timedelta(seconds=LEAVE_TIMEOUT_S))


def interface_of(address: str) -> str:
    """The network interface that has an IPv4 address, such as "eth0"; "" when none has it, or it cannot be told."""
    if sys.platform != "linux":
        return ""
    import fcntl
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(sock, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:  # one without such an address
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return ""


def _returned(rank: int) -> str:
    return f"lagom/returned/{rank}"


def _test_set_of(given: Mapping[str, Any]) -> Any:
    """What loaders for evaluation iterate; None when it is what the function trains on, too."""
    test_set = given.get("test_set")
    return None if is_made_of(given.get("train_set"), test_set) else test_set
