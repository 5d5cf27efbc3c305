"""The slices of a report as its Image Library (TID 1600): what they share is stated once, for the whole group."""

from collections.abc import Iterator
from typing import Any, Final

from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    ImageContentItem,
    NumContentItem,
    RelationshipTypeValues,
    UIDRefContentItem,
)
from pydicom.sr.codedict import codes

from cspine.dicom.geometry import Stack
from cspine.reports.dicom.source_images import SourceImages

_SOURCE: Final = CodedConcept("260753009", "SCT", "Source")
_PIXELS: Final = CodedConcept("{pixels}", "UCUM", "Pixels")
_COSINE: Final = CodedConcept("{-1:1}", "UCUM", "{-1:1}")
_CT: Final = CodedConcept("CT", "DCM", "Computed Tomography")
_CONTEXT: Final = RelationshipTypeValues.HAS_ACQ_CONTEXT
_CONTAINS: Final = RelationshipTypeValues.CONTAINS


def image_library(source: SourceImages, stack: Stack) -> ContainerContentItem:
    """Return the library of all slices that were read, as one group with common descriptors (TID 1602, 1604).

    Parameters
    ----------
    source : SourceImages
        The slices.
    stack : Stack
        Their geometry.
    """
    group = ContainerContentItem(name=codes.DCM.ImageLibraryGroup, relationship_type=_CONTAINS)
    items: list[ContentItem] = [*_descriptors(source, stack)]
    items += [
        ImageContentItem(
            name=_SOURCE,
            referenced_sop_class_uid=dataset.SOPClassUID,
            referenced_sop_instance_uid=dataset.SOPInstanceUID,
            relationship_type=_CONTAINS,
        )
        for dataset in source.datasets
    ]
    group.ContentSequence = ContentSequence(items)
    library = ContainerContentItem(name=codes.DCM.ImageLibrary, template_id="1600", relationship_type=_CONTAINS)
    library.ContentSequence = ContentSequence([group])
    return library


def _descriptors(source: SourceImages, stack: Stack) -> Iterator[ContentItem]:
    """Yield what all slices have in common; lengths in mm."""
    first = source.first
    header = next(header for header in source.headers if header is not None)
    yield CodeContentItem(name=codes.DCM.Modality, value=_CT, relationship_type=_CONTEXT)
    yield UIDRefContentItem(
        name=codes.DCM.FrameOfReferenceUID, value=first.FrameOfReferenceUID, relationship_type=_CONTEXT
    )
    yield _number(codes.DCM.PixelDataRows, header.rows or 0, _PIXELS)
    yield _number(codes.DCM.PixelDataColumns, header.columns or 0, _PIXELS)
    row_mm, column_mm = stack.pixel_spacing_mm
    yield _number(codes.DCM.HorizontalPixelSpacing, column_mm, codes.UCUM.Millimeter)
    yield _number(codes.DCM.VerticalPixelSpacing, row_mm, codes.UCUM.Millimeter)
    yield _number(codes.DCM.SpacingBetweenSlices, stack.spacing_mm, codes.UCUM.Millimeter)
    yield _number(codes.DCM.SliceThickness, header.slice_thickness_mm or stack.spacing_mm, codes.UCUM.Millimeter)
    for name, direction in (("Row", stack.row_direction), ("Column", stack.column_direction)):
        for axis, cosine in zip("XYZ", direction.tolist(), strict=True):
            yield _number(getattr(codes.DCM, f"ImageOrientationPatient{name}{axis}"), cosine, _COSINE)


def _number(name: Any, value: float, unit: Any) -> NumContentItem:  # noqa: ANN401 - pydicom's codes
    return NumContentItem(name=name, value=value, unit=unit, relationship_type=_CONTEXT)
