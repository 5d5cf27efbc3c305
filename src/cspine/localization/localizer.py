"""A coarse volume to a map of its vertebrae."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

import highdicom
import numpy as np
import numpy.typing as npt

from cspine.core.anatomy import SEGMENT_NUMBERS, VERTEBRAE
from cspine.core.errors import WeightsError
from cspine.core.typing import Floats
from cspine.localization.coarse import HALVED, UNIT_MM, CoarseVolume, coarse_affine, coarsen, network_input
from cspine.localization.instances import Instance, Voxels, find_instances
from cspine.localization.level_assignment import assign_levels, confidence
from cspine.models.metadata import COARSE_MM, PADDING, LocalizerMetadata
from cspine.models.weights import Weights, load_weights
from cspine.spine.occupancy_template import OccupancyTemplate
from cspine.spine.spine_map import BoneMap, SpineMap, Vertebra

_BONE: Final = 0.5
"""Voxels count that are a vertebra's rather than not."""

_VERTEBRAL: Final = slice(1, 9)
"""Of the network's classes: C1 to C7 and thoracic."""

_VOXELS_PER_EFFECTIVE_VOTE: Final = 40.0
"""Voxels of one vertebra err together: so many of them count as one that speaks for itself."""

_MAX_EFFECTIVE_VOTES: Final = 6.0

_DOUBTFUL_MM3: Final = 700.0
"""So much bone is as likely a vertebra as not; a whole one has 7,000 or more."""

_MOST_WORTH: Final = 6.0
_MISFIT_MM: Final = 4.0


@dataclass(frozen=True)
class Localizer:
    """A network that finds vertebrae.

    Attributes
    ----------
    weights : Weights
        What it computes with.
    path : Path or None
        Where they lie; None of those that come with cspine. A process that is sent a localizer loads it from there.
    """

    weights: Weights[LocalizerMetadata] = field(repr=False)
    path: Path | None

    @classmethod
    def load(cls, path: Path | None = None) -> "Localizer":
        """Load the network; the embedded one where no path is given.

        Raises
        ------
        WeightsError
            The file cannot be used.
        """
        weights = load_weights(LocalizerMetadata, path)
        if (weights.metadata.spacing_mm, weights.metadata.padding) != (COARSE_MM, PADDING) or len(
            weights.input_shape
        ) != 5:
            raise WeightsError(f"{path or weights.metadata.name}: its network does not fit its own card; get it again")
        return cls(weights, path)

    @property
    def sha256(self) -> str:
        """Of the weights."""
        return self.weights.sha256

    def __reduce__(self) -> tuple[Callable[[Path | None], "Localizer"], tuple[Path | None]]:
        """Pickle as the place of the weights."""
        return (_loaded, (self.path,))

    def __call__(self, volume: highdicom.Volume) -> SpineMap:
        """Find the vertebrae of a volume of HU; none where there are none.

        Raises
        ------
        NotAssessableError
            ``implausible-size``: the headers' lengths are those of no CT.
        """
        return self.find(coarsen(volume))

    def find(self, coarse: CoarseVolume) -> SpineMap:
        """Find the vertebrae of a coarse volume; none where there are none."""
        chances, places = self.run(coarse)
        return assemble(chances, places, coarse, self.weights.metadata.occupancy_templates)

    def run(self, coarse: CoarseVolume) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return the network's answer on the volume with `PADDING` voxels about it.

        Returns
        -------
        chances : (10, k, j, i) float32
            Background, C1 to C7, thoracic, head.
        places : (6, k, j, i) float32
            The way to the vertebra's origin and the place in its frame, x, y and z, in cm.
        """
        shape = np.array(coarse.hu.shape) + 2 * np.array(PADDING)
        after = -shape % HALVED + PADDING
        around = list(zip(PADDING, after.tolist(), strict=True))
        image = network_input(np.pad(coarse.hu, around), np.pad(coarse.scanned, around))
        chances, places = self.weights.session.run(["chances", "places"], {"image": image[None]})
        k, j, i = shape.tolist()
        return np.asarray(chances)[0, :, :k, :j, :i], np.asarray(places)[0, :, :k, :j, :i]


@cache
def _loaded(path: Path | None) -> Localizer:
    return Localizer.load(path)


def assemble(
    chances: npt.NDArray[np.float32],
    places: npt.NDArray[np.float32],
    coarse: CoarseVolume,
    occupancy_templates: Mapping[str, OccupancyTemplate],
) -> SpineMap:
    """Gather the network's answer into vertebrae with levels.

    Parameters
    ----------
    chances, places : arrays
        As `Localizer.run` returns them.
    coarse : CoarseVolume
        What they are of.
    occupancy_templates : dict
        Level to how such vertebrae fill their frames.
    """
    weight = chances[_VERTEBRAL].sum(axis=0)
    bone = weight > _BONE
    index = np.argwhere(bone) - np.array(PADDING)
    lps = coarse.origin_lps_mm + COARSE_MM * index[:, ::-1]
    inside = coarse.covers(lps)
    told, levels_of = places[:, bone].T.astype(np.float64) * UNIT_MM, chances[_VERTEBRAL][:, bone].astype(np.float64)
    voxels = Voxels(lps, told[:, :3], told[:, 3:], levels_of.T, COARSE_MM**3)
    weights = voxels.weights
    instances = find_instances(voxels)
    instances = [instance for instance in instances if inside[instance.members].any()]
    if not instances:
        return SpineMap(())
    said = np.stack([_level_chances(levels_of, instance, weights) for instance in instances])
    frames = np.array([instance.frame for instance in instances])
    worth = np.array([_worth(instance, weights) for instance in instances])
    members, levels = assign_levels(said, frames, worth)
    if worth[members].sum() <= 0:
        return SpineMap(())  # what was found is less likely a spine than not
    sure = confidence(said[members], frames[members], levels)
    found = _Found(lps, weights, inside)
    row = zip(members.tolist(), _names(levels.tolist()), sure.tolist(), strict=True)
    vertebrae = [(name, chance, instances[member]) for member, name, chance in row]
    found_vertebrae = tuple(
        _vertebra(name, chance, instance, found, _share(occupancy_templates, name, instance, found, coarse))
        for name, chance, instance in vertebrae
    )
    numbers = np.zeros(weight.shape, np.uint8)
    for name, _, instance in vertebrae:
        numbers[tuple(np.argwhere(bone)[instance.members].T)] = SEGMENT_NUMBERS.get(name, 0)
    chance_of = np.where(numbers > 0, weight, 0.0).astype(np.float32)
    affine = coarse_affine(coarse.origin_lps_mm - COARSE_MM * np.array(PADDING[::-1]))
    return SpineMap(found_vertebrae, BoneMap(numbers, chance_of, affine))


@dataclass(frozen=True)
class _Found:
    """Voxels of vertebrae: places in LPS mm, how sure each is to be one, and whether it was scanned."""

    lps: Floats
    weights: Floats
    inside: npt.NDArray[np.bool_]


def _share(
    occupancy_templates: Mapping[str, OccupancyTemplate],
    level: str,
    instance: Instance,
    found: _Found,
    coarse: CoarseVolume,
) -> float:
    """Return how much of a vertebra was scanned.

    Where its shape is known, from its frame alone: of what lies beyond the scan the network cannot tell how much it is.
    """
    shape = occupancy_templates.get(level, occupancy_templates.get("T1") if level.startswith("T") else None)
    if shape is not None:
        return shape.scanned_fraction(instance.frame, coarse.covers)
    members = instance.members
    return float(found.weights[members][found.inside[members]].sum() / found.weights[members].sum())


def _worth(instance: Instance, weights: Floats) -> float:
    """Return an instance's log-odds to be a vertebra: the more bone and the better it agrees on a frame, the higher."""
    bone = float(weights[instance.members].sum()) * COARSE_MM**3
    return min(2.0 * float(np.log(bone / _DOUBTFUL_MM3)), _MOST_WORTH) - 0.5 * (instance.misfit_mm / _MISFIT_MM) ** 2


def _level_chances(chances: Floats, instance: Instance, weights: Floats) -> Floats:
    """Return an instance's own chances of each level: the mean logarithm over its voxels, as of a few that speak."""
    own = chances[:, instance.members]
    scanned_fraction = weights[instance.members] / weights[instance.members].sum()
    own = own / own.sum(axis=0, keepdims=True)
    words = min(len(instance.members) / _VOXELS_PER_EFFECTIVE_VOTE, _MAX_EFFECTIVE_VOTES)
    said = words * (np.log(np.maximum(own, 1e-4)) @ scanned_fraction)
    chance = np.exp(said - said.max())
    return np.asarray(chance / chance.sum())


def _names(levels: list[int]) -> list[str]:
    """Return names of levels 0 to 7; thoracic ones are counted from the first."""
    names, thoracic = [], 0
    for level in levels:
        if level < len(VERTEBRAE):
            names.append(str(VERTEBRAE[level]))
        else:
            thoracic += 1
            names.append(f"T{thoracic}")
    return names


def _vertebra(level: str, confidence: float, instance: Instance, found: _Found, scanned_fraction: float) -> Vertebra:
    members = instance.members
    seen = members[found.inside[members]]
    back = np.linalg.inv(instance.frame)
    own = found.lps[members] @ back[:3, :3].T + back[:3, 3]
    box = np.percentile(own, [1, 99], axis=0) + np.array([[-COARSE_MM / 2], [COARSE_MM / 2]])
    centroid = np.average(found.lps[seen], axis=0, weights=found.weights[seen])
    volume = float(found.weights[seen].sum() * COARSE_MM**3)
    return Vertebra(level, instance.frame, centroid, box, scanned_fraction, confidence, volume)
