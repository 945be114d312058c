#!/usr/bin/env bash
# Install the package with what its tests need, and run all tests. Arguments go to pytest.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../jobs/environment.sh"
make_environment test
cd "$repository"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} MPLBACKEND=Agg
if [ $# -gt 0 ]; then
    exec "$venv/bin/python" -m pytest "$@"
fi
"$venv/bin/python" -m pytest --cov=hpc_mlsm --cov-branch --cov-report=term:skip-covered --cov-fail-under=85
