#!/usr/bin/env bash
# Install the package with what its tests need, and run all tests, several at a time. Arguments go to pytest, which then runs
# one at a time.
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
# Three processes for two cores: many tests wait for a cluster most of the time. Files that share what they made stay together.
processes=${HPC_MLSM_TEST_PROCESSES:-$(($(getconf _NPROCESSORS_ONLN) + 1))}
"$venv/bin/python" -m pytest --rerun-show-tracebacks \
    --numprocesses="$processes" --maxprocesses=8 --dist=loadfile --no-loadscope-reorder \
    --cov=hpc_mlsm --cov-branch --cov-report=term:skip-covered --cov-fail-under=85
