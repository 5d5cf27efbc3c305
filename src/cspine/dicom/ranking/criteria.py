"""The criteria by which readable series are ranked for bone, from the first to the last."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from cspine.dicom.geometry import plane_name
from cspine.dicom.limits import MAX_SLICE_SPACING_MM, exceeds_mm
from cspine.dicom.ranking.image_type import is_derived, is_secondary, is_virtual
from cspine.dicom.series import Series

MAX_THIN_SPACING_MM: Final = 1.5
"""Largest slice spacing that counts as thin; the challenge's studies have 0.5 to 1.0 mm."""

_THICKNESSES_MM: Final = (MAX_THIN_SPACING_MM, MAX_SLICE_SPACING_MM)
"""Series are thin up to the first, and slabs over the second even where they overlap closely."""

MAX_FINE_PIXEL_MM: Final = 0.7
"""Largest pixel spacing of a field of view of the neck or the head: 360 mm over 512 pixels."""

MAX_AXIAL_ANGLE_DEG: Final = 32.0
"""Gantries tilt by up to 30 degrees, as headers round them: slices that are tilted more were reformatted."""

_MAX_OBLIQUE_ANGLE_DEG: Final = 20.0
"""Slices that deviate more from all planes of the patient are oblique."""

_MIN_GAP_SPACINGS: Final = 1.5
"""Gaps of so many slice spacings lack a slice."""

_MAX_THICKNESS_MM: Final = 50.0
"""Largest SliceThickness that is believed."""

_SHARP_KERNEL: Final = re.compile(
    r"bone|edge|lung|sharp|detail"  # GE, and descriptive names
    r"|^[bhiju][a-z]?\s?[5-9]\d|^[qbh]r\s?[5-9]\d"  # Siemens: B60-B90, H60, I70f, U70u, Br59, Hr64, J70h
    r"|^y[a-d]$|^[de]$"  # Philips: YA-YD, D, E
    r"|^fc[38]\d",  # Canon/Toshiba: FC30-39 bone, FC80-89 high resolution
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Criterion:
    """One criterion of the ranking.

    Attributes
    ----------
    key : callable
        Returns what is compared; the smaller one ranks first.
    reason : callable
        Returns why the second series ranks below the first, where their keys differ.
    """

    key: Callable[[Series], Any]
    reason: Callable[[Series, Series], str]


def is_sharp(kernel: str | None) -> bool:
    """Return whether a ConvolutionKernel is known to be a sharp one, made for bone or lung.

    >>> is_sharp("B70f"), is_sharp("BONEPLUS"), is_sharp("STANDARD")
    (True, True, False)
    """
    return bool(kernel and any(_SHARP_KERNEL.search(part) for part in kernel.split()))


def is_over_limit(series: Series) -> bool:
    """Return whether slices lie too far apart for fractures to be assessed."""
    return exceeds_mm(series.stack.spacing_mm, MAX_SLICE_SPACING_MM)


def is_axial(series: Series) -> bool:
    """Return whether slices run across the patient, up to the tilt of a gantry."""
    cosine = min(1.0, abs(float(series.stack.normal[2])))
    return bool(np.degrees(np.arccos(cosine)) <= MAX_AXIAL_ANGLE_DEG)


def slice_plane(series: Series) -> str:
    """Return the plane of the slices: axial, coronal, sagittal or oblique."""
    normal = series.stack.normal
    if is_axial(series):
        return "axial"
    angle_deg = np.degrees(np.arccos(min(1.0, float(np.abs(normal).max()))))
    return "oblique" if angle_deg > _MAX_OBLIQUE_ANGLE_DEG else plane_name(normal)


def slice_extent_mm(series: Series) -> float:
    """Return how much along the normal a slice stands for: its thickness, where that exceeds the spacing."""
    thickness_mm = series.headers[0].slice_thickness_mm
    if thickness_mm is None or thickness_mm <= 0.0 or exceeds_mm(thickness_mm, _MAX_THICKNESS_MM):
        return series.stack.spacing_mm
    return max(series.stack.spacing_mm, thickness_mm)


def rank(series: Series) -> tuple[Any, ...]:
    """Return the sort key of a readable series, best first; the UID makes the order deterministic."""
    return (*(criterion.key(series) for criterion in CRITERIA), series.series_instance_uid, series.part)


def ranking_reason(best: Series, other: Series) -> str:
    """Return the first criterion by which a readable series ranks below the best one."""
    for criterion in CRITERIA:
        if criterion.key(other) > criterion.key(best):
            return criterion.reason(best, other)
        if criterion.key(other) < criterion.key(best):
            return "ranks higher by its headers"  # what the series show decided
    return "equal to the selected one; the first by UID was selected"


def _coarser(best: Series, other: Series) -> str:
    spacing_mm, best_mm = other.stack.spacing_mm, best.stack.spacing_mm
    if exceeds_mm(spacing_mm, best_mm):
        return f"slices {spacing_mm:.2f} mm apart, coarser than the selected {best_mm:.2f} mm"
    return f"slices {slice_extent_mm(other):.2f} mm thick, thicker than the selected {slice_extent_mm(best):.2f} mm"


def _has_gap(series: Series) -> bool:
    """Return whether slices are missing between others."""
    return len(series.stack.order) > 1 and series.stack.widest_gap()[1] > _MIN_GAP_SPACINGS * series.stack.spacing_mm


def _pixel_mm(series: Series) -> float:
    """Return the larger pixel spacing; of reformatted slices one is the spacing of the slices they were made from."""
    return max(series.stack.pixel_spacing_mm) if is_axial(series) else min(series.stack.pixel_spacing_mm)


CRITERIA: Final = (
    Criterion(is_over_limit, _coarser),
    Criterion(
        lambda series: sum(exceeds_mm(slice_extent_mm(series), limit_mm) for limit_mm in _THICKNESSES_MM), _coarser
    ),
    Criterion(
        lambda series: is_virtual(series.headers[0]), lambda _, __: "images of a virtual energy or without a material"
    ),
    Criterion(
        lambda series: not is_axial(series),
        lambda _, other: f"{slice_plane(other)} slices, most likely reformatted from axial ones",
    ),
    Criterion(
        lambda series: exceeds_mm(_pixel_mm(series), MAX_FINE_PIXEL_MM),
        lambda best, other: f"pixels of {_pixel_mm(other):.2f} mm, coarser than the selected {_pixel_mm(best):.2f} mm",
    ),
    Criterion(_has_gap, lambda _, other: f"lacks slices: a gap of {other.stack.widest_gap()[1]:.2f} mm"),
    Criterion(
        lambda series: not is_sharp(series.headers[0].kernel),
        lambda _, other: f"kernel {other.headers[0].kernel or 'unknown'} is softer",
    ),
    Criterion(lambda series: is_derived(series.headers[0]), lambda _, __: "derived images"),
    Criterion(lambda series: is_secondary(series.headers[0]), lambda _, __: "secondary images"),
    Criterion(lambda series: round(slice_extent_mm(series), 2), _coarser),
    Criterion(lambda series: round(series.stack.spacing_mm, 2), _coarser),
    Criterion(
        lambda series: -round(float(series.stack.along_mm[-1])),
        lambda best, other: (
            f"covers {other.stack.along_mm[-1]:.0f} mm, less than the selected {best.stack.along_mm[-1]:.0f} mm"
        ),
    ),
)
"""Original images come before derived ones only where thickness, plane, field of view and kernel are alike: derived
ones are often the only thin ones, such as those of two energies mixed."""
