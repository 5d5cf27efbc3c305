"""The training task of the level network: loss of labels, fracture cells and fracture types."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import torch
from torch import nn

from cspine.core.typing import Floats32
from cspine.metrics.logistic import fit_logistic
from cspine.metrics.rsna2022 import NEGATIVE_STUDY_WEIGHT, OVERALL_WEIGHT
from cspine.metrics.scores import auc
from cspine.training.levels.dataset import CaseFiles, LevelDataset
from cspine.training.levels.network import LevelOutputs
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.levels.vertebra_resampling import resample_vertebrae
from cspine.training.losses import cells_loss, target_weights
from cspine.training.task import ALL_DATA, VAL_LOSS, Batch, DataShard, Loader, load_batches
from cspine.views.level_views import LevelViewSettings

_EVIDENCE_WEIGHT: Final = 2.0
_POSITIVE_CELL_WEIGHT: Final = 6.0
_DICE_WEIGHT: Final = 0.25

_FRACTURE_TYPE_WEIGHT: Final = 0.2

_RIDGE: Final = 1.0
"""Ridge penalty of the rescaling of logits before validation: separable classes of a few cases have no finite fit."""


def level_loss(outputs: LevelOutputs, batch: Batch) -> torch.Tensor:
    """Return the challenge's loss of a batch of `LevelDataset`, over the vertebrae that were localized."""
    logits = torch.cat([outputs.overall[:, None], outputs.levels], dim=1).float()
    truth, present = batch["truth"], batch["present"]
    losses = nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    has_output = torch.cat([present.any(dim=1, keepdim=True), present], dim=1)
    return (losses * target_weights(truth) * has_output).sum(dim=1).mean() / NEGATIVE_STUDY_WEIGHT


def evidence_loss(outputs: LevelOutputs, batch: Batch) -> torch.Tensor:
    """Return cross-entropy and Dice loss of the planes' cells, where the fractured ones are known."""
    known = (batch["has_cells"] & batch["present"])[:, :, None, None, None, None]
    return cells_loss(
        outputs.evidence, batch["cells"], known, positive_weight=_POSITIVE_CELL_WEIGHT, dice_weight=_DICE_WEIGHT
    )


def fracture_type_loss(outputs: LevelOutputs, batch: Batch) -> torch.Tensor:
    """Return the cross-entropy of fracture types, where they are known."""
    known = (batch["has_fracture_type"] & batch["present"])[:, :, None].float()
    losses = nn.functional.binary_cross_entropy_with_logits(
        outputs.fracture_types.float(), batch["fracture_types"], reduction="none"
    )
    return (losses * known).sum() / (known.sum() * losses.shape[2]).clamp(min=1.0)


class LevelTask:
    """Classification of each vertebra of a case by its views.

    The first epochs train on resampled vertebrae, the others fine-tune on complete cases.

    Parameters
    ----------
    train, validation : sequence of CaseFiles
        Training and validation set, of different patients.
    auxiliary : sequence of CaseFiles
        Cases whose vertebrae are used beside those of `train` in the epochs of resampled vertebrae, and as complete
        cases as far as `LevelTrainSettings.auxiliary_fraction` says.
    views : LevelViewSettings
        How their views were compiled.
    fracture_types : tuple of str
        Fracture types, in the order of the network's outputs.
    settings : LevelTrainSettings
        Batch size, seed, views per step, and which epochs train on resampled vertebrae.
    """

    def __init__(
        self,
        train: Sequence[CaseFiles],
        validation: Sequence[CaseFiles],
        auxiliary: Sequence[CaseFiles],
        views: LevelViewSettings,
        fracture_types: tuple[str, ...],
        settings: LevelTrainSettings,
    ) -> None:
        self.train, self.validation, self.auxiliary = train, validation, auxiliary
        self.views, self._fracture_types, self._settings = views, fracture_types, settings

    def train_loader(self, epoch: int, shard: DataShard = ALL_DATA) -> Loader:
        """Return the training cases of an epoch, each augmented."""
        seed = self._settings.seed * 100_003 + epoch + 1
        cases = self.train
        if epoch < self._settings.resampled_epochs:
            fraction = self._settings.auxiliary_fraction if self.auxiliary else 0.0
            cases = resample_vertebrae(
                self.train, len(self.train), seed, auxiliary=self.auxiliary, auxiliary_fraction=fraction
            )
        elif self.auxiliary and self._settings.auxiliary_fraction:
            cases = self._draw_cases(seed)
        data = LevelDataset(cases, self.views, self._fracture_types, self._settings.train_views, seed)
        return load_batches(data, self._settings, seed, shard)

    def _draw_cases(self, seed: int) -> list[CaseFiles]:
        """Draw as many cases as there are in the training set, auxiliary ones in their fraction, few of them twice."""
        rng, count = np.random.default_rng(seed), len(self.train)
        n_auxiliary = round(count * self._settings.auxiliary_fraction)
        train = rng.permutation(count)[n_auxiliary:].tolist()
        auxiliary = np.resize(rng.permutation(len(self.auxiliary)), n_auxiliary).tolist()
        return [*(self.train[index] for index in train), *(self.auxiliary[index] for index in auxiliary)]

    def val_loader(self) -> Loader:
        """Return the validation cases without augmentation, with as many views as in inference."""
        counts = self._settings.eval_views_of(self.views)
        data = LevelDataset(self.validation, self.views, self._fracture_types, counts, None)
        return load_batches(data, self._settings)

    def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """Return images, planes, offsets and present, as `LevelNetwork` takes them."""
        return batch["images"], batch["planes"], batch["offsets"], batch["present"]

    def loss(self, outputs: LevelOutputs, batch: Batch) -> torch.Tensor:
        """Return the mean loss of a batch."""
        evidence, fracture_type = evidence_loss(outputs, batch), fracture_type_loss(outputs, batch)
        return level_loss(outputs, batch) + _EVIDENCE_WEIGHT * evidence + _FRACTURE_TYPE_WEIGHT * fracture_type

    def validate(self, predictions: Iterable[tuple[LevelOutputs, Batch]]) -> dict[str, float]:
        """Return validation metrics: challenge loss, loss of cells, and AUC of patients and of levels.

        The validation loss is computed *after* an optimal affine rescaling of the logits (ridge-regularized Platt
        scaling, fitted on the same cases), because every network is recalibrated before use. Selecting epochs by the
        raw loss would penalize miscalibration that calibration removes anyway.
        """
        evidence, overall, levels = [], [], []
        for outputs, batch in predictions:
            evidence.append(float(evidence_loss(outputs, batch)))
            present = batch["present"].cpu().numpy()
            has_any = present.any(axis=1)
            patients = batch["truth"][:, 0].cpu().numpy()[has_any], outputs.overall.float().cpu().numpy()[has_any]
            overall.append(patients)
            truth, logits = batch["truth"][:, 1:].cpu().numpy(), outputs.levels.float().cpu().numpy()
            levels.append((truth[present], logits[present]))
        all_patients, all_levels = (
            (np.concatenate([truth for truth, _ in parts]), np.concatenate([logits for _, logits in parts]))
            for parts in (overall, levels)
        )
        total = OVERALL_WEIGHT * _post_calibration_loss(*all_patients) + _post_calibration_loss(*all_levels)
        return {
            VAL_LOSS: total / max(len(all_patients[0]), 1) / NEGATIVE_STUDY_WEIGHT,
            "evidence_loss": float(np.mean(evidence)),
            "patient_auc": auc(*all_patients),
            "level_auc": auc(*all_levels),
        }


def _post_calibration_loss(truth: Floats32, logits: Floats32) -> float:
    """Return the summed log loss, positives counting twice, after the best affine rescaling of the logits."""
    if not np.isfinite(logits).all():
        return float("nan")
    y = truth.astype(np.float64)
    weights = 1.0 + y
    design = np.column_stack([logits, np.ones(len(logits))]).astype(np.float64)
    coefficients, _ = fit_logistic(design, y, np.array([1.0, 0.0]), weights=weights, ridge=_RIDGE)
    if coefficients[0] <= 0.0:  # calibration never reverses the order of cases: the best left is a constant
        ones = np.ones((len(y), 1))
        constant = fit_logistic(ones, y, np.zeros(1), weights=weights, ridge=_RIDGE)[0][0]
        coefficients = np.array([0.0, constant])
    rescaled = design @ coefficients
    return float(np.sum(weights * (np.logaddexp(0.0, rescaled) - y * rescaled)))
