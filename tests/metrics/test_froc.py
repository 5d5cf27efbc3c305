"""Free-response curves count what is hit once, and false alarms per study."""

import numpy as np
import pytest

from cspine.core.errors import InputError
from cspine.metrics.froc import froc


def test_a_curve_rises_with_false_alarms() -> None:
    curve = froc([0.9, 0.8, 0.7, 0.6, 0.5], [0, -1, 0, 1, -1], broken=4, studies=2)

    np.testing.assert_array_equal(curve.threshold, [0.9, 0.8, 0.7, 0.6, 0.5])
    np.testing.assert_array_equal(curve.false_alarms, [0.0, 0.5, 0.5, 0.5, 1.0])
    np.testing.assert_array_equal(curve.sensitivity, [0.25, 0.25, 0.25, 0.5, 0.5])
    assert curve.at(0.4) == 0.25
    assert curve.at(0.5) == 0.5


def test_equal_strengths_are_one_step() -> None:
    curve = froc([0.5, 0.5], [0, -1], broken=1, studies=1)

    assert (curve.at(0.5), curve.at(1.0)) == (0.0, 1.0)


@pytest.mark.parametrize(("hits", "broken"), [([0], 0), ([0, 1], 1)])
def test_what_makes_no_curve_is_said(hits: list[int], broken: int) -> None:
    with pytest.raises(InputError):
        froc([0.5], hits, broken=broken, studies=1)
