"""Variants of an intact neck: the same patient, scanned or reconstructed in another way."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import highdicom
import numpy as np
from scipy import ndimage

from benchmarks.localization.variants import (
    AS_IS,
    GRID_AND_HU,
    Landmarks,
    Variant,
    average_slices,
    blur,
    with_hu,
)
from cspine.insertion.noise import ScanNoise

Role = Literal["as is", "sharpness", "kernel", "repeat"]
"""What a variant is compared for: ``sharpness`` by slice thickness and blur, ``kernel`` by edge enhancement and scaled
HU, ``repeat`` by what a second scan of the same patient would differ in."""

NOISE_HU: Final = 10.0
_NOISE_DRAWS: Final = 3
_NOISE_SEED: Final = 7001
_NOISE_SLICES: Final = 60
"""Noise is measured in the middle of so many slices, which bounds the memory."""

_EDGE_MM: Final = 0.5
_EDGE_GAIN: Final = 1.0
"""Unsharp masking: this standard deviation in the slice, and the factor of the details that are added again."""

_LANCZOS_LOBES: Final = 4


@dataclass(frozen=True)
class TextureVariant:
    """A variant of an intact neck and what it is compared for."""

    variant: Variant
    role: Role

    @property
    def name(self) -> str:
        """Name in files and tables."""
        return self.variant.name


def sharpen(volume: highdicom.Volume, _: Landmarks) -> highdicom.Volume:
    """Enhance the edges in each slice by unsharp masking, as kernels for bone do."""
    hu = volume.array.astype(np.float32)
    sigma = (0.0, *(_EDGE_MM / np.array(volume.spacing[1:])).tolist())
    return with_hu(volume, hu + np.float32(_EDGE_GAIN) * (hu - ndimage.gaussian_filter(hu, sigma, truncate=3.0)))


def more_noise(draw: int) -> Callable[[highdicom.Volume, Landmarks], highdicom.Volume]:
    """Return a variant with added noise of `NOISE_HU`, in the texture of the scan's own noise."""

    def apply(volume: highdicom.Volume, _: Landmarks) -> highdicom.Volume:
        hu = np.asarray(volume.array)
        first = max((len(hu) - _NOISE_SLICES) // 2, 0)
        noise = ScanNoise.measure(hu[first : first + _NOISE_SLICES])
        drawn = noise.draw(hu.shape, np.random.default_rng([_NOISE_SEED, draw]))
        return with_hu(volume, hu + np.float32(NOISE_HU) * drawn)

    return apply


def shift_half(*axes: int) -> Callable[[highdicom.Volume, Landmarks], highdicom.Volume]:
    """Return a variant on a grid that is shifted by half a voxel along some axes, without loss of sharpness.

    Windowed sinc interpolation (Duchon, Lanczos filtering in one and two dimensions, J Appl Meteorol 18, 1979); linear
    interpolation would blur by as much as a softer kernel.
    """

    def apply(volume: highdicom.Volume, _: Landmarks) -> highdicom.Volume:
        hu, first = volume.array.astype(np.float32), np.zeros(3)
        for axis in axes:
            # Taps lie half a voxel beside the voxels: the last one is left out of the odd number of weights.
            hu = ndimage.correlate1d(hu, [0.0, *_half_voxel_weights()], axis, mode="nearest")
            first[axis] = 0.5
        return with_hu(volume, hu, first=first)

    return apply


def _half_voxel_weights() -> list[float]:
    """Return the weights of the voxels about a point midway between two.

    >>> weights = _half_voxel_weights()
    >>> len(weights), round(sum(weights), 6), weights[3] == weights[4]
    (8, 1.0, True)
    """
    distance = np.arange(2 * _LANCZOS_LOBES) - _LANCZOS_LOBES + 0.5
    weights = np.sinc(distance) * np.sinc(distance / _LANCZOS_LOBES)
    return list((weights / weights.sum()).tolist())


def _noise_variant(draw: int) -> Variant:
    text = f"noise of {NOISE_HU:g} HU in the scan's own texture, draw {draw}"
    return Variant(f"noise-{draw}", text, more_noise(draw))


SLICES_MM: Final = (1.0, 2.0, 3.0)
BLURS_MM: Final = (0.5, 1.0)

VARIANTS: Final = (
    TextureVariant(AS_IS, "as is"),
    *(
        TextureVariant(
            Variant(f"slices-{mm:g}mm", f"averaged to slices of {mm:g} mm", average_slices(mm)), "sharpness"
        )
        for mm in SLICES_MM
    ),
    *(
        TextureVariant(
            Variant(f"blur-{mm:g}mm", f"blurred by {mm:g} mm (standard deviation) along each axis", blur(mm)),
            "sharpness",
        )
        for mm in BLURS_MM
    ),
    TextureVariant(Variant("sharpened", "edges enhanced in each slice by unsharp masking", sharpen), "kernel"),
    *(TextureVariant(variant, "kernel") for variant in GRID_AND_HU if variant.name.startswith("hu-")),
    *(TextureVariant(_noise_variant(draw), "repeat") for draw in range(1, _NOISE_DRAWS + 1)),
    TextureVariant(Variant("half-pixel", "interpolated half a pixel further along rows and columns", shift_half(1, 2)),
                   "repeat"),
    TextureVariant(Variant("half-slice", "interpolated half a slice further", shift_half(0)), "repeat"),
)  # fmt: skip
"""All variants of an intact neck, the scan itself first."""

ROLES: Final[dict[str, Role]] = {each.name: each.role for each in VARIANTS}
