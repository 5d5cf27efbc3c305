"""Findings as FHIR R5."""

import json
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.bundle import Bundle
from tests.support.dicom import neck, write_series
from tests.support.phantom import predict_case, write_phantom

from cspine.classification.result import CaseResult
from cspine.core.anatomy import RESEARCH_USE_ONLY, SNOMED_CODES, VERTEBRAE
from cspine.core.findings import ViewEvidence
from cspine.reports.fhir import write_fhir


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> CaseResult:
    return predict_case(write_phantom(tmp_path_factory.mktemp("study")))


def told(case_result: CaseResult, path: Path) -> list[dict[str, Any]]:
    write_fhir(case_result, path)
    Bundle.model_validate_json(path.read_text())
    bundle = json.loads(path.read_text())
    names = [entry["fullUrl"] for entry in bundle["entry"]]
    assert len(set(names)) == len(names)
    references = [part for part in path.read_text().split('"') if part.startswith("urn:uuid:")]
    assert set(references) == set(names)  # every reference leads to an entry, and every entry is known by its name
    return [entry["resource"] for entry in bundle["entry"]]


def test_observations_are_the_findings(examined: CaseResult, tmp_path: Path) -> None:
    resources = told(examined, tmp_path / "fhir.json")

    findings = examined.findings
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
        assert observation["code"]["coding"][0]["code"] == "122157"  # what is asked, not what is found
    suspicious = any("triage" in vertebra.operating_points_reached for vertebra in findings.vertebrae)
    told_codes = [coding["code"] for each in resources[0].get("conclusionCode", ()) for coding in each["coding"]]
    assert told_codes == (["125605004", "RID4650"] if suspicious else [])


def test_selections_lead_to_the_slice_and_the_place(examined: CaseResult, tmp_path: Path) -> None:
    resources = told(examined, tmp_path / "fhir.json")

    selections = [each for each in resources if each["resourceType"] == "ImagingSelection"]
    places = [vertebra.evidence[0] for vertebra in examined.findings.vertebrae]
    shown = [place for place in places if isinstance(place, ViewEvidence) and place.slice is not None]
    assert len(selections) == len(shown) > 0
    for selection, place in zip(selections, shown, strict=True):
        assert place.slice is not None
        (instance,) = selection["instance"]
        assert selection["studyUid"] == examined.findings.study_instance_uid
        assert instance["uid"] == place.slice.sop_instance_uid
        assert instance["imageRegion3D"][0]["coordinate"] == pytest.approx(place.point_lps_mm)


def test_the_report_is_preliminary_and_names_no_one(examined: CaseResult, tmp_path: Path) -> None:
    resources = told(examined, tmp_path / "fhir.json")

    report, device = resources[0], resources[-1]
    assert (report["resourceType"], report["status"]) == ("DiagnosticReport", "preliminary")
    assert len(report["result"]) == 8
    assert report["conclusion"].endswith(RESEARCH_USE_ONLY)
    assert device["resourceType"] == "Device"
    assert any(examined.findings.weights.sha256 in note["text"] for note in device["note"])
    assert "birthDate" not in (tmp_path / "fhir.json").read_text()
    assert report["subject"] == {"type": "Patient", "identifier": report["subject"]["identifier"]}


def test_a_refused_study_has_a_cancelled_report_that_says_why(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", neck((16, 32, 40), (6.0, 3.0, 3.0)), spacing=(6.0, 3.0, 3.0))

    resources = told(predict_case(tmp_path / "ct"), tmp_path / "fhir.json")

    assert [each["resourceType"] for each in resources] == ["DiagnosticReport", "Device"]
    assert resources[0]["status"] == "cancelled"
    assert "slices 6.0 mm apart" in resources[0]["conclusion"]
