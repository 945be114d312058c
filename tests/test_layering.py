"""Imports go downward only, heavy libraries are imported where they are used, and only runtime knows Dask."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

LAYERS = (
    ("slurm",),
    ("jobs",),
    ("cli",),
    ("stages",),
    ("plan", "runtime", "report", "config"),
    ("catalog", "archive", "decomposition", "refinement", "evaluation"),
    ("models", "grouping", "store"),
    ("scattering",),
    ("structures",),
    ("durable",),
    ("errors",),
)
"""From the top down; packages of one layer do not import each other. ``hpc_mlsm/__init__.py`` lies below all."""

RANK = {package: rank for rank, layer in enumerate(LAYERS) for package in layer}
CLUSTER = frozenset({"dask", "distributed", "dask_jobqueue", "dask_mpi", "mpi4py"})
HEAVY = frozenset({"tensorflow", "keras", "xgboost", "matplotlib"})

PEERS_ALLOWED = frozenset({("hpc_mlsm.config.run_config", "hpc_mlsm.runtime.settings")})
"""(importer, imported) of one layer: a run's configuration holds every package's settings, the executor's too."""


@dataclass(frozen=True)
class Import:
    """One imported module, by whom, and whether importing the importer is enough to import it."""

    importer: str
    line: int
    target: str
    at_once: bool


def imports_of(text: str, importer: str) -> Iterator[Import]:
    """All imports of a module's source, those inside functions and for type checking too."""
    yield from _walk(ast.parse(text), importer, at_once=True)


def _walk(node: ast.AST, importer: str, *, at_once: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        inside = at_once and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            inside = False
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(importer, child.lineno, alias.name, inside)
        elif isinstance(child, ast.ImportFrom):
            base = _absolute(importer, child)
            # "from hpc_mlsm import models" names a package in its alias, not in its module.
            for alias in child.names:
                yield Import(importer, child.lineno, f"{base}.{alias.name}", inside)
        elif isinstance(child, ast.Call) and ast.unparse(child.func) in ("__import__", "importlib.import_module"):
            for argument in child.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield Import(importer, child.lineno, argument.value, inside)
        yield from _walk(child, importer, at_once=inside)


def _absolute(importer: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = importer.split(".")[: -node.level]
    return ".".join([*package, *([node.module] if node.module else [])])


def package_of(module: str) -> str | None:
    """The layer's package that a module belongs to; None for the outside world and for ``hpc_mlsm`` itself."""
    parts = module.split(".")
    if parts[0] == "hpc_mlsm":
        return parts[1] if len(parts) > 1 and parts[1] != "__version__" else None
    return parts[0] if parts[0] in ("jobs", "slurm") else None


def broken_rules(found: Import) -> Iterator[str]:
    """What an import does wrong, in words."""
    source, target = package_of(found.importer), package_of(found.target)
    place = f"{found.importer}:{found.line} imports {found.target}"
    for package in {source, target} - {None}:
        if package not in RANK:
            yield f"{place}: {package} is in no layer; DESIGN names the rooms"
            return
    if source and target and source != target:
        if RANK[target] < RANK[source]:
            yield f"{place}: upward, from {source} to {target}"
        elif RANK[target] == RANK[source] and not _is_allowed(found):
            yield f"{place}: {source} and {target} are of one layer"
    if source == "runtime" and target not in ("runtime", "errors", None):
        yield f"{place}: runtime is given functions and tasks, and knows nothing of the domain"
    top = found.target.split(".")[0]
    if top in CLUSTER and source != "runtime":
        yield f"{place}: only runtime may import {top}"
    if top in HEAVY and found.at_once:
        yield f"{place}: {top} is heavy; import it in the function that uses it"


def _is_allowed(found: Import) -> bool:
    return any(
        found.importer == importer and f"{found.target}.".startswith(f"{imported}.")
        for importer, imported in PEERS_ALLOWED
    )


def modules() -> Iterator[tuple[str, Path]]:
    """Dotted name and file of every module of the project; packages by their own name, with ``__init__`` kept."""
    for top in ("hpc_mlsm", "jobs", "slurm"):
        for path in sorted((ROOT / top).rglob("*.py")):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts), path


def test_imports_go_downward_only_and_heavy_libraries_are_imported_where_used() -> None:
    found = [one for name, path in modules() for one in imports_of(path.read_text(encoding="utf-8"), name)]
    assert sum(package_of(one.target) is not None for one in found) > 100, "the walk misses the imports"
    assert not [problem for one in found for problem in broken_rules(one)]
    used = {(one.importer, one.target.rpartition(".")[0]) for one in found if _is_allowed(one)}
    assert used == PEERS_ALLOWED, "an exception that nobody needs any more"


@pytest.mark.parametrize(
    ("importer", "text", "problem"),
    [
        ("hpc_mlsm.models.bundle", "from hpc_mlsm.stages.train import run", "upward, from models to stages"),
        ("hpc_mlsm.models.bundle", "from hpc_mlsm import stages", "upward, from models to stages"),
        ("hpc_mlsm.models.bundle", "from ..cli import main", "upward, from models to cli"),
        ("hpc_mlsm.models.bundle", "import hpc_mlsm.plan.cost as cost", "upward, from models to plan"),
        ("hpc_mlsm.models.bundle", "def f():\n    from hpc_mlsm.plan import cost", "upward, from models to plan"),
        ("hpc_mlsm.models.bundle", "class A:\n  def f(self):\n    import jobs.run", "upward, from models to jobs"),
        ("hpc_mlsm.cli.main", "import importlib\nimportlib.import_module('slurm.x')", "upward, from cli to slurm"),
        ("hpc_mlsm.models.bundle", "from hpc_mlsm.store.shard import x", "models and store are of one layer"),
        ("hpc_mlsm.config.load", "import hpc_mlsm.runtime.settings", "config and runtime are of one layer"),
        ("hpc_mlsm.config.run_config", "import hpc_mlsm.runtime.local", "config and runtime are of one layer"),
        ("hpc_mlsm.runtime.local", "from hpc_mlsm.scattering.pdf import reach", "runtime is given functions and"),
        ("hpc_mlsm.structures.cif", "from hpc_mlsm.models.classes import ClassEntry", "from structures to models"),
        ("hpc_mlsm.errors", "import hpc_mlsm.structures", "upward, from errors to structures"),
        ("hpc_mlsm.models.bundle", "from hpc_mlsm.helpers import x", "helpers is in no layer"),
        ("hpc_mlsm.stages.train", "def f():\n    import dask.array", "only runtime may import dask"),
        ("hpc_mlsm.models.boosted", "import xgboost", "xgboost is heavy"),
        ("hpc_mlsm.models.boosted", "try:\n    from xgboost import dask\nexcept ImportError:\n    pass", "heavy"),
        ("hpc_mlsm.report.page", "class A:\n    import matplotlib.pyplot", "matplotlib is heavy"),
    ],
)
def test_a_planted_wrong_import_is_found(importer: str, text: str, problem: str) -> None:
    problems = [words for one in imports_of(text, importer) for words in broken_rules(one)]
    assert len(problems) == 1
    assert problem in problems[0]


@pytest.mark.parametrize(
    ("importer", "text"),
    [
        ("hpc_mlsm.stages.train", "from hpc_mlsm.models.bundle import load_bundle"),
        ("hpc_mlsm.cli.main", "from hpc_mlsm import __version__"),
        ("hpc_mlsm.models.boosted", "def f():\n    import xgboost"),
        ("hpc_mlsm.models.boosted", "if TYPE_CHECKING:\n    import xgboost"),
        ("hpc_mlsm.runtime.local", "from distributed import LocalCluster"),
        ("hpc_mlsm.models.bundle", "from hpc_mlsm.models import classes"),
        ("hpc_mlsm.models.bundle", "from . import classes"),
    ],
)
def test_a_right_import_passes(importer: str, text: str) -> None:
    assert not [words for one in imports_of(text, importer) for words in broken_rules(one)]
