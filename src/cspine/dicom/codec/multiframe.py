"""Enhanced multi-frame CT: one header for each frame, from its functional groups (PS3.3, section C.7.6.16)."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from cspine.core.errors import DicomError
from cspine.dicom.codec.dataset import parse, parse_deflated
from cspine.dicom.codec.header import SliceHeader, make_pixel_format
from cspine.dicom.codec.pixel_format import PixelFormat

_GROUPS: Final = {
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "CTReconstructionSequence": ("ConvolutionKernel",),
    "CTImageFrameTypeSequence": ("FrameType",),
    "FrameContentSequence": ("FrameAcquisitionNumber",),
}
"""Functional group macros with the geometry and the rescaling of a CT frame, and the attributes read of each."""

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
    data = header.file.read(header.pixel_data_offset)
    if data.count(_ITEM) > _MAX_ITEMS + _MAX_ITEMS_PER_FRAME * header.frames:
        raise DicomError(f"{header.file.name}: describes more than its {header.frames} frames; have it exported again")
    if header.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        dataset: Dataset = parse_deflated(header.file)
    else:
        dataset = parse(header.file, data)
    try:
        return _all_frames(header, dataset)
    except DicomError:
        raise
    except Exception as error:  # pydicom raises errors of any type on invalid values
        raise DicomError(f"{header.file.name}: its functional groups are not valid; have it exported again") from error


def _all_frames(header: SliceHeader, dataset: Dataset) -> tuple[SliceHeader, ...]:
    per_frame = _items(dataset, "PerFrameFunctionalGroupsSequence")
    if not per_frame:
        return (header,)
    if len(per_frame) != header.frames:
        raise DicomError(
            f"{header.file.name}: describes {len(per_frame)} frames but declares {header.frames}; export it again"
        )
    shared = _items(dataset, "SharedFunctionalGroupsSequence")
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
    thickness, acquisition = values.get("SliceThickness"), values.get("FrameAcquisitionNumber")
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
        slice_thickness_mm=header.slice_thickness_mm if thickness is None else float(thickness),
        kernel=header.kernel if kernel is None else " ".join(_parts(kernel)),
        image_type=header.image_type if frame_type is None else tuple(_parts(frame_type)),
        rescale_type=values.get("RescaleType", header.rescale_type),
        pixel_format=_apply_rescale(header.pixel_format, values),
        missing=tuple(keyword for keyword in header.missing if keyword not in available),
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


def _parts(value: Any) -> list[str]:  # noqa: ANN401 - one text or several
    return [value] if isinstance(value, str) else [str(part) for part in value]
