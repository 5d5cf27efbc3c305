"""Enhanced multi-frame CT: one header for each frame, from its functional groups (PS3.3, section C.7.6.16)."""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from cspine.core.errors import ArchiveError, DicomError
from cspine.dicom.codec.dataset import parse, parse_deflated
from cspine.dicom.codec.header import SliceHeader, make_pixel_format
from cspine.dicom.codec.pixel_format import PixelFormat
from cspine.dicom.hounsfield import standard_rescale_type

_CONVERTED: Final = ("ConvolutionKernel", "KVP", "AcquisitionNumber", "TemporalPositionIdentifier")
"""Attributes that a legacy converted image keeps as they were in the images of one slice each."""

_GROUPS: Final = {
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "CTReconstructionSequence": ("ConvolutionKernel",),
    "CTImageFrameTypeSequence": ("FrameType",),
    "CTXRayDetailsSequence": ("KVP",),
    "FrameContentSequence": ("FrameAcquisitionNumber", "TemporalPositionIndex"),
    "CardiacSynchronizationSequence": ("NominalPercentageOfCardiacPhase",),
    "UnassignedSharedConvertedAttributesSequence": _CONVERTED,
    "UnassignedPerFrameConvertedAttributesSequence": _CONVERTED,
}
"""Functional group macros with the geometry and the rescaling of a CT frame, what tells acquisitions and
reconstructions apart, and the attributes read of each."""

_ITEM: Final = b"\xfe\xff\x00\xe0"
_MAX_ITEMS: Final = 10_000
_MAX_ITEMS_PER_FRAME: Final = 200
"""Most sequence items of a header, since each costs time and memory to parse; enhanced CT has about 20 per frame."""


def frame_headers(header: SliceHeader) -> tuple[SliceHeader, ...]:
    """Return one header for each frame of a multi-frame file.

    Parameters
    ----------
    header : SliceHeader
        The header of the file.

    Returns
    -------
    tuple of SliceHeader
        One per frame, in the file's order. A file without functional groups (a multi-frame secondary capture) keeps
        its one header, without positions of its frames.

    Raises
    ------
    DicomError
        The number of functional groups differs from that of frames, or a group holds an invalid value.
    """
    dataset = _parse_header(header)
    try:
        return _all_frames(header, dataset)
    except DicomError:
        raise
    except Exception as error:  # pydicom raises errors of any type on invalid values
        raise DicomError(f"{header.file.name}: its functional groups are not valid; have it exported again") from error


def frame_attributes(header: SliceHeader) -> tuple[dict[str, str], ...]:
    """Return all attributes of the functional groups of each frame, by which frames may be told apart.

    Parameters
    ----------
    header : SliceHeader
        The header of the file, or of any of its frames.

    Returns
    -------
    tuple of dict
        Of each frame: keyword, or tag of a private element, to its value as text. Empty if the file cannot be read.
    """
    try:
        per_frame = _items(_parse_header(header), "PerFrameFunctionalGroupsSequence")
        return tuple(_flatten_all(group) for group in per_frame)
    except ArchiveError:
        raise
    except Exception:  # noqa: BLE001 - pydicom raises errors of any type on invalid values
        return ()


def _flatten_all(group: Dataset) -> dict[str, str]:
    """Return every attribute of a functional group item and of the items in it; of each sequence, the first item."""
    values: dict[str, str] = {}
    for element in group:
        name = element.keyword or str(element.tag)
        if element.VR == "SQ":
            for item in list(element.value)[:1]:
                values |= _flatten_all(item)
        elif name == "DimensionIndexValues":  # one of them numbers the position, another may number the phase
            values |= {f"{name} {number}": str(value) for number, value in enumerate(_several(element.value))}
        elif not isinstance(element.value, bytes):
            values[name] = str(element.value)
    return values


def _several(value: Any) -> list[Any]:  # noqa: ANN401 - one value or several
    return [value] if isinstance(value, (int, str)) else list(value)


def _parse_header(header: SliceHeader) -> Dataset:
    """Parse the header of a multi-frame file, with its functional groups."""
    data = header.file.read(header.pixel_data_offset)
    if data.count(_ITEM) > _MAX_ITEMS + _MAX_ITEMS_PER_FRAME * header.frames:
        raise DicomError(f"{header.file.name}: describes more than its {header.frames} frames; have it exported again")
    if header.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        return parse_deflated(header.file)
    return parse(header.file, data)


def _all_frames(header: SliceHeader, dataset: Dataset) -> tuple[SliceHeader, ...]:
    per_frame = _items(dataset, "PerFrameFunctionalGroupsSequence")
    shared = _items(dataset, "SharedFunctionalGroupsSequence")
    if not per_frame and header.frames == 1:
        per_frame = [Dataset()]  # of a single frame, everything may be in the shared groups
    if not per_frame:  # a position of the file is not that of each frame
        return (replace(header, position_mm=None),)
    if len(per_frame) != header.frames:
        raise DicomError(
            f"{header.file.name}: describes {len(per_frame)} frames but declares {header.frames}; export it again"
        )
    common = _flatten(shared[0]) if shared else {}
    return tuple(_frame(header, number, {**common, **_flatten(group)}) for number, group in enumerate(per_frame))


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    value = dataset.get(keyword)
    return list(value) if value is not None else []


def _flatten(group: Dataset) -> dict[str, Any]:
    """Return the attributes of one functional group item by keyword, without empty ones."""
    values: dict[str, Any] = {}
    for macro, keywords in _GROUPS.items():
        for item in _items(group, macro)[:1]:
            values |= {keyword: item.get(keyword) for keyword in keywords if item.get(keyword) not in (None, "")}
    return values


def _frame(header: SliceHeader, number: int, values: Mapping[str, Any]) -> SliceHeader:
    """Return the header of one frame: the file's, with the values of the frame's functional groups."""
    spacing, position = _numbers(values, "PixelSpacing", 2), _numbers(values, "ImagePositionPatient", 3)
    orientation = _numbers(values, "ImageOrientationPatient", 6)
    thickness = _lenient_number(values, "SliceThickness")
    acquisition = _lenient_number(values, "FrameAcquisitionNumber", "AcquisitionNumber")
    temporal_position = _lenient_number(values, "TemporalPositionIndex", "TemporalPositionIdentifier")
    kvp = _lenient_number(values, "KVP")
    cardiac_phase = _lenient_number(values, "NominalPercentageOfCardiacPhase")
    kernel, frame_type = values.get("ConvolutionKernel"), values.get("FrameType")
    geometry = {
        "pixel_spacing_mm": spacing or header.pixel_spacing_mm,
        "position_mm": position or header.position_mm,
        "orientation": orientation or header.orientation,
    }
    tags = ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient")
    available = {tag for tag, name in zip(tags, geometry, strict=True) if geometry[name] is not None}
    available |= {keyword for keyword in values if keyword in header.missing}
    return replace(
        header,
        **geometry,  # type: ignore[arg-type]  # three tuples of known lengths
        frame=number,
        instance_number=number + 1,
        acquisition_number=header.acquisition_number if acquisition is None else int(acquisition),
        slice_thickness_mm=header.slice_thickness_mm if thickness is None else thickness,
        kernel=header.kernel if kernel is None else " ".join(_parts(kernel)),
        image_type=header.image_type if frame_type is None else tuple(text.upper() for text in _parts(frame_type)),
        rescale_type=standard_rescale_type(values.get("RescaleType", header.rescale_type)),
        pixel_format=_apply_rescale(header.pixel_format, values),
        missing=tuple(keyword for keyword in header.missing if keyword not in available),
        kvp=header.kvp if kvp is None else kvp,
        temporal_position=header.temporal_position if temporal_position is None else int(temporal_position),
        cardiac_phase=header.cardiac_phase if cardiac_phase is None else cardiac_phase,
    )


def _apply_rescale(pixels: PixelFormat, values: Mapping[str, Any]) -> PixelFormat:
    """Return a pixel format with the slope and intercept of a frame."""
    return make_pixel_format(
        pixels.bits_allocated,
        pixels.bits_stored,
        pixels.high_bit,
        signed=pixels.signed,
        rescale=(
            float(values.get("RescaleSlope", pixels.slope)),
            float(values.get("RescaleIntercept", pixels.intercept)),
        ),
        padding=pixels.padding,
    )


def _numbers(values: Mapping[str, Any], keyword: str, count: int) -> tuple[float, ...] | None:
    """Return `count` finite numbers; None if the value is absent."""
    value = values.get(keyword)
    if value is None:
        return None
    numbers = tuple(float(part) for part in value)
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise ValueError(keyword)
    return numbers


def _lenient_number(values: Mapping[str, Any], *keywords: str) -> float | None:
    """Return the first number of these that only distinguish frames; an invalid one is as good as none."""
    for keyword in keywords:
        with suppress(TypeError, ValueError):
            number = float(values[keyword]) if keyword in values else math.nan
            if math.isfinite(number):
                return number
    return None


def _parts(value: Any) -> list[str]:  # noqa: ANN401 - one text or several
    return [value] if isinstance(value, str) else [str(part) for part in value]
