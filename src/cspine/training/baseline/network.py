"""The CNN of the notebook."""

from typing import Final

import torch
from torch import nn

from cspine.core.anatomy import TARGETS

_BN_EPSILON: Final = 1e-3
"""Keras's default, with which the notebook's network was trained."""


class BaselineCNN(nn.Module):
    """The notebook's network, layer for layer: one 64 x 64 gray image to eight targets.

    3 x 3 'same' convolutions of 16 and 32 filters, then 64, 128, 256, 512 and 1, each of them (from 32 on) followed
    by a 2 x 2 maximum pool and batch normalization; six pools leave a single number, which three dense layers of
    1,024 (batch normalization, dropout) turn into eight outputs. That all eight share one number is the notebook's
    choice. It is kept, so that this is its baseline and not a better network under its name.

    Parameters
    ----------
    dropout : float
        Dropout rate of the dense layers.
    """

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        blocks: list[nn.Module] = [nn.Conv2d(1, 16, 3, padding="same"), nn.ReLU()]
        for channels, filters in ((16, 32), (32, 64), (64, 128), (128, 256), (256, 512), (512, 1)):
            blocks += [
                nn.Conv2d(channels, filters, 3, padding="same"),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.BatchNorm2d(filters, eps=_BN_EPSILON),
            ]
        self.features = nn.Sequential(*blocks, nn.Flatten())
        dense: list[nn.Module] = []
        for features in (1, 1024, 1024):
            dense += [
                nn.Linear(features, 1024),
                nn.ReLU(),
                nn.BatchNorm1d(1024, eps=_BN_EPSILON),
                nn.Dropout(dropout),
            ]
        self.head = nn.Sequential(*dense, nn.Linear(1024, len(TARGETS)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits, (n, 8), of images, (n, 1, 64, 64), with gray values from 0 to 1."""
        logits: torch.Tensor = self.head(self.features(images))
        return logits
