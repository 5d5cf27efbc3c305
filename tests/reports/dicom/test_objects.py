"""Findings as DICOM objects: they hold the findings, and they conform to the standard."""

from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import UID, JPEGLSLossless
from tests.support.dciodvfy import errors_of
from tests.support.phantom import as_suspicious, hostile, predict_case, write_phantom
from tests.support.structured_reports import (
    comments,
)

from cspine.classification.result import CaseResult
from cspine.core.anatomy import COLORS, RESEARCH_USE_ONLY, SEGMENT_NUMBERS, SNOMED_CODES, VERTEBRAE
from cspine.core.errors import DicomError
from cspine.core.findings import ViewEvidence
from cspine.reports.dicom.masks import BonePlanes, vertebra_mask
from cspine.reports.dicom.objects import DicomOptions, dicom_objects, write_dicom
from cspine.reports.dicom.source_images import source_images, valid_values
from cspine.reports.fhir import fhir_bundle
from cspine.reports.html import render_report
from cspine.reports.images.level_sheet import NOT_FOR_DIAGNOSIS


def test_each_type_of_object_forms_a_new_series_of_the_study(
    case_result: CaseResult, written: dict[str, Dataset]
) -> None:
    assert case_result.compiled is not None
    first = case_result.compiled.series.headers[0]
    captures = {f"{name}.dcm" for name in ("summary", *case_result.findings.suspicious)}
    masks = {"vertebrae.dcm", "evidence.dcm", "saliency.dcm"}
    assert set(written) == {"report.dcm", *masks, "key-images.dcm", "marks.dcm", *captures}
    for dataset in written.values():
        assert dataset.StudyInstanceUID == first.study_instance_uid
        assert dataset.PatientID == first.patient_id
        assert dataset.SeriesInstanceUID != first.series_instance_uid
        assert "RESEARCH USE ONLY" in dataset.SeriesDescription
    series = {dataset.SeriesInstanceUID for dataset in written.values()}
    assert len(series) == 7
    assert {dataset.SeriesNumber for dataset in written.values()} == set(range(9701, 9708))
    numbers = {f"{level}.dcm": number for number, level in enumerate(VERTEBRAE, start=2)}  # the summary is the first
    assert all(written[name].InstanceNumber == numbers.get(name, 1) for name in written)
    assert len({dataset.SOPInstanceUID for dataset in written.values()}) == len(written)
    frames = {written[name].FrameOfReferenceUID for name in masks}
    assert frames == {source_images(case_result.compiled.series).first.FrameOfReferenceUID}


def test_dciodvfy_reports_no_errors(written: dict[str, Dataset]) -> None:
    for name, dataset in written.items():
        assert errors_of(Path(str(dataset.filename))) == [], name


def test_dciodvfy_reports_no_errors_on_a_binary_segmentation(case_result: CaseResult, tmp_path: Path) -> None:
    dataset = dicom_objects(case_result, DicomOptions(segmentation="binary"))["vertebrae.dcm"]
    dataset.save_as(tmp_path / "vertebrae.dcm")

    assert errors_of(tmp_path / "vertebrae.dcm") == []


def test_the_segmentation_holds_the_vertebrae(case_result: CaseResult, written: dict[str, Dataset]) -> None:
    compiled = case_result.compiled
    assert compiled is not None
    assert compiled.images.spine is not None
    assert compiled.images.spine.label_map is not None
    source = source_images(compiled.series)
    uids = [dataset.SOPInstanceUID for dataset in source.datasets]
    mask = vertebra_mask(compiled.images.spine.label_map, source.headers, compiled.stack, BonePlanes.of(compiled))

    bones = hd.seg.segread(written["vertebrae.dcm"].filename)

    options: dict[str, Any] = {"ignore_spatial_locations": True, "assert_missing_frames_are_empty": True}
    labels = bones.get_pixels_by_source_instance(uids, combine_segments=True, **options)
    np.testing.assert_array_equal(labels, mask)
    for level in [level for level in VERTEBRAE if (mask == SEGMENT_NUMBERS[level]).any()]:
        description = bones.get_segment_description(SEGMENT_NUMBERS[level])
        assert description.segment_label == level
        assert description.segmented_property_type.value == SNOMED_CODES[level][0]
        lab = hd.color.CIELabColor.from_dicom_value(description.RecommendedDisplayCIELabValue)
        assert np.abs(np.array(lab.to_rgb()) - _rgb(COLORS[level])).max() <= 2
    assert written["vertebrae.dcm"].file_meta.TransferSyntaxUID == JPEGLSLossless


def test_the_evidence_of_suspicious_vertebrae_lies_about_its_strongest_point(
    case_result: CaseResult, written: dict[str, Dataset]
) -> None:
    evidence = hd.seg.segread(written["evidence.dcm"].filename)
    suspicious = {v.level: v for v in case_result.findings.vertebrae if v.is_suspicious}

    assert str(evidence.SegmentationType) == "BINARY"
    labels = [evidence.get_segment_description(number).segment_label for number in evidence.segment_numbers]
    assert labels == [f"Evidence for a fracture of {level}" for level in suspicious]
    for number, vertebra in enumerate(suspicious.values(), start=1):
        assert vertebra.strongest is not None
        position = vertebra.strongest.slice
        assert position is not None
        frame = evidence.get_pixels_by_source_instance(
            [position.sop_instance_uid],
            segment_numbers=[number],
            ignore_spatial_locations=True,
            assert_missing_frames_are_empty=True,
        )[0, ..., 0]
        assert frame[round(position.row), round(position.column)] == 1
        assert 4 < frame.sum() < 0.05 * frame.size


def _rgb(color: str) -> list[int]:
    return [int(color[start : start + 2], 16) for start in (1, 3, 5)]


def test_the_saliency_map_holds_the_saliency_of_the_fields(
    case_result: CaseResult, written: dict[str, Dataset]
) -> None:
    """Each pixel's place is taken from the map alone, as a viewer does, and the fields are evaluated there."""
    prediction, dataset = case_result.prediction, written["saliency.dcm"]
    assert prediction is not None
    shared = dataset.SharedFunctionalGroupsSequence[0]
    spacing_mm = [float(value) for value in shared.PixelMeasuresSequence[0].PixelSpacing]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    mapping = shared.RealWorldValueMappingSequence[0]
    stored = dataset.pixel_array
    rng = np.random.default_rng(0)
    differences = []

    for number in rng.integers(0, len(stored), 40).tolist():
        groups = dataset.PerFrameFunctionalGroupsSequence[number]
        corner = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        row, column = (int(rng.integers(0, side)) for side in stored.shape[1:])
        point = corner + column * spacing_mm[1] * cosines[:3] + row * spacing_mm[0] * cosines[3:]
        expected = max(float(field.at(point[None])[0]) for field in prediction.fields.values())
        value = stored[number, row, column] * float(mapping.RealWorldValueSlope)
        differences.append(abs(value - expected))

    assert max(spacing_mm) <= 1.5  # the pixels of the study are coarser than 1 mm, and none is left out
    assert max(differences) < 0.12
    assert np.mean(differences) < 0.01
    strongest = max(v.strongest.strength for v in case_result.findings.vertebrae if v.strongest is not None)
    assert stored.max() * float(mapping.RealWorldValueSlope) == pytest.approx(strongest, abs=0.15)


def test_captures_are_gray_and_carry_the_disclaimer(case_result: CaseResult, written: dict[str, Dataset]) -> None:
    names = ["summary", *case_result.findings.suspicious]
    for name in names:
        capture = written[f"{name}.dcm"]
        assert capture.ImageComments == NOT_FOR_DIAGNOSIS
        assert capture.Modality == "OT"
        assert capture.PhotometricInterpretation == "MONOCHROME2"
        picture = capture.pixel_array
        assert picture.ndim == 2
        assert (picture[:30] > 200).sum() > 200  # the disclaimer above the images
        assert picture[100:390].std() > 20
    assert sum(Path(str(written[f"{name}.dcm"].filename)).stat().st_size for name in names) < 2_000_000


def test_marks_ring_the_evidence_in_its_slice(case_result: CaseResult, written: dict[str, Dataset]) -> None:
    state = written["marks.dcm"]
    rings = {
        reference.ReferencedSOPInstanceUID: np.array(graphic.GraphicData, float).reshape(4, 2)
        for annotation in state.GraphicAnnotationSequence
        for reference in annotation.ReferencedImageSequence
        for graphic in annotation.GraphicObjectSequence
    }
    texts_of = {
        annotation.ReferencedImageSequence[0].ReferencedSOPInstanceUID: annotation.TextObjectSequence[0]
        for annotation in state.GraphicAnnotationSequence
    }

    for vertebra in case_result.findings.vertebrae:
        if not vertebra.is_suspicious or vertebra.strongest is None or vertebra.strongest.slice is None:
            continue
        position = vertebra.strongest.slice
        ring = rings[position.sop_instance_uid]
        np.testing.assert_allclose(ring.mean(axis=0), [position.column + 0.5, position.row + 0.5], atol=1e-3)
        text = texts_of[position.sop_instance_uid].UnformattedTextValue
        assert vertebra.level in text
        assert "NOT FOR DIAGNOSIS" in text
    assert len(rings) == len(case_result.findings.suspicious)
    assert [layer.GraphicLayer for layer in state.GraphicLayerSequence] == ["CSPINE"]
    assert (float(state.RescaleSlope), float(state.RescaleIntercept)) == (1.0, -1024.0)


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
    assert any("copied with changes" in text and "PatientName" in text for text in comments(report))
    for path in paths:
        assert errors_of(path) == [], path.name


def test_dates_and_times_of_acr_nemas_form_are_converted() -> None:
    original = Dataset()
    original.add_new("PatientBirthDate", "LO", "1970.01.02")
    original.add_new("StudyDate", "LO", "1970.13.02")
    original.add_new("StudyTime", "LO", "10:15:30.5")

    values = valid_values(original)

    assert (values["PatientBirthDate"], values["StudyDate"], values["StudyTime"]) == ("19700102", "", "101530.5")


def test_backslashes_of_elements_with_one_value_become_slashes() -> None:
    original = Dataset()
    original.PatientID, original.StudyDescription, original.PatientName = ["12", "3"], ["HEAD", "NECK"], "A^B\\C"

    values = valid_values(original)

    assert (values["PatientID"], values["StudyDescription"], values["PatientName"]) == ("12/3", "HEAD/NECK", "A^B/C")


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


def test_frames_with_gaps_between_them_state_the_spacing_of_the_slices(written: dict[str, Dataset]) -> None:
    for dataset in written.values():
        for groups in dataset.get("SharedFunctionalGroupsSequence") or ():
            assert dataset.ContentCreatorName == ""
            (measures,) = groups.PixelMeasuresSequence
            positions = sorted(
                float(frame.PlanePositionSequence[0].ImagePositionPatient[2])
                for frame in dataset.PerFrameFunctionalGroupsSequence
            )
            steps = np.diff(np.unique(np.round(positions, 3)))
            assert measures.SpacingBetweenSlices == pytest.approx(steps.min(), abs=1e-3)


def test_the_issuer_of_the_patients_id_is_copied_to_every_object(tmp_path: Path) -> None:
    def issue(dataset: Dataset) -> None:
        dataset.IssuerOfPatientID = "Hospital A"

    case_result = as_suspicious(predict_case(write_phantom(tmp_path / "study", issue)), {"C2"})

    objects = dicom_objects(case_result)

    names = ("report", "vertebrae", "evidence", "saliency", "key-images", "marks", "summary", "C2")
    assert {name: dataset.get("IssuerOfPatientID") for name, dataset in objects.items()} == {
        f"{name}.dcm": "Hospital A" for name in names
    }
