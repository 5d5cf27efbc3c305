"""Sharpness of a scan: the standard deviation of its point spread function along each axis of its voxels."""

from typing import Final

import numpy as np

from cspine.core.typing import Floats, Floats32, HounsfieldUnits

_MIN_STEP_HU: Final = 350.0
"""Edges are measured where attenuation rises by at least this much."""

_MIN_DIRECTION: Final = 0.93
"""Least fraction of the gradient along the axis at an edge."""

_HALF_WIDTH_MM: Final = 2.4
"""Distance from an edge at which the plateaus on its sides are read."""

_SHARP_QUANTILE: Final = 0.2
"""Most edges of a patient are no sharp steps; the sharpest show the scanner."""

_MIN_EDGES: Final = 40
_DEFAULT_SD_MM: Final = 0.42
"""Where a scan has fewer edges than this: a medium kernel."""

_MIN_SD_MM: Final = 0.18


def measure_sharpness(hu: HounsfieldUnits | Floats32, spacing_mm: Floats) -> Floats:
    """Measure the standard deviation of the point spread function along k, j and i, (3,) mm.

    A step of height h that was blurred by a Gaussian has the slope h / (sd sqrt(2 pi)) at its center. Central
    differences over two voxels add a third of the square of the spacing to the variance, which is taken off.

    Parameters
    ----------
    hu : (k, j, i)
        Hounsfield units about the spine.
    spacing_mm : (3,)
        Distance of neighboring voxels.
    """
    values = hu.astype(np.float32)
    gradients = np.gradient(values, *spacing_mm.tolist())
    steepness = np.sqrt(sum(gradient**2 for gradient in gradients))
    return np.array([_axis_sd(values, gradients[axis], steepness, axis, float(spacing_mm[axis])) for axis in range(3)])


def _axis_sd(values: Floats32, gradient: Floats32, steepness: Floats32, axis: int, spacing_mm: float) -> float:
    reach = max(round(_HALF_WIDTH_MM / spacing_mm), 2)
    if values.shape[axis] <= 2 * reach + 2:
        return max(_DEFAULT_SD_MM, 0.4 * spacing_mm)
    values, gradient, steepness = (np.moveaxis(each, axis, 0) for each in (values, gradient, steepness))
    inner = slice(reach, -reach)
    slope = np.abs(gradient[inner])
    is_peak = (slope >= np.abs(gradient[reach - 1 : -reach - 1])) & (slope >= np.abs(gradient[reach + 1 : -reach + 1]))
    is_edge = is_peak & (slope > _MIN_DIRECTION * steepness[inner]) & (slope * 3.0 > _MIN_STEP_HU)
    k, j, i = np.nonzero(is_edge)
    if not len(k):
        return max(_DEFAULT_SD_MM, 0.4 * spacing_mm)
    profile = np.stack([values[k + reach + offset, j, i] for offset in range(-reach, reach + 1)])
    rising = np.where(gradient[k + reach, j, i] > 0, 1.0, -1.0)
    step = (profile[reach:].max(axis=0) - profile[: reach + 1].min(axis=0)) * (rising > 0)
    step += (profile[: reach + 1].max(axis=0) - profile[reach:].min(axis=0)) * (rising < 0)
    steep = slope[k, j, i]
    sd = step[step > _MIN_STEP_HU] / (steep[step > _MIN_STEP_HU] * np.sqrt(2 * np.pi))
    if len(sd) < _MIN_EDGES:
        return max(_DEFAULT_SD_MM, 0.4 * spacing_mm)
    variance = float(np.quantile(sd, _SHARP_QUANTILE)) ** 2 - spacing_mm**2 / 3
    return float(np.sqrt(max(variance, _MIN_SD_MM**2)))
