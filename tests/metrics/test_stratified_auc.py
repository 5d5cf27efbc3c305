"""AUC within strata."""

from itertools import product

import numpy as np
import pytest

from cspine.metrics.scores import auc
from cspine.metrics.stratified_auc import stratified_auc


def _cases(seed: int) -> tuple[list[int], list[float], list[str], list[int]]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, 60).tolist()
    score = np.round(rng.random(60), 1).tolist()  # with ties
    strata = rng.choice(["C1", "C2", "C3"], 60).tolist()
    return truth, score, strata, [n // 3 for n in range(60)]


def test_value_is_the_fraction_of_pairs_within_strata_ranked_correctly() -> None:
    truth, score, strata, patients = _cases(0)
    cases = list(zip(truth, score, strata, strict=True))
    pairs = [
        (positive, negative)
        for (label, positive, one), (other_label, negative, other) in product(cases, cases)
        if label and not other_label and one == other
    ]
    expected = np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs])

    interval = stratified_auc(truth, score, strata, patients, n_resamples=200)

    assert interval.value == pytest.approx(expected)
    assert interval.low < interval.value < interval.high


def test_one_stratum_gives_the_plain_auc() -> None:
    truth, score, _, patients = _cases(1)

    interval = stratified_auc(truth, score, ["C1"] * len(truth), patients, n_resamples=50)

    assert interval.value == pytest.approx(auc(truth, score))


def test_score_of_the_stratum_alone_is_at_chance() -> None:
    truth, _, strata, patients = _cases(2)
    prevalence = {"C1": 0.1, "C2": 0.2, "C3": 0.9}

    interval = stratified_auc(truth, [prevalence[level] for level in strata], strata, patients, n_resamples=50)

    assert (interval.value, interval.low, interval.high) == (0.5, 0.5, 0.5)


def test_without_pairs_the_value_is_nan() -> None:
    interval = stratified_auc([1, 0], [0.5, 0.5], ["C1", "C2"], [0, 1], n_resamples=10)

    assert np.isnan(interval.value)
