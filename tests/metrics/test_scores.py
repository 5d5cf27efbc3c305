"""Point estimates, by hand and on the challenge's labels."""

import math

import numpy as np
import pandas as pd
import pytest

from cspine.core.errors import InputError
from cspine.metrics import scores as metrics


def test_auc_counts_ties_half_and_needs_two_classes() -> None:
    # Positives 0.4 and 0.8 against negatives 0.4 and 0.1: half + one + one + one of four pairs.
    assert metrics.auc([1, 0, 1, 0], [0.4, 0.4, 0.8, 0.1]) == 3.5 / 4
    for labels in ([], [0, 0], [1, 1]):
        assert math.isnan(metrics.auc(labels, [0.5] * len(labels)))


def test_threshold_is_inclusive() -> None:
    truth, probability = [1, 1, 1, 0, 0], [0.5, 0.9, 0.49, 0.5, 0.1]

    assert metrics.confusion(truth, probability, 0.5) == (2, 1, 1, 1)
    assert metrics.sensitivity_specificity(truth, probability, 0.5) == (2 / 3, 1 / 2)
    assert metrics.label_accuracy([1, 1, 0], [0.5, 0.4, 0.1], 0.5) == 2 / 3
    assert np.isnan(metrics.sensitivity_specificity([0, 0], [0.1, 0.9], 0.5)).tolist() == [True, False]


def test_brier_score_by_hand() -> None:
    assert metrics.brier([1, 0], [0.8, 0.4]) == pytest.approx((0.04 + 0.16) / 2)


def test_all_negative_predictions_are_correct_for_85_percent_of_labels(challenge: pd.DataFrame) -> None:
    assert metrics.all_negative_accuracy(challenge) == pytest.approx(0.851, abs=5e-4)


def test_roc_curve_spans_unit_square_and_needs_two_classes() -> None:
    x, y = metrics.roc_points([0, 1, 0, 1], [0.1, 0.4, 0.35, 0.8])

    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(y, x) == pytest.approx(metrics.auc([0, 1, 0, 1], [0.1, 0.4, 0.35, 0.8]))
    with pytest.raises(InputError, match="no ROC curve"):
        metrics.roc_points([1, 1], [0.1, 0.2])


def test_reliability_of_true_probabilities_is_diagonal() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random(200_000)

    mean, observed, counts = metrics.reliability(rng.random(200_000) < probability, probability)

    np.testing.assert_allclose(observed, mean, atol=0.02)
    assert counts.sum() == 200_000


def test_reliability_bins_include_their_lower_edge() -> None:
    mean, observed, counts = metrics.reliability([0, 1, 1], [0.0, 0.1, 1.0])

    assert counts.tolist() == [1, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert observed[[0, 1, 9]].tolist() == [0, 1, 1]
    assert np.isnan(mean[2])
