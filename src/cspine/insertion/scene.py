"""A scene: the part of a scan about one vertebra, that a fracture changes step by step."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy import ndimage

from cspine.core.typing import Bools, Floats, Floats32, Labels
from cspine.insertion.noise import SPLINE_ORDER, ScanNoise
from cspine.phantom.geometry.distance_fields import smoothstep
from cspine.phantom.geometry.grid import Grid, GridWindow
from cspine.phantom.geometry.points import Box
from cspine.spine.boxes import box_corners

_HALO_MM: Final = (1.0, 2.0)
"""Distance from bone up to which its blurred edge belongs to it, and from which on nothing does."""

_JOINT: Final = (0.5, 0.85)
"""Fraction of bone about a voxel of a joint that is the vertebra's, below which the voxel is not its, and above
which it is."""

_STEPS_MM: Final = 0.7
"""Standard deviation of the Gaussian that smooths the steps of voxels where two bones touch."""

MIN_SHIFT: Final = 1e-3
"""Smaller shifts, in voxels, and smaller fractions change nothing."""


_ARRAYS: Final = ("hu", "own", "other", "fracture_mask", "touched")
"""Attributes of a scene that are arrays over its voxels."""


@dataclass(frozen=True)
class Optics:
    """What a scan makes of an edge.

    Attributes
    ----------
    sd_mm : (3,)
        Standard deviation of the point spread function along k, j and i.
    noise : ScanNoise
        The noise of the scan.
    """

    sd_mm: Floats
    noise: ScanNoise

    def sd_along(self, grid: Grid, direction_lps: Floats) -> float:
        """Return the standard deviation of the point spread function along a direction, in mm."""
        axes = grid.affine[:3, :3] / grid.spacing_mm
        return float(np.linalg.norm((axes.T @ direction_lps) * self.sd_mm))


@dataclass(frozen=True)
class Scene:
    """The part of a scan about one vertebra.

    Attributes
    ----------
    grid : Grid
        Its voxels, in LPS mm.
    frame_lps : (4, 4)
        Rigid transform from the frame of the vertebra to LPS mm.
    hu : (k, j, i) float32
        Hounsfield units.
    own, other : (k, j, i) bool
        Bone of the vertebra, and all other bone, which stays where it is.
    fracture_mask : (k, j, i) uint8
        1 plus the index of the fracture surface of a voxel; 0 elsewhere.
    touched : (k, j, i) bool
        Voxels that are no longer as they were scanned.
    """

    grid: Grid
    frame_lps: Floats
    hu: Floats32
    own: Bools
    other: Bools
    fracture_mask: Labels
    touched: Bools

    @classmethod
    def of(cls, grid: Grid, frame_lps: Floats, hu: Floats32, own: Bools, other: Bools) -> "Scene":
        """Return the scene of an untouched scan."""
        nothing = np.zeros(hu.shape, np.uint8)
        return cls(grid, frame_lps, hu.astype(np.float32), own, other, nothing, nothing > 0)

    @property
    def local(self) -> Grid:
        """The voxels in the frame of the vertebra."""
        return self.grid.in_frame(self.frame_lps)

    def window(self, box_mm: Box, margin_mm: float) -> GridWindow | None:
        """Return the window that contains a box of the vertebra's frame, (2, 3), with a margin; None outside."""
        corners = box_corners(*box_mm)
        lps = self.frame_lps[:3, :3] @ corners + self.frame_lps[:3, 3:]
        return self.grid.window(np.array([lps.min(axis=1), lps.max(axis=1)]), margin_mm)

    def crop(self, window: GridWindow) -> "Scene":
        """Return the scene within a window."""
        arrays = {name: getattr(self, name)[window] for name in _ARRAYS}
        return replace(self, grid=self.grid.crop(window), **arrays)

    def pasted(self, window: GridWindow, part: "Scene") -> "Scene":
        """Return the scene with the part within a window replaced."""
        arrays = {}
        for name in _ARRAYS:
            arrays[name] = getattr(self, name).copy()
            arrays[name][window] = getattr(part, name)
        return replace(self, **arrays)

    def ownership(self) -> Floats32:
        """Return how far the attenuation of each voxel is due to the vertebra's bone, its blurred edge included."""
        edge = 1 - smoothstep(distance_mm(self.own, self.grid.spacing_mm), *_HALO_MM)
        own, other = self._smooth(self.own), self._smooth(self.other)
        return np.asarray(edge * smoothstep(own / np.maximum(own + other, np.float32(1e-6)), *_JOINT), np.float32)

    def room(self) -> Floats32:
        """Return 0 in other bone, 1 where there is none."""
        return np.asarray(1 - smoothstep(self._smooth(self.other), *_JOINT))

    def _smooth(self, mask: Bools) -> Floats32:
        """Return a mask without the steps of its voxels."""
        return np.asarray(ndimage.gaussian_filter(mask.astype(np.float32), _STEPS_MM / self.grid.spacing_mm))

    def changed(
        self, hu: Floats32, touched: Bools, *, own: Bools | None = None, fracture_mask: Labels | None = None
    ) -> "Scene":
        """Return the scene with other attenuation where it is touched; elsewhere every voxel stays as it is."""
        return replace(
            self,
            hu=np.where(touched, hu, self.hu),
            touched=self.touched | touched,
            own=self.own if own is None else own,
            fracture_mask=self.fracture_mask if fracture_mask is None else fracture_mask,
        )


def distance_mm(mask: Bools, spacing_mm: Floats) -> Floats32:
    """Return the distance of each voxel from a mask, 0 inside; far away where it is empty."""
    if not mask.any():
        return np.full(mask.shape, np.float32(1e3))
    return np.asarray(ndimage.distance_transform_edt(~mask, spacing_mm), np.float32)


class Resampler:
    """Samples the attenuation of a scene at any positions, with cubic splines."""

    def __init__(self, hu: Floats32) -> None:
        self._coefficients = ndimage.spline_filter(hu, SPLINE_ORDER, np.float32, mode="mirror")

    def sample(self, index: Floats32) -> Floats32:
        """Return the attenuation at positions in voxels, (3, ...)."""
        return np.asarray(
            ndimage.map_coordinates(
                self._coefficients, index, np.float32, order=SPLINE_ORDER, mode="mirror", prefilter=False
            )
        )


def sample_linear(values: Floats32 | Bools, index: Floats32) -> Floats32:
    """Return values at positions in voxels, (3, ...), by linear interpolation."""
    return np.asarray(ndimage.map_coordinates(values.astype(np.float32), index, np.float32, order=1, mode="nearest"))


def voxel_index(shape: tuple[int, ...]) -> Floats32:
    """Return the index of each voxel, (3, k, j, i)."""
    return np.indices(shape).astype(np.float32)
