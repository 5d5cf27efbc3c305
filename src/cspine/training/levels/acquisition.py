"""Random acquisitions: a scan as if it had been reconstructed by another kernel, in other slices, with other noise.

The level network must not follow sharpness, noise or attenuation, which differ between scanners more than between an
intact and a fractured vertebra. Views are augmented in their planes (`cspine.training.levels.augmentation`); here the
volume is changed, since slice thickness acts across planes.
"""

from dataclasses import dataclass, replace
from typing import Final, Self

import highdicom
import numpy as np
from scipy import ndimage

from cspine.core.typing import Floats32
from cspine.dicom.hounsfield import AIR_HU

_P_SOFTER: Final = 0.45
_P_SHARPER: Final = 0.25
_MAX_BLUR_MM: Final = 0.7
"""Standard deviation in the slice. Kernels for soft tissue have about 0.5 mm, those for bone 0.25 mm."""

_EDGE_MM: Final = 0.6
_MAX_EDGE_GAIN: Final = 1.2
_MAX_SLICE_MM: Final = 3.0
_MAX_AVERAGED_SLICES: Final = 3
_P_MORE_NOISE: Final = 0.5
_MAX_NOISE_HU: Final = 25.0
_GRAIN_PIXELS: Final = (0.4, 1.4)
"""Standard deviation of the noise's grain in the slice."""

_MAX_SCALE_CHANGE: Final = 0.12
"""Tube voltages and bone mineral change the attenuation of bone."""


@dataclass(frozen=True)
class Acquisition:
    """How a scan is changed.

    Attributes
    ----------
    averaged_slices : int
        Neighboring slices that are averaged to one.
    first_slice : int
        Slice that averaging begins with.
    blur_mm : float
        Standard deviation of a Gaussian blur in the slice.
    edge_gain : float
        Factor of the details that are added again, as kernels for bone do.
    noise_hu : float
        Standard deviation of added noise.
    grain_pixels : float
        Standard deviation of the noise's grain, in pixels.
    scale : float
        Factor of positive HU.
    """

    averaged_slices: int
    first_slice: int
    blur_mm: float
    edge_gain: float
    noise_hu: float
    grain_pixels: float
    scale: float

    @classmethod
    def draw(cls, spacing_mm: float, rng: np.random.Generator) -> Self:
        """Draw an acquisition of a scan whose slices have this spacing."""
        most = int(min(_MAX_AVERAGED_SLICES, max(_MAX_SLICE_MM / spacing_mm, 1.0)))
        averaged, kernel = int(rng.integers(1, most + 1)), rng.random()
        blur, gain, noise = rng.uniform(0, _MAX_BLUR_MM), rng.uniform(0, _MAX_EDGE_GAIN), rng.uniform(0, _MAX_NOISE_HU)
        return cls(
            averaged_slices=averaged,
            first_slice=int(rng.integers(averaged)),
            blur_mm=float(blur) if kernel < _P_SOFTER else 0.0,
            edge_gain=float(gain) if kernel > 1 - _P_SHARPER else 0.0,
            noise_hu=float(noise) if rng.random() < _P_MORE_NOISE else 0.0,
            grain_pixels=float(rng.uniform(*_GRAIN_PIXELS)),
            scale=float(1 + _MAX_SCALE_CHANGE * rng.uniform(-1, 1)),
        )

    def of_part(self, first: int) -> "Acquisition":
        """Return the acquisition of a part of the scan that begins with another slice."""
        return replace(self, first_slice=(self.first_slice - first) % self.averaged_slices)

    def apply(self, volume: highdicom.Volume, rng: np.random.Generator) -> highdicom.Volume:
        """Return the changed scan, whose affine differs where slices were averaged.

        Parameters
        ----------
        volume : highdicom.Volume
            HU, (k, j, i); not changed.
        rng : numpy Generator
            Draws the noise; it is advanced.
        """
        hu, affine = np.asarray(volume.array, np.float32), np.array(volume.affine)
        n = self.averaged_slices
        count = (len(hu) - self.first_slice) // n
        hu = hu[self.first_slice : self.first_slice + count * n].reshape(count, n, *hu.shape[1:]).mean(axis=1)
        affine[:3, 3] += affine[:3, 0] * (self.first_slice + (n - 1) / 2)
        affine[:3, 0] *= n
        pixel_mm = np.array(volume.spacing[1:])
        if self.blur_mm:
            hu = _blur(hu, self.blur_mm / pixel_mm)
        if self.edge_gain:
            hu = hu + np.float32(self.edge_gain) * (hu - _blur(hu, _EDGE_MM / pixel_mm))
        hu = np.where(hu > 0, hu * np.float32(self.scale), hu)
        if self.noise_hu:
            grain = _blur(rng.standard_normal(hu.shape, np.float32), np.full(2, self.grain_pixels))
            hu += grain * np.float32(self.noise_hu / grain.std())
        rounded = np.rint(np.clip(hu, AIR_HU, np.iinfo(np.int16).max)).astype(np.int16)
        return highdicom.Volume(rounded, affine, "PATIENT")


def _blur(hu: Floats32, sigma_pixels: "np.typing.NDArray[np.float64]") -> Floats32:
    """Blur every slice; slices stay apart."""
    return np.asarray(ndimage.gaussian_filter(hu, (0.0, *sigma_pixels), mode="nearest", truncate=3.0), np.float32)
