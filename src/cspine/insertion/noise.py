"""Noise of a scan: its standard deviation and correlation are measured, and what resampling takes away is restored."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from cspine.core.typing import Floats, Floats32, HounsfieldUnits

SPLINE_ORDER: Final = 3
"""Order of the spline that resamples: cubic splines keep most of the noise of CT."""

_TISSUE_HU: Final = (-30.0, 120.0)
"""Noise is measured in muscle and other soft tissue."""

_PATCH: Final = 12
"""Pixels along the sides of the patches in which it is measured."""

_QUIET_FRACTION: Final = 0.25
"""Fraction of the patches, those of least variance, that show noise and no anatomy."""

_BIAS: Final = 1.15
"""Standard deviation of noise over that measured: patches of least variance have less, and so have they without a
plane; measured on correlated noise of known standard deviation."""

_MIN_PATCHES: Final = 12
_N_FRACTIONS: Final = 33
_TAPS: Final = 8
"""Voxels on either side that a cubic spline depends on to within 0.01 %."""

_DEFAULT_NOISE_HU: Final = 20.0


@dataclass(frozen=True)
class ScanNoise:
    """Stationary noise with separable correlation.

    Attributes
    ----------
    noise_hu : float
        Standard deviation.
    amplitude : (patch, patch // 2 + 1)
        Amplitude spectrum of a patch of a slice, of unit variance.
    slice_correlation : float
        Correlation of the noise of neighboring slices.
    """

    noise_hu: float
    amplitude: Floats
    slice_correlation: float

    @classmethod
    def measure(cls, hu: HounsfieldUnits | Floats32) -> "ScanNoise":
        """Measure the noise in the soft tissue of a part of a scan, (k, j, i)."""
        patches, above = _tissue_patches(hu)
        if len(patches) < _MIN_PATCHES:
            flat = np.ones((_PATCH, _PATCH // 2 + 1))
            return cls(_DEFAULT_NOISE_HU, flat, 0.0)
        variance = patches.var(axis=(1, 2))
        quiet = np.argsort(variance)[: max(int(_QUIET_FRACTION * len(patches)), _MIN_PATCHES)]
        noise, above = patches[quiet], above[quiet]
        window = np.hanning(_PATCH + 2)[1:-1]
        power = (np.abs(fft.rfft2(noise * np.outer(window, window))) ** 2).mean(axis=0)
        power[0, 0] = power[0, 1]
        correlation = float((noise * above).mean() / np.sqrt((noise**2).mean() * (above**2).mean()))
        return cls(_BIAS * float(np.sqrt((noise**2).mean())), np.sqrt(power), float(np.clip(correlation, 0.0, 0.95)))

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Floats32:
        """Draw noise of unit variance, (k, j, i)."""
        v = np.abs(fft.fftfreq(shape[1]))[:, None] * _PATCH
        u = fft.rfftfreq(shape[2])[None, :] * _PATCH
        amplitude = ndimage.map_coordinates(self._folded, np.broadcast_arrays(v, u), order=1, mode="nearest")
        memory = self.slice_correlation
        noise = np.empty(shape, np.float32)
        latest = np.zeros(shape[1:])
        for k in range(shape[0]):
            white = fft.irfft2(fft.rfft2(rng.standard_normal(shape[1:])) * amplitude, s=shape[1:])
            latest = white if k == 0 else memory * latest + np.sqrt(1 - memory**2) * white
            noise[k] = latest
        return np.asarray(noise / max(float(noise.std()), 1e-6), np.float32)

    @cached_property
    def _folded(self) -> Floats:
        """The amplitude of the non-negative frequencies along a column."""
        half = _PATCH // 2
        return np.asarray((self.amplitude[: half + 1] + self.amplitude[-np.arange(half + 1)]) / 2)

    def kept_variance(self, index: Floats32) -> Floats32:
        """Return the fraction of the noise's variance that resampling keeps.

        Parameters
        ----------
        index : (3, ...)
            Positions at which the scan is sampled, in voxels.

        Returns
        -------
        (...) float32
            1 where positions are voxel centers.
        """
        kept = np.ones(index.shape[1:], np.float32)
        for axis in range(3):
            fraction = index[axis] - np.floor(index[axis])
            position = fraction * np.float32(_N_FRACTIONS - 1)
            kept *= np.interp(position, np.arange(_N_FRACTIONS), self._kept_along[axis]).astype(np.float32)
        return kept

    @cached_property
    def _kept_along(self) -> Floats:
        """The fraction of variance kept by the fraction of a voxel, along k, j and i, (3, fractions)."""
        lags = np.arange(2 * _TAPS + 2)
        power = self.amplitude**2
        rows, columns = np.arange(len(power)), np.arange(power.shape[1])
        weight = np.where((columns == 0) | (columns == power.shape[1] - 1), 1.0, 2.0)
        along_j = [float((power * weight * np.cos(2 * np.pi * rows[:, None] * lag / _PATCH)).sum()) for lag in lags]
        along_i = [float((power * weight * np.cos(2 * np.pi * columns * lag / _PATCH)).sum()) for lag in lags]
        envelope = np.where(lags < _PATCH // 2, 1.0, 0.0)  # the spectrum of a patch says nothing of longer lags
        correlations = [
            np.asarray(self.slice_correlation**lags, np.float64),
            np.array(along_j) / along_j[0] * envelope,
            np.array(along_i) / along_i[0] * envelope,
        ]
        return np.array([_kept_by_fraction(each) for each in correlations])


def _kept_by_fraction(correlation: Floats) -> Floats:
    """Return the variance of interpolated noise of unit variance, by the fraction of a voxel."""
    impulse = np.zeros(2 * _TAPS + 2)
    impulse[_TAPS] = 1.0
    voxels = np.arange(2 * _TAPS)
    toeplitz = correlation[np.abs(voxels[:, None] - voxels)]
    kept = []
    for fraction in np.linspace(0, 1, _N_FRACTIONS):
        position = np.arange(1, 2 * _TAPS + 1) - fraction
        taps = ndimage.map_coordinates(impulse, position[None], order=SPLINE_ORDER)
        kept.append(float(taps @ toeplitz @ taps))
    return np.asarray(np.minimum(kept, 1.0))


def _tissue_patches(hu: npt.NDArray[np.generic]) -> tuple[Floats, Floats]:
    """Return patches of soft tissue without their plane, (n, patch, patch), and those of the slices above them."""
    planes, rows, columns = hu.shape[0], hu.shape[1] // _PATCH, hu.shape[2] // _PATCH
    if planes < 2 or not rows or not columns:
        return np.zeros((0, _PATCH, _PATCH)), np.zeros((0, _PATCH, _PATCH))
    cut = np.asarray(hu[:, : rows * _PATCH, : columns * _PATCH], np.float64)
    patches = cut.reshape(planes, rows, _PATCH, columns, _PATCH).transpose(0, 1, 3, 2, 4)
    lower, upper = (part.reshape(-1, _PATCH, _PATCH) for part in (patches[:-1], patches[1:]))
    smooth = ndimage.uniform_filter(lower, (0, 5, 5))
    least, most = _TISSUE_HU
    is_tissue = (smooth.min(axis=(1, 2)) > least) & (smooth.max(axis=(1, 2)) < most)
    return _without_plane(lower[is_tissue]), _without_plane(upper[is_tissue])


def _without_plane(patches: Floats) -> Floats:
    """Return patches less the plane that fits each best."""
    ramp = np.linspace(-1, 1, _PATCH)
    basis = np.stack([np.ones((_PATCH, _PATCH)), *np.meshgrid(ramp, ramp)]).reshape(3, -1)
    flat = patches.reshape(-1, _PATCH**2)
    fitted = np.linalg.lstsq(basis.T, flat.T, rcond=None)[0]
    return np.asarray((flat - (basis.T @ fitted).T).reshape(patches.shape))
