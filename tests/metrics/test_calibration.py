import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from cspine.metrics.calibration import Calibration
from cspine.metrics.fit_calibration import fit_calibration, log_loss

Floats = npt.NDArray[np.float64]


def _drawn(count: int, *, slope: float, offset: float) -> tuple[Floats, Floats, Floats]:
    """Outcomes, scores whose logits are to be scaled and moved, and the chances behind them."""
    rng = np.random.default_rng(3)
    logit = rng.normal(-1.0, 2.0, count)
    chance = 1 / (1 + np.exp(-(slope * logit + offset)))
    return (rng.random(count) < chance).astype(float), 1 / (1 + np.exp(-logit)), chance


@pytest.mark.parametrize(("slope", "offset"), [(0.4, 0.0), (1.0, 1.5), (2.0, -1.0)])
def test_a_curve_brings_scores_back_to_frequencies(slope: float, offset: float) -> None:
    truth, score, chance = _drawn(4000, slope=slope, offset=offset)

    found = fit_calibration(truth, score, np.arange(4000))

    assert np.abs(found.apply(score) - chance).mean() < 0.02
    assert np.abs(score - chance).mean() > 0.05


def test_scores_that_are_right_are_left_about_as_they_are() -> None:
    truth, score, _ = _drawn(4000, slope=1.0, offset=0.0)

    found = fit_calibration(truth, score, np.arange(4000))

    assert np.abs(found.apply(score) - score).mean() < 0.02


def test_a_bent_curve_takes_the_isotonic_way() -> None:
    rng = np.random.default_rng(5)
    score = rng.random(6000)
    chance = np.where(score < 0.5, 0.1, 0.9)
    truth = (rng.random(6000) < chance).astype(float)

    found = fit_calibration(truth, score, np.arange(6000))

    assert found.method == "isotonic"
    assert np.abs(found.apply(score) - chance).mean() < 0.03
    assert np.all(np.diff(found.apply(np.linspace(0, 1, 101))) >= 0)


def test_weights_stand_for_another_mix_of_patients() -> None:
    truth, score, _ = _drawn(6000, slope=1.0, offset=0.0)
    weights = np.where(truth > 0, 0.25, 1.0)

    found = fit_calibration(truth, score, np.arange(6000), weights)

    assert np.average(found.apply(score), weights=weights) == pytest.approx(
        np.average(truth, weights=weights), abs=0.01
    )
    assert log_loss(truth, found.apply(score), weights) < log_loss(truth, score, weights)


def test_few_positives_make_no_curve() -> None:
    truth = np.r_[np.ones(5), np.zeros(200)]

    assert fit_calibration(truth, np.linspace(0.9, 0.1, 205), np.arange(205)).method == "none"


def test_a_patient_is_never_on_both_sides() -> None:
    """With every patient seen twice, copies would make the bendiest curve look best."""
    rng = np.random.default_rng(8)
    score = np.repeat(rng.random(150), 2)
    truth = np.repeat((rng.random(150) < 0.5).astype(float), 2)

    assert fit_calibration(truth, score, np.repeat(np.arange(150), 2)).method != "isotonic"


def test_a_curve_that_falls_or_has_a_corner_too_many_is_refused() -> None:
    with pytest.raises(ValidationError, match="must rise"):
        Calibration(method="isotonic", raw=(0.1, 0.5), calibrated=(0.4, 0.2))
    with pytest.raises(ValidationError, match="as many"):
        Calibration(method="isotonic", raw=(0.1, 0.5), calibrated=(0.4,))


def test_what_is_not_known_stays_unknown() -> None:
    assert np.isnan(Calibration(method="isotonic", raw=(0.0, 1.0), calibrated=(0.1, 0.9)).apply([np.nan, 0.5]))[0]
    assert np.isnan(Calibration().apply([np.nan]))[0]
