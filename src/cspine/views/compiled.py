"""The compiled images of a volume and of a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from cspine.core.typing import Grays
from cspine.spine.bone_crop import BoneCrop
from cspine.spine.spine_map import SpineMap
from cspine.views.level_views import LevelViews
from cspine.views.sagittal import SagittalSet

if TYPE_CHECKING:
    from cspine.dicom.geometry import Stack
    from cspine.dicom.series import Series
    from cspine.dicom.series_selection import SeriesSelection
    from cspine.dicom.volume import Provenance


@dataclass(frozen=True)
class CompiledVolume:
    """The compiled images of one volume.

    Attributes
    ----------
    spine : SpineMap or None
        The localized vertebrae; None where images are parallel planes and nothing was localized.
    support : float or None
        `cspine.spine.bone_trace.BoneTrace.support` where nothing was localized; None otherwise.
    make_sagittal : callable
        Makes `sagittal` on first use; the level classifier does not need it.
    levels : tuple of LevelViews
        The views of every cervical vertebra that was at least partially scanned, from the head down.
    fracture_cells : dict or None
        Level to the fractured cells of its planes, of `cspine.views.fracture_labels.label_cells`; None where no
        fracture labels are known.
    image_quality_problems : dict
        Level to the image-quality problems that keep it from being assessed, of
        `cspine.views.image_quality.image_quality_problems`.
    n_lost_files : int
        Files of the study that most likely held slices and could not be read.
    bone : BoneCrop or None
        The scan around the vertebrae, plane for slice; None where it was not asked for, where slices were resampled, or
        where nothing was localized.
    """

    spine: SpineMap | None
    support: float | None
    make_sagittal: Callable[[], SagittalSet]
    levels: tuple[LevelViews, ...]
    fracture_cells: Mapping[str, Grays] | None = None
    image_quality_problems: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    n_lost_files: int = 0
    bone: BoneCrop | None = field(default=None, repr=False)

    @cached_property
    def sagittal(self) -> SagittalSet:
        """The sagittal images, made on first use."""
        return self.make_sagittal()


@dataclass(frozen=True)
class CompiledStudy:
    """The compiled images of one study, with their provenance.

    Attributes
    ----------
    selection : SeriesSelection
        The series that was compiled, and why it was selected.
    provenance : Provenance
        Which files were read, and what was repaired.
    images : CompiledVolume
        Images that were compiled from the study.
    warnings : tuple of str
        Sentences about repairs, and about acquisition parameters that hide fractures.
    """

    selection: SeriesSelection
    provenance: Provenance
    images: CompiledVolume
    warnings: tuple[str, ...]

    @property
    def series(self) -> Series:
        """The series that was compiled."""
        return self.selection.selected

    @property
    def stack(self) -> Stack:
        """The geometry of its slices."""
        return self.selection.selected.stack

    @property
    def sagittal(self) -> SagittalSet:
        """The sagittal images."""
        return self.images.sagittal
