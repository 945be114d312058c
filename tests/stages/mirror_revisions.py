"""Two revisions of a database in COD's layout, what is served of it, and programs that are killed at a given point."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "catalog"))
from rsync_daemon import entry_path, put
from small_run import cif_text

from hpc_mlsm.structures.starter import starter_set
from hpc_mlsm.structures.substituted import SubstitutedSettings


@dataclass(frozen=True)
class Roles:
    """Places in a list of entries: what becomes of which in the second revision.

    ``reworded`` gets another text for the same structure; ``broken`` is refused since.
    """

    added: tuple[int, ...]
    changed: tuple[int, ...]
    reworded: tuple[int, ...]
    withdrawn: tuple[int, ...]
    broken: tuple[int, ...]

    def numbers(self, role: str) -> tuple[str, ...]:
        """COD's numbers of the entries in a role."""
        return tuple(sorted(number_of(place) for place in getattr(self, role)))


FEW = Roles(added=(24, 31), changed=(2, 26), reworded=(5,), withdrawn=(0, 25), broken=(7, 9))
"""Of the entries of ``few_entries``."""


def few_entries() -> list[str]:
    """CIFs of 25 small structures of the starter set and of seven made up by substitution."""
    found = {one.formula: one for one in reversed(starter_set())}
    chosen = sorted(found.values(), key=lambda one: (len(one.unit_cell), one.id))[:25]
    return [cif_text(one) for one in [*chosen, *map(SubstitutedSettings(max_atoms=16).made, range(7))]]


def number_of(place: int) -> str:
    """COD's number of an entry: in three folders of two ranges."""
    return str((1000000, 1000100, 2010500)[place % 3] + place)


def first_revision(tree: Path, texts: Sequence[str], roles: Roles) -> None:
    """Write the entries of the first revision."""
    for place, text in enumerate(texts):
        if place not in roles.added:
            put(tree, number_of(place), text, age_s=5000)


def second_revision(tree: Path, texts: Sequence[str], roles: Roles) -> None:
    """Bring the tree to the second revision."""
    for place in roles.added:
        put(tree, number_of(place), texts[place])
    for place in roles.changed:
        put(tree, number_of(place), _LENGTH.sub(lambda found: f"{found[1]}{1.05 * float(found[2]):.5f}", texts[place]))
    for place in roles.reworded:
        put(tree, number_of(place), "# another publisher\n" + texts[place])
    for place in roles.withdrawn:
        (tree / entry_path(number_of(place))).unlink()
    for place in roles.broken:
        put(tree, number_of(place), "<html><body>502 Bad Gateway</body></html>" if place % 2 else texts[place][:200])


_LENGTH = re.compile(r"^(_cell_length_[abc]\s+)(\d+\.?\d*)\S*", re.MULTILINE)


def killed(arguments: Sequence[str], at: str, after: int, *lines: str) -> None:
    """Run ``hpc-mlsm`` in a process that kills itself (SIGKILL) when a function returns for the ``after``-th time.

    ``at`` names it as ``module:function``, in the module that calls it; ``lines`` are done before.
    """
    module, _, name = at.partition(":")
    program = f"""
import functools, importlib, os, signal
{chr(10).join(lines)}
module = importlib.import_module({module!r})
usual, calls = module.{name}, []
@functools.wraps(usual)
def deadly(*values, **more):
    result = usual(*values, **more)
    calls.append(result)
    if len(calls) == {after}:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
module.{name} = deadly
from hpc_mlsm.cli.main import main
main()
"""
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == -9, f"{at} was not reached: {done.stdout}{done.stderr}"


def ran(*arguments: str) -> str:
    """Run ``hpc-mlsm`` to its end; returns what it printed."""
    command = [sys.executable, "-m", "hpc_mlsm.cli.main", *arguments]
    environment = os.environ | {"COLUMNS": "200"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
