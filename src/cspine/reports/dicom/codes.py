"""The coded concepts of reports: SNOMED CT, DICOM, UCUM, and our own where none of them has a word."""

from typing import Final

from highdicom.sr import CodedConcept

from cspine.core.anatomy import SNOMED_CODES, Level
from cspine.core.findings import Coverage, OperatingPointName

OWN_SCHEME: Final = "99CSPINE"
"""Private codes begin with 99 (PS3.16 section 8)."""


def _sct(value: str, target: str) -> CodedConcept:
    return CodedConcept(value, "SCT", target)


def _own(value: str, target: str) -> CodedConcept:
    return CodedConcept(value, OWN_SCHEME, target)


COMPUTED_TOMOGRAPHY: Final = _sct("77477000", "Computed tomography")
CERVICAL_SPINE: Final = _sct("122494005", "Cervical spine")
FRACTURE: Final = _sct("125605004", "Fracture of bone")
ANATOMY: Final = _sct("123037004", "Anatomical Structure")
ABNORMALITY: Final = _sct("49755003", "Morphologically Abnormal Structure")
PROBABILITY: Final = _own("fracture-prob", "Probability of a fracture")
"""DICOM has a word for probability, but a measurement of it does not say of what; a finding would assert it."""

ARTIFICIAL_INTELLIGENCE: Final = CodedConcept("123110", "DCM", "Artificial Intelligence")
COMMENT: Final = CodedConcept("121106", "DCM", "Comment")
OF_INTEREST: Final = CodedConcept("113000", "DCM", "Of Interest")
ONE: Final = CodedConcept("1", "UCUM", "no units")

COVERAGE: Final = _own("coverage", "Extent of the vertebra within the scan")
COVERAGES: Final[dict[Coverage, CodedConcept]] = {
    "complete": _own("complete", "Wholly within the scan"),
    "partial": _own("partial", "Partly within the scan"),
    "absent": _own("absent", "Outside the scan"),
}

ASSESSMENT: Final = _own("operating-point", "Operating point reached")
ASSESSMENTS: Final[dict[OperatingPointName | None, CodedConcept]] = {
    "triage": _own("triage", "Suspicious"),
    "rule-out": _own("rule-out", "Not ruled out"),
    None: _own("none", "No operating point reached"),
}


def vertebra_code(level: Level) -> CodedConcept:
    """Return the SNOMED CT concept of a vertebra."""
    return _sct(*SNOMED_CODES[level])
