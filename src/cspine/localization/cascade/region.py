"""The region of the neck: which part of a whole scan the vertebra network looks at."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy

from cspine.core.typing import Bools, Floats, Floats32
from cspine.localization.coarse import REGION_MM, CoarseVolume, network_input
from cspine.localization.scan import Scan
from cspine.models.metadata import COARSE_MM, PADDING

REGION_CLASSES: Final = ("background", "head", "upper cervical", "lower cervical", "thoracic", "lumbar")
"""Classes of the region network: upper cervical is C1 and C2."""

SIDE_MULTIPLE: Final = 16
"""The networks halve their input four times: sides are multiples of this."""

RunNetwork = Callable[[Floats32], Floats32]
"""Maps an image, (2, k, j, i), to class probabilities, (classes, k, j, i)."""

_UPPER, _LOWER = REGION_CLASSES.index("upper cervical"), REGION_CLASSES.index("lower cervical")

_MIN_PROBABILITY: Final = 0.35
"""Voxels belong to the neck from this probability on: low, because the vertebra network looks at it once more."""

_MIN_NECK_MM3: Final = 1_000.0
"""Least volume of bone of a neck: half a vertebra of a small child."""

_MARGIN: Final = 2
"""Voxels around the scan that the region network sees."""

_TILE, _TILE_CONTEXT = 176, 48
"""Voxels along z that the region network sees at once, a meter, and of these what it sees around those that count where
a scan is longer: 29 cm, as far as it looks."""

_JOIN_VOXELS: Final = 3
"""Parts of the neck at most twice this far apart are one region."""

_HALF_SIZE_MM: Final = np.array([72.0, 90.0])
"""What the vertebra network sees to each side, and to the front and the back, of the middle of the neck."""

_BESIDE_MM: Final = 30.0
"""What it sees beside the bones of the neck, also of a bent one."""

_ABOVE_MM, _BELOW_MM = 54.0, 84.0
"""What it sees above and below the neck: the skull base, and thoracic vertebrae with their ribs."""

_MAX_LENGTH_MM: Final = 380.0

_BEYOND_MM: Final = COARSE_MM * np.array(PADDING[::-1])
"""What it sees beyond the scan along x, y and z, so that the origins of vertebrae that the scan cuts off lie inside."""


@dataclass(frozen=True)
class NeckRegion:
    """The part of a scan that holds the neck.

    Attributes
    ----------
    low_lps_mm, high_lps_mm : (3,)
        Lower and upper corner of its box.
    neck_mm3 : float
        Volume of bone of cervical vertebrae.
    """

    low_lps_mm: Floats
    high_lps_mm: Floats
    neck_mm3: float

    def network_box(self, scan: Scan) -> tuple[Floats, Floats]:
        """Return what the vertebra network sees: the region within the scan and a margin, of sides that it takes.

        Parameters
        ----------
        scan : Scan
            The whole scan.

        Returns
        -------
        low, high : (3,)
            Corners in LPS mm; they differ by multiples of `SIDE_MULTIPLE` voxels of `COARSE_MM`.
        """
        low, high = scan.extent_lps_mm
        low, high = np.maximum(self.low_lps_mm, low - _BEYOND_MM), np.minimum(self.high_lps_mm, high + _BEYOND_MM)
        side = SIDE_MULTIPLE * COARSE_MM
        missing = np.ceil(np.maximum(high - low, 1.0) / side - 0.02) * side - (high - low)
        return low - missing / 2, high + missing / 2


def _pad(coarse: CoarseVolume, margin: int) -> Floats32:
    """Return the network's input with a margin on all sides, up to multiples of `SIDE_MULTIPLE`, (2, k, j, i)."""
    widths = [(margin, margin + -(count + 2 * margin) % SIDE_MULTIPLE) for count in coarse.hu.shape]
    return network_input(np.pad(coarse.hu, widths), np.pad(coarse.scanned_mask, widths))


def _near_scanned(scanned: Bools) -> Bools:
    """Return which voxels lie in the scan or within `_MARGIN` of it: an oblique scan fills a part of its box only."""
    if scanned.all():
        return scanned
    return np.asarray(scipy.ndimage.binary_dilation(scanned, iterations=_MARGIN))


def _neck_probability(image: Floats32, run_network: RunNetwork) -> Floats32:
    """Return the probability that voxels belong to the neck, (k, j, i); long scans are seen in tiles that overlap.

    Parameters
    ----------
    image : (2, k, j, i)
        Input of the region network.
    run_network : callable
        The region network.
    """
    length = image.shape[1]
    neck = np.empty(image.shape[1:], np.float32)
    first = 0  # of the voxels that are not known yet
    while first < length:
        start = max(min(first - _TILE_CONTEXT, length - _TILE), 0)
        stop = min(start + _TILE, length)
        known = stop if stop == length else stop - _TILE_CONTEXT
        upper, lower = run_network(image[:, start:stop])[_UPPER : _LOWER + 1, first - start : known - start]
        np.add(upper, lower, out=neck[first:known])
        del upper, lower  # the tile's memory is free before the next one
        first = known
    return neck


def find_neck(coarse: CoarseVolume, run_network: RunNetwork) -> NeckRegion | None:
    """Return where the neck is in a whole scan, or None where no cervical vertebra is likely.

    Parameters
    ----------
    coarse : CoarseVolume
        The whole scan on voxels of `REGION_MM`.
    run_network : callable
        The region network.
    """
    k, j, i = (slice(_MARGIN, _MARGIN + count) for count in coarse.hu.shape)
    part = _neck_probability(_pad(coarse, _MARGIN), run_network)[k, j, i]
    neck = np.where(_near_scanned(coarse.scanned_mask), part, 0.0)
    mask = neck > _MIN_PROBABILITY
    grown = scipy.ndimage.binary_dilation(mask, iterations=_JOIN_VOXELS) if mask.any() else mask
    labels, count = scipy.ndimage.label(grown)
    if not count:
        return None
    volumes = np.bincount(labels[mask], weights=neck[mask], minlength=count + 1) * REGION_MM**3
    largest = int(volumes.argmax())
    if volumes[largest] < _MIN_NECK_MM3:
        return None
    index = np.argwhere(mask & (labels == largest))
    weights = neck[tuple(index.T)]
    lps = coarse.origin_lps_mm + REGION_MM * index[:, ::-1]
    bottom, top = np.quantile(lps[:, 2], [0.01, 0.99])
    middle = np.average(lps, axis=0, weights=weights)[:2]
    beside = np.quantile(lps[:, :2], [0.01, 0.99], axis=0) + _BESIDE_MM * np.array([[-1.0], [1.0]])
    first, last = np.minimum(middle - _HALF_SIZE_MM, beside[0]), np.maximum(middle + _HALF_SIZE_MM, beside[1])
    low = np.array([*first, max(bottom - _BELOW_MM, top + _ABOVE_MM - _MAX_LENGTH_MM)])
    high = np.array([*last, top + _ABOVE_MM])
    return NeckRegion(low, high, float(volumes[largest]))
