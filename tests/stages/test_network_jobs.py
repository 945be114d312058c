"""Jobs that train networks, as text."""

from pathlib import Path

from network_runs import network_config

from hpc_mlsm.config.load import parse_settings
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.config.site import SiteProfile, load_site
from hpc_mlsm.runtime.sbatch import JobScript, render_script
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.submit import job_scripts


def training_job(folder: Path, config: RunConfig, site: SiteProfile) -> JobScript:
    (job,) = (one for one in job_scripts(RunDirectory(folder), config, site) if one.stage == "train")
    return job


def test_on_gpu_nodes_each_rank_gets_a_gpu_and_a_lost_rank_brings_the_job_back(tmp_path: Path) -> None:
    script = render_script(training_job(tmp_path, network_config(), load_site("gpu-cluster")))
    for line in ("--nodes=2", "--ntasks-per-node=4", "--cpus-per-task=16", "--gres=gpu:a100:4", "--partition=gpu"):
        assert f"#SBATCH {line}\n" in script
    assert "run_resumable srun --kill-on-bad-exit=0 hpc-mlsm train" in script
    assert "'executor.interface=\"hsn0\"'" in script
    assert "'executor.kind=\"local\"'" in script
    assert "one of the tasks was ended by signal" in script


def test_mpirun_starts_all_ranks_where_the_site_says_so(tmp_path: Path) -> None:
    raw = {"launcher": "mpirun", "stages": {"train_networks": {"nodes": 2, "tasks_per_node": 4}}}
    job = training_job(tmp_path, network_config(), parse_settings(raw, SiteProfile, "mine.yaml"))
    assert job.command[:3] == ("mpirun", "-n", "8")


def test_runs_without_a_network_and_sites_without_ranks_start_one_process(tmp_path: Path) -> None:
    trees = training_job(tmp_path, RunConfig(), load_site("gpu-cluster"))
    assert (trees.command[0], trees.nodes, trees.gpus, trees.resumes_when_killed) == ("hpc-mlsm", 1, 1, False)
    alone = training_job(tmp_path, network_config(), load_site("cpu-cluster"))
    assert (alone.command[0], alone.nodes, alone.tasks_per_node) == ("hpc-mlsm", 1, 1)
