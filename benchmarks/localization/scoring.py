"""Comparison of a prediction with what the scan shows, level by level."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from benchmarks.localization.prediction import NamedVertebra, Prediction
from benchmarks.localization.truth import MAX_NAME_ERROR_MM, ScanTruth, TrueVertebra
from cspine.core.anatomy import VERTEBRAE
from cspine.core.typing import Floats

_MIN_OTHER_MM: Final = 8.0
"""A vertebra whose position is not known may be named where every other one is farther away than this."""

MAX_CORD_MM: Final = 35.0
"""A named vertebra farther from the cord than this is none."""

_BEYOND_CORD_MM: Final = 10.0
"""Vertebrae farther above or below the contoured part of the cord have no distance from it."""


@dataclass(frozen=True)
class LevelScore:
    """How one cervical level fares in one scan.

    Attributes
    ----------
    level : str
        C1 to C7.
    is_required, is_named : bool
        Whether it has to be named, and whether it is.
    is_outside : bool
        Whether it lies outside the scan for certain.
    is_right : bool
        Whether it is named within `TrueVertebra.tolerance_mm` of its place.
    is_name_right : bool
        Whether it is named nearer to its place than to any other vertebra's.
    error_mm : float
        Distance from its place; nan where either is not known.
    error_in_frame_mm : (3,)
        The same as a vector along the vertebra's x, y and z; nan where it is not known.
    confidence : float
        Stated probability that the level is right; nan where it is not named.
    is_coverage_right : bool
        Whether the stated coverage is one that counts as right.
    is_stated_not_found : bool
        Whether it is stated to lie in the scan, but was not found.
    is_alternative_right : bool
        Whether the level of the nearest vertebra is among the stated alternatives.
    """

    level: str
    is_required: bool
    is_named: bool
    is_outside: bool
    is_right: bool
    is_name_right: bool
    error_mm: float
    error_in_frame_mm: Floats
    confidence: float
    is_coverage_right: bool
    is_stated_not_found: bool
    is_alternative_right: bool


@dataclass(frozen=True)
class CaseScore:
    """How a prediction fares in one scan.

    Attributes
    ----------
    scan : str
        Name of the scan; variants of it share the name.
    kind : str
        Kind of scan, or name of the variant.
    prediction : Prediction
        What was stated.
    levels : tuple of LevelScore
        C1 to C7; empty where nobody has read the scan.
    cord_distances_mm : dict
        Named level, thoracic ones included, to its distance from the cord, of those at heights at which the cord was
        contoured; empty where the cord is not known.
    """

    scan: str
    kind: str
    prediction: Prediction
    levels: tuple[LevelScore, ...]
    cord_distances_mm: Mapping[str, float]

    @cached_property
    def has_neck(self) -> bool:
        """Whether a cervical level has to be named."""
        return any(level.is_required for level in self.levels)

    @property
    def named(self) -> tuple[LevelScore, ...]:
        """The levels that are named."""
        return tuple(level for level in self.levels if level.is_named)

    @property
    def required(self) -> tuple[LevelScore, ...]:
        """The levels that have to be named."""
        return tuple(level for level in self.levels if level.is_required)

    @property
    def is_whole(self) -> bool:
        """Whether every required level is right, and none is named that is not there or lies elsewhere."""
        return all(level.is_right for level in self.required) and all(level.is_right for level in self.named)

    @property
    def are_names_right(self) -> bool:
        """Whether every required level is named, and every name is right."""
        return all(level.is_named for level in self.required) and all(level.is_name_right for level in self.named)

    @property
    def errors_mm(self) -> Floats:
        """Distances of the required levels whose names are right, (n,)."""
        return np.array([level.error_mm for level in self.required if level.is_name_right])


def score(scan: str, kind: str, prediction: Prediction, truth: ScanTruth) -> CaseScore:
    """Compare a prediction with what the scan shows.

    Parameters
    ----------
    scan, kind : str
        Names for tables.
    prediction : Prediction
        What the localizer states.
    truth : ScanTruth
        What the volume shows, of `benchmarks.localization.truth.truth_in`.
    """
    vertebrae = truth.vertebrae
    levels = () if vertebrae is None else tuple(_score_level(level, prediction, vertebrae) for level in VERTEBRAE)
    distances: dict[str, float] = {}
    if truth.cord_lps_mm is not None:
        low, high = truth.cord_lps_mm[:, 2].min(), truth.cord_lps_mm[:, 2].max()
        distances = {
            each.level: _distance_mm(each, truth.cord_lps_mm)
            for each in prediction.vertebrae
            if low - _BEYOND_CORD_MM <= each.origin_lps_mm[2] <= high + _BEYOND_CORD_MM
        }
    return CaseScore(scan, kind, prediction, levels, distances)


def _score_level(level: str, prediction: Prediction, vertebrae: Mapping[str, TrueVertebra]) -> LevelScore:
    true, named = vertebrae.get(level), prediction.cervical.get(level)
    error = np.full(3, np.nan)
    is_right = is_name_right = False
    if named is not None:
        error = _error_in_frame_mm(named, true)
        distance, nearest_other = float(np.linalg.norm(error)), _nearest_other_mm(named, level, vertebrae)
        if true is not None and true.point_lps_mm is None:
            is_right = is_name_right = true.coverages != {"absent"} and nearest_other > _MIN_OTHER_MM
        elif true is not None and true.coverages != {"absent"}:
            is_name_right = distance <= min(MAX_NAME_ERROR_MM, nearest_other)
            is_right = is_name_right and distance <= true.tolerance_mm
    coverages = true.coverages if true is not None else frozenset(["absent"])
    return LevelScore(
        level,
        is_required=true is not None and true.is_required,
        is_named=named is not None,
        is_outside=coverages == {"absent"},
        is_right=is_right,
        is_name_right=is_name_right,
        error_mm=float(np.linalg.norm(error)),
        error_in_frame_mm=error,
        confidence=float("nan") if named is None else named.confidence,
        is_coverage_right=prediction.coverage(level) in coverages,
        is_stated_not_found=level in prediction.not_found,
        is_alternative_right=named is not None and _nearest_level(named, vertebrae) in named.alternatives,
    )


def _error_in_frame_mm(named: NamedVertebra, true: TrueVertebra | None) -> Floats:
    """Return the vector from the true to the stated point along the axes of the vertebra, (3,)."""
    if true is None or true.point_lps_mm is None:
        return np.full(3, np.nan)
    axes = true.axes_lps if true.axes_lps is not None else np.array(named.axes_lps).T
    return np.asarray((np.array(named.origin_lps_mm) - true.point_lps_mm) @ axes)


def _nearest_other_mm(named: NamedVertebra, level: str, vertebrae: Mapping[str, TrueVertebra]) -> float:
    """Return the distance of a named vertebra from the nearest one of another level."""
    others = [each.point_lps_mm for each in vertebrae.values() if each.level != level and each.point_lps_mm is not None]
    if not others:
        return float("inf")
    return float(np.linalg.norm(np.array(others) - named.origin_lps_mm, axis=1).min())


def _nearest_level(named: NamedVertebra, vertebrae: Mapping[str, TrueVertebra]) -> str | None:
    """Return the level of the nearest vertebra; None where none is within `MAX_NAME_ERROR_MM`."""
    distances = {
        level: float(np.linalg.norm(each.point_lps_mm - named.origin_lps_mm))
        for level, each in vertebrae.items()
        if each.point_lps_mm is not None
    }
    nearest = min(distances, key=lambda level: distances[level], default=None)
    return nearest if nearest is not None and distances[nearest] <= MAX_NAME_ERROR_MM else None


def _distance_mm(named: NamedVertebra, cord_lps_mm: Floats) -> float:
    return round(float(np.linalg.norm(cord_lps_mm - np.array(named.origin_lps_mm), axis=1).min()), 1)
