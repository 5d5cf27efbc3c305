"""Coarse volumes with their vertebrae labelled: what a localiser learns from, as files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cspine.core.anatomy import VERTEBRAE
from cspine.core.errors import SourceError
from cspine.core.files import atomic_path, open_run_directory
from cspine.core.parallel import parallel_map
from cspine.core.progress import Progress, silent
from cspine.dicom.open_series import load_volume
from cspine.dicom.segmentation import load_segmentation
from cspine.localization.coarse import coarsen
from cspine.models.metadata import COARSE_MM
from cspine.phantom import PhantomSettings, render_coarse
from cspine.phantom.scanner.render import SKULL
from cspine.phantom.settings import GENERATOR

MARKER: Final = "coarse.json"

FRAMED: Final = (*VERTEBRAE, "T1", "T2")
"""The vertebrae whose frames are kept, where they are known."""

PHANTOM_MARGIN: Final = 8
"""By how many voxels a phantom goes on beyond its scan, so that the network learns what a border cuts off."""


@dataclass(frozen=True)
class LocalizerSample:
    """A coarse volume with its truth.

    Attributes
    ----------
    hu : (k, j, i) int16
        On cubes of `COARSE_MM`, k towards the head, j to the back, i to the left.
    labels : (k, j, i) uint8
        As the challenge numbers vertebrae, and `SKULL`.
    origin_lps_mm : (3,)
        Where the first voxel lies.
    scanned : (2, 3) int
        First and last voxel (and one more) of what was scanned; beyond it the truth goes on.
    frames : (9, 4, 4)
        From each of `FRAMED`'s frame to LPS mm; NaN where it is not known.
    knows_skull : bool
        Whether the head is labelled where it is.
    """

    hu: npt.NDArray[np.int16]
    labels: npt.NDArray[np.uint8]
    origin_lps_mm: npt.NDArray[np.float64]
    scanned: npt.NDArray[np.int64]
    frames: npt.NDArray[np.float64]
    knows_skull: bool

    def save(self, path: Path) -> None:
        """Write the example, atomically."""
        with atomic_path(path) as part, part.open("wb") as file:
            np.savez_compressed(file, **vars(self))

    @classmethod
    def load(cls, path: Path) -> "LocalizerSample":
        """Read an example.

        Raises
        ------
        SourceError
            The file is damaged, or is something else.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                values: dict[str, Any] = {name: stored[name] for name in cls.__dataclass_fields__}
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise SourceError(f"{path}: is no coarse volume; delete the folder and make it again") from error
        return cls(**{**values, "knows_skull": bool(values["knows_skull"])})


def phantom_example(seed: int, index: int, settings: PhantomSettings) -> LocalizerSample:
    """Draw a phantom's coarse volume; without a tilted gantry, since volumes are straightened before."""
    straight = settings.model_copy(update={"tilted": 0.0})
    coarse = render_coarse(seed, index, straight, spacing_mm=COARSE_MM, margin=PHANTOM_MARGIN)
    shape = np.array(coarse.hu.shape)
    scanned = np.array([np.full(3, PHANTOM_MARGIN), shape - PHANTOM_MARGIN])
    frames = np.stack([coarse.frames[level] for level in FRAMED])
    return LocalizerSample(coarse.hu, coarse.labels, coarse.affine_lps[:3, 3], scanned, frames, knows_skull=True)


def segmented_example(study: Path, segmentation: Path) -> LocalizerSample:
    """Bring a study and its segmentation, in the challenge's form, down to an example without frames.

    Parameters
    ----------
    study : Path
        Folder of its DICOM.
    segmentation : Path
        NIfTI labels.

    Raises
    ------
    InputError
        Either cannot be read.
    """
    volume = load_volume(study)
    labels = load_segmentation(segmentation, volume)
    coarse = coarsen(volume)
    index = np.indices(coarse.hu.shape).reshape(3, -1)
    to_fine = np.linalg.inv(volume.affine) @ coarse.affine_lps
    fine = np.rint(to_fine[:3, :3] @ index + to_fine[:3, 3:]).astype(np.intp)
    inside = np.all((fine >= 0) & (fine < np.array(labels.shape)[:, None]), axis=0)
    found = np.zeros(index.shape[1], np.uint8)
    found[inside] = labels[tuple(fine[:, inside])]
    scanned = np.array([np.zeros(3), coarse.hu.shape], np.int64)
    frames = np.full((len(FRAMED), 4, 4), np.nan)
    return LocalizerSample(
        coarse.hu, found.reshape(coarse.hu.shape), coarse.origin_lps_mm, scanned, frames, knows_skull=False
    )


@dataclass(frozen=True)
class _Task:
    path: Path
    make: Callable[..., LocalizerSample]
    arguments: tuple[Any, ...]


def write_phantom_set(
    out: Path,
    *,
    studies: int,
    seed: int,
    settings: PhantomSettings | None = None,
    workers: int = 1,
    progress: Progress = silent,
) -> list[Path]:
    """Write coarse phantoms, and return their files; an interrupted run goes on where it stopped.

    Parameters
    ----------
    out : Path
        The set's folder.
    studies : int
        How many.
    seed : int
        The same seed gives the same phantoms.
    settings : PhantomSettings, optional
        Ranges to draw from.
    workers : int
        Processes to use.
    progress : Progress
        Told how many are written.

    Raises
    ------
    OutputTakenError
        `out` holds something else.
    DiskFullError, OutputError
        `out` cannot be written.
    """
    settings = settings or PhantomSettings()
    drawn = {"generator": GENERATOR, "seed": seed, "settings": settings.model_dump(mode="json")}
    identity = {"kind": "coarse phantoms", **drawn}
    open_run_directory(out, MARKER, identity, remedy="choose another folder, or delete it")
    tasks = [_Task(out / f"{index:06d}.npz", phantom_example, (seed, index, settings)) for index in range(studies)]
    return _write_all(tasks, workers, progress)


def write_segmented_set(out: Path, root: Path, *, workers: int = 1, progress: Progress = silent) -> list[Path]:
    """Write coarse volumes of a challenge folder's segmented studies, and return their files.

    Parameters
    ----------
    out : Path
        The set's folder.
    root : Path
        With ``train_images`` and ``segmentations``.
    workers : int
        Processes to use.
    progress : Progress
        Told how many are written.

    Raises
    ------
    SourceError
        There are no segmentations, or a segmented study is missing.
    OutputTakenError, DiskFullError, OutputError
        As `write_phantom_set` does.
    """
    found: Sequence[Path] = sorted((root / "segmentations").glob("*.nii*"))
    if not found:
        raise SourceError(f"{root}: holds no segmentations/*.nii; a localiser learns from segmented studies")
    open_run_directory(
        out, MARKER, {"kind": "coarse volumes", "root": str(root.resolve())}, remedy="choose another folder"
    )
    tasks = []
    for path in found:
        uid = path.name.removesuffix(".gz").removesuffix(".nii")
        tasks.append(_Task(out / f"{uid}.npz", segmented_example, (root / "train_images" / uid, path)))
    return _write_all(tasks, workers, progress)


def _write_all(tasks: list[_Task], workers: int, progress: Progress) -> list[Path]:
    missing = [task for task in tasks if not task.path.is_file()]
    for outcome in parallel_map(_write, missing, workers=workers, stage="coarse volumes", progress=progress):
        outcome.get()
    return [task.path for task in tasks]


def _write(task: _Task) -> None:
    task.make(*task.arguments).save(task.path)


__all__ = ["FRAMED", "SKULL", "LocalizerSample", "phantom_example", "write_phantom_set", "write_segmented_set"]
