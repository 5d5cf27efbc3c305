"""Every report tells a level that was not found from one that lies outside the scan."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from tests.support.phantom import detector, predict_case, write_phantom
from tests.support.structured_reports import comments, read_statements

from cspine.classification.level_classifier import LevelClassifier
from cspine.classification.level_findings import absent_finding, patient_finding
from cspine.classification.result import CaseResult
from cspine.core.findings import Findings
from cspine.reports.dicom.objects import write_dicom
from cspine.reports.fhir import fhir_bundle
from cspine.reports.html import render_report
from cspine.reports.worklist import StudyResult, prioritize, worklist_csv, worklist_page
from cspine.spine.spine_map import SpineMap
from cspine.views.compiled import CompiledVolume

PATIENT_REASON = "in the scan but not found: C6"


@pytest.fixture(scope="module")
def case_result(tmp_path_factory: pytest.TempPathFactory) -> CaseResult:
    """Return the demo's findings with C6 not found, C7 outside the scan, and a patient of low probability."""
    result = predict_case(write_phantom(tmp_path_factory.mktemp("study")))
    classifier = detector().classifier
    assert isinstance(classifier, LevelClassifier)
    images = CompiledVolume(SpineMap((), not_found=("C6",)), None, pytest.fail, ())
    lacking = [absent_finding(images, level) for level in ("C6", "C7")]
    vertebrae = [*result.findings.vertebrae[:5], *lacking]
    patient = patient_finding(
        classifier.calibration.points, probability=0.001, raw_probability=0.001, vertebrae=vertebrae
    )
    updates = {"vertebrae": tuple(vertebrae), "patient_overall": patient}
    return replace(result, findings=Findings.model_validate({**dict(result.findings), **updates}))


def test_nothing_is_known_of_the_level_and_no_fracture_is_ruled_out(case_result: CaseResult) -> None:
    *_, c6, c7 = case_result.findings.vertebrae
    patient = case_result.findings.patient_overall

    assert (c6.not_found, c6.probability, c6.coverage, c6.scanned_fraction) == (True, None, "absent", None)
    assert c6.reasons == ("not found, although it lies within the scan",)
    assert (c7.not_found, c7.scanned_fraction, c7.reasons) == (False, 0.0, ("outside the field of view",))
    assert patient is not None
    assert patient.operating_points_reached == ("rule-out",)
    assert {PATIENT_REASON, "not in the scan: C7"} <= set(patient.reasons)
    assert any("no fracture is ruled out" in reason for reason in patient.reasons)


def test_levels_outside_the_scan_alone_leave_the_operating_points() -> None:
    classifier = detector().classifier
    assert isinstance(classifier, LevelClassifier)
    images = CompiledVolume(SpineMap(()), None, pytest.fail, ())
    absent = [absent_finding(images, "C7")]

    patient = patient_finding(classifier.calibration.points, probability=0.001, raw_probability=0.001, vertebrae=absent)

    assert patient.operating_points_reached == ()


def test_the_page_says_so(case_result: CaseResult) -> None:
    html = render_report(case_result)

    assert "<td>not found</td>" in html
    assert "<td>absent</td>" in html
    assert PATIENT_REASON in html
    assert "not ruled out" in html


def test_fhir_says_so(case_result: CaseResult) -> None:
    bundle: Any = fhir_bundle(case_result)
    report, *others = [entry.resource for entry in bundle.entry]
    c6, c7 = [each for each in others if each.__class__.__name__ == "Observation"][-2:]

    assert "In the scan but not found: C6; no fracture is ruled out." in report.conclusion
    assert c6.dataAbsentReason.text == "the vertebra was not found, although it lies within the scan"
    assert c6.component[0].valueString == "not found"
    assert c7.dataAbsentReason.text == "the vertebra is not in the scan"


def test_the_structured_report_says_so(case_result: CaseResult, tmp_path: Path) -> None:
    (path,) = [path for path in write_dicom(case_result, tmp_path) if path.name == "report.dcm"]
    document = pydicom.dcmread(path)
    statements = read_statements(document)

    assert {level: statements[level].code("coverage") for level in ("C5", "C6", "C7")} == {
        "C5": "complete",
        "C6": "not-found",
        "C7": "absent",
    }
    assert [statements[level].code("operating-point") for level in ("C6", "C7")] == ["not-assessed"] * 2
    assert statements["C6"].probability is None
    assert PATIENT_REASON in comments(document)


def test_the_worklist_says_so(case_result: CaseResult) -> None:
    rows = prioritize([StudyResult(case_result.findings, "one", 0.0)])

    assert PATIENT_REASON in worklist_csv(rows)
    assert PATIENT_REASON in worklist_page(rows)
