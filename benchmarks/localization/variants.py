"""Variants of a scan: the same patient scanned or reconstructed in another way."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import highdicom
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cspine.core.typing import Floats
from cspine.experiments.perturbations import thicken_slices

Landmarks = Mapping[str, Floats]
"""Name to a point in LPS mm, (3,): ``C1`` to ``C7`` are origins of vertebrae, ``cord`` is the middle of the cord."""

CORD: Final = "cord"

SLICE_MM: Final = 3.0
BLUR_MM: Final = 1.5
FIELD_MM: Final = 160.0

_MIN_THINNER_MM: Final = 0.1
"""Slices are averaged only where they are thinner than the new ones by more than this."""

_BELOW_ORIGIN_MM: Final = 8.0
"""A scan that ends at a level ends this far below the origin: its body (12 mm high) is whole, the next one is cut."""

_MIN_CUT_MM: Final = 5.0
"""A scan is cut only where that removes more than this."""


@dataclass(frozen=True)
class Variant:
    """One way in which the same patient could have been scanned.

    Attributes
    ----------
    name : str
        Name in files and tables.
    description : str
        What is done to the scan, in words.
    apply : callable
        Takes a volume and landmarks, and returns the changed volume; None where the variant is the scan itself, or
        where a landmark that it needs is not known.
    """

    name: str
    description: str
    apply: Callable[[highdicom.Volume, Landmarks], highdicom.Volume | None]


def average_slices(slice_mm: float) -> Callable[[highdicom.Volume, Landmarks], highdicom.Volume | None]:
    """Return a variant that averages over slices of a thickness; None where the scan's own are about as thick."""

    def apply(volume: highdicom.Volume, _: Landmarks) -> highdicom.Volume | None:
        if volume.spacing[0] > slice_mm - _MIN_THINNER_MM:
            return None
        return thicken_slices(volume, slice_mm, np.random.default_rng(0))

    return apply


def blur(sd_mm: float) -> Callable[[highdicom.Volume, Landmarks], highdicom.Volume]:
    """Return a variant that blurs by a Gaussian of a standard deviation along all three axes."""

    def apply(volume: highdicom.Volume, _: Landmarks) -> highdicom.Volume:
        sigma = sd_mm / np.array(volume.spacing)
        return with_hu(
            volume, ndimage.gaussian_filter(volume.array.astype(np.float32), sigma, mode="nearest", truncate=3.0)
        )

    return apply


def scale_hu(factor: float) -> Callable[[highdicom.Volume, Landmarks], highdicom.Volume]:
    """Return a variant that multiplies all HU, as another tube voltage does to bone."""
    return lambda volume, _: with_hu(volume, volume.array * np.float32(factor))


def shift_half_voxel(volume: highdicom.Volume, _: Landmarks) -> highdicom.Volume:
    """Interpolate the scan on a grid that is shifted by half a voxel along each axis."""
    hu: npt.NDArray[np.floating] = volume.array.astype(np.float32)
    for axis in range(3):
        planes = np.moveaxis(hu, axis, 0)
        hu = np.moveaxis((planes[:-1] + planes[1:]) / 2, 0, axis)
    return with_hu(volume, hu, first=np.full(3, 0.5))


def crop_field(volume: highdicom.Volume, landmarks: Landmarks) -> highdicom.Volume | None:
    """Crop every slice to a square of `FIELD_MM` about the cord; None where it is not wider."""
    if CORD not in landmarks:
        return None
    center = to_index(volume, landmarks[CORD])[1:]
    half = FIELD_MM / 2 / np.array(volume.spacing[1:])
    low = np.maximum(np.ceil(center - half), 0).astype(int)
    high = np.minimum(np.floor(center + half) + 1, volume.spatial_shape[1:]).astype(int)
    if (high - low >= volume.spatial_shape[1:]).all():
        return None
    return _part(volume, (slice(None), slice(low[0], high[0]), slice(low[1], high[1])))


def end_at(level: str) -> Callable[[highdicom.Volume, Landmarks], highdicom.Volume | None]:
    """Return a variant that ends below the body of a level, as a scan of the head does."""

    def apply(volume: highdicom.Volume, landmarks: Landmarks) -> highdicom.Volume | None:
        if level not in landmarks:
            return None
        count, step = volume.spatial_shape[0], float(volume.affine[2, 0])
        end = to_index(volume, landmarks[level] - [0.0, 0.0, _BELOW_ORIGIN_MM])[0]
        kept = slice(max(int(np.ceil(end)), 0), None) if step > 0 else slice(0, max(int(np.floor(end)) + 1, 0))
        n_kept = len(range(*kept.indices(count)))
        if (count - n_kept) * volume.spacing[0] < _MIN_CUT_MM or n_kept < 2:
            return None
        return _part(volume, (kept, slice(None), slice(None)))

    return apply


AS_IS: Final = Variant("as-is", "as published", lambda volume, _: volume)

ALWAYS: Final = (
    AS_IS,
    Variant("slices-3mm", f"averaged to slices of {SLICE_MM:g} mm", average_slices(SLICE_MM)),
    Variant("blur-1.5mm", f"blurred by {BLUR_MM:g} mm (standard deviation) along each axis", blur(BLUR_MM)),
)
"""Variants of every scan."""

FIELD_CROP: Final = (Variant("field-16cm", "cropped to 16 cm about the cord", crop_field),)

GRID_AND_HU: Final = (
    Variant("hu-0.9", "HU scaled by 0.9", scale_hu(0.9)),
    Variant("hu-1.1", "HU scaled by 1.1", scale_hu(1.1)),
    Variant("half-voxel", "interpolated half a voxel further along each axis", shift_half_voxel),
)

CUTS: Final = tuple(
    Variant(f"ends-at-{level}", f"cut off below the body of {level}", end_at(level)) for level in ("C3", "C4", "C5")
)


def to_index(volume: highdicom.Volume | highdicom.VolumeGeometry, lps_mm: Floats) -> Floats:
    """Return the indices ``[k, j, i]`` of points in LPS mm, (..., 3)."""
    inverse = np.linalg.inv(volume.affine)
    return np.asarray(lps_mm @ inverse[:3, :3].T + inverse[:3, 3])


def with_hu(volume: highdicom.Volume, hu: npt.NDArray[np.number], *, first: Floats | None = None) -> highdicom.Volume:
    """Return a volume of other HU, whose first voxel lies at an index of the old one."""
    affine = np.array(volume.affine)
    if first is not None:
        affine[:3, 3] += affine[:3, :3] @ first
    return highdicom.Volume(np.rint(np.clip(hu, -32768, 32767)).astype(np.int16), affine, "PATIENT")


def _part(volume: highdicom.Volume, part: tuple[slice, slice, slice]) -> highdicom.Volume:
    first = np.array([each.indices(count)[0] for each, count in zip(part, volume.spatial_shape, strict=True)], float)
    return with_hu(volume, np.asarray(volume.array)[part], first=first)
