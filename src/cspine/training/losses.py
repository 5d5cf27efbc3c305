"""What networks are trained by: the challenge's weighted log loss, and the loss of broken cells."""

import torch
from torch import nn

from cspine.core.anatomy import OVERALL, TARGETS

_LEVEL_WEIGHT = 1.0
_OVERALL_WEIGHT = 7.0
_POSITIVE_FACTOR = 2.0
_NEGATIVE_STUDY = _OVERALL_WEIGHT + _LEVEL_WEIGHT * (len(TARGETS) - 1)


def target_weights(truth: torch.Tensor) -> torch.Tensor:
    """Return the challenge's weight of each label: 1 or 2 for a level, 7 or 14 overall; (n, 8) to (n, 8)."""
    base = torch.tensor([_OVERALL_WEIGHT if t == OVERALL else _LEVEL_WEIGHT for t in TARGETS], device=truth.device)
    return base * (1.0 + (_POSITIVE_FACTOR - 1.0) * truth)


def challenge_log_loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return each row's weighted log loss, over the weight of a study without fractures.

    The divisor is the same for every study, unlike in the challenge's score, so that the loss is least exactly where
    the sigmoid is p' = 2p / (1 + p); dividing by each study's own weights would bend that by the other labels.

    Parameters
    ----------
    logits, truth : (n, 8)
        Columns `TARGETS`; truth is 0 or 1.

    Returns
    -------
    (n,)
    """
    losses = nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return (target_weights(truth) * losses).sum(dim=1) / _NEGATIVE_STUDY


def cells_loss(
    logits: torch.Tensor, truth: torch.Tensor, known: torch.Tensor | float = 1.0, *, broken: float, overlap: float
) -> torch.Tensor:
    """Return cross-entropy and Dice of cells that are broken or not, where that is known.

    Parameters
    ----------
    logits, truth : same shape
        Truth is 0 or 1.
    known : bool, of a shape that goes with theirs, optional
        Other cells count nothing.
    broken : float
        A broken cell weighs as much as so many that are whole: they are few.
    overlap : float
        Weight of the Dice loss.
    """
    said = logits.float()
    losses = nn.functional.binary_cross_entropy_with_logits(said, truth, reduction="none")
    weight = torch.where(truth > 0, broken, 1.0) * known
    entropy = (losses * weight).sum() / weight.sum().clamp(min=1.0)
    chance, real = torch.sigmoid(said) * known, truth * known
    both = 2 * (chance * real).sum() + 1.0
    return entropy + overlap * (1 - both / (chance.sum() + real.sum() + 1.0))
