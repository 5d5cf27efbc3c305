"""Findings as FHIR R5: a Bundle of a DiagnosticReport, Observations, ImagingSelections and the Device."""

import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from fhir.resources.bundle import Bundle

from cspine.classification.result import CaseResult
from cspine.core.anatomy import RESEARCH_USE_ONLY, SNOMED_CODES
from cspine.core.files import write_text
from cspine.core.findings import Findings, VertebraFinding, assessment_label

FHIR_FILE: Final = "fhir.json"

_SNOMED, _RADLEX, _UCUM = "http://snomed.info/sct", "http://www.radlex.org", "http://unitsofmeasure.org"
_DICOM_UIDS: Final = "urn:dicom:uid"
_CT_IMAGE: Final = "1.2.840.10008.5.1.4.1.1.2"

_FRACTURE: Final = {
    "coding": [
        {"system": _SNOMED, "code": "125605004", "display": "Fracture of bone"},
        {"system": _RADLEX, "code": "RID4650", "display": "fracture"},
    ],
    "text": "Fracture",
}
_PROBABILITY: Final = {
    "coding": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "122157", "display": "Probability"}],
    "text": "Probability of a fracture",
}
_COVERAGE: Final = {"text": "Extent of the vertebra within the scan"}
_RESEARCH: Final = {
    "security": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
            "code": "HRESCH",
            "display": "healthcare research",
        }
    ]
}
_RADIOLOGY: Final = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "RAD", "display": "Radiology"}]
}
_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
"""FHIR's data type id, which UIDs of DICOM are told as."""

_Resource = dict[str, Any]


def fhir_bundle(case_result: CaseResult, *, when: datetime | None = None) -> Bundle:
    """Return what was found as FHIR R5, validated by `fhir.resources`.

    A preliminary DiagnosticReport of imaging, an Observation of the patient and of each level (probability, coverage,
    and where it points an ImagingSelection with the slice and the place in LPS mm), and the software as a Device. The
    subject is the patient's identifier of the DICOM files, where they have one; no name, no date of birth. A fracture
    is the conclusion's code only where a vertebra is called suspicious. A refused study has a cancelled report that
    says why, and so names a file where one is the reason.

    Parameters
    ----------
    case_result : Examination
        Of a study.
    when : datetime, optional
        When it is issued; now where left out.
    """
    return Bundle.model_validate(_bundle(case_result, when or datetime.now(UTC)))


def write_fhir(case_result: CaseResult, path: Path) -> None:
    """Write `fhir_bundle` as JSON; raises DiskFullError or OutputError."""
    write_text(path, fhir_bundle(case_result).model_dump_json(indent=2) + "\n")


def _bundle(case_result: CaseResult, when: datetime) -> _Resource:
    findings, issued = case_result.findings, when.isoformat(timespec="seconds")
    device, shared = _device(findings), _subject(case_result)
    resources: list[tuple[str, _Resource]] = []
    results = []
    if findings.not_assessable is None:
        selections = dict(_selections(case_result, shared, issued))
        resources += [(urn, selection) for urn, selection in selections.values()]
        told = [("", _of_patient(findings, shared))]
        told += [(vertebra.level, _of_vertebra(vertebra, shared)) for vertebra in findings.vertebrae]
        for level, observation in told:
            selection = selections.get(level)
            if selection is not None:
                observation["derivedFrom"] = [{"reference": selection[0]}]
            observation |= {"device": {"reference": device[0]}, "issued": issued}
            urn = _urn()
            resources.append((urn, observation))
            results.append({"reference": urn})
    report = _report(findings, shared, results, issued)
    entries = [(_urn(), report), *resources, device]
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": issued,
        "meta": _RESEARCH,
        "entry": [{"fullUrl": urn, "resource": resource} for urn, resource in entries],
    }


def _urn() -> str:
    return f"urn:uuid:{uuid.uuid4()}"


def _subject(case_result: CaseResult) -> _Resource:
    """Return whom resources are about, as far as the files say."""
    compiled = case_result.compiled
    number = compiled.series.headers[0].patient_id if compiled else None
    clean = " ".join((number or "").split())
    return {"subject": {"type": "Patient", "identifier": {"value": clean}}} if clean else {}


def _device(findings: Findings) -> tuple[str, _Resource]:
    weights = findings.weights
    versions = [{"value": findings.software.version}]
    told = [("weights", weights), *([("localizer", findings.localizer)] if findings.localizer else [])]
    notes = [f"{what} {each.name}, sha256 {each.sha256}, trained on {each.trained_on}" for what, each in told]
    return _urn(), {
        "resourceType": "Device",
        "meta": _RESEARCH,
        "displayName": "cspine",
        "manufacturer": "cspine",
        "name": [{"value": "cspine", "type": "user-friendly-name"}],
        "version": versions,
        "note": [{"text": note} for note in (RESEARCH_USE_ONLY, *notes)],
    }


def _report(findings: Findings, shared: _Resource, results: list[_Resource], issued: str) -> _Resource:
    """Return the report, of a refused study why it is refused."""
    not_assessable = findings.not_assessable
    return {
        "resourceType": "DiagnosticReport",
        "meta": _RESEARCH,
        "status": "cancelled" if not_assessable else "preliminary",
        "category": [_RADIOLOGY],
        "code": {
            "coding": [{"system": _SNOMED, "code": "77477000", "display": "Computed tomography"}],
            "text": "CT of the cervical spine: fracture probabilities",
        },
        "issued": issued,
        "study": [{"type": "ImagingStudy", "identifier": _dicom_uid(findings.study_instance_uid)}],
        "conclusion": _conclusion(findings),
        **({"conclusionCode": [_FRACTURE]} if findings.suspicious else {}),
        **({"result": results} if results else {}),
        **shared,
    }


def _dicom_uid(uid: str) -> _Resource:
    return {"system": _DICOM_UIDS, "value": f"urn:oid:{uid}"}


def _conclusion(findings: Findings) -> str:
    if findings.not_assessable is not None or findings.patient_overall is None:
        reason = findings.not_assessable.reason if findings.not_assessable else "not_assessable"
        return f"No answer: {reason}. {RESEARCH_USE_ONLY}"
    overall = findings.patient_overall
    suspicious = findings.suspicious
    told = f"Suspicious: {', '.join(suspicious)}." if suspicious else "No vertebra is called suspicious."
    return f"Any fracture of C1 to C7: {100 * overall.probability:.1f} %. {told} {RESEARCH_USE_ONLY}"


def _observation(shared: _Resource, site: _Resource, probability: float | None) -> _Resource:
    return {
        "resourceType": "Observation",
        "meta": _RESEARCH,
        "status": "preliminary",
        "code": _PROBABILITY,
        "bodySite": {"coding": [site]},
        **shared,
        **(
            {"valueQuantity": {"value": probability, "unit": "1", "system": _UCUM, "code": "1"}}
            if probability is not None
            else {"dataAbsentReason": {"text": "the vertebra is not in the scan"}}
        ),
    }


def _of_patient(findings: Findings, shared: _Resource) -> _Resource:
    overall = findings.patient_overall
    if overall is None:  # pragma: no cover - a study that is not refused has it
        raise AssertionError("no probability of the patient")
    site = {"system": _SNOMED, "code": "122494005", "display": "Cervical spine"}
    observation = _observation(shared, site, overall.probability)
    return observation | _remarks(
        assessment_label(overall.operating_points_reached), [*overall.reasons, *findings.warnings]
    )


def _of_vertebra(vertebra: VertebraFinding, shared: _Resource) -> _Resource:
    code, display = SNOMED_CODES[vertebra.level]
    observation = _observation(shared, {"system": _SNOMED, "code": code, "display": display}, vertebra.probability)
    if vertebra.coverage is not None:
        observation["component"] = [{"code": _COVERAGE, "valueString": vertebra.coverage}]
    return observation | _remarks(assessment_label(vertebra.operating_points_reached), list(vertebra.reasons))


def _remarks(words: str, notes: list[str]) -> _Resource:
    found: _Resource = {"note": [{"text": text} for text in (RESEARCH_USE_ONLY, *notes)]}
    return found | ({"interpretation": [{"text": words}]} if words else {})


def _selections(case_result: CaseResult, shared: _Resource, issued: str) -> Iterator[tuple[str, tuple[str, _Resource]]]:
    """Yield each level's slice and place, with the name that the Bundle refers to it by."""
    findings, compiled = case_result.findings, case_result.compiled
    if compiled is None:  # pragma: no cover - a study that is not refused was compiled
        return
    first = compiled.series.headers[0]
    for vertebra in findings.vertebrae:
        best = vertebra.strongest
        if best is None or best.slice is None:
            continue
        uids = (findings.study_instance_uid, findings.series_instance_uid or "", best.slice.sop_instance_uid)
        if not all(map(_ID.fullmatch, uids)):
            continue  # FHIR has no place for what no id may be; findings.json has it
        code, display = SNOMED_CODES[vertebra.level]
        frames = [str(best.slice.frame)] if first.frames > 1 else []
        number = best.slice.instance_number
        selection = {
            "resourceType": "ImagingSelection",
            "meta": _RESEARCH,
            "status": "available",
            "issued": issued,
            "code": {"text": f"the place that speaks most for a fracture of {vertebra.level}"},
            "studyUid": findings.study_instance_uid,
            "seriesUid": findings.series_instance_uid,
            **({"frameOfReferenceUid": first.frame_of_reference_uid} if first.frame_of_reference_uid else {}),
            "bodySite": {"concept": {"coding": [{"system": _SNOMED, "code": code, "display": display}]}},
            "instance": [
                {
                    "uid": best.slice.sop_instance_uid,
                    "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{first.sop_class_uid or _CT_IMAGE}"},
                    **({"number": number} if number is not None and number >= 0 else {}),
                    **({"subset": frames} if frames else {}),
                    "imageRegion3D": [{"regionType": "point", "coordinate": list(best.point_lps_mm)}],
                }
            ],
            **shared,
        }
        yield vertebra.level, (_urn(), selection)
