"""Evaluation of models against a reference standard: all metrics that a report needs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cspine.core.anatomy import OVERALL, TARGETS, VERTEBRAE
from cspine.core.errors import InputError
from cspine.core.files import plain_json
from cspine.core.progress import Progress, silent
from cspine.core.typing import Floats
from cspine.datasets.reference_standard import ReferenceStandard
from cspine.evaluation.cases import LEVELS, UNANSWERED_SCORE, Cases, MatchedPredictions, match_predictions
from cspine.evaluation.localization import LesionLocalization, evaluate_localization, level_confusion
from cspine.evaluation.mimics import MimicFalseAlarms, false_alarms_by_mimic
from cspine.evaluation.model_comparison import ModelComparison, compare_models
from cspine.evaluation.operating_points import DEFAULT_OPERATING_POINT
from cspine.evaluation.predictions import Predictions
from cspine.evaluation.subgroups import SubgroupMetrics, subgroup_metrics
from cspine.evaluation.target_metrics import TargetMetrics, target_metrics
from cspine.evaluation.unanswered import Unanswered, count_unanswered, model_notes
from cspine.metrics.bootstrap import N_RESAMPLES, patient_weights
from cspine.metrics.reliability import net_benefit
from cspine.metrics.rsna2022 import metric_optimal, study_optimal
from cspine.metrics.rsna2022_intervals import ChallengeLoss, challenge_loss_intervals
from cspine.metrics.scores import all_negative_accuracy, label_accuracy
from cspine.models.operating_points import FixedOperatingPoints

PLAIN: Final = "probability p"
GLOBAL_OPTIMAL: Final = "metric-optimal 2p/(1+p)"
STUDY_OPTIMAL: Final = "optimal per study"

_DECISION_THRESHOLDS: Final = np.round(np.arange(0.01, 0.51, 0.01), 2)
_ACCURACY_THRESHOLD: Final = 0.5

UNINFORMED: Final = 0.5
"""Probability by which the challenge's loss counts a target without an answer: the one that knows nothing."""


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit of acting on patients at or above each threshold probability, in true positives per patient.

    Patients without an answer are not acted on, whether they are fractured or not.

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
        Vertebrae of the other studies without a probability: absent from the scan, or not found.
    unanswered : Unanswered
        All cases without an answer. Fractured ones are missed; intact ones are neither true negatives nor false
        positives.
    notes : tuple of str
        Sentences on cases that are not answered or not evaluated, and on how the predictions were read.
    operating_points : FixedOperatingPoints
        Thresholds, and what they were chosen on: those of the settings, or else of the model, or the default.
    phantom_only : bool
        Whether the model was trained on phantoms only.
    targets : tuple of TargetMetrics
        Performance on each of `TARGETS`, and on all levels together.
    accuracy, all_negative_accuracy : float
        Fraction of the labels that are correct at threshold 0.5, and without any positive prediction. Fractured cases
        without an answer are wrong; intact ones are left out.
    level_confusion : (7, 7) int
        Studies with a single fractured vertebra, by its level and by that with the highest probability.
    n_unanswered_single_fractures : (7,) int
        Further studies with a single fractured vertebra, which the model does not answer, by its level.
    decision_curve : DecisionCurve
        Net benefit for patients.
    subgroups : tuple of SubgroupMetrics
        Subgroups of patients, and of vertebrae.
    localization : LesionLocalization or None
        None where the model reports no locations or none are known.
    mimics : tuple of MimicFalseAlarms
        False alarms by finding that mimics a fracture, at the last operating point; empty where none are known.
    """

    name: str
    n_not_assessable: int
    n_not_assessable_fractured: int
    n_unmatched_predictions: int
    n_unscored_vertebrae: int
    unanswered: Unanswered
    notes: tuple[str, ...]
    operating_points: FixedOperatingPoints
    phantom_only: bool
    targets: tuple[TargetMetrics, ...]
    accuracy: float
    all_negative_accuracy: float
    level_confusion: npt.NDArray[np.int64]
    n_unanswered_single_fractures: npt.NDArray[np.int64]
    decision_curve: DecisionCurve
    subgroups: tuple[SubgroupMetrics, ...]
    localization: LesionLocalization | None
    mimics: tuple[MimicFalseAlarms, ...]

    def target(self, name: str) -> TargetMetrics:
        """Return the performance on one of `TARGETS`, or on `LEVELS`."""
        return next(metrics for metrics in self.targets if metrics.target == name)

    def to_json(self) -> dict[str, Any]:
        """Return the result as dictionaries, lists and arrays."""
        return asdict(self) | {"operating_points": self.operating_points.model_dump(mode="json")}


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
        Studies of the reference standard, and their patients. All are evaluated, whether models answer them or not.
    n_resamples : int
        Number of bootstrap resamples.
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
        Reference standard of all evaluated studies.
    cases : mapping of str to mapping of str to Cases
        Cases of each model by target.
    """

    reference_name: str
    is_phantom: bool
    n_studies: int
    n_patients: int
    n_resamples: int
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
            "models": [model.to_json() for model in self.models],
            "losses": [asdict(loss) for loss in self.losses],
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
            "protocol": asdict(self.protocol),
            "studies_sha256": self.reference.studies_sha256,
        }
        plain: dict[str, Any] = plain_json(value)
        return plain

    @property
    def operating_points(self) -> FixedOperatingPoints:
        """Operating points of the first model; other models have others where their findings carry them."""
        return self.models[0].operating_points

    @property
    def thresholds_in_sample(self) -> bool:
        """Whether any operating points were chosen on the very studies that are evaluated."""
        return any(model.operating_points.studies_sha256 == self.reference.studies_sha256 for model in self.models)


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of an evaluation.

    Attributes
    ----------
    operating_points : FixedOperatingPoints, optional
        Thresholds chosen on other studies, for all models. If omitted, those that belong to each model, or else the
        default.
    baselines : mapping of str to (8,) array_like
        Constants that need no image, as returned by `cspine.metrics.rsna2022.constant_baselines`.
    n_resamples : int
        Number of bootstrap resamples of patients.
    seed : int
        Seed of the bootstrap.
    protocol : EvaluationProtocol
        Circumstances of the evaluation, which are reported.
    """

    operating_points: FixedOperatingPoints | None = None
    baselines: Mapping[str, npt.ArrayLike] = field(default_factory=dict)
    n_resamples: int = N_RESAMPLES
    seed: int = 0
    protocol: EvaluationProtocol = field(default_factory=EvaluationProtocol)

    def operating_points_of(self, model: Predictions) -> FixedOperatingPoints:
        """Return the operating points at which a model is evaluated."""
        return self.operating_points or model.operating_points or DEFAULT_OPERATING_POINT


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
        At least one. Each is evaluated on all studies: fractured cases that it does not answer are missed.
    settings : EvaluationSettings, optional
        Operating points, baselines and bootstrap.
    progress : Progress
        Called with the number of evaluated models.

    Raises
    ------
    LabelError
        A model lacks studies or assessed none, or predictions and reference standard do not match.
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
        results.append(_evaluate_model(matched, model, cases[model.name], settings))
    progress("evaluate", len(models), len(models))
    predictions = _loss_inputs(matched.probability, settings.baselines)
    return EvaluationResult(
        reference_name=reference.name,
        is_phantom=reference.is_phantom,
        n_studies=len(matched.labels),
        n_patients=len(np.unique(matched.patients)),
        n_resamples=settings.n_resamples,
        models=tuple(results),
        losses=challenge_loss_intervals(matched.labels, predictions, weights),
        comparisons=tuple(compare_models(cases)),
        protocol=settings.protocol,
        reference=matched.reference,
        cases=cases,
    )


def _evaluate_model(
    matched: MatchedPredictions, model: Predictions, cases: Mapping[str, Cases], settings: EvaluationSettings
) -> ModelResult:
    probability, labels = matched.probability[model.name], matched.labels
    not_assessable = list(matched.not_assessable[model.name])
    points = settings.operating_points_of(model)
    patients, last_point = cases[OVERALL], points.points[-1]
    unanswered, confusion = count_unanswered(matched, model, cases), level_confusion(matched, model.name)
    is_counted = ~np.isnan(probability) | (labels > 0)
    filled = np.nan_to_num(probability, nan=UNANSWERED_SCORE)
    n_vertebrae = unanswered.n_fractured_vertebrae + unanswered.n_intact_vertebrae
    bootstrap = {"n_resamples": settings.n_resamples, "seed": settings.seed}
    return ModelResult(
        name=model.name,
        n_not_assessable=len(not_assessable),
        n_not_assessable_fractured=int(matched.reference.labels.loc[not_assessable, OVERALL].sum()),
        n_unmatched_predictions=len(matched.unmatched[model.name]),
        n_unscored_vertebrae=n_vertebrae - len(VERTEBRAE) * len(not_assessable),
        unanswered=unanswered,
        notes=model_notes(matched, model, unanswered, uses_own_points=settings.operating_points is None),
        operating_points=points,
        phantom_only=model.phantom_only,
        targets=tuple(target_metrics(cases[target], points, **bootstrap) for target in (*TARGETS, LEVELS)),
        accuracy=label_accuracy(labels[is_counted], filled[is_counted], _ACCURACY_THRESHOLD),
        all_negative_accuracy=all_negative_accuracy(labels[is_counted]),
        level_confusion=confusion[:, : len(VERTEBRAE)],
        n_unanswered_single_fractures=confusion[:, -1],
        decision_curve=DecisionCurve(
            _DECISION_THRESHOLDS,
            *net_benefit(patients.truth, np.nan_to_num(patients.probability, nan=0.0), _DECISION_THRESHOLDS),
        ),
        subgroups=(
            *subgroup_metrics(matched.reference, patients, last_point.patient, **bootstrap),
            *subgroup_metrics(matched.reference, cases[LEVELS], last_point.level, **bootstrap),
        ),
        localization=evaluate_localization(matched, model, points, **bootstrap),
        mimics=false_alarms_by_mimic(matched.reference, cases[LEVELS], model.marks, last_point.level, **bootstrap),
    )


def _loss_inputs(models: Mapping[str, Floats], baselines: Mapping[str, npt.ArrayLike]) -> dict[str, Floats]:
    """Return the probabilities whose loss is reported: of the models, their transforms, and the constants.

    All are of the same studies and targets. The challenge requires a probability of each: what a model does not answer
    counts as `UNINFORMED`, which no transform changes.
    """
    inputs = {f"{name}: {PLAIN}": np.nan_to_num(probability, nan=UNINFORMED) for name, probability in models.items()}
    for name, probability in models.items():
        filled = np.nan_to_num(probability, nan=0.0)
        for transform, values in ((GLOBAL_OPTIMAL, metric_optimal(filled)), (STUDY_OPTIMAL, study_optimal(filled))):
            inputs[f"{name}: {transform}"] = np.where(np.isnan(probability), UNINFORMED, values)
    n_studies = len(next(iter(models.values())))
    for name, constants in baselines.items():
        values = np.asarray(constants, np.float64)
        if values.shape != (len(TARGETS),):
            raise InputError(f"a baseline of shape {values.shape} is not eight constants; give one per target")
        inputs[f"constant: {name}"] = np.tile(values, (n_studies, 1))
    return inputs
