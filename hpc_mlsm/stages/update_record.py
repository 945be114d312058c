"""What an update found and did, on disk from its beginning on, so that a killed one is finished as one."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from hpc_mlsm.catalog.diff import CatalogueDiff, CatalogueState
from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import RunError

FORMAT, VERSION = "hpc_mlsm update", 1

NOTHING = CatalogueDiff((), (), (), (), (), (), 0)


@dataclass(frozen=True)
class ModelState:
    """A model: its hash, its classes, the grouping it is of, and its scores by name and number of candidates."""

    bundle: str
    classes: int
    revision: int
    top_k: dict[str, dict[str, float]]
    test_rows: int


@dataclass(frozen=True)
class ChangedAnswer:
    """A frame that now gets another answer: its file of predictions, its name, and first candidates before and now.

    Of powder patterns the classes are crystal systems, without formulae, and ``model`` is the one of several that
    answers otherwise.
    """

    predictions: str
    frame: str
    class_before: str
    formula_before: str
    class_now: str
    formula_now: str
    probability_before: float
    probability_now: float
    model: str = ""


@dataclass(frozen=True)
class UpdateRecord:
    """One update; ``finished`` once everything after ``before`` and ``changes`` is known.

    Attributes
    ----------
    rejects
        Reasons of all rejects by id, before the update, and once it is finished those after it, by which the next one
        tells new ones.
    events
        What became of classes, as ``grouping.groups.ClassEvent``.
    frames
        Stored frames that were classified again.
    seconds
        Of each stage, in the last go.
    """

    number: int
    before: ModelState | None
    revision: int
    changes: CatalogueDiff = NOTHING
    after: ModelState | None = None
    events: tuple[dict[str, Any], ...] = ()
    warm_rounds: int = 0
    frames: int = 0
    answers: tuple[ChangedAnswer, ...] = ()
    rejects: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    finished: bool = False


class UpdateFolder:
    """Records of a run's updates, and the keys of its structures before the one that is going on."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def last(self) -> UpdateRecord | None:
        """The latest update, finished or not."""
        found = sorted(self.path.glob("update-*.json"))
        return read_record(found[-1]) if found else None

    def write(self, record: UpdateRecord) -> Path:
        """Write a record, in place of the one of the same number."""
        path = self.path / f"update-{record.number:04d}.json"
        content = {"format": FORMAT, "version": VERSION, **asdict(record)}
        write_durably(path, json.dumps(content, indent=1, ensure_ascii=False).encode())
        return path

    def begin(self, record: UpdateRecord, before: Mapping[str, str]) -> None:
        """Note the contents of all structures (hash by id) as they are before the update, then the record."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_durably(self.path / "before.json", json.dumps(dict(before)).encode())
        self.write(record)

    def before(self, record: UpdateRecord) -> CatalogueState:
        """Structures and rejects before the update that is going on."""
        path = self.path / "before.json"
        try:
            found: dict[str, str] = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise RunError(
                f"{path} cannot be read ({error}), so that it cannot be told what the update changes; remove the "
                f"unfinished record in {self.path}, then update again"
            ) from error
        return CatalogueState(found, record.rejects)

    def end(self, record: UpdateRecord) -> Path:
        """Write a finished record."""
        path = self.write(replace(record, finished=True))
        (self.path / "before.json").unlink(missing_ok=True)
        return path

    def forget(self, record: UpdateRecord) -> None:
        """Remove the record of an update that had nothing to do."""
        (self.path / f"update-{record.number:04d}.json").unlink(missing_ok=True)
        (self.path / "before.json").unlink(missing_ok=True)


def read_record(path: Path) -> UpdateRecord:
    """A record that was written.

    Raises
    ------
    RunError
        If it cannot be read, or is of another version.
    """
    try:
        raw = json.loads(path.read_text())
        if (raw.pop("format"), raw.pop("version")) != (FORMAT, VERSION):
            raise RunError(f"{path} is no record of an update that this program can read; move it away")
        states = {key: ModelState(**raw[key]) if raw[key] else None for key in ("before", "after")}
        answers = tuple(ChangedAnswer(**one) for one in raw["answers"])
        changes = _diff(raw["changes"])
        return UpdateRecord(**{**raw, **states, "events": tuple(raw["events"]), "changes": changes, "answers": answers})
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunError(f"{path} cannot be read ({error}); move it away, then update again") from error


def _diff(raw: dict[str, Any]) -> CatalogueDiff:
    """Differences from what JSON holds of them."""
    reasons = {key: tuple((str(one), str(why)) for one, why in raw[key]) for key in ("rejected", "refused")}
    return CatalogueDiff(
        added=tuple(raw["added"]),
        changed=tuple(raw["changed"]),
        withdrawn=tuple(raw["withdrawn"]),
        rejected=reasons["rejected"],
        accepted=tuple(raw["accepted"]),
        refused=reasons["refused"],
        unchanged=raw["unchanged"],
    )
