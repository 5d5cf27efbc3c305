"""Learning curves: the performance of one network against the number of patients that it was trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from cspine.core.anatomy import OVERALL, TARGETS
from cspine.core.errors import LabelError
from cspine.core.typing import Floats
from cspine.datasets.locked_split import TRAIN, VALIDATION, LockedSplit, hash_labels
from cspine.datasets.reference_standard import ReferenceStandard
from cspine.datasets.stratified_split import split_patients
from cspine.evaluation.cases import LEVELS, Cases
from cspine.metrics.bootstrap import N_RESAMPLES, Interval, bootstrap_auc, patient_weights, percentile_interval
from cspine.metrics.scores import auc

VALIDATION_FRACTION: Final = 0.2
"""Fraction of patients that select the epoch: the same ones for every fraction of the others."""

_UNUSED: Final = "unused"
"""Part of patients that a fraction leaves out of training."""


@dataclass(frozen=True)
class LearningCurvePoint:
    """Performance of the networks that were trained on one fraction of the patients.

    Attributes
    ----------
    fraction : float
        Fraction of the training patients.
    n_patients, n_studies : int
        Patients and studies of the training set, in the first repeat.
    patients, levels : Interval
        Areas under the ROC curve over patients and over vertebrae, means over the repeats.
    patients_difference, levels_difference : Interval or None
        Area minus that of the largest fraction; None for the largest.
    patients_repeats, levels_repeats : tuple of float
        Area of each repeat.
    """

    fraction: float
    n_patients: int
    n_studies: int
    patients: Interval
    levels: Interval
    patients_difference: Interval | None
    levels_difference: Interval | None
    patients_repeats: tuple[float, ...]
    levels_repeats: tuple[float, ...]


@dataclass(frozen=True)
class LearningCurve:
    """A learning curve.

    Attributes
    ----------
    network : str
        The network that was trained.
    views : int
        Sagittal images of a study, or views of each vertebra.
    n_repeats : int
        Trainings with each fraction, each with a seed and a nested sequence of subsets of its own.
    points : tuple of LearningCurvePoint
        One per fraction, ascending.
    n_test_studies, n_test_patients : int
        What the networks were evaluated on.
    is_phantom : bool
        Whether all of that are phantoms.
    """

    network: str
    views: int
    n_repeats: int
    points: tuple[LearningCurvePoint, ...]
    n_test_studies: int
    n_test_patients: int
    is_phantom: bool


def nested_splits(reference: ReferenceStandard, fractions: Sequence[float], *, seed: int) -> dict[float, LockedSplit]:
    """Return a split for each fraction: the patients of a smaller one are among those of each larger one.

    `VALIDATION_FRACTION` of the patients validate, the same for all fractions. Of the others each fraction is drawn
    from the next larger one, stratified over all eight targets.

    Parameters
    ----------
    reference : ReferenceStandard
        Labels and patients of the training studies.
    fractions : sequence of float
        Fractions of the patients that do not validate, in (0, 1].
    seed : int
        Seed of the draws.

    Raises
    ------
    LabelError
        A fraction has no patients.
    """
    labels, patients = reference.labels[list(TARGETS)], reference.patients
    parts = {TRAIN: 1.0 - VALIDATION_FRACTION, VALIDATION: VALIDATION_FRACTION}
    part_of = split_patients(labels, patients, parts, seed=seed)
    studies, larger, splits = part_of.index[part_of == TRAIN], 1.0, {}
    for fraction in sorted(fractions, reverse=True):
        if fraction < larger:
            share = fraction / larger
            chosen = split_patients(
                labels.loc[studies], patients.loc[studies], {TRAIN: share, _UNUSED: 1.0 - share}, seed=seed
            )
            studies, larger = chosen.index[chosen == TRAIN], fraction
        if studies.empty:
            raise LabelError(f"--train-fraction {fraction:g}: leaves no patient to train on; give a larger one")
        chosen_studies = set(map(str, studies))
        members: dict[str, list[str]] = {TRAIN: [], VALIDATION: [], _UNUSED: []}
        for study, part in part_of.items():
            name = str(study)
            members[VALIDATION if part == VALIDATION else TRAIN if name in chosen_studies else _UNUSED].append(name)
        split = LockedSplit(
            seed=seed,
            fractions={TRAIN: fraction * parts[TRAIN], VALIDATION: VALIDATION_FRACTION},
            labels_sha256=hash_labels(reference.labels),
            parts={part: tuple(sorted(each)) for part, each in members.items()},
        )
        splits[fraction] = split.model_copy(update={"sha256": split.digest})
    return splits


@dataclass(frozen=True)
class _Areas:
    """Areas under the ROC curve of the repeats of one fraction, (repeats,), and their means in each resample."""

    values: Floats
    resampled: Floats


def summarize_target(
    cases: Mapping[float, Sequence[Cases]], *, seed: int, n_resamples: int = N_RESAMPLES
) -> dict[float, tuple[Interval, Interval | None, tuple[float, ...]]]:
    """Return the area of each fraction, its difference to the largest fraction, and the area of each repeat.

    The intervals hold the variation of the test set's patients and, with two repeats or more, that of training (see
    `interval_over_repeats`). Fractions are resampled alike and repeats have their seeds, so that differences are
    paired.

    Parameters
    ----------
    cases : mapping of float to sequence of Cases
        Fraction to the cases of one target, one per repeat.
    seed : int
        Seed of the bootstrap.
    n_resamples : int
        Number of resamples.
    """
    first = next(iter(cases.values()))
    n_patients = int(first[0].patients.max()) + 1
    counts = patient_weights(np.arange(n_patients), n_resamples=n_resamples, seed=seed)
    areas = {}
    for fraction, of_repeats in cases.items():
        ranked = [each.ranked() for each in of_repeats]
        values = np.array([auc(each.truth, each.probability) for each in ranked])
        each_resampled = np.array(
            [bootstrap_auc(each.truth, each.probability, counts[:, each.patients]) for each in ranked]
        )
        areas[fraction] = _Areas(values, each_resampled.mean(axis=0))
    largest = areas[max(areas)]
    summary = {}
    for fraction, area in areas.items():
        interval = interval_over_repeats(area.values, area.resampled, seed=seed, limits=(0.0, 1.0))
        difference = None
        if area is not largest:
            values, resampled = area.values - largest.values, area.resampled - largest.resampled
            difference = interval_over_repeats(values, resampled, seed=seed, limits=(-1.0, 1.0))
        summary[fraction] = interval, difference, tuple(area.values.tolist())
    return summary


def interval_over_repeats(
    values: Floats, resampled: Floats, *, seed: int, limits: tuple[float, float] = (-np.inf, np.inf)
) -> Interval:
    """Return the mean of repeated trainings with an interval over test patients and trainings.

    A bootstrap of two or three trainings is too narrow: its variance is (n - 1) / n of the true one, and it takes
    that variance for known. Each resample of the patients therefore gets an error of training from Student's t
    distribution with n - 1 degrees of freedom, times the standard error of the n trainings. One training tells nothing
    of the variation of training, and its interval holds that of the patients alone.

    Parameters
    ----------
    values : (n,) float
        Estimate of each training.
    resampled : (n_resamples,) float
        Mean over the trainings in each resample of the test patients.
    seed : int
        Seed of the order of the errors of training.
    limits : (float, float)
        Lowest and highest possible value.

    Examples
    --------
    >>> interval = interval_over_repeats(np.array([0.7, 0.8, 0.9]), np.full(2000, 0.8), seed=0)
    >>> round(interval.low, 2), round(interval.high, 2)
    (0.55, 1.05)
    """
    n_repeats, n_resamples = len(values), len(resampled)
    errors = np.zeros(n_resamples)
    if n_repeats > 1:
        order = np.random.default_rng(seed).permutation(n_resamples)
        quantiles = stats.t.ppf((order + 0.5) / n_resamples, n_repeats - 1)
        errors = quantiles * values.std(ddof=1) / np.sqrt(n_repeats)
    return percentile_interval(float(values.mean()), np.clip(resampled + errors, *limits))


def summarize_points(
    cases: Mapping[float, Sequence[Mapping[str, Cases]]], sizes: Mapping[float, tuple[int, int]], *, seed: int
) -> tuple[LearningCurvePoint, ...]:
    """Return the points of a learning curve.

    Parameters
    ----------
    cases : mapping of float to sequence of mapping of str to Cases
        Fraction to the cases by target, one mapping per repeat.
    sizes : mapping of float to (int, int)
        Patients and studies of each training set.
    seed : int
        Seed of the bootstrap.
    """
    patients, levels = (
        summarize_target({fraction: [each[target] for each in of] for fraction, of in cases.items()}, seed=seed)
        for target in (OVERALL, LEVELS)
    )
    return tuple(
        LearningCurvePoint(
            fraction,
            *sizes[fraction],
            patients[fraction][0],
            levels[fraction][0],
            patients[fraction][1],
            levels[fraction][1],
            patients[fraction][2],
            levels[fraction][2],
        )
        for fraction in sorted(cases)
    )
