from dataclasses import replace

import numpy as np
import pytest
from storemaker import R, curve, make_content

from hpc_mlsm.errors import StoreError
from hpc_mlsm.store.schema import Axis, shard_name

STRUCTURES = [("Fe", 3), ("NiO", 0), ("Al2O3", 5)]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("kind", "xanes", "kind is 'xanes'.*pdf, powder"),
        ("signal", "G(r)", "a name is"),
        ("signal", "variant", "not 'variant'"),
        ("signal", "r", "named differently from the axis"),
        ("structure_ids", ("Fe", "NiO", "Fe"), "one id twice"),
        ("structure_ids", ("Fe", "", "x"), "an id or hash is ''"),
        ("structure_ids", ("Fe", "a\0b", "x"), "an id or hash"),
        ("structure_ids", ("Fe", "a\udcff", "x"), "an id or hash"),
        ("structure_ids", (), "0 structures"),
        ("content_hashes", ("a", "b"), "content_hashes is 2 long"),
        ("base", np.zeros((3, 300), np.float32), r"base is float32 of shape \(3, 300\)"),
        ("base", np.zeros((3, 301)), "base is float64"),
        ("offsets", np.array([0, 3, 2, 8]), "offsets is .* ascending from 0 to 8"),
        ("offsets", np.array([0, 3, 3, 7]), "ascending from 0 to 8"),
        ("variants", np.zeros(7, np.int64), "variants is"),
        ("parameters", {"u_iso": ("", np.zeros(7))}, r"parameters\['u_iso'\]"),
        ("parameters", {"a/b": ("", np.zeros(8))}, "a name is 'a/b'"),
        ("axis", Axis("r", "angstrom", np.full(301, np.nan)), "axis.values is not finite"),
    ],
)
def test_a_content_that_contradicts_itself_is_refused(field: str, value: object, message: str) -> None:
    content = make_content(STRUCTURES)
    content.check()
    with pytest.raises(StoreError, match=message):
        replace(content, **{field: value}).check()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("label", "row", "structure"), [("base", 2, "Al2O3"), ("patterns", 3, "Al2O3")])
def test_an_intensity_that_is_not_finite_is_refused_with_its_structure(
    value: float, label: str, row: int, structure: str
) -> None:
    content = make_content(STRUCTURES)
    getattr(content, label)[row, 17] = value
    with pytest.raises(StoreError, match=f"{label} row {row} .structure {structure}"):
        content.check()


def test_a_selection_holds_the_chosen_structures_in_the_chosen_order() -> None:
    chosen = make_content(STRUCTURES).select(np.array([2, 1]))
    chosen.check()
    assert chosen.structure_ids == ("Al2O3", "NiO")
    assert chosen.offsets.tolist() == [0, 5, 5]
    np.testing.assert_array_equal(chosen.patterns, [curve("Al2O3", v) for v in range(5)])
    np.testing.assert_array_equal(chosen.base, [curve("Al2O3", -1), curve("NiO", -1)])


def test_a_structures_digest_does_not_depend_on_its_shard_but_on_each_of_its_numbers() -> None:
    content = make_content(STRUCTURES)
    alone = make_content([("Al2O3", 5)]).structures()[0].digest
    assert content.structures()[2].digest == alone
    unit, values = content.parameters["u_iso"]
    changed = [
        replace(content, base=content.base + np.float32(1)),
        replace(content, patterns=np.nextafter(content.patterns, np.float32(9))),
        replace(content, variants=content.variants + 1),
        replace(content, parameters={"u_iso": (unit, np.nextafter(values, 9.0))}),
        replace(content, parameters={"u_iso": ("nm^2", values)}),
        replace(content, content_hashes=("other",) * 3),
    ]
    digests = [other.structures()[2].digest for other in changed]
    assert len({alone, *digests}) == 1 + len(changed)


def test_the_shards_digest_covers_what_the_structures_digests_do_not() -> None:
    content = make_content(STRUCTURES)
    changed = [
        replace(content, axis=Axis("r", "angstrom", R + 1e-12)),
        replace(content, axis=Axis("r", "nm", R)),
        replace(content, config_hash="other"),
        replace(content, engine="diffpy"),
        replace(content, code_version="0.2"),
        replace(content, signal_unit="1"),
    ]
    digests = [other.digest(other.structures()) for other in (content, *changed)]
    assert len(set(digests)) == len(digests)


def test_a_shards_name_follows_from_configuration_and_structures_alone() -> None:
    pairs = [("Fe", "a"), ("Ni", "b")]
    assert shard_name("c", pairs) == shard_name("c", list(pairs))
    others = [shard_name("d", pairs), shard_name("c", pairs[:1]), shard_name("c", [("Fe", "a"), ("Ni", "c")])]
    assert len({shard_name("c", pairs), *others}) == 4
