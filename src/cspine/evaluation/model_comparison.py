"""Comparison of models on the same cases."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cspine.core.anatomy import OVERALL
from cspine.core.errors import InputError
from cspine.evaluation.cases import LEVELS, Cases
from cspine.metrics.delong import AucDifference, estimate_aucs


@dataclass(frozen=True)
class ModelComparison:
    """AUC of one model minus that of another on the same cases of one target.

    Attributes
    ----------
    model, other, target : str
        Names of the models, and the target.
    n_fractured, n_intact : int
        Cases of the comparison: all fractured ones, of which each model ranks those lowest that it does not answer, and
        the intact ones that both answer.
    n_intact_left_out : int
        Intact cases that either does not answer.
    difference : AucDifference
        Difference with its interval and test.
    """

    model: str
    other: str
    target: str
    n_fractured: int
    n_intact: int
    n_intact_left_out: int
    difference: AucDifference


def compare_models(cases: Mapping[str, Mapping[str, Cases]]) -> Iterator[ModelComparison]:
    """Compare the first model with each other one, on patients and on all vertebrae.

    Parameters
    ----------
    cases : mapping of str to mapping of str to Cases
        Cases of each model by target.
    """
    first, *others = cases
    for other in others:
        for target in (OVERALL, LEVELS):
            one, two = cases[first][target], cases[other][target]
            difference = auc_difference(one, two)
            if difference is not None:
                compared, _ = comparable_cases(one, two)
                n_intact = len(compared.truth) - compared.n_positives
                n_left_out = len(one.truth) - len(compared.truth)
                yield ModelComparison(first, other, target, compared.n_positives, n_intact, n_left_out, difference)


def auc_difference(model: Cases, other: Cases) -> AucDifference | None:
    """Return the AUC of one model minus that of another on the same cases; None with too few of a class.

    The cases are all fractured ones, of which each model ranks those lowest that it does not answer, and the intact
    ones that both answer.

    Parameters
    ----------
    model, other : Cases
        Cases of the same target and studies, in the same order.
    """
    first, second = comparable_cases(model, other)
    try:
        return estimate_aucs(first.truth, [first.probability, second.probability], first.patients.tolist()).difference()
    except InputError:
        return None


def comparable_cases(model: Cases, other: Cases) -> tuple[Cases, Cases]:
    """Return the cases on which two models are compared, as of `auc_difference`."""
    is_comparable = model.is_answered & other.is_answered
    return model.ranked(is_comparable), other.ranked(is_comparable)
