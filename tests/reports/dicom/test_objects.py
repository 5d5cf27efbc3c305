"""Findings as DICOM objects: they hold the findings, and they conform to the standard."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import UID
from tests.support.phantom import hostile, predict_case, write_phantom

from cspine.classification.result import CaseResult
from cspine.core.anatomy import COLORS, RESEARCH_USE_ONLY, SNOMED_CODES, VERTEBRAE
from cspine.core.errors import DicomError
from cspine.core.findings import ViewEvidence
from cspine.reports.dicom.capture import BURNED_IN_DISCLAIMER
from cspine.reports.dicom.masks import evidence_mask, vertebra_mask
from cspine.reports.dicom.objects import write_dicom
from cspine.reports.dicom.source_images import source_images, valid_values
from cspine.reports.fhir import fhir_bundle
from cspine.reports.html import render_report

DCIODVFY = shutil.which("dciodvfy")


@pytest.fixture(scope="module")
def case_result(tmp_path_factory: pytest.TempPathFactory) -> CaseResult:
    return predict_case(write_phantom(tmp_path_factory.mktemp("study")))


@pytest.fixture(scope="module")
def written(case_result: CaseResult, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    folder = tmp_path_factory.mktemp("dicom")
    return {path.name: pydicom.dcmread(path) for path in write_dicom(case_result, folder)}


def errors_of(path: Path) -> list[str]:
    """Return the errors that dciodvfy reports."""
    if DCIODVFY is None:
        pytest.skip("dciodvfy (Debian's dicom3tools) is not installed")
    done = subprocess.run([DCIODVFY, str(path)], check=False, capture_output=True, text=True, errors="replace")
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]


def test_each_type_of_object_forms_a_new_series_of_the_study(
    case_result: CaseResult, written: dict[str, Dataset]
) -> None:
    assert case_result.compiled is not None
    first = case_result.compiled.series.headers[0]
    captures = {f"sagittal-{number}.dcm" for number in range(1, 10)}
    assert set(written) == {"report.dcm", "vertebrae.dcm", "evidence.dcm", "key-images.dcm", *captures}
    for dataset in written.values():
        assert dataset.StudyInstanceUID == first.study_instance_uid
        assert dataset.PatientID == first.patient_id
        assert dataset.SeriesInstanceUID != first.series_instance_uid
        assert "RESEARCH USE ONLY" in dataset.SeriesDescription
    series = {dataset.SeriesInstanceUID for dataset in written.values()}
    assert len(series) == 5
    assert len({dataset.SOPInstanceUID for dataset in written.values()}) == len(written)
    frames = {written[name].FrameOfReferenceUID for name in ("vertebrae.dcm", "evidence.dcm")}
    assert frames == {source_images(case_result.compiled.series).first.FrameOfReferenceUID}


def test_dciodvfy_reports_no_errors(written: dict[str, Dataset]) -> None:
    for dataset in written.values():
        assert errors_of(Path(str(dataset.filename))) == []


def test_the_structured_report_holds_the_findings(case_result: CaseResult, written: dict[str, Dataset]) -> None:
    document = hd.sr.srread(written["report.dcm"].filename)
    groups = _groups(document)

    findings = case_result.findings
    assert findings.patient_overall is not None
    assert [group["tracking"] for group in groups] == ["C1-C7, any", *VERTEBRAE]
    assert groups[0]["probability"] == pytest.approx(findings.patient_overall.probability, abs=1e-12)
    for group, vertebra in zip(groups[1:], findings.vertebrae, strict=True):
        assert group["site"] == SNOMED_CODES[vertebra.level][0]
        assert group["probability"] == pytest.approx(vertebra.probability, abs=1e-12)
        assert group["coverage"] == vertebra.coverage
        evidence = vertebra.evidence[0]
        assert isinstance(evidence, ViewEvidence)
        np.testing.assert_allclose(group["point"], evidence.point_lps_mm, atol=1e-4)
        assert evidence.slice is not None
        assert group["image"] == evidence.slice.sop_instance_uid
        assert group["algorithm"] == "cspine"
        assert group.get("finding") == ("125605004" if "triage" in vertebra.operating_points_reached else None)
    texts = _comments(document)
    assert texts[0] == RESEARCH_USE_ONLY
    assert set(findings.warnings) <= set(texts)
    assert any("SOPClassUID" in text for text in texts) == (not _has_sop_class(case_result))


def test_highdicom_reads_the_report_as_tid_1500(case_result: CaseResult, written: dict[str, Dataset]) -> None:
    document = hd.sr.srread(written["report.dcm"].filename)
    assert isinstance(document, hd.sr.Comprehensive3DSR)
    content = document.content
    assert isinstance(content, hd.sr.MeasurementReport)

    groups = content.get_image_measurement_groups()

    by_identifier = {group.tracking_identifier: group for group in groups}
    assert set(by_identifier) == {"C1-C7, any", *VERTEBRAE}
    for vertebra in case_result.findings.vertebrae:
        measurement: Any = by_identifier[vertebra.level].get_measurements()[0]
        assert measurement.value == pytest.approx(vertebra.probability, abs=1e-12)
        assert measurement.unit.value == "1"
        evaluations: Any = by_identifier[vertebra.level].get_qualitative_evaluations()
        values = {each.name.value: each.value.value for each in evaluations}
        assert values["coverage"] == vertebra.coverage
        assert values["operating-point"] == next(iter(sorted(vertebra.operating_points_reached, reverse=True)), "none")


def _comments(document: Dataset) -> list[str]:
    texts = [item for item in document.ContentSequence if item.ValueType == "TEXT"]
    return [str(item.TextValue) for item in texts if item.ConceptNameCodeSequence[0].CodeValue == "121106"]


def _has_sop_class(case_result: CaseResult) -> bool:
    assert case_result.compiled is not None
    return case_result.compiled.series.headers[0].sop_class_uid is not None


def _groups(document: Dataset) -> list[dict[str, Any]]:
    """Return the content of the measurement groups, read by pydicom alone."""
    (measurements,) = [
        item for item in document.ContentSequence
        if item.ValueType == "CONTAINER" and item.ConceptNameCodeSequence[0].CodeValue == "126010"
    ]  # fmt: skip
    groups = []
    for container in measurements.ContentSequence:
        group: dict[str, Any] = {}
        for item in container.ContentSequence:
            code = item.ConceptNameCodeSequence[0].CodeValue
            if code == "112039":
                group["tracking"] = item.TextValue
            elif code == "121071":
                group["finding"] = item.ConceptCodeSequence[0].CodeValue
            elif code == "363698007":
                group["site"] = item.ConceptCodeSequence[0].CodeValue
            elif code == "111001":
                group["algorithm"] = item.TextValue
            elif code == "fracture-prob":
                group["probability"] = float(item.MeasuredValueSequence[0].NumericValue)
                for child in item.get("ContentSequence", ()):
                    group["point"] = list(child.GraphicData)
            elif code == "coverage":
                group["coverage"] = item.ConceptCodeSequence[0].CodeValue
            elif item.ValueType == "IMAGE":
                group["image"] = item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        groups.append(group)
    return groups


def test_the_segmentations_hold_the_masks(case_result: CaseResult, written: dict[str, Dataset]) -> None:
    compiled, prediction = case_result.compiled, case_result.prediction
    assert compiled is not None
    assert prediction is not None
    assert compiled.images.spine is not None
    assert compiled.images.spine.label_map is not None
    source = source_images(compiled.series)
    uids = [dataset.SOPInstanceUID for dataset in source.datasets]
    mask = vertebra_mask(compiled.images.spine.label_map, source.headers, compiled.stack)
    saliency = evidence_mask(prediction.fields, source.headers, compiled.stack)

    bones = hd.seg.segread(written["vertebrae.dcm"].filename)
    evidence = hd.seg.segread(written["evidence.dcm"].filename)

    options: dict[str, Any] = {"ignore_spatial_locations": True, "assert_missing_frames_are_empty": True}
    labels = bones.get_pixels_by_source_instance(uids, combine_segments=True, **options)
    levels = [level for level in VERTEBRAE if (mask == VERTEBRAE.index(level) + 1).any()]
    for number, level in enumerate(levels, start=1):
        expected = mask == VERTEBRAE.index(level) + 1
        assert 2 * (expected & (labels == number)).sum() == expected.sum() + (labels == number).sum()  # a Dice of 1
        description = bones.get_segment_description(number)
        assert description.segment_label == level
        assert description.segmented_property_type.value == SNOMED_CODES[level][0]
        lab = hd.color.CIELabColor.from_dicom_value(description.RecommendedDisplayCIELabValue)
        assert np.abs(np.array(lab.to_rgb()) - _rgb(COLORS[level])).max() <= 2
    pixels = evidence.get_pixels_by_source_instance(uids, **options)[..., 0]
    np.testing.assert_allclose(pixels, saliency / 255.0, atol=0.5 / 255)
    assert str(evidence.SegmentationType) == "FRACTIONAL"


def _rgb(color: str) -> list[int]:
    return [int(color[start : start + 2], 16) for start in (1, 3, 5)]


def test_the_evidence_mask_is_strong_at_the_location_of_the_evidence(case_result: CaseResult) -> None:
    compiled, prediction = case_result.compiled, case_result.prediction
    assert compiled is not None
    assert prediction is not None
    source = source_images(compiled.series)
    saliency = evidence_mask(prediction.fields, source.headers, compiled.stack) / 255.0
    uids = [dataset.SOPInstanceUID for dataset in source.datasets]

    for vertebra in case_result.findings.vertebrae:
        evidence = vertebra.evidence[0]
        assert isinstance(evidence, ViewEvidence)
        if evidence.slice is None or evidence.strength < 0.2:
            continue
        row, column = round(evidence.slice.row), round(evidence.slice.column)
        value = saliency[uids.index(evidence.slice.sop_instance_uid), row, column]
        assert 0.6 * evidence.strength < value <= 1.0


def test_captures_carry_the_disclaimer(written: dict[str, Dataset]) -> None:
    for number in range(1, 10):
        capture = written[f"sagittal-{number}.dcm"]
        assert capture.ImageComments == BURNED_IN_DISCLAIMER
        assert capture.Modality == "OT"
        picture = capture.pixel_array
        assert picture.shape == (836, 768, 3)
        assert (picture[:34] > 200).any()  # the disclaimer above the image
        assert picture[100:700].std() > 20


def test_key_images_are_the_slices_of_suspicious_vertebrae(
    case_result: CaseResult, written: dict[str, Dataset]
) -> None:
    expected = set()
    for vertebra in case_result.findings.vertebrae:
        evidence = vertebra.evidence[0]
        is_suspicious = "triage" in vertebra.operating_points_reached
        if is_suspicious and isinstance(evidence, ViewEvidence) and evidence.slice is not None:
            expected.add(evidence.slice.sop_instance_uid)
    content = written["key-images.dcm"].ContentSequence
    selected = {item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in content if item.ValueType == "IMAGE"}
    texts = [item.TextValue for item in content if item.ValueType == "TEXT" and "Suspicious" in item.TextValue]

    assert selected == expected
    assert expected
    assert RESEARCH_USE_ONLY in texts[0]


@pytest.mark.filterwarnings("ignore")
def test_hostile_headers_are_reduced_to_valid_values(tmp_path: Path) -> None:
    case_result = predict_case(write_phantom(tmp_path / "study", hostile))

    paths = write_dicom(case_result, tmp_path / "dicom")

    report = pydicom.dcmread(tmp_path / "dicom" / "report.dcm")
    assert len(str(report.PatientName)) <= 64
    assert str(report.PatientName).startswith("<script>")  # DICOM is not HTML: kept, but truncated
    assert report.PatientID == "a?b?c<img src=x onerror=alert(2)>"
    assert len(report.AccessionNumber) == 16
    assert report.StudyDate == ""
    texts = _comments(report)
    assert any("copied with changes" in text and "PatientName" in text for text in texts)
    for path in paths:
        assert errors_of(path) == []


def test_dates_and_times_of_acr_nemas_form_are_converted() -> None:
    original = Dataset()
    original.add_new("PatientBirthDate", "LO", "1970.01.02")
    original.add_new("StudyDate", "LO", "1970.13.02")
    original.add_new("StudyTime", "LO", "10:15:30.5")

    values = valid_values(original)

    assert (values["PatientBirthDate"], values["StudyDate"], values["StudyTime"]) == ("19700102", "", "101530.5")


def test_missing_elements_get_defaults_that_are_mentioned(tmp_path: Path) -> None:
    def strip(dataset: Dataset) -> None:
        for keyword in ("SOPClassUID", "Modality", "FrameOfReferenceUID", "PatientName"):
            if keyword in dataset:
                delattr(dataset, keyword)

    case_result = predict_case(write_phantom(tmp_path / "study", strip))
    write_dicom(case_result, tmp_path / "dicom")

    assert case_result.compiled is not None
    one, other = (source_images(case_result.compiled.series) for _ in range(2))
    assert one.first.FrameOfReferenceUID == other.first.FrameOfReferenceUID
    assert "a frame of reference derived from the series UID" in one.remarks[0]
    assert errors_of(tmp_path / "dicom" / "report.dcm") == []


def test_invalid_uids_raise_an_error(tmp_path: Path) -> None:
    def change(dataset: Dataset) -> None:
        dataset.SOPInstanceUID = f"1.2.03.{dataset.InstanceNumber}"

    with pytest.warns(UserWarning, match="UI"):
        folder = write_phantom(tmp_path / "study", change)
    case_result = predict_case(folder)

    with pytest.raises(DicomError, match="its SOPInstanceUID is no UID"):
        write_dicom(case_result, tmp_path / "dicom")
    assert not (tmp_path / "dicom").exists()


def test_slices_of_one_uid_are_not_referred_to(tmp_path: Path) -> None:
    def change(dataset: Dataset) -> None:
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.4")

    case_result = predict_case(write_phantom(tmp_path / "study", change))

    with pytest.raises(DicomError, match="so that a DICOM object would refer to an ambiguous slice"):
        write_dicom(case_result, tmp_path / "dicom")
    assert not (tmp_path / "dicom").exists()
    evidence = [each for vertebra in case_result.findings.vertebrae for each in vertebra.evidence]
    slices = [each.slice for each in evidence if isinstance(each, ViewEvidence) and each.slice is not None]
    assert slices
    assert all(each.sop_instance_uid == "" and each.instance_number is not None for each in slices)
    resources = [entry.resource for entry in fhir_bundle(case_result).entry or ()]
    assert not [resource for resource in resources if resource.__class__.__name__ == "ImagingSelection"]
    assert "1.2.3.4" not in render_report(case_result)
