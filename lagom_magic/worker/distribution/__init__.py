"""How one training function becomes the ranks of one training: a module a framework, behind `base.Distribution`."""

from __future__ import annotations

from lagom_magic.worker.distribution.base import Distribution, Place

#: Maggy's hyperparameters that say how a tuple of arrays is batched under TensorFlow.
BATCH_SIZES = ("train_batch_size", "test_batch_size")

FRAMEWORKS = ("torch", "tensorflow")


def make_distribution(place: Place, settings: dict[str, object]) -> Distribution:
    """The distribution that `settings["framework"]` names; imports nothing of that framework yet.

    Raises:
        ValueError: for an unknown framework.
    """
    match settings["framework"]:
        case "torch":
            from lagom_magic.worker.distribution.torch_ranks import TorchRanks

            return TorchRanks(place, settings)
        case "tensorflow":
            from lagom_magic.worker.distribution.tensorflow_ranks import TensorFlowRanks

            return TensorFlowRanks(place, settings)
        case unknown:
            raise ValueError(f"unknown framework {unknown!r}; known: {', '.join(FRAMEWORKS)}")
