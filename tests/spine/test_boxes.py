"""Sizes of scans that are plausible."""

import numpy as np
import pytest

from cspine.core.errors import NotAssessableError
from cspine.spine.boxes import require_plausible_size


@pytest.mark.parametrize("extent_mm", [(800.0, 800.0, 2200.0), (500.0, 500.0, 1000.0)])
def test_the_whole_body_is_plausible(extent_mm: tuple[float, float, float]) -> None:
    require_plausible_size(np.array(extent_mm))


@pytest.mark.parametrize("extent_mm", [(300.0, 300.0, 9000.0), (2000.0, 2000.0, 2000.0)])
def test_no_ct_is_larger_than_a_body(extent_mm: tuple[float, float, float]) -> None:
    with pytest.raises(NotAssessableError, match="m large, which no CT is") as raised:
        require_plausible_size(np.array(extent_mm))

    assert raised.value.code == "implausible-size"
