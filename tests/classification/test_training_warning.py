"""Findings say that weights have learnt no fracture of a patient."""

import pytest

from cspine.classification.prediction import synthetic_data_warning
from cspine.core.findings import WeightsIdentity


@pytest.mark.parametrize(
    ("phantom_only", "synthetic_only", "words"),
    [(True, False, "phantoms only"), (True, True, "phantoms only"), (False, True, "virtual fractures in real CT")],
)
def test_weights_without_a_patients_fracture_are_warned_of(
    phantom_only: bool, synthetic_only: bool, words: str
) -> None:
    weights = WeightsIdentity(
        name="w", sha256="0" * 64, trained_on="x", phantom_only=phantom_only, synthetic_only=synthetic_only
    )
    of_patients = weights.model_copy(update={"phantom_only": False, "synthetic_only": False})

    (warning,) = synthetic_data_warning(None, of_patients, weights)

    assert words in warning
    assert "nothing clinical" in warning
    assert synthetic_data_warning(None, of_patients) == ()
