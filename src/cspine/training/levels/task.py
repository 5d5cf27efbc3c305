"""What the level network learns: the challenge's loss, where it is broken, and how."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cspine.metrics.logistic import fit_logistic
from cspine.metrics.scores import auc
from cspine.training.levels.dataset import CaseFiles, LevelData
from cspine.training.levels.network import LevelOutputs
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.levels.vertebra_resampling import resample_vertebrae
from cspine.training.losses import cells_loss, target_weights
from cspine.training.trainer import VAL_LOSS, WHOLE, Batch, DataShard, Loader, load_batches
from cspine.views.level_views import LevelViewSettings

_EVIDENCE_WEIGHT: Final = 2.0
_BROKEN_CELL: Final = 6.0
_OVERLAP_WEIGHT: Final = 0.25

_KINDS_WEIGHT: Final = 0.2

_OVERALL_WEIGHT: Final = 7.0
_STUDY_WEIGHT: Final = 14.0
"""Of a study without fractures in the challenge: 7 overall and 7 times 1."""

_RIDGE: Final = 1.0
"""As if a case were known beforehand: a handful of necks are told apart by chance."""


def level_loss(outputs: LevelOutputs, batch: Batch) -> torch.Tensor:
    """Return the challenge's loss of a batch of `LevelData`, of the vertebrae that are there."""
    said = torch.cat([outputs.overall[:, None], outputs.levels], dim=1).float()
    truth, present = batch["truth"], batch["present"]
    losses = nn.functional.binary_cross_entropy_with_logits(said, truth, reduction="none")
    seen = torch.cat([present.any(dim=1, keepdim=True), present], dim=1)
    return (losses * target_weights(truth) * seen).sum(dim=1).mean() / _STUDY_WEIGHT


def evidence_loss(outputs: LevelOutputs, batch: Batch) -> torch.Tensor:
    """Return cross-entropy and Dice of planes' cells, where it is known which are broken."""
    known = (batch["knows_cells"] & batch["present"])[:, :, None, None, None, None]
    return cells_loss(outputs.evidence, batch["cells"], known, broken=_BROKEN_CELL, overlap=_OVERLAP_WEIGHT)


def kinds_loss(outputs: LevelOutputs, batch: Batch) -> torch.Tensor:
    """Return the cross-entropy of the kinds of fracture, where they are known."""
    known = (batch["has_fracture_type"] & batch["present"])[:, :, None].float()
    losses = nn.functional.binary_cross_entropy_with_logits(
        outputs.fracture_types.float(), batch["fracture_types"], reduction="none"
    )
    return (losses * known).sum() / (known.sum() * losses.shape[2]).clamp(min=1.0)


class LevelTask:
    """Reading necks through their views.

    Parameters
    ----------
    train, validation : sequence of CaseFiles
        Of different patients.
    further : sequence of CaseFiles
        Whose vertebrae are seen only in the first epochs, beside those of `train`, in necks put together of many.
    views : LevelViewSettings
        How their views were made.
    fracture_types : tuple of str
        Kinds of fracture told apart.
    settings : LevelTrainSettings
        Batch, seed, views that are drawn anew for each neck and epoch, and which epochs are the first.
    """

    def __init__(
        self,
        train: Sequence[CaseFiles],
        validation: Sequence[CaseFiles],
        further: Sequence[CaseFiles],
        views: LevelViewSettings,
        fracture_types: tuple[str, ...],
        settings: LevelTrainSettings,
    ) -> None:
        self.train, self.validation = train, validation
        self.further, self.views = further, views
        self._kinds, self._settings = fracture_types, settings

    def train_loader(self, epoch: int, shard: DataShard = WHOLE) -> Loader:
        """Return training necks of an epoch, each changed in its own way."""
        seed = self._settings.seed * 100_003 + epoch + 1
        cases = self.train
        if epoch < self._settings.resampled_epochs:
            cases = resample_vertebrae([*self.train, *self.further], len(self.train), seed)
        data = LevelData(cases, self.views, self._kinds, self._settings.train_views, seed)
        return load_batches(data, self._settings, seed, shard)

    def val_loader(self) -> Loader:
        """Return the held-out necks as they are, through as many views as later ones."""
        data = LevelData(self.validation, self.views, self._kinds, self._settings.eval_views_of(self.views), None)
        return load_batches(data, self._settings)

    def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """Return what the network is given."""
        return batch["images"], batch["planes"], batch["offsets"], batch["present"]

    def loss(self, outputs: LevelOutputs, batch: Batch) -> torch.Tensor:
        """Return the mean loss of a batch."""
        evidence, fracture_types = evidence_loss(outputs, batch), kinds_loss(outputs, batch)
        return level_loss(outputs, batch) + _EVIDENCE_WEIGHT * evidence + _KINDS_WEIGHT * fracture_types

    def judge(self, answers: Iterable[tuple[LevelOutputs, Batch]]) -> dict[str, float]:
        """Return the held-out necks' challenge loss, the loss of evidence, and areas under both ROC curves.

        The loss is what calibration will leave of it: an epoch's best logits need not lie where they belong.
        """
        evidence, overall, levels = [], [], []
        for outputs, batch in answers:
            evidence.append(float(evidence_loss(outputs, batch)))
            there = batch["present"].cpu().numpy()
            some = there.any(axis=1)
            overall.append((batch["truth"][:, 0].cpu().numpy()[some], outputs.overall.float().cpu().numpy()[some]))
            truth, said = batch["truth"][:, 1:].cpu().numpy(), outputs.levels.float().cpu().numpy()
            levels.append((truth[there], said[there]))
        of_patients, of_levels = (
            (np.concatenate([truth for truth, _ in parts]), np.concatenate([said for _, said in parts]))
            for parts in (overall, levels)
        )
        sums = _OVERALL_WEIGHT * _post_calibration_loss(*of_patients) + _post_calibration_loss(*of_levels)
        return {
            VAL_LOSS: sums / max(len(of_patients[0]), 1) / _STUDY_WEIGHT,
            "evidence_loss": float(np.mean(evidence)),
            "patient_auc": auc(*of_patients),
            "level_auc": auc(*of_levels),
        }


def _post_calibration_loss(truth: npt.NDArray[np.float32], logits: npt.NDArray[np.float32]) -> float:
    """Return the summed log loss, positives weighing twice, that is left when logits are scaled and shifted at best."""
    if not np.isfinite(logits).all():
        return float("nan")
    y = truth.astype(np.float64)
    weights = 1.0 + y
    design = np.column_stack([logits, np.ones(len(logits))]).astype(np.float64)
    found, _ = fit_logistic(design, y, np.array([1.0, 0.0]), weights=weights, ridge=_RIDGE)
    if found[0] <= 0.0:  # calibration turns nothing round: the best that is left is one chance for all
        ones = np.ones((len(y), 1))
        found = np.array([0.0, fit_logistic(ones, y, np.zeros(1), weights=weights, ridge=_RIDGE)[0][0]])
    said = design @ found
    return float(np.sum(weights * (np.logaddexp(0.0, said) - y * said)))
