import math

import pytest

from lagom_magic.errors import ConfigError
from lagom_magic.spec.space import Categorical, Ordinal


@pytest.mark.parametrize("kind", [Categorical, Ordinal])
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_choice_that_json_cannot_hold_is_refused_with_a_way_out(kind: type[Categorical], value: float) -> None:
    with pytest.raises(ConfigError, match=f"the value {value} is not finite.* Use a name such as '{value}'"):
        kind([0.5, value])
