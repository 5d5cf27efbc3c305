"""The sagittal images with levels and findings drawn in, as secondary captures that any viewer opens."""

from typing import Final

import numpy as np
import numpy.typing as npt
from highdicom import UID, CoordinateSystemNames, PhotometricInterpretationValues
from highdicom.sc import SCImage
from PIL import Image, ImageDraw, ImageFont
from pydicom.uid import RLELossless

from cspine.core.findings import Findings, VertebraFinding, assessment_label
from cspine.reports.dicom.report_context import ReportContext
from cspine.reports.dicom.source_images import SourceImages
from cspine.reports.images.overlay import marks, place_of
from cspine.spine.spine_map import SpineMap
from cspine.views.sagittal import SagittalSet

SERIES_NUMBER: Final = 9704
BURNED_IN: Final = "NOT FOR DIAGNOSIS - RESEARCH USE ONLY"

_SCALE: Final = 3
"""Pixels of the picture for one of the image."""

_BAND: Final = 34
"""Height of the lines of text above and below."""

_RING: Final = 14
_NEAR_MM: Final = 4.0
"""A place is marked on the images that pass this near it: they are 6 mm apart."""

_YELLOW: Final = "#FFD98A"
_RED: Final = "#FF3C00"
Picture = npt.NDArray[np.uint8]


def captures(
    making: ReportContext, source: SourceImages, sagittal: SagittalSet, spine: SpineMap | None
) -> list[SCImage]:
    """Return a secondary capture for each sagittal image, in one series.

    Parameters
    ----------
    making : Making
        What is drawn in.
    source : SourceImages
        What the images were made of.
    sagittal : SagittalSet
        The images.
    spine : SpineMap or None
        The vertebrae that are drawn in.
    """
    series = making.series(SERIES_NUMBER, "cspine sagittal images")
    first = source.first
    written = []
    for number in range(len(sagittal.images)):
        picture = draw_capture(making.findings, sagittal, spine, number)
        image = SCImage(
            pixel_array=picture,
            photometric_interpretation=PhotometricInterpretationValues.RGB,
            bits_allocated=8,
            coordinate_system=CoordinateSystemNames.PATIENT,
            study_instance_uid=first.StudyInstanceUID,
            patient_id=first.PatientID,
            patient_name=first.PatientName,
            patient_birth_date=first.PatientBirthDate,
            patient_sex=first.PatientSex,
            accession_number=first.AccessionNumber,
            study_id=first.StudyID,
            study_date=first.StudyDate,
            study_time=first.StudyTime,
            referring_physician_name=first.ReferringPhysicianName,
            patient_orientation=("P", "F"),
            transfer_syntax_uid=RLELossless,
            **{**series, "sop_instance_uid": UID(), "instance_number": number + 1},
        )
        image.BurnedInAnnotation = "NO"  # nothing of it identifies the patient
        image.ImageType = ["DERIVED", "SECONDARY", "REFORMATTED"]
        image.DerivationDescription = f"Sagittal image {number + 1} of {len(sagittal.images)}, reformatted by cspine"
        image.ImageComments = BURNED_IN
        image.BodyPartExamined = "CSPINE"
        written.append(image)
    return written


def draw_capture(findings: Findings, sagittal: SagittalSet, spine: SpineMap | None, number: int) -> Picture:
    """Return an image with its vertebrae, their probabilities and the strongest places, (rows, columns, 3) uint8."""
    grey = Image.fromarray(sagittal.images[number])
    side = grey.width * _SCALE
    picture = Image.new("RGB", (side, side + 2 * _BAND), "black")
    picture.paste(grey.resize((side, side), Image.Resampling.BICUBIC).convert("RGB"), (0, _BAND))
    pen = ImageDraw.Draw(picture)
    pen.text((side / 2, _BAND / 2), BURNED_IN, _YELLOW, _font(20), anchor="mm")
    where = place_of(float(sagittal.offsets_mm[number]))
    for at, text, anchor in (((8, _BAND + 14), "A", "lm"), ((side - 8, _BAND + 14), "P", "rm"),
                             ((side / 2, _BAND + 14), f"{number + 1}: {where}", "mm")):  # fmt: skip
        pen.text(at, text, _YELLOW, _font(18), anchor=anchor, stroke_width=3, stroke_fill="black")
    for mark in marks(sagittal, spine, number) if spine else []:
        corners = [(float(x) * _SCALE, float(y) * _SCALE + _BAND) for x, y in mark["places"]]
        pen.polygon(corners, outline=mark["colour"], width=2)
        _name(pen, (mark["x"] * _SCALE, mark["y"] * _SCALE + _BAND), mark["name"], mark["colour"])
    for vertebra in findings.vertebrae:
        _place(pen, sagittal, vertebra, number)
    overall = findings.patient_overall
    told = (
        f"any fracture {100 * overall.probability:.1f} % {assessment_label(overall.operating_points_reached)}"
        if overall
        else ""
    )
    shown = [f"{v.level} {100 * v.probability:.0f} %" for v in findings.vertebrae if v.probability is not None]
    pen.text((8, side + 1.5 * _BAND), f"{told}   {'  '.join(shown)}", "white", _font(15), anchor="lm")
    return np.asarray(picture)


def _name(pen: ImageDraw.ImageDraw, at: tuple[float, float], name: str, colour: str) -> None:
    pen.text(at, name, colour, _font(20), anchor="mm", stroke_width=3, stroke_fill="black")


def _place(pen: ImageDraw.ImageDraw, sagittal: SagittalSet, vertebra: VertebraFinding, number: int) -> None:
    """Ring the strongest place of a suspicious vertebra where this image passes it."""
    best = vertebra.strongest
    if best is None or not vertebra.is_suspicious:
        return
    aside, row, column = sagittal.pixels_of([best.point_lps_mm])[0].tolist()
    if abs(aside - float(sagittal.offsets_mm[number])) > _NEAR_MM:
        return
    x, y = (column + 0.5) * _SCALE, (row + 0.5) * _SCALE + _BAND
    pen.ellipse((x - _RING, y - _RING, x + _RING, y + _RING), outline=_RED, width=3)
    told = f"{vertebra.level} {100 * (vertebra.probability or 0.0):.0f} %"
    pen.text((x + _RING + 4, y), told, _RED, _font(16), anchor="lm", stroke_width=3, stroke_fill="black")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
