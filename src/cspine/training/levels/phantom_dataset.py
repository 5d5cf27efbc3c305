"""Compiled data sets of phantoms, rendered and compiled in memory: without DICOM a study takes 1 MB instead of 150."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import highdicom
import numpy as np

from cspine.core.execution.parallel import parallel_map
from cspine.core.identifiers import pseudonym, study_key
from cspine.core.progress import Progress, silent
from cspine.core.typing import Floats, HounsfieldUnits
from cspine.datasets.compiled import CompiledDataset
from cspine.dicom.hounsfield import AIR_HU
from cspine.localization.compiler import Compiler
from cspine.phantom import PhantomSettings, render_study
from cspine.phantom.scanner.dicom import Identity
from cspine.phantom.settings import GENERATOR
from cspine.training.levels.rendered_study import RenderedStudy, finish

_MIN_ROW_DRIFT: Final = 1e-4
"""Rows by which slices of a scan with a tilted gantry are displaced against each other, at least."""


@dataclass(frozen=True)
class _PhantomTask:
    """A study, and the data sets that it is compiled for, each with its compiler."""

    targets: tuple[tuple[CompiledDataset, Compiler], ...]
    seed: int
    index: int
    settings: PhantomSettings

    @property
    def uid(self) -> str:
        return Identity(self.seed, self.index, self.settings.domain).study_uid

    @property
    def key(self) -> str:
        return study_key(self.uid)

    def pending(self) -> "_PhantomTask":
        """Return the task for the data sets that lack the study."""
        return replace(self, targets=tuple(each for each in self.targets if each[0].record(self.key) is None))


def write_phantom_dataset(
    out: Path,
    compiler: Compiler,
    *,
    studies: int,
    seed: int,
    settings: PhantomSettings | None = None,
    workers: int = 1,
    progress: Progress = silent,
) -> CompiledDataset:
    """Draw, scan and compile phantoms in memory; as `write_phantom_datasets` for a single data set."""
    (dataset,) = write_phantom_datasets(
        {out: compiler}, studies=studies, seed=seed, settings=settings, workers=workers, progress=progress
    )
    return dataset


def write_phantom_datasets(
    compilers: Mapping[Path, Compiler],
    *,
    studies: int,
    seed: int,
    settings: PhantomSettings | None = None,
    workers: int = 1,
    progress: Progress = silent,
) -> list[CompiledDataset]:
    """Draw and scan phantoms once and compile them in several ways; an interrupted run is resumed.

    Parameters
    ----------
    compilers : mapping of Path to Compiler
        Folder of each data set, and how it is compiled; vertebrae are localized as in any scan.
    studies : int
        Number of studies, at least: studies of an earlier, longer run are kept. Study i does not depend on it.
    seed : int
        Seed of the studies.
    settings : PhantomSettings, optional
        Distributions to draw from; the default ones where None.
    workers : int
        Number of processes that work in parallel.
    progress : Progress
        Called with the number of finished studies.

    Returns
    -------
    list of CompiledDataset
        One per compiler, in their order.

    Raises
    ------
    OutputTakenError
        A folder holds something else.
    DiskFullError, OutputError
        A folder cannot be written.
    """
    settings = settings or PhantomSettings()
    source = f"phantoms of generator {GENERATOR}, seed {seed}, settings {settings.hash}"
    targets = [
        (compiler.create_dataset(out, source=source, is_phantom=True), compiler) for out, compiler in compilers.items()
    ]
    tasks = [_PhantomTask(tuple(targets), seed, index, settings).pending() for index in range(studies)]
    for outcome in parallel_map(_write, tasks, is_done=_is_written, workers=workers, progress=progress):
        outcome.get()
    return [finish(dataset) for dataset, _ in targets]


def _is_written(task: _PhantomTask) -> bool:
    return not task.targets


def _write(task: _PhantomTask) -> None:
    """Render and compile one study, in a worker process."""
    study = render_study(task.seed, task.index, task.settings)
    rendered = RenderedStudy(task.uid, pseudonym(None, task.uid), study, straighten(study.hu, study.affine_lps))
    for dataset, compiler in task.targets:
        rendered.write(dataset, compiler)


def straighten(hu: HounsfieldUnits, affine_lps: Floats) -> highdicom.Volume:
    """Return a scan's slices on a straight grid, as `cspine.dicom.load_volume` does for a tilted gantry.

    Parameters
    ----------
    hu : (k, j, i) int16
        Slices, shifted against each other along j where the gantry was tilted.
    affine_lps : (4, 4)
        From ``[k, j, i, 1]`` to LPS mm.
    """
    step, down = affine_lps[:3, 0], affine_lps[:3, 1]
    drift = float(step @ down / (down @ down))  # rows by which each slice lies lower than the last
    if abs(drift) < _MIN_ROW_DRIFT:
        return highdicom.Volume(hu, affine_lps, "PATIENT")
    slices, rows = hu.shape[:2]
    first = int(np.floor(min(0.0, drift * (slices - 1))))
    canvas = np.full((slices, rows + int(np.ceil(abs(drift) * (slices - 1))), hu.shape[2]), AIR_HU, np.int16)
    for k in range(slices):
        shift = drift * k - first
        n_rows, fraction = int(shift), shift - int(shift)
        canvas[k, n_rows : n_rows + rows] = hu[k]
        if fraction:
            mixed = hu[k, :-1] * np.float32(fraction) + hu[k, 1:] * np.float32(1 - fraction)
            canvas[k, n_rows + 1 : n_rows + rows] = np.rint(mixed)
    affine = affine_lps.copy()
    affine[:3, 0] = step - drift * down
    affine[:3, 3] += first * down
    return highdicom.Volume(canvas, affine, "PATIENT")
