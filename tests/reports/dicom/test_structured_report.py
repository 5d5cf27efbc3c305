"""The structured report holds the findings, where viewers look for them, and states what they rest on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from tests.support.structured_reports import (
    DERIVED,
    MEASUREMENTS,
    PATIENT,
    QUALITATIVE,
    code_of,
    comments,
    read_statements,
    texts,
    walk,
)

from cspine.classification.result import CaseResult
from cspine.core.anatomy import RESEARCH_USE_ONLY, VERTEBRAE
from cspine.reports.dicom.objects import write_dicom
from cspine.reports.dicom.source_images import source_images


def test_the_structured_report_holds_the_findings(case_result: CaseResult, written: dict[str, Dataset]) -> None:
    document, findings = written["report.dcm"], case_result.findings
    statements = read_statements(document)

    assert findings.patient_overall is not None
    assert set(statements) == {PATIENT, *VERTEBRAE}
    patient = statements[PATIENT]
    assert patient.container == DERIVED
    assert patient.probability == pytest.approx(findings.patient_overall.probability, abs=1e-12)
    assert patient.finding == ("125605004" if findings.patient_overall.is_suspicious else None)
    for vertebra in findings.vertebrae:
        statement = statements[vertebra.level]
        assert statement.container == (MEASUREMENTS if vertebra.is_suspicious else QUALITATIVE)
        assert statement.probability == pytest.approx(vertebra.probability, abs=1e-12)
        assert statement.code("coverage") == vertebra.coverage
        assert statement.finding == ("125605004" if vertebra.is_suspicious else None)
        assert (statement.algorithm == "cspine") == vertebra.is_suspicious
    assert comments(document)[0] == RESEARCH_USE_ONLY
    assert set(findings.warnings) <= set(comments(document))
    assert any("SOPClassUID" in text for text in comments(document)) == (not _has_sop_class(case_result))


@pytest.mark.parametrize(("reached", "finding"), [(("rule-out", "triage"), "125605004"), ((), None)])
def test_only_a_suspicious_patient_has_a_finding(
    case_result: CaseResult, tmp_path: Path, reached: tuple[str, ...], finding: str | None
) -> None:
    assert case_result.findings.patient_overall is not None
    patient = case_result.findings.patient_overall.model_copy(update={"operating_points_reached": reached})
    findings = case_result.findings.model_copy(update={"patient_overall": patient})

    files = {path.name: path for path in write_dicom(replace(case_result, findings=findings), tmp_path)}

    assert read_statements(dcmread(files["report.dcm"]))[PATIENT].finding == finding


def test_only_suspicious_vertebrae_have_coordinates(case_result: CaseResult, written: dict[str, Dataset]) -> None:
    statements = read_statements(written["report.dcm"])

    for vertebra in case_result.findings.vertebrae:
        statement, evidence = statements[vertebra.level], vertebra.strongest
        assert evidence is not None
        assert evidence.slice is not None
        if not vertebra.is_suspicious:
            assert (statement.point_lps_mm, statement.pixel, statement.image) == (None, None, None)
            continue
        np.testing.assert_allclose(statement.point_lps_mm, evidence.point_lps_mm, atol=1e-4)  # type: ignore[arg-type]
        assert statement.pixel == pytest.approx((evidence.slice.column + 0.5, evidence.slice.row + 0.5), abs=1e-3)
        assert statement.image == evidence.slice.sop_instance_uid


def test_each_group_of_measurements_has_coordinates_in_a_slice(written: dict[str, Dataset]) -> None:
    """What the readers of OHIF require; they look below the group, and below its number."""
    (container,) = [item for item in written["report.dcm"].ContentSequence if code_of(item) == MEASUREMENTS]

    for group in container.ContentSequence:
        (number,) = [item for item in group.ContentSequence if item.ValueType == "NUM"]
        for parent in (group, number):
            graphics = [item for item in parent.ContentSequence if item.ValueType in {"SCOORD", "SCOORD3D"}]
            assert (graphics[0].ValueType, graphics[0].GraphicType) == ("SCOORD", "POINT")
            assert graphics[0].ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID


def test_highdicom_reads_the_report_as_tid_1500(case_result: CaseResult, written: dict[str, Dataset]) -> None:
    document = hd.sr.srread(written["report.dcm"].filename)
    assert isinstance(document, hd.sr.Comprehensive3DSR)
    content = document.content
    assert isinstance(content, hd.sr.MeasurementReport)

    groups = {group.tracking_identifier: group for group in content.get_planar_roi_measurement_groups()}

    assert set(groups) == {f"{level} fracture" for level in case_result.findings.suspicious}
    for vertebra in case_result.findings.vertebrae:
        if not vertebra.is_suspicious or vertebra.strongest is None or vertebra.strongest.slice is None:
            continue
        group = groups[f"{vertebra.level} fracture"]
        assert group.reference_type == hd.sr.CodedConcept("111030", "DCM", "Image Region")
        position = vertebra.strongest.slice
        expected = [position.column + 0.5, position.row + 0.5]
        region: Any = group.roi
        np.testing.assert_allclose(region.value[0], expected, atol=1e-3)
        measurement: Any = group.get_measurements()[0]
        assert measurement.value == pytest.approx(vertebra.probability, abs=1e-12)
        assert measurement.unit.value == "1"


def test_the_report_states_what_it_rests_on(case_result: CaseResult, written: dict[str, Dataset]) -> None:
    document, findings = written["report.dcm"], case_result.findings
    source = source_images(case_result.compiled.series)  # type: ignore[union-attr]
    (library,) = [item for item in document.ContentSequence if code_of(item) == "111028"]
    images = [item for item in walk(library) if item.get("ValueType") == "IMAGE"]
    localizer = findings.localizer

    assert localizer is not None
    listed = [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in images]
    assert listed == [dataset.SOPInstanceUID for dataset in source.datasets]
    assert tuple(texts(document, "series-choice")) == findings.series_reasons
    assert findings.weights.sha256 in texts(document, "weights")[0]
    assert localizer.sha256 in texts(document, "localizer")[0]
    assert findings.software.version in texts(document, "software")[0]
    assert "slice spacing 1.5 mm" in texts(document, "acquisition")[0]
    assert findings.weights.trained_on in texts(document, "model-card")[0]
    assert "triage" in texts(document, "calibration")[0]


def _has_sop_class(case_result: CaseResult) -> bool:
    assert case_result.compiled is not None
    return case_result.compiled.series.headers[0].sop_class_uid is not None
