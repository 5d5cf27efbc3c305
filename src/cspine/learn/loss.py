"""The challenge's weighted log loss, as a loss to train with."""

import torch
from torch import nn

from cspine.anatomy import OVERALL, TARGETS

_LEVEL_WEIGHT = 1.0
_OVERALL_WEIGHT = 7.0
_POSITIVE_FACTOR = 2.0


def target_weights(truth: torch.Tensor) -> torch.Tensor:
    """Return the challenge's weight of each label: 1 or 2 for a level, 7 or 14 overall; (n, 8) to (n, 8)."""
    base = torch.tensor([_OVERALL_WEIGHT if t == OVERALL else _LEVEL_WEIGHT for t in TARGETS], device=truth.device)
    return base * (1.0 + (_POSITIVE_FACTOR - 1.0) * truth)


def challenge_log_loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return each row's weighted log loss, normalised by the row's weights.

    Parameters
    ----------
    logits, truth : (n, 8)
        Columns `TARGETS`; truth is 0 or 1.

    Returns
    -------
    (n,)
    """
    weights = target_weights(truth)
    losses = nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return (weights * losses).sum(dim=1) / weights.sum(dim=1)
