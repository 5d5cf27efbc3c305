"""Training patches of the localizer: coarse volumes rotated, scaled, mirrored and truncated at random."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation
from torch.utils.data import Dataset

from cspine.core.typing import Bools, Floats, Floats32, Labels
from cspine.dicom.hounsfield import AIR_HU
from cspine.localization.coarse import OFFSET_UNIT_MM, network_input
from cspine.models.metadata import COARSE_MM, PADDING
from cspine.phantom.scanner.render import SKULL_LABEL
from cspine.training.localizer.examples import LocalizerSample
from cspine.training.task import Batch

N_CLASSES: Final = 10
"""Background, C1 to C7, thoracic, head."""

THORACIC: Final = 8
HEAD: Final = 9
UNKNOWN: Final = 255
"""Class of voxels that are left out of the loss."""

N_COORDINATES: Final = 6
"""Offset to the vertebra's origin, and position in the vertebra's frame."""

PATCH_SHAPE: Final = (80, 64, 64)
"""Voxels of a training patch along k, j and i: 240 x 192 x 192 mm."""

_MAX_ROTATION_DEG: Final = (14.0, 9.0, 14.0)
"""Largest additional rotation about z, y and x."""

_TRUNCATION_PROBABILITIES: Final = (0.3, 0.4, 0.3)
"""Probabilities that 0, 1 and 2 ends of the scanned box are cut off."""

_CONTRAST: Final = (0.7, 1.3)
_OFFSET_HU: Final = 60.0
"""Ranges of the factor and the offset applied to HU: wider than scanners differ, so that shape counts."""

_MIN_SCANNED_PLANES: Final = 10
"""Axial planes that remain of a truncated scan: 30 mm."""


@dataclass(frozen=True)
class PatchTransform:
    """Geometry of a patch: which voxels of a sample it takes, and which part of it was scanned.

    Attributes
    ----------
    matrix, shift : (3, 3), (3,)
        Affine map from indices ``[k, j, i]`` of the patch to those of the sample.
    scale : float
        Factor by which the patch shows things smaller.
    is_mirrored : bool
        Whether left and right are exchanged.
    scanned : (2, 3)
        First voxel, and one past the last voxel, of the patch's scanned box.
    """

    matrix: Floats
    shift: Floats
    scale: float
    is_mirrored: bool
    scanned: Floats


def centered_transform(sample: LocalizerSample, shape: Sequence[int] = PATCH_SHAPE) -> PatchTransform:
    """Return a translation by whole voxels that centers the scanned box in a patch of a shape."""
    shift = sample.scanned.mean(axis=0) - np.array(shape) / 2
    shift = np.round(shift)
    return PatchTransform(np.eye(3), shift, 1.0, is_mirrored=False, scanned=sample.scanned - shift)


def random_transform(
    sample: LocalizerSample, rng: np.random.Generator, shape: Sequence[int] = PATCH_SHAPE
) -> PatchTransform:
    """Draw rotation, scale, mirroring, translation and truncation of the scanned box.

    Parameters
    ----------
    sample : LocalizerSample
        The volume that the patch is taken of.
    rng : Generator
        Random number generator; it is advanced.
    shape : (int, int, int)
        Voxels of the patch along k, j and i.
    """
    scale = float(np.exp(rng.uniform(-0.16, 0.16)))
    rotation = Rotation.from_euler("zyx", rng.uniform(-1, 1, 3) * _MAX_ROTATION_DEG, degrees=True)
    is_mirrored = bool(rng.random() < 0.5)
    mirror = np.diag([1.0, 1.0, -1.0 if is_mirrored else 1.0])
    matrix = scale * rotation.as_matrix()[::-1, ::-1] @ mirror
    low, high = sample.scanned.astype(float)
    source = (low + high) / 2 + rng.uniform(-0.15, 0.15, 3) * (high - low)
    target = (np.array(shape) - 1) / 2 + rng.uniform(-5.0, 5.0, 3)
    shift = source - matrix @ target
    center = np.linalg.solve(matrix, (low + high) / 2 - shift)
    half = (high - low) / 2 / scale
    box = np.array([center - half * rng.uniform(0.85, 1.0, 3), center + half * rng.uniform(0.85, 1.0, 3)])
    for _ in range(int(rng.choice(3, p=_TRUNCATION_PROBABILITIES))):
        axis, end = int(rng.choice([0, 0, 0, 0, 1, 2])), int(rng.integers(2))
        minimum = _MIN_SCANNED_PLANES if axis == 0 else 30
        if box[1, axis] - box[0, axis] > minimum:
            cut = rng.uniform(box[0, axis] + minimum, box[1, axis])
            box[1 - end, axis] = cut if end == 0 else box[0, axis] + box[1, axis] - cut
    return PatchTransform(matrix, shift, scale, is_mirrored, np.round(box))


@dataclass(frozen=True)
class Patch:
    """The network's input and its reference outputs.

    Attributes
    ----------
    image : (2, k, j, i) float32
        As `cspine.localization.coarse.network_input` returns it.
    classes : (k, j, i) uint8
        0 background, 1-7 C1-C7, `THORACIC`, `HEAD`, `UNKNOWN`.
    coordinates : (6, k, j, i) float32
        For voxels of vertebrae, in cm: the offset to the vertebra's origin (x, y, z of the patch), and the voxel's
        position in the vertebra's own frame.
    has_coordinates : (k, j, i) bool
        Where `coordinates` are known.
    """

    image: Floats32
    classes: Labels
    coordinates: Floats32
    has_coordinates: Bools


def sample_patch(
    sample: LocalizerSample,
    transform: PatchTransform,
    shape: tuple[int, int, int] = PATCH_SHAPE,
    rng: np.random.Generator | None = None,
) -> Patch:
    """Resample a patch.

    Parameters
    ----------
    sample, shape
        As of `random_transform`.
    transform : PatchTransform
        Geometry of the patch.
    rng : Generator, optional
        Draws contrast, sharpness and noise; HU stay as they are where None.
    """
    matrix, shift = transform.matrix, transform.shift
    hu = ndimage.affine_transform(
        sample.hu.astype(np.float32), matrix, shift, shape, order=1, cval=AIR_HU, mode="constant"
    )
    inside = 255 * np.ones_like(sample.labels)
    known = ndimage.affine_transform(inside, matrix, shift, shape, order=0, cval=0, mode="constant") > 0
    labels = ndimage.affine_transform(sample.labels, matrix, shift, shape, order=0, cval=0)
    scanned = _box_mask(transform.scanned, shape) & known
    if rng is not None:
        hu = hu * rng.uniform(*_CONTRAST) + rng.uniform(-_OFFSET_HU, _OFFSET_HU)
        if rng.random() < 0.3:
            hu = ndimage.gaussian_filter(hu, rng.uniform(0.2, 0.7, 3), truncate=2.0)
        hu += rng.uniform(0.0, 45.0) * rng.standard_normal(shape, dtype=np.float32)
    padded = transform.scanned + np.stack([np.negative(PADDING), PADDING])
    known &= _box_mask(padded, shape)
    classes = _classes(labels)
    classes[~known] = UNKNOWN
    coordinates, has_coordinates = _coordinates(sample, transform, labels, known)
    return Patch(network_input(hu, scanned), classes, coordinates, has_coordinates)


def _box_mask(box: Floats, shape: tuple[int, int, int]) -> Bools:
    mask = np.zeros(shape, np.bool_)
    low, high = np.clip(box, 0, shape).astype(int)
    mask[low[0] : high[0], low[1] : high[1], low[2] : high[2]] = True
    return mask


def _classes(labels: Labels) -> Labels:
    classes = np.minimum(labels, THORACIC)
    classes[labels == SKULL_LABEL] = HEAD
    return classes


def _coordinates(
    sample: LocalizerSample, transform: PatchTransform, labels: Labels, known: Bools
) -> tuple[Floats32, Bools]:
    """Return each vertebral voxel's offset to the origin and position in the frame, in cm, and where they are known."""
    coordinates = np.zeros((N_COORDINATES, *labels.shape), np.float32)
    has_coordinates = np.zeros(labels.shape, np.bool_)
    inverse = np.linalg.inv(transform.matrix)
    for number, frame in enumerate(sample.frames, start=1):
        voxels = np.nonzero((labels == number) & known)
        if not len(voxels[0]) or not np.isfinite(frame).all():
            continue
        index = np.stack(voxels)
        source = transform.matrix @ index + transform.shift[:, None]
        lps = sample.origin_lps_mm[:, None] + COARSE_MM * source[::-1]
        position = np.linalg.inv(frame)[:3] @ np.vstack([lps, np.ones(len(voxels[0]))]) / transform.scale
        if transform.is_mirrored:
            position[0] *= -1
        origin = inverse @ ((frame[:3, 3] - sample.origin_lps_mm)[::-1] / COARSE_MM - transform.shift)
        offset = COARSE_MM * (origin[:, None] - index)[::-1]
        k, j, i = voxels
        coordinates[:, k, j, i] = np.concatenate([offset, position]) / OFFSET_UNIT_MM
        has_coordinates[voxels] = True
    return coordinates, has_coordinates


class LocalizerDataset(Dataset[Batch]):
    """One patch of each sample on disk.

    Parameters
    ----------
    paths : sequence of Path
        Files that hold one `LocalizerSample` each.
    seed : int or None
        Draws the patches of one epoch; None takes centered patches without augmentation.
    """

    def __init__(self, paths: Sequence[Path], seed: int | None) -> None:
        self.paths = paths
        self.seed = seed

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.paths)

    def __getitem__(self, number: int) -> Batch:
        """Return a `Patch` as tensors, and whether the head is labeled (knows_skull)."""
        sample = LocalizerSample.load(self.paths[number])
        if self.seed is None:
            patch = sample_patch(sample, centered_transform(sample))
        else:
            rng = np.random.default_rng([self.seed, number])
            patch = sample_patch(sample, random_transform(sample, rng), rng=rng)
        return {
            "image": torch.from_numpy(patch.image),
            "classes": torch.from_numpy(patch.classes),
            "coordinates": torch.from_numpy(patch.coordinates),
            "has_coordinates": torch.from_numpy(patch.has_coordinates),
            "knows_skull": torch.tensor(sample.knows_skull),
        }
