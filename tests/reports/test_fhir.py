"""Findings as FHIR R5."""

import json
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.bundle import Bundle
from tests.support.dicom import make_hu, write_series
from tests.support.phantom import predict_case, write_phantom

from cspine.classification.result import CaseResult
from cspine.core.anatomy import RESEARCH_USE_ONLY, SNOMED_CODES, VERTEBRAE
from cspine.core.findings import ViewEvidence
from cspine.reports.fhir import write_fhir


@pytest.fixture(scope="module")
def case_result(tmp_path_factory: pytest.TempPathFactory) -> CaseResult:
    return predict_case(write_phantom(tmp_path_factory.mktemp("study")))


def write_resources(case_result: CaseResult, path: Path) -> list[dict[str, Any]]:
    """Write a valid Bundle whose references and entries match, and return its resources."""
    write_fhir(case_result, path)
    Bundle.model_validate_json(path.read_text())
    bundle = json.loads(path.read_text())
    urns = [entry["fullUrl"] for entry in bundle["entry"]]
    assert len(set(urns)) == len(urns)
    references = [part for part in path.read_text().split('"') if part.startswith("urn:uuid:")]
    assert set(references) == set(urns)  # every reference leads to an entry, and every entry has a URN
    return [entry["resource"] for entry in bundle["entry"]]


def test_observations_hold_the_findings(case_result: CaseResult, tmp_path: Path) -> None:
    resources = write_resources(case_result, tmp_path / "fhir.json")

    findings = case_result.findings
    observations = [each for each in resources if each["resourceType"] == "Observation"]
    overall, *levels = observations
    assert findings.patient_overall is not None
    assert overall["valueQuantity"]["value"] == pytest.approx(findings.patient_overall.probability, abs=1e-12)
    assert [each["bodySite"]["coding"][0]["code"] for each in levels] == [SNOMED_CODES[v][0] for v in VERTEBRAE]
    for observation, vertebra in zip(levels, findings.vertebrae, strict=True):
        assert observation["valueQuantity"]["value"] == pytest.approx(vertebra.probability, abs=1e-12)
        assert observation["component"][0]["valueString"] == vertebra.coverage
        assert observation["note"][0]["text"] == RESEARCH_USE_ONLY
        assert observation["status"] == "preliminary"
        assert observation["code"]["coding"][0]["code"] == "122157"  # the quantity observed, not a finding
    suspicious = any("triage" in vertebra.operating_points_reached for vertebra in findings.vertebrae)
    conclusion = [coding["code"] for each in resources[0].get("conclusionCode", ()) for coding in each["coding"]]
    assert conclusion == (["125605004", "RID4650"] if suspicious else [])


def test_imaging_selections_refer_to_slice_and_location(case_result: CaseResult, tmp_path: Path) -> None:
    resources = write_resources(case_result, tmp_path / "fhir.json")

    selections = [each for each in resources if each["resourceType"] == "ImagingSelection"]
    strongest = [vertebra.evidence[0] for vertebra in case_result.findings.vertebrae]
    in_slice = [each for each in strongest if isinstance(each, ViewEvidence) and each.slice is not None]
    assert len(selections) == len(in_slice) > 0
    for selection, evidence in zip(selections, in_slice, strict=True):
        assert evidence.slice is not None
        (instance,) = selection["instance"]
        assert selection["studyUid"] == case_result.findings.study_instance_uid
        assert instance["uid"] == evidence.slice.sop_instance_uid
        assert instance["imageRegion3D"][0]["coordinate"] == pytest.approx(evidence.point_lps_mm)


def test_the_report_is_preliminary_and_contains_no_name(case_result: CaseResult, tmp_path: Path) -> None:
    resources = write_resources(case_result, tmp_path / "fhir.json")

    report, device = resources[0], resources[-1]
    assert (report["resourceType"], report["status"]) == ("DiagnosticReport", "preliminary")
    assert len(report["result"]) == 8
    assert report["conclusion"].startswith("Probability of any fracture of C1 to C7: ")
    assert report["conclusion"].endswith(RESEARCH_USE_ONLY)
    assert device["resourceType"] == "Device"
    assert any(case_result.findings.weights.sha256 in note["text"] for note in device["note"])
    assert "birthDate" not in (tmp_path / "fhir.json").read_text()
    assert report["subject"] == {"type": "Patient", "identifier": report["subject"]["identifier"]}


def test_a_study_that_is_not_assessable_has_a_cancelled_report_with_the_reason(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", make_hu((16, 32, 40), (6.0, 3.0, 3.0)), spacing=(6.0, 3.0, 3.0))

    case_result = predict_case(tmp_path / "ct")

    resources = write_resources(case_result, tmp_path / "fhir.json")

    assert [each["resourceType"] for each in resources] == ["DiagnosticReport", "Device"]
    assert [note["text"] for note in resources[0]["note"]] == list(case_result.findings.warnings) != []
    assert resources[0]["status"] == "cancelled"
    assert resources[0]["conclusion"].startswith("Not assessable (too-thick): ")
    assert "slices 6.0 mm apart" in resources[0]["conclusion"]
    assert resources[0]["conclusion"].endswith(RESEARCH_USE_ONLY)
