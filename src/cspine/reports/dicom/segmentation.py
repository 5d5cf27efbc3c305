"""Vertebrae and evidence as segmentations of the slices that were read."""

from typing import Final

import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from cspine.core.anatomy import COLOURS, SEGMENT_NUMBERS, VERTEBRAE, Level
from cspine.reports.dicom.codes import ABNORMALITY, ANATOMY, CERVICAL_SPINE, FRACTURE, vertebra_code
from cspine.reports.dicom.masks import Mask
from cspine.reports.dicom.report_context import ReportContext
from cspine.reports.dicom.source_images import SourceImages

VERTEBRAE_NUMBER: Final = 9702
EVIDENCE_NUMBER: Final = 9703
_AUTOMATIC: Final = "AUTOMATIC"
_EVIDENCE_COLOUR: Final = "#FF3C00"


def segment_vertebrae(making: ReportContext, source: SourceImages, mask: Mask) -> Segmentation | None:
    """Return a binary segmentation with a segment for each vertebra that was found, coded and coloured.

    Parameters
    ----------
    making : Making
        What has found them.
    source : SourceImages
        What they were found in.
    mask : (slices, rows, columns) uint8
        Of `cspine.reports.dicom.masks.vertebra_mask`.

    Returns
    -------
    Segmentation or None
        None where no vertebra is in the mask.
    """
    there = [level for level in VERTEBRAE if (mask == SEGMENT_NUMBERS[level]).any()]
    if not there:
        return None
    numbers = np.zeros(256, np.uint8)
    for number, level in enumerate(there, start=1):
        numbers[SEGMENT_NUMBERS[level]] = number
    shown, part = _where_any(source, mask)
    return Segmentation(
        source_images=shown,
        pixel_array=numbers[part],
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_vertebra(number, level, making) for number, level in enumerate(there, start=1)],
        content_label="VERTEBRAE",
        content_description="Vertebrae as the localizer finds them, in voxels of 3 mm",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **making.series(VERTEBRAE_NUMBER, "cspine vertebrae"),
    )


def segment_evidence(making: ReportContext, source: SourceImages, mask: Mask) -> Segmentation | None:
    """Return a fractional segmentation of how broken each voxel is found.

    Parameters
    ----------
    making, source
        As of `segment_vertebrae`.
    mask : (slices, rows, columns) uint8
        Of `cspine.reports.dicom.masks.evidence_mask`.

    Returns
    -------
    Segmentation or None
        None where nothing speaks for a fracture.
    """
    if not mask.any():
        return None
    described = SegmentDescription(
        segment_number=1,
        segment_label="Evidence for a fracture",
        segmented_property_category=ABNORMALITY,
        segmented_property_type=FRACTURE,
        algorithm_type=_AUTOMATIC,
        algorithm_identification=making.algorithm_of_segments,
        anatomic_regions=[CERVICAL_SPINE],
        display_color=CIELabColor.from_string(_EVIDENCE_COLOUR),
    )
    shown, part = _where_any(source, mask)
    return Segmentation(
        source_images=shown,
        pixel_array=part[..., None].astype(np.float32) / 255.0,
        segmentation_type=SegmentationTypeValues.FRACTIONAL,
        segment_descriptions=[described],
        fractional_type="PROBABILITY",
        max_fractional_value=255,
        content_label="EVIDENCE",
        content_description="How broken the network finds each place, uncalibrated",
        transfer_syntax_uid=RLELossless,
        **making.series(EVIDENCE_NUMBER, "cspine fracture evidence"),
    )


def _where_any(source: SourceImages, mask: Mask) -> tuple[list[Dataset], Mask]:
    """Return the slices that a mask marks anything in, and the mask of these; of one multi-frame file, all of it."""
    if len(source.datasets) == 1:
        return list(source.datasets), mask
    marked = np.flatnonzero(mask.any(axis=(1, 2)))
    return [source.datasets[number] for number in marked.tolist()], mask[marked]


def _vertebra(number: int, level: Level, making: ReportContext) -> SegmentDescription:
    return SegmentDescription(
        segment_number=number,
        segment_label=level,
        segmented_property_category=ANATOMY,
        segmented_property_type=vertebra_code(level),
        algorithm_type=_AUTOMATIC,
        algorithm_identification=making.algorithm_of_segments,
        display_color=CIELabColor.from_string(COLOURS[level]),
    )
