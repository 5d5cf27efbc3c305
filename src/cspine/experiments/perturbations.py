"""Perturbations of scans by increasing severity: noise, kernel, thickness, rotation, JPEG, missing slices, cropping."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import highdicom
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from cspine.core.typing import Floats, HounsfieldUnits

Apply = Callable[[highdicom.Volume, float, np.random.Generator], highdicom.Volume]

_AIR_HU: Final = -1000

_JPEG_WINDOW_HU: Final = (-1000.0, 2000.0)
"""HU that the 256 gray values of a JPEG span."""

_GRAIN_MM: Final = 0.6
"""Full width at half maximum of the noise's grain, as of a usual kernel."""

_FWHM_PER_SIGMA: Final = 2 * float(np.sqrt(2 * np.log(2)))


@dataclass(frozen=True)
class Perturbation:
    """One way to degrade a scan.

    Attributes
    ----------
    name : str
        Name in commands and tables.
    description : str
        What is done to a scan, in words.
    unit : str
        Unit of the severities.
    severities : tuple of float
        The severities that are tested, in increasing order of degradation.
    apply : callable
        Takes a volume, a severity and a source of randomness, and returns the perturbed volume; the given one is not
        changed.
    """

    name: str
    description: str
    unit: str
    severities: tuple[float, ...]
    apply: Apply


def add_noise(volume: highdicom.Volume, sigma_hu: float, rng: np.random.Generator) -> highdicom.Volume:
    """Add Gaussian noise with the grain of a usual kernel, independent in each slice.

    Parameters
    ----------
    volume : highdicom.Volume
        The scan in Hounsfield units; it is not changed.
    sigma_hu : float
        Standard deviation of the noise.
    rng : Generator
        Random number generator; it is advanced.
    """
    sigma = _GRAIN_MM / _FWHM_PER_SIGMA / np.array(volume.spacing[1:])
    perturbed = np.empty_like(_array(volume))
    for k, plane in enumerate(_array(volume)):
        noise = ndimage.gaussian_filter(rng.standard_normal(plane.shape, dtype=np.float32), sigma, truncate=2.0)
        noise *= np.float32(sigma_hu / max(float(noise.std()), 1e-6))
        perturbed[k] = _round(plane + noise)
    return _with_array(volume, perturbed)


def blur_in_plane(volume: highdicom.Volume, fwhm_mm: float, rng: np.random.Generator) -> highdicom.Volume:  # noqa: ARG001
    """Blur each slice by a Gaussian of a full width at half maximum in mm, as a softer kernel does."""
    sigma = fwhm_mm / _FWHM_PER_SIGMA / np.array(volume.spacing[1:])
    perturbed = [_round(ndimage.gaussian_filter(plane.astype(np.float32), sigma)) for plane in _array(volume)]
    return _with_array(volume, np.stack(perturbed))


def thicken_slices(volume: highdicom.Volume, thickness_mm: float, rng: np.random.Generator) -> highdicom.Volume:  # noqa: ARG001
    """Average over slices of a thickness in mm, without overlap; a scan with thicker slices is returned as it is."""
    step, array = thickness_mm / float(volume.spacing[0]), _array(volume)
    count = int(len(array) / step + 1e-6)
    if step <= 1.0 or not count:
        return volume
    means = []
    for n in range(count):
        low, high = n * step, min((n + 1) * step, float(len(array)))
        inside = np.arange(int(low), min(int(np.ceil(high - 1e-9)), len(array)))
        weight = np.minimum(inside + 1, high) - np.maximum(inside, low)  # fraction of each slice
        means.append(_round(np.tensordot(weight.astype(np.float32), array[inside], axes=1) / np.float32(weight.sum())))
    affine = np.array(volume.affine)
    affine[:3, 3] += affine[:3, 0] * (step - 1) / 2
    affine[:3, 0] *= step
    return _with_array(volume, np.stack(means), affine)


def rotate(volume: highdicom.Volume, degrees: float, rng: np.random.Generator) -> highdicom.Volume:
    """Rotate every slice about its center, by an angle in degrees to a random side."""
    angle = degrees * (1 if rng.random() < 0.5 else -1)
    perturbed = [
        ndimage.rotate(plane, angle, reshape=False, order=1, mode="constant", cval=_AIR_HU) for plane in _array(volume)
    ]
    return _with_array(volume, np.stack(perturbed))


def jpeg_compress(volume: highdicom.Volume, loss: float, rng: np.random.Generator) -> highdicom.Volume:  # noqa: ARG001
    """Compress every slice to an 8-bit JPEG of quality 100 - loss, and decompress it."""
    low, high = _JPEG_WINDOW_HU
    perturbed = []
    for plane in _array(volume):
        gray = np.clip((plane - low) * (255.0 / (high - low)), 0.0, 255.0)
        buffer = io.BytesIO()
        Image.fromarray(np.rint(gray).astype(np.uint8)).save(buffer, "JPEG", quality=round(100 - loss))
        with Image.open(buffer) as image:
            hu = np.asarray(image, np.float32) * np.float32((high - low) / 255.0) + np.float32(low)
        perturbed.append(_round(hu))
    return _with_array(volume, np.stack(perturbed))


def drop_slices(volume: highdicom.Volume, percent: float, rng: np.random.Generator) -> highdicom.Volume:
    """Drop a percentage of the slices at random, never the first or last, and interpolate them linearly."""
    array = _array(volume)
    inner = np.arange(1, len(array) - 1)
    dropped = rng.choice(inner, round(percent / 100 * len(inner)), replace=False)
    kept = np.setdiff1d(np.arange(len(array)), dropped)
    perturbed = array.copy()
    for k in dropped.tolist():
        position = int(np.searchsorted(kept, k))
        before, after = int(kept[position - 1]), int(kept[position])
        weight = np.float32((k - before) / (after - before))
        perturbed[k] = _round(array[before] * (1 - weight) + array[after] * weight)
    return _with_array(volume, perturbed)


def crop_z(volume: highdicom.Volume, percent: float, rng: np.random.Generator) -> highdicom.Volume:
    """Cut off a percentage of the slices, at the head or at the feet."""
    array, affine = _array(volume), np.array(volume.affine)
    cut = min(round(percent / 100 * len(array)), len(array) - 2)
    if rng.random() < 0.5:
        affine[:3, 3] += affine[:3, 0] * cut
        return _with_array(volume, array[cut:], affine)
    return _with_array(volume, array[: len(array) - cut], affine)


def _array(volume: highdicom.Volume) -> HounsfieldUnits:
    return np.asarray(volume.array, np.int16)


def _with_array(volume: highdicom.Volume, array: HounsfieldUnits, affine: Floats | None = None) -> highdicom.Volume:
    return highdicom.Volume(array, volume.affine if affine is None else affine, "PATIENT")


def _round(values: npt.NDArray[np.floating]) -> HounsfieldUnits:
    return np.asarray(np.rint(values).astype(np.int16))


PERTURBATIONS: Final = {
    perturbation.name: perturbation
    for perturbation in (
        Perturbation("noise", "added noise", "HU", (20.0, 40.0, 80.0, 160.0), add_noise),
        Perturbation("kernel", "in-plane blur", "mm", (0.75, 1.5, 3.0), blur_in_plane),
        Perturbation("thickness", "slice thickness", "mm", (1.5, 2.0, 3.0, 4.0), thicken_slices),
        Perturbation("rotation", "in-plane rotation", "degrees", (5.0, 10.0, 20.0, 40.0), rotate),
        Perturbation("jpeg", "reduction of JPEG quality", "", (5.0, 25.0, 50.0, 80.0), jpeg_compress),
        Perturbation("missing", "interpolated slices", "%", (5.0, 10.0, 25.0, 50.0), drop_slices),
        Perturbation("crop", "scan length cut off", "%", (10.0, 20.0, 40.0), crop_z),
    )
}
"""All perturbations by name."""
