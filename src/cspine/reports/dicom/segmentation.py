"""Vertebrae and fracture evidence as DICOM segmentations of the slices from which the findings were made."""

from typing import Final

import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from cspine.core.anatomy import COLORS, SEGMENT_NUMBERS, VERTEBRAE, Level
from cspine.reports.dicom.codes import ABNORMALITY, ANATOMY, CERVICAL_SPINE, FRACTURE, vertebra_code
from cspine.reports.dicom.masks import Mask
from cspine.reports.dicom.report_context import ReportContext
from cspine.reports.dicom.source_images import SourceImages

VERTEBRAE_SERIES_NUMBER: Final = 9702
EVIDENCE_SERIES_NUMBER: Final = 9703
_AUTOMATIC: Final = "AUTOMATIC"
_EVIDENCE_COLOR: Final = "#FF3C00"


def segment_vertebrae(context: ReportContext, source: SourceImages, mask: Mask) -> Segmentation | None:
    """Return a binary segmentation with one coded and colored segment per vertebra.

    Parameters
    ----------
    context : ReportContext
        The findings, and the attributes that all objects share.
    source : SourceImages
        The slices of the mask.
    mask : (slices, rows, columns) uint8
        Labels per slice, a result of `cspine.reports.dicom.masks.vertebra_mask`.

    Returns
    -------
    Segmentation or None
        None if the mask contains no vertebra.
    """
    levels = [level for level in VERTEBRAE if (mask == SEGMENT_NUMBERS[level]).any()]
    if not levels:
        return None
    segment_of_value = np.zeros(256, np.uint8)
    for number, level in enumerate(levels, start=1):
        segment_of_value[SEGMENT_NUMBERS[level]] = number
    slices, cropped = _segmented_slices(source, mask)
    return Segmentation(
        source_images=slices,
        pixel_array=segment_of_value[cropped],
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_describe_vertebra(number, level, context) for number, level in enumerate(levels, 1)],
        content_label="VERTEBRAE",
        content_description="Vertebrae, localized in voxels of 3 mm",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **context.series_attributes(VERTEBRAE_SERIES_NUMBER, "cspine vertebrae"),
    )


def segment_evidence(context: ReportContext, source: SourceImages, mask: Mask) -> Segmentation | None:
    """Return a fractional segmentation of the saliency, the uncalibrated fracture score of each voxel.

    Parameters
    ----------
    context, source
        The same as for `segment_vertebrae`.
    mask : (slices, rows, columns) uint8
        Labels per slice, a result of `cspine.reports.dicom.masks.evidence_mask`.

    Returns
    -------
    Segmentation or None
        None if the mask is empty.
    """
    if not mask.any():
        return None
    description = SegmentDescription(
        segment_number=1,
        segment_label="Evidence for a fracture",
        segmented_property_category=ABNORMALITY,
        segmented_property_type=FRACTURE,
        algorithm_type=_AUTOMATIC,
        algorithm_identification=context.segmentation_algorithm,
        anatomic_regions=[CERVICAL_SPINE],
        display_color=CIELabColor.from_string(_EVIDENCE_COLOR),
    )
    slices, cropped = _segmented_slices(source, mask)
    return Segmentation(
        source_images=slices,
        pixel_array=cropped[..., None].astype(np.float32) / 255.0,
        segmentation_type=SegmentationTypeValues.FRACTIONAL,
        segment_descriptions=[description],
        fractional_type="PROBABILITY",
        max_fractional_value=255,
        content_label="EVIDENCE",
        content_description="Saliency: uncalibrated fracture score per voxel",
        transfer_syntax_uid=RLELossless,
        **context.series_attributes(EVIDENCE_SERIES_NUMBER, "cspine fracture evidence"),
    )


def _segmented_slices(source: SourceImages, mask: Mask) -> tuple[list[Dataset], Mask]:
    """Return the slices in which the mask is not empty, with their part of the mask; a multi-frame file as a whole."""
    if len(source.datasets) == 1:
        return list(source.datasets), mask
    indices = np.flatnonzero(mask.any(axis=(1, 2)))
    return [source.datasets[index] for index in indices.tolist()], mask[indices]


def _describe_vertebra(number: int, level: Level, context: ReportContext) -> SegmentDescription:
    return SegmentDescription(
        segment_number=number,
        segment_label=level,
        segmented_property_category=ANATOMY,
        segmented_property_type=vertebra_code(level),
        algorithm_type=_AUTOMATIC,
        algorithm_identification=context.segmentation_algorithm,
        display_color=CIELabColor.from_string(COLORS[level]),
    )
