"""Areas under ROC curves and their covariance: by hand, by definition, and against the bootstrap."""

import numpy as np
import pytest

from cspine.core.errors import InputError
from cspine.metrics.bootstrap import bootstrap_auc, patient_weights
from cspine.metrics.delong import estimate_aucs
from cspine.metrics.scores import auc


def test_example_worked_by_hand() -> None:
    # Positives 3 and 2, negatives 2 and 1: 3 beats both, 2 beats 1 and ties with 2, so the area is 3.5 of 4.
    # Placement values: V10 1 and 0.75, V01 0.75 and 1; both have the variance 1/32.
    aucs = estimate_aucs([1, 1, 0, 0], [3.0, 2.0, 2.0, 1.0])

    assert aucs.values[0] == pytest.approx(0.875)
    assert aucs.covariance[0, 0] == pytest.approx(1 / 32 / 2 + 1 / 32 / 2)
    assert aucs.interval().low == pytest.approx(0.875 - 1.959964 / np.sqrt(32))
    assert aucs.interval().high == 1.0


def test_covariance_of_independent_cases_follows_delongs_definition() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random(60) < 0.4
    scores = np.round(truth * 0.8 + rng.normal(size=(2, 60)), 1)  # with ties
    wins = (scores[:, truth][:, :, None] > scores[:, ~truth][:, None]) * 1.0
    wins += 0.5 * (scores[:, truth][:, :, None] == scores[:, ~truth][:, None])
    v10, v01 = wins.mean(axis=2), wins.mean(axis=1)

    aucs = estimate_aucs(truth, scores)

    np.testing.assert_allclose(aucs.values, wins.mean(axis=(1, 2)))
    np.testing.assert_allclose(aucs.values, [auc(truth, row) for row in scores])
    expected = np.cov(v10) / v10.shape[1] + np.cov(v01) / v01.shape[1]
    np.testing.assert_allclose(aucs.covariance, expected)


def test_covariance_of_clustered_vertebrae_agrees_with_bootstrap() -> None:
    rng = np.random.default_rng(2)
    patients = np.repeat(np.arange(150), 7)
    effect = np.repeat(rng.normal(size=150), 7)  # of the patient, on both truth and score
    truth = effect + rng.normal(size=1050) > 1.2
    first = truth * 1.0 + 1.2 * effect + rng.normal(size=1050)
    second = truth * 0.7 + 1.2 * effect + rng.normal(size=1050)

    clustered = estimate_aucs(truth, [first, second], patients.tolist())
    independent = estimate_aucs(truth, [first, second])

    weights = patient_weights(patients, n_resamples=2000)
    resampled = [bootstrap_auc(truth, score, weights) for score in (first, second)]
    standard_error = np.sqrt(np.diag(clustered.covariance))
    np.testing.assert_allclose(standard_error, np.std(resampled, axis=1), rtol=0.1)
    assert (standard_error > 1.15 * np.sqrt(np.diag(independent.covariance))).all()
    difference = clustered.difference()
    half_width = (difference.interval.high - difference.interval.low) / 2 / 1.959964
    assert half_width == pytest.approx(np.std(resampled[0] - resampled[1]), rel=0.1)


def test_p_value_is_uniform_for_equal_models_and_small_for_unequal_ones() -> None:
    rng, p_values = np.random.default_rng(3), []
    for _ in range(200):
        truth = np.arange(80) < 30
        score = truth * 1.0 + rng.normal(size=80)
        p_values.append(estimate_aucs(truth, score + 0.7 * rng.normal(size=(2, 80))).difference().p_value)
    better = estimate_aucs(truth, [truth * 3.0 + rng.normal(size=80), truth * 0.5 + rng.normal(size=80)]).difference()

    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.045)
    assert better.p_value < 1e-3
    assert better.interval.low > 0
    same = estimate_aucs(truth, [score, 2.0 * score]).difference()
    assert (same.interval.value, same.p_value) == (0.0, 1.0)


def test_invalid_input_raises() -> None:
    with pytest.raises(InputError, match="1 patients with a positive and 3 with a negative; it takes two of each"):
        estimate_aucs([1, 0, 0, 0], [1.0, 2.0, 3.0, 4.0])
    with pytest.raises(InputError, match="1 patients with a positive"):
        estimate_aucs([1, 1, 0, 0], [1.0, 2.0, 3.0, 4.0], ["a", "a", "b", "c"])
    with pytest.raises(InputError, match="3 scores of 4 cases"):
        estimate_aucs([1, 1, 0, 0], [1.0, 2.0, 3.0])
    with pytest.raises(InputError, match="give a finite one for each case"):
        estimate_aucs([1, 1, 0, 0], [1.0, float("nan"), 3.0, 4.0])
