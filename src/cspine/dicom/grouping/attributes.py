"""Attributes by which images of one series may be told apart. They are read only of images that do not form one stack.

Two acquisitions or reconstructions under one series UID differ in some element: usually in a public one, else in one of
the manufacturer's private ones, which echo the settings of the reconstruction.
"""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, TypeAlias

import numpy as np
from pydicom.datadict import keyword_for_tag, tag_for_keyword

from cspine.core.errors import ArchiveError, InputError
from cspine.dicom.codec.codecs import NIFTI
from cspine.dicom.codec.elements import RawElement
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.codec.multiframe import frame_attributes
from cspine.dicom.codec.read_elements import read_elements
from cspine.dicom.geometry import mean_orientation
from cspine.dicom.grouping.positions import positions_mm

_FIRST: Final = (
    "PatientName", "PatientBirthDate", "PatientSex", "PatientAge", "StudyDate", "StudyID", "AccessionNumber",
    "StudyTime", "SeriesNumber", "SeriesDescription", "SliceThickness", "ConvolutionKernel", "FilterType",
    "ReconstructionDiameter", "ReconstructionAlgorithm", "TemporalPositionIndex", "NominalPercentageOfCardiacPhase",
    "KVP", "AcquisitionNumber", "AcquisitionType", "ProtocolName", "ScanOptions", "TableSpeed", "SpiralPitchFactor",
    "ContrastBolusAgent", "ImageComments", "SeriesDate", "SeriesTime",
)  # fmt: skip
"""Keywords that are tried first, most telling first; then all other public elements, and then the private ones."""

_PER_IMAGE: Final = frozenset({"SOPInstanceUID", "InstanceNumber", "ImagePositionPatient", "SliceLocation"})
"""Keywords of attributes that number or place the images and tell no acquisitions apart."""

_TIMES: Final = (
    ("AcquisitionDateTime",), ("FrameAcquisitionDateTime",), ("AcquisitionDate", "AcquisitionTime"),
    ("ContentDate", "ContentTime"), ("AcquisitionTime",), ("ContentTime",), ("FrameReferenceDateTime",),
    ("TriggerTime",),
)  # fmt: skip
"""Attributes that order images in time; most scanners write another time into every slice."""

_MAX_VALUE_BYTES: Final = 256
"""Longer values are tables or free text of the scanner and are not compared."""

_TEXT: Final = frozenset(
    ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UI", "UC", "UT", "UN")
)
_BINARY: Final = frozenset({"OB", "OW", "OF", "OD", "OL", "OV", "SQ"})

Labels: TypeAlias = list[Hashable]
"""One value for each image; None where it has none."""


@dataclass(frozen=True)
class Attribute:
    """An attribute of each of several images.

    Attributes
    ----------
    name : str
        Its keyword, or another name for messages; never its value.
    labels : list
        Its value of each image, None where the image has none.
    is_order : bool
        Whether the values are numbers that order the images, such as times, and not labels.
    is_named : bool
        Whether the standard means it to tell acquisitions or reconstructions apart, so that it may set one image apart.
    """

    name: str
    labels: Labels
    is_order: bool = False
    is_named: bool = False


def read_attributes(headers: Sequence[SliceHeader]) -> Iterator[Attribute]:
    """Read the attributes by which images may be told apart, the most telling first.

    Parameters
    ----------
    headers : sequence of SliceHeader
        The images; each file is read once.

    Yields
    ------
    Attribute
        Those with two values at least.
    """
    values = _read_values(headers)
    names = sorted({name for each in values for name in each if name not in _PER_IMAGE}, key=_priority)
    times = {name for group in _TIMES for name in group}
    public = [name for name in names if not name.startswith(_PRIVATE) and name not in times]
    yield from _labels(values, public[: _n_first(public)])
    yield from _varying(Attribute("the place of the field of view", _field_of_view(headers)))
    yield from _varying(Attribute("folder", [str(PurePosixPath(header.file.name).parent) for header in headers]))
    yield from _varying(Attribute("file", [_file_label(header) for header in headers]))
    yield from _labels(values, sorted(times & set(names)))
    for group in _TIMES:
        yield from _order(" and ".join(group), [[each.get(name) for name in group] for each in values])
    yield from _labels(values, public[_n_first(public) :])
    yield from _labels(values, [name for name in names if name.startswith(_PRIVATE)])
    yield from _varying(Attribute("file name", [_stem(header) for header in headers]))
    yield Attribute("InstanceNumber", [header.instance_number for header in headers], is_order=True)


_PRIVATE: Final = "private element "
_Values: TypeAlias = dict[str, Hashable]


def _labels(values: Sequence[_Values], names: Sequence[str]) -> Iterator[Attribute]:
    for name in names:
        yield from _varying(Attribute(name, [each.get(name) for each in values], is_named=name in _FIRST))


def _varying(attribute: Attribute) -> Iterator[Attribute]:
    if len(set(attribute.labels)) > 1:
        yield attribute


def _order(name: str, parts: Sequence[Sequence[Hashable]]) -> Iterator[Attribute]:
    """Yield an order by numbers such as 20240131 and 120000.5; none where an image lacks one."""
    numbers: Labels = []
    for each in parts:
        seconds = [_seconds(part) for part in each]
        if any(second is None for second in seconds):
            return
        numbers.append(sum(second or 0.0 for second in seconds))
    yield from _varying(Attribute(name, numbers, is_order=True))


def _seconds(value: Hashable) -> float | None:
    """Return seconds of a DICOM date, time or date and time, for order only: each month has 31 days."""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str("" if value is None else value)
    digits, _, fraction = text.strip(" \0").replace(":", "").partition(".")
    if not digits.isascii() or not digits.isdigit():
        return None
    fraction = fraction if fraction.isascii() and fraction.isdigit() else "0"
    if len(digits) >= 8:
        day = (int(digits[:4]) * 12 + int(digits[4:6])) * 31 + int(digits[6:8])
        return day * 86400.0 + _seconds_of_day(digits[8:]) + float(f"0.{fraction}")
    return _seconds_of_day(digits) + float(f"0.{fraction}")


def _seconds_of_day(digits: str) -> float:
    padded = digits.ljust(6, "0")
    return int(padded[:2]) * 3600.0 + int(padded[2:4]) * 60.0 + int(padded[4:6])


def _field_of_view(headers: Sequence[SliceHeader]) -> Labels:
    """Return the in-plane position of each image to 0.1 mm: reconstructions may have different fields of view."""
    orientation = mean_orientation(np.array([header.orientation for header in headers])).reshape(2, 3)
    in_plane = positions_mm(headers) @ orientation.T
    return [tuple(each) for each in np.rint(in_plane * 10.0).astype(int).tolist()]


def _file_label(header: SliceHeader) -> Hashable:
    """Return the file of a frame; files of one image each tell nothing."""
    return header.file if header.frames > 1 else None


def _stem(header: SliceHeader) -> str:
    """Return a file's name without its numbers: two exports into one folder differ in a prefix or suffix."""
    return "".join(letter for letter in PurePosixPath(header.file.name).name if not letter.isdigit())


def _read_values(headers: Sequence[SliceHeader]) -> list[_Values]:
    frames: dict[object, tuple[dict[str, str], ...]] = {}
    values: list[_Values] = []
    for header in headers:
        if header.transfer_syntax_uid == NIFTI:
            values.append({})
        elif header.frames > 1:
            if header.file not in frames:
                frames[header.file] = frame_attributes(header)
            of_file = frames[header.file]
            values.append(dict(of_file[header.frame]) if header.frame < len(of_file) else {})
        else:
            values.append(_read_file(header))
    return values


def _read_file(header: SliceHeader) -> _Values:
    try:
        elements = read_elements(header.file, None)
    except ArchiveError:
        raise
    except InputError:
        return {}
    values: _Values = {}
    for tag, raw in elements.values.items():
        if tag >> 16 == 0x0002 or raw.vr in _BINARY or len(raw.value) > _MAX_VALUE_BYTES:
            continue
        name = f"{_PRIVATE}({tag >> 16:04X},{tag & 0xFFFF:04X})" if tag >> 16 & 1 else keyword_for_tag(tag) or str(tag)
        values[name] = _label(raw)
    return values


def _label(raw: RawElement) -> Hashable:
    value = raw.value.strip(b" \0")
    if raw.vr in {"DS", "IS"}:
        with suppress(ValueError):
            return tuple(float(part) for part in value.split(b"\\"))  # "1" and "1.0" are alike
    return (value if raw.vr in _TEXT else raw.value) or None


def _priority(name: str) -> tuple[int, int, str]:
    if name in _FIRST:
        return (0, _FIRST.index(name), name)
    return (1, tag_for_keyword(name) or 0, name)


def _n_first(names: Sequence[str]) -> int:
    return sum(name in _FIRST for name in names)
