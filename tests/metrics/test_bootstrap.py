"""Bootstrap and Wilson intervals, against resampling by hand, theory and published values."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from cspine.core.errors import InputError
from cspine.metrics.bootstrap import (
    bootstrap_auc,
    bootstrap_mean,
    bootstrap_ratio,
    patient_weights,
    percentile_interval,
    wilson_interval,
)


def test_bootstrap_auc_with_ties_equals_auc_of_repeated_cases() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random(60) < 0.4
    score = np.round(truth * 0.5 + rng.random(60), 1)  # many ties
    weights = patient_weights(rng.integers(0, 40, 60), n_resamples=25, seed=3)

    fast = bootstrap_auc(truth, score, weights)

    slow = [roc_auc_score(np.repeat(truth, row), np.repeat(score, row)) for row in weights]
    np.testing.assert_allclose(fast, slow)


def test_bootstrap_mean_and_ratio_equal_those_of_repeated_cases() -> None:
    rng = np.random.default_rng(2)
    numerator, denominator = rng.random(30), rng.random(30) + 1
    weights = patient_weights(rng.integers(0, 20, 30), n_resamples=10, seed=0)

    repeated = [(np.repeat(numerator, row), np.repeat(denominator, row)) for row in weights]

    np.testing.assert_allclose(bootstrap_mean(numerator, weights), [a.mean() for a, _ in repeated])
    np.testing.assert_allclose(
        bootstrap_ratio(numerator, denominator, weights), [a.sum() / b.sum() for a, b in repeated]
    )


def test_resample_of_one_class_is_excluded_and_counted() -> None:
    weights = np.array([[1, 1, 0], [0, 1, 2], [1, 0, 2]], np.int32)

    resampled = bootstrap_auc([1, 1, 0], [0.9, 0.2, 0.1], weights)
    interval = percentile_interval(1.0, resampled)

    assert np.isnan(resampled).tolist() == [True, False, False]
    assert interval.n_undefined == 1
    assert (interval.low, interval.high) == (1.0, 1.0)


def test_auc_of_one_class_has_no_interval() -> None:
    resampled = bootstrap_auc([1, 1, 1], [0.9, 0.2, 0.1], patient_weights([1, 2, 3], n_resamples=40))

    interval = percentile_interval(math.nan, resampled)

    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert interval.n_undefined == 40


def test_studies_of_one_patient_are_resampled_together() -> None:
    weights = patient_weights(["a", "a", "b", "c"], n_resamples=50, seed=0)

    assert np.array_equal(weights[:, 0], weights[:, 1])
    assert not np.array_equal(weights[:, 0], weights[:, 2])
    assert np.all(weights[:, 1:].sum(axis=1) == 3)


def test_interval_of_clustered_studies_is_wider() -> None:
    values = np.repeat(np.random.default_rng(0).normal(size=100), 4)  # four equal studies per patient
    independent, clustered = np.arange(400), np.repeat(np.arange(100), 4)

    widths = [
        np.ptp(np.quantile(bootstrap_mean(values, patient_weights(patients)), [0.025, 0.975]))
        for patients in (independent, clustered)
    ]

    assert widths[1] / widths[0] == pytest.approx(2.0, abs=0.15)


def test_same_seed_gives_same_weights() -> None:
    first, again, other = (patient_weights(np.arange(20), n_resamples=5, seed=seed) for seed in (1, 1, 2))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(("patients", "n_resamples"), [([], 10), ([1, 2], 0)])
def test_bootstrap_without_patients_or_resamples_raises(patients: list[int], n_resamples: int) -> None:
    with pytest.raises(InputError, match="a bootstrap needs one of each"):
        patient_weights(patients, n_resamples=n_resamples)


def test_interval_of_mean_agrees_with_normal_theory() -> None:
    values = np.random.default_rng(0).normal(size=400)
    resampled = bootstrap_mean(values, patient_weights(np.arange(400), n_resamples=4000, seed=1))

    interval = percentile_interval(float(values.mean()), resampled)

    half = 1.96 * values.std() / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.015)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.015)


def test_interval_of_auc_has_nominal_coverage() -> None:
    # Binormal scores one standard deviation apart: the AUC is Phi(1 / sqrt 2) = 0.760.
    true, rng = float(stats.norm.cdf(1 / math.sqrt(2))), np.random.default_rng(0)
    truth, covered = np.arange(120) < 50, 0
    for seed in range(200):
        score = rng.normal(size=120) + truth
        resampled = bootstrap_auc(truth, score, patient_weights(np.arange(120), n_resamples=200, seed=seed))
        interval = percentile_interval(float(roc_auc_score(truth, score)), resampled)
        covered += interval.low <= true <= interval.high

    assert 0.88 <= covered / 200 <= 0.99


def test_wilson_interval_at_limits_and_by_its_formula() -> None:
    none, some, every = wilson_interval(0, 10), wilson_interval(961, 2019), wilson_interval(10, 10)

    assert none.low == 0.0
    assert none.high == pytest.approx(0.2775, abs=1e-4)
    assert every.low == pytest.approx(0.7225, abs=1e-4)
    assert every.high == pytest.approx(1.0, abs=1e-12)
    assert every.high <= 1.0
    p, n, z = 961 / 2019, 2019, float(stats.norm.ppf(0.975))
    center = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half_width = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert (some.value, some.low, some.high) == pytest.approx((p, center - half_width, center + half_width), rel=1e-12)
    assert math.isnan(wilson_interval(0, 0).value)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_agrees_with_newcombe(successes: int, trials: int, low: float, high: float) -> None:
    interval = wilson_interval(successes, trials)  # R. G. Newcombe, Stat Med 17 (1998) 857-872, table I, method 3

    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)
