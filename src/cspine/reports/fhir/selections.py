"""Evidence as ImagingSelections: the slice, and the point in the frame of reference."""

import re
from typing import Final

import numpy as np

from cspine.classification.result import CaseResult
from cspine.core.anatomy import Level
from cspine.core.findings import Findings, SlicePosition, ViewEvidence
from cspine.dicom.codec.header import SliceHeader
from cspine.reports.fhir.codes import (
    IMAGE_REGION,
    IMAGE_REGION_3D,
    RESEARCH,
    URIS,
    concept,
    profiled,
    vertebra_coding,
)
from cspine.reports.fhir.context import BundleContext, Entry, Resource

_CT_IMAGE: Final = "1.2.840.10008.5.1.4.1.1.2"

_FHIR_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
"""FHIR's data type ``id``, which DICOM UIDs have in an ImagingSelection."""


def evidence_selections(case_result: CaseResult, context: BundleContext) -> dict[str, Entry]:
    """Return the ImagingSelection of each level with evidence in a slice, by level.

    FHIR cannot represent slices whose UIDs are no ``id`` or differ from those of their series; they are left out, and
    ``findings.json`` has them.
    """
    findings, compiled = case_result.findings, case_result.compiled
    if compiled is None:
        return {}
    series = compiled.series
    selections: dict[str, Entry] = {}
    for vertebra in findings.vertebrae:
        evidence = vertebra.strongest
        if evidence is None or evidence.slice is None:
            continue
        uids = (findings.study_instance_uid, findings.series_instance_uid or "", evidence.slice.sop_instance_uid)
        header = series.nearest_slice(np.array(evidence.point_lps_mm))
        own_uids = header.study_instance_uid, header.series_instance_uid  # others where files have UIDs of their own
        is_of_series = own_uids == (series.study_instance_uid, series.series_instance_uid)
        if is_of_series and all(map(_FHIR_ID.fullmatch, uids)):
            selection = _selection(findings, vertebra.level, evidence, evidence.slice, header)
            shared = {"issued": context.issued, "derivedFrom": [context.study], **context.subject}
            selections[vertebra.level] = context.entry(f"selection {vertebra.level}", selection | shared)
    return selections


def _selection(
    findings: Findings, level: Level, evidence: ViewEvidence, location: SlicePosition, header: SliceHeader
) -> Resource:
    number, frame_of_reference = location.instance_number, header.frame_of_reference_uid
    return {
        "resourceType": "ImagingSelection",
        "meta": profiled(IMAGE_REGION_3D) if frame_of_reference else RESEARCH,  # the profile wants it
        "status": "available",
        "code": concept(IMAGE_REGION, text=f"strongest evidence for a fracture of {level}"),
        "studyUid": findings.study_instance_uid,
        "seriesUid": findings.series_instance_uid,
        **({"frameOfReferenceUid": frame_of_reference} if frame_of_reference else {}),
        "bodySite": {"concept": concept(vertebra_coding(level))},
        "instance": [
            {
                "uid": location.sop_instance_uid,
                "sopClass": {"system": URIS, "code": f"urn:oid:{header.sop_class_uid or _CT_IMAGE}"},
                **({"number": number} if number is not None and number >= 0 else {}),
                **({"subset": [str(location.frame)]} if header.frames > 1 else {}),
                "imageRegion3D": [{"regionType": "point", "coordinate": list(evidence.point_lps_mm)}],
            }
        ],
    }
