"""Whether a system points at what is broken, and whether it blames the right vertebra."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from cspine.anatomy import VERTEBRAE
from cspine.evaluate.answers import PLACE
from cspine.evaluate.cases import Matched
from cspine.evaluate.intervals import Interval, bootstrap_ratio, patient_weights, percentile_interval
from cspine.evaluate.operating import FrozenPoints
from cspine.evaluate.places import Mark, Places
from cspine.evaluate.pointing import Froc, froc
from cspine.labels import STUDY

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
    sensitivity : dict of float to float
        At `ALARMS`.
    detected : tuple of Detected
        At each operating point.
    """

    told: str
    studies: int
    broken: int
    curve: Froc
    sensitivity: dict[float, float]
    detected: tuple[Detected, ...]


def judge_marks(
    matched: Matched, marks: pd.DataFrame, points: FrozenPoints, *, draws: int, seed: int = 0
) -> Localisation | None:
    """Hold a system's marks against where studies are broken; None where that is known of no study.

    Parameters
    ----------
    matched : Matched
        Whose truth knows places.
    marks : DataFrame
        Of `cspine.evaluate.answers.Answers`.
    points : FrozenPoints
        Their thresholds for vertebrae are used.
    draws, seed : int
        Of the bootstrap over patients.
    """
    places = matched.truth.places
    if places is None:
        return None
    targets = {str(study): places.targets(str(study)) for study in matched.truth.labels.index}
    known = {study: levels for study, levels in targets.items() if levels is not None}
    numbers = {(study, level): 0 for study, levels in known.items() for level in levels}
    numbers = {target: number for number, target in enumerate(numbers)}
    if not numbers:
        return None
    rows = list(_held(places, marks[marks[STUDY].isin(known)], numbers))
    strength = np.array([row[1] for row in rows])
    hits = np.array([row[2] for row in rows], np.int64)
    curve = froc(strength, hits, broken=len(numbers), studies=len(known))
    best = {target: (strength[row], hits[row] >= 0) for row, (target, _, _) in enumerate(rows) if target in numbers}
    patients = matched.truth.patients
    of = np.array([str(patients[study]) for study, _ in numbers])
    said = np.array([best.get(target, (-1.0, False))[0] for target in numbers])
    right = np.array([bool(best.get(target, (-1.0, False))[1]) for target in numbers])
    return Localisation(
        places.told,
        len(known),
        len(numbers),
        curve,
        {alarms: curve.at(alarms) for alarms in ALARMS},
        tuple(_detected(point.name, point.level, said, right, of, draws, seed) for point in points.points),
    )


def _held(
    places: Places, marks: pd.DataFrame, numbers: dict[tuple[str, str], int]
) -> Iterator[tuple[tuple[str, str], float, int]]:
    """Yield each mark's study and level, how sure it is, and the number of what it hits, or -1."""
    for row in marks.to_dict("records"):
        told: dict[str, Any] = {str(name): value for name, value in row.items()}
        study, level = str(told[STUDY]), str(told["level"])
        place = (float(told[name]) for name in (*PLACE, "slice_number", "row", "column"))
        hit = places.hit(Mark(study, level, *place))
        yield (study, level), float(told["strength"]), -1 if hit is None else numbers[study, hit]


def _detected(
    name: str,
    threshold: float,
    said: npt.NDArray[np.float64],
    right: npt.NDArray[np.bool_],
    patients: npt.NDArray[Any],
    draws: int,
    seed: int,
) -> Detected:
    weights, called = patient_weights(patients, draws=draws, seed=seed), said >= threshold
    both = called & right
    share = both.sum() / called.sum() if called.any() else float("nan")
    with np.errstate(invalid="ignore"):
        drawn = bootstrap_ratio(both, called, weights)
    return Detected(
        name,
        threshold,
        percentile_interval(float(called.mean()), bootstrap_ratio(called, np.ones(len(called)), weights)),
        percentile_interval(float(share), drawn),
    )


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
