"""``hpc-mlsm submit`` as a user meets it: with a stand-in for Slurm's commands, and with a real cluster."""

import contextlib
import io
import itertools
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from slurm_lab import slurm_lab  # noqa: F401  (a fixture)

from hpc_mlsm.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
SITES = ("lab", "cpu-cluster", "gpu-cluster", "isolated-nodes")
STAGES = ["ingest", "simulate", "group", "train", "evaluate", "predict", "report"]
CONFIG = {
    "name": "metals",
    "select": {"allowed": ["Ni", "Cu", "Al", "Fe", "W", "Mg", "Si", "O"]},
    "simulate": {"variants": 12, "grid": {"r_max": 15.0}},
    "train": {"boosted": {"rounds": 5, "max_depth": 3}},
    "predict": {"samples": 2},
}

SBATCH = """#!/bin/bash
echo "sbatch $*" >>"$ASKED"
case ${@: -1} in *"${REFUSED:-nothing}.sh")
    echo "sbatch: error: Batch job submission failed: $REASON" >&2
    exit 1
esac
echo "$((100 + $(grep -c ^sbatch "$ASKED")));cluster"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a configuration, a site, and programs that stand in for Slurm's."""
    (tmp_path / "metals.yaml").write_text(yaml.safe_dump(CONFIG))
    (tmp_path / "site.yaml").write_text("partition: nowhere\naccount: crystals\nstages: {train: {memory: 9000G}}\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    queue = '#!/bin/bash\ncat "$QUEUE" 2>/dev/null || true\n'
    scancel = '#!/bin/bash\necho "scancel $*" >>"$ASKED"\n'
    for name, text in {"sbatch": SBATCH, "squeue": queue, "scancel": scancel}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return tmp_path


def hpc_mlsm(
    folder: Path, *arguments: object, slurm: bool = True, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """The program as a user runs it, but in this process, which has loaded its libraries already."""
    path = f"{folder / 'bin'}:/usr/bin:/bin" if slurm else str(folder)
    own = {"PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "TERM": "dumb", "HOME": str(folder)}
    own |= {"ASKED": str(folder / "asked"), "QUEUE": str(folder / "queue")}
    out, err, status = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["hpc-mlsm", *map(str, arguments)])
        for name, value in (own | environment).items():
            patch.setenv(name, value)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as ended:
                status = int(ended.code or 0)
    return subprocess.CompletedProcess(sys.argv, status, out.getvalue(), err.getvalue())


@pytest.mark.parametrize("site", SITES)
def test_a_dry_run_prints_valid_scripts_for_every_site_and_does_nothing_else(folder: Path, site: str) -> None:
    result = hpc_mlsm(folder, "submit", "metals.yaml", "--site", site, "--dry-run", slurm=False)
    assert result.returncode == 0, result.stderr
    scripts = result.stdout.split("# ----- ")[1:]
    assert [Path(script.splitlines()[0]).name for script in scripts] == [f"{stage}.sh" for stage in STAGES]
    for script in scripts:
        text = script.partition("\n")[2]
        assert text.startswith("#!/bin/bash\n#SBATCH --job-name=metals.")
        assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
    assert not (folder / "runs").exists()


def commands(folder: Path, site: str) -> dict[str, list[str]]:
    """The words that each stage's script runs."""
    result = hpc_mlsm(folder, "submit", "metals.yaml", "--site", site, "--dry-run", "--run", "my run")
    lines = [line for line in result.stdout.splitlines() if line.startswith("run_resumable ")]
    return dict(zip(STAGES, (shlex.split(line)[1:] for line in lines), strict=True))


def test_a_stage_is_started_as_its_executor_needs_it(folder: Path) -> None:
    lab, cpu, mpi = (commands(folder, site) for site in ("lab", "cpu-cluster", "isolated-nodes"))
    run = str(folder / "my run")
    assert lab["simulate"][:5] == [sys.executable, "-m", "hpc_mlsm.cli.main", "simulate", run]
    assert cpu["simulate"][:5] == ["srun", "--kill-on-bad-exit=1", "hpc-mlsm", "simulate", run]
    assert mpi["simulate"][:7] == ["mpirun", "-n", "384", "--map-by", "core", "hpc-mlsm", "simulate"]
    assert cpu["train"][:3] == ["hpc-mlsm", "train", run]
    assert 'executor.kind="runner"' in cpu["simulate"]
    assert 'executor.interface="ib0"' in cpu["simulate"]
    assert "executor.grace_s=480.0" in cpu["simulate"]


def test_workers_in_jobs_of_their_own_are_asked_for_as_the_stage_is(folder: Path) -> None:
    (folder / "jobs.yaml").write_text(
        "partition: long\nqos: high\nmodules: [gcc]\nactivate: [source x]\n"
        "stages: {simulate: {executor: slurm, workers: 8, account: them}}\n"
    )
    words = commands(folder, "jobs.yaml")["simulate"]
    asked = json.loads(next(word for word in words if word.startswith("executor.slurm=")).partition("=")[2])
    assert (asked["partition"], asked["account"], asked["sbatch"]) == ("long", "them", ["--qos=high"])
    assert asked["prologue"] == ["module load gcc", "source x"]
    assert (asked["walltime"], asked["queue_s"], asked["workers_per_job"]) == ("01:00:00", 86_400, 1)
    assert "executor.workers=8" in words


@pytest.mark.parametrize("site", SITES)
def test_the_options_that_a_script_passes_are_settings_that_there_are(folder: Path, site: str) -> None:
    for words in commands(folder, site).values():
        overrides = [word for pair in itertools.pairwise(words) if pair[0] == "--set" for word in ("--set", pair[1])]
        result = hpc_mlsm(folder, "submit", "metals.yaml", "--site", "lab", "--dry-run", *overrides)
        assert result.returncode == 0, result.stderr


def test_a_run_without_patterns_has_no_job_for_predict(folder: Path) -> None:
    result = hpc_mlsm(folder, "submit", "metals.yaml", "--site", "lab", "--dry-run", "--set", "predict.samples=0")
    assert "predict.sh" not in result.stdout
    assert "report.sh" in result.stdout


def test_each_job_waits_for_the_one_before_and_is_remembered(folder: Path) -> None:
    result = hpc_mlsm(folder, "submit", "metals.yaml", "--site", "site.yaml")
    assert result.returncode == 0, result.stderr
    asked = (folder / "asked").read_text().splitlines()
    run = folder / "runs" / "metals"
    first = f"sbatch --parsable {run}/jobs/ingest.sh"
    later = [
        f"sbatch --parsable --dependency=afterok:{101 + k} --kill-on-invalid-dep=yes {run}/jobs/{stage}.sh"
        for k, stage in enumerate(STAGES[1:])
    ]
    assert asked == [first, *later]
    jobs = json.loads((run / "jobs.json").read_text())
    assert [(job["stage"], job["job_id"]) for job in jobs] == list(zip(STAGES, map(str, range(101, 108)), strict=True))
    assert jobs[3]["log"] == str(run / "logs" / "train-104.log")
    assert (run / "run.yaml").is_file()
    assert (run / "logs").is_dir()


def test_status_shows_the_jobs_and_what_the_queue_says_of_them(folder: Path) -> None:
    hpc_mlsm(folder, "submit", "metals.yaml", "--site", "site.yaml")
    jobs = folder / "runs" / "metals" / "jobs"
    (folder / "queue").write_text(f"102|RUNNING|n1|{jobs}/simulate.sh\n103|PENDING|(Dependency)|{jobs}/group.sh\n")
    shown = [line.split() for line in hpc_mlsm(folder, "status", "runs/metals").stdout.splitlines()]
    rows = {words[1]: words for words in shown if len(words) > 7 and words[3].isdigit()}
    assert rows["ingest"][3:6:2] == ["101", "ended"]
    assert rows["simulate"][3:9:2] == ["102", "running", "n1"]
    assert rows["group"][3:9:2] == ["103", "pending", "(Dependency)"]
    without = hpc_mlsm(folder, "status", "runs/metals", slurm=False)
    assert without.returncode == 0
    assert "unknown" in without.stdout


def test_a_run_with_jobs_in_the_queue_is_not_submitted_again(folder: Path) -> None:
    hpc_mlsm(folder, "submit", "metals.yaml", "--site", "site.yaml")
    jobs = folder / "runs" / "metals" / "jobs"
    (folder / "queue").write_text(f"104|PENDING|(Priority)|{jobs}/train.sh\n105|RUNNING|n1|/another/evaluate.sh\n")
    result = hpc_mlsm(folder, "submit", "metals.yaml", "--site", "site.yaml")
    assert result.returncode == 1
    assert "104 (train, pending)" in result.stderr
    assert "scancel 104" in result.stderr
    assert len((folder / "asked").read_text().splitlines()) == 7
    (folder / "queue").write_text(f"104|COMPLETED|n1|{jobs}/train.sh\n")
    assert hpc_mlsm(folder, "submit", "metals.yaml", "--site", "site.yaml").returncode == 0


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        ("Invalid partition name specified", "#SBATCH --partition=nowhere"),
        ("Invalid account or account/partition combination specified", "#SBATCH --account=crystals"),
        ("Memory specification can not be satisfied", "#SBATCH --mem=9000G"),
        ("Requested time limit is invalid (missing or exceeds some limit)", "#SBATCH --time=01:00:00"),
    ],
)
def test_a_refusal_is_shown_with_its_line_and_takes_back_the_jobs_before(folder: Path, reason: str, line: str) -> None:
    result = hpc_mlsm(folder, "submit", "metals.yaml", "--site", "site.yaml", REFUSED="train", REASON=reason)
    assert result.returncode == 1
    assert reason in result.stderr
    assert line in result.stderr
    assert "jobs/train.sh" in result.stderr
    assert "submitted before it (101, 102, 103) were cancelled" in result.stderr
    assert (folder / "asked").read_text().splitlines()[-1] == "scancel 101 102 103"
    assert "Traceback" not in result.stderr


def test_where_slurm_is_not_installed_the_message_says_what_to_do(folder: Path) -> None:
    result = hpc_mlsm(folder, "submit", "metals.yaml", "--site", "lab", slurm=False)
    assert result.returncode == 1
    assert "sbatch is not on this machine; submit from a login node" in result.stderr


def test_an_unknown_site_is_refused_with_those_that_there_are(folder: Path) -> None:
    result = hpc_mlsm(folder, "submit", "metals.yaml", "--site", "mysite")
    assert result.returncode == 1
    assert "no site 'mysite'; known are cpu-cluster, gpu-cluster, isolated-nodes, lab" in result.stderr


def submitted(folder: Path, site: str, conf: Path, *overrides: str) -> dict[str, str]:
    """Submit to the real cluster; the numbers of the jobs by stage."""
    words = [word for override in overrides for word in ("--set", override)]
    result = real(folder, conf, "submit", "metals.yaml", "--site", site, *words)
    assert result.returncode == 0, result.stderr
    jobs = json.loads((folder / "runs" / "metals" / "jobs.json").read_text())
    return {job["stage"]: job["job_id"] for job in jobs}


def real(folder: Path, conf: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the program with the real cluster's commands."""
    return hpc_mlsm(folder, *arguments, slurm=True, PATH=os.environ["PATH"], SLURM_CONF=str(conf))


def field(job: str, name: str) -> str:
    """What the cluster says of a job."""
    shown = subprocess.run(["scontrol", "-o", "show", "job", job], capture_output=True, text=True, check=False).stdout
    return next((word.partition("=")[2] for word in shown.split() if word.startswith(f"{name}=")), "")


def wait_for(job: str, states: set[str], patience_s: float) -> str:
    """Wait until a job is in one of the states."""
    deadline = time.monotonic() + patience_s
    while (state := field(job, "JobState")) not in states:
        assert time.monotonic() < deadline, f"job {job} is {state}, not {states}"
        time.sleep(0.5)
    return state


def shorten(job: str, left_s: int = 30) -> None:
    """Lower a running job's limit to the first whole minute that leaves it so much time."""
    hours, minutes, seconds = map(int, field(job, "RunTime").split(":"))
    limit = (3600 * hours + 60 * minutes + seconds + left_s) // 60 + 1
    subprocess.run(["scontrol", "update", f"jobid={job}", f"timelimit={limit}"], check=True, capture_output=True)


ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}


@pytest.mark.slow
@pytest.mark.slurm
def test_a_chain_runs_to_its_report_on_a_real_cluster(folder: Path, slurm_lab: Path) -> None:  # noqa: F811
    odd = folder / "it's a run"
    odd.mkdir()
    (odd / "metals.yaml").write_text((folder / "metals.yaml").read_text())
    jobs = submitted(odd, "lab", slurm_lab)
    assert list(jobs) == STAGES
    assert wait_for(jobs["report"], ENDED, 300) == "COMPLETED"
    run = odd / "runs" / "metals"
    assert (run / "reports" / "report.html").is_file()
    assert (run / "predictions" / "predictions.csv").is_file()
    assert {path.stem for path in (run / "logs").glob("*.log")} == {f"{stage}-{jobs[stage]}" for stage in STAGES}
    assert real(odd, slurm_lab, "status", "runs/metals").stdout.count("completed") == 7


@pytest.mark.slurm
def test_a_refusal_of_a_real_cluster_is_shown_with_its_line(folder: Path, slurm_lab: Path) -> None:  # noqa: F811
    result = real(folder, slurm_lab, "submit", "metals.yaml", "--site", "site.yaml")
    assert result.returncode == 1
    assert "nvalid partition" in result.stderr
    assert "#SBATCH --partition=nowhere" in result.stderr
    (folder / "large.yaml").write_text("partition: batch\nstages: {train: {memory: 9000G}}\n")
    result = real(folder, slurm_lab, "submit", "metals.yaml", "--site", "large.yaml")
    assert result.returncode == 1
    assert "#SBATCH --mem=9000G" in result.stderr
    assert "were cancelled" in result.stderr


@pytest.mark.slow
@pytest.mark.slurm
def test_a_job_told_to_stop_before_its_walltime_drains_is_requeued_and_goes_on(
    folder: Path,
    slurm_lab: Path,  # noqa: F811
) -> None:
    pytest.importorskip("diffpy.pdffit2")
    small: dict[str, dict[str, object]] = {stage: {"memory": "2G"} for stage in STAGES}
    small["simulate"] |= {"cpus_per_task": 2, "walltime": "00:02:00"}
    (folder / "short.yaml").write_text(yaml.safe_dump({"signal_before_s": 20, "stages": small}))
    # The slowest engine, so that simulating takes longer than Slurm needs to look at its jobs' limits.
    slow = ("simulate.engine=pdffit2", "simulate.q_min=0", "train.boosted.rounds=2", "simulate.variants=500")
    jobs = submitted(folder, "short.yaml", slurm_lab, *slow)
    job = jobs["simulate"]
    shards = folder / "runs" / "metals" / "patterns" / "pdf"
    deadline = time.monotonic() + 500
    while not list(shards.glob("shard-*.h5")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    shorten(job)
    while field(job, "Restarts") in ("", "0"):
        assert time.monotonic() < deadline
        assert wait_for(job, {"PENDING", "RUNNING", "COMPLETING"}, 5)
        time.sleep(0.5)
    first = {path.name: path.stat().st_mtime_ns for path in shards.glob("shard-*.h5")}
    log = (folder / "runs" / "metals" / "logs" / f"simulate-{job}.log").read_text()
    assert "SIGUSR1: the program is asked to come to an end" in log
    assert "Run the same command again to resume" in log
    assert "is back in the queue" in log
    assert first
    subprocess.run(["scontrol", "update", f"jobid={job}", "timelimit=20"], check=True, capture_output=True)
    while field(job, "JobState") not in ENDED:
        assert time.monotonic() < deadline
        time.sleep(5)  # a node refuses a job that it has requeued only just now
        subprocess.run(["scontrol", "update", f"jobid={job}", "starttime=now"], capture_output=True, check=False)
    assert field(job, "JobState") == "COMPLETED"
    assert wait_for(jobs["report"], ENDED, 200) == "COMPLETED"
    assert {name: (shards / name).stat().st_mtime_ns for name in first} == first
    assert len(list(shards.glob("shard-*.h5"))) > len(first)


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.parametrize("tasks", [1, 3])
def test_one_job_runs_everything_on_the_cores_or_the_tasks_that_it_has(
    folder: Path,
    slurm_lab: Path,  # noqa: F811
    tasks: int,
) -> None:
    (folder / "bin" / "hpc-mlsm").write_text(f'#!/bin/bash\nexec {sys.executable} -m hpc_mlsm.cli.main "$@"\n')
    (folder / "bin" / "hpc-mlsm").chmod(0o755)
    (folder / "bin" / "sbatch").unlink()
    allocation = [f"--ntasks={tasks}", "--cpus-per-task=1", "--mem=3G"]
    arguments = ["metals.yaml", "--run", "my run", "--set", "executor.interface=lo"]
    environment = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    command = ["sbatch", "--wait", *allocation, str(ROOT / "slurm" / "run.sbatch"), *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    log = "".join(path.read_text() for path in folder.glob("hpc-mlsm-*.log"))
    assert done.returncode == 0, log
    assert "report:" in log
    assert "Traceback" not in log
    assert (folder / "my run" / "reports" / "report.html").is_file()
