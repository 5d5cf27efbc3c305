"""Ways to make a scan worse, each by degrees: noise, kernel, thickness, rotation, JPEG, missing slices, cropping."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import highdicom
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

Slices = npt.NDArray[np.int16]
Change = Callable[[highdicom.Volume, float, np.random.Generator], highdicom.Volume]

_AIR_HU: Final = -1000
_LOSSY_HU: Final = (-1000.0, 2000.0)
"""What 8 bits of a lossy JPEG hold."""

_GRAIN_MM: Final = 0.6
_TO_DEVIATION: Final = 2 * float(np.sqrt(2 * np.log(2)))


@dataclass(frozen=True)
class Suite:
    """One way to make scans worse.

    Attributes
    ----------
    says : str
        What is done, in words.
    unit : str
        Of the severities.
    severities : tuple of float
        Rising; beside them the scan is read as it is.
    change : callable
        Takes a volume, a severity and a source of chance; returns the worse volume.
    """

    name: str
    says: str
    unit: str
    severities: tuple[float, ...]
    change: Change


def _slices(volume: highdicom.Volume) -> Slices:
    return np.asarray(volume.array, np.int16)


def _like(volume: highdicom.Volume, array: Slices, affine: npt.NDArray[np.float64] | None = None) -> highdicom.Volume:
    return highdicom.Volume(array, volume.affine if affine is None else affine, "PATIENT")


def noisier(volume: highdicom.Volume, deviation_hu: float, rng: np.random.Generator) -> highdicom.Volume:
    """Add noise with the grain of a usual kernel, in every slice its own."""
    sigma = _GRAIN_MM / _TO_DEVIATION / np.array(volume.spacing[1:])
    changed = np.empty_like(_slices(volume))
    for k, plane in enumerate(_slices(volume)):
        noise = ndimage.gaussian_filter(rng.standard_normal(plane.shape, dtype=np.float32), sigma, truncate=2.0)
        noise *= np.float32(deviation_hu / max(float(noise.std()), 1e-6))
        changed[k] = _whole(plane + noise)
    return _like(volume, changed)


def softer(volume: highdicom.Volume, width_mm: float, rng: np.random.Generator) -> highdicom.Volume:  # noqa: ARG001
    """Blur each slice by a Gaussian of this width at half its height."""
    sigma = width_mm / _TO_DEVIATION / np.array(volume.spacing[1:])
    changed = [_whole(ndimage.gaussian_filter(plane.astype(np.float32), sigma)) for plane in _slices(volume)]
    return _like(volume, np.stack(changed))


def thicker(volume: highdicom.Volume, thickness_mm: float, rng: np.random.Generator) -> highdicom.Volume:  # noqa: ARG001
    """Average the scan over slices of this thickness, without overlap; thicker ones stay as they are."""
    step, array = thickness_mm / float(volume.spacing[0]), _slices(volume)
    count = int(len(array) / step + 1e-6)
    if step <= 1.0 or not count:
        return volume
    mean = []
    for n in range(count):
        low, high = n * step, min((n + 1) * step, float(len(array)))
        inside = np.arange(int(low), min(int(np.ceil(high - 1e-9)), len(array)))
        share = np.minimum(inside + 1, high) - np.maximum(inside, low)  # of each slice
        mean.append(_whole(np.tensordot(share.astype(np.float32), array[inside], axes=1) / np.float32(share.sum())))
    affine = np.array(volume.affine)
    affine[:3, 3] += affine[:3, 0] * (step - 1) / 2
    affine[:3, 0] *= step
    return _like(volume, np.stack(mean), affine)


def turned(volume: highdicom.Volume, degrees: float, rng: np.random.Generator) -> highdicom.Volume:
    """Turn every slice about its middle, to either side."""
    angle = degrees * (1 if rng.random() < 0.5 else -1)
    changed = [
        ndimage.rotate(plane, angle, reshape=False, order=1, mode="constant", cval=_AIR_HU) for plane in _slices(volume)
    ]
    return _like(volume, np.stack(changed))


def lossier(volume: highdicom.Volume, loss: float, rng: np.random.Generator) -> highdicom.Volume:  # noqa: ARG001
    """Send every slice through a JPEG of 8 bits, of quality 100 less the loss."""
    low, high = _LOSSY_HU
    changed = []
    for plane in _slices(volume):
        grey = np.clip((plane - low) * (255.0 / (high - low)), 0.0, 255.0)
        held = io.BytesIO()
        Image.fromarray(np.rint(grey).astype(np.uint8)).save(held, "JPEG", quality=round(100 - loss))
        with Image.open(held) as image:
            changed.append(_whole(np.asarray(image, np.float32) * np.float32((high - low) / 255.0) + np.float32(low)))
    return _like(volume, np.stack(changed))


def sparser(volume: highdicom.Volume, percent: float, rng: np.random.Generator) -> highdicom.Volume:
    """Lose slices at random, but the first and last, and bridge each gap between the slices that are left."""
    array = _slices(volume)
    inner = np.arange(1, len(array) - 1)
    lost = rng.choice(inner, round(percent / 100 * len(inner)), replace=False)
    kept = np.setdiff1d(np.arange(len(array)), lost)
    changed = array.copy()
    for k in lost.tolist():
        above = int(np.searchsorted(kept, k))
        before, after = int(kept[above - 1]), int(kept[above])
        share = np.float32((k - before) / (after - before))
        changed[k] = _whole(array[before] * (1 - share) + array[after] * share)
    return _like(volume, changed)


def cropped(volume: highdicom.Volume, percent: float, rng: np.random.Generator) -> highdicom.Volume:
    """Cut off so much of the scan's length, at the head or at the feet."""
    array, affine = _slices(volume), np.array(volume.affine)
    cut = min(round(percent / 100 * len(array)), len(array) - 2)
    if rng.random() < 0.5:
        affine[:3, 3] += affine[:3, 0] * cut
        return _like(volume, array[cut:], affine)
    return _like(volume, array[: len(array) - cut], affine)


def _whole(values: npt.NDArray[np.floating]) -> Slices:
    return np.asarray(np.rint(values).astype(np.int16))


SUITES: Final = {
    suite.name: suite
    for suite in (
        Suite("noise", "noise is added", "HU", (20.0, 40.0, 80.0, 160.0), noisier),
        Suite("kernel", "slices are blurred", "mm", (0.75, 1.5, 3.0), softer),
        Suite("thickness", "slices are averaged", "mm", (1.5, 2.0, 3.0, 4.0), thicker),
        Suite("rotation", "slices are turned", "degrees", (5.0, 10.0, 20.0, 40.0), turned),
        Suite("jpeg", "slices go through a JPEG of quality 100 less", "", (5.0, 25.0, 50.0, 80.0), lossier),
        Suite("missing", "slices are lost and bridged", "%", (5.0, 10.0, 25.0, 50.0), sparser),
        Suite("crop", "the scan is cut shorter by", "%", (10.0, 20.0, 40.0), cropped),
    )
}
"""By name."""
