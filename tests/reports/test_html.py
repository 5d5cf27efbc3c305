import re
from pathlib import Path

import pytest
from pydicom import Dataset
from tests.support.dicom import neck, write_series
from tests.support.phantom import hostile, write_phantom

from cspine import Detector
from cspine.dicom.study_collection import open_collection
from cspine.pipelines.predict_batch import predict_batch
from cspine.reports.html import render_report
from cspine.reports.worklist import StudyResult, order, worklist_table

HU = neck((16, 32, 40), (6.0, 3.0, 3.0))


def test_the_report_holds_all_it_should_and_needs_nothing_else(tmp_path: Path) -> None:
    write_series(tmp_path, HU, spacing=(2.5, 3.0, 3.0))
    case_result = Detector.load("baseline-cnn").predict_case(open_collection(tmp_path).studies[0])

    html = render_report(case_result)

    findings = case_result.findings
    assert html.count("<img ") == 10  # nine, and the middle one beside the table
    for vertebra in findings.vertebrae:
        assert f'<th scope="row">{vertebra.level}</th>' in html
        assert vertebra.probability is not None
        assert f"{100 * vertebra.probability:.1f} %" in html
    assert html.count("Research use only. Not a medical device. Not for diagnosis.") >= 2
    assert "phantoms only" in html
    assert not re.search(r"<script|https?://|@import|url\(", html)
    assert "Some^Body" not in html
    assert "somebody" not in html
    assert len(html) < 3_000_000


@pytest.mark.filterwarnings("ignore")
def test_hostile_headers_are_inert(tmp_path: Path) -> None:
    write_phantom(tmp_path / "study" / "<b onclick=alert(6)>", hostile)
    (result,) = predict_batch(tmp_path / "study", tmp_path / "out")

    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")

    assert result.findings.not_assessable is None
    assert not re.search(r"<script|<svg onload|<img src=x|<b onclick|onerror=alert\(\d\)>", html)
    assert "\u5c71\u7530" not in html  # the name is not shown, whatever its alphabet
    assert "\x00" not in html
    assert len(html) < 3_000_000
    not_assessable = write_phantom(tmp_path / "other" / "<script>alert(7)<x>", thick)
    (other,) = predict_batch(not_assessable, tmp_path / "not_assessable")
    page = (tmp_path / "not_assessable" / "report.html").read_text(encoding="utf-8")
    assert other.findings.not_assessable is not None
    assert "<script" not in page


def thick(dataset: Dataset) -> None:
    hostile(dataset)
    x, y, z = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [x, y, 4 * z]
    dataset.SliceThickness = 6.0


def test_a_refusal_has_a_report_with_its_reason_and_no_number(tmp_path: Path) -> None:
    write_series(tmp_path, HU, spacing=(6.0, 3.0, 3.0))
    case_result = Detector.load("baseline-cnn").predict_case(open_collection(tmp_path).studies[0])

    html = render_report(case_result)

    assert "slices 6.0 mm apart; at most 3 mm can be judged" in html
    assert "<code>too-thick</code>" in html
    assert "Probability of a fracture" not in html


def test_the_worklist_of_weights_without_operating_points_goes_by_their_numbers(tmp_path: Path) -> None:
    detector = Detector.load("baseline-cnn")
    for name, spacing in (("a", (2.5, 3.0, 3.0)), ("b", (6.0, 3.0, 3.0)), ("c", (2.8, 3.0, 3.0))):
        write_series(tmp_path / name, HU, spacing=spacing, study=f"1.{ord(name)}", series=f"1.{ord(name)}.1")

    found = [StudyResult(case_result.findings, "", 0.0) for case_result in detector.predict_all(tmp_path)]
    table = worklist_table(order(found))

    assert table["patient_overall"].iloc[0] >= table["patient_overall"].iloc[1]
    assert table["not_assessable"].tolist()[2] == "too-thick"
    assert table["patient_overall"].isna().tolist() == [False, False, True]


def test_a_worklist_holds_no_formulas(tmp_path: Path) -> None:
    detector = Detector.load("baseline-cnn")
    write_series(tmp_path / "=a", HU, spacing=(2.5, 3.0, 3.0), change=lambda d, k: None if k == 8 else d)
    (path,) = open_collection(tmp_path).studies
    not_assessable = detector.predict_case(path).findings
    assert not_assessable.not_assessable is not None
    assert not_assessable.not_assessable.reason.startswith("=a/")

    table = worklist_table(order([StudyResult(not_assessable, "=x", 0.0)]))
    assert table["reason"].tolist()[0].startswith("'=a/")
    assert table["folder"].tolist() == ["'=x"]
