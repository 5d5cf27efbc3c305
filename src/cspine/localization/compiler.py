"""Compile a study: load it, localize its vertebrae, reformat it to small images."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import highdicom
import numpy as np

from cspine.core.anatomy import VERTEBRAE
from cspine.core.progress import Progress, silent
from cspine.datasets.compiled import CompiledDataset
from cspine.dicom.geometry import Stack
from cspine.dicom.open_series import MAX_SLICE_SPACING_MM, LoadPlan
from cspine.spine.bone_trace import trace_spine
from cspine.spine.centerline import SpineCenterline
from cspine.spine.spine_map import SpineMap
from cspine.views.compiled import CompiledStudy, CompiledVolume
from cspine.views.curved import compile_curved
from cspine.views.fracture_labels import Broken, FractureLabelSource, evidence_cells
from cspine.views.image_quality import image_quality_problems
from cspine.views.level_views import LevelViews, box_frame, compile_level
from cspine.views.sagittal import compile_sagittal
from cspine.views.settings import CompileSettings


class Localize(Protocol):
    """Localizes the vertebrae of a volume; `cspine.localization.localizer.Localizer` is one."""

    @property
    def sha256(self) -> str:
        """Hash of the weights; the same hash gives the same vertebrae."""

    def __call__(self, volume: highdicom.Volume) -> SpineMap:
        """Return the localized vertebrae; an empty map where there are none."""


@dataclass(frozen=True)
class Compiler:
    """How studies are compiled.

    Attributes
    ----------
    settings : CompileSettings
        Which images are made.
    localizer : Localize or None
        Localizes vertebrae; required by spine-aligned images. It is pickled to every worker process.
    inference_views : (int, int, int) or None
        Make only so many sagittal, coronal and axial views of each vertebra; all of the settings where None.
    """

    settings: CompileSettings
    localizer: Localize | None = None
    inference_views: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        if self.settings.spine_aligned and self.localizer is None:
            raise ValueError("spine-aligned images need a localizer")

    @property
    def localizer_sha256(self) -> str | None:
        """Hash of the localizer's weights; None without one."""
        return self.localizer.sha256 if self.localizer else None

    def create_dataset(self, folder: Path, *, source: str, is_phantom: bool) -> CompiledDataset:
        """Begin the data set of studies compiled in this way, or resume it; raises as `CompiledDataset.create` does."""
        if self.inference_views is not None:
            raise ValueError("a data set holds all views; compile it with inference_views=None")
        return CompiledDataset.create(
            folder, self.settings, localizer_sha256=self.localizer_sha256, source=source, is_phantom=is_phantom
        )


STRAIGHT = Compiler(CompileSettings(spine_aligned=False, levels=None))
"""The notebook's own preprocessing: parallel sagittal planes through the whole neck, without localization."""


def compile_study(
    plan: LoadPlan, compiler: Compiler, *, label_source: FractureLabelSource | None = None, progress: Progress = silent
) -> CompiledStudy:
    """Load a study's selected series and compile it.

    Parameters
    ----------
    plan : LoadPlan
        Of `cspine.dicom.open_series`.
    compiler : Compiler
        Which images are made, and the localizer.
    label_source : FractureLabelSource, optional
        Gives the voxels known to be fractured.
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
        It was read, but shows no cervical spine, no bone, or too short a range.
    """
    volume = plan.load(progress=progress)
    if volume.provenance is None:  # pragma: no cover - load always sets it
        raise AssertionError("the volume has no provenance")
    images = compile_volume(volume, compiler)
    if label_source is not None and (broken := label_source(plan.series, volume)) is not None:
        cells: dict[str, Broken] = {
            views.level: evidence_cells(broken, volume.inverse_affine, views) for views in images.levels
        }
        images = replace(images, broken=cells)
    warnings = (*volume.provenance.repairs, *_acquisition_warnings(plan.series.stack))
    return CompiledStudy(plan.selection, volume.provenance, images, warnings)


def compile_volume(volume: highdicom.Volume, compiler: Compiler) -> CompiledVolume:
    """Compile a volume: localize its vertebrae and reformat it; raises NotAssessableError as `compile_study` does."""
    settings = compiler.settings
    if compiler.localizer is None or not settings.spine_aligned:
        trace = trace_spine(volume)
        straight = compile_sagittal(volume, trace, settings.sagittal)
        return CompiledVolume(None, trace.support, lambda: straight, ())
    spine = compiler.localizer(volume)
    spine.require_cervical()
    centerline = SpineCenterline.of(spine)
    levels = _level_views(volume, spine, compiler)
    problems = image_quality_problems(volume, [spine[views.level] for views in levels]) if levels else {}
    return CompiledVolume(
        spine,
        None,
        lambda: compile_curved(volume, centerline, settings.sagittal),
        levels,
        image_quality_problems=problems,
    )


def _level_views(volume: highdicom.Volume, spine: SpineMap, compiler: Compiler) -> tuple[LevelViews, ...]:
    """Return the views of every cervical vertebra that is at least partly scanned."""
    settings = compiler.settings.levels
    if settings is None:
        return ()
    scanned = [(level, spine.cervical[level]) for level in VERTEBRAE if spine.coverage(level) != "absent"]
    return tuple(
        compile_level(volume, level, box_frame(vertebra, level), settings, seen=compiler.inference_views)
        for level, vertebra in scanned
        if vertebra is not None
    )


def _acquisition_warnings(stack: Stack) -> list[str]:
    """Return what about the acquisition makes fractures hard to see."""
    warnings = []
    if stack.spacing_mm > MAX_SLICE_SPACING_MM:
        warnings.append(
            f"slices are {stack.spacing_mm:.1f} mm apart; fractures hide between slices over "
            f"{MAX_SLICE_SPACING_MM:.0f} mm"
        )
    if np.degrees(np.arccos(min(1.0, abs(float(stack.normal[2]))))) > 45.0:
        warnings.append("slices are not axial")
    return warnings
