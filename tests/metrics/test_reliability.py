"""Calibration slope, intercept and error, decision curves, predictive values."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from cspine.core.errors import InputError
from cspine.metrics.reliability import calibration_line, expected_calibration_error, net_benefit, predictive_values


def simulate(seed: int, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Return outcomes and their true probabilities."""
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-rng.normal(-1.0, 1.5, count)))
    return (rng.random(count) < p).astype(int), p


def miscalibrate(p: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-(slope * np.log(p / (1 - p)) + intercept))))


def test_line_agrees_with_logistic_regression() -> None:
    truth, p = simulate(1)
    probability = miscalibrate(p, 1.7, 0.4)

    line = calibration_line(truth, probability)

    logit = np.log(probability / (1 - probability))
    fitted = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000).fit(logit[:, None], truth)
    assert line.slope.value == pytest.approx(float(fitted.coef_[0, 0]), rel=1e-4)
    assert miscalibrate(probability, 1.0, line.intercept.value).sum() == pytest.approx(truth.sum(), abs=1e-4)
    assert line.slope.low < 1 / 1.7 < line.slope.high < 1.0
    assert line.intercept.high < 0.0  # probabilities are too high


def test_intervals_have_nominal_coverage() -> None:
    lines = [calibration_line(*simulate(seed, 400)) for seed in range(200)]

    for name, expected in (("slope", 1.0), ("intercept", 0.0)):
        is_covered = [getattr(line, name).low <= expected <= getattr(line, name).high for line in lines]
        assert np.mean(is_covered) == pytest.approx(0.95, abs=0.04)


def test_calibration_error_by_hand_and_of_calibrated_probabilities() -> None:
    # Bins of two: 0.1 and 0.2 with no event are 0.15 off, 0.7 and 0.9 with one event 0.3.
    assert expected_calibration_error([0, 0, 1, 0], [0.1, 0.2, 0.7, 0.9], bins=2) == pytest.approx((0.15 + 0.3) / 2)
    truth, p = simulate(2, 20000)
    assert expected_calibration_error(truth, p) < 0.01
    assert expected_calibration_error(truth, miscalibrate(p, 1.0, 1.0)) > 0.08
    assert expected_calibration_error([0, 1, 1], [0.5, 0.5, 0.5]) == pytest.approx(1 / 6)  # ties stay together


def test_net_benefit_follows_its_formula() -> None:
    truth, probability = [1, 1, 0, 0, 0], [0.8, 0.3, 0.6, 0.2, 0.1]

    model, treat_all = net_benefit(truth, probability, [0.25, 0.5])

    np.testing.assert_allclose(model, [2 / 5 - 1 / 5 * (1 / 3), 1 / 5 - 1 / 5])
    np.testing.assert_allclose(treat_all, [2 / 5 - 3 / 5 * (1 / 3), 2 / 5 - 3 / 5])


def test_predictive_values_depend_on_prevalence() -> None:
    values = [predictive_values(0.9, 0.9, prevalence) for prevalence in (0.04, 0.09, 0.5)]

    assert [ppv for ppv, _ in values] == pytest.approx([0.036 / 0.132, 0.081 / 0.172, 0.9])
    assert values[2][1] == pytest.approx(0.9)
    assert np.isnan(predictive_values(0.0, 1.0, 0.1)[0])


def test_invalid_input_raises() -> None:
    with pytest.raises(InputError, match="one class"):
        calibration_line([1, 1], [0.2, 0.3])
    with pytest.raises(InputError, match="all probabilities are equal"):
        calibration_line([1, 0], [0.2, 0.2])
    with pytest.raises(InputError, match="separate both classes"):
        calibration_line([1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1])
    with pytest.raises(InputError, match="all probabilities are equal"):
        calibration_line([1, 0, 1, 0], [0.5 + 1e-6, 0.5 - 1e-6, 0.5, 0.5 + 2e-6])
    with pytest.raises(InputError, match="outcomes are 0 or 1, and probabilities lie between"):
        expected_calibration_error([0, 1], [0.2, 1.2])
    with pytest.raises(InputError, match="3 probabilities of 2 cases"):
        net_benefit([0, 1], [0.1, 0.2, 0.3], [0.5])
    with pytest.raises(InputError, match="above 0 and below 1"):
        net_benefit([0, 1], [0.1, 0.2], [1.0])
    with pytest.raises(InputError, match="lie between 0 and 1"):
        predictive_values(1.2, 0.5, 0.1)
