"""Areas under ROC curves and their covariance: by hand, by definition, and against draws."""

import numpy as np
import pytest

from cspine.core.errors import InputError
from cspine.metrics.bootstrap import bootstrap_auc, patient_weights
from cspine.metrics.delong import areas
from cspine.metrics.scores import auc


def test_an_example_worked_by_hand() -> None:
    # Positives 3 and 2, negatives 2 and 1: 3 beats both, 2 beats 1 and ties with 2, so the area is 3.5 of 4.
    # Shares: of negatives below 1 and 0.75, of positives above 0.75 and 1; both have the variance 1/32.
    found = areas([1, 1, 0, 0], [3.0, 2.0, 2.0, 1.0])

    assert found.values[0] == pytest.approx(0.875)
    assert found.covariance[0, 0] == pytest.approx(1 / 32 / 2 + 1 / 32 / 2)
    assert found.interval().low == pytest.approx(0.875 - 1.959964 / np.sqrt(32))
    assert found.interval().high == 1.0


def test_single_cases_give_delongs_covariance_by_its_definition() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random(60) < 0.4
    scores = np.round(truth * 0.8 + rng.normal(size=(2, 60)), 1)  # with ties
    wins = (scores[:, truth][:, :, None] > scores[:, ~truth][:, None]) * 1.0
    wins += 0.5 * (scores[:, truth][:, :, None] == scores[:, ~truth][:, None])
    above, below = wins.mean(axis=2), wins.mean(axis=1)

    found = areas(truth, scores)

    np.testing.assert_allclose(found.values, wins.mean(axis=(1, 2)))
    np.testing.assert_allclose(found.values, [auc(truth, row) for row in scores])
    expected = np.cov(above) / above.shape[1] + np.cov(below) / below.shape[1]
    np.testing.assert_allclose(found.covariance, expected)


def test_vertebrae_of_a_patient_are_no_independent_cases() -> None:
    rng = np.random.default_rng(2)
    patients = np.repeat(np.arange(150), 7)
    own = np.repeat(rng.normal(size=150), 7)  # what a patient's vertebrae share, in truth and score
    truth = own + rng.normal(size=1050) > 1.2
    first = truth * 1.0 + 1.2 * own + rng.normal(size=1050)
    second = truth * 0.7 + 1.2 * own + rng.normal(size=1050)

    found, apart = areas(truth, [first, second], patients.tolist()), areas(truth, [first, second])

    weights = patient_weights(patients, draws=2000)
    drawn = [bootstrap_auc(truth, score, weights) for score in (first, second)]
    spread = np.sqrt(np.diag(found.covariance))
    np.testing.assert_allclose(spread, np.std(drawn, axis=1), rtol=0.1)
    assert (spread > 1.15 * np.sqrt(np.diag(apart.covariance))).all()
    gap = found.difference()
    half = (gap.interval.high - gap.interval.low) / 2 / 1.959964
    assert half == pytest.approx(np.std(drawn[0] - drawn[1]), rel=0.1)


def test_equal_systems_differ_by_chance_and_unequal_ones_do_not() -> None:
    rng, chances = np.random.default_rng(3), []
    for _ in range(200):
        truth = np.arange(80) < 30
        both = truth * 1.0 + rng.normal(size=80)
        chances.append(areas(truth, both + 0.7 * rng.normal(size=(2, 80))).difference().p)
    better = areas(truth, [truth * 3.0 + rng.normal(size=80), truth * 0.5 + rng.normal(size=80)]).difference()

    assert np.mean(np.array(chances) < 0.05) == pytest.approx(0.05, abs=0.045)
    assert better.p < 1e-3
    assert better.interval.low > 0
    same = areas(truth, [both, 2.0 * both]).difference()
    assert (same.interval.value, same.p) == (0.0, 1.0)


def test_what_cannot_be_told_is_refused() -> None:
    with pytest.raises(InputError, match="1 patients with a positive and 3 with a negative; it takes two of each"):
        areas([1, 0, 0, 0], [1.0, 2.0, 3.0, 4.0])
    with pytest.raises(InputError, match="1 patients with a positive"):
        areas([1, 1, 0, 0], [1.0, 2.0, 3.0, 4.0], ["a", "a", "b", "c"])
    with pytest.raises(InputError, match="3 scores of 4 cases"):
        areas([1, 1, 0, 0], [1.0, 2.0, 3.0])
    with pytest.raises(InputError, match="give a finite one for each case"):
        areas([1, 1, 0, 0], [1.0, float("nan"), 3.0, 4.0])
