"""Assembly of a spine map: vertebrae with levels, coverage and measures, from what the networks predicted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from cspine.core.anatomy import SEGMENT_NUMBERS, VERTEBRAE
from cspine.core.typing import Bools, Floats
from cspine.localization.cascade.frames import RefinedFrames
from cspine.localization.cascade.partial import place_by_neighbors
from cspine.localization.cascade.vertebrae import VertebralVoxels
from cspine.localization.coarse import CoarseVolume
from cspine.localization.instances import Instance
from cspine.localization.level_assignment import LevelSequence, assign_levels
from cspine.localization.level_evidence import AnchorEvidence, Detections
from cspine.localization.missing_levels import find_missing_levels
from cspine.localization.scan import Scan
from cspine.spine.level_settings import LevelAssignmentSettings
from cspine.spine.occupancy_template import OccupancyTemplate
from cspine.spine.spine_map import MIN_COMPLETE_FRACTION, MIN_PARTIAL_FRACTION, SpineMap, Vertebra, VertebraLabelMap

LOWEST_TEMPLATE: Final = "T2"

_PROBE_MM: Final = np.arange(3.0, 300.0, 3.0)
"""Distances along a vertebra's axis at which it is probed whether the scan goes on."""

_MIN_PROBABILITY: Final = 1e-4
_MIN_NONE_PROBABILITY: Final = 5e-3
"""Floor of the frame network's probability that there is no vertebra. It leaves the decision on a detection between two
that are one vertebra apart to the distances."""

_SKULL_BASE_MM: Final = np.array([[-20.0, -15.0, 8.0], [20.0, 25.0, 150.0]])
"""Where the skull base lies in the frame of the uppermost vertebra, C1 to C7: the condyles and the clivus are above the
body, the jaws in front and to the sides."""

_MIN_SCANNED_MM3: Final = 700.0
"""Bone in the scan from which on a vertebra is not absent, whatever its frame says: 5 to 10 % of one."""

_MAX_NONE: Final = 0.06
_LITTLE: Final = 0.2
"""A cervical vertebra of which less than the second was scanned is absent where the frame network sees none with more
than the first: C4 of weasis-rt, in which a reader sees none, has 0.08 to 0.12, and of 40 vertebrae that phantoms cut
off one has 0.07."""

_MAX_ABSENT_FRACTION: Final = 0.04
_MIN_COMPLETE_BY_VOXELS: Final = 0.8
_MAX_PARTIAL_FRACTION: Final = 0.97
"""A vertebra of which less of the voxels was scanned is partial, whatever its frame says, with at most the second."""

_CUT_FRACTION: Final = 0.8
_MAX_CONFIDENCE_OF_CUT: Final = 0.9
"""Largest confidence in the level of a vertebra of which less than the first was scanned: four of five wrong names of
development phantoms are of such vertebrae, though 0.98 of their names are right."""

_MIN_SKULL_VOXELS: Final = 30
_LOWEST_QUANTILE: Final = 0.05


@dataclass(frozen=True)
class Candidates:
    """Detections of vertebrae in a scan, from the head down, before their levels are assigned.

    Attributes
    ----------
    voxels : VertebralVoxels
        The vertebra network's outputs.
    instances : list of Instance
        The voxels of each.
    refined : RefinedFrames
        Their corrected frames, and what the frame network takes them for.
    """

    voxels: VertebralVoxels
    instances: list[Instance]
    refined: RefinedFrames


@dataclass(frozen=True)
class LocalizedScan:
    """The vertebrae of a scan before they are compared with it.

    Attributes
    ----------
    spine_map : SpineMap
        The vertebrae; empty where none was localized.
    coarse : CoarseVolume or None
        The region that the vertebra network saw; None where no neck was found.
    candidates : Candidates or None
        All detections, before levels were assigned.
    scale : float
        Factor by which the scan was enlarged: all positions and lengths, from the origin of LPS, are those of the scan
        times this.
    """

    spine_map: SpineMap
    coarse: CoarseVolume | None = None
    candidates: Candidates | None = field(default=None, repr=False)
    scale: float = 1.0


def to_detections(candidates: Candidates, coarse: CoarseVolume) -> Detections:
    """Return what the level assignment takes of the detections; what lies outside the scan does not count for levels.

    Parameters
    ----------
    candidates : Candidates
        At least one.
    coarse : CoarseVolume
        What the vertebra network saw.
    """
    voxels, instances, refined = candidates.voxels, candidates.instances, candidates.refined
    is_none = np.clip(refined.probabilities[:, 0], _MIN_NONE_PROBABILITY, 1.0 - _MIN_NONE_PROBABILITY)
    log_odds = np.array([voxels.log_odds(instance) for instance in instances]) + np.log(1.0 / is_none - 1.0)
    n_scanned = np.array([voxels.is_scanned[instance.members].sum() for instance in instances])
    fraction = n_scanned / np.array([len(instance.members) for instance in instances])
    above_mm, below_mm = (_scanned_length_mm(refined.frames, sign, coarse) for sign in (1.0, -1.0))
    return Detections(
        class_probabilities=np.array([voxels.mean_probabilities(instance) for instance in instances]),
        frames=refined.frames,
        log_odds=log_odds,
        n_voxels=np.maximum(n_scanned, 1).astype(np.intp),
        anchors=AnchorEvidence(
            skull_base_lps_mm=find_skull_base(voxels.head_lps_mm, refined.frames[0]),
            scanned_above_mm=above_mm,
            scanned_below_mm=below_mm,
        ),
        crop_probabilities=tempered(refined.probabilities[:, 1:], fraction),
    )


def tempered(probabilities: Floats, weight: Floats) -> Floats:
    """Return probabilities raised to a weight, (n, classes): little is seen of a vertebra that is mostly cut off."""
    powers = np.maximum(probabilities, _MIN_PROBABILITY) ** weight[:, None]
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def find_skull_base(head_lps_mm: Floats, frame: Floats) -> Floats | None:
    """Return how far down the head reaches above a vertebra.

    Parameters
    ----------
    head_lps_mm : (m, 3)
        Voxels of the bones of the head.
    frame : (4, 4)
        Affine from the frame of the uppermost vertebra to LPS mm.

    Returns
    -------
    (3,) or None
        The point at that height on the vertebra's axis, LPS mm; None where no head lies above the vertebra.
    """
    to_frame = np.linalg.inv(frame)
    points = head_lps_mm @ to_frame[:3, :3].T + to_frame[:3, 3]
    low, high = _SKULL_BASE_MM
    heights = points[np.all((points >= low) & (points <= high), axis=1), 2]
    if len(heights) < _MIN_SKULL_VOXELS:
        return None
    return np.asarray(frame[:3, 3] + float(np.quantile(heights, _LOWEST_QUANTILE)) * frame[:3, 2])


def _scanned_length_mm(frames: Floats, sign: float, coarse: CoarseVolume) -> Floats:
    """Return how far the scan goes on from each origin along the vertebra's axis, up or down, (n,)."""
    points = frames[:, None, :3, 3] + sign * _PROBE_MM[None, :, None] * frames[:, None, :3, 2]
    inside = coarse.covers(points.reshape(-1, 3)).reshape(len(frames), -1)
    return np.asarray(_PROBE_MM[0] * np.cumprod(inside, axis=1).sum(axis=1))


def assemble_spine_map(
    candidates: Candidates,
    coarse: CoarseVolume,
    scan: Scan,
    templates: Mapping[str, OccupancyTemplate],
    settings: LevelAssignmentSettings,
) -> SpineMap:
    """Assign levels to the detections, and measure the vertebrae.

    Parameters
    ----------
    candidates : Candidates
        At least one.
    coarse : CoarseVolume
        What the vertebra network saw.
    scan : Scan
        The whole scan.
    templates : dict
        Level to the mean occupancy of such vertebrae.
    settings : LevelAssignmentSettings
        The numbers of the model that assigns levels.
    """
    detections = to_detections(candidates, coarse)
    sequence = assign_levels(detections, settings)
    if detections.log_odds[sequence.members].sum() <= 0:
        return SpineMap(())
    frames, fractions = _place(sequence, candidates, scan, templates)
    vertebrae = tuple(
        _measure(sequence, number, candidates, frames[number], float(fractions[number]))
        for number in range(len(sequence.members))
    )
    return SpineMap(
        vertebrae,
        _label_map(sequence, candidates, coarse),
        doubts=sequence.doubts,
        not_found=find_missing_levels(vertebrae, scan.covers),
    )


def _place(
    sequence: LevelSequence, candidates: Candidates, scan: Scan, templates: Mapping[str, OccupancyTemplate]
) -> tuple[Floats, Floats]:
    """Return the frames of the column, (m, 4, 4), and which fraction of each vertebra was scanned, (m,)."""
    frames = candidates.refined.frames[sequence.members]
    by_frame = _fractions_by_frame(sequence, frames, scan, templates)
    by_voxels, scanned_mm3 = _fractions_by_voxels(sequence, candidates)
    frames = place_by_neighbors(frames, sequence.names, np.where(np.isnan(by_frame), by_voxels, by_frame))
    by_frame = _fractions_by_frame(sequence, frames, scan, templates)
    is_cervical = np.array([name in VERTEBRAE for name in sequence.names])
    is_unseen = is_cervical & (candidates.refined.probabilities[sequence.members, 0] > _MAX_NONE)
    return frames, state_fractions(by_frame, by_voxels, scanned_mm3, is_unseen)


def state_fractions(by_frame: Floats, by_voxels: Floats, scanned_mm3: Floats, is_unseen: Bools) -> Floats:
    """Return which fraction of each vertebra was scanned, (n,), from two measures of it.

    Parameters
    ----------
    by_frame : (n,)
        Fraction of its template inside the scan; nan without templates.
    by_voxels : (n,)
        Fraction of its voxels inside the scan.
    scanned_mm3 : (n,)
        Its bone volume there.
    is_unseen : (n,) bool
        Whether the frame network hardly sees a vertebra there; it is absent then unless enough of it was scanned.
    """
    is_cut = (by_frame < MIN_COMPLETE_FRACTION) | (by_voxels < _MIN_COMPLETE_BY_VOXELS)
    of_cut = np.minimum((by_frame + by_voxels) / 2, _MAX_PARTIAL_FRACTION)
    fractions = np.where(is_cut, of_cut, by_frame)
    is_present = (by_frame >= MIN_PARTIAL_FRACTION) | (scanned_mm3 >= _MIN_SCANNED_MM3)
    is_present &= ~(is_unseen & (fractions < _LITTLE))
    named, absent = np.maximum(fractions, MIN_PARTIAL_FRACTION), np.minimum(fractions, _MAX_ABSENT_FRACTION)
    return np.where(np.isnan(by_frame), by_voxels, np.where(is_present, named, absent))


def _fractions_by_frame(
    sequence: LevelSequence, frames: Floats, scan: Scan, templates: Mapping[str, OccupancyTemplate]
) -> Floats:
    """Return which fraction of each vertebra's template lies inside the scan, (m,); nan without templates."""
    found = [templates.get(level, templates.get(LOWEST_TEMPLATE)) for level in sequence.names]
    return np.array(
        [
            np.nan if template is None else template.scanned_fraction(frame, scan.covers)
            for template, frame in zip(found, frames, strict=True)
        ]
    )


def _fractions_by_voxels(sequence: LevelSequence, candidates: Candidates) -> tuple[Floats, Floats]:
    """Return which fraction of each vertebra's voxels was scanned, (m,), and their bone volume in mm3, (m,).

    The vertebra network also labels the voxels beyond the scan in which a vertebra that is cut off goes on.
    """
    voxels, instances = candidates.voxels, candidates.instances
    members = [instances[member].members for member in sequence.members.tolist()]
    scanned = np.array([voxels.weights[each[voxels.is_scanned[each]]].sum() for each in members])
    return scanned / np.array([voxels.weights[each].sum() for each in members]), scanned * voxels.votes.voxel_mm3


def _measure(
    sequence: LevelSequence, number: int, candidates: Candidates, frame: Floats, scanned_fraction: float
) -> Vertebra:
    """Measure a vertebra of the column; its centroid and volume are of the scanned part."""
    voxels, members = candidates.voxels, candidates.instances[int(sequence.members[number])].members
    scanned = members[voxels.is_scanned[members]]
    to_frame = np.linalg.inv(frame)
    frame_mm = voxels.lps_mm[members] @ to_frame[:3, :3].T + to_frame[:3, 3]
    half_mm = np.cbrt(voxels.votes.voxel_mm3) / 2
    return Vertebra(
        level=sequence.names[number],
        frame_lps=frame,
        centroid_lps_mm=np.average(voxels.lps_mm[scanned], axis=0, weights=voxels.weights[scanned]),
        box_mm=np.percentile(frame_mm, [1, 99], axis=0) + np.array([[-half_mm], [half_mm]]),
        scanned_fraction=scanned_fraction,
        confidence=min(float(sequence.confidence[number]), _max_confidence(scanned_fraction)),
        volume_mm3=float(voxels.weights[scanned].sum() * voxels.votes.voxel_mm3),
        alternatives=sequence.alternatives[number],
    )


def _max_confidence(scanned_fraction: float) -> float:
    return _MAX_CONFIDENCE_OF_CUT if scanned_fraction < _CUT_FRACTION else 1.0


def _label_map(sequence: LevelSequence, candidates: Candidates, coarse: CoarseVolume) -> VertebraLabelMap:
    labels, probability = np.zeros(coarse.hu.shape, np.uint8), np.zeros(coarse.hu.shape, np.float32)
    for level, member in zip(sequence.names, sequence.members.tolist(), strict=True):
        members = candidates.instances[member].members
        voxel = tuple(candidates.voxels.index[members].T)
        labels[voxel] = SEGMENT_NUMBERS.get(level, 0)
        probability[voxel] = candidates.voxels.weights[members] if level in SEGMENT_NUMBERS else 0.0
    return VertebraLabelMap(labels, probability, coarse.affine_lps)
