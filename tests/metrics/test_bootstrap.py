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
    wilson,
)


def test_bootstrapped_auc_is_that_of_resampled_studies_ties_included() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random(60) < 0.4
    score = np.round(truth * 0.5 + rng.random(60), 1)  # many ties
    weights = patient_weights(rng.integers(0, 40, 60), draws=25, seed=3)

    fast = bootstrap_auc(truth, score, weights)

    slow = [roc_auc_score(np.repeat(truth, row), np.repeat(score, row)) for row in weights]
    np.testing.assert_allclose(fast, slow)


def test_bootstrapped_means_and_ratios_are_those_of_resampled_studies() -> None:
    rng = np.random.default_rng(2)
    above, below = rng.random(30), rng.random(30) + 1
    weights = patient_weights(rng.integers(0, 20, 30), draws=10, seed=0)

    drawn = [(np.repeat(above, row), np.repeat(below, row)) for row in weights]

    np.testing.assert_allclose(bootstrap_mean(above, weights), [a.mean() for a, _ in drawn])
    np.testing.assert_allclose(bootstrap_ratio(above, below, weights), [a.sum() / b.sum() for a, b in drawn])


def test_a_draw_with_one_class_is_left_out_and_counted() -> None:
    weights = np.array([[1, 1, 0], [0, 1, 2], [1, 0, 2]], np.int32)

    drawn = bootstrap_auc([1, 1, 0], [0.9, 0.2, 0.1], weights)
    interval = percentile_interval(1.0, drawn)

    assert np.isnan(drawn).tolist() == [True, False, False]
    assert interval.unusable == 1
    assert (interval.low, interval.high) == (1.0, 1.0)


def test_one_class_only_has_no_interval_and_every_draw_counted() -> None:
    drawn = bootstrap_auc([1, 1, 1], [0.9, 0.2, 0.1], patient_weights([1, 2, 3], draws=40))

    interval = percentile_interval(math.nan, drawn)

    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert interval.unusable == 40


def test_studies_of_one_patient_are_drawn_together() -> None:
    weights = patient_weights(["a", "a", "b", "c"], draws=50, seed=0)

    assert np.array_equal(weights[:, 0], weights[:, 1])
    assert not np.array_equal(weights[:, 0], weights[:, 2])
    assert np.all(weights[:, 1:].sum(axis=1) == 3)


def test_studies_of_one_patient_widen_the_interval() -> None:
    values = np.repeat(np.random.default_rng(0).normal(size=100), 4)  # four equal studies per patient
    alone, together = np.arange(400), np.repeat(np.arange(100), 4)

    widths = [
        np.ptp(np.quantile(bootstrap_mean(values, patient_weights(who)), [0.025, 0.975])) for who in (alone, together)
    ]

    assert widths[1] / widths[0] == pytest.approx(2.0, abs=0.15)


def test_the_same_seed_draws_the_same() -> None:
    first, again, other = (patient_weights(np.arange(20), draws=5, seed=seed) for seed in (1, 1, 2))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(("patients", "draws"), [([], 10), ([1, 2], 0)])
def test_nothing_to_draw_is_refused(patients: list[int], draws: int) -> None:
    with pytest.raises(InputError, match="a bootstrap needs one of each"):
        patient_weights(patients, draws=draws)


def test_the_interval_of_a_mean_is_about_that_of_theory() -> None:
    values = np.random.default_rng(0).normal(size=400)
    drawn = bootstrap_mean(values, patient_weights(np.arange(400), draws=4000, seed=1))

    interval = percentile_interval(float(values.mean()), drawn)

    half = 1.96 * values.std() / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.015)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.015)


def test_the_interval_of_an_auc_covers_the_truth_about_as_often_as_it_says() -> None:
    # Binormal scores one standard deviation apart: the AUC is Phi(1 / sqrt 2) = 0.760.
    true, rng = float(stats.norm.cdf(1 / math.sqrt(2))), np.random.default_rng(0)
    truth, covered = np.arange(120) < 50, 0
    for seed in range(200):
        score = rng.normal(size=120) + truth
        drawn = bootstrap_auc(truth, score, patient_weights(np.arange(120), draws=200, seed=seed))
        interval = percentile_interval(float(roc_auc_score(truth, score)), drawn)
        covered += interval.low <= true <= interval.high

    assert 0.88 <= covered / 200 <= 0.99


def test_wilson_at_the_ends_and_in_the_middle() -> None:
    none, some, all_of_them = wilson(0, 10), wilson(961, 2019), wilson(10, 10)

    assert none.low == 0.0
    assert none.high == pytest.approx(0.2775, abs=1e-4)
    assert all_of_them.low == pytest.approx(0.7225, abs=1e-4)
    assert all_of_them.high == pytest.approx(1.0, abs=1e-12)
    assert all_of_them.high <= 1.0
    expected = stats.binomtest(961, 2019).proportion_ci(method="wilson")
    assert (some.low, some.high) == pytest.approx((expected.low, expected.high))
    assert math.isnan(wilson(0, 0).value)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_what_newcombe_published(successes: int, trials: int, low: float, high: float) -> None:
    found = wilson(successes, trials)  # R. G. Newcombe, Stat Med 17 (1998) 857-872, table I, method 3

    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
