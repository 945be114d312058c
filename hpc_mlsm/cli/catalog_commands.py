"""The commands about the catalogue and its mirror."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hpc_mlsm.cli.arguments import Overrides, Run, Target
from hpc_mlsm.errors import CatalogueError, ConfigError

catalog_app = typer.Typer(no_args_is_help=True, help="Mirror, fill, search and compare catalogues of structures.")

Place = Annotated[Path, typer.Argument(metavar="RUN|FILE", help="A run directory, or a catalogue (SQLite).")]


@catalog_app.command()
def sync(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="'cod', an rsync address of a tree in its layout, or a folder.")
    ],
    mirror: Annotated[Path, typer.Argument(metavar="MIRROR", help="Folder of the mirror.")],
    ranges: Annotated[
        list[str] | None, typer.Option("--range", help="Beginning of paths, such as 1/00; may be repeated.")
    ] = None,
    bandwidth: Annotated[int, typer.Option(min=0, help="Most KiB a second; 0 for no limit.")] = 2000,
    pause: Annotated[float, typer.Option(min=0, help="Seconds between two ranges.")] = 2.0,
    silence: Annotated[int, typer.Option(min=1, help="Seconds without an answer that break a connection.")] = 60,
    tries: Annotated[int, typer.Option(min=1, help="How often a range is tried.")] = 3,
    accept_losses: Annotated[
        bool, typer.Option("--accept-losses", help="Believe a source that lost a large part of a range.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change; write nothing.")] = False,
) -> None:
    """Mirror a database of CIFs with rsync; what was interrupted goes on."""
    from hpc_mlsm.catalog.rsync import Politeness
    from hpc_mlsm.cli.progress import make_listener
    from hpc_mlsm.stages import sync as stage

    manners = Politeness(bandwidth, pause, silence, tries)
    address = stage.COD if source.lower() == "cod" else source
    request = stage.SyncRequest(address, mirror, tuple(sorted(set(ranges or []))), manners, accept_losses)
    console = Console()
    if dry_run:
        added, changed, withdrawn = stage.shown_ranges(stage.preview(request))
        console.print(f"sync would bring {added} files, change {changed} and withdraw {withdrawn}", highlight=False)
        return
    with make_listener(console) as display:
        found = stage.run(request, display)
    console.print(
        f"[bold]sync {found.number}[/bold]: {found.added} files added, {found.changed} changed, {found.withdrawn} "
        f"withdrawn, {found.files} in {found.ranges + found.ranges_before} ranges ({found.ranges_before} of them from "
        f"before an interruption); list {found.list_hash[:16]}",
        highlight=False,
        soft_wrap=True,
    )


@catalog_app.command()
def ingest(target: Target, run: Run = None, overrides: Overrides = None) -> None:
    """Read the sources of a run into its catalogue; the same as hpc-mlsm ingest."""
    from hpc_mlsm.cli.commands import run_stage

    run_stage("ingest", target, run, overrides or [])


@catalog_app.command()
def select(
    target: Target,
    run: Run = None,
    overrides: Overrides = None,
    ids: Annotated[Path | None, typer.Option(help="Write the ids of the chosen structures to this file.")] = None,
) -> None:
    """Show which structures a configuration chooses, and how many each of its rules takes out."""
    from hpc_mlsm.catalog.database import Catalogue
    from hpc_mlsm.catalog.select import select_keys
    from hpc_mlsm.durable import write_durably
    from hpc_mlsm.stages.run_directory import resolve

    directory, config = resolve(target, run, overrides or [])
    with Catalogue(directory.catalogue, read_only=True) as catalogue:
        found = select_keys(catalogue, config.select)
    table = Table("rule", "takes out", "leaves")
    before = found.left_after["catalogue"]
    for rule, left in found.left_after.items():
        table.add_row(rule, "" if rule == "catalogue" else str(before - left), str(left))
        before = left
    console = Console()
    console.print(table)
    if ids:
        write_durably(ids, "".join(f"{identity}\n" for identity in found.ids).encode())
        console.print(f"{len(found.ids)} ids: {ids.resolve()}", soft_wrap=True, highlight=False)


@catalog_app.command()
def query(
    place: Place,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="A condition on structures, or a whole SELECT.")] = "true",
    limit: Annotated[int, typer.Option(min=0, help="Rows to show; 0 shows all.")] = 20,
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values instead of a table.")] = False,
) -> None:
    """Search a catalogue with SQL; nothing can be changed. docs/catalogue.md lists the columns."""
    from hpc_mlsm.stages import catalogue as stage

    if not sql.lstrip().lower().startswith(("select", "with")):
        columns = "id, formula, space_group_symbol, round(a, 3) a, round(b, 3) b, round(c, 3) c, n_atoms, year, flags"
        sql = f"SELECT {columns} FROM structures WHERE {sql}"
    names, rows = stage.query(stage.catalogue_path(place), sql, limit)
    _print_rows(names, rows, csv)


@catalog_app.command()
def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="RUN, FILE, or with a revision: RUN@3.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The same, later.")],
    every: Annotated[bool, typer.Option("--ids", help="List every id.")] = False,
) -> None:
    """Show what was added, changed, withdrawn and newly rejected between two catalogues or revisions."""
    from hpc_mlsm.stages import catalogue as stage

    found = stage.diff(first, second)
    kinds: dict[str, list[str]] = {
        "added": list(found.added),
        "changed": list(found.changed),
        "withdrawn": list(found.withdrawn),
        "newly rejected": [f"{identity} ({reason})" for identity, reason in (*found.rejected, *found.refused)],
        "no longer rejected": list(found.accepted),
    }
    table = Table("", "structures", "" if every else "the first of them")
    for kind, names in kinds.items():
        table.add_row(kind, str(len(names)), ", ".join(names if every else names[:5]))
    table.add_row("unchanged", str(found.unchanged), "")
    Console().print(table)


@catalog_app.command()
def revisions(place: Place) -> None:
    """List the revisions of a catalogue."""
    from hpc_mlsm.stages import catalogue as stage

    sql = "SELECT number, made, source, structures, rejects, fingerprint FROM revisions ORDER BY number"
    _print_rows(*stage.query(stage.catalogue_path(place), sql, 0), csv=False)


@catalog_app.command()
def duplicates(
    place: Place, csv: Annotated[bool, typer.Option("--csv", help="All of them as comma-separated values.")] = False
) -> None:
    """Find structures that are there more than once: same composition, space group and cell."""
    from hpc_mlsm.catalog.database import Catalogue
    from hpc_mlsm.catalog.duplicates import find_duplicates
    from hpc_mlsm.stages.catalogue import catalogue_path

    with Catalogue(catalogue_path(place), read_only=True) as catalogue:
        groups = find_duplicates(catalogue)
    names = ["formula", "space_group", "kept", "others"]
    rows: list[tuple[object, ...]] = [(g.formula, g.space_group, g.kept, " ".join(g.others)) for g in groups]
    _print_rows(names, rows if csv else rows[:20], csv)
    if not csv:
        extra = sum(len(group.others) for group in groups)
        Console().print(
            f"{extra} structures in {len(groups)} groups are there more than once; select.duplicates: merge takes one "
            "of each",
            highlight=False,
        )


@catalog_app.command()
def check(place: Place) -> None:
    """Look through a whole catalogue for damage; exit status 1 where there is any."""
    from hpc_mlsm.stages import catalogue as stage

    path = stage.catalogue_path(place)
    found = stage.check(path)
    if found.problems:
        raise CatalogueError(f"{path} is damaged:" + "".join(f"\n- {problem}" for problem in found.problems))
    Console().print(f"{path}: {found.structures} structures and {found.rejects} rejects, all whole", soft_wrap=True)


@catalog_app.command()
def backup(
    place: Place, target: Annotated[Path, typer.Argument(metavar="COPY", help="Where the copy is to be.")]
) -> None:
    """Copy a catalogue, also while it is in use."""
    from hpc_mlsm.stages import catalogue as stage

    if target.exists():
        raise ConfigError(f"{target} exists; name another file")
    Console().print(f"copied to {stage.backup(stage.catalogue_path(place), target)}", soft_wrap=True, highlight=False)


@catalog_app.command()
def rebuild(target: Target, run: Run = None, overrides: Overrides = None) -> None:
    """Make the catalogue of a run anew, parsing only what is not known; a damaged one is put aside."""
    from hpc_mlsm.cli.run_in_use import opened
    from hpc_mlsm.cli.summaries import line
    from hpc_mlsm.stages import catalogue as stage
    from hpc_mlsm.stages.run_directory import resolve

    with opened(*resolve(target, run, overrides or [])) as (context, console):
        summary, aside = stage.rebuild(context)
        console.print(line("ingest", summary), soft_wrap=True)
        if aside:
            console.print(f"the old one is {aside}; delete it when you like", soft_wrap=True, highlight=False)


def _print_rows(names: list[str], rows: list[tuple[object, ...]], csv: bool) -> None:
    if csv:
        import csv as csv_module
        import sys

        writer = csv_module.writer(sys.stdout)
        writer.writerow(names)
        writer.writerows(rows)
        return
    table = Table(*names)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    Console().print(table)
