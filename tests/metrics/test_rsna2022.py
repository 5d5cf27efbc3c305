"""The challenge's metric against published losses, a case worked by hand and numerical optimization."""

import math

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from cspine.core.errors import InputError
from cspine.core.typing import Floats
from cspine.metrics.rsna2022 import (
    best_constants,
    challenge_loss,
    challenge_losses,
    challenge_weights,
    constant_baselines,
    metric_optimal,
    remove_positive_weight,
    study_optimal,
)


@pytest.fixture(scope="module")
def truth(challenge: pd.DataFrame) -> Floats:
    return challenge.to_numpy(float)


def loss(truth: Floats, constants: npt.ArrayLike, normalise: str = "study") -> float:
    values = np.tile(np.asarray(constants, float), (len(truth), 1))
    return challenge_loss(truth, values, normalise=normalise)  # type: ignore[arg-type]


@pytest.mark.parametrize("normalise", ["study", "global"])
def test_constant_one_half_has_loss_0_6931(truth: Floats, normalise: str) -> None:
    assert loss(truth, [0.5] * 8, normalise) == pytest.approx(0.6931, abs=1e-4)


def test_published_losses_of_constants_are_normalized_per_study(truth: Floats) -> None:
    # 0.5638 and 0.5573 are known from the real table. Its co-occurrence of levels is known for four pairs only; a
    # linear program over all tables that agree with what is known leaves 0.5632..0.5644 for the first and about
    # 0.5568..0.5579 for the second, while their difference hardly moves.
    prevalence, best = loss(truth, truth.mean(axis=0)), loss(truth, best_constants(truth))

    assert prevalence == pytest.approx(0.5638, abs=4e-4)
    assert best == pytest.approx(0.5573, abs=4e-4)
    assert prevalence - best == pytest.approx(0.5638 - 0.5573, abs=1e-4)


def test_losses_of_constants_under_global_normalization(truth: Floats) -> None:
    # Exact, because they follow from the marginals alone.
    prevalence = truth.mean(axis=0)

    assert loss(truth, prevalence, "global") == pytest.approx(0.6127, abs=5e-5)
    assert loss(truth, metric_optimal(prevalence), "global") == pytest.approx(0.5667, abs=6e-5)


def test_best_constants_are_optimal(truth: Floats) -> None:
    best = best_constants(truth)

    def objective(constants: Floats) -> float:
        return loss(truth, constants)

    optimum = optimize.minimize(objective, best, bounds=[(1e-3, 0.999)] * 8)

    assert loss(truth, best) <= optimum.fun + 1e-9


@pytest.mark.parametrize("change", [0.98, 1.02])
def test_metric_optimal_prevalence_is_best_constant_under_global_normalization(truth: Floats, change: float) -> None:
    best = metric_optimal(truth.mean(axis=0))

    assert loss(truth, best, "global") < loss(truth, np.clip(best * change, 0, 1), "global")


def test_each_normalization_has_its_own_optimal_transform(truth: Floats) -> None:
    # Scores are normal around each label, so that Bayes' rule over the table's own patterns gives the true posterior.
    rng = np.random.default_rng(1)
    patterns, counts = np.unique(truth, axis=0, return_counts=True)
    sample = truth[rng.integers(0, len(truth), 6000)]
    score = sample[:, 1:] + rng.normal(size=(6000, 7))
    likelihood = np.exp(score @ patterns[:, 1:].T - 0.5 * patterns[:, 1:].sum(axis=1)) * counts
    plain = np.clip(likelihood @ patterns / likelihood.sum(axis=1, keepdims=True), 0, 1)

    by_study = [challenge_loss(sample, form) for form in (study_optimal(plain), plain, metric_optimal(plain))]
    overall = [
        challenge_loss(sample, form, normalise="global")
        for form in (metric_optimal(plain), study_optimal(plain), plain)
    ]

    assert by_study == sorted(by_study)
    assert overall == sorted(overall)
    assert min(np.diff(by_study).min(), np.diff(overall).min()) > 0.003


def test_constant_baselines_from_prevalence(truth: Floats) -> None:
    prevalence = truth.mean(axis=0)

    by_study, overall = constant_baselines(prevalence), constant_baselines(prevalence, normalise="global")

    assert list(by_study) == ["all 0.5", "prevalence", "best constants"]
    assert by_study["all 0.5"].tolist() == [0.5] * 8
    assert by_study["prevalence"].tolist() == prevalence.tolist()
    np.testing.assert_allclose(by_study["best constants"], best_constants(truth), atol=5e-3)
    assert loss(truth, by_study["best constants"]) == pytest.approx(loss(truth, best_constants(truth)), abs=5e-5)
    np.testing.assert_allclose(overall["best constants"], 2 * prevalence / (1 + prevalence))
    for invalid in ([0.1] * 7, [0.1] * 7 + [1.1], [0.1] * 7 + [math.nan]):
        with pytest.raises(InputError, match="not eight numbers from 0 to 1"):
            constant_baselines(invalid)


def test_example_worked_by_hand() -> None:
    # Study A: overall and C2 fractured. Weights 14, C1 1, C2 2, the other five 1: sum 22.
    # Loss: 14 ln(1/0.8) + 2 ln(1/0.5) + 6 ln(1/0.9) = 3.12401 + 1.38629 + 0.63216 = 5.14246; over 22: 0.233748.
    # Study B: nothing. Weights 7 + 7: 14. Loss: 7 ln(1/0.75) + 7 ln(1/0.9) = 2.01377 + 0.73752 = 2.75130; 0.196521.
    truth = [[1, 0, 1, 0, 0, 0, 0, 0], [0] * 8]
    probability = [[0.8, 0.1, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1], [0.25] + [0.1] * 7]

    assert challenge_weights(truth).sum(axis=1).tolist() == [22, 14]
    assert challenge_losses(truth, probability) == pytest.approx([0.233748, 0.196521], abs=1e-6)
    assert challenge_loss(truth, probability) == pytest.approx(0.215135, abs=1e-6)
    assert challenge_loss(truth, probability, normalise="global") == pytest.approx(7.89376 / 36, abs=1e-6)


def test_certain_error_has_finite_loss() -> None:
    assert challenge_loss([[1] * 8], [[0.0] * 8]) == pytest.approx(-math.log(1e-15))


@given(st.floats(0.0, 1.0), st.floats(0.5, 10.0))
def test_remove_positive_weight_inverts_weighting(p: float, weight: float) -> None:
    trained = weight * p / (1 + (weight - 1) * p)

    assert float(remove_positive_weight(trained, positive_weight=weight)) == pytest.approx(p, abs=1e-9)


@given(st.lists(st.floats(0.0, 1.0), min_size=8, max_size=8))
def test_study_optimal_is_a_probability_and_keeps_certainty(plain: list[float]) -> None:
    best = study_optimal(plain)

    assert np.all((best >= 0) & (best <= 1))
    assert study_optimal([0.0] * 8).tolist() == [0.0] * 8
    assert study_optimal([1.0] * 8).tolist() == [1.0] * 8


@pytest.mark.parametrize(
    ("truth", "probability", "message"),
    [
        ([[0] * 7], [[0.5] * 7], r"labels are \(1, 7\)"),
        ([[0] * 8], [[0.5] * 8] * 2, "both must be"),
        ([[2] + [0] * 7], [[0.5] * 8], "1 labels are neither 0 nor 1"),
        ([[math.nan] + [0] * 7], [[0.5] * 8], "1 labels are neither 0 nor 1"),
        ([[0] * 8], [[0.5] * 7 + [1.5]], r"1 probabilities are not from 0 to 1, first in row 0, C7: 1\.5"),
        ([[0] * 8], [[math.nan] + [0.5] * 7], "patient_overall: nan"),
        (np.zeros((0, 8)), np.zeros((0, 8)), "no studies"),
    ],
)
def test_invalid_input_raises(truth: npt.ArrayLike, probability: npt.ArrayLike, message: str) -> None:
    with pytest.raises(InputError, match=message):
        challenge_loss(truth, probability)


def test_unknown_normalization_raises(truth: Floats) -> None:
    with pytest.raises(InputError, match="'patient' is no normalization"):
        loss(truth, [0.5] * 8, "patient")
