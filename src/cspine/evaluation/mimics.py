"""False alarms by mimic: how often intact vertebrae are called fractured with and without it, and whether there."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from cspine.core.anatomy import TARGETS
from cspine.core.columns import POINT_COLUMNS, STUDY
from cspine.core.typing import Bools, Floats
from cspine.datasets.reference_standard import ReferenceStandard
from cspine.evaluation.cases import Cases
from cspine.metrics.bootstrap import Interval, proportion_interval

MIMIC_DISTANCE_MM: Final = 10.0
"""A false alarm points at a mimic if its mark lies within this distance: mimics are recorded by few points."""

_NO_POINTS: Final = np.empty((0, 3))


@dataclass(frozen=True)
class MimicFalseAlarms:
    """False alarms at intact vertebrae with and without a finding that mimics a fracture.

    Intact vertebrae without an answer are left out, as they are of specificity.

    Attributes
    ----------
    mimic : str
        Name of the mimic.
    n_with, n_without : int
        Intact vertebrae with it, and without it at the levels at which it occurs.
    false_alarms_with, false_alarms_without : Interval
        Fraction of them whose probability reaches the threshold.
    n_alarms : int
        False alarms at vertebrae with it.
    n_located : int
        Those of them that have a mark, where the place of the mimic is known as well.
    n_at_mimic : int
        Those of these whose mark lies within `MIMIC_DISTANCE_MM` of the mimic.
    """

    mimic: str
    n_with: int
    n_without: int
    false_alarms_with: Interval
    false_alarms_without: Interval
    n_alarms: int
    n_located: int
    n_at_mimic: int


def false_alarms_by_mimic(
    reference: ReferenceStandard,
    cases: Cases,
    marks: pd.DataFrame | None,
    threshold: float,
    *,
    n_resamples: int,
    seed: int = 0,
) -> tuple[MimicFalseAlarms, ...]:
    """Return the false alarms at vertebrae with each mimic, in the order of the mimics' names.

    Parameters
    ----------
    reference : ReferenceStandard
        Reference standard of the cases' studies, with the mimics where they are known.
    cases : Cases
        Vertebrae of all levels.
    marks : DataFrame or None
        As of `cspine.evaluation.predictions.Predictions`.
    threshold : float
        Threshold on the probability of a vertebra.
    n_resamples : int
        Number of bootstrap resamples.
    seed : int
        Seed of the bootstrap.
    """
    if reference.mimics is None:
        return ()
    intact = cases.select(cases.is_answered & (cases.truth == 0))
    studies = reference.labels.index.to_numpy(dtype=str)
    vertebrae = [(studies[row], TARGETS[column]) for row, column in zip(intact.studies, intact.columns, strict=True)]
    mark_points = {} if marks is None else _points_by_vertebra(marks)
    is_alarm = intact.probability >= threshold

    def fraction(is_included: Bools) -> Interval:
        return proportion_interval(is_alarm, is_included, intact.patients, n_resamples=n_resamples, seed=seed)

    results = []
    for mimic, rows in reference.mimics.groupby("mimic", sort=True):
        mimic_points = _points_by_vertebra(rows)
        has_mimic = np.array([vertebra in mimic_points for vertebra in vertebrae], bool)
        if not has_mimic.any():
            continue
        is_comparable = ~has_mimic & np.isin(intact.columns, intact.columns[has_mimic])
        alarms = [vertebrae[index] for index in np.flatnonzero(has_mimic & is_alarm)]
        pairs = [(mark_points.get(at, _NO_POINTS), mimic_points[at]) for at in alarms]
        distances_mm = [_min_distance_mm(mark, place) for mark, place in pairs if len(mark) and len(place)]
        results.append(
            MimicFalseAlarms(
                str(mimic),
                int(has_mimic.sum()),
                int(is_comparable.sum()),
                fraction(has_mimic),
                fraction(is_comparable),
                len(alarms),
                len(distances_mm),
                sum(distance <= MIMIC_DISTANCE_MM for distance in distances_mm),
            )
        )
    return tuple(results)


def _points_by_vertebra(rows: pd.DataFrame) -> dict[tuple[str, str], Floats]:
    """Return the known points of each vertebra in a table, (n, 3) in LPS mm, by study and level; n may be 0."""
    points_of: dict[tuple[str, str], Floats] = {}
    for (study, level), part in rows.groupby([STUDY, "level"]):
        points = part[list(POINT_COLUMNS)].to_numpy(np.float64)
        points_of[str(study), str(level)] = points[np.isfinite(points).all(axis=1)]
    return points_of


def _min_distance_mm(points: Floats, others: Floats) -> float:
    return float(np.linalg.norm(points[:, None] - others[None], axis=2).min())
