"""Coarse examples as a localiser sees them: turned, scaled, mirrored and cut off at random, with their targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation
from torch.utils.data import Dataset

from cspine.dicom.codec.pixels import AIR_HU
from cspine.localization.coarse import UNIT_MM, network_input
from cspine.models.metadata import COARSE_MM, PADDING
from cspine.training.localizer.examples import SKULL, LocalizerSample

Array = npt.NDArray[np.float32]

CLASSES: Final = 10
"""Background, C1 to C7, thoracic, head."""

THORACIC: Final = 8
HEAD: Final = 9
UNKNOWN: Final = 255
"""Nothing is learnt from voxels of this class."""

PATCH: Final = (80, 64, 64)
"""Voxels of a training patch: 240 x 192 x 192 mm."""

_TURN_DEG: Final = (14.0, 9.0, 14.0)
"""Most by which necks are turned about z, y and x more than they are."""

_CUTS: Final = (0.3, 0.4, 0.3)
"""Share of patches that are cut off at no end, one and two ends more than the scan already is."""

_CONTRAST: Final = (0.7, 1.3)
_OFFSET_HU: Final = 60.0
"""HU are stretched and shifted by so much: more than scanners differ, so that shape counts."""

_LEAST_FIELD: Final = 10
"""Planes that are left of a scan that is cut, 30 mm."""


@dataclass(frozen=True)
class View:
    """One look at an example: which voxels a patch takes, and what of it was scanned.

    Attributes
    ----------
    matrix, shift : (3, 3), (3,)
        From a patch's ``[k, j, i]`` to the example's.
    scale : float
        By how much smaller things look.
    mirrored : bool
        Whether left is right.
    field : (2, 3)
        First and last voxel (and one more) of what was scanned.
    """

    matrix: npt.NDArray[np.float64]
    shift: npt.NDArray[np.float64]
    scale: float
    mirrored: bool
    field: npt.NDArray[np.float64]


def plain_view(example: LocalizerSample, shape: Sequence[int] = PATCH) -> View:
    """Return the view that changes nothing and has the scan in its middle."""
    shift = example.scanned.mean(axis=0) - np.array(shape) / 2
    shift = np.round(shift)
    return View(np.eye(3), shift, 1.0, mirrored=False, field=example.scanned - shift)


def draw_view(example: LocalizerSample, rng: np.random.Generator, shape: Sequence[int] = PATCH) -> View:
    """Draw a view."""
    scale = float(np.exp(rng.uniform(-0.16, 0.16)))
    turn = Rotation.from_euler("zyx", rng.uniform(-1, 1, 3) * _TURN_DEG, degrees=True).as_matrix()[::-1, ::-1]
    mirrored = bool(rng.random() < 0.5)
    matrix = scale * turn @ np.diag([1.0, 1.0, -1.0 if mirrored else 1.0])
    low, high = example.scanned.astype(float)
    middle = (low + high) / 2 + rng.uniform(-0.15, 0.15, 3) * (high - low)
    onto = (np.array(shape) - 1) / 2 + rng.uniform(-5.0, 5.0, 3)
    shift = middle - matrix @ onto
    centre = np.linalg.solve(matrix, (low + high) / 2 - shift)
    half = (high - low) / 2 / scale
    field = np.array([centre - half * rng.uniform(0.85, 1.0, 3), centre + half * rng.uniform(0.85, 1.0, 3)])
    for _ in range(int(rng.choice(3, p=_CUTS))):
        axis, end = int(rng.choice([0, 0, 0, 0, 1, 2])), int(rng.integers(2))
        least = _LEAST_FIELD if axis == 0 else 30
        if field[1, axis] - field[0, axis] > least:
            at = rng.uniform(field[0, axis] + least, field[1, axis])
            field[1 - end, axis] = at if end == 0 else field[0, axis] + field[1, axis] - at
    return View(matrix, shift, scale, mirrored, np.round(field))


@dataclass(frozen=True)
class Target:
    """A patch with what is to be found in it.

    Attributes
    ----------
    image : (2, k, j, i) float32
        As `network_input` makes it.
    classes : (k, j, i) uint8
        0 background, 1-7 C1-C7, `THORACIC`, `HEAD`, `UNKNOWN`.
    places : (6, k, j, i) float32
        Of vertebrae's voxels, in cm: the way to the vertebra's origin (x, y, z of the patch), and the voxel's place in
        the vertebra's own frame.
    placed : (k, j, i) bool
        Where `places` are known.
    """

    image: Array
    classes: npt.NDArray[np.uint8]
    places: Array
    placed: npt.NDArray[np.bool_]


def look(
    example: LocalizerSample, view: View, shape: tuple[int, int, int] = PATCH, rng: np.random.Generator | None = None
) -> Target:
    """Return what a view shows; with `rng`, through another scanner."""
    hu = ndimage.affine_transform(
        example.hu.astype(np.float32), view.matrix, view.shift, shape, order=1, cval=AIR_HU, mode="constant"
    )
    plane = 255 * np.ones_like(example.labels)
    known = ndimage.affine_transform(plane, view.matrix, view.shift, shape, order=0, cval=0, mode="constant") > 0
    labels = ndimage.affine_transform(example.labels, view.matrix, view.shift, shape, order=0, cval=0)
    field = _box(view.field, shape)
    inside = field & known
    if rng is not None:
        hu = hu * rng.uniform(*_CONTRAST) + rng.uniform(-_OFFSET_HU, _OFFSET_HU)
        if rng.random() < 0.3:
            hu = ndimage.gaussian_filter(hu, rng.uniform(0.2, 0.7, 3), truncate=2.0)
        hu += rng.uniform(0.0, 45.0) * rng.standard_normal(shape, dtype=np.float32)
    wide = view.field + np.stack([np.negative(PADDING), PADDING])
    known &= _box(wide, shape)
    classes = _classes(labels)
    classes[~known] = UNKNOWN
    places, placed = _places(example, view, labels, known)
    return Target(network_input(hu, inside), classes, places, placed)


def _box(field: npt.NDArray[np.float64], shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    box = np.zeros(shape, np.bool_)
    low, high = np.clip(field, 0, shape).astype(int)
    box[low[0] : high[0], low[1] : high[1], low[2] : high[2]] = True
    return box


def _classes(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    classes = np.minimum(labels, THORACIC)
    classes[labels == SKULL] = HEAD
    return classes


def _places(
    example: LocalizerSample, view: View, labels: npt.NDArray[np.uint8], known: npt.NDArray[np.bool_]
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Return, of each vertebra's voxels, the way to its origin and their place in its frame, both in cm."""
    places, placed = np.zeros((6, *labels.shape), np.float32), np.zeros(labels.shape, np.bool_)
    back = np.linalg.inv(view.matrix)
    for number, frame in enumerate(example.frames, start=1):
        at = np.nonzero((labels == number) & known)
        if not len(at[0]) or not np.isfinite(frame).all():
            continue
        index = np.stack(at)
        there = example.origin_lps_mm[:, None] + COARSE_MM * (view.matrix @ index + view.shift[:, None])[::-1]
        own = np.linalg.inv(frame)[:3] @ np.vstack([there, np.ones(len(at[0]))]) / view.scale
        if view.mirrored:
            own[0] *= -1
        origin = back @ ((frame[:3, 3] - example.origin_lps_mm)[::-1] / COARSE_MM - view.shift)
        way = COARSE_MM * (origin[:, None] - index)[::-1]
        k, j, i = at
        places[:, k, j, i] = np.concatenate([way, own]) / UNIT_MM
        placed[at] = True
    return places, placed


class CoarseData(Dataset[dict[str, torch.Tensor]]):
    """Examples on disk as patches.

    Parameters
    ----------
    paths : sequence of Path
        Files of `LocalizerSample`.
    seed : int or None
        Draws the views of one epoch; None looks plainly.
    """

    def __init__(self, paths: Sequence[Path], seed: int | None) -> None:
        self.paths = paths
        self.seed = seed

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.paths)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        """Return one patch as tensors."""
        example = LocalizerSample.load(self.paths[number])
        if self.seed is None:
            target = look(example, plain_view(example))
        else:
            rng = np.random.default_rng([self.seed, number])
            target = look(example, draw_view(example, rng), rng=rng)
        return {
            "image": torch.from_numpy(target.image),
            "classes": torch.from_numpy(target.classes),
            "places": torch.from_numpy(target.places),
            "placed": torch.from_numpy(target.placed),
            "knows_skull": torch.tensor(example.knows_skull),
        }
