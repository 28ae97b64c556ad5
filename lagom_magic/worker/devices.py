"""Which GPUs a worker may see. Set in its trial process's environment, before anything can be imported there.

`cluster` asks `gpus_of_slot` on a local master, where Spark gives no addresses out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus(environment: Mapping[str, str], device_folder: str = "/dev") -> list[str]:
    """The GPUs of this machine that this process may use, as CUDA names them: an index or a UUID each."""
    if VISIBLE in environment:
        return [gpu.strip() for gpu in environment[VISIBLE].split(",") if gpu.strip() not in ("", "-1")]
    try:
        names = os.listdir(device_folder)
    except FileNotFoundError:
        return []
    return sorted((n[6:] for n in names if n.startswith("nvidia") and n[6:].isdigit()), key=int)


def gpus_of_slot(visible: Sequence[str], worker_index: int, gpus_per_worker: float | None) -> list[str]:
    """The GPUs of one of several workers that share a machine.

    Args:
        visible: the machine's GPUs.
        worker_index: which worker of this machine, from 0.
        gpus_per_worker: 2 = two each; 0.25 = four workers a GPU; 0 = none; None = one each, shared in turn when
            there are more workers.

    Raises:
        ConfigError: when `gpus_per_worker` is impossible or asks for more GPUs than there are.
    """
    from lagom_magic.errors import ConfigError  # the supervisor starts without it

    if gpus_per_worker is None:
        return [visible[worker_index % len(visible)]] if visible else []
    if gpus_per_worker < 0 or (gpus_per_worker > 1 and gpus_per_worker != int(gpus_per_worker)):
        raise ConfigError(f"--gpus-per-worker {gpus_per_worker:g}: give a whole number, or a share such as 0.25.")
    if gpus_per_worker == 0:
        return []
    if gpus_per_worker < 1:
        first, n_gpus = worker_index // int(1 / gpus_per_worker + 1e-9), 1
    else:
        n_gpus = int(gpus_per_worker)
        first = worker_index * n_gpus
    if first + n_gpus > len(visible):
        raise ConfigError(
            f"worker {worker_index + 1} with --gpus-per-worker {gpus_per_worker:g} needs GPU number {first + n_gpus}, "
            f"and this machine shows {len(visible)}. Use fewer --workers or a smaller --gpus-per-worker."
        )
    return list(visible[first : first + n_gpus])


def gpu_environment(gpus: Sequence[str] | None) -> dict[str, str]:
    """The environment variables of a process that may see `gpus`; None = whatever is visible already."""
    return {} if gpus is None else {VISIBLE: ",".join(gpus)}
