"""Enhanced multi-frame CT: one header for each frame, from its functional groups (PS3.3, section C.7.6.16)."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from cspine.core.errors import DicomError
from cspine.dicom.codec.dataset import parse, parse_deflated
from cspine.dicom.codec.header import PixelFormat, SliceHeader, make_pixel_format

_GROUPS: Final = {
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "CTReconstructionSequence": ("ConvolutionKernel",),
    "CTImageFrameTypeSequence": ("FrameType",),
    "FrameContentSequence": ("FrameAcquisitionNumber",),
}
"""The functional group macros that place a CT frame and say what its values mean."""

_ITEM: Final = b"\xfe\xff\x00\xe0"
_MOST_ITEMS: Final = 10_000
_MOST_ITEMS_PER_FRAME: Final = 200
"""Items of sequences in a header, each of which costs time and memory to parse; enhanced CT has about 20 per frame."""


def frame_headers(header: SliceHeader) -> tuple[SliceHeader, ...]:
    """Return one header for each frame of a multi-frame file.

    Parameters
    ----------
    header : SliceHeader
        What holds for the whole file.

    Returns
    -------
    tuple of SliceHeader
        In the order of the frames. A file without functional groups (a multi-frame secondary capture) gives its one
        header back, whose frames nothing places in space.

    Raises
    ------
    DicomError
        The functional groups are not those of as many frames, or hold values that are not what their tag promises.
    """
    data = header.file.read(header.pixels_at)
    if data.count(_ITEM) > _MOST_ITEMS + _MOST_ITEMS_PER_FRAME * header.frames:
        raise DicomError(f"{header.file.name}: describes more than its {header.frames} frames; have it exported again")
    if header.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        dataset: Dataset = parse_deflated(header.file)
    else:
        dataset = parse(header.file, data)
    try:
        return _all_frames(header, dataset)
    except DicomError:
        raise
    except Exception as error:  # pydicom raises whatever the values it converts bring up
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
    common = _facts(shared[0]) if shared else {}
    return tuple(_frame(header, number, {**common, **_facts(group)}) for number, group in enumerate(per_frame))


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    value = dataset.get(keyword)
    return list(value) if value is not None else []


def _facts(group: Dataset) -> dict[str, Any]:
    """Flatten one functional group item to the values we use."""
    facts: dict[str, Any] = {}
    for macro, keywords in _GROUPS.items():
        for item in _items(group, macro)[:1]:
            facts |= {keyword: item.get(keyword) for keyword in keywords if item.get(keyword) not in (None, "")}
    return facts


def _frame(header: SliceHeader, number: int, facts: Mapping[str, Any]) -> SliceHeader:
    spacing, position = _numbers(facts, "PixelSpacing", 2), _numbers(facts, "ImagePositionPatient", 3)
    orientation = _numbers(facts, "ImageOrientationPatient", 6)
    thickness, acquisition = facts.get("SliceThickness"), facts.get("FrameAcquisitionNumber")
    kernel, frame_type = facts.get("ConvolutionKernel"), facts.get("FrameType")
    own = {
        "pixel_spacing_mm": spacing or header.pixel_spacing_mm,
        "position_mm": position or header.position_mm,
        "orientation": orientation or header.orientation,
    }
    placed = {
        tag for tag, name in zip(("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"), own, strict=True)
        if own[name] is not None
    }  # fmt: skip
    found = placed | {keyword for keyword in facts if keyword in header.missing}
    return replace(
        header,
        **own,  # type: ignore[arg-type]  # three tuples of known lengths
        frame=number,
        instance_number=number + 1,
        acquisition_number=header.acquisition_number if acquisition is None else int(acquisition),
        slice_thickness_mm=header.slice_thickness_mm if thickness is None else float(thickness),
        kernel=header.kernel if kernel is None else " ".join(_parts(kernel)),
        image_type=header.image_type if frame_type is None else tuple(_parts(frame_type)),
        rescale_type=facts.get("RescaleType", header.rescale_type),
        pixel_format=_rescaled(header.pixel_format, facts),
        missing=tuple(keyword for keyword in header.missing if keyword not in found),
    )


def _rescaled(pixels: PixelFormat, facts: Mapping[str, Any]) -> PixelFormat:
    return make_pixel_format(
        pixels.bits_allocated,
        pixels.bits_stored,
        pixels.high_bit,
        signed=pixels.signed,
        rescale=(
            float(facts.get("RescaleSlope", pixels.slope)),
            float(facts.get("RescaleIntercept", pixels.intercept)),
        ),
        padding=pixels.padding,
    )


def _numbers(facts: Mapping[str, Any], keyword: str, count: int) -> tuple[float, ...] | None:
    value = facts.get(keyword)
    if value is None:
        return None
    numbers = tuple(float(part) for part in value)
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise ValueError(keyword)
    return numbers


def _parts(value: Any) -> list[str]:  # noqa: ANN401 - one text or several
    return [value] if isinstance(value, str) else [str(part) for part in value]
