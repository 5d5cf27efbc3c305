"""Predictions are read from every format, and malformed ones named with counts."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from tests.support.predictions import make_findings, make_rejected_findings

from cspine.core.anatomy import OVERALL
from cspine.core.columns import MARK_COLUMNS
from cspine.core.errors import LabelError
from cspine.core.files import write_text
from cspine.core.findings import Findings
from cspine.datasets.submission import submission_table
from cspine.evaluation.predictions import read_predictions

Tables = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]


def write_findings(folder: Path, *findings: Findings) -> Path:
    for number, each in enumerate(findings):
        write_text(folder / str(number) / "findings.json", each.model_dump_json())
    return folder


def test_table_and_submission_give_same_predictions(tables: Tables, tmp_path: Path) -> None:
    _, probability = tables(20)
    probability.to_csv(tmp_path / "wide.csv")
    rows = submission_table(list(probability.index), probability)
    rows.sample(frac=1.0, random_state=1).to_csv(tmp_path / "rows.csv", index=False)

    wide, long = read_predictions(tmp_path / "wide.csv"), read_predictions(tmp_path / "rows.csv", name="B")

    assert (wide.name, long.name) == ("wide", "B")
    pd.testing.assert_frame_equal(wide.probability, probability)
    pd.testing.assert_frame_equal(long.probability.loc[probability.index], probability)
    assert wide.marks is None


def test_findings_give_probabilities_rejections_and_marks(tmp_path: Path) -> None:
    with_mark = make_findings("1.1", {OVERALL: 0.8, "C2": 0.7, "C7": None}, {"C2": (1.0, 2.0, 3.0)})

    predictions = read_predictions(
        write_findings(tmp_path, with_mark, make_findings("1.2", {}), make_rejected_findings("1.3"))
    )

    assert predictions.probability.iloc[0].tolist()[:3] == [0.8, 0.1, 0.7]
    assert predictions.probability["C7"].isna().tolist() == [True, False]
    assert predictions.not_assessable == {"1.3": "too-thick"}
    assert predictions.marks is not None
    assert tuple(predictions.marks.columns) == MARK_COLUMNS
    assert predictions.marks.iloc[0].tolist() == ["1.1", "C2", 0.7, 1.0, 2.0, 3.0, 3, 2.0, 1.0]
    assert len(predictions.marks) == 1
    assert predictions.study_metadata.loc["1.1", "C7 coverage"] == "absent"
    assert predictions.study_metadata.loc["1.3", "weights"] == "a" * 64
    assert predictions.phantom_only


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
def test_malformed_table_raises(
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
def test_malformed_submission_raises(
    tables: Tables, tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    _, probability = tables(20)
    change(submission_table(list(probability.index), probability)).to_csv(tmp_path / "a.csv", index=False)

    with pytest.raises(LabelError, match=message):
        read_predictions(tmp_path / "a.csv")


def test_malformed_findings_raise(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="is not there"):
        read_predictions(tmp_path / "a.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabelError, match=r"holds no findings\.json"):
        read_predictions(tmp_path / "empty")
    with pytest.raises(LabelError, match=r"1 of 2 findings repeat an earlier study \(first: 1\.1\)"):
        read_predictions(write_findings(tmp_path / "twice", make_findings("1.1", {}), make_findings("1.1", {})))
    rejected = read_predictions(
        write_findings(tmp_path / "not_assessable", make_rejected_findings("1.1"))
    )  # which drift detection needs
    assert (len(rejected.probability), rejected.not_assessable) == (0, {"1.1": "too-thick"})
    (tmp_path / "findings.json").write_text('{"schema_version": "9.0", "study_instance_uid": "secret-name"}')
    with pytest.raises(
        LabelError, match=r"was written by cspine 0\.1 or another version, not in schema 3\.0"
    ) as caught:
        read_predictions(tmp_path / "findings.json")
    assert "secret-name" not in str(caught.value)
    (tmp_path / "findings.json").write_text('{"study_instance_uid": 7}')
    with pytest.raises(LabelError, match="holds no findings"):
        read_predictions(tmp_path / "findings.json")
