"""Every report names the alternatives of a vertebra whose level is uncertain."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from tests.support.phantom import detector, predict_case, write_phantom
from tests.support.structured_reports import comments, read_statements

from cspine.classification.level_classifier import LevelClassifier
from cspine.classification.level_findings import Probabilities, patient_finding, vertebra_finding
from cspine.classification.result import CaseResult
from cspine.core.findings import Findings
from cspine.pipelines.localize import _to_located_vertebra
from cspine.reports.dicom.codes import alternative_code
from cspine.reports.dicom.objects import write_dicom
from cspine.reports.fhir import fhir_bundle
from cspine.reports.html import render_report
from cspine.reports.worklist import StudyResult, prioritize, worklist_csv, worklist_page
from cspine.spine.spine_map import SpineMap, Vertebra
from cspine.views.compiled import CompiledVolume

LABEL = "C6 (or C7, T1)"
REASON = "its level is uncertain: C6 (55 %) or C7 (30 %) or T1 (12 %)"
PATIENT_REASON = f"uncertain level: {LABEL}"
ALTERNATIVES = (("C7", 0.3), ("T1", 0.12))


def vertebra() -> Vertebra:
    return Vertebra("C6", np.eye(4), np.zeros(3), np.zeros((2, 3)), 1.0, 0.55, 9000.0, ALTERNATIVES)


@pytest.fixture(scope="module")
def case_result(tmp_path_factory: pytest.TempPathFactory) -> CaseResult:
    """Return the demo's findings, in which the sixth vertebra may be C7 or T1."""
    result = predict_case(write_phantom(tmp_path_factory.mktemp("study")))
    classifier = detector().classifier
    assert isinstance(classifier, LevelClassifier)
    c6 = vertebra_finding(
        classifier.metadata,
        "C6",
        CompiledVolume(SpineMap((vertebra(),)), None, pytest.fail, ()),
        points=classifier.calibration.points,
        probabilities=Probabilities(0.001, 0.001, 0.001),
        fracture_types=np.zeros(len(classifier.metadata.fracture_types)),
        pictures=[],
    )
    vertebrae = [*result.findings.vertebrae[:5], c6, result.findings.vertebrae[6]]
    patient = patient_finding(
        classifier.calibration.points, probability=0.001, raw_probability=0.001, vertebrae=vertebrae
    )
    updates = {"vertebrae": tuple(vertebrae), "patient_overall": patient}
    return replace(result, findings=Findings.model_validate({**dict(result.findings), **updates}))


def test_findings_hold_the_alternatives(case_result: CaseResult) -> None:
    c6, patient = case_result.findings.vertebrae[5], case_result.findings.patient_overall

    assert [(each.level, each.probability) for each in c6.alternatives] == list(ALTERNATIVES)
    assert (c6.is_level_uncertain, c6.level_label, c6.not_found, c6.coverage) == (True, LABEL, False, "complete")
    assert c6.reasons == (REASON,)
    assert patient is not None
    assert PATIENT_REASON in patient.reasons
    assert not any(reason.startswith("limited image quality: C6") for reason in patient.reasons)
    assert Findings.model_validate_json(case_result.findings.model_dump_json()) == case_result.findings


def test_spine_json_holds_the_alternatives() -> None:
    located = _to_located_vertebra(vertebra())

    assert [(each.level, each.probability) for each in located.alternatives] == list(ALTERNATIVES)
    assert vertebra().level_label == LABEL


def test_the_page_says_so(case_result: CaseResult) -> None:
    html = render_report(case_result)

    assert LABEL in html
    assert REASON in html


def test_fhir_says_so(case_result: CaseResult) -> None:
    bundle: Any = fhir_bundle(case_result)
    report, *others = [entry.resource for entry in bundle.entry]
    *_, c6, c7 = [each for each in others if each.__class__.__name__ == "Observation"]

    assert f"Uncertain level: {LABEL}." in report.conclusion
    assert [each.valueString for each in c6.component] == ["complete", "C7 (30 %)", "T1 (12 %)"]
    assert len(c7.component) == 1


def test_the_structured_report_says_so(case_result: CaseResult, tmp_path: Path) -> None:
    (path,) = [path for path in write_dicom(case_result, tmp_path) if path.name == "report.dcm"]
    document = pydicom.dcmread(path)
    statements = read_statements(document)

    def values(level: str, name: str) -> list[str]:
        return statements[level].meanings.get(name, [])

    assert values("C6", "level-certainty") == ["The level is uncertain"]
    assert values("C6", "alternative-level") == ["C7 vertebra", "T1 vertebra"]
    assert values("C5", "level-certainty") == ["The level is certain"]
    assert values("C5", "alternative-level") == []
    assert PATIENT_REASON in comments(document)


def test_only_numbered_vertebrae_have_a_code() -> None:
    assert alternative_code("T12") is not None
    assert [alternative_code(level) for level in ("T", "L", "S1")] == [None] * 3


def test_the_worklist_says_so(case_result: CaseResult) -> None:
    rows = prioritize([StudyResult(case_result.findings, "one", 0.0)])

    assert PATIENT_REASON in worklist_csv(rows)
    assert PATIENT_REASON in worklist_page(rows)
