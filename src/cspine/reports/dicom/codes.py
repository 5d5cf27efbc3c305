"""Coded concepts of the DICOM objects: SNOMED CT, DICOM and UCUM, and private codes where these have no concept."""

from typing import Final

from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes

from cspine.core.anatomy import SNOMED_CODES, Level
from cspine.core.findings import Coverage, OperatingPointName
from cspine.spine.level_settings import LEVELS

PRIVATE_SCHEME: Final = "99CSPINE"
"""Designator of the private coding scheme; such designators begin with 99 (PS3.16, section 8)."""


def _snomed(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, "SCT", meaning)


def _private(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, PRIVATE_SCHEME, meaning)


COMPUTED_TOMOGRAPHY: Final = _snomed("77477000", "Computed tomography")
CERVICAL_SPINE: Final = _snomed("122494005", "Cervical spine")
FRACTURE: Final = _snomed("125605004", "Fracture of bone")
ANATOMY: Final = _snomed("123037004", "Anatomical Structure")
ABNORMALITY: Final = _snomed("49755003", "Morphologically Abnormal Structure")
PROBABILITY: Final = _private("fracture-prob", "Probability of a fracture")
"""A private concept: DICOM's concept (122157, DCM, "Probability") does not say of what, and a coded finding of a
fracture would assert it."""

SALIENCY: Final = _private("saliency", "Saliency of a fracture, not calibrated")

ARTIFICIAL_INTELLIGENCE: Final = CodedConcept("123110", "DCM", "Artificial Intelligence")
COMMENT: Final = CodedConcept("121106", "DCM", "Comment")
OF_INTEREST: Final = CodedConcept("113000", "DCM", "Of Interest")
REJECTED_FOR_PATIENT_SAFETY: Final = CodedConcept("113037", "DCM", "Rejected for Patient Safety Reasons")
INCORRECT_WORKLIST_ENTRY: Final = CodedConcept("113038", "DCM", "Incorrect Modality Worklist Entry")
"""Titles of rejection notes (IHE Imaging Object Change Management)."""

FINDING_SITE: Final = _snomed("363698007", "Finding Site")
CENTER: Final = CodedConcept("111010", "DCM", "Center")
DERIVED_MEASUREMENTS: Final = CodedConcept("126011", "DCM", "Derived Imaging Measurements")
MEASUREMENTS: Final = CodedConcept("126010", "DCM", "Imaging Measurements")
QUALITATIVE_EVALUATIONS: Final = CodedConcept("C0034375", "UMLS", "Qualitative Evaluations")
NO_UNITS: Final = CodedConcept("1", "UCUM", "no units")

COVERAGE: Final = _private("coverage", "Extent of the vertebra within the scan")
COVERAGES: Final[dict[Coverage, CodedConcept]] = {
    "complete": _private("complete", "Completely within the scan"),
    "partial": _private("partial", "Partially within the scan"),
    "absent": _private("absent", "Outside the scan"),
}
NOT_FOUND: Final = _private("not-found", "Within the scan, but not found")

LEVEL_CERTAINTY: Final = _private("level-certainty", "Certainty of the level")
LEVEL_CERTAINTIES: Final[dict[bool, CodedConcept]] = {
    True: _private("level-uncertain", "The level is uncertain"),
    False: _private("level-certain", "The level is certain"),
}
"""By whether the level is uncertain."""

ALTERNATIVE_LEVEL: Final = _private("alternative-level", "Other level that the vertebra may be of")

ASSESSMENT: Final = _private("operating-point", "Operating point reached")
ASSESSMENTS: Final[dict[OperatingPointName | None, CodedConcept]] = {
    "triage": _private("triage", "Suspicious"),
    "rule-out": _private("rule-out", "Not ruled out"),
    None: _private("none", "No operating point reached"),
}
NOT_ASSESSED: Final = _private("not-assessed", "Not assessed")

PROVENANCE: Final = _private("provenance", "Provenance of the result")
SERIES_CHOICE: Final = _private("series-choice", "Why the series was selected")
ACQUISITION: Final = _private("acquisition", "How the series was acquired")
SOFTWARE: Final = _private("software", "Software")
WEIGHTS: Final = _private("weights", "Weights of the network")
LOCALIZER: Final = _private("localizer", "Weights of the localizer")
CALIBRATION: Final = _private("calibration", "Calibration and operating points")
MODEL_CARD: Final = _private("model-card", "Model card")


def vertebra_code(level: Level) -> CodedConcept:
    """Return the SNOMED CT concept of a cervical vertebra."""
    return _snomed(*SNOMED_CODES[level])


def alternative_code(level: str) -> CodedConcept | None:
    """Return the SNOMED CT concept of any numbered vertebra; None of others."""
    if level not in LEVELS[:-1]:  # pydicom has no vertebra S1
        return None
    code = getattr(codes.SCT, f"{level}Vertebra")
    return _snomed(code.value, code.meaning)
