"""Rates, errors and calibration over many scans."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.localization.scoring import CaseScore, LevelScore
from cspine.core.typing import Floats
from cspine.metrics.bootstrap import N_RESAMPLES, UNDEFINED, Interval, proportion_interval
from cspine.metrics.reliability import expected_calibration_error

SURE: Final = 0.9
"""A wrong name with more confidence than this is a confident error."""


@dataclass(frozen=True)
class Summary:
    """How the localizer fares in a group of scans.

    Attributes
    ----------
    n_scans, n_levels : int
        Scans, and levels that have to be named in them.
    whole : Interval
        Proportion of the scans that show a neck in which every level is right and none is named that is not there
        (the whole-subject rate).
    whole_names : Interval
        The same for names alone, whatever the distance.
    right : Interval
        Proportion of the levels that are right.
    median_error_mm, p95_error_mm : float
        Of the origins of levels whose names are right; nan without any.
    bias_mm : (3,)
        Mean error along the vertebra's x, y and z.
    coverage : Interval
        Proportion of C1 to C7 whose coverage is stated correctly.
    none_named : Interval
        Proportion of the scans without a neck in which no cervical level is named that is not there.
    calibration_error : float
        Expected calibration error of the confidence that a name is right; nan where no level is named.
    n_wrong_names, n_confident_errors : int
        Wrong names, and those with a confidence above `SURE`.
    n_right_alternatives : int
        Wrong names whose stated alternatives hold the right one.
    n_not_found : int
        Required levels that are not named, but stated to lie in the scan.
    n_uncertain : int
        Scans marked ``level-uncertain``.
    refusals : dict
        Code to the number of scans that are refused.
    """

    n_scans: int
    n_levels: int
    whole: Interval
    whole_names: Interval
    right: Interval
    median_error_mm: float
    p95_error_mm: float
    bias_mm: Floats
    coverage: Interval
    none_named: Interval
    calibration_error: float
    n_wrong_names: int
    n_confident_errors: int
    n_right_alternatives: int
    n_not_found: int
    n_uncertain: int
    refusals: dict[str, int]


def summarize(scores: Sequence[CaseScore]) -> Summary:
    """Return rates over scans whose vertebrae are known; intervals by the bootstrap over patients."""
    read = [score for score in scores if score.levels]
    necks = [score for score in read if score.has_neck]
    others = [score for score in read if not score.has_neck]
    required = [(score.scan, level) for score in read for level in score.required]
    levels = [(score.scan, level) for score in read for level in score.levels]
    named = [level for score in read for level in score.named]
    errors = np.concatenate([np.empty(0), *(score.errors_mm for score in read)])
    wrong = [level for level in named if not level.is_name_right]
    return Summary(
        n_scans=len(scores),
        n_levels=len(required),
        whole=_proportion([score.is_whole for score in necks], [score.scan for score in necks]),
        whole_names=_proportion([score.are_names_right for score in necks], [score.scan for score in necks]),
        right=_proportion([level.is_right for _, level in required], [scan for scan, _ in required]),
        median_error_mm=float(np.median(errors)) if len(errors) else float("nan"),
        p95_error_mm=float(np.quantile(errors, 0.95)) if len(errors) else float("nan"),
        bias_mm=_bias_mm([level for _, level in required if level.is_name_right]),
        coverage=_proportion([level.is_coverage_right for _, level in levels], [scan for scan, _ in levels]),
        none_named=_proportion([score.are_names_right for score in others], [score.scan for score in others]),
        calibration_error=calibration_error(named),
        n_wrong_names=len(wrong),
        n_confident_errors=sum(level.confidence > SURE for level in wrong),
        n_right_alternatives=sum(level.is_alternative_right for level in wrong),
        n_not_found=sum(level.is_stated_not_found and not level.is_named for _, level in required),
        n_uncertain=sum(bool(score.prediction.doubts) for score in scores),
        refusals=dict(Counter(score.prediction.refusal for score in scores if score.prediction.refusal)),
    )


def calibration_error(named: Sequence[LevelScore]) -> float:
    """Return the expected calibration error of the confidence that a name is right; nan without named levels."""
    if not named:
        return float("nan")
    return expected_calibration_error(
        [float(level.is_name_right) for level in named], [level.confidence for level in named]
    )


def _bias_mm(levels: Sequence[LevelScore]) -> Floats:
    vectors = np.array([level.error_in_frame_mm for level in levels]).reshape(-1, 3)
    vectors = vectors[np.isfinite(vectors).all(axis=1)]
    return vectors.mean(axis=0) if len(vectors) else np.full(3, np.nan)


def _proportion(successes: Sequence[bool], patients: Sequence[str]) -> Interval:
    if not len(successes):
        return UNDEFINED
    everyone = np.ones(len(successes), bool)
    return proportion_interval(successes, everyone, np.array(patients), n_resamples=N_RESAMPLES)
