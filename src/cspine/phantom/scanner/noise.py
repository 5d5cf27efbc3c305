"""Image noise of CT: its spectrum, its streaks, and its standard deviation in each slice."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cspine.core.typing import Floats32
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.scanner.scanner import Scanner

_MIN_RELATIVE_POWER: Final = 2e-3
"""Frequencies whose noise is less than this fraction of the maximum are left out."""

_WATER_PER_MM: Final = 0.0195
"""Linear attenuation of water at 70 keV, the mean energy of a 120 kV beam."""

_MAX_RELATIVE_NOISE: Final = np.float32(4.0)
"""Upper bound of the noise of a slice relative to C4, as tube current modulation limits it."""


@dataclass(frozen=True)
class NoiseSpectra:
    """Amplitude spectra of noise and streaks, in the band of frequencies where there is any.

    The band is ``spectrum[:half, :width]`` and ``spectrum[-half:, :width]`` of the real transform of a slice; both
    parts are concatenated. Either spectrum keeps the unit variance of white noise.

    Attributes
    ----------
    half, width : int
        Rows at either end, and columns of the transform in the band.
    noise, streaks : (2 * half, width) float32
        Amplitudes of both in the band.
    """

    half: int
    width: int
    noise: Floats32
    streaks: Floats32

    @classmethod
    def of_kernel(cls, u: Floats32, frequency: Floats32, kernel: Floats32, columns: int) -> "NoiseSpectra":
        """Return the spectra for a kernel.

        The noise of filtered back projection rises with frequency until the kernel suppresses it (Riederer, Pelc and
        Chesler 1978). Streaks of photon starvation in the shoulders run laterally.

        Parameters
        ----------
        u, frequency : arrays
            Frequency along rows, and radial frequency, in cycles per mm.
        kernel : array
            Modulation transfer at these frequencies.
        columns : int
            Number of columns of the slice, before the transform.
        """
        noise = np.sqrt(frequency) * kernel
        streaks = noise * np.exp(-((u / np.float32(0.02)) ** 2))
        noise, streaks = _normalize_power(noise, columns), _normalize_power(streaks, columns)
        half, width = _band(noise)
        return cls(half, width, _in_band(noise, half, width), _in_band(streaks, half, width))


def _in_band(spectrum: Floats32, half: int, width: int) -> Floats32:
    return np.concatenate([spectrum[:half, :width], spectrum[-half:, :width]])


def _normalize_power(spectrum: Floats32, columns: int) -> Floats32:
    """Return a spectrum scaled so that white noise filtered by it keeps unit variance."""
    multiplicity = np.full(spectrum.shape[1], 2.0)  # of a real transform, all but the first and last column count twice
    multiplicity[0] = 1.0
    if columns % 2 == 0:
        multiplicity[-1] = 1.0
    power = float((spectrum.astype(np.float64) ** 2 @ multiplicity).sum())
    pixels = spectrum.shape[0] * columns
    return np.asarray(spectrum * np.float32(np.sqrt(pixels / power)), np.float32)


def _band(spectrum: Floats32) -> tuple[int, int]:
    """Return how many rows at either end, and how many columns, of a spectrum contain all relevant power."""
    rows, columns = np.nonzero(spectrum > _MIN_RELATIVE_POWER * spectrum.max())
    half = np.minimum(rows, len(spectrum) - rows).max() + 1
    return int(min(half, len(spectrum) // 2)), int(columns.max()) + 1


def white_noise_transform(
    shape: tuple[int, ...], band: tuple[int, ...], rng: np.random.Generator
) -> npt.NDArray[np.complex64]:
    """Draw a band of the Fourier transform of white noise of unit variance.

    The transform of white noise is white noise, so it is drawn directly. The first column of a real transform is
    conjugate symmetric; of one that is not, the inverse transform drops half the power, which is compensated.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the slice.
    band : (int, int)
        Rows and columns to draw.
    rng : numpy Generator
        Random number generator; it is advanced.
    """
    rows, columns = band
    parts = rng.standard_normal((rows, columns, 2), dtype=np.float32)
    parts *= np.float32(np.sqrt(shape[0] * shape[1] / 2))
    parts[:, 0] *= np.float32(np.sqrt(2))
    return parts.view(np.complex64)[..., 0]


def slice_noise_hu(neck: Neck, scanner: Scanner) -> tuple[Floats32, Floats32]:
    """Return the standard deviations of noise and of streaks in each slice, HU.

    Noise is proportional to the square root of the attenuation (Beer's law), averaged over a lateral and a frontal
    beam; the excess of the lateral beam becomes streaks. Tube current modulation halves the exponent.

    Returns
    -------
    noise, streaks : (k,) float32
        Standard deviation of noise and of streaks in each slice, in HU.
    """
    lateral, frontal = neck.soft_tissue.water_path_mm()
    z, z_of_path = scanner.grid.plane_z_mm, neck.soft_tissue.grid.plane_z_mm
    relative = [np.exp(0.5 * _WATER_PER_MM * np.interp(z, z_of_path, path)) for path in (lateral, frontal)]
    at_c4 = float(np.interp(0.0, z, 0.5 * relative[0] + 0.5 * relative[1]))
    noise = (0.5 * relative[0] + 0.5 * relative[1]) / at_c4
    noise = 1 + (noise - 1) * scanner.photon_starvation
    streaks = np.maximum(relative[0] - relative[1], 0) / at_c4 * scanner.photon_starvation
    return (
        np.minimum(noise, _MAX_RELATIVE_NOISE).astype(np.float32) * np.float32(scanner.noise_hu),
        np.minimum(0.8 * streaks, _MAX_RELATIVE_NOISE).astype(np.float32) * np.float32(scanner.noise_hu),
    )
