"""The localizer: three networks that look at a scan ever more closely, and a model of the order of levels.

1. The region network sees the whole scan at 6 mm and says where the neck is (`cspine.localization.cascade.region`).
2. The vertebra network sees the region of the neck at 3 mm; its voxels vote for the origins of their vertebrae
   (`cspine.localization.cascade.vertebrae`, `cspine.localization.instances`).
3. The frame network sees each vertebra at 2 mm along its own axes, corrects its frame and says once more which level it
   is (`cspine.localization.cascade.frames`).

Levels are then assigned to all vertebrae together (`cspine.localization.level_assignment`), and the result is compared
with the scan (`cspine.localization.plausibility`). Memory is bounded: only the first network sees a whole scan.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from cspine.core.anatomy import VERTEBRAE
from cspine.core.execution.parallel import WorkerStartError
from cspine.core.findings import WeightsIdentity
from cspine.localization.cascade.assembly import Candidates, LocalizedScan, assemble_spine_map
from cspine.localization.cascade.crops import CROP_MARGIN_MM, CROP_MM
from cspine.localization.cascade.duplicates import merge_duplicates
from cspine.localization.cascade.frames import refine_near_neck
from cspine.localization.cascade.networks import LocalizerNetworks
from cspine.localization.cascade.region import find_neck
from cspine.localization.cascade.vertebrae import find_vertebral_voxels
from cspine.localization.coarse import REGION_MM
from cspine.localization.level_assignment import relative_size
from cspine.localization.missing_levels import is_incomplete
from cspine.localization.plausibility import MIN_AGREEMENT, check_plausibility, mean_agreement
from cspine.localization.scan import Scan
from cspine.models.memory import freed_memory_released
from cspine.models.metadata import COARSE_MM, PADDING, LocalizerMetadata
from cspine.models.providers import ProviderName, fixed_provider
from cspine.models.weights import Weights, load_weights
from cspine.spine.level_settings import LevelAssignmentSettings
from cspine.spine.occupancy_template import OccupancyTemplate
from cspine.spine.spine_map import SpineMap

if TYPE_CHECKING:
    import highdicom

_MIN_SIZE: Final = 0.85
_MIN_SIZE_OF_CUT: Final = 0.97
"""Distances between vertebrae, relative to an adult's, below which a patient is enlarged; the second where the neck is
incomplete (`cspine.localization.missing_levels.is_incomplete`)."""

_ENLARGEMENT: Final = 1.7
_MAX_ENLARGEMENT: Final = 1.4
"""The power of the inverse size by which a patient is enlarged, up to a factor: the networks take the distances of
small patients for larger than they are. Of 70 phantoms with an incomplete neck, 56 are wholly right with it, 54 with a
power of 1, and 47 without enlargement."""

_MAX_LOST_AGREEMENT: Final = 0.1
"""Where the vertebrae agree less with their templates by more than this, or so little that they would be refused, the
patient was no small one: worn discs are thin between vertebrae of an adult's size."""


@dataclass(frozen=True)
class Localizer:
    """The networks that localize vertebrae.

    Attributes
    ----------
    weights : Weights
        The loaded weights of the networks, with their metadata.
    path : Path or None
        Their file; None for the embedded weights. A process that receives a pickled localizer loads it from there.
    provider : str or None
        The execution provider that was asked for, as of `cspine.models.providers.requested_provider`.
    threads : int
        Threads of an operator; as many as a process may use where 0.
    """

    weights: Weights[LocalizerMetadata] = field(repr=False)
    path: Path | None
    provider: ProviderName | None = None
    threads: int = 0

    @classmethod
    def load(cls, path: Path | None = None, *, provider: ProviderName | None = None, threads: int = 0) -> "Localizer":
        """Load a localizer.

        Parameters and errors are those of `cspine.models.weights.load_weights`.
        """
        weights = load_weights(LocalizerMetadata, path, threads=threads, provider=provider)
        is_coarse = (weights.metadata.spacing_mm, weights.metadata.padding) == (COARSE_MM, PADDING)
        weights.require(is_coarse and LocalizerNetworks(weights).fits, path)
        return cls(weights, path, provider, threads)

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights' file."""
        return self.weights.sha256

    @property
    def identity(self) -> WeightsIdentity:
        """What findings record of the weights."""
        return self.weights.identity

    def __reduce__(self) -> "tuple[Callable[..., Localizer], tuple[Path | None, ProviderName | None, int, str]]":
        """Pickle as the path of the weights; another process may be in another folder, and have other defaults.

        Raises WorkerStartError there where the file has other weights.
        """
        session = self.weights.session
        path = self.path and self.path.absolute()
        provider = fixed_provider(session.requested_provider, session.execution_provider)
        return (_load_cached, (path, provider, self.threads, self.sha256))

    @freed_memory_released()
    def __call__(self, volume: "highdicom.Volume") -> SpineMap:
        """Localize the vertebrae of a volume of HU; the map is empty where there are none.

        Raises
        ------
        NotAssessableError
            ``implausible-size``: by its headers the scan is larger than any CT.
        """
        scan = Scan.of(volume)
        return check_plausibility(self.localize(scan), scan, self._templates, self.localize)

    @freed_memory_released()
    def localize_as_stated(self, volume: "highdicom.Volume") -> SpineMap:
        """Localize the vertebrae of a volume in the orientation that its headers state, without trying others.

        Trying others takes several times as long where no neck is shown. The rest is as in `__call__`.
        """
        scan = Scan.of(volume)
        return check_plausibility(self.localize(scan), scan, self._templates, None)

    def localize(self, scan: Scan) -> LocalizedScan:
        """Localize the vertebrae of a scan, without a check of their plausibility; small patients are enlarged.

        Neighboring vertebrae of a child of three years are 9 mm apart, which is three voxels, and where the scan ends
        within the neck, the last ones of a small adult are taken for one. The networks then see the scan once more,
        enlarged to an adult's size.
        """
        localized = self._localize(scan)
        spine_map = localized.spine_map
        size = relative_size(spine_map.vertebrae)
        if size is None or size >= (_MIN_SIZE_OF_CUT if is_incomplete(spine_map) else _MIN_SIZE):
            return localized
        factor = max(1.0 / size, min(size**-_ENLARGEMENT, _MAX_ENLARGEMENT))
        enlarged = self._localize(scan.scaled(factor))
        if _count_cervical(enlarged.spine_map) < _count_cervical(spine_map):
            return localized
        before, after = (mean_agreement(each, self._templates) for each in (localized, enlarged))
        least = max(before - _MAX_LOST_AGREEMENT, min(before, MIN_AGREEMENT))
        return localized if after < least else replace(enlarged, scale=factor)

    def _localize(self, scan: Scan) -> LocalizedScan:
        """Localize the vertebrae of a scan at its own size."""
        networks, metadata = LocalizerNetworks(self.weights), self.weights.metadata
        region = find_neck(scan.coarsen(REGION_MM), networks.find_regions)
        if region is None:
            return LocalizedScan(SpineMap(()))
        box = region.network_box(scan)
        means = scan.crop(box[0] - CROP_MARGIN_MM, box[1] + CROP_MARGIN_MM).shrink(CROP_MM)
        coarse = scan.coarsen(COARSE_MM, box, means=means)
        voxels = find_vertebral_voxels(coarse, networks.find_vertebrae)
        instances = voxels.instances() if voxels is not None else []
        if voxels is None or not instances:
            return LocalizedScan(SpineMap(()), coarse)
        frames = np.array([instance.frame for instance in instances])
        near = np.array([voxels.is_near_neck(instance) for instance in instances])
        refined = refine_near_neck(frames, near, means, networks.align_frames)
        levels = np.array([voxels.mean_probabilities(instance) for instance in instances])
        candidates = Candidates(voxels, *merge_duplicates(instances, refined, voxels.weights, levels))
        settings = metadata.level_assignment or LevelAssignmentSettings()
        spine_map = assemble_spine_map(candidates, coarse, scan, metadata.occupancy_templates, settings)
        return LocalizedScan(spine_map, coarse, candidates)

    @property
    def _templates(self) -> Mapping[str, OccupancyTemplate]:
        return self.weights.metadata.occupancy_templates


def fallback_warning(localizer: object) -> tuple[str, ...]:
    """Return one sentence where the CPU runs a localizer in place of the provider that was asked for; else nothing."""
    return localizer.weights.session.fallback_warning if isinstance(localizer, Localizer) else ()


def _count_cervical(spine_map: SpineMap) -> int:
    return sum(vertebra.level in VERTEBRAE for vertebra in spine_map.scanned_vertebrae)


@cache
def _load_cached(path: Path | None, provider: ProviderName | None, threads: int, sha256: str) -> Localizer:
    localizer = Localizer.load(path, provider=provider, threads=threads)
    if localizer.sha256 != sha256:
        raise WorkerStartError("a worker has another localizer than this process; install the same on all machines")
    return localizer
