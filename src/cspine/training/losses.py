"""Loss functions that several networks share: the challenge's weighted log loss, and the loss of fracture cells."""

import torch
from torch import nn

from cspine.metrics.rsna2022 import NEGATIVE_STUDY_WEIGHT, NEGATIVE_WEIGHTS, POSITIVE_FACTOR


def target_weights(truth: torch.Tensor) -> torch.Tensor:
    """Return the challenge's weight of each label.

    Parameters
    ----------
    truth : (n, 8)
        0 or 1, columns `TARGETS`.

    Returns
    -------
    (n, 8)
        1 (negative) or 2 (positive) for a level, 7 or 14 for the patient.
    """
    base = torch.tensor(NEGATIVE_WEIGHTS.tolist(), device=truth.device)
    return base * (1.0 + (POSITIVE_FACTOR - 1.0) * truth)


def challenge_log_loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return each row's weighted log loss, divided by the weight of a study without fractures.

    The divisor is the same for every study, unlike in the challenge's score. The expected loss is then minimal exactly
    at p' = 2p / (1 + p), the metric-optimal probability; a division by each study's own weights would make the optimum
    of one target depend on the other labels.

    Parameters
    ----------
    logits, truth : (n, 8)
        Columns `TARGETS`; truth is 0 or 1.

    Returns
    -------
    (n,)
    """
    losses = nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return (target_weights(truth) * losses).sum(dim=1) / NEGATIVE_STUDY_WEIGHT


def cells_loss(
    logits: torch.Tensor,
    truth: torch.Tensor,
    known: torch.Tensor | float = 1.0,
    *,
    positive_weight: float,
    dice_weight: float,
) -> torch.Tensor:
    """Return weighted cross-entropy plus soft Dice loss of cells, over those whose truth is known.

    Parameters
    ----------
    logits, truth : same shape
        Truth is 1 in cells that a fracture crosses, else 0.
    known : bool, broadcastable to their shape, optional
        Cells elsewhere are ignored.
    positive_weight : float
        Weight of a fractured cell relative to an intact one; fractured cells are few.
    dice_weight : float
        Weight of the Dice loss relative to the cross-entropy.

    Returns
    -------
    Scalar tensor.
    """
    logits = logits.float()
    losses = nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    weight = torch.where(truth > 0, positive_weight, 1.0) * known
    entropy = (losses * weight).sum() / weight.sum().clamp(min=1.0)
    probability, target = torch.sigmoid(logits) * known, truth * known
    intersection = 2 * (probability * target).sum() + 1.0
    return entropy + dice_weight * (1 - intersection / (probability.sum() + target.sum() + 1.0))
