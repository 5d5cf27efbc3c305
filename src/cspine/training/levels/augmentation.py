"""Augmentation of a case's views: posture, side and scanner."""

from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from cspine.views.flip import flip_left_right, flip_offsets
from cspine.views.level_views import CHANNELS, PLANES

_SAGITTAL: Final = PLANES.index("sagittal")
_AXIAL: Final = PLANES.index("axial")

_P_MIRROR: Final = 0.5

_MAX_ROTATION_RAD: Final = 0.14
"""8 degrees: frames are localized to within some degrees, and fractured spines in other postures."""

_MAX_LOG_SCALE: Final = 0.1
_MAX_SHIFT: Final = 0.09
"""Fraction of half a view: 3 mm."""

_MIN_CELL_COVERAGE: Final = 0.35
"""A resampled cell counts as fractured if at least this fraction of it was."""

_P_THICK_SLICES: Final = 0.35
_MAX_NEIGHBOR_WEIGHT: Final = 0.3
"""Weight of the neighboring planes in an axial plane of thicker slices, at most."""

_MAX_LOG_GAMMA: Final = 0.2
"""Bone mineral and tube voltage bend the gray scale."""

_MAX_CONTRAST_CHANGE: Final = 0.15
_MAX_BRIGHTNESS: Final = 0.05
_P_KERNEL: Final = 0.6
_MAX_KERNEL_PIXELS: Final = 1.7
"""Standard deviation of the blur that a softer kernel adds, and a sharper one takes away: 1 mm."""

_MAX_SHARPENING: Final = 0.8
_P_COARSE_GRAIN: Final = 0.5
_MAX_NOISE: Final = 0.045
"""Fraction of the window: 90 HU."""


@dataclass
class Views:
    """The views of a case with the cells that a fracture crosses.

    Patches of single planes have the same axes: one level, v patches, one channel.

    Attributes
    ----------
    images : (7, v, 3, rows, columns) float
        Gray values from 0 to 1.
    planes : (v,) int
        Plane of each view, an index of `PLANES`.
    offsets_mm : (v,)
        Distance of each view's middle plane from the center of the vertebra's box, along the plane's normal.
    cells : (7, v, 3, cells, cells) float
        1 in cells that a fracture crosses, else 0.
    """

    images: torch.Tensor
    planes: torch.Tensor
    offsets_mm: torch.Tensor
    cells: torch.Tensor


def augment(views: Views, generator: torch.Generator) -> Views:
    """Return a case's views as another patient's on another scanner might be.

    Half of the cases are mirrored. Each view is rotated, scaled and shifted a little. Slice thickness, contrast,
    sharpness and noise change together for all views of the case.

    Parameters
    ----------
    views : Views
        Views as they were compiled; not changed.
    generator : torch.Generator
        Random number generator; it is advanced.
    """
    if _random(generator) < _P_MIRROR:
        views = mirror(views)
    views = _random_affine(views, generator)
    if _random(generator) < _P_THICK_SLICES:
        views.images = thicken_slices(views, generator)
    views.images = _random_scanner(views.images, generator)
    return views


def mirror(views: Views) -> Views:
    """Return the views of the case's mirror image: left and right are exchanged."""
    sagittal = views.planes == _SAGITTAL
    return Views(
        images=flip_left_right(views.images, sagittal),
        planes=views.planes,
        offsets_mm=flip_offsets(views.offsets_mm, sagittal),
        cells=flip_left_right(views.cells, sagittal),
    )


def _random_affine(views: Views, generator: torch.Generator) -> Views:
    n_levels, n_views = views.images.shape[:2]
    count = n_levels * n_views
    rotation = _MAX_ROTATION_RAD * _random_signed(generator, count)
    scale = torch.exp(_MAX_LOG_SCALE * _random_signed(generator, count))
    cosine, sine = scale * torch.cos(rotation), scale * torch.sin(rotation)
    shift = _MAX_SHIFT * _random_signed(generator, 2 * count).view(2, count)
    affine = torch.stack(
        [torch.stack([cosine, -sine, shift[0]], dim=1), torch.stack([sine, cosine, shift[1]], dim=1)], dim=1
    )
    images = _resample(views.images.flatten(0, 1), affine)
    cells = _resample(views.cells.flatten(0, 1), affine)
    return Views(
        images.view(views.images.shape),
        views.planes,
        views.offsets_mm,
        (cells > _MIN_CELL_COVERAGE).float().view(views.cells.shape),
    )


def _resample(images: torch.Tensor, affine: torch.Tensor) -> torch.Tensor:
    grid = nn.functional.affine_grid(affine, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def thicken_slices(views: Views, generator: torch.Generator) -> torch.Tensor:
    """Return the images of a scan with thicker slices.

    Sagittal and coronal planes are blurred along their rows, over 3 or 5 pixels, and axial planes are mixed with their
    neighbors, by a common random weight.

    Parameters
    ----------
    views : Views
        Views of one case; not changed.
    generator : torch.Generator
        Random number generator; it is advanced.
    """
    weight, n_rows = _random(generator), 3 if _random(generator) < 0.6 else 5
    images, axial = views.images.clone(), views.planes == _AXIAL
    upright = images[:, ~axial]
    flat = upright.flatten(0, 2)[:, None]
    blurred = nn.functional.avg_pool2d(flat, (n_rows, 1), 1, (n_rows // 2, 0), count_include_pad=False)
    images[:, ~axial] = upright + weight * (blurred.view(upright.shape) - upright)
    if images.shape[2] < CHANNELS:  # single planes have no neighbors
        return images
    level = images[:, axial]
    neighbors = torch.cat([level[:, :, 1:2], 0.5 * (level[:, :, :1] + level[:, :, 2:]), level[:, :, 1:2]], dim=2)
    images[:, axial] = level + _MAX_NEIGHBOR_WEIGHT * weight * (neighbors - level)
    return images


def _random_scanner(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Change gamma, contrast, brightness, sharpness and noise."""
    gamma = torch.exp(_MAX_LOG_GAMMA * _random_signed(generator, 1))
    images = images.clamp(0.0, 1.0) ** gamma
    contrast = 1 + _MAX_CONTRAST_CHANGE * _random_signed(generator, 1)
    images = images * contrast + _MAX_BRIGHTNESS * _random_signed(generator, 1)
    flat = images.flatten(0, 2)[:, None]
    if _random(generator) < _P_KERNEL:  # a softer or sharper kernel
        smooth = _gaussian_blur(flat, _MAX_KERNEL_PIXELS * _random(generator))
        weight = _random_signed(generator, 1)
        flat = flat + (smooth - flat) * torch.where(weight < 0, _MAX_SHARPENING * weight, weight)
    noise = torch.randn(flat.shape, generator=generator)
    if _random(generator) < _P_COARSE_GRAIN:  # the grain of a soft kernel
        noise = 2.0 * nn.functional.avg_pool2d(noise, 3, 1, 1)
    flat = flat + _MAX_NOISE * _random(generator) * noise
    return flat[:, 0].view(images.shape).clamp(0.0, 1.0)


def _gaussian_blur(planes: torch.Tensor, sigma_pixels: float) -> torch.Tensor:
    """Blur square planes, (..., n, n), by a Gaussian that is cut off at their edges; as two matrix products."""
    x = torch.arange(planes.shape[-1], dtype=planes.dtype)
    weights = torch.exp(-0.5 * ((x[:, None] - x) / max(sigma_pixels, 0.1)) ** 2)
    weights = weights / weights.sum(dim=1, keepdim=True)
    return weights @ planes @ weights.T


def _random(generator: torch.Generator) -> float:
    """Return a number from 0 to 1."""
    return float(torch.rand(1, generator=generator))


def _random_signed(generator: torch.Generator, count: int) -> torch.Tensor:
    """Return numbers from -1 to 1."""
    return torch.rand(count, generator=generator) * 2 - 1
