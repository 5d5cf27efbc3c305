"""The report of one study."""

import csv
import io
import re
from pathlib import Path

import pytest
from pydicom import Dataset
from tests.support.dicom import make_hu, write_series
from tests.support.phantom import hostile, predict_case, write_phantom

from cspine import Detector
from cspine.dicom.study_collection import open_collection
from cspine.pipelines.predict_batch import predict_batch
from cspine.reports.html import render_report
from cspine.reports.worklist import StudyResult, prioritize, worklist_csv

HU = make_hu((16, 32, 40), (6.0, 3.0, 3.0))
STATEMENT = "Research use only. Not a medical device. Not for diagnosis."


def test_the_report_is_complete_and_self_contained(tmp_path: Path) -> None:
    write_series(tmp_path, HU, spacing=(2.5, 3.0, 3.0))
    case_result = Detector.load("baseline-cnn").predict_case(open_collection(tmp_path).studies[0])

    html = render_report(case_result)

    assert html.count("<img ") == 10  # nine sagittal images, and the middle one beside the table
    for vertebra in case_result.findings.vertebrae:
        assert f'<th scope="row">{vertebra.level}</th>' in html
        assert vertebra.probability is not None
        assert f"{100 * vertebra.probability:.1f} %" in html
    assert html.count(STATEMENT) >= 2
    assert "phantoms only" in html
    assert not re.search(r"<script|https?://|@import|url\(", html)
    assert "Some^Body" not in html
    assert "somebody" not in html
    assert len(html) < 3_000_000


def test_the_report_of_a_localized_study_shows_evidence_acquisition_and_provenance(tmp_path: Path) -> None:
    case_result = predict_case(write_phantom(tmp_path))

    html = render_report(case_result)

    headings = [re.sub(r"<[^>]+>", "", heading) for heading in re.findall(r"<h2.*?</h2>", html)]
    assert headings == [
        "Probability of a fracture",
        "Evidence",
        "Warnings",
        "Compiled sagittal images",
        "Acquisition",
        "Provenance",
    ]
    for name in ("Coverage", "Series selection", "Localizer", "Assumed prevalence"):
        assert f">{name}</th>" in html
    assert '<th scope="row">Test-time augmentation (left-right flip)</th><td>no</td>' in html
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(re.findall(r'id="([^"]+)"', html))
    assert html.count(STATEMENT) == 2
    suspicious = [vertebra for vertebra in case_result.findings.vertebrae if vertebra.is_suspicious]
    assert html.count("<h3 ") == max(len(suspicious), 1)


@pytest.mark.filterwarnings("ignore")
def test_hostile_headers_are_escaped(tmp_path: Path) -> None:
    write_phantom(tmp_path / "study" / "<b onclick=alert(6)>", hostile)
    (result,) = predict_batch(tmp_path / "study", tmp_path / "out")

    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")

    assert result.findings.not_assessable is None
    assert not re.search(r"<script|<svg onload|<img src=x|<b onclick|onerror=alert\(\d\)>", html)
    assert "\u5c71\u7530" not in html  # the name is not shown, whatever its script
    assert "\x00" not in html
    assert len(html) < 3_000_000


@pytest.mark.filterwarnings("ignore")
def test_hostile_file_names_are_escaped_if_a_study_is_not_assessable(tmp_path: Path) -> None:
    study = write_phantom(tmp_path / "study" / "<script>alert(7)<x>", thicken)
    (result,) = predict_batch(study, tmp_path / "out")

    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")

    assert result.findings.not_assessable is not None
    assert "<script" not in page


def thicken(dataset: Dataset) -> None:
    hostile(dataset)
    x, y, z = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [x, y, 4 * z]
    dataset.SliceThickness = 6.0


def test_a_study_that_is_not_assessable_has_a_report_without_probabilities(tmp_path: Path) -> None:
    write_series(tmp_path, HU, spacing=(6.0, 3.0, 3.0))
    case_result = Detector.load("baseline-cnn").predict_case(open_collection(tmp_path).studies[0])

    html = render_report(case_result)

    assert case_result.findings.not_assessable is not None
    assert "slices 6.0 mm apart; at most 3 mm can be assessed" in case_result.findings.not_assessable.reason
    assert f"<p>Reason: {case_result.findings.not_assessable.reason}.</p>" in html
    assert "<p>What would help: send the thin bone-kernel series" in html
    assert "none is ruled out" in html
    assert "<code>too-thick</code>" in html
    assert "Probability of a fracture" not in html
    assert html.count(STATEMENT) == 2


def test_the_worklist_of_weights_without_operating_points_is_ordered_by_probability(tmp_path: Path) -> None:
    detector = Detector.load("baseline-cnn")
    for name, spacing in (("a", (2.5, 3.0, 3.0)), ("b", (6.0, 3.0, 3.0)), ("c", (2.8, 3.0, 3.0))):
        write_series(tmp_path / name, HU, spacing=spacing, study=f"1.{ord(name)}", series=f"1.{ord(name)}.1")

    results = [StudyResult(case_result.findings, "", 0.0) for case_result in detector.predict_all(tmp_path)]
    rows = list(csv.DictReader(io.StringIO(worklist_csv(prioritize(results)))))

    assert float(rows[0]["patient_overall"]) >= float(rows[1]["patient_overall"])
    assert [row["not_assessable"] for row in rows] == ["", "", "too-thick"]
    assert [row["patient_overall"] == "" for row in rows] == [False, False, True]


def test_the_worklist_escapes_file_names_that_a_spreadsheet_would_evaluate(tmp_path: Path) -> None:
    write_series(tmp_path / "=a", HU, spacing=(2.5, 3.0, 3.0), change=lambda d, k: None if k == 8 else d)
    (source,) = open_collection(tmp_path).studies
    findings = Detector.load("baseline-cnn").predict_case(source).findings
    assert findings.not_assessable is not None
    assert findings.not_assessable.reason.startswith("=a/")

    (row,) = csv.DictReader(io.StringIO(worklist_csv(prioritize([StudyResult(findings, "=x", 0.0)]))))

    assert row["not_assessable_reason"].startswith("'=a/")
    assert row["folder"] == "'=x"
