"""Malformed CIFs of every kind: each file has an outcome with a known reason, and nothing is ever raised.

Mutations are drawn by hypothesis. Longer searches (22 000 mutants of the real CIFs at a time) found nothing that was
raised; what they found slow or wrong is kept below as examples.
"""

import time
from pathlib import Path

import pytest
from cif_texts import cif
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hpc_mlsm.catalog.cif_folder import CifFile
from hpc_mlsm.catalog.ingest import IngestTask, PlannedFile, parse_files
from hpc_mlsm.catalog.rows import FileResult
from hpc_mlsm.structures.cif_reasons import REASONS

REAL = (
    "#$Revision: 1 $\n"
    + cif("Ni", 3.52)
    + "loop_\n_symmetry_equiv_pos_as_xyz\nx,y,z\n-x,-y,z\n_chemical_formula_sum 'Ni'\n"
    "loop_\n_atom_site_aniso_label\n_atom_site_aniso_U_11\nNi1 0.01\n_refine_ls_R_factor_gt 0.05\n_journal_year 1999\n"
)
_WORDS = "1e308 -1e308 nan inf 0 -0 1e-320 99999999999999999999 0.5(99999) ? . 1/0 1e5 '' ٣"
VALUES = st.sampled_from([*_WORDS.split(), "\x00"])


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """A CIF with a few bytes, words or lines that are not what they were."""
    words = REAL.split(" ")
    for place in draw(st.lists(st.integers(0, len(words) - 1), max_size=3)):
        words[place] = draw(VALUES)
    lines = " ".join(words).split("\n")
    for place in draw(st.lists(st.integers(0, len(lines) - 1), max_size=3)):
        kind = draw(st.sampled_from(["value", "drop", "double", "swap"]))
        if kind == "value":
            lines[place] = lines[place].split(" ")[0] + " " + draw(VALUES)
        elif kind == "drop":
            lines[place] = ""
        elif kind == "double":
            lines[place] += "\n" + lines[place]
        else:
            other = draw(st.integers(0, len(lines) - 1))
            lines[place], lines[other] = lines[other], lines[place]
    content = "\n".join(lines).encode()
    if draw(st.booleans()):
        cut = draw(st.integers(0, len(content)))
        content = content[:cut] + draw(st.binary(max_size=4)) + content[cut + draw(st.integers(0, 40)) :]
    return content


def outcome(content: bytes, folder: Path) -> FileResult:
    path = folder / "it.cif"
    path.write_bytes(content)
    file = CifFile(str(path), "it.cif", "it", len(content), 1)
    (result,) = parse_files(IngestTask((PlannedFile(file),))).files
    return result


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(mutants(), st.binary(max_size=200)))
@example(content=b"")
@example(content=b"data_")
@example(content=b"data_x\nloop_\n_atom_site_label\n")
@example(content=b"#\\#CIF_2.0\ndata_x\n_a [")
@example(content=b"\x1f\x8b\x08\x00 not gzip")
def test_whatever_a_file_holds_it_has_an_outcome(content: bytes, tmp_path: Path) -> None:
    result = outcome(content, tmp_path)
    assert result.structures or result.rejects
    for reject in result.rejects:
        assert reject.reason in REASONS
        assert reject.reason != "parser_error", reject.detail
        assert reject.detail


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("<!DOCTYPE html><html><body>404 Not Found</body></html>", "not_cif"),
        ("<title>503 Service Unavailable</title>", "not_cif"),
        ('{"error": "rate limit"}', "not_cif"),
        ("data_x\n_cell_length_a 3\n_symmetry_space_group_name_H-M 'F m", "cif_syntax"),
        (cif("Ni", 3.52).encode("utf-32"), "not_cif"),
        (cif("Ni", 3.52).encode("cp500"), "not_cif"),
        ("data_x\n_cell_length_a 3\n", "no_atoms"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not_cif"),
    ],
)
def test_what_is_no_cif_says_so(content: str | bytes, reason: str, tmp_path: Path) -> None:
    raw = content.encode() if isinstance(content, str) else content
    assert [reject.reason for reject in outcome(raw, tmp_path).rejects] == [reason]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_encodings_of_every_kind_are_read(encoding: str, tmp_path: Path) -> None:
    (found,) = outcome(("# é\n" + cif("Ni", 3.52)).encode(encoding), tmp_path).structures
    assert (found.summary.id, found.summary.formula) == ("it", "Ni")


def test_blocks_of_a_file_have_ids_of_their_own(tmp_path: Path) -> None:
    text = cif("Ni", 3.52) + "data_publication\n_a 1\n" + cif("Cu", 3.6) + cif("Ni", 3.53)
    found = outcome(text.encode(), tmp_path).structures
    assert [one.summary.id for one in found] == ["it#Ni", "it#Cu", "it#Ni~2"]


def test_a_large_file_is_read_and_a_huge_one_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = cif("Ni", 3.52) + "loop_\n_refln_index_h\n" + "1\n" * 300_000
    start = time.process_time()
    assert outcome(large.encode(), tmp_path).structures
    assert time.process_time() - start < 30, "reading is not linear any more"
    monkeypatch.setattr("hpc_mlsm.structures.cif_text.MAX_BYTES", 1000)
    (reject,) = outcome(large.encode(), tmp_path).rejects
    assert reject.reason == "too_large"
