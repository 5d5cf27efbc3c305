"""Vertebrae and fracture evidence as DICOM segmentations of the slices from which the findings were made."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

from cspine.core.anatomy import COLORS, SEGMENT_NUMBERS, VERTEBRAE, Level
from cspine.reports.dicom import derived_series
from cspine.reports.dicom.codes import ABNORMALITY, ANATOMY, FRACTURE, vertebra_code
from cspine.reports.dicom.derived_series import SegmentationType
from cspine.reports.dicom.masks import SHOWN_FRACTION, Mask
from cspine.reports.dicom.report_context import ReportContext
from cspine.reports.dicom.source_images import SourceImages

_AUTOMATIC: Final = "AUTOMATIC"
_EVIDENCE_COLOR: Final = "#FF3C00"


def segment_vertebrae(
    context: ReportContext, source: SourceImages, mask: Mask, encoding: SegmentationType = "labelmap"
) -> Segmentation | None:
    """Return a segmentation with one coded and colored segment per vertebra.

    Parameters
    ----------
    context : ReportContext
        The findings, and the attributes that all objects share.
    source : SourceImages
        The slices of the mask.
    mask : (slices, rows, columns) uint8
        Labels per slice, a result of `cspine.reports.dicom.masks.vertebra_mask`.
    encoding : str
        ``"labelmap"``: one value per voxel, the number of its segment is that of the vertebra (C3 is 3), JPEG-LS.
        ``"binary"``: one bit per voxel and segment, which older viewers need; segments are numbered from 1.

    Returns
    -------
    Segmentation or None
        None if the mask contains no vertebra.
    """
    levels = [level for level in VERTEBRAE if (mask == SEGMENT_NUMBERS[level]).any()]
    if not levels:
        return None
    is_binary = encoding == "binary"
    numbers = [number if is_binary else SEGMENT_NUMBERS[level] for number, level in enumerate(levels, start=1)]
    return _segmentation(
        source,
        _renumber(mask, levels, numbers),
        [_describe_vertebra(number, level, context) for number, level in zip(numbers, levels, strict=True)],
        segmentation_type=SegmentationTypeValues.BINARY if is_binary else SegmentationTypeValues.LABELMAP,
        transfer_syntax_uid=ExplicitVRLittleEndian if is_binary else JPEGLSLossless,
        content_label="VERTEBRAE",
        content_description="Vertebrae, localized in voxels of 3 mm",
        **context.series_attributes(derived_series.VERTEBRAE, variant=encoding),
    )


def segment_evidence(context: ReportContext, source: SourceImages, mask: Mask) -> Segmentation | None:
    """Return a binary segmentation of where the evidence of each suspicious vertebra lies.

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
    levels = [level for level in VERTEBRAE if (mask == SEGMENT_NUMBERS[level]).any()]
    if not levels:
        return None
    return _segmentation(
        source,
        _renumber(mask, levels, range(1, len(levels) + 1)),
        [_describe_evidence(number, level, context) for number, level in enumerate(levels, start=1)],
        segmentation_type=SegmentationTypeValues.BINARY,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label="EVIDENCE",
        content_description=f"Saliency of at least {SHOWN_FRACTION:.1f} of the vertebra's maximum",
        **context.series_attributes(derived_series.EVIDENCE),
    )


def _segmentation(
    source: SourceImages,
    mask: Mask,
    descriptions: Sequence[SegmentDescription],
    **attributes: Any,  # noqa: ANN401
) -> Segmentation:
    """Return a segmentation of the slices in which the mask is not empty; of a multi-frame file as a whole."""
    slices, cropped = list(source.datasets), mask
    if not source.is_multi_frame:
        indices = np.flatnonzero(mask.any(axis=(1, 2)))
        slices, cropped = [source.datasets[index] for index in indices.tolist()], mask[indices]
    return Segmentation(source_images=slices, pixel_array=cropped, segment_descriptions=descriptions, **attributes)


def _renumber(mask: Mask, levels: Sequence[Level], numbers: Sequence[int]) -> Mask:
    """Return the mask with a number of a segment in place of the number of each level's vertebra."""
    number_of_value = np.zeros(256, np.uint8)
    number_of_value[[SEGMENT_NUMBERS[level] for level in levels]] = numbers
    return np.asarray(number_of_value[mask], np.uint8)


def _describe_vertebra(number: int, level: Level, context: ReportContext) -> SegmentDescription:
    return SegmentDescription(
        segment_number=number,
        segment_label=level,
        segmented_property_category=ANATOMY,
        segmented_property_type=vertebra_code(level),
        algorithm_type=_AUTOMATIC,
        algorithm_identification=context.segmentation_algorithm,
        tracking_uid=context.uid("vertebra", level),
        tracking_id=level,
        display_color=CIELabColor.from_string(COLORS[level]),
    )


def _describe_evidence(number: int, level: Level, context: ReportContext) -> SegmentDescription:
    return SegmentDescription(
        segment_number=number,
        segment_label=f"Evidence for a fracture of {level}",
        segmented_property_category=ABNORMALITY,
        segmented_property_type=FRACTURE,
        algorithm_type=_AUTOMATIC,
        algorithm_identification=context.segmentation_algorithm,
        tracking_uid=context.uid("finding", level),
        tracking_id=f"{level} fracture",
        anatomic_regions=[vertebra_code(level)],
        display_color=CIELabColor.from_string(_EVIDENCE_COLOR),
    )
