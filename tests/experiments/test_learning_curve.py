"""Learning curves: nested subsets by patient, paired intervals that hold the variation of training."""

import numpy as np
import pandas as pd
import pytest

from cspine.core.anatomy import TARGETS
from cspine.core.errors import LabelError
from cspine.datasets.locked_split import TRAIN, VALIDATION
from cspine.datasets.reference_standard import ReferenceStandard
from cspine.evaluation.cases import LEVELS, Cases
from cspine.experiments.learning_curve import interval_over_repeats, nested_splits, summarize_target


def make_reference(patients: int = 60) -> ReferenceStandard:
    generator = np.random.default_rng(0)
    studies = [f"{patient}.{number}" for patient in range(patients) for number in range(1 + patient % 2)]
    levels = generator.random((len(studies), 7)) < 0.15
    labels = pd.DataFrame(np.column_stack([levels.any(axis=1), levels]).astype(int), index=studies, columns=TARGETS)
    return ReferenceStandard("test", labels, pd.Series([name.split(".")[0] for name in studies], index=studies))


def test_smaller_fractions_are_subsets_by_patient_with_one_validation_set() -> None:
    reference = make_reference()

    splits = nested_splits(reference, [0.1, 1.0, 0.5], seed=3)

    patients = {fraction: set(reference.patients.loc[list(split.studies(TRAIN))]) for fraction, split in splits.items()}
    assert patients[0.1] < patients[0.5] < patients[1.0]
    assert [len(patients[each]) for each in (0.1, 0.5, 1.0)] == pytest.approx([4.8, 24, 48], abs=1.5)
    validation = {split.studies(VALIDATION) for split in splits.values()}
    assert len(validation) == 1
    assert not patients[1.0] & set(reference.patients.loc[list(validation.pop())])
    for split in splits.values():  # both studies of a patient, or none
        studies = split.studies(TRAIN)
        chosen = reference.patients.isin(set(reference.patients.loc[list(studies)]))
        assert set(studies) == set(reference.labels.index[chosen])
        assert split.sha256 == split.digest
    positive = reference.labels["patient_overall"].mean()
    assert reference.labels.loc[list(splits[0.5].studies(TRAIN)), "patient_overall"].mean() == pytest.approx(
        positive, abs=0.1
    )
    assert nested_splits(reference, [0.5], seed=3)[0.5].parts == splits[0.5].parts
    assert nested_splits(reference, [0.5], seed=4)[0.5].parts != splits[0.5].parts


def test_a_fraction_without_patients_is_refused() -> None:
    with pytest.raises(LabelError, match=r"^--train-fraction 0\.001: leaves no patient to train on"):
        nested_splits(make_reference(10), [0.001, 1.0], seed=0)


def make_cases(skill: float, seed: int) -> Cases:
    generator = np.random.default_rng(0)
    truth = (generator.random(400) < 0.4).astype(np.int64)
    noise = np.random.default_rng(seed + 1).normal(size=400)
    score = 1 / (1 + np.exp(-(skill * truth + noise)))
    numbers = np.arange(400)
    return Cases(LEVELS, truth, score, numbers, numbers // 4, np.ones(400, np.intp))


def test_intervals_are_paired_and_hold_the_variation_of_training() -> None:
    good = [make_cases(1.5, seed) for seed in range(3)]
    bad = [make_cases(0.5, seed) for seed in range(3)]
    unsteady = [make_cases(skill, 0) for skill in (0.2, 1.5, 3.0)]

    summary = summarize_target({0.1: bad, 0.5: unsteady, 1.0: good}, seed=0, n_resamples=400)

    interval, difference, repeats = summary[0.1]
    assert interval.value == pytest.approx(np.mean(repeats))
    assert interval.low < interval.value < interval.high
    assert difference is not None
    assert difference.high < 0
    assert difference.value == pytest.approx(interval.value - summary[1.0][0].value)
    width = {fraction: each[0].high - each[0].low for fraction, each in summary.items()}
    assert width[0.5] > 2 * width[1.0]
    assert summary[1.0][1] is None
    alone = summarize_target({1.0: good[:1]}, seed=0, n_resamples=400)[1.0][0]
    from cspine.metrics.bootstrap import bootstrap_auc, patient_weights, percentile_interval

    ranked = good[0]
    counts = patient_weights(np.arange(100), n_resamples=400, seed=0)[:, ranked.patients]
    expected = percentile_interval(alone.value, bootstrap_auc(ranked.truth, ranked.probability, counts))
    assert (alone.low, alone.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("test_error", [0.002, 0.02])
@pytest.mark.parametrize("repeats", [2, 3, 5])
def test_intervals_cover_the_true_value(repeats: int, test_error: float) -> None:
    """Trainings scatter by 0.02 around the true area; a plain bootstrap of three holds it in three of four cases."""
    generator, n_curves, covered = np.random.default_rng(repeats), 400, 0
    for seed in range(n_curves):
        values = 0.8 + generator.normal(scale=0.02, size=repeats) + generator.normal(scale=test_error)
        resampled = values.mean() + generator.normal(scale=test_error, size=500)
        interval = interval_over_repeats(values, resampled, seed=seed)
        covered += interval.low <= 0.8 <= interval.high

    assert 0.925 <= covered / n_curves <= 1.0
    alone = interval_over_repeats(np.array([0.9]), np.linspace(0.8, 1.0, 401), seed=0)
    assert (alone.low, alone.high) == pytest.approx((0.805, 0.995))  # the test patients alone


def test_intervals_of_areas_end_where_areas_do() -> None:
    interval = interval_over_repeats(np.array([0.9, 1.0]), np.full(500, 0.95), seed=0, limits=(0.0, 1.0))

    assert interval.low == pytest.approx(0.315, abs=0.05)
    assert interval.high == 1.0
