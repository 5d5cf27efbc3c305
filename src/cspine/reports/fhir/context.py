"""What all resources of a Bundle share: subject, study, time of issue, and what their identifiers are derived from."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cspine.classification.result import CaseResult
from cspine.core.identifiers import derived_uid
from cspine.dicom.codec.header import SliceHeader
from cspine.reports.fhir.codes import DICOM_UIDS, OBSERVATION_UID, STUDY_INSTANCE_UID, concept
from cspine.reports.result_digest import pixel_digest, result_digest, slice_names

Resource = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """A resource with the URN by which others refer to it."""

    urn: str
    resource: Resource

    @property
    def reference(self) -> Resource:
        """The reference that others hold."""
        return {"reference": self.urn}


@dataclass(frozen=True)
class BundleContext:
    """What all resources of a Bundle share.

    Attributes
    ----------
    patient : dict
        Reference to the patient, by the PatientID of the files if they have one.
    study : dict
        Reference to the study, by its UID.
    issued : str
        Time of issue, ISO 8601.
    key : str
        Hash of what the result depends on (`cspine.reports.result_digest.result_digest`).
    """

    patient: Resource
    study: Resource
    issued: str
    key: str

    @classmethod
    def of(cls, case_result: CaseResult, issued_at: datetime) -> "BundleContext":
        """Return the context of a result."""
        findings = case_result.findings
        identifier = {"type": concept(STUDY_INSTANCE_UID), **uid_identifier(findings.study_instance_uid)}
        return cls(
            _patient(case_result),
            {"type": "ImagingStudy", "identifier": identifier},
            issued_at.isoformat(timespec="seconds"),
            _key(case_result),
        )

    @property
    def subject(self) -> Resource:
        """The element ``subject``."""
        return {"subject": self.patient}

    @property
    def study_part(self) -> Resource:
        """The element ``partOf``."""
        return {"partOf": [self.study]}

    def entry(self, role: str, resource: Resource) -> Entry:
        """Return a resource with a URN that is the same whenever the same result is made again."""
        return Entry(f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, f'cspine {self.key} {role}')}", resource)

    def identifier(self, role: str) -> Resource:
        """Return an identifier that is the same whenever the same result is made again."""
        return uid_identifier(derived_uid("cspine fhir", self.key, role))

    def observation_identifier(self, level: str) -> Resource:
        """Return the identifier of an Observation."""
        return {"type": concept(OBSERVATION_UID), **self.identifier(f"observation {level}")}


def uid_identifier(uid: str) -> Resource:
    """Return a DICOM UID as an Identifier."""
    return {"system": DICOM_UIDS, "value": f"urn:oid:{uid}"}


def _patient(case_result: CaseResult) -> Resource:
    """Return the patient by the PatientID and its issuer; without an identifier if the files have none."""
    headers = case_result.series.headers if case_result.series else ()
    header = next((header for header in headers if header.patient_id and header.patient_id.strip()), None)
    if header is None:
        return {"type": "Patient", "display": "patient without an identifier in the files"}
    issuer = _line(header.issuer_of_patient_id)
    assigner = {"assigner": {"display": issuer}} if issuer else {}
    return {"type": "Patient", "identifier": {"value": _line(header.patient_id), **assigner}}


def _line(text: str | None) -> str:
    """Return text as FHIR's strings hold it: without line ends and repeated spaces."""
    return " ".join((text or "").split())


def _key(case_result: CaseResult) -> str:
    """Return the hash that all identifiers are derived from."""
    series, headers = case_result.series, tuple[SliceHeader, ...]()
    if series is not None:
        is_stack = case_result.compiled is not None
        headers = tuple(series.headers[index] for index in series.stack.order) if is_stack else series.headers
    return result_digest(case_result.findings, slice_names(headers), pixel_digest(case_result))
