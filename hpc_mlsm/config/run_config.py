"""The configuration of a run: one frozen dataclass, made of the settings of each stage."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Interval, MinLen

from hpc_mlsm.archive.archive_settings import ArchiveSettings
from hpc_mlsm.archive.powder_settings import MeasuredPowderSettings
from hpc_mlsm.catalog.selection import Selection
from hpc_mlsm.decomposition.settings import DecomposeSettings
from hpc_mlsm.errors import ConfigError
from hpc_mlsm.evaluation.classify_settings import ClassifySettings, ModelName
from hpc_mlsm.evaluation.splits import SplitSettings, split_variants
from hpc_mlsm.grouping.settings import GroupSettings
from hpc_mlsm.models.cnn_settings import CnnSettings, PaperCnnSettings
from hpc_mlsm.models.forest_settings import ExtraTreesSettings, ForestSettings
from hpc_mlsm.models.settings import BoostedSettings, RetrievalSettings, TogetherSettings
from hpc_mlsm.refinement.settings import SeriesSettings
from hpc_mlsm.runtime.settings import ExecutorSettings
from hpc_mlsm.scattering.kinds import PatternSettings
from hpc_mlsm.scattering.powder.settings import PowderSettings
from hpc_mlsm.scattering.settings import PdfSettings
from hpc_mlsm.structures.element_filter import ElementFilter
from hpc_mlsm.structures.substituted import SubstitutedSettings
from hpc_mlsm.structures.synthetic import SyntheticSettings


@dataclass(frozen=True)
class SourceSettings:
    """Where structures come from: the built-in starter set, a folder of CIFs, made-up crystals, or several of them."""

    starter: bool = True
    cif_folder: Path | None = None
    synthetic: SyntheticSettings | None = None
    substituted: SubstitutedSettings | None = None

    @property
    def made_up(self) -> list[SyntheticSettings | SubstitutedSettings]:
        """Settings of the made-up crystals: random atoms in a space group, and structure types with other elements."""
        return [one for one in (self.synthetic, self.substituted) if one is not None and one.count]

    def __post_init__(self) -> None:
        if not self.starter and self.cif_folder is None and not self.made_up:
            raise ConfigError(
                "there are no structures; set cif_folder to a folder of CIFs, starter to true, or synthetic.count or "
                "substituted.count to a number of made-up crystals"
            )


@dataclass(frozen=True)
class TrainSettings:
    """The models to train, and where.

    Attributes
    ----------
    cnn, cnn_paper
        The networks of runs of powder patterns, where ``classify.models`` names them; ``cnn`` may describe the
        published one as well.
    forest, extra_trees
        The forests of such runs.
    workers
        Over how many workers training of boosted trees is divided; 1 trains in this process, with all its cores.
        ``auto`` takes all workers of the executors ``runner``, ``mpi`` and ``slurm``, and this process otherwise.
    """

    boosted: BoostedSettings = field(default_factory=BoostedSettings)
    retrieval: RetrievalSettings = field(default_factory=RetrievalSettings)
    cnn: CnnSettings | None = None
    cnn_paper: PaperCnnSettings = field(default_factory=PaperCnnSettings)
    forest: ForestSettings = field(default_factory=ForestSettings)
    extra_trees: ExtraTreesSettings = field(default_factory=ExtraTreesSettings)
    workers: Literal["auto"] | Annotated[int, Ge(1)] = "auto"
    together: TogetherSettings = field(default_factory=TogetherSettings)

    def __post_init__(self) -> None:
        for name, wanted in (("forest", "random_forest"), ("extra_trees", "extra_trees")):
            if (found := getattr(self, name).kind) != wanted:
                raise ConfigError(f"{name}.kind: found {found!r}; under {name} it is {wanted!r}, leave it out")
        if self.cnn_paper.network != "paper":
            raise ConfigError("cnn_paper.network: the residual network has its settings under cnn")


@dataclass(frozen=True)
class PredictSettings:
    """Measured patterns to classify.

    Attributes
    ----------
    patterns
        Files or folders.
    samples
        How many sample patterns to simulate, with noise, from structures of the catalogue, and classify as well.
    model
        The folder of a trained model, or the run that trained it, which the patterns are an archive for: the stages are
        predict, decompose, refine and report then. None takes the model that the run trains itself.
    top_k
        Candidates to list for each pattern.
    coverage
        How often the candidates of a frame are to hold the right class, for structures of the catalogue.
    archive
        What is known of an archive that does not say it itself.
    filter
        What is known of the sample; of PDFs.
    powder
        How measured powder patterns are treated.
    """

    patterns: tuple[Path, ...] = ()
    samples: Annotated[int, Ge(0)] = 0
    model: Path | None = None
    top_k: Annotated[int, Interval(ge=1, le=100)] = 5
    coverage: Annotated[float, Interval(ge=0.5, le=0.999)] = 0.95
    archive: ArchiveSettings = field(default_factory=ArchiveSettings)
    filter: ElementFilter = field(default_factory=ElementFilter)
    powder: MeasuredPowderSettings = field(default_factory=MeasuredPowderSettings)


@dataclass(frozen=True)
class ReportSettings:
    """The HTML report: how many patterns get figures, and how many candidates of each are compared with it."""

    max_figures: Annotated[int, Ge(0)] = 24
    fits: Annotated[int, Interval(ge=0, le=10)] = 3


@dataclass(frozen=True)
class UpdateSettings:
    """What ``update`` looks at besides the run itself.

    Attributes
    ----------
    predictions
        Files of predictions (``predictions.nxs``) whose frames are classified again, to tell which get another answer;
        where none are named, that of the run.
    archives
        Runs of ``hpc-mlsm archive``, whose frames are read and classified again for the same purpose.
    """

    predictions: tuple[Path, ...] = ()
    archives: tuple[Path, ...] = ()


@dataclass(frozen=True)
class RunConfig:
    """All parameters of a run."""

    name: Annotated[str, MinLen(1)] = "pdf"
    source: SourceSettings = field(default_factory=SourceSettings)
    select: Selection = field(default_factory=Selection)
    simulate: PatternSettings = field(default_factory=PdfSettings)
    group: GroupSettings = field(default_factory=GroupSettings)
    classify: ClassifySettings = field(default_factory=ClassifySettings)
    split: SplitSettings = field(default_factory=SplitSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    predict: PredictSettings = field(default_factory=PredictSettings)
    decompose: DecomposeSettings = field(default_factory=DecomposeSettings)
    refine: SeriesSettings = field(default_factory=SeriesSettings)
    report: ReportSettings = field(default_factory=ReportSettings)
    update: UpdateSettings = field(default_factory=UpdateSettings)
    executor: ExecutorSettings = field(default_factory=ExecutorSettings)

    def __post_init__(self) -> None:
        if isinstance(self.simulate, PdfSettings):
            split_variants("", self.simulate.variants, self.split)  # refuses too few, better now than after simulating
        folds = self.classify.folds.folds
        if self.networks and self.classify.cross_validate and folds < 3:
            raise ConfigError(
                f"classify.folds.folds = {folds} leaves networks nothing to learn from: one fold is tested, one ends "
                "the training; 3 at least are needed, or set classify.cross_validate to false"
            )
        if "/" in self.name or self.name.startswith("."):
            raise ConfigError(
                f"name: found {self.name!r}; the run's folder is called so, which forbids / anywhere and . in front"
            )

    @property
    def models(self) -> tuple[ModelName, ...]:
        """The models that a run of powder patterns trains; none in runs of other patterns."""
        if self.simulate.kind != "powder":
            return ()
        if self.classify.models is not None:
            return self.classify.models
        if self.train.cnn is None:
            return ("forest", "extra_trees")
        return ("cnn-paper",) if self.train.cnn.network == "paper" else ("cnn",)

    @property
    def networks(self) -> dict[ModelName, CnnSettings]:
        """The networks among the models, and their settings."""
        found: dict[ModelName, CnnSettings] = {}
        for name in self.models:
            wanted = {"cnn": "residual", "cnn-paper": "paper"}.get(name)
            if wanted is not None:
                default = CnnSettings() if name == "cnn" else self.train.cnn_paper.plain_settings()
                own = self.train.cnn
                found[name] = own if own is not None and own.network == wanted else default
        return found

    @property
    def powder(self) -> PowderSettings:
        """Settings of the simulation where it is one of powder patterns.

        Raises
        ------
        ConfigError
            If the run is about other patterns.
        """
        if not isinstance(self.simulate, PowderSettings):
            raise ConfigError(
                f"simulate.kind is {self.simulate.kind!r}; forests and networks learn powder patterns and need a run "
                "with simulate.kind: powder"
            )
        return self.simulate

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
