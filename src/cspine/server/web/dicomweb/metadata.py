"""Metadata of an object in the DICOM JSON model (PS3.18, annex F), with bulk data left out or as addresses."""

import json
import math
from pathlib import Path
from typing import Any, Final

from pydicom import Dataset, dcmread
from pydicom.dataelem import DataElement
from pydicom.uid import ImplicitVRLittleEndian

from cspine.dicom.codec.header import suppress_pydicom_warnings

_MAX_INLINE_BYTES: Final = 16 * 2**10
"""Binary values up to this size, such as lookup tables, are sent within the metadata; larger ones are left out."""

PIXEL_TAGS: Final = frozenset({"7FE00010", "7FE00008", "7FE00009"})

_AVAILABLE_SYNTAX: Final = "00083002"


def read_metadata(path: Path) -> tuple[dict[str, Any], str]:
    """Return the metadata of a file, and the UID of its transfer syntax.

    Parameters
    ----------
    path : Path
        A DICOM file of the spool.

    Returns
    -------
    attributes : dict
        DICOM JSON by tag, without pixels and without large binary values.
    transfer_syntax_uid : str

    Raises
    ------
    ValueError
        The file cannot be read.
    """
    try:
        with suppress_pydicom_warnings():
            dataset = dcmread(path, stop_before_pixels=True)
            attributes = to_json(dataset)
            syntax = str(dataset.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian))
    except Exception as error:  # pydicom raises whatever a damaged file leads it to
        raise ValueError(f"an object cannot be read ({type(error).__name__})") from error
    attributes[_AVAILABLE_SYNTAX] = {"vr": "UI", "Value": [syntax]}
    return attributes, syntax


def to_json(dataset: Dataset) -> dict[str, Any]:
    """Return a data set in the DICOM JSON model; elements that cannot be written in it are left out."""
    attributes = {}
    for tag in sorted(dataset.keys()):
        key = f"{tag:08X}"
        if key in PIXEL_TAGS:
            continue
        try:
            element = dataset[tag]
            is_sequence = element.VR == "SQ"
            value = _sequence_to_json(element) if is_sequence else element.to_json_dict(_leave_out, _MAX_INLINE_BYTES)
        except Exception:  # noqa: BLE001, S112 - an invalid value costs its element, not the object
            continue
        if value.get("BulkDataURI") == "":
            continue
        attributes[key] = value
    return attributes


def _sequence_to_json(element: DataElement) -> dict[str, Any]:
    value: dict[str, Any] = {"vr": "SQ"}
    if items := [to_json(item) for item in element.value]:
        value["Value"] = items
    return value


def _leave_out(_: DataElement) -> str:
    return ""


def encode(attributes: Any) -> bytes:  # noqa: ANN401 - a data set in DICOM JSON, or a list of them
    """Return DICOM JSON as bytes; numbers that JSON does not have, such as NaN, become null.

    >>> encode({"00189305": {"vr": "FD", "Value": [float("nan")]}})
    b'{"00189305":{"vr":"FD","Value":[null]}}'
    """
    try:
        return json.dumps(attributes, separators=(",", ":"), allow_nan=False).encode()
    except ValueError:
        return json.dumps(_finite(attributes), separators=(",", ":"), allow_nan=False).encode()


def _finite(value: Any) -> Any:  # noqa: ANN401 - anything JSON can hold
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def first_value(attributes: dict[str, Any], tag: str) -> Any:  # noqa: ANN401 - whatever the element holds
    """Return the first value of an element in DICOM JSON; None where it is missing or empty.

    >>> first_value({"00080060": {"vr": "CS", "Value": ["CT"]}}, "00080060")
    'CT'
    """
    values = attributes.get(tag, {}).get("Value") or [None]
    return values[0]
