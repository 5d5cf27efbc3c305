"""Reconstruction kernel and patient motion as factors on the Fourier transform of a slice."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import fft

from cspine.core.typing import Bools, Floats, Floats32
from cspine.phantom.scanner.scanner import Scanner


def spatial_frequencies(shape: tuple[int, ...], pixel_mm: Sequence[float] | Floats) -> tuple[Floats, Floats]:
    """Return the frequencies of the real 2-D Fourier transform of a slice, in cycles per mm.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the slice.
    pixel_mm : (float, float)
        Spacing of rows and of columns.

    Returns
    -------
    v : (rows, 1)
        Frequencies along a column.
    u : (1, columns // 2 + 1)
        Frequencies along a row.
    """
    return fft.fftfreq(shape[0], pixel_mm[0])[:, None], fft.rfftfreq(shape[1], pixel_mm[1])[None, :]


def modulation_transfer(frequency: Floats32, mtf50_per_mm: float, edge_enhancement: float) -> Floats32:
    """Return the modulation transfer function of a kernel: a Gaussian, with a gain that rises with frequency.

    Parameters
    ----------
    frequency : array
        Spatial frequency, in cycles per mm.
    mtf50_per_mm : float
        Frequency at which the function is 0.5 without edge enhancement.
    edge_enhancement : float
        0 for a soft-tissue kernel; 1 for a bone kernel, which overshoots.
    """
    square = (frequency / np.float32(mtf50_per_mm)) ** 2
    return np.asarray((1 + np.float32(edge_enhancement) * square) * np.exp(-np.float32(np.log(2)) * square), np.float32)


def frequency_and_kernel(scanner: Scanner) -> tuple[Floats32, Floats32, Floats32]:
    """Return the frequency along rows, the radial frequency and the kernel, at the frequencies of a slice."""
    grid = scanner.grid
    v, u = (values.astype(np.float32) for values in spatial_frequencies(grid.shape[1:], grid.spacing_mm[1:]))
    frequency = np.hypot(u, v)
    return u, frequency, modulation_transfer(frequency, scanner.mtf50_per_mm, scanner.edge_enhancement)


def motion_transfer(scanner: Scanner) -> tuple[npt.NDArray[np.complex64] | None, Bools]:
    """Return the factor of patient motion on the transform of a slice, and which slices it affects, (k,).

    The patient is at two positions for half of the time each. The factor is None where nobody moved.
    """
    grid = scanner.grid
    if scanner.motion_mm is None:
        return None, np.zeros(grid.shape[0], bool)
    low, high, x, y = scanner.motion_mm
    v, u = spatial_frequencies(grid.shape[1:], grid.spacing_mm[1:])
    z = grid.plane_z_mm
    return (0.5 + 0.5 * np.exp(-2j * np.pi * (u * x + v * y))).astype(np.complex64), (z >= low) & (z <= high)
