"""What predictions on real bone amount to: alarms, spread and repeatability on intact necks, virtual fractures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import scipy.stats

from benchmarks.localization.variants import AS_IS
from benchmarks.real_texture.predictions import ScanPredictions, Study, Vertebra
from benchmarks.real_texture.run import NECKS
from benchmarks.real_texture.variants import ROLES, Role
from cspine.core.anatomy import VERTEBRAE
from cspine.core.typing import Bools
from cspine.datasets.phantom_records import VISIBILITY_GRADES
from cspine.evaluation.cases import UNANSWERED_SCORE
from cspine.metrics.bootstrap import (
    N_RESAMPLES,
    UNDEFINED,
    Interval,
    bootstrap_auc,
    patient_weights,
    percentile_interval,
    proportion_interval,
)
from cspine.metrics.scores import auc
from cspine.metrics.stratified_auc import stratified_auc

GroupT = TypeVar("GroupT")

NEAR_MM: Final = 10.0
"""Evidence within this distance of a fracture points at it."""

VISIBLE: Final = ("clear", "obvious")
VISIBLE_NAME: Final = "clear or obvious"
ALL_NAME: Final = "all"


# --- intact scans ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class IntactScan:
    """The predictions for one intact scan and its variants.

    Attributes
    ----------
    scan : str
        Name of the scan.
    patient, patient_threshold : float or None, float
        Probability of the patient as published, and the triage point.
    levels, level_threshold : dict of str to float, float
        Probability of each assessed level as published, and the triage point.
    patients : dict of str to float
        Probability of the patient by variant.
    kept : dict of str to (int, int)
        Of each variant, the vertebrae that are on the same side of the triage point as published, and their number.
    """

    scan: str
    patient: float | None
    patient_threshold: float
    levels: dict[str, float]
    level_threshold: float
    patients: dict[str, float]
    kept: dict[str, tuple[int, int]]

    @property
    def level_alarms(self) -> list[str]:
        """Levels at or above the triage point as published."""
        return [level for level, probability in self.levels.items() if probability >= self.level_threshold]

    @property
    def is_patient_alarm(self) -> bool:
        """Whether the patient is at or above the triage point as published."""
        return self.patient is not None and self.patient >= self.patient_threshold

    def spread_points(self, *roles: Role) -> float | None:
        """Return the range of the patient's probability over variants of some roles, in points; None of one only."""
        values = [value for name, value in self.patients.items() if ROLES[name] in ("as is", *roles)]
        return 100 * (max(values) - min(values)) if len(values) > 1 else None

    def repeatability(self) -> tuple[int, int]:
        """Return the vertebrae that keep their decision in scans that differ by chance, and their number."""
        pairs = [self.kept[name] for name in self.kept if ROLES[name] == "repeat"]
        return sum(kept for kept, _ in pairs), sum(total for _, total in pairs)


def measure_intact(predictions: ScanPredictions) -> IntactScan | None:
    """Return the measures of an intact scan; None where no level of it is assessed."""
    studies = {study.name: study for study in predictions.studies if study.kind == "variant"}
    levels = _probabilities(studies[AS_IS.name])
    if not levels:
        return None
    threshold = predictions.level_threshold
    kept = {}
    for name, study in studies.items():
        if name != AS_IS.name:
            kept[name] = count_kept(levels, _probabilities(study), threshold)
    patients = {name: study.probability for name, study in studies.items() if study.probability is not None}
    return IntactScan(
        predictions.scan,
        patients.get(AS_IS.name),
        predictions.patient_threshold,
        levels,
        threshold,
        patients,
        kept,
    )


def count_kept(before: Mapping[str, float], after: Mapping[str, float], threshold: float) -> tuple[int, int]:
    """Return how many probabilities stay on their side of a threshold, and their number; one that is missing does not.

    >>> count_kept({"C1": 0.3, "C2": 0.1, "C3": 0.4}, {"C1": 0.1, "C2": 0.2}, 0.25)
    (1, 3)
    """
    same = [name in after and (after[name] >= threshold) == (p >= threshold) for name, p in before.items()]
    return sum(same), len(same)


def _probabilities(study: Study) -> dict[str, float]:
    return {each.level: each.probability for each in study.vertebrae if each.probability is not None}


# --- virtual fractures -----------------------------------------------------------------------------------------------


class _Case(NamedTuple):
    """A vertebra of a virtual study."""

    scan: str
    study: Study
    vertebra: Vertebra
    threshold: float

    @property
    def is_alarm(self) -> bool:
        return self.vertebra.probability is not None and self.vertebra.probability >= self.threshold

    @property
    def score(self) -> float:
        return UNANSWERED_SCORE if self.vertebra.probability is None else self.vertebra.probability

    @property
    def is_beside_fracture(self) -> bool:
        """Whether the vertebra above or below is fractured; its fracture reaches into the views of this one."""
        number = VERTEBRAE.index(self.vertebra.level)
        return any(self.study.vertebrae[at].is_fractured for at in (number - 1, number + 1) if 0 <= at < len(VERTEBRAE))

    @property
    def cluster(self) -> str:
        """What is resampled: a copy of a scan, with its fractures and its shams."""
        return f"{self.scan} {self.study.name}"


@dataclass(frozen=True)
class FractureGroup:
    """How well some of the virtual fractures are detected.

    Attributes
    ----------
    n_fractured, n_detected : int
        Fractured vertebrae, and those at or above the triage point.
    auc : Interval
        Against all vertebrae of virtual studies without a fracture, shams included.
    auc_within : Interval
        Against the same vertebra of the same scan without a fracture: of 0.5 where it is not the fracture that is seen.
    sensitivity : Interval
        At the triage point.
    place : Interval
        Fraction of the detected ones whose strongest evidence is within `NEAR_MM` of the fracture.
    """

    n_fractured: int
    n_detected: int
    auc: Interval
    auc_within: Interval
    sensitivity: Interval
    place: Interval


@dataclass(frozen=True)
class VirtualFractures:
    """The predictions for virtual studies of all scans; intervals are bootstrapped over copies of scans.

    Attributes
    ----------
    n_studies : int
        Studies with fractures, and as many with shams.
    groups : dict of str to FractureGroup
        Of all fractures, the clear or obvious ones, those of a grade, a type, a level, and a scan.
    specificity : Interval
        Of vertebrae without a fracture, at the triage point.
    sham_alarms, untouched_alarms : Interval
        Fraction of vertebrae with shams at or above the triage point; and of the same vertebrae where nothing was done.
    neighbor_alarms : Interval
        Fraction of intact vertebrae beside a fractured one at or above the triage point.
    patient_auc : Interval
        Of studies with a clear or obvious fracture against those with shams.
    patient_sensitivity, sham_patient_alarms : Interval
        Fraction of these studies at or above the patient's triage point.
    neck_auc, neck_sensitivity, neck_place : Interval
        Of clear or obvious fractures, the mean over necks, with an interval for other necks (Student's t). Copies of
        one neck have its bone in common, so that intervals over copies are too narrow for that.
    """

    n_studies: int
    groups: dict[str, FractureGroup]
    specificity: Interval
    sham_alarms: Interval
    untouched_alarms: Interval
    neighbor_alarms: Interval
    patient_auc: Interval
    patient_sensitivity: Interval
    sham_patient_alarms: Interval
    neck_auc: Interval = UNDEFINED
    neck_sensitivity: Interval = UNDEFINED
    neck_place: Interval = UNDEFINED


def measure_virtual(predictions: Sequence[ScanPredictions]) -> VirtualFractures | None:
    """Return the measures of virtual fractures; None without virtual studies."""
    cases = [
        _Case(each.scan, study, vertebra, each.level_threshold)
        for each in predictions
        for study in each.studies
        if study.kind != "variant"
        for vertebra in study.vertebrae
    ]
    if not any(case.vertebra.is_fractured for case in cases):
        return None
    fractured = [case for case in cases if case.vertebra.is_fractured]
    intact = [case for case in cases if not case.vertebra.is_fractured and case.vertebra.probability is not None]
    shams = [case for case in intact if case.vertebra.is_sham]
    places = {(case.scan, case.vertebra.level) for case in shams}
    untouched = [case for case in intact if not case.vertebra.is_sham and (case.scan, case.vertebra.level) in places]
    beside = [case for case in intact if case.is_beside_fracture]
    groups = {}
    for name, members in _grouping(fractured).items():
        scans = {case.scan for case in members}
        groups[name] = _measure_group(members, [case for case in intact if case.scan in scans])
    patients = _patients(predictions)
    necks = groups_of_necks(groups)
    return VirtualFractures(
        n_studies=sum(study.kind == "fracture" for each in predictions for study in each.studies),
        groups=groups,
        specificity=_fraction(intact, [not case.is_alarm for case in intact]),
        sham_alarms=_fraction(shams, [case.is_alarm for case in shams]),
        untouched_alarms=_fraction(untouched, [case.is_alarm for case in untouched]),
        neighbor_alarms=_fraction(beside, [case.is_alarm for case in beside]),
        neck_auc=mean_over_necks([group.auc.value for group in necks]),
        neck_sensitivity=mean_over_necks([group.sensitivity.value for group in necks]),
        neck_place=mean_over_necks([group.place.value for group in necks]),
        **patients,
    )


def groups_of_necks(groups: Mapping[str, GroupT]) -> list[GroupT]:
    """Return the groups of the clear or obvious fractures of each neck, of all groups by name.

    >>> groups_of_necks({"all": 1, "vtk-head, clear or obvious": 2, "weasis-neck, clear or obvious": 3})
    [3, 2]
    """
    return [groups[name] for scan in NECKS if (name := f"{scan}, {VISIBLE_NAME}") in groups]


def mean_over_necks(values: Sequence[float]) -> Interval:
    """Return the mean of fractions with its 95 % interval by Student's t, within 0 and 1; of one value, no interval.

    >>> interval = mean_over_necks([0.8, 0.85, 0.9])
    >>> round(interval.low, 3), round(interval.value, 3), round(interval.high, 3)
    (0.726, 0.85, 0.974)
    """
    known = np.array([value for value in values if not np.isnan(value)])
    if not len(known):
        return UNDEFINED
    mean, n = float(known.mean()), len(known)
    if n == 1:
        return Interval(mean, float("nan"), float("nan"))
    half = float(scipy.stats.t.ppf(0.975, n - 1) * known.std(ddof=1) / np.sqrt(n))
    return Interval(mean, max(mean - half, 0.0), min(mean + half, 1.0))


def _grouping(fractured: Sequence[_Case]) -> dict[str, list[_Case]]:
    """Return the fractures of each group that has some."""
    visible = [case for case in fractured if case.vertebra.visibility in VISIBLE]
    groups = {VISIBLE_NAME: visible, ALL_NAME: [*fractured]}
    for grade in VISIBILITY_GRADES:
        groups[grade] = [case for case in fractured if case.vertebra.visibility == grade]
    for scan in dict.fromkeys(case.scan for case in visible):
        groups[f"{scan}, {VISIBLE_NAME}"] = [case for case in visible if case.scan == scan]
    for level in sorted({case.vertebra.level for case in visible}):
        groups[f"{level}, {VISIBLE_NAME}"] = [case for case in visible if case.vertebra.level == level]
    for name in sorted({case.vertebra.fracture_type for case in fractured}):
        groups[name] = [case for case in fractured if case.vertebra.fracture_type == name]
    return {name: members for name, members in groups.items() if members}


def _measure_group(fractured: Sequence[_Case], intact: Sequence[_Case]) -> FractureGroup:
    everyone = [*fractured, *intact]
    truth = np.array([1] * len(fractured) + [0] * len(intact))
    score, clusters = np.array([case.score for case in everyone]), [case.cluster for case in everyone]
    bones = [f"{case.scan} {case.vertebra.level}" for case in everyone]
    detected = [case for case in fractured if case.is_alarm]
    near = [case.vertebra.place_mm is not None and case.vertebra.place_mm <= NEAR_MM for case in detected]
    return FractureGroup(
        n_fractured=len(fractured),
        n_detected=len(detected),
        auc=_auc(truth, score, clusters),
        auc_within=stratified_auc(truth, score, bones, clusters),
        sensitivity=_fraction(fractured, [case.is_alarm for case in fractured]),
        place=_fraction(detected, near),
    )


def _patients(predictions: Sequence[ScanPredictions]) -> dict[str, Interval]:
    """Return what is measured of patients: studies with a clear or obvious fracture, and those with shams."""
    truth, score, alarm, clusters = [], [], [], []
    for each in predictions:
        for study in each.studies:
            is_visible = any(vertebra.visibility in VISIBLE for vertebra in study.vertebrae)
            if study.kind == "variant" or (study.kind == "fracture" and not is_visible):
                continue
            if study.kind == "sham" and study.probability is None:
                continue
            truth.append(int(study.kind == "fracture"))
            score.append(UNANSWERED_SCORE if study.probability is None else study.probability)
            alarm.append(score[-1] >= each.patient_threshold)
            clusters.append(f"{each.scan} {study.name}")
    is_fractured = np.array(truth, bool)
    return {
        "patient_auc": _auc(np.array(truth), np.array(score), clusters),
        "patient_sensitivity": _proportion(alarm, is_fractured, clusters),
        "sham_patient_alarms": _proportion(alarm, ~is_fractured, clusters),
    }


def _auc(truth: npt.NDArray[np.int64], score: npt.NDArray[np.float64], clusters: Sequence[str]) -> Interval:
    value = auc(truth, score)
    if np.isnan(value):
        return UNDEFINED
    return percentile_interval(value, bootstrap_auc(truth, score, patient_weights(clusters)))


def _fraction(cases: Sequence[_Case], is_success: Sequence[bool]) -> Interval:
    return _proportion(is_success, np.ones(len(cases), bool), [case.cluster for case in cases])


def _proportion(is_success: Sequence[bool], is_included: Bools, clusters: Sequence[str]) -> Interval:
    if not is_included.any():
        return UNDEFINED
    return proportion_interval(np.array(is_success), is_included, clusters, n_resamples=N_RESAMPLES)
