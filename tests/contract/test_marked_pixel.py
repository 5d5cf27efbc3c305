"""The mark lies on the right pixel of the right slice: read from the objects and the CT files alone, by pydicom.

A bright voxel is planted where the findings say the evidence is. The reader knows neither; it follows the references of
each object to a file, decodes that file, and must come upon the brightest pixel of the whole series.
"""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom import DataElement, Dataset
from pydicom.uid import ExplicitVRLittleEndian
from tests.support.dciodvfy import DCIODVFY, errors_of
from tests.support.dicom import make_hu, write_enhanced, write_series
from tests.support.structured_reports import read_statements

from cspine.classification.result import CaseResult
from cspine.classification.saliency import slice_position
from cspine.core.anatomy import VERTEBRAE
from cspine.core.findings import (
    Findings,
    PatientFinding,
    SoftwareIdentity,
    VertebraFinding,
    ViewEvidence,
    WeightsIdentity,
)
from cspine.dicom import discover, select_series
from cspine.dicom.codec.header import suppress_pydicom_warnings
from cspine.dicom.series import Series
from cspine.reports.dicom.key_objects import key_object_selection
from cspine.reports.dicom.presentation import presentation_states
from cspine.reports.dicom.report_context import ReportContext
from cspine.reports.dicom.source_images import source_images
from cspine.reports.dicom.structured_report import structured_report

VOXEL = (17, 31, 22)
"""Slice, row and column of the planted voxel."""

SHIFT_MM = (0.7, 0.5, -0.6)
"""How far from the voxel's center the evidence lies, along slices, rows and columns: within the voxel."""

BRIGHT_HU = 2500
TILT = np.deg2rad(18.5)
SPACING_MM = (3.0, 2.0, 2.0)

GEOMETRIES: dict[str, dict[str, Any]] = {
    "axial": {},
    "downward": {"upward": False},
    "feet first": {"directions": ((0, 0, -1), (0, 1, 0), (-1, 0, 0)), "origin": (56.0, -48.0, 117.0)},
    "prone": {"directions": ((0, 0, 1), (0, -1, 0), (-1, 0, 0)), "origin": (56.0, 48.0, 0.0)},
    "tilted": {"directions": ((0, -np.sin(TILT), np.cos(TILT)), (0, np.cos(TILT), np.sin(TILT)), (1, 0, 0))},
    "sheared": {"shear_mm": 0.8},
    "gapped": {"change": lambda dataset, k: None if k in {5, 20} else dataset},
}


def planted() -> npt.NDArray[np.int16]:
    hu = make_hu()
    hu[VOXEL] = BRIGHT_HU
    return hu


def evidence_lps_mm(geometry: dict[str, Any]) -> npt.NDArray[np.float64]:
    """Return where the evidence lies, from how the phantom was written."""
    axes = np.array(geometry.get("directions", ((0, 0, 1), (0, 1, 0), (1, 0, 0))), float)
    steps_mm = np.array(SPACING_MM) * VOXEL + SHIFT_MM
    steps_mm[1] += geometry.get("shear_mm", 0.0) * VOXEL[0]
    return np.asarray(np.array(geometry.get("origin", (-56.0, -48.0, 0.0))) + steps_mm @ axes)


def findings_at(series: Series, point: npt.NDArray[np.float64]) -> Findings:
    """Return findings of which C4 is suspicious at a point."""
    x, y, z = point.tolist()
    evidence = ViewEvidence(
        plane="axial",
        offset_mm=0.0,
        row=0.0,
        column=0.0,
        point_lps_mm=(x, y, z),
        slice=slice_position(series, point),
        strength=0.9,
    )
    vertebrae = [VertebraFinding(level=level, probability=0.01, coverage="complete") for level in VERTEBRAE]
    vertebrae[3] = vertebrae[3].model_copy(
        update={"probability": 0.9, "operating_points_reached": ("triage", "rule-out"), "evidence": (evidence,)}
    )
    return Findings(
        study_instance_uid=series.study_instance_uid,
        series_instance_uid=series.series_instance_uid,
        patient_overall=PatientFinding(probability=0.9, operating_points_reached=("triage", "rule-out")),
        vertebrae=tuple(vertebrae),
        software=SoftwareIdentity(version="0"),
        weights=WeightsIdentity(name="none", sha256="0" * 64, trained_on="nothing", phantom_only=True),
    )


def written_objects(ct: Path, point: npt.NDArray[np.float64], out: Path) -> dict[str, Dataset]:
    """Write the objects that mark something, and return them as another program reads them."""
    series = select_series(discover(ct).studies[0]).selected
    source = source_images(series)
    context = ReportContext.of(CaseResult(findings_at(series, point), None, None, series), source, datetime.now(UTC))
    out.mkdir()
    with suppress_pydicom_warnings():  # de-identified names have one component
        (state,) = presentation_states(context, source, series.stack)
        key_images = key_object_selection(context, source)
        assert key_images is not None
        for name, dataset in (
            ("report", structured_report(context, source, series.stack)),
            ("marks", state),
            ("key-images", key_images),
        ):
            dataset.save_as(out / f"{name}.dcm", enforce_file_format=True)
    assert not [error for path in out.iterdir() if DCIODVFY for error in errors_of(path)]
    return {path.stem: pydicom.dcmread(path) for path in out.iterdir()}


def marks_of(objects: dict[str, Dataset]) -> dict[str, tuple[str, int, tuple[float, float] | None]]:
    """Return what each object marks: image, frame, and column and row counted from the corner of the first pixel."""
    statement = read_statements(objects["report"])["C4"]
    assert statement.image is not None
    (annotation,) = objects["marks"].GraphicAnnotationSequence
    (graphic,) = annotation.GraphicObjectSequence
    column, row = np.array(graphic.GraphicData, float).reshape(4, 2).mean(axis=0).tolist()
    (item,) = [item for item in objects["key-images"].ContentSequence if item.ValueType == "IMAGE"]
    return {
        "report": (statement.image, statement.frame, statement.pixel),
        "marks": (*_image(annotation.ReferencedImageSequence[0]), (column, row)),
        "key-images": (*_image(item.ReferencedSOPSequence[0]), None),
    }


def _image(reference: Dataset) -> tuple[str, int]:
    return reference.ReferencedSOPInstanceUID, int(reference.get("ReferencedFrameNumber", 1))


def hold_that_marks_are_right(
    ct: Path, objects: dict[str, Dataset], place: Callable[[Dataset, int], Any], gap_mm: float = SPACING_MM[0]
) -> None:
    """Follow each mark to its file: the brightest pixel of the series, and the same place as the point in the patient.

    `place` returns position, cosines and spacing of a frame, as that kind of file states them.
    """
    files = {dataset.SOPInstanceUID: dataset for dataset in map(pydicom.dcmread, sorted(ct.iterdir()))}
    for name, (uid, frame, pixel) in marks_of(objects).items():
        dataset = files[uid]
        pixels = dataset.pixel_array if dataset.pixel_array.ndim == 2 else dataset.pixel_array[frame - 1]
        row, column = np.unravel_index(int(pixels.argmax()), pixels.shape)
        assert pixels.max() - 1024 == BRIGHT_HU, name
        if pixel is not None:
            assert abs(pixel[0] - (column + 0.5)) <= 0.5, name
            assert abs(pixel[1] - (row + 0.5)) <= 0.5, name
        if name == "report":
            assert pixel is not None
            position, cosines, spacing_mm = place(dataset, frame)
            across, down = (pixel[0] - 0.5) * spacing_mm[1], (pixel[1] - 0.5) * spacing_mm[0]
            marked = position + across * cosines[:3] + down * cosines[3:]
            point = read_statements(objects["report"])["C4"].point_lps_mm
            normal = np.cross(cosines[:3], cosines[3:])
            offset = np.array(point) - marked
            np.testing.assert_allclose(offset - (offset @ normal) * normal, 0.0, atol=0.01)
            assert abs(offset @ normal) <= gap_mm / 2


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_mark_lies_on_the_right_pixel_of_the_right_slice(geometry: str, tmp_path: Path) -> None:
    write_series(tmp_path / "ct", planted(), **GEOMETRIES[geometry])

    objects = written_objects(tmp_path / "ct", evidence_lps_mm(GEOMETRIES[geometry]), tmp_path / "objects")

    hold_that_marks_are_right(tmp_path / "ct", objects, place_of_slice)


@pytest.mark.real_data
@pytest.mark.parametrize("number", [110, 150, 240])
def test_the_mark_lies_on_the_right_pixel_of_a_real_neck(number: int, real_data: Path, tmp_path: Path) -> None:
    row, column = 231, 255
    ct = tmp_path / "ct"
    ct.mkdir()
    files = {
        float(pydicom.dcmread(path, stop_before_pixels=True).ImagePositionPatient[2]): path
        for path in (real_data / "weasis-neck").rglob("*.dcm")
    }
    marked_path = files[sorted(files)[number]]
    for path in files.values():
        if path != marked_path:
            shutil.copyfile(path, ct / path.name)
    dataset = pydicom.dcmread(marked_path)
    pixels = dataset.pixel_array.copy()
    pixels[row, column] = BRIGHT_HU - int(dataset.RescaleIntercept)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset["PixelData"] = DataElement("PixelData", "OW", pixels.astype("<u2").tobytes())
    dataset.save_as(ct / marked_path.name)
    position, cosines, spacing_mm = place_of_slice(dataset, 1)
    down, across = (row + 0.3) * spacing_mm[0], (column - 0.35) * spacing_mm[1]

    objects = written_objects(
        ct, position + across * cosines[:3] + down * cosines[3:] + [0, 0, 0.4], tmp_path / "objects"
    )

    hold_that_marks_are_right(ct, objects, place_of_slice, gap_mm=1.0)


def place_of_slice(dataset: Dataset, _frame: int) -> tuple[Any, Any, Any]:
    cosines = np.array(dataset.ImageOrientationPatient, float)
    return np.array(dataset.ImagePositionPatient, float), cosines, dataset.PixelSpacing


def test_the_mark_lies_in_the_right_frame_of_a_multi_frame_file(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "ct" / "all.dcm", planted(), order=[*range(20, 40), *range(19, -1, -1)])

    objects = written_objects(tmp_path / "ct", evidence_lps_mm({}), tmp_path / "objects")

    def place(dataset: Dataset, frame: int) -> tuple[Any, Any, Any]:
        shared, groups = dataset.SharedFunctionalGroupsSequence[0], dataset.PerFrameFunctionalGroupsSequence[frame - 1]
        cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        return position, cosines, shared.PixelMeasuresSequence[0].PixelSpacing

    hold_that_marks_are_right(tmp_path / "ct", objects, place)
