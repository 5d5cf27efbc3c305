"""The numbers of the level assignment, fitted on scans whose levels are known, and how reliable the confidence is then.

The localizer must not have been trained on the scans: its emissions are too certain where it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import scipy

from cspine.core.errors import InputError
from cspine.core.typing import Bools, Floats
from cspine.localization.level_assignment import assign_levels, level_posterior
from cspine.localization.level_evidence import Detections
from cspine.metrics.reliability import expected_calibration_error
from cspine.metrics.scores import reliability
from cspine.spine.level_settings import LEVELS, LevelAssignmentSettings

_NUMBERS: Final = (
    "min_class_probability",
    "spacing_log_sd",
    "temperature",
    "size_log_sd",
    "skip_log_odds",
    "direction_sd_deg",
    "rotation_sd_deg",
)
"""Numbers that every set of scans can tell, in the order in which they are searched."""

_LOG_PRIOR_SD: Final = 1.0
"""Standard deviation of the prior of each number's logarithm about its start, so that few scans change it little."""

_MAX_FACTOR: Final = 8.0
"""Factor by which a number may differ from its start."""

_MAX_MIN_CLASS_PROBABILITY: Final = 0.5

_MIN_SPACING_LOG_SD: Final = 0.05
"""Half the step of the patient sizes that are tried: with less, sizes between two steps would fit none."""

_MIN_PAIRS: Final = 10
"""Pairs of neighbors from which on the distance between two levels is measured."""

_PRIOR_SCANS: Final = 5.0
"""Weight of the start's prior of the first level, in scans."""

_MIN_PROBABILITY: Final = 1e-12


@dataclass(frozen=True)
class LabeledScan:
    """The detections of a scan, with their true levels.

    Attributes
    ----------
    detections : Detections
        From the head down.
    levels : tuple of str or None
        The level of each, C1 to S1; None of one that is no vertebra.
    """

    detections: Detections
    levels: tuple[str | None, ...]

    def __post_init__(self) -> None:
        if len(self.levels) != len(self.detections) or not {*self.levels} <= {*LEVELS, None}:
            raise InputError(f"a scan of {len(self.detections)} detections has one level, C1 to S1 or none, for each")

    @property
    def members(self) -> tuple[int, ...]:
        """Indices of the detections that are vertebrae."""
        return tuple(index for index, level in enumerate(self.levels) if level is not None)


@dataclass(frozen=True)
class LevelReliability:
    """Confidence and correctness of all vertebrae that were named.

    Attributes
    ----------
    names : tuple of str
        The levels that were assigned.
    confidence : (n,)
        Their confidence.
    is_right : (n,) bool
        Whether the level is the true one; of a vertebra without number, whether the region is.
    """

    names: tuple[str, ...]
    confidence: Floats
    is_right: Bools

    @property
    def expected_calibration_error(self) -> float:
        """As of `cspine.metrics.reliability.expected_calibration_error`."""
        return expected_calibration_error(self.is_right, np.clip(self.confidence, 0.0, 1.0))

    @property
    def diagram(self) -> tuple[Floats, Floats, "np.typing.NDArray[np.intp]"]:
        """The reliability diagram, as of `cspine.metrics.scores.reliability`."""
        return reliability(self.is_right, self.confidence)

    @property
    def certain_of_wrong_fraction(self) -> float:
        """The fraction of the wrong names whose confidence is above 0.9; 0 where no name is wrong."""
        wrong = self.confidence[~self.is_right]
        return float((wrong > 0.9).mean()) if len(wrong) else 0.0


def level_reliability(
    scans: Sequence[LabeledScan],
    settings: LevelAssignmentSettings = LevelAssignmentSettings(),  # noqa: B008 - immutable
) -> LevelReliability:
    """Assign the levels of scans and compare them with the true ones.

    Parameters
    ----------
    scans : sequence of LabeledScan
        Scans that neither the localizer was trained nor `settings` were fitted on.
    settings : LevelAssignmentSettings
        The numbers of the model.
    """
    names: list[str] = []
    confidence: list[float] = []
    is_right: list[bool] = []
    for scan in scans:
        sequence = assign_levels(scan.detections, settings)
        truth = [scan.levels[member] or "" for member in sequence.members.tolist()]
        names += sequence.names
        confidence += sequence.confidence.tolist()
        is_right += [_is_right(name, level) for name, level in zip(sequence.names, truth, strict=True)]
    return LevelReliability(tuple(names), np.array(confidence), np.array(is_right, dtype=np.bool_))


def fit_level_assignment(
    scans: Sequence[LabeledScan],
    start: LevelAssignmentSettings = LevelAssignmentSettings(),  # noqa: B008 - immutable
    *,
    max_evaluations: int = 600,
) -> LevelAssignmentSettings:
    """Fit the numbers of the level assignment by maximum likelihood.

    The distances between levels are geometric means, and the prior of the first level counts scans. The other numbers
    maximize the posterior probability of the true levels (Powell's method on their logarithms), with a weak prior about
    their start. The logarithm of that probability is a proper scoring rule, so that confidence is calibrated where it
    is best.

    Parameters
    ----------
    scans : sequence of LabeledScan
        Scans that the localizer was not trained on.
    start : LevelAssignmentSettings
        Where the fit begins. Choices that are no numbers are taken from here.
    max_evaluations : int
        Most evaluations of the likelihood of all scans, each of which takes about a millisecond per scan.

    Raises
    ------
    InputError
        No scan holds a vertebra.
    """
    scans = [scan for scan in scans if scan.members]
    if not scans:
        raise InputError("no scan holds a vertebra; fit the level assignment on scans with vertebrae")
    counted = start.model_copy(
        update={"spacing_mm": _fit_spacing(scans, start), "first_level_log_prior": _fit_first_level(scans, start)}
    )
    numbers = _free_numbers(scans)
    sign = {name: -1.0 if getattr(start, name) < 0 else 1.0 for name in numbers}
    initial = np.log([abs(getattr(start, name)) for name in numbers])
    bounds = [_bounds(name, float(logarithm)) for name, logarithm in zip(numbers, initial, strict=True)]

    def settings_at(logarithms: Floats) -> LevelAssignmentSettings:
        values = dict(zip(numbers, np.exp(logarithms).tolist(), strict=True))
        return counted.model_copy(update={name: sign[name] * value for name, value in values.items()})

    def penalized_loss(logarithms: Floats) -> float:
        penalty = 0.5 * float((((logarithms - initial) / _LOG_PRIOR_SD) ** 2).sum())
        return negative_log_likelihood(scans, settings_at(logarithms)) + penalty

    fitted = scipy.optimize.minimize(
        penalized_loss,
        initial,
        method="Powell",
        bounds=bounds,
        options={"maxfev": max_evaluations, "xtol": 0.02, "ftol": 1e-4},
    )
    return LevelAssignmentSettings.model_validate(settings_at(np.asarray(fitted.x, np.float64)).model_dump())


def negative_log_likelihood(scans: Sequence[LabeledScan], settings: LevelAssignmentSettings) -> float:
    """Return the sum of -ln of the posterior probability of the true level over all vertebrae of scans."""
    total = 0.0
    for scan in scans:
        members = np.array(scan.members, dtype=np.intp)
        posterior = level_posterior(scan.detections, settings, members)
        truth = [LEVELS.index(scan.levels[member] or "") for member in members.tolist()]
        total -= float(np.log(np.maximum(posterior[np.arange(len(truth)), truth], _MIN_PROBABILITY)).sum())
    return total


def _is_right(name: str, truth: str) -> bool:
    if name == "L":
        return truth.startswith(("L", "S"))
    return truth.startswith("T") if name == "T" else name == truth


def _free_numbers(scans: Sequence[LabeledScan]) -> tuple[str, ...]:
    """Return the names of the numbers that the scans' evidence can tell."""
    parts = [scan.detections for scan in scans]
    return (
        *(("crop_weight",) if any(part.crop_probabilities is not None for part in parts) else ()),
        *_NUMBERS,
        *(("voxels_per_vote", "max_votes") if all(part.n_voxels is not None for part in parts) else ()),
        *(("skull_distance_mm", "skull_log_sd") if any(_has_skull(part) for part in parts) else ()),
    )


def _bounds(name: str, logarithm: float) -> tuple[float, float]:
    """Return the bounds of the logarithm of a number."""
    low, high = logarithm - np.log(_MAX_FACTOR), logarithm + np.log(_MAX_FACTOR)
    if name == "min_class_probability":
        high = min(high, np.log(_MAX_MIN_CLASS_PROBABILITY))
    if name == "spacing_log_sd":
        low = max(low, np.log(_MIN_SPACING_LOG_SD))
    return float(low), float(high)


def _has_skull(detections: Detections) -> bool:
    return detections.anchors.skull_base_lps_mm is not None


def _fit_spacing(scans: Sequence[LabeledScan], start: LevelAssignmentSettings) -> tuple[float, ...]:
    """Return the geometric mean of the distance of each two levels; where too few were seen, the scaled start."""
    logs: list[list[float]] = [[] for _ in LEVELS]
    for scan in scans:
        for above, below in pairwise(scan.members):
            level, following = LEVELS.index(scan.levels[above] or ""), LEVELS.index(scan.levels[below] or "")
            if following == level + 1:
                way = scan.detections.frames[below, :3, 3] - scan.detections.frames[above, :3, 3]
                logs[level].append(float(np.log(np.linalg.norm(way))))
    measured = {level: float(np.mean(each)) for level, each in enumerate(logs) if len(each) >= _MIN_PAIRS}
    expected = np.log(start.spacing_mm)
    shift = float(np.mean([value - expected[level] for level, value in measured.items()])) if measured else 0.0
    return tuple(float(np.exp(measured.get(level, expected[level] + shift))) for level in range(len(LEVELS)))


def _fit_first_level(scans: Sequence[LabeledScan], start: LevelAssignmentSettings) -> tuple[float, ...]:
    """Return the log-probability that a scan begins with each level, smoothed by the start's."""
    prior = np.exp(scans[0].detections.first_level_log_prior(start))
    first = [LEVELS.index(scan.levels[scan.members[0]] or "") for scan in scans]
    counts = np.bincount(first, minlength=len(LEVELS)) + _PRIOR_SCANS * prior / prior.sum()
    return tuple(np.log(counts / counts.sum()).tolist())
