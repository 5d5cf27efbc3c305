"""Hashes of a scan's Hounsfield units, by which the same scan is recognized in other files.

Headers, file names, compression without loss, the order of axes and the directions in which they run do not count:
a volume is turned to the head, the back and the left, and clipped to what all formats keep. Resampled scans, scans
cropped within their slices, lossy copies, and other reconstructions of one acquisition have other hashes.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

import highdicom
import numpy as np

from cspine.core.typing import HounsfieldUnits

SCAN_HASH: Final = "hu-1"
"""Name of the hashes: they are compared with those of the same name only."""

_RANGE_HU: Final = (-1000, 2000)
"""Values are clipped to this range: padding, metal and the limits of 12 bits differ between exports of one scan."""

_MIN_CONTRAST_HU: Final = 200
"""Planes of less contrast, such as air above a table, are no evidence of a scan."""


@dataclass(frozen=True)
class ScanHash:
    """Hashes of a scan.

    Attributes
    ----------
    content_sha256 : str
        SHA-256 of the volume's shape and of the hashes of all its planes.
    planes : tuple of str
        Hash of each axial plane with contrast, toward the head, 16 hex digits.
    """

    content_sha256: str
    planes: tuple[str, ...]


def canonical(volume: highdicom.Volume) -> highdicom.Volume:
    """Return a volume with its axes toward the head, the back and the left, as nearly as without resampling."""
    return volume.to_patient_orientation("HPL")


def hash_scan(volume: highdicom.Volume) -> ScanHash:
    """Return the hashes of a volume.

    Parameters
    ----------
    volume : highdicom.Volume
        HU, as of `canonical`.
    """
    content = hashlib.sha256(f"{SCAN_HASH} {volume.spatial_shape}".encode())
    planes = []
    for plane in volume.array:
        clipped: HounsfieldUnits = np.ascontiguousarray(np.clip(plane, *_RANGE_HU), "<i2")
        digest = hashlib.blake2b(clipped.data, person=SCAN_HASH.encode()).digest()
        content.update(digest)
        if int(np.ptp(clipped)) >= _MIN_CONTRAST_HU:
            planes.append(digest[:8].hex())
    return ScanHash(content.hexdigest(), tuple(planes))
