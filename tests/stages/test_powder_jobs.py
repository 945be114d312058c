"""Jobs and plans of runs of powder patterns on a cluster, as text."""

from pathlib import Path

import pytest
from powder_runs import powder_config
from small_run import opened

from hpc_mlsm.config.load import parse_settings
from hpc_mlsm.config.site import SiteProfile, load_site
from hpc_mlsm.runtime.sbatch import render_script
from hpc_mlsm.stages import site_plan
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.submit import job_scripts


def test_a_chain_of_powder_jobs_has_no_group_and_cross_validates_on_the_nodes_given_for_it(
    tmp_path: Path,
) -> None:
    config = powder_config("predict.patterns=[measured]")
    jobs = job_scripts(RunDirectory(tmp_path, "powder"), config, load_site("cpu-cluster"))
    assert [job.stage for job in jobs] == ["ingest", "simulate", "train", "evaluate", "predict", "report"]
    script = render_script(jobs[3])
    assert "#SBATCH --nodes=2\n" in script
    assert "'executor.kind=\"runner\"'" in script
    assert "srun --kill-on-bad-exit=1 hpc-mlsm evaluate" in script
    without = powder_config("classify.cross_validate=false")
    (job,) = (
        one for one in job_scripts(RunDirectory(tmp_path), without, load_site("cpu-cluster")) if one.stage == "evaluate"
    )
    assert job.nodes == 1


@pytest.mark.parametrize("models", ["[forest, extra_trees]", "[forest, cnn]"])
def test_the_plan_for_a_site_projects_training_and_folds_of_powder_models(tmp_path: Path, models: str) -> None:
    config = powder_config(f"classify.models={models}", "train.forest.trees=250", "classify.folds.folds=10")
    site = parse_settings({"stages": {"cross_validate": {"walltime": "00:30:00"}}}, SiteProfile, "mine.yaml")
    with opened(tmp_path, config) as context:
        found = site_plan.run(context, site)
    needs = {need.stage: need for need in found.needs}
    assert list(needs) == ["ingest", "simulate", "train", "evaluate", "report"]
    assert needs["evaluate"].shape.key == "cross_validate"
    assert needs["evaluate"].shape.walltime_s == 1800
    assert needs["evaluate"].seconds > needs["train"].seconds
