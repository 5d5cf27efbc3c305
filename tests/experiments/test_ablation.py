"""Ablation of the number of views: comparison of the networks, and the report's sentences."""

import pandas as pd
import pytest
from tests.conftest import Tables

from cspine.datasets.reference_standard import ReferenceStandard
from cspine.evaluation.evaluate import EvaluationResult, EvaluationSettings, evaluate
from cspine.evaluation.predictions import Predictions
from cspine.experiments.ablation import AblationCost, model_name, spread_views, summarize_ablation
from cspine.reports.evaluation.ablation_report import ablation_sections, ablation_summary

COSTS = {views: AblationCost(1000.0 * views, 2.0, 0.01) for views in (1, 2, 3, 9)}


@pytest.fixture(scope="module")
def evaluation(tables: Tables) -> EvaluationResult:
    """Networks whose accuracy increases with the number of views."""
    truth, _ = tables(120)
    models = [
        Predictions(model_name(views), tables(120, skill=skill)[1])
        for views, skill in ((1, 0.2), (2, 2.5), (3, 3.0), (9, 3.0))
    ]
    reference = ReferenceStandard("example", truth, pd.Series(truth.index, index=truth.index))
    return evaluate(reference, models, EvaluationSettings(n_resamples=50))


def test_views_are_spread_over_the_planes() -> None:
    for count in range(1, 31):
        spread = spread_views(count)
        assert sum(spread) == count
        assert max(spread) - min(spread) <= 1


def test_networks_are_compared_with_nine_views_or_else_the_first(evaluation: EvaluationResult) -> None:
    with_nine = summarize_ablation("baseline-cnn", [1, 9, 3], evaluation, COSTS)
    without_nine = summarize_ablation("baseline-cnn", [1, 2], evaluation, COSTS)

    assert (with_nine.reference, without_nine.reference) == (9, 1)
    assert [row.views for row in with_nine.rows] == [1, 9, 3]
    assert with_nine.rows[1].patients_difference is None
    difference = with_nine.rows[0].levels_difference
    assert difference is not None
    assert difference.interval.high < 0.0
    expected = with_nine.rows[0].levels.value - with_nine.rows[1].levels.value
    assert difference.interval.value == pytest.approx(expected)
    assert [row.bytes_per_study for row in with_nine.rows] == [1000.0, 9000.0, 3000.0]


def test_sentence_states_the_differences_to_fewer_views(evaluation: EvaluationResult) -> None:
    ablation = summarize_ablation("baseline-cnn", [1, 2], evaluation, COSTS)

    assert ablation_summary(ablation).startswith("Difference in AUC (patients and vertebrae) to 1 views: 2 views: +")
    assert "higher" in ablation_summary(ablation)
    only_nine = summarize_ablation("baseline-cnn", [1, 9], evaluation, COSTS)
    assert ablation_summary(only_nine) == "No number of views above 9 was tested."
    (section,) = ablation_sections(ablation)
    assert section.table is not None
    assert {len(row) for row in section.table.rows} == {len(section.table.header)}


def test_report_names_the_initialization_of_the_level_network(evaluation: EvaluationResult) -> None:
    (section,) = ablation_sections(summarize_ablation("levels", [1, 2], evaluation, COSTS))

    assert "a randomly initialized head" in section.text[1]
