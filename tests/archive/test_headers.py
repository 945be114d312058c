"""Headers of the programs that make PDFs, written by hand after their format."""

import pytest

from hpc_mlsm.archive.headers import Columns, read_columns, read_metadata, read_units

GETX2 = """\
History written:    Mon Jan 06 10:11:12 2003
Produced by us
####### Get_XPDF #######

##### Experiment_Setup
title=PDF analysis
temperature=295.000    containermut=0.0200000    filtermut=0.0200000
lambda=0.135000    energy=91.8400    polartype=2
##### Sample_Setup information    num_atoms=2
#L symbol valence fractions z user_f1 user_f2 user_macoef
  Zn    0.00   1.000000    30   0.000000   0.000000   0.001000
  S     0.00   1.500000    16   0.000000   0.000000   0.001000
geometry=2    mut=0.20000000    numberdensity=0.0280000
##### SqGr_Optimization Setup
## SqOptimization  sqoptfunction=1
optqmin=20.0000    optqmax=40.0000    optrmin=0.50000    optrmax=2.20000
dampfq_isa=0    dampfqwidth=40.0000    smoothqmin=12.0000
## S(q)  qmin=0.900000    qmax=23.500000    qgrid=0.000000
## G(r)  rmin=0.000000    rmax=25.000000    rgrid=0.020000
##### start data
#F zns.gr
#S 1    G(r)
#L r(A)    G(r)    d_r    d_Gr
""".splitlines()

GETN = """\
History written: Tue Mar 04 09:00:00 2008
produced by us
##### Run Information     runCorrection=T
temp=12     runTitle=Run 7: T = 900 K is a lie
##### Sample Material     numElements=2     NormLaue=0.1
Element relAtomNum atomMass atomCoherCS atomIncoherCS atomAbsorpCS
   O        0.7500   15.999      4.2320        0.0008      0.00019
  Re        0.2500  186.207     10.6000        0.9000     89.70000
density=     effDensity=3.4138
##### Banks=2  deltaQ=0.01
bank   angle   blendQmin   blendQmax       (0.0 means no info)
  1     90.0        1.62    29.42
##### Program Specific Information
numRpoints=2000     maxR=20.0     numDensity=0.0   intMaxR=1.5
## Damp     Qmin=1.5     Qmax=31     startDampQ=30    QAveMin=0.6
##### start data
#O0 rg_int sig_rg_int low_int sig_low_int rmax rhofit
#S 1 - PDF from PDFgetN
#P0   -4.09986    0.44295    0.11702    0.01370    1.50  0.0731
#L r G(r) dr dG(r)
""".splitlines()

GETX3 = """\
[DEFAULT]

version = diffpy.pdfgetx-2.1.2
dataformat = twotheta
inputfile = a_2theta.xy
backgroundfile =
outputtype = gr
mode = xray
wavelength = 0.7093
composition = Si O2
bgscale = 1
rpoly = 0.9
qmaxinst = 17
qmin = 0.3
qmax = 16.5
rmin = 0
rmax = 30
rstep = 0.01
# End of config
#### start data
#S 1
#L r(Å)  G(Å$^{-2}$)
""".splitlines()


def test_pdfgetx2_header_is_read() -> None:
    assert read_metadata(GETX2) == {
        "temperature": 295.0,
        "wavelength": 0.135,
        "q_min": 0.9,
        "q_max": 23.5,
        "r_min": 0.0,
        "r_max": 25.0,
        "r_step": 0.02,
        "composition": "Zn1 S1.5",
        "program": "PDFgetX2",
        "radiation": "xray",
    }
    columns = read_columns(GETX2, 4, ".gr")
    assert columns == Columns(0, 1, 3, "r", ("r(A)", "G(r)", "d_r", "d_Gr"))
    assert read_units(columns) == ("angstrom", None)


def test_pdfgetn_header_is_read() -> None:
    assert read_metadata(GETN) == {
        "temperature": 12.0,
        "q_min": 1.5,
        "q_max": 31.0,
        "r_max": 20.0,
        "composition": "O0.75 Re0.25",
        "program": "PDFgetN",
        "radiation": "neutron",
    }
    assert read_columns(GETN, 4, ".gr") == Columns(0, 1, 3, "r", ("r", "G(r)", "dr", "dG(r)"))


def test_pdfgetx3_header_is_read() -> None:
    assert read_metadata(GETX3) == {
        "radiation": "xray",
        "wavelength": 0.7093,
        "composition": "Si O2",
        "q_max_inst": 17.0,
        "q_min": 0.3,
        "q_max": 16.5,
        "r_min": 0.0,
        "r_max": 30.0,
        "r_step": 0.01,
        "program": "PDFgetX3",
    }
    columns = read_columns(GETX3, 2, ".txt")
    assert (columns.axis, *read_units(columns)) == ("r", "angstrom", "1/angstrom^2")


def test_mantid_comment_is_read() -> None:
    header = ["#Comment: neutron, Qmin=0.5, Qmax=40.0, Qdamp=0.017, Qbroad=0.019", "##### start data"]
    assert read_metadata(header) == {"q_min": 0.5, "q_max": 40.0, "q_damp": 0.017, "q_broad": 0.019}


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("Qmax: 25", "q_max", 25.0),
        ('"qmax": 2.5e1,', "q_max", 25.0),
        ("qmax;25,5", "q_max", 25.5),
        ("wavelength = 0.01836 nm", "wavelength", 0.1836),
        ("wavelength = 0.1836 A", "wavelength", 0.1836),
        ("# Wavelength: 1.836e-11 m", "wavelength", 0.1836),
        ("temperature = 26.85 °C", "temperature", 300.0),
        ("temperature=300K", "temperature", 300.0),
        ("composition = Ba Ti O3   # powder", "composition", "Ba Ti O3"),
        ("mode = neutron", "radiation", "neutron"),
        ("qdamp=.04", "q_damp", 0.04),
    ],
)
def test_single_entries_are_read(line: str, key: str, value: str | float) -> None:
    found = read_metadata([line])
    assert list(found) == [key]
    assert found[key] == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value)


@pytest.mark.parametrize("line", ["optqmax=20", "qmax =", "qmaximum = 3", "x.qmax=3", "composition =", "blendQmin 3"])
def test_what_only_looks_like_an_entry_is_left_alone(line: str) -> None:
    assert read_metadata([line]) == {}


def test_first_mention_counts() -> None:
    assert read_metadata(["qmax=20", "qmax=30"]) == {"q_max": 20.0}


@pytest.mark.parametrize(
    ("header", "count", "suffix", "axis"),
    [
        ([], 2, ".gr", "r"),
        ([], 2, ".xy", None),
        ([], 3, ".xye", None),
        (["x y"], 2, ".dat", None),
        (["# G(r) of nickel"], 2, ".dat", "r"),
        (["rmax = 30"], 2, ".txt", "r"),
        (["qmaxinst = 30"], 2, ".txt", "r"),
        (["outputtype = gr"], 2, ".txt", "r"),
        (["outputtype = sq", "qmaxinst = 30", "rmax = 20"], 2, ".txt", "q"),
        (["## G(r) rmax=20", "#L Q(1/A) S(Q)"], 2, ".sq", "q"),
        (["## G(r) rmax=20"], 2, ".fq", "q"),
        (["2theta,counts"], 2, ".csv", "two_theta"),
        (["2θ\tI"], 2, ".txt", "two_theta"),
        (["# two_theta intensity"], 2, ".gr", "two_theta"),
        (["'2Th. (°) Intensity"], 2, ".xye", "two_theta"),
    ],
)
def test_abscissa_is_what_the_file_says_or_unknown(
    header: list[str], count: int, suffix: str, axis: str | None
) -> None:
    assert read_columns(header, count, suffix).axis == axis


@pytest.mark.parametrize(
    ("label", "count", "columns", "x_unit"),
    [
        ("r(nm);G(nm^-2)", 2, (0, 1, None), "nm"),
        ("r [nm]\tG(r) [nm^-2]", 2, (0, 1, None), "nm"),
        ("# r (A)   G(r) (1/A^2)   dG", 3, (0, 1, 2), "angstrom"),
        (",r,G,error", 4, (1, 2, 3), None),
        (";r;G", 3, (1, 2, None), None),
        ("G,r", 2, (1, 0, None), None),
        ("r difference G", 3, (0, 2, None), None),
        ("Q(nm^-1) I sigma", 3, (0, 1, 2), "1/nm"),
        ("Q[1/\u212b] I", 2, (0, 1, None), "1/angstrom"),
        ("2theta(deg) I", 2, (0, 1, None), "degree"),
        ("versus r", 2, (0, 1, None), None),
        ("r(A)" + " " * 200_000 + "G", 2, (0, 1, None), "angstrom"),
    ],
)
def test_column_names_choose_columns_and_units(
    label: str, count: int, columns: tuple[int, int, int | None], x_unit: str | None
) -> None:
    found = read_columns(["some title", label, ""], count, ".txt")
    assert (found.x, found.y, found.uncertainty) == columns
    assert read_units(found)[0] == x_unit


def test_third_column_is_an_uncertainty_only_where_the_format_says_so() -> None:
    assert read_columns([], 3, ".xye").uncertainty == 2
    assert read_columns([], 3, ".dat").uncertainty is None
