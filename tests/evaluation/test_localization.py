"""Lesion localization, worked by hand."""

import numpy as np
import pandas as pd
import pytest
from tests.support.predictions import OPERATING_POINTS, make_reference

from cspine.core.anatomy import OVERALL, TARGETS
from cspine.core.columns import MARK_COLUMNS
from cspine.datasets.lesion_reference import Mark
from cspine.evaluation.evaluate import EvaluationSettings, evaluate
from cspine.evaluation.predictions import Predictions


class C2AtOrigin:
    """Reference locations in which every fracture of C2 lies at x = 0."""

    hit_criterion = "near x = 0"

    def __init__(self, labels: pd.DataFrame) -> None:
        self.labels = labels

    def targets(self, study: str) -> tuple[str, ...] | None:
        return ("C2",) if self.labels.loc[study, "C2"] else ()

    def hit(self, mark: Mark) -> str | None:
        return "C2" if mark.level == "C2" and self.labels.loc[mark.study, "C2"] and abs(mark.x_lps_mm) < 1 else None


def make_labels(count: int, *, fractured: list[str]) -> pd.DataFrame:
    """Return labels of studies, some of them with a fracture of C2."""
    labels = pd.DataFrame(0, index=[f"1.{n}" for n in range(count)], columns=list(TARGETS))
    labels.loc[fractured, [OVERALL, "C2"]] = 1
    return labels


def make_marks(*rows: tuple[str, str, float, float]) -> pd.DataFrame:
    """Return marks of a study and level, with a strength, at x."""
    return pd.DataFrame([(*row, 0, 0, np.nan, np.nan, np.nan) for row in rows], columns=list(MARK_COLUMNS))


def test_marks_are_matched_with_fractures() -> None:
    labels = make_labels(10, fractured=["1.0", "1.1", "1.2", "1.3"])
    probability = labels * 0.0 + 0.05
    probability.loc[["1.0", "1.1", "1.2"], "C2"] = [0.9, 0.8, 0.7]
    probability.loc["1.9", "C5"] = 0.75
    marks = make_marks(
        ("1.0", "C2", 0.9, 0.0), ("1.1", "C2", 0.8, 5.0), ("1.2", "C2", 0.7, 0.5), ("1.9", "C5", 0.75, 0.0)
    )

    result = evaluate(
        make_reference(labels, lesions=C2AtOrigin(labels)),
        [Predictions("a", probability, marks=marks)],
        EvaluationSettings(OPERATING_POINTS, n_resamples=200),
    )

    localization = result.models[0].localization
    assert localization is not None
    assert (localization.n_studies, localization.n_fractured) == (10, 4)
    assert localization.hit_criterion == "near x = 0"
    # By strength: hit, miss, false positive at C5, hit.
    assert localization.froc.sensitivity.tolist() == [0.25, 0.25, 0.25, 0.5]
    assert localization.froc.false_positives_per_study.tolist() == [0.0, 0.1, 0.2, 0.2]
    assert localization.sensitivity_at[0.125].value == 0.25
    assert localization.sensitivity_at[0.25].value == 0.5
    assert localization.sensitivity_at[0.25].low < 0.5 < localization.sensitivity_at[0.25].high
    triage = localization.operating_points[1]
    assert triage.sensitivity.value == 0.75
    assert triage.correct_location.value == pytest.approx(2 / 3)
    confusion = result.models[0].level_confusion
    assert confusion[1].tolist() == [1, 3, 0, 0, 0, 0, 0]  # all levels of 1.3 are equal: the first one counts


def test_vertebrae_without_probability_or_mark() -> None:
    labels = make_labels(6, fractured=["1.0", "1.1", "1.2"])
    probability = labels * 0.9
    incomplete = probability.copy()
    incomplete.loc["1.2", "C2"] = np.nan
    marks = make_marks(("1.0", "C2", 0.9, 0.0))

    result = evaluate(
        make_reference(labels, lesions=C2AtOrigin(labels)),
        [Predictions("a", probability, marks=marks), Predictions("b", incomplete)],
        EvaluationSettings(OPERATING_POINTS, n_resamples=100),
    )

    localization = result.models[0].localization
    assert localization is not None
    assert localization.n_fractured == 3  # what the other model does not answer is evaluated for this one
    assert localization.operating_points[1].sensitivity.value == 1.0  # two of them without a mark
    assert localization.operating_points[1].correct_location.value == pytest.approx(1 / 3)
    assert result.models[1].localization is None
