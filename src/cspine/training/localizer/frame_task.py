"""Training of the frame network: level and corrected frame of the vertebra in a crop, at 1.5 mm."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import nn
from torch.utils.data import Dataset

from cspine.core.typing import Bools, Floats, Floats32
from cspine.localization.coarse import OFFSET_UNIT_MM, network_input
from cspine.localization.crops import CROP_CLASSES, CROP_MM, CROP_SHAPE, ROTATION_UNIT_RAD, crop_affine
from cspine.localization.vertebra_network import VERTEBRA_CLASSES
from cspine.training.localizer.classes import VERTEBRA_TABLE
from cspine.training.localizer.examples import LocalizerSample
from cspine.training.localizer.geometry import PatchGeometry
from cspine.training.localizer.intensities import random_appearance
from cspine.training.localizer.network import FACTOR, FrameNetwork
from cspine.training.localizer.patches import resample_hu
from cspine.training.settings import TrainerSettings
from cspine.training.task import ALL_DATA, VAL_LOSS, Batch, DataShard, Loader, load_batches

CHANNELS: Final = (32, 64, 96)

N_CLASSES: Final = len(CROP_CLASSES)

N_MOTION: Final = 6
"""Translation along x, y and z in cm, and rotation vector in `ROTATION_UNIT_RAD`."""

CROPS_PER_SAMPLE: Final = 8

_NONE_PROBABILITY: Final = 0.1
"""Fraction of crops about a place without a vertebra."""

_TRANSLATION_SD_MM: Final = 3.0
_MAX_TRANSLATION_MM: Final = 8.0
_ROTATION_SD_DEG: Final = 7.0
_MIN_NONE_DISTANCE_MM: Final = 16.0
"""Distance from the origins and the arches of all vertebrae from which on a place is in none of them."""

_ARCH_MM: Final = 20.0
"""From a vertebra's origin back to its arch."""

_MAX_TRIALS: Final = 20
_MAX_LOG_SCALE: Final = 0.18
_ELASTIC_SD_MM: Final = 1.2
_CUT_PROBABILITY: Final = 0.2
_MOTION_WEIGHT: Final = 4.0
_MOTION_BETA: Final = 0.1
_VALIDATION_SEED: Final = 424_244


def build_frame_network() -> FrameNetwork:
    """Return a new frame network: (n, 2, k, j, i) to the logits of `CROP_CLASSES` and the motion of the frame."""
    k, j, i = (side // FACTOR for side in CROP_SHAPE)
    index = FACTOR * np.indices((k, j, i)) + (FACTOR - 1) / 2
    position_mm = np.tensordot(crop_affine(np.eye(4))[:3, :3], index - crop_center_index()[:, None, None, None], axes=1)
    return FrameNetwork(N_CLASSES, torch.from_numpy((position_mm / OFFSET_UNIT_MM).astype(np.float32)), CHANNELS)


def _jitter(frame: Floats, rng: np.random.Generator) -> Floats:
    """Return a frame that is moved and rotated at random, as the vertebra network errs."""
    motion = np.eye(4)
    shift = rng.normal(0.0, _TRANSLATION_SD_MM, 3) * (1.0 if rng.random() < 0.7 else 1.7)
    motion[:3, 3] = np.clip(shift, -_MAX_TRANSLATION_MM, _MAX_TRANSLATION_MM)
    motion[:3, :3] = Rotation.from_rotvec(rng.normal(0.0, _ROTATION_SD_DEG, 3), degrees=True).as_matrix()
    return np.asarray(frame @ motion)


class FrameDataset(Dataset[Batch]):
    """Some crops of each sample on disk.

    Parameters
    ----------
    paths : sequence of Path
        Files that hold one `LocalizerSample` each, at about `CROP_MM`.
    seed : int
        Draws the crops of one epoch.
    """

    def __init__(self, paths: Sequence[Path], seed: int) -> None:
        self.paths = paths
        self.seed = seed

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.paths)

    def __getitem__(self, number: int) -> Batch:
        """Return `CROPS_PER_SAMPLE` crops: images, classes, motions, and whether their motions are known."""
        sample = LocalizerSample.load(self.paths[number])
        rng = np.random.default_rng([self.seed, number])
        crops = [self._draw_crop(sample, rng) for _ in range(CROPS_PER_SAMPLE)]
        images, classes, motions = zip(*crops, strict=True)
        level = torch.tensor(classes)
        return {
            "image": torch.from_numpy(np.stack(images)),
            "level": level,
            "motion": torch.from_numpy(np.stack(motions).astype(np.float32)),
            "has_motion": level > 0,
        }

    def _draw_crop(self, sample: LocalizerSample, rng: np.random.Generator) -> tuple[Floats32, int, Floats]:
        known = [number for number, frame in enumerate(sample.frames) if np.isfinite(frame).all()]
        is_none = not known or rng.random() < _NONE_PROBABILITY
        number = known[int(rng.integers(len(known)))] if known else 0
        frame = sample.frames[number]
        start = self._draw_elsewhere(sample, rng) if is_none else _jitter(frame, rng)
        scale = float(np.exp(rng.uniform(-_MAX_LOG_SCALE, _MAX_LOG_SCALE)))
        is_mirrored = bool(rng.random() < 0.5)
        geometry = crop_geometry(sample, start, scale, is_mirrored=is_mirrored, rng=rng)
        index = geometry.source_index()
        hu, inside = resample_hu(sample, index)
        hu = random_appearance(hu, CROP_MM, rng)
        image = network_input(hu, inside & _scanned(sample, index.numpy(), rng))
        if is_none:
            return image, 0, np.zeros(N_MOTION)
        level = CROP_CLASSES.index(VERTEBRA_CLASSES[VERTEBRA_TABLE[number + 1]])
        return image, level, motion_between(sample, geometry, start, frame)

    @staticmethod
    def _draw_elsewhere(sample: LocalizerSample, rng: np.random.Generator) -> Floats:
        """Return a frame that is in no vertebra, at least mostly."""
        known = sample.frames[np.isfinite(sample.frames).all(axis=(1, 2))]
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
    counts = [max(round(count * CROP_MM / 30.0), 1) + 1 for count in CROP_SHAPE]
    sd = rng.uniform(0.0, _ELASTIC_SD_MM) / sample.spacing_mm
    knots = torch.from_numpy((sd * rng.standard_normal((3, *counts))).astype(np.float32))
    scanned = np.array([np.zeros(3), CROP_SHAPE])
    return PatchGeometry(CROP_SHAPE, CROP_MM, matrix, shift, scale, is_mirrored, knots, scanned)


def motion_between(sample: LocalizerSample, geometry: PatchGeometry, start: Floats, truth: Floats) -> Floats:
    """Return the motion from the frame that a crop was taken of to the true one, as the network predicts it, (6,)."""
    center = crop_center_index()
    origin = geometry.patch_index(sample.index_of(truth[None, :3, 3]))[0]
    translation_mm = CROP_MM * (origin - center)[::-1]
    rotation = start[:3, :3].T @ truth[:3, :3]
    if geometry.is_mirrored:
        mirror = np.diag([-1.0, 1.0, 1.0])
        rotation = mirror @ rotation @ mirror
    turn_rad = Rotation.from_matrix(rotation).as_rotvec()
    return np.concatenate([translation_mm / OFFSET_UNIT_MM, turn_rad / ROTATION_UNIT_RAD])


def crop_center_index() -> Floats:
    """Return the index ``[k, j, i]`` of a crop at which its frame has its origin, (3,)."""
    return np.asarray(np.linalg.solve(crop_affine(np.eye(4)), [0.0, 0.0, 0.0, 1.0])[:3])


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


class FrameTask:
    """Classification of crops, and regression of the motion to the true frame.

    Parameters
    ----------
    train, validation : sequence of Path
        Files of `LocalizerSample`, of different patients.
    settings : TrainerSettings
        Hyperparameters, of which batch size and seed are used.
    """

    def __init__(self, train: Sequence[Path], validation: Sequence[Path], settings: TrainerSettings) -> None:
        self._train, self._validation, self._settings = train, validation, settings

    def train_loader(self, epoch: int, shard: DataShard = ALL_DATA) -> Loader:
        """Return random crops of each training sample, drawn anew in each epoch."""
        seed = self._settings.seed * 100_003 + epoch + 1
        return load_batches(FrameDataset(self._train, seed), self._settings, seed, shard)

    def val_loader(self) -> Loader:
        """Return random crops of each validation sample, the same in every epoch."""
        return load_batches(FrameDataset(self._validation, _VALIDATION_SEED), self._settings)

    def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """Return the crops of all samples, (n, 2, k, j, i)."""
        return (batch["image"].flatten(0, 1),)

    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the mean loss of a batch: cross-entropy of the level, and smooth L1 of the motion."""
        entropy = nn.functional.cross_entropy(outputs[:, :N_CLASSES].float(), batch["level"].flatten())
        mask = batch["has_motion"].flatten()
        predicted, target = outputs[:, N_CLASSES:].float()[mask], batch["motion"].flatten(0, 1)[mask]
        motion = nn.functional.smooth_l1_loss(predicted, target, reduction="sum", beta=_MOTION_BETA)
        return entropy + _MOTION_WEIGHT * motion / max(predicted.numel(), 1)

    def validate(self, predictions: Iterable[tuple[torch.Tensor, Batch]]) -> dict[str, float]:
        """Return validation loss, accuracy of the level, and median error of origin and rotation."""
        losses, correct, distances_mm, angles_deg = [], [], [], []
        for outputs, batch in predictions:
            losses.append(float(self.loss(outputs, batch)))
            level, mask = batch["level"].flatten(), batch["has_motion"].flatten()
            correct.append((outputs[:, :N_CLASSES].argmax(dim=1) == level).float().cpu())
            error = (outputs[:, N_CLASSES:].float() - batch["motion"].flatten(0, 1))[mask].cpu()
            distances_mm.append(OFFSET_UNIT_MM * error[:, :3].norm(dim=1))
            angles_deg.append(torch.rad2deg(ROTATION_UNIT_RAD * error[:, 3:].norm(dim=1)))
        return {
            VAL_LOSS: sum(losses) / max(len(losses), 1),
            "accuracy": float(torch.cat(correct).mean()),
            "origin_mm": float(torch.cat(distances_mm).median()),
            "rotation_deg": float(torch.cat(angles_deg).median()),
        }
