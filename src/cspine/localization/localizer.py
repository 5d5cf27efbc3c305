"""The localizer: a 3-D U-Net whose predictions are grouped to vertebrae with frames, levels and coverage."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from cspine.core.anatomy import SEGMENT_NUMBERS
from cspine.core.findings import WeightsIdentity
from cspine.core.typing import Bools, Floats, Floats32, Indices
from cspine.localization.cascade.assembly import LocalizedScan
from cspine.localization.coarse import OFFSET_UNIT_MM, CoarseVolume, coarse_affine, coarsen, network_input
from cspine.localization.instances import Instance, VoxelVotes, find_instances
from cspine.localization.level_assignment import LevelSequence, assign_levels
from cspine.localization.level_evidence import Detections
from cspine.localization.missing_levels import find_missing_levels
from cspine.localization.plausibility import check_plausibility
from cspine.localization.scan import Scan
from cspine.localization.tiles import MAX_WHOLE_VOXELS, SIDE_MULTIPLE, Tile, plan_tiles
from cspine.models.memory import freed_memory_released
from cspine.models.metadata import COARSE_MM, PADDING, LocalizerMetadata
from cspine.models.weights import Weights, load_weights
from cspine.spine.level_settings import LevelAssignmentSettings
from cspine.spine.occupancy_template import OccupancyTemplate
from cspine.spine.spine_map import SpineMap, Vertebra, VertebraLabelMap

if TYPE_CHECKING:
    import highdicom

_OUTPUTS: Final = ("chances", "places")
"""Names of the outputs in the ONNX file: class probabilities, and positions."""

_MIN_BONE_PROBABILITY: Final = 0.5
"""Voxels belong to a vertebra from this probability on."""

_VERTEBRAL: Final = slice(1, 9)
"""The network's classes of C1 to C7 and thoracic."""

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
class Localizer:
    """The network that localizes vertebrae.

    Attributes
    ----------
    weights : Weights
        The loaded weights of the network, with their metadata.
    path : Path or None
        Their file; None for the embedded weights. A process that receives a pickled localizer loads it from there.
    """

    weights: Weights[LocalizerMetadata] = field(repr=False)
    path: Path | None

    @classmethod
    def load(cls, path: Path | None = None) -> "Localizer":
        """Load a localizer.

        Parameters and errors are those of `cspine.models.weights.load_weights`.
        """
        weights = load_weights(LocalizerMetadata, path)
        is_coarse = (weights.metadata.spacing_mm, weights.metadata.padding) == (COARSE_MM, PADDING)
        has_outputs = set(weights.outputs) == set(_OUTPUTS)  # not those of a cascade, which is not run yet
        weights.require(is_coarse and has_outputs and len(weights.input_shape) == 5, path)
        return cls(weights, path)

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights' file."""
        return self.weights.sha256

    @property
    def identity(self) -> WeightsIdentity:
        """What findings record of the weights."""
        return self.weights.identity

    def __reduce__(self) -> tuple[Callable[[Path | None], "Localizer"], tuple[Path | None]]:
        """Pickle as the path of the weights."""
        return (_load_cached, (self.path,))

    @freed_memory_released()
    def __call__(self, volume: "highdicom.Volume") -> SpineMap:
        """Localize the vertebrae of a volume of HU; the map is empty where there are none.

        Raises
        ------
        NotAssessableError
            ``implausible-size``: by its headers the scan is larger than any of a neck.
        """
        scan, coarse = Scan.of(volume), coarsen(volume)
        localized = LocalizedScan(self._localize_unchecked(coarse), coarse)
        return check_plausibility(localized, scan, self.weights.metadata.occupancy_templates, self._localize_scan)

    @freed_memory_released()
    def localize_as_stated(self, volume: "highdicom.Volume") -> SpineMap:
        """Localize the vertebrae of a volume in the orientation that its headers state, without trying others.

        Trying others takes several times as long where no neck is shown. The rest is as in `__call__`.
        """
        coarse = coarsen(volume)
        localized = LocalizedScan(self._localize_unchecked(coarse), coarse)
        return check_plausibility(localized, Scan.of(volume), self.weights.metadata.occupancy_templates, None)

    def _localize_scan(self, scan: Scan) -> LocalizedScan:
        coarse = scan.coarsen(COARSE_MM)
        return LocalizedScan(self._localize_unchecked(coarse), coarse)

    def _localize_unchecked(self, coarse: CoarseVolume) -> SpineMap:
        metadata = self.weights.metadata
        levels = metadata.level_assignment or LevelAssignmentSettings()
        return assemble_spine_map(self.run_network(coarse), coarse, metadata.occupancy_templates, levels)

    def run_network(self, coarse: CoarseVolume) -> "VertebralVoxels":
        """Return the network's outputs at the voxels of vertebrae; large volumes are run in tiles.

        The volume is padded by `PADDING` voxels on all sides, so that vertebrae that the scan cuts off are kept.
        """
        k, j, i = (np.array(coarse.hu.shape) + 2 * np.array(PADDING)).tolist()
        after = -np.array([k, j, i]) % SIDE_MULTIPLE + PADDING
        padding = list(zip(PADDING, after.tolist(), strict=True))
        hu, scanned = np.pad(coarse.hu, padding), np.pad(coarse.scanned_mask, padding)
        parts = [
            self._run_tile(network_input(hu[tile.seen], scanned[tile.seen]), tile, (k, j, i))
            for tile in plan_tiles(coarse.hu, hu.shape)
        ]
        return _join_voxels(parts)

    def _run_tile(self, image: Floats32, tile: Tile, shape: tuple[int, int, int]) -> "VertebralVoxels":
        """Return the voxels of vertebrae in the core of a tile; `shape` is without what was padded to even tiles."""
        outputs = self.weights.session.run(list(_OUTPUTS), {"image": image[None]})
        first = np.array([part.start for part in tile.core])
        k, j, i = np.maximum(np.array(shape) - first, 0).tolist()
        core = tile.core_in_seen
        probabilities, positions = (np.asarray(output)[0][:, *core][:, :k, :j, :i] for output in outputs)
        levels = probabilities[_VERTEBRAL]
        bone = levels.sum(axis=0)
        is_bone = bone > _MIN_BONE_PROBABILITY
        index = np.argwhere(is_bone) + first
        return VertebralVoxels(shape, index, bone[is_bone], levels[:, is_bone], positions[:, is_bone])


@cache
def _load_cached(path: Path | None) -> Localizer:
    return Localizer.load(path)


@dataclass(frozen=True)
class VertebralVoxels:
    """The network's outputs at the voxels of vertebrae.

    Attributes
    ----------
    shape : (int, int, int)
        Shape of the padded volume.
    index : (n, 3) int
        Indices of the voxels in the padded volume, in order.
    probability : (n,) float32
        Probability of a vertebra of any level.
    level_probabilities : (8, n) float32
        Probability of C1 to C7, and of thoracic.
    positions : (6, n) float32
        The offset to the vertebra's origin and the position in its frame, x, y and z, in units of `OFFSET_UNIT_MM`.
    """

    shape: tuple[int, int, int]
    index: Indices
    probability: Floats32
    level_probabilities: Floats32
    positions: Floats32


def _join_voxels(parts: list[VertebralVoxels]) -> VertebralVoxels:
    """Return the voxels of all tiles, in the order of a volume that is not split."""
    index = np.concatenate([part.index for part in parts])
    order = np.lexsort(index.T[::-1])
    return VertebralVoxels(
        parts[0].shape,
        index[order],
        np.concatenate([part.probability for part in parts])[order],
        np.concatenate([part.level_probabilities for part in parts], axis=1)[:, order],
        np.concatenate([part.positions for part in parts], axis=1)[:, order],
    )


@dataclass(frozen=True)
class _BoneVoxels:
    """The voxels of all vertebrae.

    Attributes
    ----------
    index : (n, 3) int
        Their indices in the padded volume.
    lps : (n, 3)
        Their centers in LPS mm.
    weights : (n,)
        Their probabilities to belong to a vertebra.
    inside : (n,) bool
        Whether they were scanned.
    """

    index: Indices
    lps: Floats
    weights: Floats
    inside: Bools


def assemble_spine_map(
    outputs: VertebralVoxels,
    coarse: CoarseVolume,
    occupancy_templates: Mapping[str, OccupancyTemplate],
    level_assignment: LevelAssignmentSettings = LevelAssignmentSettings(),  # noqa: B008 - immutable
) -> SpineMap:
    """Group the network's outputs to vertebrae, and assign their levels.

    Parameters
    ----------
    outputs : VertebralVoxels
        What `Localizer.run_network` returned.
    coarse : CoarseVolume
        The coarse volume that was the input.
    occupancy_templates : dict
        Level to the mean occupancy of such vertebrae.
    level_assignment : LevelAssignmentSettings
        The numbers of the model that assigns levels.
    """
    index = outputs.index
    if len(index) > _MAX_BONE_VOXELS:
        return SpineMap(())
    lps = coarse.origin_lps_mm + COARSE_MM * (index - np.array(PADDING))[:, ::-1]
    positions_mm = outputs.positions.T.astype(np.float64) * OFFSET_UNIT_MM
    levels_of_voxels = outputs.level_probabilities.astype(np.float64)
    votes = VoxelVotes(lps, positions_mm[:, :3], positions_mm[:, 3:], levels_of_voxels.T, COARSE_MM**3)
    voxels = _BoneVoxels(index, lps, votes.weights, coarse.covers(lps))
    instances = find_instances(votes, is_whole_body=coarse.hu.size > MAX_WHOLE_VOXELS)
    instances = [instance for instance in instances if voxels.inside[instance.members].any()]
    detections = _to_detections(instances, levels_of_voxels, voxels.weights)
    sequence = assign_levels(detections, level_assignment) if instances else None
    if sequence is None or detections.log_odds[sequence.members].sum() <= 0:
        return SpineMap(())
    column = [instances[member] for member in sequence.members.tolist()]
    vertebrae = tuple(
        _vertebra(
            sequence,
            number,
            instance,
            voxels,
            _scanned_fraction(occupancy_templates, sequence.names[number], instance, voxels, coarse),
        )
        for number, instance in enumerate(column)
    )
    labels, probability = np.zeros(outputs.shape, np.uint8), np.zeros(outputs.shape, np.float32)
    for level, instance in zip(sequence.names, column, strict=True):
        voxel = tuple(index[instance.members].T)
        labels[voxel] = SEGMENT_NUMBERS.get(level, 0)
        probability[voxel] = outputs.probability[instance.members] if level in SEGMENT_NUMBERS else 0.0
    affine = coarse_affine(coarse.origin_lps_mm - COARSE_MM * np.array(PADDING[::-1]))
    not_found = find_missing_levels(vertebrae, coarse.covers)
    label_map = VertebraLabelMap(labels, probability, affine)
    return SpineMap(vertebrae, label_map, doubts=sequence.doubts, not_found=not_found)


def _to_detections(instances: list[Instance], levels_of_voxels: Floats, weights: Floats) -> Detections:
    """Return what the level assignment takes of the instances: weighted geometric means of their voxels' levels."""
    means = [_mean_level_probabilities(levels_of_voxels, each, weights) for each in instances]
    return Detections(
        np.array(means).reshape(-1, len(levels_of_voxels)),
        np.array([instance.frame for instance in instances]).reshape(-1, 4, 4),
        np.array([_vertebra_log_odds(instance, weights) for instance in instances]),
        np.array([len(instance.members) for instance in instances], dtype=np.intp),
    )


def _scanned_fraction(
    occupancy_templates: Mapping[str, OccupancyTemplate],
    level: str,
    instance: Instance,
    voxels: _BoneVoxels,
    coarse: CoarseVolume,
) -> float:
    """Return which fraction of a vertebra was scanned.

    It follows from the frame and the occupancy template of the level where there is one, because the network cannot
    predict how much bone lies beyond the scan; otherwise from the predicted voxels.
    """
    template = occupancy_templates.get(level, occupancy_templates.get("T1") if level.startswith("T") else None)
    if template is not None:
        return template.scanned_fraction(instance.frame, coarse.covers)
    members = instance.members
    return float(voxels.weights[members][voxels.inside[members]].sum() / voxels.weights[members].sum())


def _vertebra_log_odds(instance: Instance, weights: Floats) -> float:
    """Return the log-odds of an instance to be a vertebra.

    They rise with the bone volume and fall with the square of the misfit of its frame.
    """
    bone_mm3 = float(weights[instance.members].sum()) * COARSE_MM**3
    from_volume = min(2.0 * float(np.log(bone_mm3 / _EVEN_ODDS_MM3)), _MAX_LOG_ODDS)
    return from_volume - 0.5 * (instance.misfit_mm / _MISFIT_SD_MM) ** 2


def _mean_level_probabilities(levels_of_voxels: Floats, instance: Instance, weights: Floats) -> Floats:
    """Return the weighted geometric mean of the probability of each level over an instance's voxels, (classes,)."""
    probabilities = levels_of_voxels[:, instance.members]
    fraction = weights[instance.members] / weights[instance.members].sum()
    probabilities = probabilities / probabilities.sum(axis=0, keepdims=True)
    return np.asarray(np.exp(np.log(np.maximum(probabilities, _MIN_VOXEL_PROBABILITY)) @ fraction))


def _vertebra(
    sequence: LevelSequence, number: int, instance: Instance, voxels: _BoneVoxels, scanned_fraction: float
) -> Vertebra:
    """Measure a vertebra of the column; its centroid and volume are of the scanned part."""
    members = instance.members
    scanned = members[voxels.inside[members]]
    to_frame = np.linalg.inv(instance.frame)
    frame_mm = voxels.lps[members] @ to_frame[:3, :3].T + to_frame[:3, 3]
    return Vertebra(
        level=sequence.names[number],
        frame_lps=instance.frame,
        centroid_lps_mm=np.average(voxels.lps[scanned], axis=0, weights=voxels.weights[scanned]),
        box_mm=np.percentile(frame_mm, [1, 99], axis=0) + np.array([[-COARSE_MM / 2], [COARSE_MM / 2]]),
        scanned_fraction=scanned_fraction,
        confidence=float(sequence.confidence[number]),
        volume_mm3=float(voxels.weights[scanned].sum() * COARSE_MM**3),
        alternatives=sequence.alternatives[number],
    )
