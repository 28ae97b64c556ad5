"""What a sampler takes as given when a run is resumed; for those that cannot suggest the same again."""

from __future__ import annotations

from lagom_magic.errors import ConfigError
from lagom_magic.events.facts import HParams
from lagom_magic.search.base import Suggestion
from lagom_magic.spec.space import Searchspace


def as_given(space: Searchspace, trial_id: int, hparams: HParams) -> Suggestion:
    """The suggestion of a trial of the run that is resumed.

    Raises:
        ConfigError: when the space has no such values.
    """
    for name, value in hparams.items():
        if name not in space or not space[name].contains(value):
            raise ConfigError(
                f"the run that is resumed has {name}={value!r} in trial {trial_id}, which its search space has not. "
                "Give it the space that it had."
            )
    return Suggestion(dict(hparams))
