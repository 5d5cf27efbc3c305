"""Losses of the localizer's networks."""

from typing import Final

import torch
from torch import nn

from cspine.training.localizer.classes import UNKNOWN
from cspine.training.task import Batch

_POSITIVE_WEIGHT: Final = 3.0
"""Weight of a labeled voxel relative to background in the cross-entropy."""

_DICE_SMOOTHING: Final = 1e-5

_SMOOTH_L1_BETA: Final = 0.3
"""Error in cm from which on the loss of a coordinate is linear."""


class SegmentationLoss(nn.Module):
    """Cross-entropy and Dice loss of classes.

    The Dice loss (Milletari et al. 2016) is computed over the whole batch, from sums by class instead of one-hot
    tensors, which take more time than the network.

    Parameters
    ----------
    classes : tuple of str
        Names of the classes, background first; ``head`` is among them.
    """

    def __init__(self, classes: tuple[str, ...]) -> None:
        super().__init__()
        self._n_classes, self._head = len(classes), classes.index("head")
        self._in_dice = [number for number in range(1, self._n_classes) if number != self._head]

    def forward(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the mean loss.

        Where the head is not labeled, the probabilities of head and background are summed: either is accepted.

        Parameters
        ----------
        logits : (n, classes, k, j, i)
            Output of the network.
        batch : dict
            ``classes`` (n, k, j, i) uint8, `UNKNOWN` among them, and ``knows_skull`` (n,) bool.
        """
        classes, known = batch["classes"].long(), batch["classes"] != UNKNOWN
        log_probability = torch.log_softmax(logits.float(), dim=1)
        if not bool(batch["knows_skull"].all()):
            log_probability = self._merge_head(log_probability, ~batch["knows_skull"].view(-1, 1, 1, 1))
        truth = torch.where(known, classes, 0)
        log_likelihood = log_probability.gather(1, truth[:, None])[:, 0]
        weight = torch.where(truth > 0, _POSITIVE_WEIGHT, 1.0) * known
        loss = -(log_likelihood * weight).sum() / weight.sum().clamp(min=1.0)
        in_dice = known & (truth != self._head)  # the head, often cut off or unlabeled, has no Dice loss
        return loss + self._dice(log_probability, log_likelihood, truth, in_dice)

    def _dice(
        self, log_probability: torch.Tensor, log_likelihood: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Return the Dice loss, given the log-probabilities of all classes and that of the true one."""
        zeros = torch.zeros(self._n_classes, device=log_likelihood.device)
        flat = truth[mask]
        intersection = zeros.index_add(0, flat, log_likelihood[mask].exp())
        n_true = zeros.index_add(0, flat, torch.ones_like(flat, dtype=torch.float32))
        predicted = (log_probability.exp() * mask[:, None]).sum(dim=(0, 2, 3, 4))
        dice = (2 * intersection + _DICE_SMOOTHING) / (predicted + n_true + _DICE_SMOOTHING)
        return (1 - dice)[self._in_dice].mean()

    def _merge_head(self, log_probability: torch.Tensor, is_unlabeled: torch.Tensor) -> torch.Tensor:
        either = torch.logaddexp(log_probability[:, 0], log_probability[:, self._head])
        background = torch.where(is_unlabeled, either, log_probability[:, 0])
        return torch.cat([background[:, None], log_probability[:, 1:]], dim=1)


def coordinate_loss(predicted: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return the smooth L1 loss of coordinates, (n, 6, k, j, i) in cm, where they are known."""
    mask = batch["has_coordinates"]
    values, target = (each.movedim(1, -1)[mask] for each in (predicted.float(), batch["coordinates"]))
    distance = nn.functional.smooth_l1_loss(values, target, reduction="sum", beta=_SMOOTH_L1_BETA)
    return distance / max(values.numel(), 1)
