"""Ranking is compared with plain sorting, candidates with rows worked out by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hpc_mlsm.archive.candidates import rank_classes, rank_patterns
from hpc_mlsm.errors import BundleError, ConfigError
from hpc_mlsm.models.classes import ClassEntry, MemberEntry
from hpc_mlsm.structures.element_filter import ElementFilter


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """What is compiled is not part of the time that hypothesis allows an example."""
    rank_classes(np.ones((1, 2)), np.ones(2, bool), 1)


def member(id: str, formula: str, group: int, elements: str, cod_id: int | None = None) -> MemberEntry:
    return MemberEntry(id, formula, group, f"SG{group}", cod_id, frozenset(elements.split()), f"name of {id}")


NICKEL = ClassEntry("fcc", (member("cu", "Cu", 225, "Cu", 11), member("ni", "Ni", 225, "Ni", 12)), "ni")
SPINEL = ClassEntry("spinel", (member("fe", "Fe3O4", 227, "Fe O", 21), member("co", "CoFe2O4", 227, "Co Fe O")), "fe")
RUTILE = ClassEntry("rutile", (member("ti", "TiO2", 136, "Ti O", 31),), "ti")
CLASSES = (NICKEL, SPINEL, RUTILE)


def of(**sets: str) -> ElementFilter:
    return ElementFilter(**{name: frozenset(text.split()) for name, text in sets.items()})


def plainly_ranked(row: list[float], admitted: list[int], k: int) -> list[int]:
    return sorted(admitted, key=lambda c: (-row[c], c))[:k]


@given(
    data=st.data(),
    probabilities=hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        st.tuples(st.integers(1, 5), st.integers(1, 9)),
        # Few different values, so that ties are common.
        elements=st.sampled_from([0.0, 0.125, 0.25, 0.5]),
    ),
    k=st.integers(1, 12),
)
def test_ranking_is_that_of_a_plain_stable_sort(data: st.DataObject, probabilities: np.ndarray, k: int) -> None:
    n, width = probabilities.shape
    mask = data.draw(hnp.arrays(bool, width).filter(np.any))
    indices, values = rank_classes(probabilities, mask, k)
    admitted = np.flatnonzero(mask).tolist()
    for row in range(n):
        assert indices[row].tolist() == plainly_ranked(probabilities[row].tolist(), admitted, k)
        total = probabilities[row, admitted].sum() if len(admitted) < width else 1.0
        expected = probabilities[row, indices[row]] / total if total else np.zeros(indices.shape[1])
        np.testing.assert_allclose(values[row], expected, rtol=1e-6)


def test_blocks_of_rows_do_not_change_the_ranking(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    probabilities, mask = rng.dirichlet(np.ones(20), 50), rng.random(20) < 0.5
    whole = rank_classes(probabilities, mask, 4)
    monkeypatch.setattr("hpc_mlsm.archive.candidates._BLOCK_ROWS", 7)
    for one, other in zip(whole, rank_classes(probabilities, mask, 4), strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_patterns_give_no_rows() -> None:
    indices, values = rank_classes(np.zeros((0, 3)), np.ones(3, bool), 2)
    assert indices.shape == values.shape == (0, 2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1])
def test_impossible_probabilities_are_refused(value: float) -> None:
    probabilities = np.full((2, 3), 0.25)
    probabilities[1, 2] = value
    with pytest.raises(BundleError, match="negative or not finite"):
        rank_classes(probabilities, np.ones(3, bool), 1)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BundleError, match=r"shape \(2, 3\).*4 classes"):
        rank_classes(np.zeros((2, 3)), np.ones(4, bool), 1)
    with pytest.raises(BundleError, match="2 patterns"):
        rank_patterns(["a", "b"], np.zeros((3, 3)), CLASSES, 1)
    with pytest.raises(BundleError, match="3 classes"):
        rank_patterns(["a"], np.zeros((1, 2)), CLASSES, 1)


def test_at_least_one_candidate_must_be_asked_for() -> None:
    with pytest.raises(ConfigError, match="0 candidates"):
        rank_classes(np.zeros((1, 3)), np.ones(3, bool), 0)


PROBABILITIES = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [1.0, 0.0, 0.0]], dtype=np.float32)


def test_candidates_name_the_representative_first() -> None:
    correlations = np.arange(9.0).reshape(3, 3) / 10
    rankings, rejects = rank_patterns(["a", "b", "c"], PROBABILITIES, CLASSES, 2, correlations=correlations)
    assert rejects == []
    assert [ranking.removed_probability for ranking in rankings] == [0.0, 0.0, 0.0]
    first = rankings[0].candidates[0]
    assert (first.pattern, first.rank, first.class_id, first.probability) == ("a", 1, "fcc", 0.5)
    assert (first.formula, first.space_group, first.space_group_symbol, first.name) == (
        "Ni",
        225,
        "SG225",
        "name of ni",
    )
    assert first.cod_ids == (12, 11)
    assert first.structure_ids == ("ni", "cu")
    assert first.others == ("Cu (SG225)",)
    assert [c.class_id for c in rankings[1].candidates] == ["rutile", "fcc"]
    assert [c.correlation for c in rankings[1].candidates] == [0.5, 0.3]


def test_correlation_is_nan_where_there_is_none() -> None:
    rankings, _ = rank_patterns(["a"], PROBABILITIES[:1], CLASSES, 1)
    assert np.isnan(rankings[0].candidates[0].correlation)


def test_filtered_probabilities_sum_to_one_and_say_what_was_removed() -> None:
    rankings, rejects = rank_patterns(["a", "b", "c"], PROBABILITIES, CLASSES, 5, of(required="O"))
    for ranking, row in itertools.zip_longest(rankings, PROBABILITIES[:2].astype(float)):
        assert sum(c.probability for c in ranking.candidates) == pytest.approx(1.0, abs=1e-12)
        assert ranking.removed_probability == pytest.approx(row[0], rel=1e-6)
    assert rankings[0].candidates[0].probability == pytest.approx(0.6, rel=1e-6)
    assert [(reject.name, reject.reason) for reject in rejects] == [("c", "filtered_out")]
    assert "required O" in rejects[0].detail


def test_the_member_that_passes_the_filter_is_shown() -> None:
    rankings, _ = rank_patterns(["a"], PROBABILITIES[:1], CLASSES, 1, of(required="Co"))
    shown = rankings[0].candidates[0]
    assert shown.formula == "CoFe2O4"
    assert shown.structure_ids == ("co", "fe")
    assert shown.cod_ids == (21,)
    assert shown.others == ("Fe3O4 (SG227)",)
