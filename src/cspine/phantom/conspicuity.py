"""Conspicuity of a fracture in an image: what it changed, against the texture of the bone about it.

The same image is known without the fracture, with the same noise. A change counts as far as a shift of the fragment
does not explain it: bone that is seen elsewhere is bone as any other, while a gap, an edge that does not meet, or a
band of dense bone is in neither of the two. Contrast over the complexity of its surround is the conspicuity of Revesz,
Kundel and Graber (Investigative Radiology 9:479, 1974).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import ndimage

from cspine.core.typing import Bools, Floats, Floats32, HounsfieldUnits
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.geometry.grid import Grid

_STEP_MM: Final = 0.6
"""Pixels of the level network's views."""

_SLAB_SD_MM: Final = 0.35
"""Standard deviation across planes of 1.2 mm."""

_FINE_MM: Final = 0.6
_COARSE_MM: Final = 1.8
"""Standard deviations of the Gaussians whose difference passes the scale of fracture lines."""

_NEAR_MM: Final = 1.2
_MARGIN_MM: Final = 7.0
"""Distance from the fracture at which changes count, and up to which texture is looked at."""

_EDGE_MM: Final = 1.2
"""The edge of the bone belongs to the texture."""

_TRUNCATE: Final = 3.0

_SURROUND_MM: Final = 3.0
_PATCH_MM: Final = 2.0
"""Standard deviations of the surround and of the patch of a plane in which a fracture must stand out."""

_LEAST_PATCH: Final = 0.05
"""Part of a patch whose change counts half."""

_TEXTURE_HU: Final = (30.0, 110.0)
"""Least texture that matters in a bone window, and the most: steep edges of cortex hide a line no further."""

_INSIDE: Final = 0.3
"""Interpolated masks above are inside."""

_SOFTENING_HU: Final = 5.0
_NORMAL_GEOMETRIC: Final = 1.9
"""Standard deviation of normal values over the geometric mean of their magnitudes."""

_MAX_RATIO: Final = 4.0


@dataclass(frozen=True)
class Twins:
    """An image with a fracture, and the same image without it.

    Attributes
    ----------
    fractured, intact : (k, j, i)
        Hounsfield units; noise is the same in both.
    grid : Grid
        Their voxels.
    """

    fractured: HounsfieldUnits | Floats32
    intact: HounsfieldUnits | Floats32
    grid: Grid


@dataclass(frozen=True)
class FractureSite:
    """Where a fracture is.

    Attributes
    ----------
    crack, bone : (k, j, i) bool
        Voxels of the fracture, and of the vertebra.
    grid : Grid
        Their voxels, in the same frame as those of the images.
    frame : (4, 4)
        From the frame of the vertebra to that one.
    surfaces : tuple of Fracture
        In the frame of the vertebra.
    """

    crack: Bools
    bone: Bools
    grid: Grid
    frame: Floats
    surfaces: Sequence[Fracture]


def conspicuity(twins: Twins, site: FractureSite) -> float:
    """Return the contrast of a fracture over the texture about it, in the plane and at the place where it is highest.

    Parameters
    ----------
    twins : Twins
        The images.
    site : FractureSite
        The fracture.

    Returns
    -------
    float
        0 where nothing has changed; 1 where the change is as strong as the texture.
    """
    planes = _planes_about(site)
    if planes is None:
        return 0.0
    index = _voxels_at(planes, twins.grid, site.frame)
    fractured, intact = (_sampled(each, index) for each in (twins.fractured, twins.intact))
    shifted = [_sampled(twins.intact, _voxels_at(planes, twins.grid, site.frame, surface)) for surface in site.surfaces]
    at_mask = _voxels_at(planes, site.grid, site.frame)
    bone, crack = (_sampled(each, at_mask) > _INSIDE for each in (site.bone, site.crack))
    near = bone & (ndimage.distance_transform_edt(~crack, _STEP_MM) <= _NEAR_MM)
    edged = ndimage.binary_dilation(bone, iterations=round(_EDGE_MM / _STEP_MM))
    return max(float(each.max()) for each in _contrasts(fractured, [intact, *shifted], edged, near))


def _planes_about(site: FractureSite) -> Grid | None:
    """Return points about the fracture along the axes of the vertebra; None where it has no voxels."""
    voxels = np.argwhere(site.crack)
    if not len(voxels):
        return None
    to_vertebra = np.linalg.inv(site.frame) @ site.grid.affine
    points = voxels @ to_vertebra[:3, :3].T + to_vertebra[:3, 3]
    low, high = points.min(axis=0) - _MARGIN_MM, points.max(axis=0) + _MARGIN_MM
    shape = np.ceil((high - low) / _STEP_MM).astype(int)[::-1] + 1
    return Grid.aligned(low, _STEP_MM, tuple(shape.tolist()))


def _voxels_at(planes: Grid, grid: Grid, frame: Floats, surface: Fracture | None = None) -> Floats32:
    """Return the voxels of a grid at points of the vertebra, or at where its fragment was before, (3, ...)."""
    points = planes.points() if surface is None else surface.inverse_warp(planes.points())
    coordinates = points.coordinates((0, 0, 0))
    affine = (np.linalg.inv(grid.affine) @ frame).astype(np.float32)
    index = [sum(row[n] * coordinates[n] for n in range(3)) + row[3] for row in affine[:3]]
    return np.stack([np.broadcast_to(each, planes.shape) for each in index])


def _sampled(values: HounsfieldUnits | Floats32 | Bools, index: Floats32) -> Floats32:
    low = np.maximum(np.floor(index.reshape(3, -1).min(axis=1)).astype(int) - 1, 0)
    high = np.ceil(index.reshape(3, -1).max(axis=1)).astype(int) + 2
    window = tuple(slice(a, max(b, a + 1)) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    part = np.asarray(values[window], np.float32)
    start = low.astype(np.float32)[:, None, None, None]
    return np.asarray(ndimage.map_coordinates(part, index - start, np.float32, order=1, mode="nearest"))


def _contrasts(fractured: Floats32, references: Sequence[Floats32], bone: Bools, near: Bools) -> Iterator[Floats32]:
    """Yield the contrast over the texture at each point, for planes across each axis."""
    weight = bone.astype(np.float32)
    for axis in range(3):
        passed = _band_pass(fractured, axis)
        intact = _band_pass(references[0], axis)
        surround = [_SURROUND_MM / _STEP_MM] * 3
        surround[axis] = 0.0
        logarithm = _smooth(np.log(np.abs(intact) + np.float32(_SOFTENING_HU)) * weight, surround)
        logarithm /= np.maximum(_smooth(weight, surround), np.float32(1e-3))
        texture = np.clip(np.float32(_NORMAL_GEOMETRIC) * np.exp(logarithm), *_TEXTURE_HU)
        patch = [_PATCH_MM / _STEP_MM] * 3
        patch[axis] = 0.0
        part = _smooth(near.astype(np.float32), patch)
        least: Floats32 | None = None
        for reference in references:
            change = passed - (intact if reference is references[0] else _band_pass(reference, axis))
            ratio = np.minimum(np.abs(change) / texture, np.float32(_MAX_RATIO)) * near
            mean_square = _smooth(ratio**2, patch) / (part + np.float32(_LEAST_PATCH))
            least = mean_square if least is None else np.minimum(least, mean_square)
        yield np.sqrt(np.maximum(np.asarray(least), 0))


def _band_pass(hu: Floats32, axis: int) -> Floats32:
    """Return the details of planes across an axis."""
    fine, coarse = [_FINE_MM / _STEP_MM] * 3, [_COARSE_MM / _STEP_MM] * 3
    fine[axis] = coarse[axis] = _SLAB_SD_MM / _STEP_MM
    return np.asarray(_smooth(hu, fine) - _smooth(hu, coarse))


def _smooth(values: Floats32, sigma: Sequence[float]) -> Floats32:
    return np.asarray(ndimage.gaussian_filter(values, sigma, truncate=_TRUNCATE), np.float32)
