from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.scattering.settings import PdfSettings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"u_iso": (0.02, 0.01)}, "u_iso"),
        ({"u_iso": (0.0, 0.01)}, "u_iso"),
        ({"base_u_iso": 0.0}, "base_u_iso"),
        ({"q_damp": (-0.1, 0.0)}, "q_damp"),
        ({"q_damp": (0.1, float("nan"))}, "q_damp"),
        ({"diameter": 30.0}, "diameter"),
        ({"q_max": (20.0, 25.0), "q_min": (0.5, 21.0)}, "q_max"),
        ({"q_max": (20.0, 1000.0)}, "q_max"),
        ({"strain": 0.5}, "strain"),
        ({"strain": -0.01}, "strain"),
        ({"variants": 0}, "variants"),
        ({"engine": "debye"}, "engine"),
        ({"engine": "pdffit2"}, "q_min"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PdfSettings(**values)


def test_in_a_file_one_number_stands_for_a_parameter_that_is_not_varied() -> None:
    settings = TypeAdapter(PdfSettings).validate_python({"q_max": 20, "q_damp": [0.01, 0.05]})
    assert settings.q_max == (20.0, 20.0)
    assert settings.q_damp == (0.01, 0.05)
    with pytest.raises(ValidationError, match="q_max"):
        TypeAdapter(PdfSettings).validate_python({"q_max": "high"})


def test_the_engine_without_q_min_is_accepted_when_none_is_asked_for() -> None:
    assert PdfSettings(engine="pdffit2", q_min=(0.0, 0.0)).engine == "pdffit2"
