#!/usr/bin/env bash
# Install the package with what its tests need, and run all tests. Arguments go to pytest.
# HPC_MLSM_CLUSTER_TESTS=1 also runs those on a real Slurm cluster; slurm/lab/cluster.sh install brings one.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../jobs/environment.sh"
extras=test
if [ "${HPC_MLSM_CLUSTER_TESTS:-}" = 1 ]; then extras=test,cluster,mpi,cnn-cpu; fi
make_environment "$extras"
cd "$repository"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} MPLBACKEND=Agg
if [ $# -gt 0 ]; then
    exec "$venv/bin/python" -m pytest "$@"
fi
"$venv/bin/python" -m pytest --cov=hpc_mlsm --cov-branch --cov-report=term:skip-covered --cov-fail-under=85
