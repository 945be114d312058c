"""The program ``hpc-mlsm``. Stages are imported by the command that needs them, so that help answers at once."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from hpc_mlsm import __version__
from hpc_mlsm.cli.arguments import Overrides, Run, Target
from hpc_mlsm.cli.catalog_commands import catalog_app
from hpc_mlsm.errors import HpcMlsmError

app = typer.Typer(
    name="hpc-mlsm",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From crystal structures to trained classifiers, and from measured patterns to ranked structures.",
)
app.add_typer(catalog_app, name="catalog")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"hpc-mlsm {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def run(target: Target, run: Run = None, overrides: Overrides = None) -> None:
    """Run all stages; what is there already is not done again."""
    from hpc_mlsm.cli.commands import run_all

    run_all(target, run, overrides or [])


@app.command()
def ingest(target: Target, run: Run = None, overrides: Overrides = None) -> None:
    """Read structures (starter set, folders of CIFs) into the catalogue."""
    _stage("ingest", target, run, overrides)


@app.command()
def simulate(target: Target, run: Run = None, overrides: Overrides = None) -> None:
    """Simulate the patterns of all structures into the store."""
    _stage("simulate", target, run, overrides)


@app.command()
def group(target: Target, run: Run = None, overrides: Overrides = None) -> None:
    """Group structures whose patterns correlate."""
    _stage("group", target, run, overrides)


@app.command()
def train(target: Target, run: Run = None, overrides: Overrides = None) -> None:
    """Train the classifier."""
    _stage("train", target, run, overrides)


@app.command()
def evaluate(target: Target, run: Run = None, overrides: Overrides = None) -> None:
    """Score the classifier and its baselines on test patterns."""
    _stage("evaluate", target, run, overrides)


@app.command()
def predict(
    target: Annotated[
        Path, typer.Argument(metavar="CONFIG|RUN|BUNDLE", help="A run, or the folder of a trained model.")
    ],
    patterns: Annotated[list[Path] | None, typer.Argument(help="Pattern files or folders of them.")] = None,
    run: Run = None,
    overrides: Overrides = None,
    require: Annotated[str, typer.Option(help="Elements that must be present, such as Fe,O.")] = "",
    allow: Annotated[str, typer.Option(help="No other elements than these.")] = "",
    exclude: Annotated[str, typer.Option(help="Elements that must not be present.")] = "",
    space_groups: Annotated[str, typer.Option(help="Space-group numbers to choose from, such as 225,227.")] = "",
    top: Annotated[int | None, typer.Option(min=1, help="Candidates to list for each pattern.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the tables; the run's predictions by default.")] = None,
    wavelength: Annotated[
        float | None, typer.Option(help="Powder: Å, where the files do not state it.", rich_help_panel="Powder")
    ] = None,
    axis: Annotated[
        str | None, typer.Option(help="What 2θ files hold: auto, degrees, radians or q.", rich_help_panel="Powder")
    ] = None,
    background: Annotated[
        str | None, typer.Option(help="How it is removed: snip, arpls or none.", rich_help_panel="Powder")
    ] = None,
    strip_k_alpha2: Annotated[
        bool | None, typer.Option("--strip-k-alpha2", help="Remove Kα2 lines.", rich_help_panel="Powder")
    ] = None,
    min_peaks: Annotated[
        int | None, typer.Option(help="Fewer peaks in range get no answer.", rich_help_panel="Powder")
    ] = None,
) -> None:
    """Name the structures, or of powder patterns the crystal systems, that measured patterns may come from."""
    from hpc_mlsm.cli.commands import predict_patterns

    filters = {"required": require, "allowed": allow, "excluded": exclude, "space_groups": space_groups}
    powder = {
        "wavelength": wavelength,
        "axis": axis,
        "background": background,
        "strip_k_alpha2": strip_k_alpha2,
        "min_peaks": min_peaks,
    }
    predict_patterns(target, patterns or [], run, overrides or [], filters, top, out, powder)


@app.command()
def refine(
    targets: Annotated[
        list[str],
        typer.Argument(metavar="RUN|PATTERNS…", help="A run; or files, folders, a zip or tar file, file.h5::/dataset."),
    ],
    structure: Annotated[
        list[Path] | None,
        typer.Option("--structure", metavar="CIF", help="Refine this structure; several are phases of one sample."),
    ] = None,
    run: Run = None,
    overrides: Overrides = None,
    plan_only: Annotated[bool, typer.Option("--plan", help="Say what the budget buys, and refine nothing.")] = False,
) -> None:
    """Refine structures against measured PDFs: cells, displacements, sizes, with uncertainties and R_w."""
    from hpc_mlsm.cli.refine_commands import refine_patterns

    refine_patterns(targets, structure or [], run, overrides or [], plan_only)


@app.command()
def report(target: Target, run: Run = None, overrides: Overrides = None) -> None:
    """Write the HTML report of what the run holds."""
    _stage("report", target, run, overrides)


@app.command()
def update(target: Target, run: Run = None, overrides: Overrides = None) -> None:
    """Bring a run up to date after structures came, changed or went, and say what is different."""
    from hpc_mlsm.cli.update_commands import update_run

    update_run(target, run, overrides or [])


@app.command()
def archive(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="ARCHIVE|CONFIG|RUN",
            help="Folder, zip or tar file, file.h5::/dataset; or a YAML configuration, or an earlier run.",
        ),
    ],
    model: Annotated[
        Path | None, typer.Option(metavar="BUNDLE|RUN", help="A trained model, or the run that trained it.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "--run", help="Run directory; runs/NAME by default.")] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML configuration for the archive.")] = None,
    only: Annotated[str, typer.Option(metavar="STEP,...", help="Of predict, decompose, refine, report.")] = "",
    overrides: Overrides = None,
) -> None:
    """A whole archive of patterns: classes, components, fits and the morning report; does only what is missing."""
    from hpc_mlsm.cli.archive_commands import run_archive

    run_archive(targets, model, out, config, overrides or [], [step for step in only.split(",") if step])


@app.command()
def decompose(run: Annotated[Path, typer.Argument(metavar="RUN")], overrides: Overrides = None) -> None:
    """Take the series of an archive apart: Pearson matrix, principal and non-negative components, weights."""
    from hpc_mlsm.cli.archive_commands import run_archive

    run_archive([str(run)], None, None, None, overrides or [], ["decompose"])


@app.command()
def plan(
    target: Target,
    run: Run = None,
    overrides: Overrides = None,
    site: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Plan for the jobs of this cluster; see configs/site.")
    ] = None,
    nodes: Annotated[
        str, typer.Option(metavar="N,...", help="With --site: numbers of nodes to compare; powers of two by default.")
    ] = "",
    patterns: Annotated[
        int | None,
        typer.Option(min=1, help="Project the training of a network for so many patterns in place of the run's."),
    ] = None,
) -> None:
    """Project time, memory and disk, and refuse what cannot fit."""
    from hpc_mlsm.cli.site_commands import show_plan

    show_plan(target, run, overrides or [], site, nodes, patterns)


@app.command()
def status(target: Target, run: Run = None, overrides: Overrides = None) -> None:
    """Show how far a run is, how fast, what failed, and its jobs, without disturbing it."""
    from hpc_mlsm.cli.site_commands import show_status

    show_status(target, run, overrides or [])


@app.command()
def submit(
    target: Target,
    site: Annotated[str, typer.Option(metavar="NAME|FILE", help="Profile of the cluster; see configs/site.")],
    run: Run = None,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the job scripts and submit nothing.")] = False,
    no_plan: Annotated[
        bool, typer.Option("--no-plan", help="Do not ask the plan first whether everything fits.")
    ] = False,
) -> None:
    """Submit all stages to Slurm, one job each, as a chain; what the plan refuses is not submitted."""
    from hpc_mlsm.cli.site_commands import submit_run

    submit_run(target, site, run, overrides or [], dry_run, no_plan)


@app.command()
def doctor(
    site: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Profile of the cluster; without it, this machine alone.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="A run, or the folder where runs are to be; runs by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    wait: Annotated[float, typer.Option(min=1, help="Seconds that each probe may wait in the queue.")] = 300,
) -> None:
    """Check what runs need: packages, network, disks, GPUs, MPI and clocks, here or on a site's compute nodes."""
    from hpc_mlsm.cli.site_commands import run_doctor

    raise typer.Exit(run_doctor(site, run, as_json, wait))


@app.command("doctor-node", hidden=True)
def doctor_node(folder: Path) -> None:
    """What doctor's job runs on a compute node."""
    from hpc_mlsm.cli.site_commands import doctor_node

    doctor_node(folder)


@app.command("doctor-rank", hidden=True)
def doctor_rank(folder: Path, kind: str) -> None:
    """What doctor's job starts two of."""
    from hpc_mlsm.cli.site_commands import doctor_rank

    doctor_rank(folder, "mpi" if kind == "mpi" else "runner")


def _stage(name: str, target: Path, run: Path | None, overrides: list[str] | None) -> None:
    from hpc_mlsm.cli.commands import run_stage

    run_stage(name, target, run, overrides or [])


def main() -> None:
    """Entry point: errors of the package become one message and an exit status, not a traceback."""
    # Threads of XGBoost that wait for each other spin otherwise, which costs minutes a round where cores are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        app()
    except HpcMlsmError as error:
        from hpc_mlsm.cli.commands import exit_status

        print(f"hpc-mlsm: {error}", file=sys.stderr)
        sys.exit(exit_status(error))
    except KeyboardInterrupt:
        print("hpc-mlsm: aborted; run the same command again to go on from what is there", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
