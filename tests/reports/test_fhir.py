"""Findings as FHIR: R5 after HL7's guide for structured reports, and R4."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import fhir.resources.bundle
import fhir.resources.R4B.bundle
import pytest
from pydicom import Dataset
from tests.support.dicom import make_hu, write_series
from tests.support.phantom import predict_case, write_phantom

from cspine.classification.result import CaseResult
from cspine.core.anatomy import RESEARCH_USE_ONLY, SNOMED_CODES, VERTEBRAE
from cspine.core.extras import FhirRelease
from cspine.core.findings import ViewEvidence
from cspine.reports.fhir import fhir_bundle, write_fhir


@pytest.fixture(scope="module")
def case_result(tmp_path_factory: pytest.TempPathFactory) -> CaseResult:
    def change(dataset: Dataset) -> None:
        dataset.FrameOfReferenceUID = "1.2.3.4"

    return predict_case(write_phantom(tmp_path_factory.mktemp("study"), change))


MODELS: dict[str, Any] = {"R5": fhir.resources.bundle.Bundle, "R4": fhir.resources.R4B.bundle.Bundle}
GUIDE = "http://hl7.org/fhir/uv/dicom-sr/StructureDefinition/"


def write_resources(case_result: CaseResult, path: Path, release: FhirRelease = "R5") -> list[dict[str, Any]]:
    """Write a valid Bundle whose references and entries match, and return its resources."""
    write_fhir(case_result, path, release)
    MODELS[release].model_validate_json(path.read_text())
    bundle = json.loads(path.read_text())
    urns = [entry["fullUrl"] for entry in bundle["entry"]]
    assert len(set(urns)) == len(urns)
    references = [part for part in path.read_text().split('"') if part.startswith("urn:uuid:")]
    assert set(references) == set(urns)  # every reference leads to an entry, and every entry has a URN
    resources = [entry["resource"] for entry in bundle["entry"]]
    assert all(each["meta"]["security"][0]["code"] == "HRESCH" for each in resources)
    return resources


def of_type(resources: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [each for each in resources if each["resourceType"] == name]


def test_observations_hold_the_findings(case_result: CaseResult, tmp_path: Path) -> None:
    resources = write_resources(case_result, tmp_path / "fhir.json")

    findings = case_result.findings
    observations = [each for each in resources if each["resourceType"] == "Observation"]
    overall, *levels = observations
    assert findings.patient_overall is not None
    assert overall["valueQuantity"]["value"] == pytest.approx(findings.patient_overall.probability, abs=1e-12)
    sites = [each["includedStructure"][0]["structure"]["coding"][0] for each in of_type(resources, "BodyStructure")]
    assert [site["code"] for site in sites] == ["122494005", *(SNOMED_CODES[v][0] for v in VERTEBRAE)]
    for observation, vertebra in zip(levels, findings.vertebrae, strict=True):
        assert observation["valueQuantity"]["value"] == pytest.approx(vertebra.probability, abs=1e-12)
        assert observation["component"][0]["valueString"] == vertebra.coverage
        assert observation["note"][0]["text"] == RESEARCH_USE_ONLY
        assert observation["status"] == "preliminary"
        assert observation["meta"]["profile"] == [f"{GUIDE}imaging-measurement"]
        assert observation["category"][0]["coding"][0]["code"] == "125007"
        assert observation["partOf"][0]["identifier"]["value"] == f"urn:oid:{findings.study_instance_uid}"
        assert observation["partOf"][0]["identifier"]["type"]["coding"][0]["code"] == "110180"
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
        assert selection["code"]["coding"][0]["code"] == "111030"
        assert selection["meta"]["profile"] == [f"{GUIDE}image-region-3d"]
        assert selection["frameOfReferenceUid"] == "1.2.3.4"


def test_the_report_is_preliminary_and_contains_no_name(case_result: CaseResult, tmp_path: Path) -> None:
    resources = write_resources(case_result, tmp_path / "fhir.json")

    report, device = resources[0], resources[-1]
    assert report["code"]["coding"][0]["code"] == "126000"
    assert (report["resourceType"], report["status"]) == ("DiagnosticReport", "preliminary")
    assert len(report["result"]) == 8
    assert report["conclusion"].startswith("Probability of any fracture of C1 to C7: ")
    assert report["conclusion"].endswith(RESEARCH_USE_ONLY)
    assert device["resourceType"] == "Device"
    assert any(case_result.findings.weights.sha256 in each["valueString"] for each in device["property"])
    assert device["type"][0]["coding"][0]["code"] == "123110"
    assert device["meta"]["profile"] == [f"{GUIDE}algorithm-identification"]
    assert "birthDate" not in (tmp_path / "fhir.json").read_text()
    assert report["subject"] == {"type": "Patient", "identifier": report["subject"]["identifier"]}


def test_a_result_that_is_made_again_replaces_itself(case_result: CaseResult) -> None:
    first, again = (fhir_bundle(case_result).model_dump() for _ in range(2))
    tta = case_result.findings.model_copy(update={"test_time_augmentation": True})
    other = fhir_bundle(replace(case_result, findings=tta)).model_dump()

    def identities(bundle: dict[str, Any]) -> list[Any]:
        resources = [entry["resource"] for entry in bundle["entry"]]
        return [bundle["identifier"], *(entry["fullUrl"] for entry in bundle["entry"]), resources[0]["identifier"]]

    assert identities(first) == identities(again)
    assert not set(map(str, identities(first))) & set(map(str, identities(other)))


def test_r4_holds_the_same_in_its_own_elements(case_result: CaseResult, tmp_path: Path) -> None:
    new, old = (write_resources(case_result, tmp_path / f"{each}.json", each) for each in ("R5", "R4"))

    assert {each["resourceType"] for each in old} == {"DiagnosticReport", "BodyStructure", "Observation", "Device"}
    assert not [each for each in old if "profile" in each["meta"]]  # the guide's are of R5
    pairs = list(zip(of_type(new, "Observation"), of_type(old, "Observation"), strict=True))
    selections = {each["code"]["text"][-2:]: each for each in of_type(new, "ImagingSelection")}
    for level, (observation, converted) in zip(("", *VERTEBRAE), pairs, strict=True):
        assert observation["valueQuantity"] == converted["valueQuantity"]
        assert observation["identifier"] == converted["identifier"]
        assert converted["bodySite"]["extension"][0]["valueReference"] == observation["bodyStructure"]
        texts = " ".join(part["valueString"] for part in converted.get("component", ()))
        if level in selections:
            (instance,) = selections[level]["instance"]
            assert instance["uid"] in texts
            assert f"{instance['imageRegion3D'][0]['coordinate'][2]:.1f}" in texts
    assert old[0]["conclusion"] == new[0]["conclusion"]
    assert case_result.findings.weights.sha256 in json.dumps(old[-1]["property"])


@pytest.mark.parametrize("release", ["R5", "R4"])
def test_a_study_that_is_not_assessable_says_why_and_what_would_help(tmp_path: Path, release: FhirRelease) -> None:
    write_series(tmp_path / "ct", make_hu((16, 32, 40), (6.0, 3.0, 3.0)), spacing=(6.0, 3.0, 3.0))

    case_result = predict_case(tmp_path / "ct")

    resources = write_resources(case_result, tmp_path / "fhir.json", release)

    report, _, observation, _ = resources
    assert [each["resourceType"] for each in resources] == [
        "DiagnosticReport", "BodyStructure", "Observation", "Device",
    ]  # fmt: skip
    assert report["status"] == "preliminary"
    assert report["conclusion"].startswith("Not assessable (too-thick): ")
    assert "slices 6.0 mm apart" in report["conclusion"]
    assert "What would help: send the thin bone-kernel series" in report["conclusion"]
    assert report["conclusion"].endswith(RESEARCH_USE_ONLY)
    assert "conclusionCode" not in report
    assert report["subject"]["identifier"]["value"]
    assert observation["dataAbsentReason"]["coding"][0]["code"] == "not-performed"
    assert "slices 6.0 mm apart" in observation["dataAbsentReason"]["text"]
    assert observation["component"][0]["valueString"] == "too-thick"
    assert [note["text"] for note in observation["note"]] == [RESEARCH_USE_ONLY, *case_result.findings.warnings]
    assert "profile" not in observation["meta"]  # the guide's wants a value


def test_the_issuer_of_the_patients_id_is_its_assigner(tmp_path: Path) -> None:
    def issue(dataset: Dataset, _: int) -> Dataset:
        dataset.PatientID, dataset.IssuerOfPatientID = "12  3", "Hospital A "
        return dataset

    write_series(tmp_path, make_hu((16, 32, 40), (6.0, 3.0, 3.0)), spacing=(6.0, 3.0, 3.0), change=issue)

    bundle = fhir_bundle(predict_case(tmp_path)).model_dump()

    assert bundle["entry"][0]["resource"]["subject"]["identifier"] == {
        "value": "12 3", "assigner": {"display": "Hospital A"},
    }  # fmt: skip


def test_files_without_a_patient_id_yield_a_subject_without_identifier(tmp_path: Path) -> None:
    def forget(dataset: Dataset, _: int) -> Dataset:
        dataset.PatientID = ""
        return dataset

    write_series(tmp_path, make_hu((16, 32, 40), (6.0, 3.0, 3.0)), spacing=(6.0, 3.0, 3.0), change=forget)

    bundle = fhir_bundle(predict_case(tmp_path)).model_dump()

    assert bundle["entry"][0]["resource"]["subject"] == {
        "type": "Patient", "display": "patient without an identifier in the files",
    }  # fmt: skip
