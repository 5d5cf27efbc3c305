"""What the level network learns: the challenge's loss, where it is broken, and how."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cspine.evaluate.logistic import fit_logistic
from cspine.evaluate.metrics import auc
from cspine.learn.fit import TUNE_LOSS, WHOLE, Batch, Loader, Share, load_batches
from cspine.learn.level_data import LevelData, NeckFiles
from cspine.learn.level_network import LevelOutputs
from cspine.learn.level_settings import LevelTrainSettings
from cspine.learn.loss import cells_loss, target_weights
from cspine.learn.mixing import mix_necks
from cspine.reformat.level_views import LevelViewSettings

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
    known = (batch["knows_kinds"] & batch["present"])[:, :, None].float()
    losses = nn.functional.binary_cross_entropy_with_logits(outputs.kinds.float(), batch["kinds"], reduction="none")
    return (losses * known).sum() / (known.sum() * losses.shape[2]).clamp(min=1.0)


class LevelLesson:
    """Reading necks through their views.

    Parameters
    ----------
    train, tune : sequence of NeckFiles
        Of different patients.
    further : sequence of NeckFiles
        Whose vertebrae are seen only in the first epochs, beside those of `train`, in necks put together of many.
    views : LevelViewSettings
        How their views were made.
    kinds : tuple of str
        Kinds of fracture told apart.
    settings : LevelTrainSettings
        Batch, seed, views that are drawn anew for each neck and epoch, and which epochs are the first.
    """

    def __init__(
        self,
        train: Sequence[NeckFiles],
        tune: Sequence[NeckFiles],
        further: Sequence[NeckFiles],
        views: LevelViewSettings,
        kinds: tuple[str, ...],
        settings: LevelTrainSettings,
    ) -> None:
        self.train, self.tune = train, tune
        self.further, self.views = further, views
        self._kinds, self._settings = kinds, settings

    def examples(self, epoch: int, share: Share = WHOLE) -> Loader:
        """Return training necks of an epoch, each changed in its own way."""
        seed = self._settings.seed * 100_003 + epoch + 1
        necks = self.train
        if epoch < self._settings.mixed_epochs:
            necks = mix_necks([*self.train, *self.further], len(self.train), seed)
        data = LevelData(necks, self.views, self._kinds, self._settings.views, seed)
        return load_batches(data, self._settings, seed, share)

    def tuning(self) -> Loader:
        """Return the held-out necks as they are, through as many views as later ones."""
        data = LevelData(self.tune, self.views, self._kinds, self._settings.seen_of(self.views), None)
        return load_batches(data, self._settings)

    def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """Return what the network is given."""
        return batch["images"], batch["planes"], batch["offsets"], batch["present"]

    def loss(self, outputs: LevelOutputs, batch: Batch) -> torch.Tensor:
        """Return the mean loss of a batch."""
        evidence, kinds = evidence_loss(outputs, batch), kinds_loss(outputs, batch)
        return level_loss(outputs, batch) + _EVIDENCE_WEIGHT * evidence + _KINDS_WEIGHT * kinds

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
        sums = _OVERALL_WEIGHT * _loss_left(*of_patients) + _loss_left(*of_levels)
        return {
            TUNE_LOSS: sums / max(len(of_patients[0]), 1) / _STUDY_WEIGHT,
            "evidence_loss": float(np.mean(evidence)),
            "patient_auc": auc(*of_patients),
            "level_auc": auc(*of_levels),
        }


def _loss_left(truth: npt.NDArray[np.float32], logits: npt.NDArray[np.float32]) -> float:
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
