#!/usr/bin/env bash
# The whole job on this machine with the built-in structures: catalogue, PDFs, groups, training, evaluation, prediction.
# Usage: bash jobs/quickstart.sh [RUN_DIRECTORY]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
make_environment
run=${1:-$repository/runs/quickstart}
"$venv/bin/hpc-mlsm" run "$repository/configs/run/quickstart.yaml" --run "$run"
echo "open the report in a browser: $run/reports/report.html"
