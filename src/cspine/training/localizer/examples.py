"""The localizer's training set: coarse volumes with labeled vertebrae, as files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from cspine.core.anatomy import VERTEBRAE
from cspine.core.errors import SourceError
from cspine.core.files import atomic_path
from cspine.core.jobs import ResumableJob
from cspine.core.parallel import parallel_map
from cspine.core.progress import Progress, silent
from cspine.core.typing import Floats, HounsfieldUnits, Indices, Labels
from cspine.dicom.loading import load_volume
from cspine.dicom.segmentation import load_segmentation
from cspine.localization.coarse import coarsen
from cspine.models.metadata import COARSE_MM
from cspine.phantom import PhantomSettings, render_coarse
from cspine.phantom.settings import GENERATOR

MARKER: Final = "coarse.json"

FRAMED_LEVELS: Final = (*VERTEBRAE, "T1", "T2")
"""The vertebrae whose frames are stored where they are known."""

PHANTOM_MARGIN: Final = 8
"""Voxels by which a phantom extends beyond its scan, so that vertebrae cut off by the border have complete truth."""


@dataclass(frozen=True)
class LocalizerSample:
    """A coarse volume with its reference labels.

    Attributes
    ----------
    hu : (k, j, i) int16
        On cubic voxels of `COARSE_MM`; k increases towards the head, j to the back, i to the left.
    labels : (k, j, i) uint8
        Vertebrae as the challenge numbers them (1 to 7 for C1 to C7, 8 and above thoracic), and `SKULL_LABEL`.
    origin_lps_mm : (3,)
        Center of the first voxel.
    scanned : (2, 3) int
        First voxel, and one past the last voxel, of the scanned box; labels may extend beyond it.
    frames : (9, 4, 4)
        Rigid transform from the frame of each of `FRAMED_LEVELS` to LPS mm; NaN where it is not known.
    knows_skull : bool
        Whether the head is labeled.
    """

    hu: HounsfieldUnits
    labels: Labels
    origin_lps_mm: Floats
    scanned: Indices
    frames: Floats
    knows_skull: bool

    def save(self, path: Path) -> None:
        """Write the sample atomically as a compressed NumPy archive."""
        with atomic_path(path) as part, part.open("wb") as file:
            np.savez_compressed(file, **vars(self))

    @classmethod
    def load(cls, path: Path) -> "LocalizerSample":
        """Read a sample.

        Raises
        ------
        SourceError
            The file is damaged, or not a sample.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                values: dict[str, Any] = {name: stored[name] for name in cls.__dataclass_fields__}
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise SourceError(f"{path}: is not a coarse volume; delete the folder and start again") from error
        return cls(**{**values, "knows_skull": bool(values["knows_skull"])})


def phantom_sample(seed: int, index: int, settings: PhantomSettings) -> LocalizerSample:
    """Draw a phantom's coarse volume.

    The gantry is never tilted: volumes of tilted scans are resampled to a straight grid before localization.

    Parameters
    ----------
    seed, index : int
        Which phantom is drawn.
    settings : PhantomSettings
        Distributions that it is drawn from.
    """
    straight = settings.model_copy(update={"tilt_fraction": 0.0})
    coarse = render_coarse(seed, index, straight, spacing_mm=COARSE_MM, margin=PHANTOM_MARGIN)
    shape = np.array(coarse.hu.shape)
    scanned = np.array([np.full(3, PHANTOM_MARGIN), shape - PHANTOM_MARGIN])
    frames = np.stack([coarse.frames[level] for level in FRAMED_LEVELS])
    return LocalizerSample(coarse.hu, coarse.labels, coarse.affine_lps[:3, 3], scanned, frames, knows_skull=True)


def segmented_sample(study: Path, segmentation: Path) -> LocalizerSample:
    """Resample a study and its segmentation, in the challenge's layout, to a sample without frames.

    Parameters
    ----------
    study : Path
        Folder of its DICOM files.
    segmentation : Path
        NIfTI file of labels.

    Raises
    ------
    InputError
        Either file cannot be read.
    """
    volume = load_volume(study)
    labels = load_segmentation(segmentation, volume, is_whole=True)
    coarse = coarsen(volume)
    index = np.indices(coarse.hu.shape).reshape(3, -1)
    to_fine = np.linalg.inv(volume.affine) @ coarse.affine_lps
    fine = np.rint(to_fine[:3, :3] @ index + to_fine[:3, 3:]).astype(np.intp)
    inside = np.all((fine >= 0) & (fine < np.array(labels.shape)[:, None]), axis=0)
    resampled = np.zeros(index.shape[1], np.uint8)
    resampled[inside] = labels[tuple(fine[:, inside])]
    scanned = np.array([np.zeros(3), coarse.hu.shape], np.int64)
    frames = np.full((len(FRAMED_LEVELS), 4, 4), np.nan)
    return LocalizerSample(
        coarse.hu, resampled.reshape(coarse.hu.shape), coarse.origin_lps_mm, scanned, frames, knows_skull=False
    )


@dataclass(frozen=True)
class _SampleTask:
    """A sample to be made, and its file."""

    path: Path
    make: Callable[..., LocalizerSample]
    arguments: tuple[Any, ...]


def write_phantom_set(
    out: Path,
    *,
    studies: int,
    seed: int,
    settings: PhantomSettings,
    workers: int = 1,
    progress: Progress = silent,
) -> list[Path]:
    """Write coarse phantoms, and return their files; an interrupted run is resumed.

    Parameters
    ----------
    out : Path
        Folder of the samples.
    studies : int
        Number of phantoms to draw.
    seed : int
        Seed; study i of a seed is always the same.
    settings : PhantomSettings
        Distributions to draw from.
    workers : int
        Number of processes that work in parallel.
    progress : Progress
        Called with the number of written samples.

    Raises
    ------
    OutputTakenError, DiskFullError, OutputError
        As `cspine.phantom.dataset.synthesize` does.
    """
    identity = {
        "kind": "coarse phantoms",
        "generator": GENERATOR,
        "seed": seed,
        "settings": settings.model_dump(mode="json"),
    }
    tasks = [_SampleTask(out / f"{index:06d}.npz", phantom_sample, (seed, index, settings)) for index in range(studies)]
    return _write_samples(out, identity, tasks, workers, progress)


def write_segmented_set(out: Path, root: Path, *, workers: int = 1, progress: Progress = silent) -> list[Path]:
    """Write coarse volumes of a challenge folder's segmented studies, and return their files.

    An interrupted run is resumed.

    Parameters
    ----------
    out : Path
        Folder of the samples.
    root : Path
        Folder with ``train_images`` and ``segmentations``.
    workers, progress
        As of `write_phantom_set`.

    Raises
    ------
    SourceError
        There are no segmentations, or a segmented study is missing.
    OutputTakenError, DiskFullError, OutputError
        As `write_phantom_set` does.
    """
    segmentations: Sequence[Path] = sorted((root / "segmentations").glob("*.nii*"))
    if not segmentations:
        raise SourceError(f"{root}: holds no segmentations/*.nii; a localizer is trained on segmented studies")
    tasks = []
    for path in segmentations:
        uid = path.name.removesuffix(".gz").removesuffix(".nii")
        tasks.append(_SampleTask(out / f"{uid}.npz", segmented_sample, (root / "train_images" / uid, path)))
    identity = {"kind": "coarse volumes", "root": str(root.resolve())}
    return _write_samples(out, identity, tasks, workers, progress)


def _write_samples(
    out: Path, identity: dict[str, Any], tasks: list[_SampleTask], workers: int, progress: Progress
) -> list[Path]:
    ResumableJob(out, MARKER, identity, remedy="choose another folder, or delete it").open()
    for outcome in parallel_map(
        _write, tasks, is_done=_is_written, workers=workers, stage="coarse volumes", progress=progress
    ):
        outcome.get()
    return [task.path for task in tasks]


def _is_written(task: _SampleTask) -> bool:
    return task.path.is_file()


def _write(task: _SampleTask) -> None:
    task.make(*task.arguments).save(task.path)
