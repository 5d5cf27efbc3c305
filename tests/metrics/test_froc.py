"""FROC curves count each lesion once, and false positives per study."""

import numpy as np
import pytest

from cspine.core.errors import InputError
from cspine.metrics.froc import froc


def test_sensitivity_rises_with_false_positives() -> None:
    curve = froc([0.9, 0.8, 0.7, 0.6, 0.5], [0, -1, 0, 1, -1], n_lesions=4, n_studies=2)

    np.testing.assert_array_equal(curve.thresholds, [0.9, 0.8, 0.7, 0.6, 0.5])
    np.testing.assert_array_equal(curve.false_positives_per_study, [0.0, 0.5, 0.5, 0.5, 1.0])
    np.testing.assert_array_equal(curve.sensitivity, [0.25, 0.25, 0.25, 0.5, 0.5])
    assert curve.sensitivity_at(0.4) == 0.25
    assert curve.sensitivity_at(0.5) == 0.5
    assert (curve.threshold_at(0.5), curve.threshold_at(0.4)) == (0.6, 0.9)


def test_marks_of_equal_strength_form_one_step() -> None:
    curve = froc([0.5, 0.5], [0, -1], n_lesions=1, n_studies=1)

    assert (curve.sensitivity_at(0.5), curve.sensitivity_at(1.0)) == (0.0, 1.0)
    assert curve.threshold_at(0.5) == float("inf")


@pytest.mark.parametrize(("hits", "n_lesions"), [([0], 0), ([0, 1], 1)])
def test_invalid_input_raises(hits: list[int], n_lesions: int) -> None:
    with pytest.raises(InputError):
        froc([0.5], hits, n_lesions=n_lesions, n_studies=1)
