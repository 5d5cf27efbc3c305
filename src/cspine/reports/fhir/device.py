"""The algorithm as a Device, after TID 4019 (Algorithm Identification)."""

from collections.abc import Iterator

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.findings import Findings
from cspine.reports.fhir.codes import (
    ALGORITHM_IDENTIFICATION,
    ALGORITHM_PARAMETERS,
    ARTIFICIAL_INTELLIGENCE,
    concept,
    profiled,
)
from cspine.reports.fhir.context import Resource


def algorithm_device(findings: Findings) -> Resource:
    """Return the Device: name, version and family of the algorithm, and its parameters as properties."""
    return {
        "resourceType": "Device",
        "meta": profiled(ALGORITHM_IDENTIFICATION),
        "displayName": "cspine",
        "manufacturer": "cspine",
        "name": [{"value": "cspine", "type": "user-friendly-name"}],
        "type": [concept(ARTIFICIAL_INTELLIGENCE)],
        "version": [{"value": findings.software.version}],
        "property": [{"type": concept(ALGORITHM_PARAMETERS), "valueString": text} for text in _parameters(findings)],
        "note": [{"text": RESEARCH_USE_ONLY}],
    }


def _parameters(findings: Findings) -> Iterator[str]:
    networks = [("weights", findings.weights), *([("localizer", findings.localizer)] if findings.localizer else [])]
    for role, each in networks:
        yield f"{role} {each.name}, sha256 {each.sha256}, trained on {each.trained_on}"
    augmentation = "left-right flip" if findings.test_time_augmentation else "none"
    yield f"test-time augmentation {augmentation}"
    if findings.calibration is not None and findings.calibration.points_sha256 is not None:
        yield f"operating points of a file, sha256 {findings.calibration.points_sha256}"
