"""Predictions of the shipped weights on reference cases, in a form that does not depend on the schema."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cspine.classification.result import CaseResult
from cspine.core.findings import ViewEvidence
from cspine.phantom import DOMAINS, synthesize
from cspine.phantom.scanner.dicom import Identity

REFERENCE = Path(__file__).parents[1] / "data" / "reference_predictions.json"

SEED, STUDIES, MATRIX = 4242, 10, 128
"""Ten phantoms of each domain, small so that they are quickly drawn."""

AT_A_THRESHOLD = {"phantom/shifted/3"}
"""Cases that are no reference: a frame of theirs lies so near to a threshold of the localizer that the rounding of
another processor moves it by 0.1 mm, and probabilities by 0.02. All others agree to 0.000003 on two processors."""


def read_reference() -> dict[str, Any]:
    """Return the recorded cases, by name."""
    cases: dict[str, Any] = json.loads(REFERENCE.read_text("utf-8"))["cases"]
    return cases


def draw_phantoms(folder: Path, domain: str) -> list[Path]:
    """Draw the reference phantoms of a domain; return their folders in the order of their indices."""
    settings = DOMAINS[domain].model_copy(update={"matrix": MATRIX})
    synthesize(folder, studies=STUDIES, seed=SEED, settings=settings)
    return [folder / "train_images" / Identity(SEED, index, domain).study_uid for index in range(STUDIES)]


def describe(result: CaseResult) -> dict[str, Any]:
    """Return what is compared of a case."""
    findings = result.findings
    if findings.not_assessable is not None or findings.patient_overall is None:
        return {"not_assessable": findings.not_assessable.code if findings.not_assessable else None}
    return {
        "patient_overall": findings.patient_overall.probability,
        "vertebrae": {
            vertebra.level: {
                "probability": vertebra.probability,
                "coverage": vertebra.coverage,
                "confidence": vertebra.confidence,
                "centroid_lps_mm": vertebra.centroid_lps_mm,
                "evidence": [
                    {"point_lps_mm": each.point_lps_mm, "strength": each.strength}
                    for each in vertebra.evidence
                    if isinstance(each, ViewEvidence)
                ],
            }
            for vertebra in findings.vertebrae
        },
    }


def differences(expected: Any, found: Any, *, tolerance: float, where: str = "") -> Iterator[str]:
    """Yield every place where two cases differ by more than the tolerance."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted({*expected, *found}):
            yield from differences(expected.get(key), found.get(key), tolerance=tolerance, where=f"{where}/{key}")
    elif isinstance(expected, (list, tuple)) and isinstance(found, (list, tuple)) and len(expected) == len(found):
        for number, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from differences(one, other, tolerance=tolerance, where=f"{where}/{number}")
    elif isinstance(expected, float) and isinstance(found, float):
        if not np.isclose(expected, found, rtol=0.0, atol=tolerance):
            yield f"{where}: {expected!r} was recorded, {found!r} is predicted"
    elif expected != found:
        yield f"{where}: {expected!r} was recorded, {found!r} is predicted"


def predict_script() -> str:
    """Return a program that predicts the paths it is given and prints the cases as a JSON list."""
    return (
        f"import json, sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from cspine import Detector\n"
        "from tests.support.reference import describe\n"
        "detector = Detector.load()\n"
        "cases = [describe(next(iter(detector.predict_all(path)))) for path in sys.argv[1:]]\n"
        "print(json.dumps(cases))\n"
    )
