"""What is changed at random in a neck's views, all in one place: posture, side, scanner."""

from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from cspine.views.level_views import CHANNELS, PLANES

_BESIDE: Final = 0.3
"""How much of the next planes thicker slices mix into an axial one at most."""

_SAGITTAL: Final = PLANES.index("sagittal")
_AXIAL: Final = PLANES.index("axial")

_TURN_RAD: Final = 0.14
"""Frames are found within some degrees; fractured necks lie in worse ways (8 degrees)."""

_SCALE: Final = 0.1
_SHIFT: Final = 0.09
"""Of half a view: 3 mm."""

_GAIN: Final = 0.15
_LIFT: Final = 0.05
_BENT: Final = 0.2
"""Of the logarithm of a gamma: bone mineral and tube voltage."""

_NOISE: Final = 0.045
"""Of the window: 90 HU."""

_THICK: Final = 0.35
"""Share of necks that are blurred along the spine as thicker slices do: over 3 pixels or 5, in part or wholly."""


@dataclass
class Views:
    """One neck's views with their truth, as they are changed.

    Attributes
    ----------
    images : (7, v, 3, rows, columns) float
        Grey values from 0 to 1; of pieces of single planes, (1, v, 1, rows, columns).
    planes : (v,) int
    offsets_mm : (v,)
    cells : (7, v, 3, cells, cells) float
        Where each plane shows it broken; of pieces, (1, v, 1, cells, cells).
    """

    images: torch.Tensor
    planes: torch.Tensor
    offsets_mm: torch.Tensor
    cells: torch.Tensor


def augment(views: Views, generator: torch.Generator) -> Views:
    """Return a neck's views as another patient's on another scanner might be.

    Half of the necks are mirrored; each view is turned, scaled and moved a little; the neck's slices, contrast,
    sharpness and noise change as a whole.
    """
    if _draw(generator) < 0.5:
        views = mirrored(views)
    views = _moved(views, generator)
    if _draw(generator) < _THICK:
        views.images = thickened(views, generator)
    views.images = _rescanned(views.images, generator)
    return views


def mirrored(views: Views) -> Views:
    """Return the views of the neck's mirror image: left is right, and nothing else changes."""
    sagittal = views.planes == _SAGITTAL
    images, cells = views.images.flip(-1), views.cells.flip(-1)
    for planes, plain in ((images, views.images), (cells, views.cells)):
        planes[:, sagittal] = plain[:, sagittal].flip(2)  # seen from the same side, neighbours the other way round
    offsets = torch.where(sagittal, -views.offsets_mm, views.offsets_mm)
    return Views(images, views.planes, offsets, cells)


def _moved(views: Views, generator: torch.Generator) -> Views:
    levels, seen = views.images.shape[:2]
    count = levels * seen
    turn = _TURN_RAD * _even(generator, count)
    scale = torch.exp(_SCALE * _even(generator, count))
    cosine, sine = scale * torch.cos(turn), scale * torch.sin(turn)
    shift = _SHIFT * _even(generator, 2 * count).view(2, count)
    affine = torch.stack(
        [torch.stack([cosine, -sine, shift[0]], dim=1), torch.stack([sine, cosine, shift[1]], dim=1)], dim=1
    )
    images = _sampled(views.images.flatten(0, 1), affine, "bilinear")
    cells = _sampled(views.cells.flatten(0, 1), affine, "bilinear")
    return Views(
        images.view(views.images.shape), views.planes, views.offsets_mm, (cells > 0.35).float().view(views.cells.shape)
    )


def _sampled(images: torch.Tensor, affine: torch.Tensor, mode: str) -> torch.Tensor:
    grid = nn.functional.affine_grid(affine, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, mode=mode, padding_mode="zeros", align_corners=False)


def thickened(views: Views, generator: torch.Generator) -> torch.Tensor:
    """Return images as of thicker slices: along the rows of upright planes, and into the next one of axial planes."""
    share, over = _draw(generator), 3 if _draw(generator) < 0.6 else 5
    images, axial = views.images.clone(), views.planes == _AXIAL
    upright = images[:, ~axial]
    flat = upright.flatten(0, 2)[:, None]
    thick = nn.functional.avg_pool2d(flat, (over, 1), 1, (over // 2, 0), count_include_pad=False)
    images[:, ~axial] = upright + share * (thick.view(upright.shape) - upright)
    if images.shape[2] < CHANNELS:  # single planes have no neighbours
        return images
    level = images[:, axial]
    beside = torch.cat([level[:, :, 1:2], 0.5 * (level[:, :, :1] + level[:, :, 2:]), level[:, :, 1:2]], dim=2)
    images[:, axial] = level + _BESIDE * share * (beside - level)
    return images


def _rescanned(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    bent = torch.exp(_BENT * _even(generator, 1))
    images = images.clamp(0.0, 1.0) ** bent
    images = images * (1 + _GAIN * _even(generator, 1)) + _LIFT * _even(generator, 1)
    flat = images.flatten(0, 2)[:, None]
    if _draw(generator) < 0.35:  # a softer kernel, or a sharper one
        soft = nn.functional.avg_pool2d(flat, 3, 1, 1, count_include_pad=False)
        flat = flat + (soft - flat) * (0.5 + 0.8 * _even(generator, 1))
    noise = torch.randn(flat.shape, generator=generator)
    if _draw(generator) < 0.5:  # noise with the grain of a soft kernel
        noise = 2.0 * nn.functional.avg_pool2d(noise, 3, 1, 1)
    flat = flat + _NOISE * _draw(generator) * noise
    return flat[:, 0].view(images.shape).clamp(0.0, 1.0)


def _draw(generator: torch.Generator) -> float:
    return float(torch.rand(1, generator=generator))


def _even(generator: torch.Generator, count: int) -> torch.Tensor:
    """Return numbers between -1 and 1."""
    return torch.rand(count, generator=generator) * 2 - 1
