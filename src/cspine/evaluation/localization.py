"""Lesion localization: whether marks hit fractures, and whether the most suspicious level is the fractured one."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from cspine.core.anatomy import TARGETS, VERTEBRAE
from cspine.core.columns import POINT_COLUMNS, STUDY
from cspine.core.typing import Bools, Floats
from cspine.datasets.lesion_reference import LesionReference, Mark
from cspine.evaluation.cases import MatchedPredictions
from cspine.evaluation.predictions import Predictions
from cspine.metrics.bootstrap import Interval, proportion_interval
from cspine.metrics.froc import Froc, froc
from cspine.models.operating_points import FixedOperatingPoints

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
        Fraction of fractured vertebrae whose probability reaches the threshold; those without one do not.
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
        Studies whose fractures are located, answered or not, and fractured vertebrae in them.
    n_unanswered : int
        Those of these vertebrae that the model does not answer; they are missed.
    n_unlocated : int
        Further fractured vertebrae, whose location is not known; they are not evaluated here.
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
    n_unanswered: int
    n_unlocated: int
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
        With the reference locations.
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
    located = _located_levels(matched, lesions)
    fractured = [(study, level) for study, levels in located.items() for level in levels]
    if not fractured:
        return None
    index_of = {vertebra: index for index, vertebra in enumerate(fractured)}
    marks = list(_match_marks(lesions, model.marks, index_of, located))
    strength, hits = np.array([mark.strength for mark in marks]), np.array([mark.hit for mark in marks], np.int64)
    curve = froc(strength, hits, n_lesions=len(fractured), n_studies=len(located))
    hit_strength = _max_hit_strength(marks, len(fractured))
    probability = _vertebra_probabilities(matched, model.name, fractured)
    patients = np.array([str(matched.reference.patients[study]) for study, _ in fractured])
    everyone = np.ones(len(fractured), bool)

    def proportion(is_success: Bools, is_included: Bools) -> Interval:
        return proportion_interval(is_success, is_included, patients, n_resamples=n_resamples, seed=seed)

    return LesionLocalization(
        lesions.hit_criterion,
        len(located),
        len(fractured),
        int(np.isnan(probability).sum()),
        _count_unlocated(matched, index_of),
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
    """A mark: its strength, and the index of the fractured vertebra that it hits, or -1."""

    strength: float
    hit: int


def _vertebra_probabilities(matched: MatchedPredictions, model: str, vertebrae: list[Vertebra]) -> Floats:
    """Return the probability of each vertebra; NaN, which reaches no threshold, where the model does not answer."""
    rows = matched.reference.labels.index.get_indexer(pd.Index([study for study, _ in vertebrae]))
    columns = [TARGETS.index(level) for _, level in vertebrae]
    return np.asarray(matched.probability[model][rows, columns])


def _count_unlocated(matched: MatchedPredictions, located: Collection[Vertebra]) -> int:
    """Return the number of vertebrae that are fractured by their label, and of unknown location."""
    studies = matched.reference.labels.index
    fractured = {
        (str(studies[row]), VERTEBRAE[column]) for row, column in np.argwhere(matched.labels[:, 1:] > 0).tolist()
    }
    return len(fractured - set(located))


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
        yield _MatchedMark(float(row["strength"]), index)


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
    (7, 8) int
        Number of studies by fractured level and by the level with the highest probability. The last column counts the
        studies whose fractured level the model does not answer, so that no level it names can be the right one.
    """
    labels, probability = matched.labels[:, 1:], matched.probability[model][:, 1:]
    confusion = np.zeros((len(VERTEBRAE), len(VERTEBRAE) + 1), np.int64)
    for row in np.flatnonzero(labels.sum(axis=1) == 1):
        level = int(labels[row].argmax())
        is_answered = not np.isnan(probability[row, level])
        confusion[level, int(np.nanargmax(probability[row])) if is_answered else len(VERTEBRAE)] += 1
    return confusion
