"""The localizer's training set: coarse volumes with labeled vertebrae, as files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np

from cspine.core.anatomy import VERTEBRA_NUMBERS
from cspine.core.errors import NotAssessableError, SourceError
from cspine.core.execution.parallel import parallel_map
from cspine.core.files import atomic_path
from cspine.core.jobs import ResumableJob
from cspine.core.progress import Progress, silent
from cspine.core.typing import Floats, HounsfieldUnits, Indices, Labels
from cspine.dicom.files.manifest import is_imported, knows_cut_vertebrae, read_manifest
from cspine.dicom.loading import load_volume
from cspine.dicom.segmentation import load_segmentation
from cspine.localization.coarse import CoarseVolume
from cspine.localization.scan import Scan
from cspine.localization.segmented.segmented_vertebrae import SegmentedVertebrae
from cspine.models.metadata import COARSE_MM
from cspine.phantom.body.render import RenderedBody, render_body
from cspine.phantom.body.sampler import draw_body
from cspine.phantom.body.settings import BODY_GENERATOR, BodySettings, body_stream
from cspine.training.preemption import signals_caught

MARKER: Final = "coarse.json"

FRAMED_LEVELS: Final = tuple(VERTEBRA_NUMBERS)
"""The vertebrae whose frames are stored where they are known, in the order of their labels from 1 on."""

UNKNOWN_LABEL: Final = 254
"""Label of voxels of which it is not known whether they belong to a vertebra, or to which."""

FINE_MM: Final = 1.5
"""Side of a voxel of the frame network's samples, which are interpolated to those of its crops."""

MAX_FINE_LEVELS: Final = 10
"""Successive vertebrae of a fine sample."""

_LOWER_PROBABILITY: Final = 0.25
"""Probability that a fine sample shows other than the uppermost vertebrae of a longer scan."""

_FINE_REACH_MM: Final = np.array([[48.0, 42.0, 45.0], [48.0, 66.0, 45.0]])
"""How far a fine sample extends beyond the lowest and the highest x, y and z of the vertebrae's origins."""

PHANTOM_MARGIN_MM: Final = 24.0
"""How far a phantom extends beyond its scan, so that vertebrae cut off by the border have complete truth."""


@dataclass(frozen=True)
class LocalizerSample:
    """A coarse volume with its reference labels.

    Attributes
    ----------
    hu : (k, j, i) int16
        On cubic voxels; k increases towards the head, j to the back, i to the left.
    labels : (k, j, i) uint8
        Vertebrae as the challenge and VerSe number them (1 to 7 for C1 to C7, 8 to 19 for T1 to T12, 20 to 24 for L1 to
        L5, 25 for the sacrum), `UNKNOWN_LABEL`, and `SKULL_LABEL`.
    origin_lps_mm : (3,)
        Center of the first voxel.
    spacing_mm : float
        Side of a voxel.
    scanned : (2, 3) int
        First voxel, and one past the last voxel, of the scanned box; labels may extend beyond it.
    frames : (25, 4, 4)
        Rigid transform from the frame of each of `FRAMED_LEVELS` to LPS mm; NaN where it is not known.
    knows_skull : bool
        Whether the head is labeled.
    """

    hu: HounsfieldUnits
    labels: Labels
    origin_lps_mm: Floats
    spacing_mm: float
    scanned: Indices
    frames: Floats
    knows_skull: bool

    def index_of(self, lps_mm: Floats) -> Floats:
        """Return the positions ``[k, j, i]`` of points, (n, 3) LPS mm, in voxels."""
        return np.asarray((lps_mm - self.origin_lps_mm)[:, ::-1] / self.spacing_mm)

    @property
    def framed_rows(self) -> Indices:
        """Rows of `frames` that are known, (n,)."""
        return np.flatnonzero(np.isfinite(self.frames).all(axis=(1, 2)))

    def save(self, path: Path) -> None:
        """Write the sample atomically as a NumPy archive, which is not compressed: each is read many times."""
        with atomic_path(path) as part, part.open("wb") as file:
            np.savez(file, **vars(self))

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
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise SourceError(f"{path}: is not a coarse volume; delete the folder and start again") from error
        values |= {"knows_skull": bool(values["knows_skull"]), "spacing_mm": float(values["spacing_mm"])}
        return cls(**values)


def phantom_sample(seed: int, index: int, settings: BodySettings) -> LocalizerSample:
    """Draw a body phantom's scan on voxels of `COARSE_MM`.

    Parameters
    ----------
    seed, index, settings
        As of `cspine.phantom.body.sampler.draw_body`.
    """
    body, scan = draw_body(seed, index, settings)
    return _to_sample(render_body(body, scan, COARSE_MM, margin=round(PHANTOM_MARGIN_MM / COARSE_MM)), COARSE_MM)


def fine_phantom_sample(seed: int, index: int, settings: BodySettings) -> LocalizerSample:
    """Draw the vertebrae of a body phantom's scan on voxels of `FINE_MM`: the uppermost ones, sometimes others.

    Parameters
    ----------
    seed, index, settings
        As of `cspine.phantom.body.sampler.draw_body`.
    """
    body, scan = draw_body(seed, index, settings)
    frames = scan.frames(body)
    rng = body_stream(seed, index, settings, purpose=50)
    low, high = scan.box_lps_mm
    inside = [level for level in body.levels if low[2] - 10.0 < frames[level][2, 3] < high[2] + 10.0]
    inside = inside or list(body.levels)[:2]
    first = 0
    if len(inside) > MAX_FINE_LEVELS and rng.random() < _LOWER_PROBABILITY:
        first = int(rng.integers(len(inside) - MAX_FINE_LEVELS + 1))
    chosen = {level: frames[level] for level in inside[first : first + MAX_FINE_LEVELS]}
    box = np.array(fine_box(chosen, (low - PHANTOM_MARGIN_MM, high + PHANTOM_MARGIN_MM)))
    return _to_sample(render_body(body, scan, FINE_MM, box_lps_mm=box), FINE_MM)


def _to_sample(rendered: RenderedBody, spacing_mm: float) -> LocalizerSample:
    """Return a sample of a rendered scan; frames of vertebrae that lie outside of it are left out."""
    shape, origin = np.array(rendered.hu.shape), rendered.affine_lps[:3, 3]
    frames = {}
    for level in set(FRAMED_LEVELS) & set(rendered.frames):
        index = (rendered.frames[level][:3, 3] - origin)[::-1] / spacing_mm
        if np.all((index > -1) & (index < shape)):
            frames[level] = rendered.frames[level]
    coarse = CoarseVolume(rendered.hu, origin, rendered.is_scanned, spacing_mm)
    return to_sample(coarse, rendered.labels, frames, knows_skull=True)


def segmented_sample(
    study: Path, segmentation: Path, *, is_fine: bool = False, knows_cut: bool = True
) -> LocalizerSample:
    """Resample a study and its segmentation, in the challenge's layout; frames are fitted to the masks.

    Parameters
    ----------
    study : Path
        Folder of its DICOM files, or its NIfTI file.
    segmentation : Path
        NIfTI file of labels.
    is_fine : bool
        Whether it is a sample of the frame network, at `FINE_MM` about the vertebrae.
    knows_cut : bool
        Whether vertebrae that the border of the scan cuts off are labeled; otherwise what lies above and below the
        labeled ones is unknown.

    Raises
    ------
    InputError
        Either file cannot be read, or the masks are none of vertebrae.
    """
    volume = load_volume(study)
    labels = load_segmentation(segmentation, volume, is_whole=True)
    try:
        vertebrae = SegmentedVertebrae(segmentation, "rsna")(volume).vertebrae
    except NotAssessableError as error:
        raise SourceError(error.reason) from error
    frames = {vertebra.level: vertebra.frame_lps for vertebra in vertebrae}
    scan = Scan.of(volume)
    coarse = scan.coarsen(FINE_MM, fine_box(frames, scan.extent_lps_mm)) if is_fine else scan.coarsen(COARSE_MM)
    index = np.indices(coarse.hu.shape).reshape(3, -1)
    to_fine = np.linalg.inv(volume.affine) @ coarse.affine_lps
    fine = np.rint(to_fine[:3, :3] @ index + to_fine[:3, 3:]).astype(np.intp)
    inside = np.all((fine >= 0) & (fine < np.array(labels.shape)[:, None]), axis=0)
    resampled = np.zeros(index.shape[1], np.uint8)
    resampled[inside] = labels[tuple(fine[:, inside])]
    sampled = resampled.reshape(coarse.hu.shape)
    sampled[sampled > VERTEBRA_NUMBERS["L5"]] = UNKNOWN_LABEL  # L6 and T13 of imported masks have no class
    planes = np.flatnonzero(sampled.any(axis=(1, 2)))
    if not knows_cut and len(planes):
        sampled[: planes[0]] = sampled[planes[-1] + 1 :] = UNKNOWN_LABEL
    return to_sample(coarse, sampled, frames)


def to_sample(
    coarse: CoarseVolume, labels: Labels, frames: Mapping[str, Floats], *, knows_skull: bool = False
) -> LocalizerSample:
    """Return a sample of a scan.

    Parameters
    ----------
    coarse : CoarseVolume
        The scan, or a part of it.
    labels : (k, j, i) uint8
        As of `LocalizerSample`.
    frames : dict
        Level to the affine from the frame of the vertebra to LPS mm.
    knows_skull : bool
        Whether the head is labeled.
    """
    stored = np.full((len(FRAMED_LEVELS), 4, 4), np.nan)
    for level, frame in frames.items():
        stored[FRAMED_LEVELS.index(level)] = frame
    index = np.argwhere(coarse.scanned_mask)
    scanned = np.array([index.min(axis=0), index.max(axis=0) + 1]) if len(index) else np.zeros((2, 3), np.int64)
    return LocalizerSample(
        coarse.hu, labels, coarse.origin_lps_mm, coarse.spacing_mm, scanned, stored, knows_skull=knows_skull
    )


def fine_box(frames: Mapping[str, Floats], extent_lps_mm: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """Return the corners of a fine sample: about the origins of vertebrae, within the scan."""
    points = np.array([frame[:3, 3] for frame in frames.values()])
    low, high = points.min(axis=0) - _FINE_REACH_MM[0], points.max(axis=0) + _FINE_REACH_MM[1]
    return np.maximum(low, extent_lps_mm[0]), np.minimum(high, extent_lps_mm[1])


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
    settings: BodySettings,
    is_fine: bool = False,
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
    settings : BodySettings
        Distributions to draw from.
    is_fine : bool
        Whether they are samples of the frame network.
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
        "kind": "fine phantoms" if is_fine else "coarse phantoms",
        "generator": BODY_GENERATOR,
        "seed": seed,
        "settings": settings.model_dump(mode="json"),
    }
    make = fine_phantom_sample if is_fine else phantom_sample
    tasks = [_SampleTask(out / f"{index:06d}.npz", make, (seed, index, settings)) for index in range(studies)]
    return _write_samples(out, identity, tasks, workers, progress)


def write_segmented_set(
    out: Path, root: Path, *, is_fine: bool = False, workers: int = 1, progress: Progress = silent
) -> list[Path]:
    """Write coarse volumes of a challenge folder's segmented studies, and return their files.

    An interrupted run is resumed.

    Parameters
    ----------
    out : Path
        Folder of the samples.
    root : Path
        Folder with ``train_images`` and ``segmentations``, or a data set of `cspine import`.
    is_fine : bool
        Whether they are samples of the frame network.
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
    images = {each.study: each.images for each in read_manifest(root)} if is_imported(root) else {}
    make = partial(segmented_sample, is_fine=is_fine, knows_cut=knows_cut_vertebrae(root))
    tasks = []
    for path in segmentations:
        uid = path.name.removesuffix(".gz").removesuffix(".nii")
        tasks.append(_SampleTask(out / f"{uid}.npz", make, (images.get(uid, root / "train_images" / uid), path)))
    kind = "fine volumes" if is_fine else "coarse volumes"
    identity = {"format": 2, "kind": kind, "root": str(root.resolve())}
    return _write_samples(out, identity, tasks, workers, progress)


def _write_samples(
    out: Path, identity: dict[str, Any], tasks: list[_SampleTask], workers: int, progress: Progress
) -> list[Path]:
    ResumableJob(out, MARKER, identity, remedy="choose another folder, or delete it").open()
    with signals_caught() as stop:
        for outcome in parallel_map(
            _write, tasks, is_done=_is_written, workers=workers, stage="coarse volumes", progress=progress
        ):
            outcome.get()
            stop.check(str(out))
    return [task.path for task in tasks]


def _is_written(task: _SampleTask) -> bool:
    return task.path.is_file()


def _write(task: _SampleTask) -> None:
    task.make(*task.arguments).save(task.path)
