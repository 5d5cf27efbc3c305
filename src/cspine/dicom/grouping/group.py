"""Group the headers of images into studies and series."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from cspine.core.typing import Floats
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.geometry import POSITION_TOLERANCE_MM
from cspine.dicom.series import Series, SkippedFile, Study

HEADER_TOLERANCE: Final = 2e-3
"""Direction cosines and pixel spacings (mm) that differ less are equal: 0.1 degrees, 1 mm over 512 pixels."""

MAX_PARTS: Final = 200
"""Most groups of images of equal size and geometry in one series; real series have a few."""

MAX_ACQUISITIONS: Final = 50
"""A series with more acquisition numbers counts something else by them, such as table positions."""


def group_headers(headers: Iterable[SliceHeader]) -> tuple[tuple[Study, ...], list[SkippedFile]]:
    """Group headers by study, by series, and by size, orientation and spacing; return excess files, too."""
    studies: dict[str, dict[str, list[list[SliceHeader]]]] = defaultdict(lambda: defaultdict(list))
    excess: list[SkippedFile] = []
    for header in headers:
        parts = studies[header.study_instance_uid][header.series_instance_uid]
        part = next((part for part in parts if _is_same_volume(part[0], header)), None)
        if part is not None:
            part.append(header)
        elif len(parts) < MAX_PARTS:
            parts.append([header])
        else:
            excess.append(SkippedFile(header.file.name, f"its series holds images of more than {MAX_PARTS} geometries"))
    grouped = tuple(
        Study(study_uid, tuple(part for uid, parts in series.items() for part in _parts(study_uid, uid, parts)))
        for study_uid, series in studies.items()
    )
    return grouped, excess


def _parts(study_uid: str, series_uid: str, parts: Sequence[Sequence[SliceHeader]]) -> Iterator[Series]:
    number = 0
    for part in parts:
        for headers in _by_acquisition(part):
            yield Series(study_uid, series_uid, tuple(headers), number)
            number += 1


def _by_acquisition(headers: Sequence[SliceHeader]) -> Sequence[Sequence[SliceHeader]]:
    """Separate repeated scans of one region, such as a second phase or a repeat after motion, by AcquisitionNumber.

    Acquisitions that continue each other stay together: each joins the first stack that does not overlap most of it.
    """
    numbers = {header.acquisition_number for header in headers}
    first = headers[0].orientation
    if not 1 < len(numbers) <= MAX_ACQUISITIONS or None in numbers or first is None:
        return [headers]
    normal = np.cross(first[:3], first[3:])
    stacks: list[tuple[list[SliceHeader], list[tuple[float, float]]]] = []  # headers, and ranges of their positions
    for number in sorted(numbers, key=lambda number: number or 0):
        acquisition = [header for header in headers if header.acquisition_number == number]
        if any(header.position_mm is None for header in acquisition):
            return [headers]
        along = np.array([header.position_mm for header in acquisition]) @ normal
        stack = next((each for each in stacks if not any(_overlaps_mostly(extent, along) for extent in each[1])), None)
        if stack is None:
            stack = ([], [])
            stacks.append(stack)
        stack[0].extend(acquisition)
        stack[1].append((float(along.min()), float(along.max())))
    return [members for members, _ in stacks]


def _overlaps_mostly(extent: tuple[float, float], along: Floats) -> bool:
    """Return whether most slices of an acquisition lie within the extent of another one."""
    low, high = extent[0] - POSITION_TOLERANCE_MM, extent[1] + POSITION_TOLERANCE_MM
    return bool(np.mean((along > low) & (along < high)) > 0.5)


def _is_same_volume(one: SliceHeader, other: SliceHeader) -> bool:
    """Return whether two images may belong to one volume; numbers have a tolerance, since writers round them."""
    return (
        (one.rows, one.columns, one.frames > 1) == (other.rows, other.columns, other.frames > 1)
        and ("LOCALIZER" in one.image_type) == ("LOCALIZER" in other.image_type)
        and _is_compatible(one.frame_of_reference_uid, other.frame_of_reference_uid)
        and _is_compatible(one.kernel, other.kernel)
        and _is_compatible(one.rescale_type, other.rescale_type)
        and _is_close(one.pixel_spacing_mm, other.pixel_spacing_mm)
        and _is_close(one.orientation, other.orientation)
    )


def _is_compatible(one: str | None, other: str | None) -> bool:
    """Return whether two values are equal or one of them is unknown."""
    return one is None or other is None or one == other


def _is_close(one: tuple[float, ...] | None, other: tuple[float, ...] | None) -> bool:
    if one is None or other is None:
        return one is other
    return all(abs(a - b) < HEADER_TOLERANCE for a, b in zip(one, other, strict=True))
