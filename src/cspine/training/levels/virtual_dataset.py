"""Compiled data sets of virtual fractures in real scans, rendered and compiled in memory.

Each copy of a scan becomes a study with virtual fractures, one with shams in the same places, and one that is as it
was; the three are acquired differently (`cspine.training.levels.acquisition`), and their frames are jittered by as much
as the localizer errs. Fractured and intact vertebrae are thus the same bones, which cannot be told apart but by the
fracture.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import highdicom
import numpy as np

from cspine.core.execution.parallel import parallel_map
from cspine.core.findings import WeightsIdentity
from cspine.core.identifiers import pseudonym, study_key
from cspine.core.progress import Progress, silent
from cspine.core.typing import Floats, Floats32
from cspine.datasets.compiled import CompiledDataset
from cspine.dicom import load_volume
from cspine.insertion.identity import VirtualIdentity
from cspine.insertion.scan import IntactScan
from cspine.insertion.settings import FORMAT, InsertionSettings
from cspine.insertion.study import Acquire, Kind, render_virtual_study
from cspine.localization.compiler import Compiler, VolumeLocalizer
from cspine.localization.scan import crop_about
from cspine.phantom.geometry.grid import Grid, GridWindow
from cspine.phantom.study import PhantomStudy
from cspine.spine.spine_map import SpineMap
from cspine.training.levels.acquisition import Acquisition
from cspine.training.levels.rendered_study import LEFT_OUT, RenderedStudy, finish

_MARGIN_MM: Final = 40.0
"""Space about the vertebrae that is kept of a scan; their views reach no farther."""

_JITTER_MM: Final = np.array([0.7, 0.9, 1.3])
"""Standard deviation of the localizer's errors in real necks along the axes of a vertebra, without its bias."""

_JITTER_RAD: Final = 0.05
_JITTER_STREAM: Final = 1
"""Appended to a study's seed, so that errors do not depend on its acquisition."""

_KINDS: Final[tuple[Kind, ...]] = ("fracture", "sham", "intact")

_COPIES_PER_TASK: Final = 20
"""Copies that a worker makes of a scan that it has prepared."""


@dataclass(frozen=True)
class VirtualSource:
    """An intact scan that virtual fractures are put into.

    Attributes
    ----------
    name : str
        Name of the scan, its pseudonym's source.
    path : Path
        Folder or file.
    """

    name: str
    path: Path


@dataclass(frozen=True)
class JitteredLocalizer:
    """Returns known vertebrae with random errors, in place of a localizer.

    Attributes
    ----------
    spine : SpineMap
        The vertebrae.
    sha256 : str
        SHA-256 of the localizer that found them.
    identity : WeightsIdentity
        Its identity.
    seed : tuple of int
        Seed of the errors.
    """

    spine: SpineMap
    sha256: str
    identity: WeightsIdentity
    seed: tuple[int, ...]

    def __call__(self, volume: highdicom.Volume) -> SpineMap:  # noqa: ARG002 - the protocol of localizers
        """Return the vertebrae, each frame moved and rotated by a normal error."""
        rng = np.random.default_rng(self.seed)
        vertebrae = []
        for vertebra in self.spine.vertebrae:
            error = np.eye(4)
            error[:3, :3] = _rotation(rng.normal(0, _JITTER_RAD, 3))
            error[:3, 3] = rng.normal(0, _JITTER_MM)
            vertebrae.append(replace(vertebra, frame_lps=vertebra.frame_lps @ error))
        return SpineMap(tuple(vertebrae))


@dataclass(frozen=True)
class VirtualStudies:
    """Which studies are made from each scan.

    Attributes
    ----------
    copies : int
        Copies of each scan, three studies each.
    seed : int
        Seed of the studies.
    settings : InsertionSettings
        Virtual fractures.
    min_visibility : float
        Vertebrae whose fracture is less visible after the acquisition are left out: neither fractured nor intact.
    """

    copies: int
    seed: int
    settings: InsertionSettings = field(default_factory=InsertionSettings)
    min_visibility: float = 0.0


@dataclass(frozen=True)
class _Task:
    """Some copies of a scan, in a worker process."""

    dataset: CompiledDataset
    compiler: Compiler
    source: VirtualSource
    studies: VirtualStudies
    copies: range

    @property
    def patient(self) -> str:
        """Pseudonym of the patient."""
        return pseudonym(None, self.source.name)

    def uid(self, copy: int, kind: Kind) -> str:
        return VirtualIdentity(self.patient, self.source.name, self.studies.seed, copy, kind).study_uid

    @property
    def pending(self) -> list[tuple[int, Kind]]:
        """The studies that the data set lacks."""
        studies = [(copy, kind) for copy in self.copies for kind in _KINDS]
        return [study for study in studies if self.dataset.record(study_key(self.uid(*study))) is None]


def write_virtual_dataset(
    out: Path,
    compiler: Compiler,
    sources: Sequence[VirtualSource],
    studies: VirtualStudies,
    *,
    workers: int = 1,
    progress: Progress = silent,
) -> CompiledDataset:
    """Break, acquire and compile intact scans in memory; an interrupted run is resumed.

    Parameters
    ----------
    out : Path
        Folder of the data set.
    compiler : Compiler
        How studies are compiled; its localizer localizes the vertebrae of each scan, once in each task.
    sources : sequence of VirtualSource
        Intact scans.
    studies : VirtualStudies
        Which studies are made from each.
    workers : int
        Number of processes.
    progress : Progress
        Called with the number of finished tasks, of up to 20 copies each.

    Raises
    ------
    NotAssessableError, InputError
        A scan cannot be used.
    OutputTakenError, DiskFullError, OutputError
        As by `cspine.training.levels.phantom_dataset.write_phantom_datasets`.
    """
    names, least = ", ".join(source.name for source in sources), studies.min_visibility
    described = f"format {FORMAT}, seed {studies.seed}, settings {studies.settings.hash}, visibility from {least}"
    dataset = compiler.create_dataset(out, source=f"virtual fractures in {names}, {described}", is_phantom=False)
    parts = [
        range(studies.copies)[first : first + _COPIES_PER_TASK] for first in range(0, studies.copies, _COPIES_PER_TASK)
    ]
    tasks = [_Task(dataset, compiler, source, studies, part) for part in parts for source in sources]
    for outcome in parallel_map(_write, tasks, is_done=_is_written, workers=workers, progress=progress):
        outcome.get()
    return finish(dataset)


def _is_written(task: _Task) -> bool:
    return not task.pending


def _prepare(source: VirtualSource, localizer: VolumeLocalizer) -> tuple[IntactScan, SpineMap]:
    """Return a scan about its vertebrae, and these."""
    volume = load_volume(source.path)
    spine = localizer(volume)
    return IntactScan.of(crop_about(volume, spine, _MARGIN_MM), spine), spine


def _write(task: _Task) -> None:
    """Make and compile the studies of some copies."""
    localizer = task.compiler.localizer
    if localizer is None:  # pragma: no cover - views of vertebrae need one
        raise AssertionError("there is no localizer")
    scan, spine = _prepare(task.source, localizer)
    number, thickness_mm, settings = int(task.patient, 16), float(scan.grid.spacing_mm[0]), task.studies.settings
    for copy, kind in task.pending:
        seed = (task.studies.seed, copy, number)
        rng, acquire = np.random.default_rng(seed), _acquire(thickness_mm, (*seed, 1 + _KINDS.index("fracture")))
        study = render_virtual_study(scan, kind, settings, rng, thickness_mm=thickness_mm, acquire=acquire)
        own_seed = (*seed, 1 + _KINDS.index(kind))
        rng = np.random.default_rng(own_seed)
        volume = highdicom.Volume(study.hu, study.affine_lps, "PATIENT")
        acquired = Acquisition.draw(thickness_mm, rng).apply(volume, rng)
        jittered = JitteredLocalizer(spine, localizer.sha256, localizer.identity, (*own_seed, _JITTER_STREAM))
        visible = _with_visible(study, task.studies.min_visibility)
        rendered = RenderedStudy(task.uid(copy, kind), task.patient, visible, acquired)
        rendered.write(task.dataset, replace(task.compiler, localizer=jittered))


def _with_visible(study: PhantomStudy, least: float) -> PhantomStudy:
    """Return a study whose truth leaves vertebrae out that are fractured, but less visibly."""
    hidden = [each for each in study.truth["fractures"] if each["visibility"] < least]
    levels = {each["level"] for each in hidden}
    kept = {
        "levels": [level for level in study.truth["levels"] if level not in levels],
        "fractures": [each for each in study.truth["fractures"] if each["level"] not in levels],
    }
    return replace(study, truth={**study.truth, **kept, LEFT_OUT: hidden})


def _acquire(thickness_mm: float, seed: tuple[int, ...]) -> Acquire:
    """Return how a study of this seed is acquired: fractures are to be visible in it, and shams are in their places."""
    acquisition = Acquisition.draw(thickness_mm, np.random.default_rng(seed))

    def acquire(hu: Floats32, grid: Grid, window: GridWindow) -> tuple[Floats32, Grid]:
        part = highdicom.Volume(hu, grid.affine, "PATIENT")
        # Both of two twins get the same noise.
        seen = acquisition.of_part(window[0].start).apply(part, np.random.default_rng(seed))
        return np.asarray(seen.array, np.float32), Grid(np.asarray(seen.affine), np.asarray(seen.array).shape)

    return acquire


def _rotation(vector_rad: Floats) -> Floats:
    """Return the matrix of a rotation vector."""
    from scipy.spatial.transform import Rotation  # noqa: PLC0415 - not needed where no data are made

    return np.asarray(Rotation.from_rotvec(vector_rad).as_matrix())
