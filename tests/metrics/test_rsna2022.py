import math

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from cspine.core.errors import InputError, LabelError
from cspine.metrics.rsna2022 import (
    best_constants,
    challenge_loss,
    challenge_losses,
    challenge_weights,
    constant_baselines,
    metric_optimal,
    study_optimal,
    submission,
    unweighted,
)

Floats = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def truth(challenge: pd.DataFrame) -> Floats:
    return challenge.to_numpy(float)


def loss(truth: Floats, constants: npt.ArrayLike, normalise: str = "study") -> float:
    values = np.tile(np.asarray(constants, float), (len(truth), 1))
    return challenge_loss(truth, values, normalise=normalise)  # type: ignore[arg-type]


@pytest.mark.parametrize("normalise", ["study", "global"])
def test_all_one_half_is_0_6931(truth: Floats, normalise: str) -> None:
    assert loss(truth, [0.5] * 8, normalise) == pytest.approx(0.6931, abs=1e-4)


def test_the_known_losses_of_constants_are_normalised_per_study(truth: Floats) -> None:
    # 0.5638 and 0.5573 are known from the real table. Which levels go together in it is known for four pairs only; a
    # linear programme over all tables that agree with what is known leaves 0.5632..0.5644 for the first and about
    # 0.5568..0.5579 for the second, while their difference hardly moves.
    prevalence, best = loss(truth, truth.mean(axis=0)), loss(truth, best_constants(truth))

    assert prevalence == pytest.approx(0.5638, abs=4e-4)
    assert best == pytest.approx(0.5573, abs=4e-4)
    assert prevalence - best == pytest.approx(0.5638 - 0.5573, abs=1e-4)


def test_globally_normalised_the_losses_of_constants_are_others(truth: Floats) -> None:
    # Exact, because they follow from the marginals alone.
    prevalence = truth.mean(axis=0)

    assert loss(truth, prevalence, "global") == pytest.approx(0.6127, abs=5e-5)
    assert loss(truth, metric_optimal(prevalence), "global") == pytest.approx(0.5667, abs=6e-5)


def test_no_constant_is_better_than_the_best(truth: Floats) -> None:
    best = best_constants(truth)

    def of(constants: Floats) -> float:
        return loss(truth, constants)

    found = optimize.minimize(of, best, bounds=[(1e-3, 0.999)] * 8)

    assert loss(truth, best) <= found.fun + 1e-9


@pytest.mark.parametrize("change", [0.98, 1.02])
def test_globally_normalised_the_metric_optimal_prevalence_is_the_best_constant(truth: Floats, change: float) -> None:
    best = metric_optimal(truth.mean(axis=0))

    assert loss(truth, best, "global") < loss(truth, np.clip(best * change, 0, 1), "global")


def test_each_normalisation_has_its_own_optimal_form_of_calibrated_probabilities(truth: Floats) -> None:
    # Scores are normal around each label, so that Bayes' rule over the table's own patterns gives the true posterior.
    rng = np.random.default_rng(1)
    patterns, counts = np.unique(truth, axis=0, return_counts=True)
    drawn = truth[rng.integers(0, len(truth), 6000)]
    score = drawn[:, 1:] + rng.normal(size=(6000, 7))
    chance = np.exp(score @ patterns[:, 1:].T - 0.5 * patterns[:, 1:].sum(axis=1)) * counts
    plain = np.clip(chance @ patterns / chance.sum(axis=1, keepdims=True), 0, 1)

    by_study = [challenge_loss(drawn, form) for form in (study_optimal(plain), plain, metric_optimal(plain))]
    overall = [
        challenge_loss(drawn, form, normalise="global") for form in (metric_optimal(plain), study_optimal(plain), plain)
    ]

    assert by_study == sorted(by_study)
    assert overall == sorted(overall)
    assert min(np.diff(by_study).min(), np.diff(overall).min()) > 0.003


def test_constants_from_the_prevalence_alone(truth: Floats) -> None:
    prevalence = truth.mean(axis=0)

    by_study, overall = constant_baselines(prevalence), constant_baselines(prevalence, normalise="global")

    assert list(by_study) == ["all 0.5", "prevalence", "best constants"]
    assert by_study["all 0.5"].tolist() == [0.5] * 8
    assert by_study["prevalence"].tolist() == prevalence.tolist()
    np.testing.assert_allclose(by_study["best constants"], best_constants(truth), atol=5e-3)
    assert loss(truth, by_study["best constants"]) == pytest.approx(loss(truth, best_constants(truth)), abs=5e-5)
    np.testing.assert_allclose(overall["best constants"], 2 * prevalence / (1 + prevalence))
    for wrong in ([0.1] * 7, [0.1] * 7 + [1.1], [0.1] * 7 + [math.nan]):
        with pytest.raises(InputError, match="not eight numbers from 0 to 1"):
            constant_baselines(wrong)


def test_a_case_worked_by_hand() -> None:
    # Study A: overall and C2 fractured. Weights 14, C1 1, C2 2, the other five 1: sum 22.
    # Loss: 14 ln(1/0.8) + 2 ln(1/0.5) + 6 ln(1/0.9) = 3.12401 + 1.38629 + 0.63216 = 5.14246; over 22: 0.233748.
    # Study B: nothing. Weights 7 + 7: 14. Loss: 7 ln(1/0.75) + 7 ln(1/0.9) = 2.01377 + 0.73752 = 2.75130; 0.196521.
    truth = [[1, 0, 1, 0, 0, 0, 0, 0], [0] * 8]
    probability = [[0.8, 0.1, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1], [0.25] + [0.1] * 7]

    assert challenge_weights(truth).sum(axis=1).tolist() == [22, 14]
    assert challenge_losses(truth, probability) == pytest.approx([0.233748, 0.196521], abs=1e-6)
    assert challenge_loss(truth, probability) == pytest.approx(0.215135, abs=1e-6)
    assert challenge_loss(truth, probability, normalise="global") == pytest.approx(7.89376 / 36, abs=1e-6)


def test_certain_and_wrong_is_bad_but_finite() -> None:
    assert challenge_loss([[1] * 8], [[0.0] * 8]) == pytest.approx(-math.log(1e-15))


@given(st.floats(0.0, 1.0), st.floats(0.5, 10.0))
def test_the_plain_probability_comes_back(p: float, weight: float) -> None:
    trained = weight * p / (1 + (weight - 1) * p)

    assert float(unweighted(trained, positive_weight=weight)) == pytest.approx(p, abs=1e-9)


@given(st.lists(st.floats(0.0, 1.0), min_size=8, max_size=8))
def test_the_best_form_per_study_is_a_probability_and_keeps_certainty(plain: list[float]) -> None:
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
def test_bad_input_is_named(truth: npt.ArrayLike, probability: npt.ArrayLike, message: str) -> None:
    with pytest.raises(InputError, match=message):
        challenge_loss(truth, probability)


def test_another_normalisation_is_refused(truth: Floats) -> None:
    with pytest.raises(InputError, match="'patient' is no normalisation"):
        loss(truth, [0.5] * 8, "patient")


def test_submission_has_eight_rows_per_study_in_the_challenges_order() -> None:
    table = submission(["1.1", "1.2"], np.arange(16).reshape(2, 8) / 16)

    assert table.columns.tolist() == ["row_id", "fractured"]
    assert table["row_id"].tolist()[:8] == [*(f"1.1_C{n}" for n in range(1, 8)), "1.1_patient_overall"]
    assert table["fractured"].tolist()[:8] == [n / 16 for n in (1, 2, 3, 4, 5, 6, 7, 0)]


def test_submission_gives_the_rows_that_are_asked_for_in_their_order() -> None:
    asked = ["1.2_patient_overall", "1.1_C7", "1.2_C1"]

    table = submission(["1.1", "1.2"], np.arange(16).reshape(2, 8) / 16, row_ids=asked)

    assert table["row_id"].tolist() == asked
    assert table["fractured"].tolist() == [8 / 16, 7 / 16, 9 / 16]


def test_submissions_that_do_not_fit_are_refused() -> None:
    values = np.zeros((1, 8))

    with pytest.raises(InputError, match="stands twice"):
        submission(["1.1", "1.1"], np.zeros((2, 8)))
    with pytest.raises(InputError, match="as studies need"):
        submission(["1.1"], np.zeros((2, 8)))
    with pytest.raises(InputError, match="not from 0 to 1, first in row 0, patient_overall: nan"):
        submission(["1.1"], values * math.nan)
    with pytest.raises(LabelError, match=r"2 of 3 rows of test\.csv have no probability.*\(first: 1\.2_C1, 1\.2_C2\)"):
        submission(["1.1"], values, row_ids=["1.1_C1", "1.2_C1", "1.2_C2"])
    with pytest.raises(LabelError, match=r"1 of 2 rows stand twice in test\.csv"):
        submission(["1.1"], values, row_ids=["1.1_C1", "1.1_C1"])
