"""Robustness of a network: accuracy against the severity of perturbations, and of control models without bone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cspine.core.anatomy import OVERALL, TARGETS
from cspine.core.columns import STUDY
from cspine.core.errors import LabelError
from cspine.datasets.reference_standard import ReferenceStandard
from cspine.evaluation.cases import LEVELS, Cases, match_predictions
from cspine.evaluation.predictions import Predictions
from cspine.evaluation.target_metrics import auc_interval
from cspine.experiments.perturbations import PERTURBATIONS
from cspine.experiments.perturbed_predictions import (
    BLANK,
    NOT_ASSESSABLE,
    PERTURBATION,
    SEVERITY,
    SLICES,
    UNPERTURBED,
)
from cspine.metrics.bootstrap import UNDEFINED, Interval


@dataclass(frozen=True)
class RobustnessPoint:
    """Performance at one severity of a perturbation.

    Attributes
    ----------
    perturbation : str
        Name in `PERTURBATIONS`, `UNPERTURBED`, or a control: `BLANK` or `SLICES`.
    severity : float
        In the perturbation's unit; 0 without perturbation.
    n_predicted, n_not_assessable : int
        Studies with and without probabilities.
    patients, levels : Interval
        Areas under the ROC curve over patients and over vertebrae. Fractured ones without a probability rank lowest,
        and intact ones are left out.
    mean_change : float
        Mean absolute difference of the probabilities from those of the unperturbed scans.
    """

    perturbation: str
    severity: float
    n_predicted: int
    n_not_assessable: int
    patients: Interval
    levels: Interval
    mean_change: float


def evaluate_perturbations(rows: pd.DataFrame, reference: ReferenceStandard) -> tuple[RobustnessPoint, ...]:
    """Return the performance at each severity, after that on unperturbed scans and of controls.

    Parameters
    ----------
    rows : DataFrame
        Predictions that `cspine.experiments.perturbed_predictions.predict_perturbed` returned.
    reference : ReferenceStandard
        Labels of the studies; it may hold other studies too.

    Raises
    ------
    LabelError
        No study has labels.
    """
    labeled = rows[rows[STUDY].isin(reference.labels.index)]
    if labeled.empty:
        raise LabelError("none of the studies has labels; check that StudyInstanceUIDs agree")
    selected = _select(reference, labeled[STUDY])
    unperturbed = labeled[labeled[PERTURBATION] == UNPERTURBED]
    baseline = unperturbed.set_index(STUDY)[list(TARGETS)]
    points = [
        _evaluate_severity(str(part[PERTURBATION].iloc[0]), float(part[SEVERITY].iloc[0]), part, selected, baseline)
        for _, part in labeled.groupby([PERTURBATION, SEVERITY], sort=False)
    ]
    points.append(_evaluate_slice_count(unperturbed, selected))
    order = [UNPERTURBED, BLANK, SLICES, *PERTURBATIONS]
    return tuple(sorted(points, key=lambda point: (order.index(point.perturbation), point.severity)))


def _evaluate_severity(
    perturbation: str, severity: float, part: pd.DataFrame, reference: ReferenceStandard, baseline: pd.DataFrame
) -> RobustnessPoint:
    predicted = part[part[NOT_ASSESSABLE].isna()].set_index(STUDY)[list(TARGETS)]
    if perturbation == BLANK:  # a control of the predicted studies alone
        reference = _select(reference, predicted.index)
    not_assessable = reference.labels.index.difference(predicted.index)
    if predicted.empty:
        return RobustnessPoint(perturbation, severity, 0, len(not_assessable), UNDEFINED, UNDEFINED, float("nan"))
    cases = _cases(perturbation, predicted, reference)
    change = np.abs(predicted.to_numpy() - baseline.loc[predicted.index].to_numpy())
    return RobustnessPoint(
        perturbation,
        severity,
        len(predicted),
        len(not_assessable),
        auc_interval(cases[OVERALL]),
        auc_interval(cases[LEVELS]),
        float(np.nanmean(change)) if np.isfinite(change).any() else float("nan"),
    )


def _evaluate_slice_count(part: pd.DataFrame, reference: ReferenceStandard) -> RobustnessPoint:
    """Return how well the number of slices alone predicts which patients are fractured, over readable studies."""
    counts = part[part[SLICES] > 0].set_index(STUDY)[SLICES].astype(float)
    if counts.empty:
        return RobustnessPoint(SLICES, 0.0, 0, len(part), UNDEFINED, UNDEFINED, float("nan"))
    predicted = pd.DataFrame(dict.fromkeys(TARGETS, counts / float(counts.max())))
    patients = auc_interval(_cases(SLICES, predicted, _select(reference, predicted.index))[OVERALL])
    n_not_assessable = len(part) - len(predicted)
    return RobustnessPoint(SLICES, 0.0, len(predicted), n_not_assessable, patients, UNDEFINED, float("nan"))


def _cases(name: str, predicted: pd.DataFrame, reference: ReferenceStandard) -> dict[str, Cases]:
    """Return the cases of all studies; those without a prediction are not answered."""
    missing = {str(study): NOT_ASSESSABLE for study in reference.labels.index.difference(predicted.index)}
    return match_predictions(reference, [Predictions(name, predicted, missing)]).cases(name)


def _select(reference: ReferenceStandard, studies: Any) -> ReferenceStandard:  # noqa: ANN401 - an Index or a Series
    return reference.select(reference.labels.index[reference.labels.index.isin(studies)])
