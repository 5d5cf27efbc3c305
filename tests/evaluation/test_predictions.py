"""Answers in every form that they come in, and what is said of malformed ones."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from tests.support.predictions import found, not_assessable

from cspine.core.anatomy import OVERALL
from cspine.core.columns import MARK_COLUMNS
from cspine.core.errors import LabelError
from cspine.core.files import write_text
from cspine.core.findings import Findings
from cspine.evaluation.predictions import read_predictions
from cspine.metrics.rsna2022 import submission

Tables = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]


def write_findings(folder: Path, *findings: Findings) -> Path:
    for number, one in enumerate(findings):
        write_text(folder / str(number) / "findings.json", one.model_dump_json())
    return folder


def test_a_table_and_a_submission_say_the_same(tables: Tables, tmp_path: Path) -> None:
    _, probability = tables(20)
    probability.to_csv(tmp_path / "wide.csv")
    rows = submission(list(probability.index), probability)
    rows.sample(frac=1.0, random_state=1).to_csv(tmp_path / "rows.csv", index=False)

    wide, long = read_predictions(tmp_path / "wide.csv"), read_predictions(tmp_path / "rows.csv", name="B")

    assert (wide.name, long.name) == ("wide", "B")
    pd.testing.assert_frame_equal(wide.probability, probability)
    pd.testing.assert_frame_equal(long.probability.loc[probability.index], probability)
    assert wide.marks is None


def test_findings_tell_probabilities_refusals_and_where_they_point(tmp_path: Path) -> None:
    first = found("1.1", {OVERALL: 0.8, "C2": 0.7, "C7": None}, {"C2": (1.0, 2.0, 3.0)})

    answers = read_predictions(write_findings(tmp_path, first, found("1.2", {}), not_assessable("1.3")))

    assert answers.probability.iloc[0].tolist()[:3] == [0.8, 0.1, 0.7]
    assert answers.probability["C7"].isna().tolist() == [True, False]
    assert answers.not_assessable == {"1.3": "too-thick"}
    assert answers.marks is not None
    assert tuple(answers.marks.columns) == MARK_COLUMNS
    assert answers.marks.iloc[0].tolist() == ["1.1", "C2", 0.7, 1.0, 2.0, 3.0, 3, 2.0, 1.0]
    assert len(answers.marks) == 1
    assert answers.about.loc["1.1", "C7 coverage"] == "absent"
    assert answers.about.loc["1.3", "weights"] == "a" * 64
    assert answers.phantom_only


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="C3"), "lacks the columns C3"),
        (lambda t: t.assign(C8=0.1, C9=0.2), r"has 2 unknown columns \(first: C8, C9\)"),
        (lambda t: pd.concat([t, t.iloc[:2]]), r"2 of 22 rows repeat an earlier study; .*\(first: 1\.0, 1\.1\)"),
        (lambda t: t.assign(C3=t["C3"].mask(t.index == "1.4")), r"1 of 20 rows lack a probability; .*\(first: 1\.4\)"),
        (lambda t: t.assign(C3=["x", *t["C3"][1:]]), r"1 of 20 rows have probabilities that are no numbers"),
        (lambda t: t.assign(C3=["inf", *t["C3"][1:]]), r"1 of 20 rows have probabilities outside of 0 to 1"),
        (lambda t: t.assign(C3=t["C3"] + 1), r"20 of 20 rows .* outside of 0 to 1; .*\(first: 1\.0, 1\.1, 1\.2\)"),
    ],
)
def test_malformed_tables_are_named(
    tables: Tables, tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    change(tables(20)[1]).to_csv(tmp_path / "a.csv")

    with pytest.raises(LabelError, match=message):
        read_predictions(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.iloc[:-3], r"1 of 20 studies lack some of their eight rows \(first: 1\.19\)"),
        (lambda t: pd.concat([t, t.iloc[:1]]), r"1 of 161 rows repeat an earlier row_id; .*\(first: 1\.0_C1\)"),
        (lambda t: t.assign(row_id=["1.0_T1", *t["row_id"][1:]]), r"1 of 160 rows have a row_id that is not"),
        (lambda t: t.assign(fractured=-0.1), r"160 of 160 rows have probabilities outside"),
    ],
)
def test_malformed_submissions_are_named(
    tables: Tables, tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    _, probability = tables(20)
    change(submission(list(probability.index), probability)).to_csv(tmp_path / "a.csv", index=False)

    with pytest.raises(LabelError, match=message):
        read_predictions(tmp_path / "a.csv")


def test_malformed_findings_are_named(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="is not there"):
        read_predictions(tmp_path / "a.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabelError, match=r"holds no findings\.json"):
        read_predictions(tmp_path / "empty")
    with pytest.raises(LabelError, match=r"1 of 2 findings repeat an earlier study \(first: 1\.1\)"):
        read_predictions(write_findings(tmp_path / "twice", found("1.1", {}), found("1.1", {})))
    nothing = read_predictions(
        write_findings(tmp_path / "not_assessable", not_assessable("1.1"))
    )  # which monitoring is told of
    assert (len(nothing.probability), nothing.not_assessable) == (0, {"1.1": "too-thick"})
    (tmp_path / "findings.json").write_text('{"schema_version": "9.0", "study_instance_uid": "secret-name"}')
    with pytest.raises(LabelError, match="holds no findings of this version") as caught:
        read_predictions(tmp_path / "findings.json")
    assert "secret-name" not in str(caught.value)
