"""Ablation of the number of views: the performance of the same network, trained with each number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from cspine.core.anatomy import OVERALL
from cspine.evaluation.cases import LEVELS
from cspine.evaluation.evaluate import EvaluationResult
from cspine.evaluation.model_comparison import auc_difference
from cspine.metrics.bootstrap import Interval
from cspine.metrics.delong import AucDifference

Network = Literal["baseline-cnn", "levels"]

NOTEBOOK_VIEWS: Final = 9
"""Images per study of the notebook: the preferred reference of comparisons."""

MAX_VIEWS: Final = {"baseline-cnn": 99, "levels": 90}


@dataclass(frozen=True)
class AblationCost:
    """Cost of one number of views.

    Attributes
    ----------
    bytes_per_study : float
        Compiled bytes that are read of a study.
    seconds_per_epoch : float
        Median duration of a training epoch.
    seconds_per_study : float
        Duration of a prediction from compiled images.
    """

    bytes_per_study: float
    seconds_per_epoch: float
    seconds_per_study: float


@dataclass(frozen=True)
class AblationRow:
    """Performance and cost of one number of views.

    Attributes
    ----------
    views : int
        Sagittal images of a study, or views of each vertebra.
    patients, levels : Interval
        Areas under the ROC curve over patients and over vertebrae.
    patients_difference, levels_difference : AucDifference or None
        Area minus that with the reference's number of views; None for the reference.
    bytes_per_study, seconds_per_epoch, seconds_per_study : float
        Cost of storage, training and inference, as in `AblationCost`.
    """

    views: int
    patients: Interval
    levels: Interval
    patients_difference: AucDifference | None
    levels_difference: AucDifference | None
    bytes_per_study: float
    seconds_per_epoch: float
    seconds_per_study: float


@dataclass(frozen=True)
class Ablation:
    """Result of an ablation.

    Attributes
    ----------
    network : str
        The network that was trained with each number of views.
    reference : int
        The number of views that others are compared to: nine, or else the first.
    rows : tuple of AblationRow
        One per number of views.
    evaluation : EvaluationResult
        Evaluation of all networks on the same studies.
    """

    network: Network
    reference: int
    rows: tuple[AblationRow, ...]
    evaluation: EvaluationResult


def model_name(views: int) -> str:
    """Return the name of the network trained with a number of views, in an evaluation."""
    return f"{views} views"


def summarize_ablation(
    network: Network, views: Sequence[int], evaluation: EvaluationResult, costs: Mapping[int, AblationCost]
) -> Ablation:
    """Compare the networks of an ablation.

    Parameters
    ----------
    network : str
        The network that was trained with each number of views.
    views : sequence of int
        Numbers of views that are compared.
    evaluation : EvaluationResult
        Evaluation of models that are named by `model_name`.
    costs : mapping of int to AblationCost
        Cost of each number of views.
    """
    reference = NOTEBOOK_VIEWS if NOTEBOOK_VIEWS in views else views[0]
    rows = tuple(_row(evaluation, count, reference, costs[count]) for count in views)
    return Ablation(network, reference, rows, evaluation)


def _row(evaluation: EvaluationResult, count: int, reference: int, cost: AblationCost) -> AblationRow:
    model = next(each for each in evaluation.models if each.name == model_name(count))
    return AblationRow(
        count,
        model.target(OVERALL).auc,
        model.target(LEVELS).auc,
        _difference(evaluation, OVERALL, count, reference),
        _difference(evaluation, LEVELS, count, reference),
        cost.bytes_per_study,
        cost.seconds_per_epoch,
        cost.seconds_per_study,
    )


def _difference(evaluation: EvaluationResult, target: str, count: int, reference: int) -> AucDifference | None:
    if count == reference:
        return None
    one, other = (evaluation.cases[model_name(number)][target] for number in (count, reference))
    return auc_difference(one, other)


def spread_views(count: int) -> tuple[int, int, int]:
    """Return numbers of sagittal, coronal and axial views with a given sum, as equal as possible.

    Parameters
    ----------
    count : int
        Views of each vertebra.

    Examples
    --------
    >>> spread_views(1), spread_views(5), spread_views(9)
    ((1, 0, 0), (2, 2, 1), (3, 3, 3))
    """
    each, remainder = divmod(count, 3)
    return each + (remainder > 0), each + (remainder > 1), each
