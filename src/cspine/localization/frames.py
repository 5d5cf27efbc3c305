"""Correction of frames: each vertebra is looked at once more, in a crop of finer voxels along its own axes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy
from scipy.spatial.transform import Rotation

from cspine.core.typing import Floats, Floats32
from cspine.dicom.hounsfield import AIR_HU
from cspine.localization.coarse import OFFSET_UNIT_MM, network_input
from cspine.localization.crops import CROP_SHAPE, ROTATION_UNIT_RAD, crop_affine
from cspine.localization.scan import Scan

RunNetwork = Callable[[Floats32], tuple[Floats32, Floats32]]
"""Maps crops, (n, 2, k, j, i), to class probabilities, (n, classes), and motions, (n, 6)."""

_REPEAT_MM: Final = 3.0
"""Frames that move farther than this are looked at once more where they have moved to."""

MAX_MOTION_MM: Final = 12.0
"""Farther than this a frame would move to the next vertebra; it is limited to this."""


@dataclass(frozen=True)
class RefinedFrames:
    """Corrected frames.

    Attributes
    ----------
    frames : (n, 4, 4)
        Affines from the vertebrae's frames to LPS mm.
    probabilities : (n, 12)
        Probability of each of `cspine.localization.crops.CROP_CLASSES`.
    """

    frames: Floats
    probabilities: Floats


def refine_frames(frames: Floats, scan: Scan, run_network: RunNetwork) -> RefinedFrames:
    """Correct frames.

    Parameters
    ----------
    frames : (n, 4, 4)
        Affines from the vertebrae's frames to LPS mm.
    scan : Scan
        What was scanned, on voxels of about `cspine.localization.crops.CROP_MM`.
    run_network : callable
        The frame network.
    """
    probabilities, motions = run_network(np.stack([crop_input(frame, scan) for frame in frames]))
    moved = np.stack([_move(frame, motion) for frame, motion in zip(frames, motions, strict=True)])
    far = np.flatnonzero(np.linalg.norm(moved[:, :3, 3] - frames[:, :3, 3], axis=1) > _REPEAT_MM)
    if len(far):
        again, motions = run_network(np.stack([crop_input(moved[number], scan) for number in far.tolist()]))
        probabilities = probabilities.copy()
        for number, row, motion in zip(far.tolist(), again, motions, strict=True):
            probabilities[number] = row
            moved[number] = _move(moved[number], motion)
    return RefinedFrames(moved, np.asarray(probabilities, np.float64))


def crop_input(frame: Floats, scan: Scan) -> Floats32:
    """Return the frame network's input for one vertebra, (2, k, j, i)."""
    to_index = np.linalg.inv(scan.affine_lps) @ crop_affine(frame)
    hu = np.empty(CROP_SHAPE, np.float32)
    scipy.ndimage.affine_transform(
        scan.hu, to_index[:3, :3], to_index[:3, 3], CROP_SHAPE, output=hu, order=1, mode="constant", cval=AIR_HU
    )
    axes = np.ogrid[tuple(slice(count) for count in CROP_SHAPE)]
    scanned = np.ones(CROP_SHAPE, np.bool_)
    for row, count in zip(to_index, scan.hu.shape, strict=False):
        at = row[3] + sum(along * step for along, step in zip(row[:3].tolist(), axes, strict=True))
        scanned &= (at >= -0.5) & (at <= count - 0.5)
    return network_input(hu, scanned)


def _move(frame: Floats, motion: Floats32) -> Floats:
    """Return a frame moved by what the network predicts, (6,)."""
    translation_mm = motion[:3].astype(np.float64) * OFFSET_UNIT_MM
    translation_mm *= min(1.0, MAX_MOTION_MM / max(float(np.linalg.norm(translation_mm)), 1e-6))
    step = np.eye(4)
    step[:3, :3] = Rotation.from_rotvec(motion[3:].astype(np.float64) * ROTATION_UNIT_RAD).as_matrix()
    step[:3, 3] = translation_mm
    return np.asarray(frame @ step)
