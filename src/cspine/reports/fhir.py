"""Findings as FHIR R5: a Bundle of a DiagnosticReport, Observations, ImagingSelections and the Device."""

import re
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from fhir.resources.bundle import Bundle

from cspine.classification.result import CaseResult
from cspine.core.anatomy import RESEARCH_USE_ONLY, SNOMED_CODES, Level
from cspine.core.files import write_text
from cspine.core.findings import (
    Findings,
    OperatingPointName,
    SlicePosition,
    VertebraFinding,
    ViewEvidence,
    assessment_label,
)
from cspine.core.not_assessable import remedy_of
from cspine.dicom.codec.header import SliceHeader

_SNOMED, _RADLEX, _UCUM = "http://snomed.info/sct", "http://www.radlex.org", "http://unitsofmeasure.org"
_DICOM_UIDS, _URIS = "urn:dicom:uid", "urn:ietf:rfc:3986"
_CT_IMAGE: Final = "1.2.840.10008.5.1.4.1.1.2"

_FRACTURE_CODE: Final = {
    "coding": [
        {"system": _SNOMED, "code": "125605004", "display": "Fracture of bone"},
        {"system": _RADLEX, "code": "RID4650", "display": "fracture"},
    ],
    "text": "Fracture",
}
_PROBABILITY_CODE: Final = {
    "coding": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "122157", "display": "Probability"}],
    "text": "Probability of a fracture",
}
_COVERAGE_CODE: Final = {"text": "Extent of the vertebra within the scan"}
_ALTERNATIVE_CODE: Final = {"text": "Other level that the vertebra may be of, and its probability"}
_RESEARCH_META: Final = {
    "security": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
            "code": "HRESCH",
            "display": "healthcare research",
        }
    ]
}
_RADIOLOGY_CATEGORY: Final = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "RAD", "display": "Radiology"}]
}
_FHIR_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
"""FHIR's data type ``id``, which DICOM UIDs have in an ImagingSelection."""

_Resource = dict[str, Any]


@dataclass(frozen=True)
class _BundleContext:
    """What all resources of a Bundle share: the subject, and the time of issue as an ISO 8601 string."""

    subject: _Resource
    issued: str


@dataclass(frozen=True)
class _Entry:
    """A resource with the URN by which others refer to it."""

    urn: str
    resource: _Resource

    @property
    def reference(self) -> _Resource:
        return {"reference": self.urn}


def fhir_bundle(case_result: CaseResult, *, issued_at: datetime | None = None) -> Bundle:
    """Return the findings as a FHIR R5 Bundle, validated by `fhir.resources`.

    The Bundle contains a preliminary DiagnosticReport, one Observation for the patient and one per level (probability
    and coverage), one ImagingSelection per level with evidence (the slice, and the location in LPS mm), and the
    software as Device. The subject is identified by the PatientID of the DICOM files, if they have one; there is
    neither name nor date of birth. The conclusion is coded as fracture only if a vertebra is suspicious. For a study
    that is not assessable, the report is cancelled and its conclusion gives the reason, which can name a file.

    Parameters
    ----------
    case_result : CaseResult
        Findings and images that `cspine.pipelines.predict.Detector.predict_case` returned.
    issued_at : datetime, optional
        Time of issue; the current time if omitted.
    """
    return Bundle.model_validate(_bundle(case_result, issued_at or datetime.now(UTC)))


def write_fhir(case_result: CaseResult, path: Path) -> None:
    """Write `fhir_bundle` as JSON, atomically; raises DiskFullError or OutputError."""
    write_text(path, fhir_bundle(case_result).model_dump_json(indent=2) + "\n")


def _bundle(case_result: CaseResult, issued_at: datetime) -> _Resource:
    findings = case_result.findings
    context = _BundleContext(_subject(case_result), issued_at.isoformat(timespec="seconds"))
    device = _Entry(_urn(), _device(findings))
    selections: dict[str, _Entry] = {}
    observations: list[_Entry] = []
    if findings.not_assessable is None:
        selections = dict(_selections(case_result, context))
        observations = list(_observations(findings, context, selections, device))
    report = _Entry(_urn(), _report(findings, context, observations))
    entries = [report, *selections.values(), *observations, device]
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": context.issued,
        "meta": _RESEARCH_META,
        "entry": [{"fullUrl": entry.urn, "resource": entry.resource} for entry in entries],
    }


def _urn() -> str:
    return f"urn:uuid:{uuid.uuid4()}"


def _subject(case_result: CaseResult) -> _Resource:
    """Return the subject, identified by the PatientID; nothing if the files have none."""
    series = case_result.series
    patient_id = series.headers[0].patient_id if series else None
    normalized = " ".join((patient_id or "").split())
    return {"subject": {"type": "Patient", "identifier": {"value": normalized}}} if normalized else {}


def _device(findings: Findings) -> _Resource:
    networks = [("weights", findings.weights), *([("localizer", findings.localizer)] if findings.localizer else [])]
    notes = [f"{role} {each.name}, sha256 {each.sha256}, trained on {each.trained_on}" for role, each in networks]
    return {
        "resourceType": "Device",
        "meta": _RESEARCH_META,
        "displayName": "cspine",
        "manufacturer": "cspine",
        "name": [{"value": "cspine", "type": "user-friendly-name"}],
        "version": [{"value": findings.software.version}],
        "note": [{"text": note} for note in (RESEARCH_USE_ONLY, *notes)],
    }


def _report(findings: Findings, context: _BundleContext, observations: Sequence[_Entry]) -> _Resource:
    notes = () if observations else findings.warnings  # otherwise the patient's Observation has them
    return {
        "resourceType": "DiagnosticReport",
        "meta": _RESEARCH_META,
        "status": "cancelled" if findings.not_assessable else "preliminary",
        "category": [_RADIOLOGY_CATEGORY],
        "code": {
            "coding": [{"system": _SNOMED, "code": "77477000", "display": "Computed tomography"}],
            "text": "CT of the cervical spine: fracture probabilities",
        },
        "issued": context.issued,
        "study": [{"type": "ImagingStudy", "identifier": _dicom_uid(findings.study_instance_uid)}],
        "conclusion": _conclusion(findings),
        **({"conclusionCode": [_FRACTURE_CODE]} if findings.suspicious else {}),
        **({"result": [observation.reference for observation in observations]} if observations else {}),
        **({"note": [{"text": text} for text in notes]} if notes else {}),
        **context.subject,
    }


def _dicom_uid(uid: str) -> _Resource:
    return {"system": _DICOM_UIDS, "value": f"urn:oid:{uid}"}


def _conclusion(findings: Findings) -> str:
    """Return the conclusion of the report, which ends with the disclaimer."""
    overall, not_assessable = findings.patient_overall, findings.not_assessable
    if not_assessable is not None or overall is None:
        if not_assessable is None:  # pragma: no cover - every study has one of both
            raise AssertionError("neither a probability nor a reason")
        reason = f"{not_assessable.reason}. What would help: {remedy_of(not_assessable.code)}."
        return f"Not assessable ({not_assessable.code}): {reason} {RESEARCH_USE_ONLY}"
    levels = findings.suspicious
    assessment = f"Suspicious: {', '.join(levels)}." if levels else "No vertebra is suspicious."
    probability = f"Probability of any fracture of C1 to C7: {100 * overall.probability:.1f} %."
    not_found = [vertebra.level for vertebra in findings.vertebrae if vertebra.not_found]
    unknown = f" In the scan but not found: {', '.join(not_found)}; no fracture is ruled out." if not_found else ""
    labels = [vertebra.level_label for vertebra in findings.vertebrae if vertebra.is_level_uncertain]
    uncertain = f" Uncertain level: {', '.join(labels)}." if labels else ""
    return f"{probability} {assessment}{unknown}{uncertain} {RESEARCH_USE_ONLY}"


def _observations(
    findings: Findings, context: _BundleContext, selections: Mapping[str, _Entry], device: _Entry
) -> Iterator[_Entry]:
    """Yield the Observation of the patient, and then of each level with a reference to its ImagingSelection."""
    resources = [("", _patient_observation(findings, context))]
    resources += [(vertebra.level, _vertebra_observation(vertebra, context)) for vertebra in findings.vertebrae]
    for level, observation in resources:
        if level in selections:
            observation["derivedFrom"] = [selections[level].reference]
        yield _Entry(_urn(), observation | {"device": device.reference, "issued": context.issued})


def _patient_observation(findings: Findings, context: _BundleContext) -> _Resource:
    overall = findings.patient_overall
    if overall is None:  # pragma: no cover - every assessable study has it
        raise AssertionError("no probability of the patient")
    site = {"system": _SNOMED, "code": "122494005", "display": "Cervical spine"}
    observation = _observation(context, site, overall.probability)
    return observation | _remarks(overall.operating_points_reached, [*overall.reasons, *findings.warnings])


def _vertebra_observation(vertebra: VertebraFinding, context: _BundleContext) -> _Resource:
    absent = "was not found, although it lies within the scan" if vertebra.not_found else "is not in the scan"
    site = _vertebra_coding(vertebra.level)
    observation = _observation(context, site, vertebra.probability, absent_reason=f"the vertebra {absent}")
    components = [
        {"code": _ALTERNATIVE_CODE, "valueString": f"{each.level} ({100 * each.probability:.0f} %)"}
        for each in vertebra.alternatives
    ]
    if vertebra.coverage is not None:
        components.insert(0, {"code": _COVERAGE_CODE, "valueString": vertebra.coverage_label})
    if components:
        observation["component"] = components
    return observation | _remarks(vertebra.operating_points_reached, vertebra.reasons)


def _observation(
    context: _BundleContext, site: _Resource, probability: float | None, *, absent_reason: str = ""
) -> _Resource:
    return {
        "resourceType": "Observation",
        "meta": _RESEARCH_META,
        "status": "preliminary",
        "code": _PROBABILITY_CODE,
        "bodySite": {"coding": [site]},
        **context.subject,
        **(
            {"valueQuantity": {"value": probability, "unit": "1", "system": _UCUM, "code": "1"}}
            if probability is not None
            else {"dataAbsentReason": {"text": absent_reason}}
        ),
    }


def _remarks(operating_points_reached: Collection[OperatingPointName], notes: Iterable[str]) -> _Resource:
    """Return the notes, beginning with the disclaimer, and the assessment as interpretation."""
    label = assessment_label(operating_points_reached)
    remarks: _Resource = {"note": [{"text": text} for text in (RESEARCH_USE_ONLY, *notes)]}
    return remarks | ({"interpretation": [{"text": label}]} if label else {})


def _vertebra_coding(level: Level) -> _Resource:
    code, display = SNOMED_CODES[level]
    return {"system": _SNOMED, "code": code, "display": display}


def _selections(case_result: CaseResult, context: _BundleContext) -> Iterator[tuple[str, _Entry]]:
    """Yield the ImagingSelection of each level with evidence in a slice."""
    findings, compiled = case_result.findings, case_result.compiled
    if compiled is None:  # pragma: no cover - every assessable study was compiled
        return
    for vertebra in findings.vertebrae:
        evidence = vertebra.strongest
        if evidence is None or evidence.slice is None:
            continue
        uids = (findings.study_instance_uid, findings.series_instance_uid or "", evidence.slice.sop_instance_uid)
        series = compiled.series
        header = series.nearest_slice(np.array(evidence.point_lps_mm))
        own_uids = header.study_instance_uid, header.series_instance_uid  # others where files have UIDs of their own
        is_of_series = own_uids == (series.study_instance_uid, series.series_instance_uid)
        # FHIR cannot represent other UIDs; findings.json contains them.
        if is_of_series and all(map(_FHIR_ID.fullmatch, uids)):
            selection = _selection(findings, vertebra.level, evidence, evidence.slice, header)
            yield vertebra.level, _Entry(_urn(), selection | {"issued": context.issued} | context.subject)


def _selection(
    findings: Findings, level: Level, evidence: ViewEvidence, location: SlicePosition, header: SliceHeader
) -> _Resource:
    number = location.instance_number
    return {
        "resourceType": "ImagingSelection",
        "meta": _RESEARCH_META,
        "status": "available",
        "code": {"text": f"strongest evidence for a fracture of {level}"},
        "studyUid": findings.study_instance_uid,
        "seriesUid": findings.series_instance_uid,
        **({"frameOfReferenceUid": header.frame_of_reference_uid} if header.frame_of_reference_uid else {}),
        "bodySite": {"concept": {"coding": [_vertebra_coding(level)]}},
        "instance": [
            {
                "uid": location.sop_instance_uid,
                "sopClass": {"system": _URIS, "code": f"urn:oid:{header.sop_class_uid or _CT_IMAGE}"},
                **({"number": number} if number is not None and number >= 0 else {}),
                **({"subset": [str(location.frame)]} if header.frames > 1 else {}),
                "imageRegion3D": [{"regionType": "point", "coordinate": list(evidence.point_lps_mm)}],
            }
        ],
    }
