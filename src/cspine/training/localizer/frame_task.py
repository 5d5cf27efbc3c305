"""Training of the frame network: level, mask and positions of the vertebra in a crop along its own axes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import nn

from cspine.core.typing import Bools, Floats, Floats32
from cspine.localization.cascade.crops import CROP_CLASSES, CROP_MM, CROP_SHAPE, crop_affine
from cspine.localization.cascade.vertebrae import VERTEBRA_CLASSES
from cspine.localization.coarse import OFFSET_UNIT_MM, network_input
from cspine.training.localizer.classes import VERTEBRA_TABLE
from cspine.training.localizer.examples import UNKNOWN_LABEL, LocalizerSample
from cspine.training.localizer.geometry import PatchGeometry
from cspine.training.localizer.intensities import random_appearance
from cspine.training.localizer.network import FrameNetwork
from cspine.training.localizer.patches import labels_at, resample_hu
from cspine.training.localizer.sample_task import SampleDataset, SampleTask
from cspine.training.task import VAL_LOSS, Batch

CHANNELS: Final = (32, 64, 96)

N_CLASSES: Final = len(CROP_CLASSES)

CROPS_PER_SAMPLE: Final = 8

_NONE_PROBABILITY: Final = 0.1
"""Fraction of crops about a place without a vertebra."""

_TRANSLATION_SD_MM: Final = 3.0
_USUAL_FRACTION, _LARGE_FACTOR = 0.7, 1.7
"""Fraction of crops with the usual error, and the factor on that of the others."""

_MAX_TRANSLATION_MM: Final = 8.0
_ROTATION_SD_DEG: Final = 7.0
_MIN_NONE_DISTANCE_MM: Final = 16.0
"""Distance from the origins and the arches of all vertebrae from which on a place is in none of them."""

_ARCH_MM: Final = 20.0
"""From a vertebra's origin back to its arch."""

_MAX_TRIALS: Final = 20
_MAX_LOG_SCALE: Final = 0.18
_ELASTIC_SD_MM: Final = 1.2
_KNOT_MM: Final = 30.0
"""Largest standard deviation of the displacement of the knots of elastic deformations, and their distance."""

_CUT_PROBABILITY: Final = 0.35
_POSITION_WEIGHT: Final = 4.0
_POSITION_BETA: Final = 0.1
"""Error in cm from which on the loss of a position is linear."""


Outputs = tuple[torch.Tensor, torch.Tensor]
"""Logits of the classes, and mask and positions of every voxel."""


@dataclass(frozen=True)
class Crop:
    """A crop and its reference outputs.

    Attributes
    ----------
    image : (2, k, j, i) float32
        As `cspine.localization.coarse.network_input` returns it.
    level : int
        Index of `CROP_CLASSES`.
    mask : (k, j, i) bool
        Voxels of the vertebra.
    known : (k, j, i) bool
        Where the mask is known.
    position : (3, k, j, i) float32
        Position of each voxel in the vertebra's frame, in cm; zeros where there is no vertebra.
    """

    image: Floats32
    level: int
    mask: Bools
    known: Bools
    position: Floats32


def build_frame_network() -> FrameNetwork:
    """Return a new frame network: (n, 2, k, j, i) to logits of `CROP_CLASSES`, and to mask and positions in cm."""
    return FrameNetwork(N_CLASSES, CHANNELS)


def _jitter(frame: Floats, rng: np.random.Generator) -> Floats:
    """Return a frame that is moved and rotated at random, as the vertebra network errs."""
    motion = np.eye(4)
    shift = rng.normal(0.0, _TRANSLATION_SD_MM, 3) * (1.0 if rng.random() < _USUAL_FRACTION else _LARGE_FACTOR)
    motion[:3, 3] = np.clip(shift, -_MAX_TRANSLATION_MM, _MAX_TRANSLATION_MM)
    motion[:3, :3] = Rotation.from_rotvec(rng.normal(0.0, _ROTATION_SD_DEG, 3), degrees=True).as_matrix()
    return np.asarray(frame @ motion)


class FrameDataset(SampleDataset):
    """Some crops of each sample, at about `CROP_MM`."""

    def draw(self, sample: LocalizerSample, rng: np.random.Generator) -> Batch:
        """Return `CROPS_PER_SAMPLE` crops: images, levels, masks, positions, and where masks are known."""
        crops = [self._draw_crop(sample, rng) for _ in range(CROPS_PER_SAMPLE)]
        return {
            "image": torch.from_numpy(np.stack([crop.image for crop in crops])),
            "level": torch.tensor([crop.level for crop in crops]),
            "mask": torch.from_numpy(np.stack([crop.mask for crop in crops])),
            "known": torch.from_numpy(np.stack([crop.known for crop in crops])),
            "position": torch.from_numpy(np.stack([crop.position for crop in crops])),
        }

    def _draw_crop(self, sample: LocalizerSample, rng: np.random.Generator) -> Crop:
        known = sample.framed_rows.tolist()
        is_none = not known or rng.random() < _NONE_PROBABILITY
        number = known[int(rng.integers(len(known)))] if known else 0
        start = self._draw_elsewhere(sample, rng) if is_none else _jitter(sample.frames[number], rng)
        scale = float(np.exp(rng.uniform(-_MAX_LOG_SCALE, _MAX_LOG_SCALE)))
        geometry = crop_geometry(sample, start, scale, is_mirrored=bool(rng.random() < 0.5), rng=rng)
        index = geometry.source_index()
        hu, inside = resample_hu(sample, index)
        scanned = inside & _scanned(sample, index.numpy(), rng)
        image = network_input(random_appearance(hu, CROP_MM, rng), scanned)
        labels = labels_at(sample.labels, index, 1, VERTEBRA_TABLE)
        if is_none:
            nothing = np.zeros(CROP_SHAPE, np.bool_)
            return Crop(image, 0, nothing, inside, np.zeros((3, *CROP_SHAPE), np.float32))
        level = CROP_CLASSES.index(VERTEBRA_CLASSES[VERTEBRA_TABLE[number + 1]])
        position = positions_in_frame(sample, geometry, index.numpy(), sample.frames[number])
        return Crop(image, level, inside & (labels == number + 1), inside & (labels != UNKNOWN_LABEL), position)

    @staticmethod
    def _draw_elsewhere(sample: LocalizerSample, rng: np.random.Generator) -> Floats:
        """Return a frame that is in no vertebra, at least mostly."""
        known = sample.frames[sample.framed_rows]
        bodies = np.concatenate([known[:, :3, 3], known[:, :3, 3] + _ARCH_MM * known[:, :3, 1]])
        start = _jitter(np.eye(4), rng)
        for _ in range(_MAX_TRIALS):
            index = rng.uniform(sample.scanned[0], sample.scanned[1])
            start[:3, 3] = sample.origin_lps_mm + sample.spacing_mm * index[::-1]
            if not len(bodies) or np.linalg.norm(bodies - start[:3, 3], axis=1).min() > _MIN_NONE_DISTANCE_MM:
                break
        return start


def crop_geometry(
    sample: LocalizerSample, frame: Floats, scale: float, *, is_mirrored: bool, rng: np.random.Generator
) -> PatchGeometry:
    """Return the geometry of a crop about a frame, with a slight elastic deformation."""
    mirror = np.diag([-1.0 if is_mirrored else 1.0, 1.0, 1.0])
    zoomed = frame.copy()
    zoomed[:3, :3] = scale * frame[:3, :3] @ mirror
    affine = crop_affine(zoomed)
    to_index = np.eye(3)[::-1] / sample.spacing_mm
    matrix = to_index @ affine[:3, :3]
    shift = to_index @ (affine[:3, 3] - sample.origin_lps_mm)
    counts = [max(round(count * CROP_MM / _KNOT_MM), 1) + 1 for count in CROP_SHAPE]
    sd = rng.uniform(0.0, _ELASTIC_SD_MM) / sample.spacing_mm
    knots = torch.from_numpy((sd * rng.standard_normal((3, *counts))).astype(np.float32))
    scanned = np.array([np.zeros(3), CROP_SHAPE])
    return PatchGeometry(CROP_SHAPE, CROP_MM, matrix, shift, scale, is_mirrored, knots, scanned)


def positions_in_frame(sample: LocalizerSample, geometry: PatchGeometry, index: Floats32, frame: Floats) -> Floats32:
    """Return the position in a vertebra's frame of each voxel of a crop, x, y and z in cm, (3, k, j, i).

    Parameters
    ----------
    sample : LocalizerSample
        The volume that the crop is taken of.
    geometry : PatchGeometry
        The geometry of the crop.
    index : (3, k, j, i)
        Positions of the crop's voxels in the sample.
    frame : (4, 4)
        Affine from the vertebra's frame to LPS mm.
    """
    inverse = np.linalg.inv(frame) / geometry.scale
    shift = inverse[:3, :3] @ sample.origin_lps_mm + inverse[:3, 3]
    position = np.tensordot(sample.spacing_mm * inverse[:3, :3], index[::-1], axes=1) + shift[:, None, None, None]
    if geometry.is_mirrored:
        position[0] *= -1
    return np.asarray(position / OFFSET_UNIT_MM, np.float32)


def _scanned(sample: LocalizerSample, index: Floats, rng: np.random.Generator) -> Bools:
    """Return which voxels of a crop are in the scan, of which an end is sometimes cut off within the crop."""
    low, high = sample.scanned.astype(np.float64) - 0.5
    if rng.random() < _CUT_PROBABILITY:
        plane = rng.uniform(*np.quantile(index[0], [0.1, 0.9]))
        if rng.random() < 0.5:
            low[0] = max(low[0], plane)
        else:
            high[0] = min(high[0], plane)
    inside = np.ones(index.shape[1:], np.bool_)
    for axis in range(3):
        inside &= (index[axis] >= low[axis]) & (index[axis] < high[axis])
    return inside


class FrameTask(SampleTask):
    """Classification of crops, segmentation of the vertebra in each, and regression of positions in its frame."""

    dataset = FrameDataset

    def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """Return the crops of all samples, (n, 2, k, j, i)."""
        return (batch["image"].flatten(0, 1),)

    def loss(self, outputs: Outputs, batch: Batch) -> torch.Tensor:
        """Return the mean loss of a batch: cross-entropies of level and mask, Dice, and smooth L1 of positions."""
        logits, dense = (each.float() for each in outputs)
        entropy = nn.functional.cross_entropy(logits, batch["level"].flatten())
        mask, known = (batch[name].flatten(0, 1) for name in ("mask", "known"))
        chance, truth = dense[:, 0][known], mask[known].float()
        segmentation = nn.functional.binary_cross_entropy_with_logits(chance, truth)
        chance = torch.sigmoid(chance)
        dice = 1 - (2 * (chance * truth).sum() + 1.0) / (chance.sum() + truth.sum() + 1.0)
        predicted, target = (each.movedim(1, -1)[mask] for each in (dense[:, 1:], batch["position"].flatten(0, 1)))
        position = nn.functional.smooth_l1_loss(predicted, target, reduction="sum", beta=_POSITION_BETA)
        return entropy + segmentation + dice + _POSITION_WEIGHT * position / max(predicted.numel(), 1)

    def validate(self, predictions: Iterable[tuple[Outputs, Batch]]) -> dict[str, float]:
        """Return validation loss, accuracy of the level, Dice of the mask, and median error of positions."""
        losses, correct, errors_mm = [], [], []
        overlap = total = 0.0
        for outputs, batch in predictions:
            losses.append(float(self.loss(outputs, batch)))
            logits, dense = (each.float().cpu() for each in outputs)
            correct.append((logits.argmax(dim=1) == batch["level"].flatten().cpu()).float())
            mask, known = (batch[name].flatten(0, 1).cpu() for name in ("mask", "known"))
            predicted = (dense[:, 0] > 0) & known
            overlap += 2 * float((predicted & mask).sum())
            total += float(predicted.sum() + mask.sum())
            error = (dense[:, 1:] - batch["position"].flatten(0, 1).cpu()).movedim(1, -1)[mask]
            errors_mm.append(OFFSET_UNIT_MM * error.norm(dim=1))
        return {
            VAL_LOSS: sum(losses) / max(len(losses), 1),
            "accuracy": float(torch.cat(correct).mean()),
            "dice": overlap / max(total, 1.0),
            "position_mm": float(torch.cat(errors_mm).median()),
        }
