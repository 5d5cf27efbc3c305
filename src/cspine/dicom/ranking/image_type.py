"""What the images of a series show, by ImageType and RescaleType: attenuation, a virtual image of it, or neither."""

import re
from typing import Final

from cspine.dicom.codec.header import SliceHeader


def _one_of(*words: str) -> re.Pattern[str]:
    """Return a pattern of whole words; scanners write them as values of their own, or within one ("CT_SOM5 MIP")."""
    return re.compile(rf"(?<![A-Z0-9])(?:{'|'.join(words)})(?![A-Z0-9])", re.IGNORECASE)


_PROJECTION: Final = _one_of(
    r"MIP", r"MIN_?IP", r"MAXIMUM", r"MINIMUM", r"PROJECTION[ _]IMAGE", r"VRT?", r"SSD", r"VOLUME[ _]RENDER(?:ED|ING)?"
)  # fmt: skip
_SCREENSHOT: Final = _one_of(r"SCREEN[ _]?(?:SAVE|SHOT|CAPTURE)")
_BONE_REMOVED: Final = _one_of(r"SUBTRACT(?:ION|ED)", r"BONE[ _]?REMOV(?:AL|ED)", r"NO[ _]?BONE", r"VNCA")
_QUANTITY: Final = _one_of(
    # PS3.3, multi-energy CT; the quantities and the contrasts of enhanced CT
    r"MAT_(?:SPECIFIC|FRACTIONAL|VALUE_BASED)", r"EFF_ATOMIC_NUM(?:BER)?", r"ELECTRON_DENSITY", r"STD_DEVIATION",
    r"QUANTITY", r"DIVISION",
    # names of vendors
    r"IODINE\w*", r"MATERIAL[ _]DENSITY", r"Z[ _]?EFF(?:ECTIVE)?", r"RHO[ _/]?Z?", r"UNCERTAINTY", r"BONE[ _]MARROW",
    # perfusion
    r"CBF", r"CBV", r"MTT", r"TTP", r"TTD", r"TTS", r"TMAX", r"PBV", r"PERMEABILITY",
)  # fmt: skip
_PERFUSION: Final = _one_of(r"PERFUSION(?:[ _]?MAPS?)?")
_VIRTUAL: Final = _one_of(
    r"VNC", r"VMI", r"MONO(?!CHROM)[A-Z]*\+?", r"(?:MONO[A-Z]*)?\d+[ _]?KEV", r"MAT_(?:REMOVED|MODIFIED)", r"VIRTUAL\w*"
)  # fmt: skip


def not_slices_reason(header: SliceHeader) -> str | None:
    """Return why the images of a series show no slices of attenuation, or None where they may.

    >>> from types import SimpleNamespace
    >>> not_slices_reason(SimpleNamespace(image_type=("DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MIP")))
    'projections through several slices (DICOM: MIP)'
    """
    text = "\\".join(header.image_type)
    for pattern, kind in (
        (_PROJECTION, "projections through several slices"),
        (_SCREENSHOT, "screenshots"),
        (_BONE_REMOVED, "images without bone"),
        (_QUANTITY, "maps of another quantity than attenuation"),
    ):
        if match := pattern.search(text):
            return f"{kind} (DICOM: {match.group().upper()})"
    if is_derived(header) and _PERFUSION.search(text):
        return "perfusion maps"
    return None


def is_derived(header: SliceHeader) -> bool:
    """Return whether images were computed from other images, and not from the scanner's raw data."""
    return "DERIVED" in header.image_type


def is_secondary(header: SliceHeader) -> bool:
    """Return whether images were made after the examination."""
    return "SECONDARY" in header.image_type


def is_virtual(header: SliceHeader) -> bool:
    """Return whether values are those of a virtual energy or material, in which bone may look unlike itself."""
    return header.rescale_type == "HU_MOD" or bool(_VIRTUAL.search("\\".join(header.image_type)))
