"""Training patches of the localizer's networks, resampled from samples with random geometry and appearance."""

from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
import torch
from torch.nn import functional

from cspine.core.typing import Bools, Floats, Floats32, Labels
from cspine.dicom.hounsfield import AIR_HU
from cspine.localization.coarse import OFFSET_UNIT_MM, network_input
from cspine.models.metadata import COARSE_MM, PADDING
from cspine.training.localizer.classes import UNKNOWN
from cspine.training.localizer.examples import LocalizerSample
from cspine.training.localizer.geometry import PatchGeometry
from cspine.training.localizer.intensities import random_appearance

N_COORDINATES: Final = 6
"""Offset to the vertebra's origin, and position in the vertebra's frame."""


@dataclass(frozen=True)
class Patch:
    """The network's input and its reference outputs.

    Attributes
    ----------
    image : (2, k, j, i) float32
        As `cspine.localization.coarse.network_input` returns it.
    classes : (k, j, i) uint8
        Class of each voxel, or `UNKNOWN`.
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
    geometry: PatchGeometry,
    class_of_label: Labels,
    rng: np.random.Generator | None = None,
    *,
    has_coordinates: bool = True,
) -> Patch:
    """Resample a patch.

    Parameters
    ----------
    sample : LocalizerSample
        The volume that the patch is taken of.
    geometry : PatchGeometry
        Which of its voxels the patch shows.
    class_of_label : (256,) uint8
        Class of each label.
    rng : Generator, optional
        Draws contrast, sharpness and noise; HU stay as they are where None.
    has_coordinates : bool
        Whether coordinates are computed.
    """
    index = geometry.source_index()
    hu, labels = _resample(sample, geometry, index, class_of_label)
    if rng is not None:
        hu = random_appearance(hu, geometry.spacing_mm, rng)
    is_inside = labels.inside
    scanned = _box_mask(geometry.scanned, geometry.shape) & is_inside
    margin = np.stack([np.negative(PADDING), PADDING]) * COARSE_MM / geometry.spacing_mm
    known = is_inside & _box_mask(geometry.scanned + margin, geometry.shape)
    classes = labels.classes
    classes[~known] = UNKNOWN
    coordinates = np.zeros((N_COORDINATES, *geometry.shape), np.float32)
    mask = np.zeros(geometry.shape, np.bool_)
    if has_coordinates:
        coordinates, mask = _coordinates(sample, geometry, index, labels.numbers, known)
    return Patch(network_input(hu, scanned), classes, coordinates, mask)


@dataclass(frozen=True)
class _ResampledLabels:
    """Labels of a patch, their classes, and which voxels lie in the sample."""

    numbers: Labels
    classes: Labels
    inside: Bools


def _resample(
    sample: LocalizerSample, geometry: PatchGeometry, index: torch.Tensor, class_of_label: Labels
) -> tuple[Floats32, _ResampledLabels]:
    """Return HU and labels of the voxels of a patch."""
    ratio = max(round(geometry.spacing_mm / sample.spacing_mm), 1)
    hu, inside = resample_hu(sample, index, ratio)
    numbers = labels_at(sample.labels, index, ratio, class_of_label) * inside
    return hu, _ResampledLabels(numbers, class_of_label[numbers], inside)


def resample_hu(sample: LocalizerSample, index: torch.Tensor, ratio: int = 1) -> tuple[Floats32, Bools]:
    """Return HU at positions in a sample by trilinear interpolation, and which positions lie in it.

    Parameters
    ----------
    sample : LocalizerSample
        The volume that is interpolated.
    index : (3, k, j, i) Tensor
        Positions in voxels of the sample.
    ratio : int
        Voxels along each axis over which HU are averaged first.
    """
    low = np.clip(index.amin(dim=(1, 2, 3)).numpy().astype(int) // ratio * ratio - ratio, 0, None)
    high = index.amax(dim=(1, 2, 3)).numpy().astype(int) + 2 * ratio + 1
    low = np.minimum(low, np.array(sample.hu.shape) - 1)
    k, j, i = (slice(*ends) for ends in zip(low.tolist(), np.maximum(high, low + 1).tolist(), strict=True))
    hu = torch.from_numpy(sample.hu[k, j, i].astype(np.float32) - np.float32(AIR_HU))[None, None]
    if ratio > 1:
        hu = functional.avg_pool3d(hu, ratio, ceil_mode=True, count_include_pad=False)
    start = torch.from_numpy(low.astype(np.float32)).view(3, 1, 1, 1)
    count = torch.tensor(sample.hu.shape, dtype=torch.float32).view(3, 1, 1, 1)
    size = torch.tensor(hu.shape[2:], dtype=torch.float32).view(3, 1, 1, 1)
    grid = (2 * _pooled_index(index - start, ratio) / (size - 1).clamp(min=1) - 1).flip(0).movedim(0, -1)[None]
    values = functional.grid_sample(hu, grid, mode="bilinear", padding_mode="zeros", align_corners=True)[0, 0]
    inside = ((index > -0.5) & (index < count - 0.5)).all(dim=0)
    return values.numpy() + np.float32(AIR_HU), inside.numpy()


def _pooled_index(index: torch.Tensor, ratio: int) -> torch.Tensor:
    """Return positions in voxels of a sample as positions in blocks of voxels."""
    return (index - (ratio - 1) / 2) / ratio


def labels_at(labels: Labels, index: torch.Tensor, ratio: int, class_of_label: Labels) -> Labels:
    """Return the nearest label of each position; of larger voxels the label of highest class among the nearest.

    Parameters
    ----------
    labels : (k, j, i) uint8
        Labels of a sample.
    index : (3, k, j, i) Tensor
        Positions in voxels of the sample; those beyond it have the labels of its border.
    ratio : int
        Voxels of the sample along the side of one that is labeled.
    class_of_label : (256,) uint8
        Class of each label.
    """
    source = torch.from_numpy(labels)

    def at(position: torch.Tensor) -> torch.Tensor:
        k, j, i = (axis.clamp(0, count - 1) for axis, count in zip(position, labels.shape, strict=True))
        return source[k, j, i]

    if ratio == 1:
        return at(index.round().long()).numpy()
    rank = torch.from_numpy(np.where(class_of_label == UNKNOWN, 0, class_of_label).astype(np.uint8))
    corner = (index - (ratio - 1) / 2).round().long()
    chosen = at(corner)
    for step in list(product(range(ratio), repeat=3))[1:]:
        other = at(corner + torch.tensor(step).view(3, 1, 1, 1))
        chosen = torch.where(rank[other.long()] > rank[chosen.long()], other, chosen)
    return chosen.numpy()


def _box_mask(box: Floats, shape: tuple[int, int, int]) -> Bools:
    mask = np.zeros(shape, np.bool_)
    low, high = np.clip(np.round(box), 0, shape).astype(int)
    mask[low[0] : high[0], low[1] : high[1], low[2] : high[2]] = True
    return mask


def _coordinates(
    sample: LocalizerSample, geometry: PatchGeometry, index: torch.Tensor, numbers: Labels, known: Bools
) -> tuple[Floats32, Bools]:
    """Return each vertebral voxel's offset to the origin and position in the frame, in cm, and where they are known.

    Under an elastic deformation the position in the frame is that of the tissue before it was deformed.
    """
    coordinates = np.zeros((N_COORDINATES, *geometry.shape), np.float32)
    has_coordinates = np.zeros(geometry.shape, np.bool_)
    source = index.numpy()
    for row in sample.framed_rows.tolist():
        frame, voxels = sample.frames[row], np.nonzero((numbers == row + 1) & known)
        if not len(voxels[0]):
            continue
        k, j, i = voxels
        lps = sample.origin_lps_mm[:, None] + sample.spacing_mm * source[:, k, j, i][::-1]
        inverse = np.linalg.inv(frame)
        position = (inverse[:3, :3] @ lps + inverse[:3, 3:]) / geometry.scale
        if geometry.is_mirrored:
            position[0] *= -1
        origin = geometry.patch_index(sample.index_of(frame[None, :3, 3]))[0]
        offset = geometry.spacing_mm * (origin[:, None] - np.stack(voxels))[::-1]
        coordinates[:, k, j, i] = np.concatenate([offset, position]) / OFFSET_UNIT_MM
        has_coordinates[voxels] = True
    return coordinates, has_coordinates
