"""The localizer's networks: a 3-D U-Net that computes at half of its input's resolution, and a regressor of frames."""

from itertools import pairwise
from typing import Final

import torch
from torch import nn
from torch.nn import functional

FACTOR: Final = 2
"""Voxels along each axis that are packed into the channels of one cell."""

IMAGE_CHANNELS: Final = 2
"""Scaled HU, and the mask of what was scanned."""


def pack(image: torch.Tensor) -> torch.Tensor:
    """Move blocks of 2 x 2 x 2 voxels into channels: (n, c, k, j, i) to (n, 8 c, k/2, j/2, i/2).

    All convolutions then run on an eighth of the cells, without a loss of information (Shi et al. 2016 describe the
    inverse, sub-pixel convolution).
    """
    n, c, k, j, i = image.shape
    blocks = image.reshape(n, c, k // FACTOR, FACTOR, j // FACTOR, FACTOR, i // FACTOR, FACTOR)
    return blocks.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, c * FACTOR**3, k // FACTOR, j // FACTOR, i // FACTOR)


def unpack(cells: torch.Tensor) -> torch.Tensor:
    """Invert `pack`.

    The innermost axis first, then the other two, whose voxels move in whole rows: on a processor this takes a fourth of
    the time of one permutation of all axes.
    """
    n, c, k, j, i = cells.shape
    c //= FACTOR**3
    rows = cells.reshape(n * c * FACTOR**2, FACTOR, k * j * i).transpose(1, 2)
    blocks = rows.reshape(n * c, FACTOR, FACTOR, k, j, i * FACTOR).permute(0, 3, 1, 4, 2, 5)
    return blocks.reshape(n, c, k * FACTOR, j * FACTOR, i * FACTOR)


class _Convolution(nn.Module):
    """A convolution with batch norm, over 3 x 3 x 3 cells, or of blocks of 2 x 2 x 2 that it halves."""

    def __init__(self, n_in: int, n_out: int, *, halves: bool = False) -> None:
        super().__init__()
        size, stride, padding = (FACTOR, FACTOR, 0) if halves else (3, 1, 1)
        self.convolution = nn.Conv3d(n_in, n_out, size, stride, padding, bias=False)
        self.norm = nn.BatchNorm3d(n_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normalized: torch.Tensor = self.norm(self.convolution(x))
        return normalized


class _Residual(nn.Module):
    """Two convolutions, the second with a residual connection."""

    def __init__(self, n_in: int, n_out: int, *, halves: bool) -> None:
        super().__init__()
        self.first, self.second = _Convolution(n_in, n_out, halves=halves), _Convolution(n_out, n_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.first(x))
        return functional.relu(x + self.second(x))


class _Decoder(nn.Module):
    """Upsampling to the resolution of a skip connection, and a convolution of both."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose3d(n_in, n_out, FACTOR, FACTOR)
        self.join = _Convolution(2 * n_out, n_out)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.join(torch.cat([self.upsample(x), skip], dim=1)))


class _UNet(nn.Module):
    """A 3-D U-Net (Cicek et al. 2016) on packed voxels: (n, 2, k, j, i) to (n, channels, k/2, j/2, i/2)."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        pairs = list(pairwise(channels))
        self.stem = _Residual(IMAGE_CHANNELS * FACTOR**3, channels[0], halves=False)
        self.down = nn.ModuleList(_Residual(above, below, halves=True) for above, below in pairs)
        self.up = nn.ModuleList(_Decoder(below, above) for above, below in reversed(pairs))

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """Return the features of every cell."""
        skips: list[torch.Tensor] = [self.stem(pack(image))]
        for down in self.down:
            skips.append(down(skips[-1]))
        x = skips.pop()
        for up in self.up:
            x = up(x, skips.pop())
        return x


class SpineUNet(_UNet):
    """A U-Net that predicts the class, and coordinates, of every voxel.

    It maps (n, 2, k, j, i) to (n, `n_outputs`, k, j, i); sides are multiples of 2 to the number of resolutions.

    Parameters
    ----------
    n_outputs : int
        Channels of the output.
    channels : tuple of int
        Channels at each resolution, from the finest.
    """

    def __init__(self, n_outputs: int, channels: tuple[int, ...]) -> None:
        super().__init__(channels)
        self.head = nn.Conv3d(channels[0], n_outputs * FACTOR**3, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the outputs of every voxel."""
        return unpack(self.head(self.features(image)))


class FrameNetwork(_UNet):
    """A U-Net that classifies the vertebra in the middle of a crop, segments it, and says where in it each voxel lies.

    The frame follows from a rigid fit of the positions. Dense outputs learn from every voxel; a regression of the frame
    itself learned more slowly, and stayed at 3 mm on 24 phantoms.

    It maps (n, 2, k, j, i) to logits, (n, `n_classes`), and to (n, 4, k, j, i): the logit that a voxel belongs to the
    vertebra, and its position in the vertebra's frame.

    Parameters
    ----------
    n_classes : int
        Classes of crops.
    channels : tuple of int
        Channels at each resolution, from the finest.
    """

    def __init__(self, n_classes: int, channels: tuple[int, ...]) -> None:
        super().__init__(channels)
        self.votes = nn.Conv3d(channels[0], n_classes + 1, 1)
        self.head = nn.Conv3d(channels[0], 4 * FACTOR**3, 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits of the classes, to which cells vote with weights of their own, and the dense outputs."""
        features = self.features(image)
        votes = self.votes(features).float().flatten(2)
        weights = torch.softmax(votes[:, :1], dim=2)
        return (votes[:, 1:] * weights).sum(dim=2), unpack(self.head(features))
