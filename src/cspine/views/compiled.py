"""The compiled images of a volume and of a study."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from cspine.dicom.geometry import Stack
from cspine.dicom.series import Series
from cspine.dicom.series_selection import SeriesSelection
from cspine.dicom.volume import Provenance
from cspine.spine.spine_map import SpineMap
from cspine.views.fracture_labels import Broken
from cspine.views.level_views import LevelViews
from cspine.views.sagittal import SagittalSet


@dataclass(frozen=True)
class CompiledVolume:
    """The compiled images of one volume.

    Attributes
    ----------
    spine : SpineMap or None
        The localized vertebrae; None where images are parallel planes and nothing was localized.
    support : float or None
        The fraction of the height in which bone was traced, where nothing was localized.
    make_sagittal : callable
        Makes `sagittal` on first use; the level classifier does not need it.
    broken : dict or None
        Level to the fractured cells of its planes, of `cspine.views.fracture_labels.evidence_cells`; None where no
        fracture labels are known.
    image_quality_problems : dict
        Level to the image-quality problems that keep it from being assessed, of
        `cspine.views.image_quality.image_quality_problems`.
    """

    spine: SpineMap | None
    support: float | None
    make_sagittal: Callable[[], SagittalSet]
    levels: tuple[LevelViews, ...]
    broken: Mapping[str, Broken] | None = None
    image_quality_problems: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def sagittal(self) -> SagittalSet:
        """The sagittal images, made on first use."""
        return self.make_sagittal()


@dataclass(frozen=True)
class CompiledStudy:
    """The compiled images of one study, with what was read and the warnings on the way."""

    selection: SeriesSelection
    provenance: Provenance
    images: CompiledVolume
    warnings: tuple[str, ...]

    @property
    def series(self) -> Series:
        """The series that was read."""
        return self.selection.selected

    @property
    def stack(self) -> Stack:
        """The geometry of its slices."""
        return self.selection.selected.stack

    @property
    def sagittal(self) -> SagittalSet:
        """The sagittal images."""
        return self.images.sagittal
