"""The Bundle of a study: assembled as R5, converted to R4 by choice, validated by `fhir.resources`."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import fhir.resources.bundle
import fhir.resources.R4B.bundle

from cspine.classification.result import CaseResult
from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.extras import FhirRelease
from cspine.core.files import write_text
from cspine.core.findings import Findings
from cspine.core.not_assessable import remedy_of
from cspine.reports.fhir.codes import FRACTURE, IMAGING_MEASUREMENT_REPORT, RADIOLOGY, RESEARCH, concept
from cspine.reports.fhir.context import BundleContext, Entry, Resource
from cspine.reports.fhir.device import algorithm_device
from cspine.reports.fhir.observations import not_assessable_observation, patient_observation, vertebra_observation
from cspine.reports.fhir.r4 import to_r4
from cspine.reports.fhir.selections import evidence_selections
from cspine.reports.fhir.sites import finding_site, finding_site_of_spine

Bundle = fhir.resources.bundle.Bundle | fhir.resources.R4B.bundle.Bundle


def fhir_bundle(case_result: CaseResult, *, release: FhirRelease = "R5", issued_at: datetime | None = None) -> Bundle:
    """Return the findings as a FHIR Bundle, validated by `fhir.resources`.

    The Bundle follows HL7's guide for DICOM structured reports (`hl7.fhir.uv.dicom-sr`, a draft of 2024): a preliminary
    DiagnosticReport; an Observation of the patient and of each level, which claims the profile ``imaging-measurement``
    where it has a probability; a BodyStructure as the site of each; an ImagingSelection with slice and point for each
    level with evidence; the algorithm with its weights as a Device (TID 4019). The subject is identified by the
    PatientID of the DICOM files, if they have one; there is neither name nor date of birth. The conclusion is coded as
    a fracture only if a vertebra is suspicious. Of a study that is not assessable, report and Observation say why, and
    what would help; the reason can name a file.

    URNs and identifiers are functions of slices, weights and settings, so that a result that is made again replaces
    itself. R4 has no ImagingSelection: slice and point are components of the Observation.

    Parameters
    ----------
    case_result : CaseResult
        Findings and images that `cspine.pipelines.predict.Detector.predict_case` returned.
    release : {"R5", "R4"}
        Release of FHIR. R4 is validated as R4B (4.3), in which the resources used here are those of R4 (4.0.1).
    issued_at : datetime, optional
        Time of issue; the current time if omitted.
    """
    context = BundleContext.of(case_result, issued_at or datetime.now(UTC))
    bundle = _bundle(case_result, context)
    if release == "R4":
        return fhir.resources.R4B.bundle.Bundle.model_validate(to_r4(bundle))
    return fhir.resources.bundle.Bundle.model_validate(bundle)


def write_fhir(case_result: CaseResult, path: Path, release: FhirRelease = "R5") -> None:
    """Write `fhir_bundle` as JSON, atomically; raises DiskFullError or OutputError."""
    write_text(path, fhir_bundle(case_result, release=release).model_dump_json(indent=2) + "\n")


def _bundle(case_result: CaseResult, context: BundleContext) -> Resource:
    findings = case_result.findings
    device = context.entry("device", algorithm_device(findings))
    selections = evidence_selections(case_result, context)
    sites = {"": finding_site_of_spine(context)} | {v.level: finding_site(v.level, context) for v in findings.vertebrae}
    observations = list(_observations(findings, context, device, sites, selections))
    report = context.entry("report", _report(findings, context, observations))
    entries = [report, *sites.values(), *selections.values(), *observations, device]
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "identifier": context.identifier("bundle"),
        "timestamp": context.issued,
        "meta": RESEARCH,
        "entry": [{"fullUrl": entry.urn, "resource": entry.resource} for entry in entries],
    }


def _observations(
    findings: Findings,
    context: BundleContext,
    device: Entry,
    sites: Mapping[str, Entry],
    selections: Mapping[str, Entry],
) -> Iterator[Entry]:
    """Yield the Observation of the patient and then of each level, or the one that says why there is none."""
    resources: dict[str, Resource] = {}
    if findings.not_assessable is not None:
        resources[""] = not_assessable_observation(findings.not_assessable, findings.warnings)
    if findings.patient_overall is not None:
        resources[""] = patient_observation(findings.patient_overall, findings.warnings)
    resources |= {vertebra.level: vertebra_observation(vertebra) for vertebra in findings.vertebrae}
    for level, observation in resources.items():
        derived = {"derivedFrom": [selections[level].reference]} if level in selections else {}
        yield context.entry(
            f"observation {level}",
            observation
            | context.study_part
            | context.subject
            | derived
            | {
                "identifier": [context.observation_identifier(level)],
                "issued": context.issued,
                "device": device.reference,
                "bodyStructure": sites[level].reference,
            },
        )


def _report(findings: Findings, context: BundleContext, observations: Sequence[Entry]) -> Resource:
    return {
        "resourceType": "DiagnosticReport",
        "meta": RESEARCH,
        "identifier": [context.identifier("report")],
        "status": "preliminary",
        "category": [RADIOLOGY],
        "code": concept(IMAGING_MEASUREMENT_REPORT, text="CT of the cervical spine: fracture probabilities"),
        "issued": context.issued,
        "study": [context.study],
        "result": [observation.reference for observation in observations],
        "conclusion": _conclusion(findings),
        **({"conclusionCode": [FRACTURE]} if findings.suspicious else {}),
        **context.subject,
    }


def _conclusion(findings: Findings) -> str:
    """Return the conclusion of the report, which ends with the disclaimer."""
    overall, rejected = findings.patient_overall, findings.not_assessable
    if rejected is not None:
        reason = f"{rejected.reason}. What would help: {remedy_of(rejected.code)}."
        return f"Not assessable ({rejected.code}): {reason} {RESEARCH_USE_ONLY}"
    if overall is None:  # pragma: no cover - every study has one of both
        raise AssertionError("neither a probability nor a reason")
    levels = findings.suspicious
    assessment = f"Suspicious: {', '.join(levels)}." if levels else "No vertebra is suspicious."
    probability = f"Probability of any fracture of C1 to C7: {100 * overall.probability:.1f} %."
    not_found = [vertebra.level for vertebra in findings.vertebrae if vertebra.not_found]
    unknown = f" In the scan but not found: {', '.join(not_found)}; no fracture is ruled out." if not_found else ""
    labels = [vertebra.level_label for vertebra in findings.vertebrae if vertebra.is_level_uncertain]
    uncertain = f" Uncertain level: {', '.join(labels)}." if labels else ""
    return f"{probability} {assessment}{unknown}{uncertain} {RESEARCH_USE_ONLY}"
