"""Calibration maps recover known probabilities, and are chosen by cross-validation over patients."""

import numpy as np
import pytest
from pydantic import ValidationError

from cspine.core.typing import Floats
from cspine.metrics.calibration import Calibration
from cspine.metrics.fit_calibration import fit_calibration, log_loss


def simulate(count: int, *, slope: float, intercept: float) -> tuple[Floats, Floats, Floats]:
    """Return outcomes, scores that are miscalibrated by a line on the logit, and the true probabilities."""
    rng = np.random.default_rng(3)
    logit = rng.normal(-1.0, 2.0, count)
    probability = 1 / (1 + np.exp(-(slope * logit + intercept)))
    return (rng.random(count) < probability).astype(float), 1 / (1 + np.exp(-logit)), probability


@pytest.mark.parametrize(("slope", "intercept"), [(0.4, 0.0), (1.0, 1.5), (2.0, -1.0)])
def test_fitted_map_recovers_true_probabilities(slope: float, intercept: float) -> None:
    truth, score, probability = simulate(4000, slope=slope, intercept=intercept)

    calibration = fit_calibration(truth, score, np.arange(4000))

    assert np.abs(calibration.apply(score) - probability).mean() < 0.02
    assert np.abs(score - probability).mean() > 0.05


def test_calibrated_scores_hardly_change() -> None:
    truth, score, _ = simulate(4000, slope=1.0, intercept=0.0)

    calibration = fit_calibration(truth, score, np.arange(4000))

    assert np.abs(calibration.apply(score) - score).mean() < 0.02


def test_step_function_is_fitted_by_isotonic_regression() -> None:
    rng = np.random.default_rng(5)
    score = rng.random(6000)
    probability = np.where(score < 0.5, 0.1, 0.9)
    truth = (rng.random(6000) < probability).astype(float)

    calibration = fit_calibration(truth, score, np.arange(6000))

    assert calibration.method == "isotonic"
    assert np.abs(calibration.apply(score) - probability).mean() < 0.03
    assert np.all(np.diff(calibration.apply(np.linspace(0, 1, 101))) >= 0)


def test_weights_correct_for_case_mix() -> None:
    truth, score, _ = simulate(6000, slope=1.0, intercept=0.0)
    weights = np.where(truth > 0, 0.25, 1.0)

    calibration = fit_calibration(truth, score, np.arange(6000), weights)

    assert np.average(calibration.apply(score), weights=weights) == pytest.approx(
        np.average(truth, weights=weights), abs=0.01
    )
    assert log_loss(truth, calibration.apply(score), weights) < log_loss(truth, score, weights)


def test_too_few_positives_leave_scores_unchanged() -> None:
    truth = np.r_[np.ones(5), np.zeros(200)]

    assert fit_calibration(truth, np.linspace(0.9, 0.1, 205), np.arange(205)).method == "none"


def test_folds_do_not_share_patients() -> None:
    """With two copies of every case, folds that share patients would favor the most flexible method."""
    rng = np.random.default_rng(8)
    score = np.repeat(rng.random(150), 2)
    truth = np.repeat((rng.random(150) < 0.5).astype(float), 2)

    assert fit_calibration(truth, score, np.repeat(np.arange(150), 2)).method != "isotonic"


def test_invalid_breakpoints_raise() -> None:
    with pytest.raises(ValidationError, match="must be increasing"):
        Calibration(method="isotonic", raw=(0.1, 0.5), calibrated=(0.4, 0.2))
    with pytest.raises(ValidationError, match="as many"):
        Calibration(method="isotonic", raw=(0.1, 0.5), calibrated=(0.4,))


def test_nan_stays_nan() -> None:
    assert np.isnan(Calibration(method="isotonic", raw=(0.0, 1.0), calibrated=(0.1, 0.9)).apply([np.nan, 0.5]))[0]
    assert np.isnan(Calibration().apply([np.nan]))[0]
