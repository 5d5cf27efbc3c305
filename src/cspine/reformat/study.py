"""One study to its compiled images: found, chosen, loaded, localised, reformatted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol, Self

import highdicom
import numpy as np
from pydantic import Field, model_validator

from cspine.anatomy import VERTEBRAE
from cspine.imaging.choice import SeriesChoice, choose_series
from cspine.imaging.geometry import MAX_GAP_MM, Stack
from cspine.imaging.series import Series, Study
from cspine.imaging.volume import Provenance, load_volume
from cspine.progress import Progress, silent
from cspine.reformat.course import SpineCourse
from cspine.reformat.curved import compile_curved
from cspine.reformat.evidence import Broken, FindBroken, evidence_cells
from cspine.reformat.level_views import LevelViews, LevelViewSettings, box_frame, compile_level
from cspine.reformat.quality import faults
from cspine.reformat.sagittal import SagittalSet, SagittalSettings, compile_sagittal
from cspine.reformat.spine import trace_spine
from cspine.reformat.spine_map import SpineMap
from cspine.settings import Settings

THICK_MM = 3.0
"""Slices farther apart than this hide most fractures: the challenge's are 1 mm at most."""


class Locate(Protocol):
    """Finds the vertebrae of a volume."""

    @property
    def sha256(self) -> str:
        """Of what it computes with: the same hash finds the same vertebrae."""

    def __call__(self, volume: highdicom.Volume) -> SpineMap:
        """Return the vertebrae; none where there are none."""


class CompileSettings(Settings):
    """Which images a study becomes."""

    follow: bool = Field(True, description="Whether sagittal images follow the spine; else they are planes.")
    sagittal: SagittalSettings = Field(SagittalSettings(), description="The sagittal images of the whole spine.")
    levels: LevelViewSettings | None = Field(LevelViewSettings(), description="Each vertebra's own images, or none.")

    @model_validator(mode="after")
    def _levels_are_found(self) -> Self:
        if self.levels is not None and not self.follow:
            raise ValueError("vertebrae's own images need follow, since their vertebrae must be found")
        return self


@dataclass(frozen=True)
class Compiler:
    """How studies are compiled.

    Attributes
    ----------
    settings : CompileSettings
        Which images are made.
    locate : Locate or None
        Finds vertebrae; needed where images follow the spine. Where studies are compiled by several processes it goes
        to each of them.
    seen : (int, int, int) or None
        Of vertebrae's views only so many of each kind are made; all where None.
    """

    settings: CompileSettings
    locate: Locate | None = None
    seen: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        if self.settings.follow and self.locate is None:
            raise ValueError("images that follow the spine need a locator")


STRAIGHT = Compiler(CompileSettings(follow=False, levels=None))
"""The notebook's own way: parallel planes through the whole neck, and nothing localised."""


@dataclass(frozen=True)
class CompiledVolume:
    """A volume's compiled images.

    Attributes
    ----------
    spine : SpineMap or None
        Where vertebrae were found; None where none were sought.
    support : float or None
        How much of a spine there is, where none were sought.
    make_sagittal : callable
        Makes `sagittal`; a network that looks at vertebrae has no need of it.
    broken : dict or None
        Level to the cells of its planes in which it is broken, of `evidence_cells`; None where that is not known.
    faults : dict
        Level to what keeps it from being judged, of `cspine.reformat.quality.faults`.
    """

    spine: SpineMap | None
    support: float | None
    make_sagittal: Callable[[], SagittalSet]
    levels: tuple[LevelViews, ...]
    broken: Mapping[str, Broken] | None = None
    faults: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def sagittal(self) -> SagittalSet:
        """The sagittal images, made when they are first asked for."""
        return self.make_sagittal()


@dataclass(frozen=True)
class CompiledStudy:
    """A study's compiled images, with what was read and what was noticed on the way."""

    choice: SeriesChoice
    provenance: Provenance
    images: CompiledVolume
    warnings: tuple[str, ...]

    @property
    def series(self) -> Series:
        """The series that was read."""
        return self.choice.chosen

    @property
    def stack(self) -> Stack:
        """How its slices lie."""
        return self.choice.chosen.stack

    @property
    def sagittal(self) -> SagittalSet:
        """The sagittal images."""
        return self.images.sagittal


def compile_study(
    study: Study,
    compiler: Compiler,
    *,
    find_broken: FindBroken | None = None,
    series_uid: str | None = None,
    max_gap_mm: float = MAX_GAP_MM,
    progress: Progress = silent,
) -> CompiledStudy:
    """Read a study's best series and reformat it.

    Parameters
    ----------
    study : Study
        Of `cspine.imaging.discover`.
    compiler : Compiler
        How.
    find_broken : FindBroken, optional
        Tells where it is known to be broken.
    series_uid : str, optional
        Read this series instead of the best.
    max_gap_mm : float
        The widest gap between slices that is bridged where gaps are uneven.
    progress : Progress
        Told about decoding.

    Returns
    -------
    CompiledStudy

    Raises
    ------
    InputError
        Nothing in it can be read; the sentence says why.
    NotAssessableError
        It was read, but shows no cervical spine, no bone or too little height.
    """
    choice = choose_series(study, series_uid=series_uid)
    return compile_choice(choice, compiler, find_broken=find_broken, max_gap_mm=max_gap_mm, progress=progress)


def compile_choice(
    choice: SeriesChoice,
    compiler: Compiler,
    *,
    find_broken: FindBroken | None = None,
    max_gap_mm: float = MAX_GAP_MM,
    progress: Progress = silent,
) -> CompiledStudy:
    """Read the chosen series and reformat it; parameters and errors are those of `compile_study`."""
    volume = load_volume(choice.chosen, max_gap_mm=max_gap_mm, progress=progress)
    if volume.provenance is None:  # pragma: no cover - load_volume always tells
        raise AssertionError("load_volume gave no provenance")
    images = compile_volume(volume, compiler)
    if find_broken is not None and (broken := find_broken(choice.chosen, volume)) is not None:
        cells: dict[str, Broken] = {
            views.level: evidence_cells(broken, volume.inverse_affine, views) for views in images.levels
        }
        images = replace(images, broken=cells)
    warnings = [*volume.provenance.repairs, *_unlike_the_challenge(choice.chosen.stack)]
    return CompiledStudy(choice, volume.provenance, images, tuple(warnings))


def compile_volume(volume: highdicom.Volume, compiler: Compiler) -> CompiledVolume:
    """Reformat a volume; errors are those of `compile_study`."""
    settings = compiler.settings
    if compiler.locate is None or not settings.follow:
        trace = trace_spine(volume)
        straight = compile_sagittal(volume, trace, settings.sagittal)
        return CompiledVolume(None, trace.support, lambda: straight, ())
    spine = compiler.locate(volume)
    spine.require_cervical()
    course = SpineCourse.of(spine)
    levels = _levels(volume, spine, compiler)
    found = faults(volume, [spine[views.level] for views in levels]) if levels else {}
    return CompiledVolume(spine, None, lambda: compile_curved(volume, course, settings.sagittal), levels, faults=found)


def _levels(volume: highdicom.Volume, spine: SpineMap, compiler: Compiler) -> tuple[LevelViews, ...]:
    """Return the views of each vertebra of which anything was scanned."""
    settings = compiler.settings.levels
    if settings is None:
        return ()
    shown = [(level, spine.cervical[level]) for level in VERTEBRAE if spine.coverage(level) != "absent"]
    return tuple(
        compile_level(volume, level, box_frame(found, level), settings, seen=compiler.seen)
        for level, found in shown
        if found is not None
    )


def _unlike_the_challenge(stack: Stack) -> list[str]:
    """Say what about the acquisition makes fractures hard to see."""
    said = []
    if stack.spacing_mm > THICK_MM:
        said.append(f"slices are {stack.spacing_mm:.1f} mm apart; fractures hide between slices over {THICK_MM:.0f} mm")
    if np.degrees(np.arccos(min(1.0, abs(float(stack.normal[2]))))) > 45.0:
        said.append("slices are not axial")
    return said
