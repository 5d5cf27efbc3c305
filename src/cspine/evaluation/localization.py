"""Lesion localization: whether marks hit fractures, and whether the most suspicious level is the fractured one."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from cspine.core.anatomy import VERTEBRAE
from cspine.core.columns import POINT_COLUMNS, STUDY
from cspine.core.typing import Bools, Floats
from cspine.datasets.lesion_reference import LesionReference, Mark
from cspine.evaluation.cases import MatchedPredictions
from cspine.evaluation.operating_point_metrics import FixedOperatingPoints
from cspine.evaluation.predictions import Predictions
from cspine.metrics.bootstrap import Interval, proportion_interval
from cspine.metrics.froc import Froc, froc

FALSE_POSITIVE_RATES: Final = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""False positives per study at which the sensitivity of a FROC curve is reported."""

Vertebra = tuple[str, str]
"""StudyInstanceUID and level."""


@dataclass(frozen=True)
class LocalizationAtPoint:
    """Localization of fractured vertebrae at an operating point.

    Attributes
    ----------
    name : str
        Name of the operating point.
    threshold : float
        Threshold on the vertebra's probability.
    sensitivity : Interval
        Fraction of fractured vertebrae whose probability reaches the threshold.
    correct_location : Interval
        Fraction of those that have a mark of at least that strength which hits the fracture.
    """

    name: str
    threshold: float
    sensitivity: Interval
    correct_location: Interval


@dataclass(frozen=True)
class LesionLocalization:
    """Lesion localization of a model.

    Attributes
    ----------
    hit_criterion : str
        Criterion of a hit.
    n_studies, n_fractured : int
        Studies whose fractures are located, and fractured vertebrae in them.
    froc : Froc
        FROC curve of all marks.
    sensitivity_at : dict of float to Interval
        Sensitivity at `FALSE_POSITIVE_RATES`, with intervals of the patient bootstrap at a fixed threshold.
    operating_points : tuple of LocalizationAtPoint
        Localization at each operating point.
    """

    hit_criterion: str
    n_studies: int
    n_fractured: int
    froc: Froc
    sensitivity_at: dict[float, Interval]
    operating_points: tuple[LocalizationAtPoint, ...]


def evaluate_localization(
    matched: MatchedPredictions,
    model: Predictions,
    operating_points: FixedOperatingPoints,
    *,
    n_resamples: int,
    seed: int = 0,
) -> LesionLocalization | None:
    """Evaluate the locations that a model reports.

    Parameters
    ----------
    matched : MatchedPredictions
        With the reference locations. Vertebrae without a probability by one of the models do not count.
    model : Predictions
        Model whose marks are evaluated.
    operating_points : FixedOperatingPoints
        Operating points, of which the thresholds for vertebrae are used.
    n_resamples : int
        Number of bootstrap resamples.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    LesionLocalization or None
        None where the model reports no marks, or no location is known.

    Raises
    ------
    LabelError
        A file with reference locations is damaged.
    """
    lesions = matched.reference.lesions
    if lesions is None or model.marks is None:
        return None
    scored = _vertebra_probabilities(matched, model.name)
    located = _located_levels(matched, lesions)
    fractured = [(study, level) for study, levels in located.items() for level in levels if (study, level) in scored]
    if not fractured:
        return None
    index_of = {vertebra: index for index, vertebra in enumerate(fractured)}
    marks = [mark for mark in _match_marks(lesions, model.marks, index_of, located) if mark.vertebra in scored]
    strength, hits = np.array([mark.strength for mark in marks]), np.array([mark.hit for mark in marks], np.int64)
    curve = froc(strength, hits, n_lesions=len(fractured), n_studies=len(located))
    hit_strength = _max_hit_strength(marks, len(fractured))
    probability = np.array([scored[vertebra] for vertebra in fractured])
    patients = np.array([str(matched.reference.patients[study]) for study, _ in fractured])
    everyone = np.ones(len(fractured), bool)

    def proportion(is_success: Bools, is_included: Bools) -> Interval:
        return proportion_interval(is_success, is_included, patients, n_resamples=n_resamples, seed=seed)

    return LesionLocalization(
        lesions.hit_criterion,
        len(located),
        len(fractured),
        curve,
        {rate: proportion(hit_strength >= curve.threshold_at(rate), everyone) for rate in FALSE_POSITIVE_RATES},
        tuple(
            LocalizationAtPoint(
                point.name,
                point.level,
                proportion(probability >= point.level, everyone),
                proportion(hit_strength >= point.level, probability >= point.level),
            )
            for point in operating_points.points
        ),
    )


class _MatchedMark(NamedTuple):
    """A mark: its vertebra, its strength, and the index of the fractured vertebra that it hits, or -1."""

    vertebra: Vertebra
    strength: float
    hit: int


def _vertebra_probabilities(matched: MatchedPredictions, model: str) -> dict[Vertebra, float]:
    """Return the probability of each vertebra that is evaluated."""
    studies, values = matched.reference.labels.index, matched.probability[model][:, 1:]
    return {
        (str(study), level): float(values[row, column])
        for row, study in enumerate(studies)
        for column, level in enumerate(VERTEBRAE)
        if not np.isnan(values[row, column])
    }


def _located_levels(matched: MatchedPredictions, lesions: LesionReference) -> dict[str, tuple[str, ...]]:
    """Return the levels with a located fracture, of the studies whose locations are known."""
    studies = [str(study) for study in matched.reference.labels.index]
    return {study: levels for study in studies if (levels := lesions.targets(study)) is not None}


def _match_marks(
    lesions: LesionReference, marks: pd.DataFrame, index_of: dict[Vertebra, int], located: Collection[str]
) -> Iterator[_MatchedMark]:
    """Yield the marks in studies whose locations are known."""
    for row in marks[marks[STUDY].isin(list(located))].to_dict("records"):
        study, level = str(row[STUDY]), str(row["level"])
        position = (float(row[name]) for name in (*POINT_COLUMNS, "slice_number", "row", "column"))
        hit = lesions.hit(Mark(study, level, *position))
        index = -1 if hit is None else index_of.get((study, hit), -1)
        yield _MatchedMark((study, level), float(row["strength"]), index)


def _max_hit_strength(marks: list[_MatchedMark], n_fractured: int) -> Floats:
    """Return the strength of the strongest mark that hits each fractured vertebra; -infinity without any."""
    strength = np.full(n_fractured, -np.inf)
    for mark in marks:
        if mark.hit >= 0:
            strength[mark.hit] = max(strength[mark.hit], mark.strength)
    return strength


def level_confusion(matched: MatchedPredictions, model: str) -> npt.NDArray[np.int64]:
    """Return the confusion matrix of levels, over the studies with exactly one fractured vertebra.

    Parameters
    ----------
    matched : MatchedPredictions
        Labels and probabilities of the same studies.
    model : str
        Name of the model.

    Returns
    -------
    (7, 7) int
        Number of studies by fractured level and by the level with the highest probability. Levels without a
        probability are not predicted; studies whose fractured level has none are left out.
    """
    labels, probability = matched.labels[:, 1:], matched.probability[model][:, 1:]
    confusion = np.zeros((len(VERTEBRAE), len(VERTEBRAE)), np.int64)
    for row in np.flatnonzero(labels.sum(axis=1) == 1):
        level = int(labels[row].argmax())
        if not np.isnan(probability[row, level]):
            confusion[level, int(np.nanargmax(probability[row]))] += 1
    return confusion
