"""Sample patterns for a first look: simulated as a measurement would give them, with noise, and labelled as such."""

from pathlib import Path

import numpy as np

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.durable import write_durably
from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid
from hpc_mlsm.scattering.engines import native_engine
from hpc_mlsm.scattering.settings import PdfSettings
from hpc_mlsm.scattering.variants import sample_variants, seed_of
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.structures.structure import Structure

NOISE = 0.05
"""Standard deviation of the noise in G(r), as a share of the pattern's own standard deviation."""

FINE_STEP = 0.02


def write_samples(run: RunDirectory, config: RunConfig, ids: list[str]) -> list[Path]:
    """Write ``predict.samples`` sample patterns as .gr files into the run's predictions folder.

    Structures are drawn at random from those given; strain, displacement and noise are drawn anew, so none of the
    patterns is one that a model was trained on.
    """
    folder = run.predictions / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    generator = seed_of("samples", config.pdf.seed)
    chosen = generator.choice(sorted(ids), size=min(config.predict.samples, len(ids)), replace=False)
    with Catalogue(run.catalogue, read_only=True) as catalogue:
        structures = {structure.id: structure for structure in catalogue.structures([str(key) for key in chosen])}
    paths = []
    for number, key in enumerate(chosen, start=1):
        path = folder / f"sample-{number}.gr"
        write_durably(path, _sample_file(structures[str(key)], config.pdf, generator).encode())
        paths.append(path)
    for old in set(folder.glob("sample-*.gr")) - set(paths):
        old.unlink()
    return paths


def _sample_file(structure: Structure, settings: PdfSettings, generator: np.random.Generator) -> str:
    grid = PdfGrid(0.0, settings.grid.r_max + 1.0, FINE_STEP)
    one = PdfSettings(variants=1, strain=settings.strain / 2, u_iso=settings.u_iso, seed=int(generator.integers(2**31)))
    variant = sample_variants(structure, one)
    q_max = float(np.mean(settings.q_max))
    u_iso = float(variant.conditions.u_iso[0])
    conditions = PdfConditions.uniform(1, u_iso=u_iso, q_damp=0.03, q_min=float(np.mean(settings.q_min)), q_max=q_max)
    g = native_engine(structure, variant.axis_scales, conditions, grid)[0]
    # Noise of a measurement ends at q_max as the signal does: smooth it to that band.
    noise = np.convolve(generator.normal(size=len(g)), np.sinc(q_max * FINE_STEP / np.pi * np.arange(-60, 61)), "same")
    g = g + NOISE * g.std() * noise / noise.std()
    strain = ", ".join(f"{scale - 1:+.2%}" for scale in variant.axis_scales[0])
    header = [
        "# simulated sample, not a measurement",
        f"# structure = {structure.id} ({structure.formula}, {structure.space_group_symbol})",
        f"# strain of a, b, c = {strain}",
        f"# u_iso = {u_iso:.4f}",
        f"# noise = {NOISE:.0%} of the signal's standard deviation",
        f"qmax = {q_max}",
        "qdamp = 0.03",
        "#### start data",
        "#L r($\\AA$)  G($\\AA^{-2}$)",
    ]
    rows = [f"{r:.2f} {value:.6f}" for r, value in zip(grid.r, g, strict=True)]
    return "\n".join([*header, *rows]) + "\n"


def expected_structure(path: Path) -> str | None:
    """Id of the structure that a sample file says it was simulated from; None for any other file."""
    with path.open(encoding="utf-8", errors="replace") as file:
        if file.readline().strip() != "# simulated sample, not a measurement":
            return None
        return file.readline().partition("=")[2].partition(" (")[0].strip() or None
