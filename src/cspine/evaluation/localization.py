"""Whether a system points at what is broken, and whether it blames the right vertebra."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from cspine.core.anatomy import VERTEBRAE
from cspine.core.columns import PLACE, STUDY
from cspine.datasets.lesion_reference import LesionReference, Mark
from cspine.evaluation.cases import Matched
from cspine.evaluation.operating_point_metrics import FixedOperatingPoints
from cspine.evaluation.predictions import Predictions
from cspine.metrics.bootstrap import Interval, proportion
from cspine.metrics.froc import Froc, froc

ALARMS: Final = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""False alarms a study at which a FROC curve is told."""


@dataclass(frozen=True)
class Detected:
    """Broken vertebrae at a threshold: how many are called, and of these, how many are pointed at rightly."""

    name: str
    threshold: float
    called: Interval
    right: Interval


@dataclass(frozen=True)
class Localisation:
    """How well a system points.

    Attributes
    ----------
    told : str
        What counts as a hit.
    studies, broken : int
        Studies whose fractures are known in place, and broken vertebrae in them.
    curve : Froc
        Of all marks.
    sensitivity : dict of float to Interval
        At `ALARMS`; intervals of the bootstrap over patients, with the threshold held where it is.
    detected : tuple of Detected
        At each operating point.
    """

    told: str
    studies: int
    broken: int
    curve: Froc
    sensitivity: dict[float, Interval]
    detected: tuple[Detected, ...]


def match_marks(
    matched: Matched, system: Predictions, points: FixedOperatingPoints, *, draws: int, seed: int = 0
) -> Localisation | None:
    """Hold a system's marks against where studies are broken; None where it marks nothing or no place is known.

    Parameters
    ----------
    matched : Matched
        Whose truth knows places. Vertebrae of which some system says nothing do not count.
    system : Answers
        Whose marks.
    points : FixedOperatingPoints
        Their thresholds for vertebrae are used.
    draws, seed : int
        Of the bootstrap over patients.

    Raises
    ------
    LabelError
        A file that tells places is damaged.
    """
    places = matched.truth.places
    if places is None or system.marks is None:
        return None
    said = _said(matched, system.name)
    studies = [str(study) for study in matched.truth.labels.index]
    known = {study: levels for study in studies if (levels := places.targets(study)) is not None}
    targets = [(study, level) for study, levels in known.items() for level in levels if (study, level) in said]
    if not targets:
        return None
    numbers = {target: number for number, target in enumerate(targets)}
    marks = [row for row in _held(places, system.marks, numbers, known) if row.of in said]
    strength, hits = np.array([row.strength for row in marks]), np.array([row.hit for row in marks], np.int64)
    curve = froc(strength, hits, broken=len(targets), studies=len(known))
    best = np.full(len(targets), -np.inf)  # of the marks that hit it
    for row in marks:
        if row.hit >= 0:
            best[row.hit] = max(best[row.hit], row.strength)
    patients = np.array([str(matched.truth.patients[study]) for study, _ in targets])
    chance = np.array([said[target] for target in targets])
    everyone = np.ones(len(targets), bool)

    def of(chosen: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> Interval:
        return proportion(chosen, among, patients, draws=draws, seed=seed)

    return Localisation(
        places.told,
        len(known),
        len(targets),
        curve,
        {alarms: of(best >= _threshold(curve, alarms), everyone) for alarms in ALARMS},
        tuple(
            Detected(
                point.name,
                point.level,
                of(chance >= point.level, everyone),
                of(best >= point.level, chance >= point.level),
            )
            for point in points.points
        ),
    )


class _Held(NamedTuple):
    """A mark: of which vertebra, how sure, and the number of the broken one that it hits, or -1."""

    of: tuple[str, str]
    strength: float
    hit: int


def _said(matched: Matched, name: str) -> dict[tuple[str, str], float]:
    """Return what a system says of each vertebra that it is judged on."""
    studies, values = [str(study) for study in matched.truth.labels.index], matched.said[name][:, 1:]
    return {
        (study, level): float(values[row, column])
        for row, study in enumerate(studies)
        for column, level in enumerate(VERTEBRAE)
        if not np.isnan(values[row, column])
    }


def _held(
    places: LesionReference, marks: pd.DataFrame, numbers: dict[tuple[str, str], int], known: Collection[str]
) -> Iterator[_Held]:
    """Yield the marks in studies whose places are known."""
    for row in marks[marks[STUDY].isin(list(known))].to_dict("records"):
        told: dict[str, Any] = {str(name): value for name, value in row.items()}
        study, level = str(told[STUDY]), str(told["level"])
        place = (float(told[name]) for name in (*PLACE, "slice_number", "row", "column"))
        hit = places.hit(Mark(study, level, *place))
        yield _Held((study, level), float(told["strength"]), -1 if hit is None else numbers.get((study, hit), -1))


def _threshold(curve: Froc, alarms: float) -> float:
    """Return the lowest threshold that gives no more false alarms a study; above all marks where there is none."""
    allowed = curve.threshold[curve.false_alarms <= alarms]
    return float(allowed.min()) if len(allowed) else float("inf")


def level_confusion(matched: Matched, name: str) -> npt.NDArray[np.int64]:
    """Return which vertebra a system finds most suspicious where just one is broken: (7, 7), true level by named one.

    Levels of which it says nothing are not named; studies whose broken level it says nothing of are left out.
    """
    labels, said = matched.labels[:, 1:], matched.said[name][:, 1:]
    found = np.zeros((len(VERTEBRAE), len(VERTEBRAE)), np.int64)
    for row in np.flatnonzero(labels.sum(axis=1) == 1):
        level = int(labels[row].argmax())
        if not np.isnan(said[row, level]):
            found[level, int(np.nanargmax(said[row]))] += 1
    return found
