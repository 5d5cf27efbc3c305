import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from cspine.anatomy import CHALLENGE_POSITIVES, TARGETS, VERTEBRAE
from cspine.errors import InputError
from cspine.evaluate.kaggle import (
    best_constants,
    challenge_loss,
    challenge_losses,
    metric_optimal,
    submission,
    unweighted,
)


def challenge_table() -> npt.NDArray[np.float64]:
    """Return labels with the challenge's marginals and levels per study; which levels go together is drawn."""
    rng = np.random.default_rng(0)
    sizes = [size for size, count in ((6, 2), (5, 7), (4, 26), (3, 64), (2, 239), (1, 623)) for _ in range(count)]
    left = np.array([CHALLENGE_POSITIVES[level] for level in VERTEBRAE], float)
    truth = np.zeros((2019, 8))
    for row, size in enumerate(sizes):
        chosen = rng.choice(7, size, replace=False, p=left / left.sum())
        truth[row, 0] = truth[row, 1 + chosen] = 1
        left[chosen] -= 1
    assert truth.sum(axis=0).tolist() == [CHALLENGE_POSITIVES[target] for target in TARGETS]
    return truth


TRUTH = challenge_table()


def constant(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return np.tile(np.asarray(values, float), (len(TRUTH), 1))


def test_all_one_half_is_0_6931() -> None:
    assert challenge_loss(TRUTH, constant([0.5] * 8)) == pytest.approx(0.6931, abs=1e-4)
    assert challenge_loss(TRUTH, constant([0.5] * 8), normalise="global") == pytest.approx(0.6931, abs=1e-4)


def test_prevalences_and_best_constants_have_the_known_losses() -> None:
    # Known from the real table, normalised per study. Which levels go together there is not in the marginals, and
    # moves the loss in the fourth decimal.
    assert challenge_loss(TRUTH, constant(TRUTH.mean(axis=0))) == pytest.approx(0.5638, abs=5e-4)
    assert challenge_loss(TRUTH, constant(best_constants(TRUTH))) == pytest.approx(0.5573, abs=5e-4)


def test_no_constant_is_better_than_the_best() -> None:
    best = best_constants(TRUTH)

    def loss(values: npt.NDArray[np.float64]) -> float:
        return challenge_loss(TRUTH, constant(values))

    found = optimize.minimize(loss, best, bounds=[(1e-3, 0.999)] * 8)

    assert challenge_loss(TRUTH, constant(best)) <= found.fun + 1e-9


def test_globally_normalised_the_metric_optimal_prevalence_is_the_best_constant() -> None:
    best = metric_optimal(TRUTH.mean(axis=0))
    loss = challenge_loss(TRUTH, constant(best), normalise="global")

    for change in (0.98, 1.02):
        assert loss < challenge_loss(TRUTH, constant(np.clip(best * change, 0, 1)), normalise="global")


def test_a_case_worked_by_hand() -> None:
    # Study A: overall and C2 fractured. Weights 14, C1 1, C2 2, the other five 1: sum 22.
    # Loss: 14 ln(1/0.8) + 2 ln(1/0.5) + 6 ln(1/0.9) = 3.12401 + 1.38629 + 0.63216 = 5.14246; over 22: 0.233748.
    # Study B: nothing. Weights 7 + 7: 14. Loss: 7 ln(1/0.75) + 7 ln(1/0.9) = 2.01377 + 0.73752 = 2.75130; 0.196521.
    truth = [[1, 0, 1, 0, 0, 0, 0, 0], [0] * 8]
    probability = [[0.8, 0.1, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1], [0.25] + [0.1] * 7]

    assert challenge_losses(truth, probability) == pytest.approx([0.233748, 0.196521], abs=1e-6)
    assert challenge_loss(truth, probability) == pytest.approx(0.215135, abs=1e-6)
    assert challenge_loss(truth, probability, normalise="global") == pytest.approx(7.89376 / 36, abs=1e-6)


def test_certain_and_wrong_is_bad_but_finite() -> None:
    assert math.isfinite(challenge_loss([[1] * 8], [[0.0] * 8]))


@given(st.floats(0.0, 1.0), st.floats(0.5, 10.0))
def test_the_plain_probability_comes_back(p: float, weight: float) -> None:
    trained = weight * p / (1 + (weight - 1) * p)

    assert float(unweighted(trained, positive_weight=weight)) == pytest.approx(p, abs=1e-9)


@pytest.mark.parametrize(
    ("truth", "probability", "message"),
    [
        ([[0] * 7], [[0.5] * 7], r"labels are \(1, 7\)"),
        ([[0] * 8], [[0.5] * 8] * 2, "both must be"),
        ([[2] + [0] * 7], [[0.5] * 8], "1 labels are neither 0 nor 1"),
        ([[0] * 8], [[0.5] * 7 + [1.5]], "1 probabilities are not from 0 to 1, first in row 0, C7: 1.5"),
        ([[0] * 8], [[float("nan")] + [0.5] * 7], "patient_overall: nan"),
        (np.zeros((0, 8)), np.zeros((0, 8)), "no studies"),
    ],
)
def test_bad_input_is_named(truth: npt.ArrayLike, probability: npt.ArrayLike, message: str) -> None:
    with pytest.raises(InputError, match=message):
        challenge_loss(truth, probability)


def test_submission_has_eight_rows_per_study_in_the_challenges_order() -> None:
    table = submission(["1.1", "1.2"], np.arange(16).reshape(2, 8) / 16)

    assert table["row_id"].tolist()[:8] == [*(f"1.1_C{n}" for n in range(1, 8)), "1.1_patient_overall"]
    assert table["fractured"].tolist()[:8] == [n / 16 for n in (1, 2, 3, 4, 5, 6, 7, 0)]
    with pytest.raises(InputError, match="stands twice"):
        submission(["1.1", "1.1"], np.zeros((2, 8)))
    with pytest.raises(InputError, match="as studies need"):
        submission(["1.1"], np.zeros((2, 8)))
