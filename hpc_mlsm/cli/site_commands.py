"""The commands about clusters: what they print, and their exit status."""

import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from hpc_mlsm.cli import site_tables, summaries
from hpc_mlsm.cli.network_tables import networks_table
from hpc_mlsm.cli.progress import make_listener
from hpc_mlsm.cli.site_tables import FindingsPrinter
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.config.site import SiteProfile, load_site
from hpc_mlsm.errors import ConfigError, PlanError
from hpc_mlsm.runtime.events import ignore
from hpc_mlsm.runtime.probes.finding import failed
from hpc_mlsm.runtime.probes.node import probe_node
from hpc_mlsm.runtime.probes.ranks import Kind, report_rank
from hpc_mlsm.runtime.sbatch import render_script
from hpc_mlsm.runtime.submit import job_states, read_jobs
from hpc_mlsm.stages import archive_plan, doctor, plan, site_plan, submit
from hpc_mlsm.stages.context import RunContext, open_run
from hpc_mlsm.stages.doctor_here import examine_machine
from hpc_mlsm.stages.run_directory import RunDirectory, resolve
from hpc_mlsm.stages.status import holder, run_status
from hpc_mlsm.stages.throughput import troubles, under_way


def run_doctor(site: str | None, run: Path | None, as_json: bool, wait_s: float) -> int:
    """Check this machine, or a site, and print each finding as it comes; 1 where one is a failure."""
    console = Console()
    printer = FindingsPrinter(console)
    findings = []

    def say(text: str) -> None:
        if as_json:
            print(text, file=sys.stderr)
        else:
            console.print(text, style="dim", highlight=False, soft_wrap=True)

    if site is None:
        found = examine_machine(run)
    else:
        directory = RunDirectory(run) if run else None
        config = directory.load() if directory and directory.config_file.exists() else RunConfig()
        found = doctor.examine_site(load_site(site), run, config, wait_s=wait_s, say=say)
    with _ended_by_sigterm():
        for finding in found:
            findings.append(finding)
            if not as_json:
                printer(finding)
    if as_json:
        print(json.dumps([finding.plain() for finding in findings], indent=1))
    else:
        printer.end()
    return int(failed(findings))


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the program as an exception does, so that a probe's job and files are taken back."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def doctor_node(folder: Path) -> None:
    """A compute node's part of doctor."""
    probe_node(folder)


def doctor_rank(folder: Path, kind: Kind) -> None:
    """A rank's part of doctor."""
    report_rank(folder, kind)


def show_plan(
    target: Path,
    run: Path | None,
    overrides: list[str],
    site: str | None,
    nodes: str,
    patterns: int | None = None,
) -> None:
    """Print the projection, for this machine or for a site; an error where the run cannot fit."""
    console = Console()
    directory, config = resolve(target, run, overrides)
    if config.predict.model is not None:
        _show_archive_plan(console, directory, config)
        return
    profile = load_site(site) if site else None
    counts = _counts(nodes)
    if counts and profile is None:
        raise ConfigError("--nodes compares numbers of nodes of a cluster: name it with --site")
    with make_listener(console) as display, open_run(directory, config, display) as context:
        if profile is None:
            planned = plan.run(context, patterns=patterns)
            console.print(summaries.plan_table(planned))
            networks = planned.networks
            refused = [planned.refusal] if planned.refusal else []
        else:
            found = site_plan.run(context, profile, counts, patterns=patterns)
            networks = found.networks
            site_tables.print_plan(console, found, profile.description or site or "")
            refused = list(found.refusals)
        if networks:
            console.print(networks_table(networks))
    if refused:
        raise PlanError(_does_not_fit(refused))


def _show_archive_plan(console: Console, directory: RunDirectory, config: RunConfig) -> None:
    planned = archive_plan.plan_archive(config, directory.path, config.predict.model or directory.model)
    console.print(summaries.archive_plan_table(planned))
    if planned.refusals:
        raise PlanError(_does_not_fit(list(planned.refusals)))


def _does_not_fit(refused: list[str]) -> str:
    return "the run does not fit:" + "".join(f"\n- {words}" for words in refused)


def _counts(text: str) -> list[int]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    wrong = [word for word in words if not word.isdigit() or int(word) < 1]
    if wrong:
        raise ConfigError(f"--nodes: {wrong[0]!r} is no number of nodes; write numbers such as 1,4,16")
    return [int(word) for word in words]


def submit_run(
    target: Path, site: str, run: Path | None, overrides: list[str], dry_run: bool, no_plan: bool = False
) -> None:
    """Submit the stages of a run as jobs, or print the scripts; what cannot fit is refused first."""
    directory, config = resolve(target, run, overrides)
    profile = load_site(site)
    jobs = submit.job_scripts(directory, config, profile)
    if dry_run:
        refused = [] if no_plan else _refusals_aside(directory, config, profile)
        for words in refused:
            print(f"# refused: {words}")
        for job in jobs:
            print(f"# ----- {job.path}\n{render_script(job)}")
        _refuse(refused)
        return
    console = Console()
    with submit.only_submission(directory):
        _refuse([] if no_plan else _refusals(directory, config, profile))
        chain = submit.submit(directory, config, jobs)
    for submitted in chain:
        console.print(
            f"{submitted.stage}: job {submitted.job_id}, log {submitted.log}", soft_wrap=True, highlight=False
        )
    console.print(f"follow it with: hpc-mlsm status {directory.path}", soft_wrap=True, highlight=False)


def _refuse(refused: list[str]) -> None:
    if refused:
        raise PlanError(f"{_does_not_fit(refused)}\nNothing was submitted; --no-plan submits it all the same")


def _refusals(directory: RunDirectory, config: RunConfig, site: SiteProfile) -> list[str]:
    """Why the run would not fit the site."""
    if config.predict.model is not None:
        return list(archive_plan.plan_archive(config, directory.path, config.predict.model).refusals)
    with make_listener(Console(stderr=True)) as display, open_run(directory, config, display) as context:
        return list(site_plan.run(context, site, [1]).refusals)


def _refusals_aside(directory: RunDirectory, config: RunConfig, site: SiteProfile) -> list[str]:
    """Why the run would not fit the site; leaves the run directory as it is, or is not."""
    if config.predict.model is not None:
        return _refusals(directory, config, site)
    with _aside(directory, config) as context:
        return list(site_plan.run(context, site, [1], disk=directory.path).refusals)


@contextmanager
def _aside(directory: RunDirectory, config: RunConfig) -> Iterator[RunContext]:
    """A run in a folder that goes again, with the catalogue of the real one where there is one, and its patterns."""
    with tempfile.TemporaryDirectory(prefix="hpc_mlsm-plan-") as name:
        aside = RunDirectory(Path(name))
        if directory.catalogue.exists():
            shutil.copy(directory.catalogue, aside.catalogue)
        for real, link in ((directory.patterns, aside.patterns), (directory.groups, aside.groups)):
            if real.is_dir():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(real.resolve())
        with open_run(aside, config, ignore) as context:
            yield context


def show_status(target: Path, run: Path | None, overrides: list[str]) -> None:
    """Print the state of every stage, how fast the present one is, what failed, and the jobs; nothing is written."""
    console = Console()
    directory, config = resolve(target, run, overrides)
    console.print(summaries.status_table(run_status(directory, config), directory.path))
    working = holder(directory)
    if working:
        console.print(working, highlight=False, soft_wrap=True)
    for stage in under_way(directory):
        console.print(site_tables.progress_line(stage), highlight=False, soft_wrap=True)
    for words in troubles(directory):
        console.print(words, style="yellow", highlight=False, soft_wrap=True, markup=False)
    if jobs := read_jobs(directory.path):
        console.print(summaries.jobs_table(job_states(jobs)))
