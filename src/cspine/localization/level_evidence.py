"""What is known of the detections of a scan before their levels are assigned."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from cspine.core.anatomy import VERTEBRAE
from cspine.core.typing import Floats, Indices
from cspine.spine.level_settings import LEVELS, LevelAssignmentSettings

N_CLASSES: Final = 11
"""C1 to C7, T1, T2, T3 to T12 as one, and lumbar or sacral as one."""

_CLASS_OF_LEVEL: Final = np.array([*range(9), *[9] * 10, *[10] * 6])
"""The class of each of `LEVELS`."""


@dataclass(frozen=True)
class AnchorEvidence:
    """Evidence on levels that does not come from the vertebrae's own bone; each part is neutral where it is None.

    Attributes
    ----------
    skull_base_lps_mm : (3,) or None
        The lowest part of the skull base above the column; None where no skull is seen.
    scanned_above_mm, scanned_below_mm : (n,) or None
        How far the scan goes on above and below each detection's origin along the column. Levels that would lie there
        were missed if the column begins or ends at the detection.
    """

    skull_base_lps_mm: Floats | None = None
    scanned_above_mm: Floats | None = None
    scanned_below_mm: Floats | None = None


@dataclass(frozen=True)
class Detections:
    """The detections of one scan, from the head down.

    Attributes
    ----------
    class_probabilities : (n, `N_CLASSES`)
        Probability of each class for each detection on its own. With `n_voxels`, the geometric mean of the
        voxels' probabilities, which need not sum to 1.
    frames : (n, 4, 4)
        Affines from the detections' frames to LPS mm.
    log_odds : (n,)
        Log-odds of each detection to be a vertebra.
    n_voxels : (n,) or None
        Voxels of each detection, by which the class probabilities are raised to a number of votes; None where they are
        those of the detection as a whole.
    anchors : AnchorEvidence
        Other evidence.
    crop_probabilities : (n, `N_CLASSES`) or None
        Probability of each class from a second network, which looked at each detection more closely.
    """

    class_probabilities: Floats
    frames: Floats
    log_odds: Floats
    n_voxels: Indices | None = None
    anchors: AnchorEvidence = field(default_factory=AnchorEvidence)
    crop_probabilities: Floats | None = None

    def __len__(self) -> int:
        return len(self.class_probabilities)

    def subset(self, members: Indices) -> "Detections":
        """Return some of the detections."""
        a = self.anchors
        above, below = (None if part is None else part[members] for part in (a.scanned_above_mm, a.scanned_below_mm))
        return Detections(
            self.class_probabilities[members],
            self.frames[members],
            self.log_odds[members],
            None if self.n_voxels is None else self.n_voxels[members],
            AnchorEvidence(a.skull_base_lps_mm, above, below),
            None if self.crop_probabilities is None else self.crop_probabilities[members],
        )

    def log_emissions(self, settings: LevelAssignmentSettings) -> Floats:
        """Return the log-likelihood of each level for each detection on its own, (n, states).

        A product of experts over the voxels: the mean of their log-probabilities times the number of effective votes.
        """
        if self.n_voxels is None:
            probabilities = self.class_probabilities
        else:
            votes = np.minimum(self.n_voxels / settings.voxels_per_vote, settings.max_votes)
            logits = votes[:, None] * np.log(self.class_probabilities)
            softmax = np.exp(logits - logits.max(axis=1, keepdims=True))
            probabilities = softmax / softmax.sum(axis=1, keepdims=True)
        log_probabilities = np.log(np.maximum(probabilities, settings.min_class_probability))
        if self.crop_probabilities is not None:
            ratios = N_CLASSES * np.maximum(self.crop_probabilities, settings.min_class_probability)
            log_probabilities += settings.crop_weight * np.log(ratios)  # 0 where all classes are equally likely
        return np.asarray(log_probabilities[:, _CLASS_OF_LEVEL])

    def log_start(self, settings: LevelAssignmentSettings, sizes: Floats) -> Floats:
        """Return the log-odds that the column begins at each detection and level, (n, sizes, states)."""
        n_states, anchors = len(LEVELS), self.anchors
        prior = self.first_level_log_prior(settings)
        log_odds = np.broadcast_to(prior, (len(self), len(sizes), n_states))
        heights_mm = np.concatenate([[0.0], np.cumsum(settings.spacing_mm[: n_states - 1])])
        n_missed = np.zeros((len(self), len(sizes), n_states))
        if anchors.scanned_above_mm is not None:
            n_missed = _count_levels(anchors.scanned_above_mm, heights_mm, sizes)
        if anchors.skull_base_lps_mm is not None:
            n_missed = np.maximum(n_missed, np.arange(n_states))
            way = anchors.skull_base_lps_mm - self.frames[:, :3, 3]
            above_mm = np.maximum(np.einsum("ij,ij->i", way, self.frames[:, :3, 2]), 1.0)
            expected_mm = sizes[:, None] * (settings.skull_distance_mm + heights_mm)
            deviation = np.log(above_mm)[:, None, None] - np.log(expected_mm)
            log_odds = log_odds - 0.5 * (deviation / settings.skull_log_sd) ** 2
        return np.asarray(log_odds + settings.skip_log_odds * n_missed)

    def first_level_log_prior(self, settings: LevelAssignmentSettings) -> Floats:
        """Return the log-prior of the first level, (states,); where none was fitted, all classes are equally likely."""
        if settings.first_level_log_prior:
            return np.array(settings.first_level_log_prior)
        return np.asarray(-np.log(np.bincount(_CLASS_OF_LEVEL)[_CLASS_OF_LEVEL]))

    def log_end(self, settings: LevelAssignmentSettings, sizes: Floats) -> Floats:
        """Return the log-odds that the column ends at each detection and level, (n, sizes, states)."""
        n_states, below_mm = len(LEVELS), self.anchors.scanned_below_mm
        if below_mm is None:
            return np.zeros((len(self), len(sizes), n_states))
        depths_mm = np.concatenate([[0.0], np.cumsum(settings.spacing_mm[: n_states - 1][::-1])])
        return settings.skip_log_odds * _count_levels(below_mm, depths_mm, sizes)[:, :, ::-1]


def _count_levels(scanned_mm: Floats, distances_mm: Floats, sizes: Floats) -> Floats:
    """Return how many levels lie within the scan beyond a detection of each level, (n, sizes, states).

    Parameters
    ----------
    scanned_mm : (n,)
        How far the scan goes on beyond each detection's origin.
    distances_mm : (states,)
        Distance of each level from the outermost one, in the order away from it.
    sizes : (sizes,)
        Patient sizes.
    """
    beyond_mm = distances_mm[:, None] - distances_mm[None] + HALF_BODY_MM  # [level, level beyond]
    is_beyond = np.tri(len(distances_mm), k=-1, dtype=bool)
    is_scanned = sizes[:, None, None] * beyond_mm <= scanned_mm[:, None, None, None]
    return np.asarray((is_scanned & is_beyond).sum(axis=-1, dtype=np.float64))


HALF_BODY_MM: Final = 6.0
"""Half the height of a cervical vertebral body; a level lies within the scan where its body does."""

N_CERVICAL: Final = len(VERTEBRAE)
"""States of the cervical spine come first."""
