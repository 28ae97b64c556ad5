"""Asserts in the launchers' contract tell their values as those of tests do."""

import pytest

pytest.register_assert_rewrite("launcher_contract")
