"""The sagittal images with levels and findings drawn in, as secondary captures for any viewer."""

from typing import Any, Final

import numpy as np
from highdicom import UID, CoordinateSystemNames, PhotometricInterpretationValues
from highdicom.sc import SCImage
from PIL import Image, ImageDraw
from pydicom import Dataset
from pydicom.uid import RLELossless

from cspine.core.findings import Findings, VertebraFinding, assessment_label
from cspine.core.typing import Grays
from cspine.reports.dicom.report_context import ReportContext
from cspine.reports.dicom.source_images import SourceImages
from cspine.reports.images.drawing import label_font
from cspine.reports.images.overlay import describe_offset, vertebra_outlines
from cspine.spine.spine_map import SpineMap
from cspine.views.sagittal import SagittalSet

SERIES_NUMBER: Final = 9704
BURNED_IN_DISCLAIMER: Final = "NOT FOR DIAGNOSIS - RESEARCH USE ONLY"

_MAGNIFICATION: Final = 3
"""Pixels of the capture per pixel of the image."""

_BAND_HEIGHT: Final = 34
"""Height of the lines of text above and below the image, in pixels of the capture."""

_CIRCLE_RADIUS: Final = 14
_MAX_OFFSET_MM: Final = 4.0
"""Evidence is marked on the images within this distance of it; images are 6 mm apart."""

_YELLOW: Final = "#FFD98A"
_RED: Final = "#FF3C00"


def secondary_captures(
    context: ReportContext, source: SourceImages, sagittal: SagittalSet, spine: SpineMap | None
) -> list[SCImage]:
    """Return one secondary capture per sagittal image, all in one series.

    Parameters
    ----------
    context : ReportContext
        The findings to be drawn, and the attributes that all objects share.
    source : SourceImages
        The slices from which the sagittal images were reformatted.
    sagittal : SagittalSet
        Sagittal images, from the right of the patient to the left.
    spine : SpineMap or None
        The vertebrae to be outlined.
    """
    shared = {
        **context.series_attributes(SERIES_NUMBER, "cspine sagittal images"),
        **_study_attributes(source.first),
        "photometric_interpretation": PhotometricInterpretationValues.RGB,
        "bits_allocated": 8,
        "coordinate_system": CoordinateSystemNames.PATIENT,
        "patient_orientation": ("P", "F"),
        "transfer_syntax_uid": RLELossless,
    }
    captures = []
    for index in range(len(sagittal.images)):
        instance = {"sop_instance_uid": UID(), "instance_number": index + 1}
        image = SCImage(pixel_array=draw_capture(context.findings, sagittal, spine, index), **{**shared, **instance})
        image.BurnedInAnnotation = "NO"  # none that identifies the patient
        image.ImageType = ["DERIVED", "SECONDARY", "REFORMATTED"]
        image.DerivationDescription = f"Sagittal image {index + 1} of {len(sagittal.images)}, reformatted by cspine"
        image.ImageComments = BURNED_IN_DISCLAIMER
        image.BodyPartExamined = "CSPINE"
        captures.append(image)
    return captures


def _study_attributes(dataset: Dataset) -> dict[str, Any]:
    """Return highdicom's keyword arguments for the patient and the study of a source image."""
    return {
        "study_instance_uid": dataset.StudyInstanceUID,
        "patient_id": dataset.PatientID,
        "patient_name": dataset.PatientName,
        "patient_birth_date": dataset.PatientBirthDate,
        "patient_sex": dataset.PatientSex,
        "accession_number": dataset.AccessionNumber,
        "study_id": dataset.StudyID,
        "study_date": dataset.StudyDate,
        "study_time": dataset.StudyTime,
        "referring_physician_name": dataset.ReferringPhysicianName,
    }


def draw_capture(findings: Findings, sagittal: SagittalSet, spine: SpineMap | None, index: int) -> Grays:
    """Return a sagittal image with outlined vertebrae, probabilities and the strongest evidence.

    Parameters
    ----------
    findings : Findings
        Findings of an assessable study.
    sagittal : SagittalSet
        Sagittal images, from the right of the patient to the left.
    spine : SpineMap or None
        The vertebrae to be outlined.
    index : int
        Index of the sagittal image.

    Returns
    -------
    (rows, columns, 3) uint8
        RGB.
    """
    gray = Image.fromarray(sagittal.images[index])
    side = gray.width * _MAGNIFICATION
    picture = Image.new("RGB", (side, side + 2 * _BAND_HEIGHT), "black")
    picture.paste(gray.resize((side, side), Image.Resampling.BICUBIC).convert("RGB"), (0, _BAND_HEIGHT))
    pen = ImageDraw.Draw(picture)
    pen.text((side / 2, _BAND_HEIGHT / 2), BURNED_IN_DISCLAIMER, _YELLOW, label_font(20), anchor="mm")
    position = describe_offset(float(sagittal.offsets_mm[index]))
    top = _BAND_HEIGHT + 14
    for point, text, anchor in (((8, top), "A", "lm"), ((side - 8, top), "P", "rm"),
                                ((side / 2, top), f"{index + 1}: {position}", "mm")):  # fmt: skip
        _draw_label(pen, point, text, _YELLOW, 18, anchor)
    for outline in vertebra_outlines(sagittal, spine, index) if spine else []:
        pen.polygon([_to_capture(x, y) for x, y in outline.corners], outline=outline.color, width=2)
        _draw_label(pen, _to_capture(outline.x, outline.y), outline.label, outline.color, 20, "mm")
    for vertebra in findings.vertebrae:
        _circle_evidence(pen, sagittal, vertebra, index)
    pen.text((8, side + 1.5 * _BAND_HEIGHT), _summary(findings), "white", label_font(15), anchor="lm")
    return np.asarray(picture)


def _to_capture(x: float, y: float) -> tuple[float, float]:
    """Return the pixel of the capture at a pixel of the image."""
    return x * _MAGNIFICATION, y * _MAGNIFICATION + _BAND_HEIGHT


def _draw_label(
    pen: ImageDraw.ImageDraw, point: tuple[float, float], text: str, color: str, size: int, anchor: str
) -> None:
    pen.text(point, text, color, label_font(size), anchor=anchor, stroke_width=3, stroke_fill="black")


def _summary(findings: Findings) -> str:
    """Return the line with all probabilities."""
    overall = findings.patient_overall
    patient = (
        f"any fracture {100 * overall.probability:.1f} % {assessment_label(overall.operating_points_reached)}"
        if overall
        else ""
    )
    levels = [f"{v.level_label} {100 * v.probability:.0f} %" for v in findings.vertebrae if v.probability is not None]
    return f"{patient}   {'  '.join(levels)}"


def _circle_evidence(pen: ImageDraw.ImageDraw, sagittal: SagittalSet, vertebra: VertebraFinding, index: int) -> None:
    """Circle the strongest evidence of a suspicious vertebra if it lies near this image."""
    evidence = vertebra.strongest
    if evidence is None or not vertebra.is_suspicious:
        return
    lateral_mm, row, column = sagittal.pixels_of([evidence.point_lps_mm])[0].tolist()
    if abs(lateral_mm - float(sagittal.offsets_mm[index])) > _MAX_OFFSET_MM:
        return
    x, y = _to_capture(column + 0.5, row + 0.5)
    box = (x - _CIRCLE_RADIUS, y - _CIRCLE_RADIUS, x + _CIRCLE_RADIUS, y + _CIRCLE_RADIUS)
    pen.ellipse(box, outline=_RED, width=3)
    text = f"{vertebra.level_label} {100 * (vertebra.probability or 0.0):.0f} %"
    _draw_label(pen, (x + _CIRCLE_RADIUS + 4, y), text, _RED, 16, "lm")
