"""A CT scanner: field of view, slices, kernel, dose and artifacts of one scan."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cspine.core.typing import Bools, Floats
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.scanner.reconstruction import Reconstruction
from cspine.phantom.settings import PhantomSettings

MIN_HU, MAX_HU = -1024, 3071
"""Range of the scanner."""

_MAX_USUAL_CONTRAST: Final = 1.1
"""Bone whose HU are multiplied by more than this, or by less than its inverse, is named in the truth."""


@dataclass(frozen=True)
class Scanner:
    """The technique of one scan.

    Attributes
    ----------
    grid : Grid
        Voxels of the slices, from caudal to cranial, in LPS.
    thickness_mm : float
        Slice thickness of the reconstruction, in mm.
    mtf50_per_mm, edge_enhancement : float
        Reconstruction kernel; see `cspine.phantom.scanner.kernel.modulation_transfer`.
    noise_hu : float
        Standard deviation of the noise at C4.
    photon_starvation : float
        Fraction of the noise and streaks of the shoulders left after corrections.
    beam_hardening : float
        Fraction of the dark bands between dense bones left after corrections.
    motion_mm : (float, float, float, float) or None
        Where the patient moved: lower and upper z of the affected slices, and the displacement along x and y, in mm.
    round_field : bool
        Whether all outside the largest circle of a slice is padding.
    reconstruction : Reconstruction
        What is done to slices beyond the kernel.
    bone_contrast : float
        Factor on the HU of bone, as of another tube voltage. It is a record: the bone of the neck has been multiplied
        by it already.
    """

    grid: Grid
    thickness_mm: float
    mtf50_per_mm: float
    edge_enhancement: float
    noise_hu: float
    photon_starvation: float
    beam_hardening: float = 0.0
    motion_mm: tuple[float, float, float, float] | None = None
    round_field: bool = False
    reconstruction: Reconstruction = field(default_factory=Reconstruction)
    bone_contrast: float = 1.0

    @property
    def psf_fwhm_mm(self) -> float:
        """In-plane full width at half maximum of the point spread function: that of a Gaussian of the same MTF50."""
        return 2 * float(np.log(2)) / (np.pi * self.mtf50_per_mm)

    @property
    def mimic_names(self) -> tuple[str, ...]:
        """Names of what the technique does to the whole neck that may make bone look fractured."""
        names = {
            "soft kernel": self.reconstruction.kernel_class == "soft",
            "sharp kernel with edge enhancement": self.reconstruction.kernel_class == "very sharp",
            "adaptive reconstruction": self.reconstruction.noise_cutoff_per_mm is not None,
            "high bone contrast": self.bone_contrast > _MAX_USUAL_CONTRAST,
            "low bone contrast": self.bone_contrast < 1 / _MAX_USUAL_CONTRAST,
        }
        return tuple(name for name, is_present in names.items() if is_present)

    def covers(self, points: Floats) -> Bools:
        """Return which points, (n, 3) in LPS mm, lie within the field of view and the scan range, (n,)."""
        index = (points - self.grid.affine[:3, 3]) @ np.linalg.inv(self.grid.affine[:3, :3]).T
        inside = np.all((index >= -0.5) & (index <= np.array(self.grid.shape) - 0.5), axis=1)
        if self.round_field:
            inside &= ~_is_outside_circle(self.grid.shape[1:], index[:, 1], index[:, 2])
        return np.asarray(inside)


def draw_scanner(neck: Neck, settings: PhantomSettings, rng: np.random.Generator) -> Scanner:
    """Draw the technique of a scan from T2 to the skull base; a few scans begin or end within the cervical spine.

    Parameters
    ----------
    neck : Neck
        Whose vertebrae the scan range follows.
    settings : PhantomSettings
        Distributions to draw from.
    rng : numpy Generator
        Random number generator; it is advanced.
    """
    width_mm = rng.uniform(*settings.field_of_view_mm)
    rows, columns = _draw_matrix(settings, rng)
    pixel, spacing = width_mm / columns, rng.uniform(*settings.slice_spacing_mm)
    thickness_to_spacing_ratio = rng.uniform(*settings.thickness_to_spacing_ratio)
    bottom = neck.frames["T2"].center_mm[2] - rng.uniform(0.0, 14.0)
    top = neck.frames["C1"].center_mm[2] + rng.uniform(18.0, 40.0)
    if rng.random() < settings.truncated_fraction:
        if rng.random() < 0.6:
            bottom = rng.uniform(neck.frames["C7"].center_mm[2] - 12.0, neck.frames["C4"].center_mm[2])
        else:
            top = rng.uniform(neck.frames["C3"].center_mm[2], neck.frames["C1"].center_mm[2] + 8.0)
    lateral = rng.uniform(-1, 1) * settings.lateral_offset_mm
    anterior = 0.06 * width_mm + rng.uniform(-6.0, 6.0)  # more of the neck lies behind the spine than in front of it
    origin = np.round([lateral - (width_mm - pixel) / 2, anterior - pixel * (rows - 1) / 2, bottom], 3)
    shape = (int((top - bottom) / spacing) + 1, rows, columns)
    affine = Grid.aligned(origin, (spacing, pixel, pixel), shape).affine
    if rng.random() < settings.tilt_fraction:
        tilt = np.radians(rng.uniform(-18.0, 18.0))  # the gantry tilts about x while the table still moves along z
        affine[:3, 1] = pixel * np.array([0.0, np.cos(tilt), np.sin(tilt)])
        affine[2, 3] -= affine[2, 1] * (rows - 1) / 2
    motion_mm = None
    if rng.random() < settings.motion_fraction:
        start = float(rng.uniform(bottom, top))
        x, y = rng.normal(0.0, 0.9, 2).tolist()
        motion_mm = (start, start + float(rng.uniform(8.0, 40.0)), x, y)
    return Scanner(
        Grid(affine, shape),
        thickness_mm=float(spacing * thickness_to_spacing_ratio),
        mtf50_per_mm=float(rng.uniform(*settings.mtf50_per_mm)),
        edge_enhancement=float(rng.uniform(*settings.edge_enhancement)),
        noise_hu=float(rng.uniform(*settings.noise_hu)),
        photon_starvation=float(rng.uniform(*settings.photon_starvation)),
        beam_hardening=float(rng.uniform(*settings.beam_hardening)),
        motion_mm=motion_mm,
        round_field=bool(rng.random() < settings.round_field_fraction),
    )


def _draw_matrix(settings: PhantomSettings, rng: np.random.Generator) -> tuple[int, int]:
    """Draw the numbers of rows and columns; the challenge has studies of 768 x 768 and of 512 x 519 too."""
    matrix = settings.matrix
    if rng.random() >= settings.odd_matrix_fraction:
        return matrix, matrix
    large = matrix * 3 // 2
    odd = [(matrix - 8, matrix), (matrix + 7, matrix), (matrix, matrix + 7), (large, large)]
    rows, columns = odd[int(rng.integers(len(odd)))]
    return rows, columns


@lru_cache(maxsize=4)
def outside_circle(shape: tuple[int, ...]) -> Bools:
    """Return which pixels of a slice of a given shape, (rows, columns), lie outside its largest circle."""
    j, i = np.ogrid[: shape[0], : shape[1]]
    return _is_outside_circle(shape, j, i)


def _is_outside_circle(shape: tuple[int, ...], j: npt.NDArray[Any], i: npt.NDArray[Any]) -> Bools:
    """Return which positions in pixels lie outside the largest circle of a slice."""
    rows, columns = shape
    return np.asarray(np.hypot(j - (rows - 1) / 2, i - (columns - 1) / 2) > min(rows, columns) / 2)
