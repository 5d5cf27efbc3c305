"""Subgroups by property of the fracture and by any variable of the studies."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from tests.support.predictions import make_reference

from cspine.core.anatomy import TARGETS
from cspine.datasets.phantom_records import FRACTURE_COLUMNS
from cspine.evaluation.evaluate import EvaluationSettings, evaluate
from cspine.evaluation.predictions import Predictions
from cspine.evaluation.subgroups import BONE_LOST
from cspine.metrics.bootstrap import wilson_interval

Tables = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]

FAST = EvaluationSettings(n_resamples=100)


def test_subgroups_hold_their_own_cases() -> None:
    rng = np.random.default_rng(0)
    labels = pd.DataFrame(0, index=[f"1.{n}" for n in range(60)], columns=list(TARGETS))
    labels.iloc[:30, [0, 2]] = 1
    probability = labels * 0.0 + rng.random(labels.shape) * 0.5
    probability.iloc[:15, 2] = 0.9  # the clear ones
    grades = ["clear"] * 15 + ["occult"] * 15
    fractures = pd.DataFrame(
        [(labels.index[n], "C2", "hangman", grade, 4.0 * (n < 5)) for n, grade in enumerate(grades)],
        columns=list(FRACTURE_COLUMNS),
    )
    subgroups = pd.DataFrame(
        {"slice_thickness_mm": [0.8, 2.5] * 30, "site": ["a"] * 20 + ["b"] * 40, "age": range(60)}, index=labels.index
    )

    reference = make_reference(labels, fractures=fractures, subgroups=subgroups)
    result = evaluate(reference, [Predictions("a", probability)], FAST)

    rows = {(row.unit, row.group, row.value): row for row in result.models[0].subgroups}
    clear, occult = rows["vertebrae", "visibility", "clear"], rows["vertebrae", "visibility", "occult"]
    assert (clear.n_cases, clear.n_positives, clear.auc.value) == (390 + 15, 15, 1.0)
    assert occult.auc.value < 0.8
    assert (clear.sensitivity.value, clear.sensitivity.high) == (1.0, 1.0)
    assert clear.sensitivity.low == pytest.approx(wilson_interval(15, 15).low)
    assert rows["vertebrae", "fracture type", "hangman"].n_positives == 30
    lost, none_lost = (rows["vertebrae", BONE_LOST, value] for value in ("yes", "no"))
    assert (lost.n_cases, lost.n_positives, lost.sensitivity.value) == (390 + 5, 5, 1.0)
    assert (none_lost.n_positives, none_lost.sensitivity.value) == (25, 0.4)
    assert rows["patients", "visibility", "clear or obvious"].n_positives == 15
    assert rows["vertebrae", "level", "C2"].n_cases == 60
    assert rows["vertebrae", "level", "C3"].is_small_sample
    assert rows["patients", "slice thickness mm", "up to 1"].n_cases == 30
    assert rows["patients", "slice thickness mm", "above 2 to 3"].n_cases == 30
    assert rows["patients", "site", "a"].n_cases == 20
    assert sum(row.n_cases for row in rows.values() if (row.unit, row.group) == ("patients", "age")) == 60


def test_acquisition_of_findings_forms_subgroups(tables: Tables) -> None:
    labels, probability = tables(40)
    metadata = pd.DataFrame({"kernel": ["soft", "sharp"] * 20, "weights": "w"}, index=probability.index)

    result = evaluate(make_reference(labels), [Predictions("a", probability, study_metadata=metadata)], FAST)

    rows = result.models[0].subgroups
    assert [row.value for row in rows if (row.unit, row.group) == ("patients", "kernel")] == ["sharp", "soft"]
    assert "weights" not in {row.group for row in rows}


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([np.nan] * 60, []),
        ([True, False] * 30, ["False", "True"]),
        ([0.0001 * n for n in range(60)], 3),
        ([20210101 + n for n in range(60)], 3),
        ([1.5, 3.0] * 30, ["1.5", "3"]),
        ([f"site {n % 20}" for n in range(60)], 13),
    ],
)
def test_variables_of_any_type_are_split(column: list[object], expected: list[str] | int) -> None:
    rng = np.random.default_rng(0)
    labels = pd.DataFrame(0, index=[f"1.{n}" for n in range(60)], columns=list(TARGETS))
    labels.iloc[::3, [0, 2]] = 1
    probability = labels * 0.0 + rng.random(labels.shape)
    subgroups = pd.DataFrame({"column": column}, index=labels.index)

    result = evaluate(make_reference(labels, subgroups=subgroups), [Predictions("a", probability)], FAST)

    rows = [row for row in result.models[0].subgroups if (row.unit, row.group) == ("patients", "column")]
    values = [row.value for row in rows]
    assert len(set(values)) == len(values) == (expected if isinstance(expected, int) else len(expected))
    if isinstance(expected, list):
        assert values == expected
    elif not isinstance(column[0], str):
        assert {row.n_cases for row in rows} == {20}
