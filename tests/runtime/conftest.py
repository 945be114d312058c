import pytest

# Tests that other modules take over are to say as much as their own when they fail.
pytest.register_assert_rewrite("launch_scenarios", "launched_checks")

from slurm_lab import slurm_lab  # noqa: E402, F401  (a fixture)
