"""One study to its compiled images: found, chosen, loaded, reformatted."""

from dataclasses import dataclass

import numpy as np

from cspine.imaging.choice import SeriesChoice, choose_series
from cspine.imaging.geometry import MAX_GAP_MM, Stack
from cspine.imaging.series import Series, Study
from cspine.imaging.volume import Provenance, load_volume
from cspine.progress import Progress, silent
from cspine.reformat.sagittal import SagittalSet, SagittalSettings, compile_sagittal
from cspine.reformat.spine import SpineCurve, trace_spine

THICK_MM = 3.0
"""Slices farther apart than this hide most fractures: the challenge's are 1 mm at most."""


@dataclass(frozen=True)
class CompiledStudy:
    """A study's compiled images, with what was read and what was noticed on the way."""

    choice: SeriesChoice
    provenance: Provenance
    spine: SpineCurve
    sagittal: SagittalSet
    warnings: tuple[str, ...]

    @property
    def series(self) -> Series:
        """The series that was read."""
        return self.choice.chosen

    @property
    def stack(self) -> Stack:
        """How its slices lie."""
        return self.choice.chosen.stack


def compile_study(
    study: Study,
    settings: SagittalSettings,
    *,
    series_uid: str | None = None,
    max_gap_mm: float = MAX_GAP_MM,
    progress: Progress = silent,
) -> CompiledStudy:
    """Read a study's best series and reformat it.

    Parameters
    ----------
    study : Study
        Of `cspine.imaging.discover`.
    settings : SagittalSettings
        How the images are made.
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
        It was read, but shows no bone or too little height.
    """
    choice = choose_series(study, series_uid=series_uid)
    volume = load_volume(choice.chosen, max_gap_mm=max_gap_mm, progress=progress)
    if volume.provenance is None:  # pragma: no cover - load_volume always tells
        raise AssertionError("load_volume gave no provenance")
    spine = trace_spine(volume)
    sagittal = compile_sagittal(volume, spine, settings)
    warnings = [*volume.provenance.repairs, *_unlike_the_challenge(choice.chosen.stack)]
    return CompiledStudy(choice, volume.provenance, spine, sagittal, tuple(warnings))


def _unlike_the_challenge(stack: Stack) -> list[str]:
    """Say what about the acquisition makes fractures hard to see."""
    said = []
    if stack.spacing_mm > THICK_MM:
        said.append(f"slices are {stack.spacing_mm:.1f} mm apart; fractures hide between slices over {THICK_MM:.0f} mm")
    if np.degrees(np.arccos(min(1.0, abs(float(stack.normal[2]))))) > 45.0:
        said.append("slices are not axial")
    return said
