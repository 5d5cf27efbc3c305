"""Vertebrae and fracture evidence as DICOM segmentations of the slices from which the findings were made."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom import Dataset
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
        ``"labelmap"``: one value per voxel, the number of its segment, JPEG-LS. ``"binary"``: one bit per voxel and
        segment, which older viewers need.

    Returns
    -------
    Segmentation or None
        Segments are numbered from 1, from the head to the feet. None if the mask contains no vertebra.
    """
    slices, cropped = _segmented_slices(source, mask)
    levels = _levels(cropped)
    if not levels:
        return None
    is_binary = encoding == "binary"
    segmentation = Segmentation(
        slices,
        _renumber(cropped, levels),
        segment_descriptions=[_describe_vertebra(number, level, context) for number, level in enumerate(levels, 1)],
        segmentation_type=SegmentationTypeValues.BINARY if is_binary else SegmentationTypeValues.LABELMAP,
        transfer_syntax_uid=ExplicitVRLittleEndian if is_binary else JPEGLSLossless,
        content_label="VERTEBRAE",
        content_description="Vertebrae, localized in voxels of 3 mm, by attenuation",
        **context.series_attributes(derived_series.VERTEBRAE, variant=encoding),
    )
    if not is_binary:
        _describe_background_last(segmentation)
    context.set_dimension_uid(segmentation, derived_series.VERTEBRAE, variant=encoding)
    return segmentation


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
    slices, cropped = _segmented_slices(source, mask)
    levels = _levels(cropped)
    if not levels:
        return None
    segmentation = Segmentation(
        slices,
        _renumber(cropped, levels),
        segment_descriptions=[
            _describe_evidence(number, level, context) for number, level in enumerate(levels, start=1)
        ],
        segmentation_type=SegmentationTypeValues.BINARY,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label="EVIDENCE",
        content_description=f"Saliency of at least {SHOWN_FRACTION:.1f} of the vertebra's maximum",
        **context.series_attributes(derived_series.EVIDENCE),
    )
    context.set_dimension_uid(segmentation, derived_series.EVIDENCE)
    return segmentation


def _segmented_slices(source: SourceImages, mask: Mask) -> tuple[list[Dataset], Mask]:
    """Return the slices in which the mask is not empty, with their part of the mask; a multi-frame file as a whole."""
    if source.is_multi_frame:
        return list(source.datasets), mask
    indices = np.flatnonzero(mask.reshape(len(mask), -1).max(axis=1, initial=0))
    if not len(indices):
        return [], mask[:0]
    first, last = int(indices[0]), int(indices[-1])
    is_run = len(indices) == last - first + 1
    cropped = mask[first : last + 1] if is_run else mask[indices]  # a part of the mask is no copy of it
    return [source.datasets[index] for index in indices.tolist()], cropped


def _levels(mask: Mask) -> list[Level]:
    """Return the vertebrae that a mask holds."""
    labels = mask[_occupied(mask)]
    return [level for level in VERTEBRAE if (labels == SEGMENT_NUMBERS[level]).any()]


def _renumber(mask: Mask, levels: Sequence[Level]) -> Mask:
    """Return the mask with the number of its segment, counted from 1, in place of the number of each vertebra."""
    numbers = [SEGMENT_NUMBERS[level] for level in levels]
    if numbers == list(range(1, len(levels) + 1)):
        return mask
    number_of_value = np.zeros(256, np.uint8)
    number_of_value[numbers] = range(1, len(levels) + 1)
    renumbered, box = np.zeros(mask.shape, np.uint8), _occupied(mask)
    renumbered[box] = number_of_value[mask[box]]
    return renumbered


def _occupied(mask: Mask) -> tuple[slice, slice, slice]:
    """Return the rows and columns, of all slices, beyond which a mask is empty: a small part of it."""
    any_slice = mask.max(axis=0, initial=0)
    rows, columns = (np.flatnonzero(any_slice.max(axis=axis, initial=0)) for axis in (1, 0))
    if not len(rows):
        return slice(None), slice(0), slice(0)
    return slice(None), slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _describe_background_last(segmentation: Segmentation) -> None:
    """Move the item of the background, which highdicom puts first, behind the vertebrae.

    The standard wants it (PS3.3 C.8.20.2.3.3), in no order. Viewers (OHIF up to 3.13, Slicer before May 2026) take the
    n-th item for the segment of number n: they would show each vertebra in its neighbor's color, and jump to that.
    """
    background, *vertebrae = segmentation.SegmentSequence
    segmentation.SegmentSequence = [*vertebrae, background]


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
