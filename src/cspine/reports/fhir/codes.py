"""Codes, systems and profiles of the FHIR resources."""

from typing import Any, Final

from cspine.core.anatomy import SNOMED_CODES, Level

SNOMED: Final = "http://snomed.info/sct"
DICOM: Final = "http://dicom.nema.org/resources/ontology/DCM"
UCUM: Final = "http://unitsofmeasure.org"
DICOM_UIDS: Final = "urn:dicom:uid"
URIS: Final = "urn:ietf:rfc:3986"
ABSENT_REASONS: Final = "http://terminology.hl7.org/CodeSystem/data-absent-reason"

_GUIDE: Final = "http://hl7.org/fhir/uv/dicom-sr"
"""Canonical URL of HL7's guide for DICOM structured reports."""

_PROFILES: Final = f"{_GUIDE}/StructureDefinition"
IMAGING_MEASUREMENT: Final = f"{_PROFILES}/imaging-measurement"
FINDING_SITE: Final = f"{_PROFILES}/dicom-sr-finding-site"
IMAGE_REGION_3D: Final = f"{_PROFILES}/image-region-3d"
ALGORITHM_IDENTIFICATION: Final = f"{_PROFILES}/algorithm-identification"

Coding = dict[str, str]
Concept = dict[str, Any]


def coding(system: str, code: str, display: str) -> Coding:
    """Return a Coding."""
    return {"system": system, "code": code, "display": display}


def concept(*codings: Coding, text: str = "") -> Concept:
    """Return a CodeableConcept of codings, text, or both."""
    return {**({"coding": list(codings)} if codings else {}), **({"text": text} if text else {})}


IMAGING_MEASUREMENT_REPORT: Final = coding(DICOM, "126000", "Imaging Measurement Report")
MEASUREMENT_GROUP: Final = coding(DICOM, "125007", "Measurement Group")
STUDY_INSTANCE_UID: Final = coding(DICOM, "110180", "Study Instance UID")
IMAGE_REGION: Final = coding(DICOM, "111030", "Image Region")
SOURCE_IMAGE: Final = coding(DICOM, "121324", "Source image")
ALGORITHM_PARAMETERS: Final = coding(DICOM, "111002", "Algorithm Parameters")
ARTIFICIAL_INTELLIGENCE: Final = coding(DICOM, "123110", "Artificial Intelligence")
OBSERVATION_UID: Final = coding(f"{_GUIDE}/CodeSystem/dicom-identifier-type", "observation-uid", "Observation UID")

PROBABILITY: Final = concept(coding(DICOM, "122157", "Probability"), text="Probability of a fracture")
COVERAGE: Final = concept(text="Extent of the vertebra within the scan")
ALTERNATIVE_LEVEL: Final = concept(text="Other level that the vertebra may be of, and its probability")
NOT_ASSESSABLE_CODE: Final = concept(text="Code of the reason why the study is not assessable")
REMEDY: Final = concept(text="What would help")
FRACTURE: Final = concept(
    coding(SNOMED, "125605004", "Fracture of bone"),
    coding("http://www.radlex.org", "RID4650", "fracture"),
    text="Fracture",
)
RADIOLOGY: Final = concept(coding("http://terminology.hl7.org/CodeSystem/v2-0074", "RAD", "Radiology"))
CERVICAL_SPINE: Final = coding(SNOMED, "122494005", "Cervical spine")
RESEARCH: Final[dict[str, Any]] = {
    "security": [coding("http://terminology.hl7.org/CodeSystem/v3-ActReason", "HRESCH", "healthcare research")]
}
"""Meta that labels every resource for research."""


def profiled(profile: str) -> dict[str, Any]:
    """Return meta that also claims a profile."""
    return {**RESEARCH, "profile": [profile]}


def vertebra_coding(level: Level) -> Coding:
    """Return the SNOMED CT coding of a cervical vertebra."""
    return coding(SNOMED, *SNOMED_CODES[level])
