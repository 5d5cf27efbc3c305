"""The worst failures of a model."""

from collections.abc import Callable

import pandas as pd

from cspine.datasets.reference_standard import ReferenceStandard
from cspine.evaluation.evaluate import EvaluationSettings, evaluate
from cspine.evaluation.failures import worst_failures
from cspine.evaluation.predictions import Predictions

Tables = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]


def test_failures_are_the_extreme_false_positives_and_false_negatives(tables: Tables) -> None:
    labels, probability = tables(60)
    reference = ReferenceStandard("synthetic", labels, pd.Series(labels.index, index=labels.index))
    cases = evaluate(reference, [Predictions("a", probability)], EvaluationSettings(n_resamples=100)).cases["a"]

    failures = worst_failures(reference, cases, 3)

    false_positives, false_negatives = failures[:3], failures[3:]
    assert not any(failure.is_fractured for failure in false_positives)
    assert all(failure.is_fractured for failure in false_negatives)
    intact, fractured = (
        sorted(
            probability.loc[study, level]
            for study in labels.index
            for level in labels.columns[1:]
            if labels.loc[study, level] == label
        )
        for label in (0, 1)
    )
    assert [failure.probability for failure in false_positives] == intact[::-1][:3]
    assert [failure.probability for failure in false_negatives] == fractured[:3]
    assert failures[0].caption.startswith(f"{failures[0].level}, no fracture, predicted probability ")
