"""Calibration's slope, intercept and error, decision curves, predictive values."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from cspine.core.errors import InputError
from cspine.metrics.reliability import calibration_line, expected_calibration_error, net_benefit, predictive_values


def drawn(seed: int, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes, and the probabilities that they were drawn by."""
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-rng.normal(-1.0, 1.5, count)))
    return (rng.random(count) < p).astype(int), p


def stretched(p: np.ndarray, times: float, more: float) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-(times * np.log(p / (1 - p)) + more))))


def test_slope_is_that_of_logistic_regression_and_the_intercept_balances_the_sums() -> None:
    truth, p = drawn(1)
    said = stretched(p, 1.7, 0.4)

    line = calibration_line(truth, said)

    logit = np.log(said / (1 - said))
    fitted = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000).fit(logit[:, None], truth)
    assert line.slope.value == pytest.approx(float(fitted.coef_[0, 0]), rel=1e-4)
    assert stretched(said, 1.0, line.intercept.value).sum() == pytest.approx(truth.sum(), abs=1e-4)
    assert line.slope.low < 1 / 1.7 < line.slope.high < 1.0
    assert line.intercept.high < 0.0  # said too much


def test_intervals_hold_what_is_true_nineteen_times_in_twenty() -> None:
    lines = [calibration_line(*drawn(seed, 400)) for seed in range(200)]

    for name, true in (("slope", 1.0), ("intercept", 0.0)):
        held = [getattr(line, name).low <= true <= getattr(line, name).high for line in lines]
        assert np.mean(held) == pytest.approx(0.95, abs=0.04)


def test_the_calibration_error_of_bins_worked_by_hand_and_of_what_is_calibrated() -> None:
    # Bins of two: 0.1 and 0.2 with no event are 0.15 off, 0.7 and 0.9 with one event 0.3.
    assert expected_calibration_error([0, 0, 1, 0], [0.1, 0.2, 0.7, 0.9], bins=2) == pytest.approx((0.15 + 0.3) / 2)
    truth, p = drawn(2, 20000)
    assert expected_calibration_error(truth, p) < 0.01
    assert expected_calibration_error(truth, stretched(p, 1.0, 1.0)) > 0.08
    assert expected_calibration_error([0, 1, 1], [0.5, 0.5, 0.5]) == pytest.approx(1 / 6)  # ties stay together


def test_decision_curves_are_those_of_their_formula() -> None:
    truth, said = [1, 1, 0, 0, 0], [0.8, 0.3, 0.6, 0.2, 0.1]

    own, everybody = net_benefit(truth, said, [0.25, 0.5])

    np.testing.assert_allclose(own, [2 / 5 - 1 / 5 * (1 / 3), 1 / 5 - 1 / 5])
    np.testing.assert_allclose(everybody, [2 / 5 - 3 / 5 * (1 / 3), 2 / 5 - 3 / 5])


def test_predictive_values_follow_the_prevalence() -> None:
    values = [predictive_values(0.9, 0.9, prevalence) for prevalence in (0.04, 0.09, 0.5)]

    assert [ppv for ppv, _ in values] == pytest.approx([0.036 / 0.132, 0.081 / 0.172, 0.9])
    assert values[2][1] == pytest.approx(0.9)
    assert np.isnan(predictive_values(0.0, 1.0, 0.1)[0])


def test_what_cannot_be_told_is_refused() -> None:
    with pytest.raises(InputError, match="one class"):
        calibration_line([1, 1], [0.2, 0.3])
    with pytest.raises(InputError, match="all probabilities are alike"):
        calibration_line([1, 0], [0.2, 0.2])
    with pytest.raises(InputError, match="separate both classes"):
        calibration_line([1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1])
    with pytest.raises(InputError, match="all probabilities are alike"):
        calibration_line([1, 0, 1, 0], [0.5 + 1e-6, 0.5 - 1e-6, 0.5, 0.5 + 2e-6])
    with pytest.raises(InputError, match="outcomes are 0 or 1, and probabilities lie between"):
        expected_calibration_error([0, 1], [0.2, 1.2])
    with pytest.raises(InputError, match="3 probabilities of 2 cases"):
        net_benefit([0, 1], [0.1, 0.2, 0.3], [0.5])
    with pytest.raises(InputError, match="above 0 and below 1"):
        net_benefit([0, 1], [0.1, 0.2], [1.0])
    with pytest.raises(InputError, match="lie between 0 and 1"):
        predictive_values(1.2, 0.5, 0.1)
