"""Systems' answers against truth: everything that a table of results needs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cspine.core.anatomy import OVERALL, TARGETS
from cspine.core.errors import InputError
from cspine.core.files import plain_json
from cspine.core.progress import Progress, silent
from cspine.core.typing import Floats
from cspine.datasets.reference_standard import ReferenceStandard
from cspine.evaluation.cases import LEVELS, Cases, Matched, match
from cspine.evaluation.localization import Localisation, level_confusion, match_marks
from cspine.evaluation.operating_point_metrics import HALF, FixedOperatingPoints
from cspine.evaluation.predictions import Predictions
from cspine.evaluation.subgroups import SubgroupRow, subgroup_metrics
from cspine.evaluation.target_metrics import TargetRow, auc_difference, target_metrics
from cspine.metrics.bootstrap import DRAWS, patient_weights
from cspine.metrics.delong import Difference
from cspine.metrics.reliability import net_benefit
from cspine.metrics.rsna2022 import metric_optimal, study_optimal
from cspine.metrics.rsna2022_intervals import LossRow, loss_rows
from cspine.metrics.scores import all_negative_accuracy, label_accuracy

PLAIN: Final = "probability p"
GLOBAL_OPTIMAL: Final = "metric-optimal 2p/(1+p)"
STUDY_OPTIMAL: Final = "optimal per study"

_DECISIONS: Final = np.round(np.arange(0.01, 0.51, 0.01), 2)
"""Thresholds of the decision curve."""


@dataclass(frozen=True)
class Decision:
    """A decision curve of patients: what acting from each threshold on is worth, in true positives a patient."""

    thresholds: Floats
    own: Floats
    everybody: Floats


@dataclass(frozen=True)
class ModelResult:
    """How one system answered.

    Attributes
    ----------
    not_assessable, refused_fractured : int
        Studies that it refused, and how many of them are fractured.
    unasked : int
        Studies that it answered and the truth does not hold.
    silent : int
        Vertebrae of judged studies of which some system says nothing; none is judged on them.
    rows : tuple of TargetRow
        `TARGETS`, and all levels together.
    accuracy, all_negative_accuracy : float
        Share of all labels that half as a threshold gets right, and that calling nothing fractured does.
    confusion : (7, 7) int
        Of `level_confusion`.
    """

    name: str
    not_assessable: int
    refused_fractured: int
    unasked: int
    silent: int
    phantom_only: bool
    rows: tuple[TargetRow, ...]
    accuracy: float
    all_negative_accuracy: float
    confusion: npt.NDArray[np.int64]
    decision: Decision
    subgroups: tuple[SubgroupRow, ...]
    localisation: Localisation | None

    def row(self, what: str) -> TargetRow:
        """Return the row of one of `TARGETS`, or of `LEVELS`."""
        return next(row for row in self.rows if row.what == what)


@dataclass(frozen=True)
class Comparison:
    """One system against another on the same cases: the first's area less the other's."""

    one: str
    other: str
    what: str
    difference: Difference


@dataclass(frozen=True)
class Protocol:
    """Under which circumstances systems are judged.

    Attributes
    ----------
    part, split_sha256 : str
        Of a frozen split; empty where studies were not split.
    looks_before : int or None
        How often the hidden part was looked at before; None of other parts.
    seen_in_training : int
        How many of the studies, or of others of the same patients, a system has learnt from.
    """

    part: str = ""
    split_sha256: str = ""
    looks_before: int | None = None
    seen_in_training: int = 0


@dataclass(frozen=True)
class EvaluationResult:
    """What became of systems on one set of studies.

    Attributes
    ----------
    truth : str
        What they were held against.
    studies, patients : int
        Answered by all systems.
    draws : int
        Of the bootstrap over patients.
    points : FixedOperatingPoints
        Thresholds, and what they were chosen on.
    losses : tuple of LossRow
        Of each system's probabilities as they are and in the two forms that the challenge's metric rewards, and of
        constants that need no image; differences are to the first system's probabilities.
    protocol : Protocol
        Under which circumstances.
    judged : Truth
        Of the studies that were judged.
    cases : mapping of str to mapping of str to Cases
        Each system's cases by kind.
    """

    truth: str
    is_phantom: bool
    studies: int
    patients: int
    draws: int
    points: FixedOperatingPoints
    systems: tuple[ModelResult, ...]
    losses: tuple[LossRow, ...]
    comparisons: tuple[Comparison, ...]
    protocol: Protocol
    judged: ReferenceStandard = field(repr=False)
    cases: Mapping[str, Mapping[str, Cases]] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return plain dictionaries and lists, without single cases; NaN, which JSON lacks, is None."""
        told = {
            "truth": self.truth,
            "is_phantom": self.is_phantom,
            "studies": self.studies,
            "patients": self.patients,
            "draws": self.draws,
            "points": self.points.model_dump(mode="json"),
            "systems": [asdict(system) for system in self.systems],
            "losses": [asdict(row) for row in self.losses],
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
            "protocol": asdict(self.protocol),
            "studies_sha256": self.judged.studies_sha256,
        }
        plain: dict[str, Any] = plain_json(told)
        return plain

    @property
    def thresholds_in_sample(self) -> bool:
        """Whether operating points were chosen on the very studies that they are judged on."""
        return self.points.studies_sha256 == self.judged.studies_sha256


@dataclass(frozen=True)
class EvaluationSettings:
    """How systems are judged.

    Attributes
    ----------
    points : FixedOperatingPoints
        Chosen on other studies.
    baselines : mapping of str to (8,)
        Constants that need no image, as `cspine.metrics.rsna2022.constant_baselines` gives them.
    draws, seed : int
        Of the bootstrap over patients.
    protocol : Protocol
        Under which circumstances.
    """

    points: FixedOperatingPoints = HALF
    baselines: Mapping[str, npt.ArrayLike] = field(default_factory=dict)
    draws: int = DRAWS
    seed: int = 0
    protocol: Protocol = field(default_factory=Protocol)


def judge(
    truth: ReferenceStandard,
    systems: Sequence[Predictions],
    settings: EvaluationSettings | None = None,
    *,
    progress: Progress = silent,
) -> EvaluationResult:
    """Judge systems by what is true.

    Parameters
    ----------
    truth : Truth
        Of the studies that are judged.
    systems : sequence of Answers
        One at least. All are judged on the studies and vertebrae that all of them answer.
    settings : EvaluationSettings, optional
        How.
    progress : Progress
        Told how many systems are judged.

    Raises
    ------
    LabelError
        A system lacks studies, or truth and answers do not go together.
    InputError
        A label is not 0 or 1, or a probability is not from 0 to 1.
    """
    settings = settings or EvaluationSettings()
    matched = match(truth, systems)
    weights = patient_weights(matched.patients, draws=settings.draws, seed=settings.seed)
    results, cases = [], {}
    for number, system in enumerate(systems):
        progress("judge", number, len(systems))
        cases[system.name] = matched.cases(system.name)
        results.append(_judge_one(matched, truth, system, cases[system.name], settings))
    progress("judge", len(systems), len(systems))
    return EvaluationResult(
        truth.name,
        truth.is_phantom,
        len(matched.labels),
        len(np.unique(matched.patients)),
        settings.draws,
        settings.points,
        tuple(results),
        loss_rows(matched.labels, _forms(matched.said, settings.baselines), weights),
        tuple(_compare(cases)),
        settings.protocol,
        matched.truth,
        cases,
    )


def _judge_one(
    matched: Matched,
    truth: ReferenceStandard,
    system: Predictions,
    cases: Mapping[str, Cases],
    settings: EvaluationSettings,
) -> ModelResult:
    name, said, labels = system.name, matched.said[system.name], matched.labels
    not_assessable = list(matched.not_assessable[name])
    there = ~np.isnan(said)
    last = settings.points.points[-1]
    patients = cases[OVERALL]
    how = {"draws": settings.draws, "seed": settings.seed}
    return ModelResult(
        name=name,
        not_assessable=len(not_assessable),
        refused_fractured=int(truth.labels.loc[not_assessable, OVERALL].sum()),
        unasked=matched.unasked[name],
        silent=int((~there[:, 1:]).sum()),
        phantom_only=system.phantom_only,
        rows=tuple(target_metrics(cases[what], settings.points, **how) for what in (*TARGETS, LEVELS)),
        accuracy=label_accuracy(labels[there], said[there], 0.5),
        all_negative_accuracy=all_negative_accuracy(labels[there]),
        confusion=level_confusion(matched, name),
        decision=Decision(_DECISIONS, *net_benefit(patients.truth, patients.said, _DECISIONS)),
        subgroups=(
            *subgroup_metrics(matched.truth, patients, last.patient, **how),
            *subgroup_metrics(matched.truth, cases[LEVELS], last.level, **how),
        ),
        localisation=match_marks(matched, system, settings.points, **how),
    )


def _forms(systems: Mapping[str, Floats], baselines: Mapping[str, npt.ArrayLike]) -> dict[str, Floats]:
    """Return systems' answers in the forms that get a loss, and constants beside them."""
    gaps = np.isnan(next(iter(systems.values())))  # the same of all
    found = {f"{name}: {PLAIN}": said for name, said in systems.items()}
    for name, said in systems.items():
        filled = np.where(gaps, 0.0, said)
        for form, values in ((GLOBAL_OPTIMAL, metric_optimal(filled)), (STUDY_OPTIMAL, study_optimal(filled))):
            found[f"{name}: {form}"] = np.where(gaps, np.nan, values)
    for constant, told in baselines.items():
        eight = np.asarray(told, np.float64)
        if eight.shape != (len(TARGETS),):
            raise InputError(f"a baseline of shape {eight.shape} is not eight constants; give one per target")
        found[f"constant: {constant}"] = np.where(gaps, np.nan, eight)
    return found


def _compare(cases: Mapping[str, Mapping[str, Cases]]) -> list[Comparison]:
    """Return the first system against each other one, of patients and of all vertebrae."""
    first, *others = cases
    gaps = (
        (other, what, auc_difference(cases[first][what], cases[other][what]))
        for other in others
        for what in (OVERALL, LEVELS)
    )
    return [Comparison(first, other, what, gap) for other, what, gap in gaps if gap is not None]
