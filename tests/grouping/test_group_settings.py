"""Settings of grouping as a configuration will validate them."""

import pickle

import pytest
from pydantic import TypeAdapter, ValidationError

from hpc_mlsm.grouping.settings import GroupSettings


def test_defaults_are_those_of_the_paper():
    assert GroupSettings() == GroupSettings(threshold=0.95, linkage="single", memory_mb=1024)
    assert GroupSettings().memory_bytes == 2**30
    assert pickle.loads(pickle.dumps(GroupSettings(0.9))) == GroupSettings(0.9)


@pytest.mark.parametrize(
    "content", [{"threshold": 1.2}, {"threshold": -0.1}, {"linkage": "average"}, {"memory_mb": 0}, {"memory_mb": "x"}]
)
def test_values_out_of_range_are_refused_by_the_annotations(content: dict[str, object]):
    with pytest.raises(ValidationError):
        TypeAdapter(GroupSettings).validate_python(content)
