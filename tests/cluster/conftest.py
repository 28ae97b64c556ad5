"""The Spark fixtures, which live in tests/support so that other packages' tests can use them too."""

import pytest

pytest.register_assert_rewrite("launcher_contract")

from spark_sessions import _last_session_stops, on_local_spark, on_standalone_spark  # noqa: E402 - after the rewrite
from standalone import standalone_cluster  # noqa: E402

__all__ = ["_last_session_stops", "on_local_spark", "on_standalone_spark", "standalone_cluster"]
