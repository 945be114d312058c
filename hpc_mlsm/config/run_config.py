"""The configuration of a run: one frozen dataclass, made of the settings of each stage."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Interval, MinLen

from hpc_mlsm.catalog.select import Selection
from hpc_mlsm.errors import ConfigError
from hpc_mlsm.evaluation.splits import SplitSettings, split_variants
from hpc_mlsm.grouping.settings import GroupSettings
from hpc_mlsm.models.cnn_settings import CnnSettings
from hpc_mlsm.models.settings import BoostedSettings, RetrievalSettings, TogetherSettings
from hpc_mlsm.refinement.settings import SeriesSettings
from hpc_mlsm.runtime.settings import ExecutorSettings
from hpc_mlsm.scattering.kinds import PatternSettings
from hpc_mlsm.scattering.settings import PdfSettings
from hpc_mlsm.structures.element_filter import ElementFilter


@dataclass(frozen=True)
class SourceSettings:
    """Where structures come from: the built-in starter set, a folder of CIFs, or both."""

    starter: bool = True
    cif_folder: Path | None = None

    def __post_init__(self) -> None:
        if not self.starter and self.cif_folder is None:
            raise ConfigError("there are no structures; set cif_folder to a folder of CIFs, or starter to true")


@dataclass(frozen=True)
class TrainSettings:
    """The models to train, and where.

    Attributes
    ----------
    cnn
        The network that runs of powder patterns train; None trains none.
    workers
        Over how many workers training of boosted trees is divided; 1 trains in this process, with all its cores.
        ``auto`` takes all workers of the executors ``runner``, ``mpi`` and ``slurm``, and this process otherwise.
    """

    boosted: BoostedSettings = field(default_factory=BoostedSettings)
    retrieval: RetrievalSettings = field(default_factory=RetrievalSettings)
    cnn: CnnSettings | None = None
    workers: Literal["auto"] | Annotated[int, Ge(1)] = "auto"
    together: TogetherSettings = field(default_factory=TogetherSettings)


@dataclass(frozen=True)
class PredictSettings:
    """Measured patterns to classify.

    Attributes
    ----------
    patterns
        Files or folders.
    samples
        How many sample patterns to simulate, with noise, from structures of the catalogue, and classify as well.
    top_k
        Candidates to list for each pattern.
    filter
        What is known of the sample.
    """

    patterns: tuple[Path, ...] = ()
    samples: Annotated[int, Ge(0)] = 0
    top_k: Annotated[int, Interval(ge=1, le=100)] = 5
    filter: ElementFilter = field(default_factory=ElementFilter)


@dataclass(frozen=True)
class ReportSettings:
    """The HTML report: how many patterns get figures, and how many candidates of each are compared with it."""

    max_figures: Annotated[int, Ge(0)] = 24
    fits: Annotated[int, Interval(ge=0, le=10)] = 3


@dataclass(frozen=True)
class RunConfig:
    """All parameters of a run."""

    name: Annotated[str, MinLen(1)] = "pdf"
    source: SourceSettings = field(default_factory=SourceSettings)
    select: Selection = field(default_factory=Selection)
    simulate: PatternSettings = field(default_factory=PdfSettings)
    group: GroupSettings = field(default_factory=GroupSettings)
    split: SplitSettings = field(default_factory=SplitSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    predict: PredictSettings = field(default_factory=PredictSettings)
    refine: SeriesSettings = field(default_factory=SeriesSettings)
    report: ReportSettings = field(default_factory=ReportSettings)
    executor: ExecutorSettings = field(default_factory=ExecutorSettings)

    def __post_init__(self) -> None:
        if isinstance(self.simulate, PdfSettings):
            split_variants("", self.simulate.variants, self.split)  # refuses too few, better now than after simulating
        if "/" in self.name or self.name.startswith("."):
            raise ConfigError(
                f"name: found {self.name!r}; the run's folder is called so, which forbids / anywhere and . in front"
            )

    @property
    def pdf(self) -> PdfSettings:
        """Settings of the simulation where it is one of PDFs.

        Raises
        ------
        ConfigError
            If the run is about other patterns.
        """
        if not isinstance(self.simulate, PdfSettings):
            raise ConfigError(
                f"simulate.kind is {self.simulate.kind!r}, which this stage cannot use; it needs a run with "
                "simulate.kind: pdf"
            )
        return self.simulate
