"""Compile a study: load it, localize its vertebrae, reformat it to small images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from cspine.core.anatomy import VERTEBRAE
from cspine.core.errors import InputError
from cspine.core.progress import Progress, silent
from cspine.core.typing import Grays
from cspine.dicom.files.broken_copies import find_broken_copies
from cspine.dicom.limits import MAX_SLICE_SPACING_MM, exceeds_mm
from cspine.models.providers import provider_of
from cspine.spine.bone_crop import BoneCrop
from cspine.spine.bone_trace import trace_spine
from cspine.spine.centerline import SpineCenterline
from cspine.spine.spine_map import SpineMap
from cspine.views.bridged_gaps import gaps_in_views
from cspine.views.compiled import CompiledStudy, CompiledVolume
from cspine.views.curved import compile_curved
from cspine.views.image_quality import image_quality_problems
from cspine.views.level_views import LevelViews, box_frame, compile_level
from cspine.views.sagittal import compile_sagittal
from cspine.views.settings import CompileSettings

if TYPE_CHECKING:
    import highdicom

    from cspine.core.findings import WeightsIdentity
    from cspine.datasets.compiled import CompiledDataset
    from cspine.dicom.geometry import Stack
    from cspine.dicom.loading import LoadPlan
    from cspine.dicom.volume import Provenance
    from cspine.localization.segmented.study_files import SegmentationFiles
    from cspine.views.fracture_labels import FractureLabelSource

_MAX_AXIAL_ANGLE_DEG: Final = 45.0
"""Slices whose normal deviates more from the patient's long axis are not axial."""


class VolumeLocalizer(Protocol):
    """Anything that localizes the vertebrae of a volume, such as `cspine.localization.localizer.Localizer`."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights, which identifies them in compiled data sets."""

    @property
    def identity(self) -> WeightsIdentity:
        """What findings record of the weights."""

    def __call__(self, volume: highdicom.Volume) -> SpineMap:
        """Return the localized vertebrae; an empty map where there are none."""


@dataclass(frozen=True)
class Compiler:
    """Settings and localizer with which studies are compiled.

    Attributes
    ----------
    settings : CompileSettings
        Which images are made.
    localizer : VolumeLocalizer or None
        Localizes vertebrae; required by spine-aligned images. It is pickled to every worker process.
    inference_views : (int, int, int) or None
        Make only so many sagittal, coronal and axial views of each vertebra; all of the settings where None.
    segmentations : SegmentationFiles or None
        Segmentations that take the localizer's place; `for_study` finds that of a study.
    """

    settings: CompileSettings
    localizer: VolumeLocalizer | None = None
    inference_views: tuple[int, int, int] | None = None
    segmentations: SegmentationFiles | None = None

    def __post_init__(self) -> None:
        if self.settings.spine_aligned and self.localizer is None and self.segmentations is None:
            raise ValueError("spine-aligned images need a localizer")
        if self.segmentations is not None and not self.settings.spine_aligned:
            raise InputError(
                f"{self.segmentations.path}: is not used by images along parallel planes; leave out --vertebrae"
            )

    def for_study(self, *uids: str) -> Compiler:
        """Return the compiler of one study: where there are segmentations, that of the study is its localizer.

        Parameters
        ----------
        *uids : str
            As of `cspine.localization.segmented.study_files.SegmentationFiles.of_study`.
        """
        return self if self.segmentations is None else replace(self, localizer=self.segmentations.of_study(*uids))

    @property
    def localizer_sha256(self) -> str | None:
        """SHA-256 of the localizer's weights, or of the segmentations in its place; None without either."""
        if self.segmentations is not None:
            return self.segmentations.sha256
        return self.localizer.sha256 if self.localizer else None

    def create_dataset(self, folder: Path, *, source: str, is_phantom: bool) -> CompiledDataset:
        """Create the data set of studies compiled in this way, or resume it.

        Parameters and errors are those of `cspine.datasets.compiled.CompiledDataset.create`.
        """
        from cspine.datasets.compiled import CompiledDataset  # noqa: PLC0415 - pandas is not needed to predict

        if self.inference_views is not None:
            raise ValueError("a data set holds all views; compile it with inference_views=None")
        is_localized = self.localizer is not None and self.segmentations is None
        return CompiledDataset.create(
            folder,
            self.settings,
            localizer_sha256=self.localizer_sha256,
            source=source,
            is_phantom=is_phantom,
            provider=provider_of(self.localizer.identity) if self.localizer and is_localized else None,
        )


PARALLEL_PLANES = Compiler(CompileSettings(spine_aligned=False, levels=None))
"""The notebook's own preprocessing: parallel sagittal planes through the neck, without localization."""


def compile_study(
    plan: LoadPlan,
    compiler: Compiler,
    *,
    label_source: FractureLabelSource | None = None,
    keeps_bone: bool = False,
    progress: Progress = silent,
) -> CompiledStudy:
    """Load a study's selected series and compile it.

    Parameters
    ----------
    plan : LoadPlan
        The selected series, of `cspine.dicom.open_series`.
    compiler : Compiler
        Which images are made, and the localizer.
    label_source : FractureLabelSource, optional
        Returns the fracture labels of the volume.
    keeps_bone : bool
        Whether the scan around the vertebrae is kept, which masks of the vertebrae are drawn on.
    progress : Progress
        Called with the number of slices decoded.

    Returns
    -------
    CompiledStudy

    Raises
    ------
    InputError
        The series cannot be read; the message says why.
    NotAssessableError
        The series was read, but shows no cervical spine, no bone, or too short a range.
    """
    volume = plan.load(progress=progress)
    if volume.provenance is None:  # pragma: no cover - load always sets it
        raise AssertionError("the volume has no provenance")
    n_lost_files = len(plan.lost_files) + len(find_broken_copies(volume, plan.series))
    images = replace(compile_volume(volume, compiler), n_lost_files=n_lost_files)
    if keeps_bone and images.spine is not None and images.spine.label_map is not None and plan.grid.is_stack:
        images = replace(images, bone=BoneCrop.of(volume, images.spine.label_map))
    label_warnings: tuple[str, ...] = ()
    if label_source is not None:
        from cspine.views.fracture_labels import label_cells  # noqa: PLC0415 - not needed to predict

        labeling = label_source(plan.series, volume)
        label_warnings = labeling.warnings
        cells: dict[str, Grays] = {
            views.level: label_cells(labeling.labels, volume.inverse_affine, views) for views in images.levels
        }
        images = replace(images, fracture_cells=cells)
    spine = images.spine or SpineMap(())
    warnings = (
        *spine.doubts,
        *spine.warnings,
        *plan.warnings,
        *volume.provenance.repairs,
        *_acquisition_warnings(plan.series.stack),
        *label_warnings,
    )
    # The series by whose headers single slices are Hounsfield units, too, where the plan's had to be corrected.
    selection = plan.selection if volume.series is None else replace(plan.selection, selected=volume.series)
    return CompiledStudy(selection, volume.provenance, images, warnings)


def compile_volume(volume: highdicom.Volume, compiler: Compiler) -> CompiledVolume:
    """Compile a volume: localize its vertebrae and reformat it.

    Parameters
    ----------
    volume : highdicom.Volume
        HU in any orientation.
    compiler : Compiler
        Which images are made, and the localizer.

    Raises
    ------
    NotAssessableError
        As in `compile_study`.
    """
    settings = compiler.settings
    if compiler.localizer is None or not settings.spine_aligned:
        trace = trace_spine(volume)
        sagittal = compile_sagittal(volume, trace, settings.sagittal)
        return CompiledVolume(None, trace.support, lambda: sagittal, ())
    spine = compiler.localizer(volume)
    spine.require_cervical()
    centerline = SpineCenterline.from_spine_map(spine)
    levels = _level_views(volume, spine, compiler)
    problems = image_quality_problems(volume, [spine[views.level] for views in levels]) if levels else {}
    for views in levels:
        if views.gaps is not None and views.gaps.bridged_mm > 0:
            sentence = f"{views.gaps.bridged_mm:.1f} mm of it were interpolated across missing slices"
            problems[views.level] = (*problems.get(views.level, ()), f"{sentence}, where evidence does not count")
    return CompiledVolume(
        spine,
        None,
        lambda: compile_curved(volume, centerline, settings.sagittal),
        levels,
        image_quality_problems=problems,
    )


def _level_views(volume: highdicom.Volume, spine: SpineMap, compiler: Compiler) -> tuple[LevelViews, ...]:
    """Return the views of every cervical vertebra that was at least partially scanned, from the head down."""
    settings = compiler.settings.levels
    if settings is None:
        return ()
    provenance: Provenance | None = getattr(volume, "provenance", None)  # a plain highdicom.Volume has none
    bridged_planes = provenance.bridged_planes if provenance else ()
    compiled = []
    for level in VERTEBRAE:
        vertebra = spine.cervical[level]
        if vertebra is None or vertebra.coverage == "absent":
            continue
        box_lps = box_frame(vertebra, level)
        views = compile_level(volume, level, box_lps, settings, inference_views=compiler.inference_views)
        compiled.append(replace(views, gaps=gaps_in_views(volume, bridged_planes, vertebra, views)))
    return tuple(compiled)


def _acquisition_warnings(stack: Stack) -> list[str]:
    """Return warnings about acquisition parameters that make fractures hard to see."""
    warnings = []
    if exceeds_mm(stack.spacing_mm, MAX_SLICE_SPACING_MM):
        warnings.append(
            f"slices are {stack.spacing_mm:.1f} mm apart; fractures hide between slices over "
            f"{MAX_SLICE_SPACING_MM:.0f} mm"
        )
    if np.degrees(np.arccos(min(1.0, abs(float(stack.normal[2]))))) > _MAX_AXIAL_ANGLE_DEG:
        warnings.append("slices are not axial")
    return warnings
