"""The vertebra network's outputs, and the vertebrae that they are grouped to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy

from cspine.core.typing import Bools, Floats, Floats32, Indices
from cspine.localization.cascade.crops import CROP_CLASSES
from cspine.localization.coarse import OFFSET_UNIT_MM, CoarseVolume, network_input
from cspine.localization.instances import Instance, VoxelVotes, find_instances
from cspine.models.metadata import PADDING

VERTEBRA_CLASSES: Final = ("background", *CROP_CLASSES[1:], "head")
"""Classes of the vertebra network: thoracic is T3 to T12, lumbar includes the sacrum."""

RunNetwork = Callable[[Floats32], tuple[Floats32, Floats32]]
"""Maps an image, (2, k, j, i), to class probabilities, (classes, k, j, i), and coordinates, (6, k, j, i)."""

_VERTEBRAL: Final = slice(1, len(CROP_CLASSES))
_HEAD: Final = VERTEBRA_CLASSES.index("head")

_N_NEAR_NECK: Final = CROP_CLASSES.index("T2")
_MIN_NEAR_NECK: Final = 0.05
"""Vertebrae that are cervical, or T1 or T2, with less than this probability are not looked at closely."""

_MIN_BONE_PROBABILITY: Final = 0.5
"""Voxels belong to a vertebra, or to the head, from this probability on."""

_MAX_BONE_VOXELS: Final = 1_000_000
"""Largest number of voxels of vertebrae: 27 l, of which a skeleton has less than one. A network that predicts more has
learned nothing, and its votes would take gigabytes."""

_MIN_VOXEL_PROBABILITY: Final = 1e-4
"""Floor of a voxel's level probabilities before taking logarithms."""

_EVEN_ODDS_MM3: Final = 700.0
"""Bone volume at which an instance is as likely a vertebra as not; a complete one has 7,000 or more."""

_MAX_LOG_ODDS: Final = 6.0
"""Upper limit of the log-odds from bone volume."""

_MISFIT_SD_MM: Final = 4.0
"""Standard deviation of the misfit of vertebrae."""


@dataclass(frozen=True)
class VertebralVoxels:
    """The vertebra network's outputs at the voxels of vertebrae.

    Attributes
    ----------
    index : (n, 3) int
        Indices of the voxels in the coarse volume.
    lps_mm : (n, 3)
        Their centers in LPS mm.
    is_scanned : (n,) bool
        Whether they lie in the scan.
    level_probabilities : (n, 11)
        Probability of C1 to C7, T1, T2, thoracic and lumbar; a row sums to the probability of a vertebra at all.
    votes : VoxelVotes
        Where they vote the origins of their vertebrae to be.
    head_lps_mm : (m, 3)
        Centers of the voxels of the bones of the head, in LPS mm.
    """

    index: Indices
    lps_mm: Floats
    is_scanned: Bools
    level_probabilities: Floats
    votes: VoxelVotes
    head_lps_mm: Floats

    @property
    def weights(self) -> Floats:
        """The probability of each voxel to belong to a vertebra, (n,)."""
        return self.votes.weights

    def instances(self) -> list[Instance]:
        """Group the voxels to vertebrae, of which at least a part was scanned, from the head down."""
        return [each for each in find_instances(self.votes) if self.is_scanned[each.members].any()]

    def log_odds(self, instance: Instance) -> float:
        """Return the log-odds of an instance to be a vertebra.

        They rise with the bone volume and fall with the square of the misfit of its frame.
        """
        bone_mm3 = float(self.weights[instance.members].sum()) * self.votes.voxel_mm3
        from_volume = min(2.0 * float(np.log(bone_mm3 / _EVEN_ODDS_MM3)), _MAX_LOG_ODDS)
        return from_volume - 0.5 * (instance.misfit_mm / _MISFIT_SD_MM) ** 2

    def is_near_neck(self, instance: Instance) -> bool:
        """Return whether an instance may be one of C1 to T2."""
        mean = self.mean_probabilities(instance)
        return bool(mean[:_N_NEAR_NECK].sum() >= _MIN_NEAR_NECK * mean.sum())

    def mean_probabilities(self, instance: Instance) -> Floats:
        """Return the weighted geometric mean of the probability of each level over an instance's voxels, (11,)."""
        probabilities = self.level_probabilities[instance.members]
        fraction = self.weights[instance.members] / self.weights[instance.members].sum()
        probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)
        return np.asarray(np.exp(fraction @ np.log(np.maximum(probabilities, _MIN_VOXEL_PROBABILITY))))


def _near_scanned(scanned: Bools) -> Bools:
    """Return which voxels lie in the scan or within `PADDING` of it; the network has not learned what lies beyond."""
    if scanned.all():
        return scanned
    size = [2 * count + 1 for count in PADDING]
    return np.asarray(scipy.ndimage.maximum_filter(scanned.view(np.uint8), size) > 0)


def find_vertebral_voxels(coarse: CoarseVolume, run_network: RunNetwork) -> VertebralVoxels | None:
    """Run the vertebra network.

    Parameters
    ----------
    coarse : CoarseVolume
        The region of the neck on voxels of `COARSE_MM`; its sides are what the network takes.
    run_network : callable
        The vertebra network.

    Returns
    -------
    VertebralVoxels or None
        None where there is no voxel of a vertebra, or implausibly many.
    """
    outputs, positions = run_network(network_input(coarse.hu, coarse.scanned_mask))
    levels = outputs[_VERTEBRAL]
    is_bone = (levels.sum(axis=0) > _MIN_BONE_PROBABILITY) & _near_scanned(coarse.scanned_mask)
    index = np.argwhere(is_bone)
    if not 0 < len(index) <= _MAX_BONE_VOXELS or not (is_bone & coarse.scanned_mask).any():
        return None
    lps = coarse.origin_lps_mm + coarse.spacing_mm * index[:, ::-1]
    head = np.argwhere((outputs[_HEAD] > _MIN_BONE_PROBABILITY) & coarse.scanned_mask)
    head_lps = coarse.origin_lps_mm + coarse.spacing_mm * head[:, ::-1]
    positions_mm = positions[:, is_bone].T.astype(np.float64) * OFFSET_UNIT_MM
    probabilities = levels[:, is_bone].T.astype(np.float64)
    votes = VoxelVotes(lps, positions_mm[:, :3], positions_mm[:, 3:], probabilities, coarse.spacing_mm**3)
    return VertebralVoxels(index, lps, coarse.scanned_mask[is_bone], probabilities, votes, head_lps)
