"""False alarms by mimic: which vertebrae are compared, at which threshold, and whether alarms point at the mimic."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from tests.support.predictions import OPERATING_POINTS, make_reference

from cspine.core.anatomy import TARGETS
from cspine.core.columns import MARK_COLUMNS
from cspine.datasets.phantom_records import MIMIC_COLUMNS
from cspine.evaluation.evaluate import EvaluationResult, EvaluationSettings, evaluate
from cspine.evaluation.mimics import MIMIC_DISTANCE_MM, MimicFalseAlarms
from cspine.evaluation.predictions import Predictions
from cspine.metrics.bootstrap import wilson_interval
from cspine.reports.evaluation.evaluation_sections import evaluation_sections
from cspine.reports.evaluation.location_sections import FALSE_ALARMS_BY_MIMIC

STUDIES = [f"1.{n}" for n in range(20)]
UNKNOWN = (float("nan"),) * 3
Mimics = Sequence[tuple[object, ...]]
Points = dict[tuple[str, str], tuple[float, float, float]]


def evaluate_mimics(
    mimics: Mimics | None, probability: dict[tuple[str, str], float], points: Points | None = None
) -> EvaluationResult:
    """Evaluate a model on intact necks but for the last, of which C2 is fractured, with other probabilities at 0.1."""
    labels = pd.DataFrame(0, index=STUDIES, columns=list(TARGETS))
    labels.loc[STUDIES[-1], ["patient_overall", "C2"]] = 1
    table = labels * 0.0 + 0.1
    for (study, level), value in probability.items():
        table.loc[study, level] = value
    rows = [(study, level, 0.9, *point, *UNKNOWN) for (study, level), point in (points or {}).items()]
    marks = None if points is None else pd.DataFrame(rows, columns=list(MARK_COLUMNS))
    known = None if mimics is None else pd.DataFrame(mimics, columns=list(MIMIC_COLUMNS))
    reference = make_reference(labels, mimics=known)
    settings = EvaluationSettings(operating_points=OPERATING_POINTS, n_resamples=100)
    return evaluate(reference, [Predictions("a", table, marks=marks)], settings)


def only_row(result: EvaluationResult) -> MimicFalseAlarms:
    (row,) = result.models[0].mimics
    return row


def test_intact_vertebrae_with_a_mimic_are_compared_with_those_of_the_same_level_without_it() -> None:
    mimics = [(study, "C2", "dens cyst", *UNKNOWN) for study in [*STUDIES[:5], STUDIES[-1]]]
    alarms = {(study, "C2"): 0.6 for study in [*STUDIES[:4], STUDIES[10], STUDIES[-1]]}
    elsewhere = {(study, "C5"): 0.6 for study in STUDIES[:8]}

    row = only_row(evaluate_mimics(mimics, alarms | elsewhere))

    assert (row.mimic, row.n_with, row.n_without, row.n_alarms) == ("dens cyst", 5, 14, 4)
    assert row.false_alarms_with == wilson_interval(4, 5)
    assert row.false_alarms_without == wilson_interval(1, 14)


def test_false_alarms_are_those_of_the_last_operating_point() -> None:
    threshold = OPERATING_POINTS.points[-1].level
    mimics = [(study, "C2", "dens cyst", *UNKNOWN) for study in STUDIES[:2]]
    probability = {(STUDIES[0], "C2"): threshold, (STUDIES[1], "C2"): threshold - 1e-6}

    assert only_row(evaluate_mimics(mimics, probability)).n_alarms == 1


def test_vertebrae_without_an_answer_are_left_out() -> None:
    mimics = [(study, "C2", "dens cyst", *UNKNOWN) for study in STUDIES[:4]]
    nothing = {(study, "C2"): np.nan for study in (STUDIES[0], STUDIES[9])}

    row = only_row(evaluate_mimics(mimics, nothing))

    assert (row.n_with, row.n_without) == (3, 14)


@pytest.mark.parametrize(("offset_mm", "n_at_mimic"), [(MIMIC_DISTANCE_MM - 0.1, 1), (MIMIC_DISTANCE_MM + 0.1, 0)])
def test_an_alarm_points_at_a_mimic_near_any_of_its_points(offset_mm: float, n_at_mimic: int) -> None:
    mimics = [(STUDIES[0], "C2", "canal", 0.0, 0.0, 0.0), (STUDIES[0], "C2", "canal", 0.0, 0.0, 50.0)]
    mimics += [(STUDIES[1], "C2", "canal", *UNKNOWN), (STUDIES[2], "C2", "canal", 0.0, 0.0, 0.0)]
    alarms = {(study, "C2"): 0.6 for study in STUDIES[:3]}
    points: Points = {(STUDIES[0], "C2"): (0.0, offset_mm, 50.0), (STUDIES[1], "C2"): (0.0, 0.0, 0.0)}

    row = only_row(evaluate_mimics(mimics, alarms, points))

    assert (row.n_with, row.n_alarms) == (3, 3)
    assert (row.n_located, row.n_at_mimic) == (1, n_at_mimic)  # the second mimic has no place, the third alarm no mark


def test_several_vertebrae_of_a_patient_have_the_interval_of_the_bootstrap() -> None:
    mimics = [(study, level, "kyphosis", *UNKNOWN) for study in STUDIES[:10] for level in TARGETS[1:]]
    alarms = {(study, level): 0.6 for study in STUDIES[:5] for level in TARGETS[1:]}

    row = only_row(evaluate_mimics(mimics, alarms))

    assert (row.n_with, row.false_alarms_with.value) == (70, 0.5)
    independent = wilson_interval(35, 70)
    assert row.false_alarms_with.high - row.false_alarms_with.low > 1.5 * (independent.high - independent.low)


def test_the_report_and_the_json_hold_the_table() -> None:
    mimics = [(STUDIES[0], "C2", "dens cyst", 1.0, 2.0, 3.0), (STUDIES[1], "C5", "bone island", *UNKNOWN)]
    points: Points = {(STUDIES[0], "C2"): (1.0, 2.0, 3.0)}
    result = evaluate_mimics(mimics, {(STUDIES[0], "C2"): 0.6}, points)

    sections = {section.title: section for section in evaluation_sections(result)}

    table = sections[FALSE_ALARMS_BY_MIMIC].table
    assert table is not None
    assert [(row[0], row[1], row[3], row[5]) for row in table.rows] == [
        ("dens cyst", "1", "18", "1 of 1"),
        ("bone island", "1", "19", "-"),
    ]
    assert [row["mimic"] for row in result.to_json()["models"][0]["mimics"]] == ["bone island", "dens cyst"]


def test_without_known_mimics_there_is_no_table() -> None:
    result = evaluate_mimics(None, {})

    assert result.models[0].mimics == ()
    assert FALSE_ALARMS_BY_MIMIC not in {section.title for section in evaluation_sections(result)}
