"""Operating points and recalibration of a site, from its intact scans or from unlabelled ones of known prevalence."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cspine.core.anatomy import OVERALL, VERTEBRAE
from cspine.core.errors import LabelError
from cspine.core.files import plain_json
from cspine.core.text import counted
from cspine.core.typing import Bools, Floats
from cspine.evaluation.cases import LEVELS
from cspine.evaluation.site_scans import SiteScans
from cspine.metrics.bootstrap import (
    N_RESAMPLES,
    Interval,
    patient_weights,
    percentile_interval,
    proportion_interval,
)
from cspine.metrics.calibration import logit, sigmoid
from cspine.metrics.operating_points import TRIAGE_SPECIFICITY, triage_threshold
from cspine.metrics.recalibration import (
    FRACTURED_LEVEL_FRACTION,
    HALF_WIDTHS,
    design_effect_of,
    estimate_prevalence,
    prior_shift,
    resampled_quantile,
    scans_needed,
    shift_to_prevalence,
)
from cspine.models.operating_points import FixedOperatingPoint, FixedOperatingPoints, Recalibration

MIN_INTACT_PATIENTS: Final = 10
"""Fewest intact patients: of fewer, the 90th percentile of the population may lie above all of them."""

MIN_FRACTURED_PATIENTS: Final = 5
"""Expected fractured patients among unlabelled ones, below which a warning says how few the recalibration rests on."""


@dataclass(frozen=True)
class PointAtSite:
    """A triage threshold, and what it does to the scans of a site.

    Attributes
    ----------
    threshold : Interval
        The threshold; its interval is that of the choice on these scans, NaN for the weights' own.
    specificity : Interval
        Fraction of intact cases below it.
    alarms : Interval
        Fraction of all cases at or above it.
    """

    threshold: Interval
    specificity: Interval
    alarms: Interval


@dataclass(frozen=True)
class TargetCalibration:
    """Recalibration and triage point of patients, or of vertebrae.

    Attributes
    ----------
    target : str
        `OVERALL`, or `LEVELS`.
    n_cases, n_patients : int
        Number of cases with an answer, and of their patients.
    shift_logit : Interval
        Added to the log-odds.
    before : PointAtSite
        The weights' own triage point, without recalibration.
    after : PointAtSite
        The site's triage point, on recalibrated probabilities.
    scans_needed : tuple of (float, int)
        Half widths of an interval of the specificity, and the number of scans that each takes.
    """

    target: str
    n_cases: int
    n_patients: int
    shift_logit: Interval
    before: PointAtSite
    after: PointAtSite
    scans_needed: tuple[tuple[float, int], ...]


@dataclass(frozen=True)
class SiteCalibration:
    """Operating points and recalibration of a site.

    Attributes
    ----------
    scans : str
        Where the scans come from.
    is_intact : bool
        Whether all scans were stated to be intact; otherwise they are unlabelled, and their prevalence was stated.
    n_scans, n_patients, n_not_assessable : int
        Number of assessed scans and of their patients, and of scans that are not assessable.
    weights_prevalence, prevalence : float
        Prevalence that the weights' probabilities assume, and the recalibrated ones.
    targets : tuple of TargetCalibration
        Patients, then vertebrae.
    estimated_prevalence : Interval or None
        Most likely prevalence of unlabelled scans if nothing but the prevalence differed from the weights' patients.
    specificity_bounds : (float, float) or None
        Least and greatest specificity of the patients' point that unlabelled scans of the stated prevalence allow.
    points : FixedOperatingPoints
        What predictions use.
    warnings : tuple of str
        What limits the result.
    """

    scans: str
    is_intact: bool
    n_scans: int
    n_patients: int
    n_not_assessable: int
    weights_prevalence: float
    prevalence: float
    targets: tuple[TargetCalibration, ...]
    estimated_prevalence: Interval | None
    specificity_bounds: tuple[float, float] | None
    points: FixedOperatingPoints
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain dictionaries and lists; NaN becomes None."""
        result: dict[str, Any] = plain_json(asdict(self) | {"points": self.points.model_dump(mode="json")})
        return result


@dataclass(frozen=True)
class _Mixture:
    """Unlabelled cases: recalibrated log-odds, and the shift of each resample, the first of which they are after."""

    log_odds: Floats
    shifts: Floats


@dataclass(frozen=True)
class _Cases:
    """The cases of one target: their probabilities by the weights, their patients and resamples of these."""

    target: str
    probability: Floats
    patients: npt.NDArray[np.str_]
    weights: npt.NDArray[np.int32]
    fraction: float
    n_resamples: int

    @property
    def log_odds(self) -> Floats:
        """The log-odds of the probabilities."""
        return logit(self.probability)

    def proportion(self, is_success: Bools) -> Interval:
        """Return a fraction of the cases with its interval."""
        is_included = np.ones(len(is_success), bool)
        return proportion_interval(is_success, is_included, self.patients, n_resamples=self.n_resamples)

    def intact_proportion(self, is_success: Bools, mixture: _Mixture) -> Interval:
        """Return a fraction of the intact cases with its interval; each resample has probabilities of its own."""
        values = []
        for weights, shift in zip(self.weights, mixture.shifts - mixture.shifts[0], strict=True):
            intact = weights * sigmoid(-(mixture.log_odds + shift))
            values.append(float(intact @ is_success / intact.sum()))
        return percentile_interval(values[0], np.array(values[1:]))

    def point(self, probability: Floats, threshold: Interval, mixture: _Mixture | None) -> PointAtSite:
        """Return what a threshold does; all cases are intact where there is no mixture."""
        is_below = probability < threshold.value
        specificity = self.intact_proportion(is_below, mixture) if mixture else self.proportion(is_below)
        return PointAtSite(threshold, specificity, self.proportion(~is_below))


def calibrate_site(
    scans: SiteScans, *, prevalence: float | None = None, is_intact: bool, n_resamples: int = N_RESAMPLES
) -> SiteCalibration:
    """Return operating points and recalibration of a site.

    Intact scans shift the log-odds so that the 90th percentile of intact cases lies where it lay for the patients that
    the weights were calibrated on, at their triage point. Unlabelled scans shift them so that the mean probability is
    the prevalence; a case then counts as intact with the complement of its probability. The triage point is the 90th
    percentile of intact cases thereafter.

    Parameters
    ----------
    scans : SiteScans
        Predictions of the site's scans.
    prevalence : float, optional
        Fraction of fractured patients at the site. Required of unlabelled scans; with intact ones, that of the weights
        is kept where omitted.
    is_intact : bool
        Whether all scans are of patients without a fracture.
    n_resamples : int
        Number of bootstrap resamples of patients.

    Raises
    ------
    LabelError
        There are too few scans.
    """
    stated = scans.base.prevalence if prevalence is None else prevalence
    n_intact = scans.n_patients * (1.0 if is_intact else 1.0 - stated)
    groups = [_patient_cases(scans, n_intact, n_resamples), _level_cases(scans, n_intact, n_resamples)]
    own = {OVERALL: scans.triage.patient, LEVELS: scans.triage.level}
    shifts = {
        cases.target: _shifts_of_intact(cases, own[cases.target], scans.base.prevalence, stated)
        if is_intact
        else _shifts_of_unlabelled(cases, stated)
        for cases in groups
    }
    recalibration = Recalibration(
        level_shift_logit=float(shifts[LEVELS][0]), patient_shift_logit=float(shifts[OVERALL][0]), prevalence=stated
    )
    levels, patients = recalibration.apply(scans.probability[list(VERTEBRAE)], scans.probability[OVERALL])
    after = {OVERALL: patients, LEVELS: levels[~np.isnan(levels)]}
    targets = tuple(
        _calibrate_target(cases, own[cases.target], shifts[cases.target], after[cases.target], is_intact=is_intact)
        for cases in groups
    )
    thresholds = {each.target: each.after.threshold.value for each in targets}
    point = FixedOperatingPoint(name="triage", patient=thresholds[OVERALL], level=thresholds[LEVELS])
    kind = "scans stated to be intact" if is_intact else f"unlabelled scans at a prevalence of {100 * stated:g} %"
    return SiteCalibration(
        scans=scans.name,
        is_intact=is_intact,
        n_scans=len(scans.probability),
        n_patients=scans.n_patients,
        n_not_assessable=scans.n_not_assessable,
        weights_prevalence=scans.base.prevalence,
        prevalence=stated,
        targets=targets,
        estimated_prevalence=None if is_intact else _estimated_prevalence(groups[0], scans.base.prevalence),
        specificity_bounds=None if is_intact else _specificity_bounds(targets[0].after.alarms.value, stated),
        points=FixedOperatingPoints(
            chosen_on=f"{len(scans.probability)} {kind}, {targets[1].n_cases} vertebrae",
            points=(point,),
            weights_sha256=scans.weights_sha256,
            test_time_augmentation=scans.test_time_augmentation,
            recalibration=recalibration,
        ),
        warnings=tuple(_warnings(scans, stated, is_intact=is_intact)),
    )


def _patient_cases(scans: SiteScans, n_intact: float, n_resamples: int) -> _Cases:
    values = scans.probability[OVERALL].to_numpy(np.float64)
    return _cases(scans, OVERALL, values, scans.patients, n_intact, n_resamples)


def _level_cases(scans: SiteScans, n_intact: float, n_resamples: int) -> _Cases:
    values = scans.probability[list(VERTEBRAE)].to_numpy(np.float64)
    is_answered = ~np.isnan(values)
    patients = np.repeat(scans.patients[:, None], len(VERTEBRAE), axis=1)[is_answered]
    return _cases(scans, LEVELS, values[is_answered], patients, n_intact, n_resamples)


def _cases(
    scans: SiteScans,
    target: str,
    probability: Floats,
    patients: npt.NDArray[np.str_],
    n_intact: float,
    n_resamples: int,
) -> _Cases:
    """Return the cases of a target with their resamples, the first of which are the data themselves."""
    if n_intact < MIN_INTACT_PATIENTS or len(np.unique(patients)) < MIN_INTACT_PATIENTS:
        raise LabelError(
            f"{scans.name}: holds about {counted(round(n_intact), 'intact patient', 'intact patients')} with an "
            f"assessable scan, too few to place a point of {TRIAGE_SPECIFICITY:.0%} specificity; give "
            f"{MIN_INTACT_PATIENTS} at least, or {scans_needed(HALF_WIDTHS[1])} to know it within "
            f"{100 * HALF_WIDTHS[1]:.0f} percentage points"
        )
    resamples = patient_weights(patients, n_resamples=n_resamples)
    weights = np.vstack([np.ones(len(probability), np.int32), resamples])
    fraction = min(TRIAGE_SPECIFICITY * (n_intact + 1) / n_intact, 1.0)
    return _Cases(target, probability, patients, weights, fraction, n_resamples)


def _shifts_of_intact(cases: _Cases, own_threshold: float, before: float, after: float) -> Floats:
    """Return the shift that puts the percentile of intact cases at the weights' threshold, then those of resamples."""
    ratio = FRACTURED_LEVEL_FRACTION if cases.target == LEVELS else 1.0
    anchor = float(logit(np.array(own_threshold))) + prior_shift(before * ratio, after * ratio)
    return anchor - resampled_quantile(cases.log_odds, cases.weights, cases.fraction)


def _shifts_of_unlabelled(cases: _Cases, prevalence: float) -> Floats:
    """Return the shift to the prevalence, then those of resamples."""
    ratio = FRACTURED_LEVEL_FRACTION if cases.target == LEVELS else 1.0
    return shift_to_prevalence(cases.log_odds, prevalence * ratio, cases.weights)


def _estimated_prevalence(cases: _Cases, assumed: float) -> Interval:
    estimates = estimate_prevalence(cases.log_odds, assumed, cases.weights)
    return percentile_interval(float(estimates[0]), estimates[1:])


def _specificity_bounds(alarm_fraction: float, prevalence: float) -> tuple[float, float]:
    """Return the specificity if all alarms are false, and if as many as possible are true."""
    least = 1.0 - alarm_fraction / (1.0 - prevalence)
    greatest = 1.0 - max(alarm_fraction - prevalence, 0.0) / (1.0 - prevalence)
    return max(least, 0.0), greatest


def _calibrate_target(
    cases: _Cases, own_threshold: float, shifts: Floats, probability: Floats, *, is_intact: bool
) -> TargetCalibration:
    """Return recalibration and triage point of one target, from its recalibrated probabilities."""
    mixture = None if is_intact else _Mixture(logit(probability), shifts)
    weights = np.ones(len(probability)) if is_intact else 1.0 - probability
    threshold = triage_threshold(probability, weights, cases.fraction)
    resampled = resampled_quantile(probability, cases.weights * weights, cases.fraction)
    after = cases.point(probability, percentile_interval(threshold, resampled[1:]), mixture)
    n_patients = len(np.unique(cases.patients))
    effect = design_effect_of(after.specificity, n_patients)
    return TargetCalibration(
        target=cases.target,
        n_cases=len(probability),
        n_patients=n_patients,
        shift_logit=percentile_interval(float(shifts[0]), shifts[1:]),
        before=cases.point(cases.probability, Interval(own_threshold, np.nan, np.nan), mixture),
        after=after,
        scans_needed=tuple(
            (half, max(scans_needed(half, design_effect=effect), MIN_INTACT_PATIENTS)) for half in HALF_WIDTHS
        ),
    )


def _warnings(scans: SiteScans, prevalence: float, *, is_intact: bool) -> Sequence[str]:
    warnings = []
    n_fractured = prevalence * scans.n_patients
    if not is_intact and n_fractured < MIN_FRACTURED_PATIENTS:
        warnings.append(
            f"about {n_fractured:.1f} fractured patients are among the scans at this prevalence: recalibration and "
            "intervals rest on them; give more scans, or intact ones"
        )
    if scans.n_not_assessable:
        warnings.append(f"{scans.n_not_assessable} scans are not assessable, and left out")
    return warnings
