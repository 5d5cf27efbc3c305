"""Evaluation of models against a reference standard: all metrics that a report needs."""

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
from cspine.evaluation.cases import LEVELS, Cases, MatchedPredictions, match_predictions
from cspine.evaluation.localization import LesionLocalization, evaluate_localization, level_confusion
from cspine.evaluation.operating_point_metrics import DEFAULT_OPERATING_POINT, FixedOperatingPoints
from cspine.evaluation.predictions import Predictions
from cspine.evaluation.subgroups import SubgroupMetrics, subgroup_metrics
from cspine.evaluation.target_metrics import TargetMetrics, auc_difference, target_metrics
from cspine.metrics.bootstrap import N_RESAMPLES, patient_weights
from cspine.metrics.delong import AucDifference
from cspine.metrics.reliability import net_benefit
from cspine.metrics.rsna2022 import metric_optimal, study_optimal
from cspine.metrics.rsna2022_intervals import ChallengeLoss, challenge_loss_intervals
from cspine.metrics.scores import all_negative_accuracy, label_accuracy

PLAIN: Final = "probability p"
GLOBAL_OPTIMAL: Final = "metric-optimal 2p/(1+p)"
STUDY_OPTIMAL: Final = "optimal per study"

_DECISION_THRESHOLDS: Final = np.round(np.arange(0.01, 0.51, 0.01), 2)
_ACCURACY_THRESHOLD: Final = 0.5


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit of acting on patients at or above each threshold probability, in true positives per patient.

    Attributes
    ----------
    thresholds : (t,) float
        Threshold probabilities at which the curve was computed.
    model, treat_all : (t,) float
        Net benefit of acting by the model, and of acting on all patients. That of acting on none is 0.
    """

    thresholds: Floats
    model: Floats
    treat_all: Floats


@dataclass(frozen=True)
class ModelResult:
    """Evaluation of one model.

    Attributes
    ----------
    name : str
        Name of the model.
    n_not_assessable, n_not_assessable_fractured : int
        Studies that it rated not assessable, and how many of them are fractured.
    n_unmatched_predictions : int
        Studies that it predicted and the reference standard does not hold.
    n_unscored_vertebrae : int
        Vertebrae of the evaluated studies to which one of the models gives no probability. They are left out for all.
    phantom_only : bool
        Whether the model was trained on phantoms only.
    targets : tuple of TargetMetrics
        Performance on each of `TARGETS`, and on all levels together.
    accuracy, all_negative_accuracy : float
        Fraction of all labels that are correct at threshold 0.5, and without any positive prediction.
    level_confusion : (7, 7) int
        As returned by `cspine.evaluation.localization.level_confusion`.
    decision_curve : DecisionCurve
        Net benefit for patients.
    subgroups : tuple of SubgroupMetrics
        Subgroups of patients, and of vertebrae.
    localization : LesionLocalization or None
        None where the model reports no locations or none are known.
    """

    name: str
    n_not_assessable: int
    n_not_assessable_fractured: int
    n_unmatched_predictions: int
    n_unscored_vertebrae: int
    phantom_only: bool
    targets: tuple[TargetMetrics, ...]
    accuracy: float
    all_negative_accuracy: float
    level_confusion: npt.NDArray[np.int64]
    decision_curve: DecisionCurve
    subgroups: tuple[SubgroupMetrics, ...]
    localization: LesionLocalization | None

    def target(self, name: str) -> TargetMetrics:
        """Return the performance on one of `TARGETS`, or on `LEVELS`."""
        return next(metrics for metrics in self.targets if metrics.target == name)


@dataclass(frozen=True)
class ModelComparison:
    """AUC of one model minus that of another on the same cases of one target."""

    model: str
    other: str
    target: str
    difference: AucDifference


@dataclass(frozen=True)
class EvaluationProtocol:
    """Circumstances of an evaluation.

    Attributes
    ----------
    part, split_sha256 : str
        Part and hash of a locked split; empty where studies were not split.
    n_earlier_accesses : int or None
        Number of earlier evaluations on the holdout part; None for other parts.
    n_training_leaks : int
        Evaluated studies of patients that a model was trained on.
    """

    part: str = ""
    split_sha256: str = ""
    n_earlier_accesses: int | None = None
    n_training_leaks: int = 0


@dataclass(frozen=True)
class EvaluationResult:
    """Evaluation of one or several models on the same studies.

    Attributes
    ----------
    reference_name : str
        Name of the reference standard.
    is_phantom : bool
        Whether all studies are phantoms.
    n_studies, n_patients : int
        Studies with predictions by all models, and their patients.
    n_resamples : int
        Number of bootstrap resamples.
    operating_points : FixedOperatingPoints
        Thresholds, and what they were chosen on.
    models : tuple of ModelResult
        Result of each model.
    losses : tuple of ChallengeLoss
        The challenge's loss of each model's probabilities, of the two transforms that the challenge's metric rewards,
        and of constants that need no image. Differences are to the first model's probabilities.
    comparisons : tuple of ModelComparison
        The first model against each other one.
    protocol : EvaluationProtocol
        Circumstances of the evaluation.
    reference : ReferenceStandard
        Reference standard of the evaluated studies.
    cases : mapping of str to mapping of str to Cases
        Cases of each model by target.
    """

    reference_name: str
    is_phantom: bool
    n_studies: int
    n_patients: int
    n_resamples: int
    operating_points: FixedOperatingPoints
    models: tuple[ModelResult, ...]
    losses: tuple[ChallengeLoss, ...]
    comparisons: tuple[ModelComparison, ...]
    protocol: EvaluationProtocol
    reference: ReferenceStandard = field(repr=False)
    cases: Mapping[str, Mapping[str, Cases]] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain dictionaries and lists, without single cases; NaN becomes None."""
        value = {
            "reference": self.reference_name,
            "is_phantom": self.is_phantom,
            "n_studies": self.n_studies,
            "n_patients": self.n_patients,
            "n_resamples": self.n_resamples,
            "operating_points": self.operating_points.model_dump(mode="json"),
            "models": [asdict(model) for model in self.models],
            "losses": [asdict(loss) for loss in self.losses],
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
            "protocol": asdict(self.protocol),
            "studies_sha256": self.reference.studies_sha256,
        }
        plain: dict[str, Any] = plain_json(value)
        return plain

    @property
    def thresholds_in_sample(self) -> bool:
        """Whether the operating points were chosen on the very studies that are evaluated."""
        return self.operating_points.studies_sha256 == self.reference.studies_sha256


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of an evaluation.

    Attributes
    ----------
    operating_points : FixedOperatingPoints
        Thresholds chosen on other studies.
    baselines : mapping of str to (8,) array_like
        Constants that need no image, as returned by `cspine.metrics.rsna2022.constant_baselines`.
    n_resamples : int
        Number of bootstrap resamples of patients.
    seed : int
        Seed of the bootstrap.
    protocol : EvaluationProtocol
        Circumstances of the evaluation, which are reported.
    """

    operating_points: FixedOperatingPoints = DEFAULT_OPERATING_POINT
    baselines: Mapping[str, npt.ArrayLike] = field(default_factory=dict)
    n_resamples: int = N_RESAMPLES
    seed: int = 0
    protocol: EvaluationProtocol = field(default_factory=EvaluationProtocol)


def evaluate(
    reference: ReferenceStandard,
    models: Sequence[Predictions],
    settings: EvaluationSettings | None = None,
    *,
    progress: Progress = silent,
) -> EvaluationResult:
    """Evaluate models against a reference standard.

    Parameters
    ----------
    reference : ReferenceStandard
        Labels of the studies.
    models : sequence of Predictions
        At least one. All are evaluated on the studies and vertebrae that all of them assess.
    settings : EvaluationSettings, optional
        Operating points, baselines and bootstrap.
    progress : Progress
        Called with the number of evaluated models.

    Raises
    ------
    LabelError
        A model lacks studies, or predictions and reference standard do not match.
    InputError
        A label is not 0 or 1, or a probability is not from 0 to 1.
    """
    settings = settings or EvaluationSettings()
    matched = match_predictions(reference, models)
    weights = patient_weights(matched.patients, n_resamples=settings.n_resamples, seed=settings.seed)
    results, cases = [], {}
    for number, model in enumerate(models):
        progress("evaluate", number, len(models))
        cases[model.name] = matched.cases(model.name)
        results.append(_evaluate_model(matched, reference, model, cases[model.name], settings))
    progress("evaluate", len(models), len(models))
    predictions = _loss_inputs(matched.probability, settings.baselines)
    return EvaluationResult(
        reference_name=reference.name,
        is_phantom=reference.is_phantom,
        n_studies=len(matched.labels),
        n_patients=len(np.unique(matched.patients)),
        n_resamples=settings.n_resamples,
        operating_points=settings.operating_points,
        models=tuple(results),
        losses=challenge_loss_intervals(matched.labels, predictions, weights),
        comparisons=tuple(_compare_models(cases)),
        protocol=settings.protocol,
        reference=matched.reference,
        cases=cases,
    )


def _evaluate_model(
    matched: MatchedPredictions,
    reference: ReferenceStandard,
    model: Predictions,
    cases: Mapping[str, Cases],
    settings: EvaluationSettings,
) -> ModelResult:
    probability, labels = matched.probability[model.name], matched.labels
    not_assessable = list(matched.not_assessable[model.name])
    is_scored = ~np.isnan(probability)
    points = settings.operating_points
    patients, last_point = cases[OVERALL], points.points[-1]
    bootstrap = {"n_resamples": settings.n_resamples, "seed": settings.seed}
    return ModelResult(
        name=model.name,
        n_not_assessable=len(not_assessable),
        n_not_assessable_fractured=int(reference.labels.loc[not_assessable, OVERALL].sum()),
        n_unmatched_predictions=matched.n_unmatched[model.name],
        n_unscored_vertebrae=int((~is_scored[:, 1:]).sum()),
        phantom_only=model.phantom_only,
        targets=tuple(target_metrics(cases[target], points, **bootstrap) for target in (*TARGETS, LEVELS)),
        accuracy=label_accuracy(labels[is_scored], probability[is_scored], _ACCURACY_THRESHOLD),
        all_negative_accuracy=all_negative_accuracy(labels[is_scored]),
        level_confusion=level_confusion(matched, model.name),
        decision_curve=DecisionCurve(
            _DECISION_THRESHOLDS, *net_benefit(patients.truth, patients.probability, _DECISION_THRESHOLDS)
        ),
        subgroups=(
            *subgroup_metrics(matched.reference, patients, last_point.patient, **bootstrap),
            *subgroup_metrics(matched.reference, cases[LEVELS], last_point.level, **bootstrap),
        ),
        localization=evaluate_localization(matched, model, points, **bootstrap),
    )


def _loss_inputs(models: Mapping[str, Floats], baselines: Mapping[str, npt.ArrayLike]) -> dict[str, Floats]:
    """Return the probabilities whose loss is reported: of the models, their transforms, and the constants."""
    is_missing = np.isnan(next(iter(models.values())))  # equal in all models
    inputs = {f"{name}: {PLAIN}": probability for name, probability in models.items()}
    for name, probability in models.items():
        filled = np.where(is_missing, 0.0, probability)
        for transform, values in ((GLOBAL_OPTIMAL, metric_optimal(filled)), (STUDY_OPTIMAL, study_optimal(filled))):
            inputs[f"{name}: {transform}"] = np.where(is_missing, np.nan, values)
    for name, constants in baselines.items():
        values = np.asarray(constants, np.float64)
        if values.shape != (len(TARGETS),):
            raise InputError(f"a baseline of shape {values.shape} is not eight constants; give one per target")
        inputs[f"constant: {name}"] = np.where(is_missing, np.nan, values)
    return inputs


def _compare_models(cases: Mapping[str, Mapping[str, Cases]]) -> list[ModelComparison]:
    """Compare the first model with each other one, on patients and on all vertebrae."""
    first, *others = cases
    differences = (
        (other, target, auc_difference(cases[first][target], cases[other][target]))
        for other in others
        for target in (OVERALL, LEVELS)
    )
    return [
        ModelComparison(first, other, target, difference)
        for other, target, difference in differences
        if difference is not None
    ]
