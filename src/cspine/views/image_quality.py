"""Image-quality problems that keep a vertebra from being assessed: metal in or beside it, patient motion through it."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import scipy

from cspine.core.processors import default_workers
from cspine.core.typing import Complexes, Floats, Floats32, HounsfieldUnits
from cspine.spine.boxes import box_corners
from cspine.spine.spine_map import Vertebra

if TYPE_CHECKING:
    import highdicom

METAL_HU: Final = 2500
"""Metal threshold: cortical bone reaches 2,000 HU with a sharp kernel; fillings, screws and plates exceed this."""

MIN_METAL_MM3: Final = 40.0
"""Metal of at least this volume is reported: the tip of a screw. Overshoots of a sharp kernel are single voxels."""

_METAL_MARGIN_MM: Final = 6.0
"""Metal this far outside a vertebra's bounding box still causes streaks through it."""

MAX_STEP_MM: Final = 1.5
"""Displacement from one slice to the next, against the trend, above which the patient has moved."""

_BODY_HU: Final = -300
_SLICE_STEP_MM: Final = 1.5
_PIXEL_MM: Final = 1.4
_MIN_SLICES: Final = 5
_TREND_SLICES: Final = 5
"""Window of the median filter that gives the trend of the displacement."""


def image_quality_problems(volume: "highdicom.Volume", vertebrae: Iterable[Vertebra]) -> dict[str, tuple[str, ...]]:
    """Return the image-quality problems of each vertebra that has any.

    Parameters
    ----------
    volume : highdicom.Volume
        HU ``[k, j, i]``.
    vertebrae : iterable of Vertebra
        Vertebrae of the same scan.

    Returns
    -------
    dict
        Level to sentences.
    """
    vertebrae, problems = list(vertebrae), {}
    if not vertebrae:
        return {}
    lows, highs = zip(*map(_z_extent_mm, vertebrae), strict=True)
    motion_z = detect_motion_lps_mm(volume, z_range_mm=(min(lows), max(highs)))
    for vertebra in vertebrae:
        sentences = []
        metal = metal_mm3(volume, vertebra)
        if metal > MIN_METAL_MM3:
            sentences.append(f"metal in or beside it: {metal:.0f} cubic mm at {METAL_HU} HU and more")
        low, high = _z_extent_mm(vertebra)
        if np.any((motion_z >= low) & (motion_z <= high)):
            sentences.append("the patient moved while it was scanned")
        if sentences:
            problems[vertebra.level] = tuple(sentences)
    return problems


def _z_extent_mm(vertebra: Vertebra) -> tuple[float, float]:
    """Return the lowest and highest LPS z of a vertebra's bounding box."""
    z = vertebra.frame_lps[2, :3] @ box_corners(*vertebra.box_mm) + vertebra.frame_lps[2, 3]
    return float(z.min()), float(z.max())


def metal_mm3(volume: "highdicom.Volume", vertebra: Vertebra) -> float:
    """Return the volume of metal in and about a vertebra, in cubic mm.

    Parameters
    ----------
    volume : highdicom.Volume
        HU in any orientation.
    vertebra : Vertebra
        A vertebra of the same scan.
    """
    low, high = vertebra.box_mm[0] - _METAL_MARGIN_MM, vertebra.box_mm[1] + _METAL_MARGIN_MM
    to_index = volume.inverse_affine @ vertebra.frame_lps
    index = to_index[:3, :3] @ box_corners(low, high) + to_index[:3, 3:]
    first = np.clip(np.floor(index.min(axis=1)).astype(int), 0, volume.spatial_shape)
    last = np.clip(np.ceil(index.max(axis=1)).astype(int) + 1, 0, volume.spatial_shape)
    region = volume.array[first[0] : last[0], first[1] : last[1], first[2] : last[2]]
    is_metal = region >= METAL_HU
    if not is_metal.any():  # usual, and found out faster than where there is none
        return 0.0
    metal_index = np.argwhere(is_metal) + first
    to_frame = np.linalg.inv(to_index)
    frame_mm = metal_index @ to_frame[:3, :3].T + to_frame[:3, 3]
    is_inside = np.all((frame_mm >= low) & (frame_mm <= high), axis=1)
    return float(is_inside.sum() * np.prod(volume.spacing))


def detect_motion_lps_mm(volume: "highdicom.Volume", *, z_range_mm: tuple[float, float] = (-np.inf, np.inf)) -> Floats:
    """Return the LPS z at which the patient moved between two slices, (n,).

    The body outlines of successive slices are registered by cross-correlation. Where the displacement
    exceeds its running median by more than `MAX_STEP_MM`, the patient moved. Motion within a slice, which only blurs
    it, is not detected.

    Parameters
    ----------
    volume : highdicom.Volume
        HU ``[k, j, i]``.
    z_range_mm : (float, float)
        Lowest and highest LPS z of interest: slices far beyond are left out.
    """
    step = max(round(_SLICE_STEP_MM / volume.spacing[0]), 1)
    stride = [max(round(_PIXEL_MM / spacing), 1) for spacing in volume.spacing[1:]]
    center = [(count - 1) / 2 for count in volume.spatial_shape[1:]]
    slices = np.arange(0, volume.spatial_shape[0], step)
    z = np.array([(volume.affine @ [k, *center, 1.0])[2] for k in slices.tolist()])
    beyond_mm = _TREND_SLICES * _SLICE_STEP_MM * 2
    slices = slices[(z > z_range_mm[0] - beyond_mm) & (z < z_range_mm[1] + beyond_mm)]
    if len(slices) < _MIN_SLICES:
        return np.empty(0)
    planes = [volume.array[k, :: stride[0], :: stride[1]] for k in slices.tolist()]
    pixel_mm = np.array([volume.spacing[1] * stride[0], volume.spacing[2] * stride[1]])
    with ThreadPoolExecutor(default_workers()) as threads:
        transforms = list(threads.map(lambda plane: scipy.fft.rfft2(_body_outline(plane)), planes))
    shape = planes[0].shape
    displacement_mm = np.stack([_displacement(a, b, shape) for a, b in pairwise(transforms)]) * pixel_mm
    trend_mm = scipy.ndimage.median_filter(displacement_mm, size=(_TREND_SLICES, 1), mode="nearest")
    has_moved = np.hypot(*(displacement_mm - trend_mm).T) > MAX_STEP_MM
    between = (slices[:-1] + slices[1:])[has_moved] / 2
    return np.array([(volume.affine @ [k, *center, 1.0])[2] for k in between.tolist()])


def _body_outline(plane: HounsfieldUnits) -> Floats32:
    """Return the filled and smoothed mask of the body in a slice."""
    body = scipy.ndimage.binary_fill_holes(plane > _BODY_HU)
    return scipy.ndimage.gaussian_filter(np.asarray(body, np.float32), 1.5)


def _displacement(first: Complexes, second: Complexes, shape: tuple[int, ...]) -> Floats:
    """Return how many pixels a plane is displaced from the one before, down and along rows, with subpixel accuracy.

    The peak of the circular cross-correlation, refined by a parabola through its neighbors along each axis.

    Parameters
    ----------
    first, second : (rows, columns / 2 + 1)
        Fourier transforms of both.
    shape : (int, int)
        Rows and columns.
    """
    correlation = scipy.fft.irfft2(first * np.conj(second), s=shape)
    peak = np.unravel_index(int(correlation.argmax()), correlation.shape)
    displacement = []
    for axis, at in enumerate(peak):
        count = correlation.shape[axis]
        around = [
            correlation[tuple((at + d) % count if a == axis else p for a, p in enumerate(peak))] for d in (-1, 0, 1)
        ]
        curvature = around[0] - 2 * around[1] + around[2]
        subpixel = 0.5 * (around[0] - around[2]) / curvature if curvature else 0.0
        shift = at if at <= count // 2 else at - count
        displacement.append(-(float(shift) + float(subpixel)))
    return np.array(displacement)
