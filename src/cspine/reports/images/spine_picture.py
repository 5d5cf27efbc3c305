"""A picture of the spine, sagittal and coronal, with the name of each vertebra."""

from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from cspine.core.anatomy import RESEARCH_USE_ONLY, color_of
from cspine.core.files import write_bytes
from cspine.core.typing import Floats
from cspine.localization.result import LocalizationResult
from cspine.reports.images.drawing import encode_png, label_font
from cspine.spine.centerline import SpineCenterline
from cspine.spine.spine_map import Vertebra
from cspine.views.curved import compile_curved, coronal_image
from cspine.views.sagittal import SagittalSet, SagittalSettings

_MAGNIFICATION: Final = 3
"""Pixels of the picture per pixel of the image."""

_SETTINGS: Final = SagittalSettings(count=1, slab_mm=3.0)

_LINE_WIDTH: Final = 2
_DASH_PIXELS: Final = 6
_FOOTER_HEIGHT: Final = 40

_SAGITTAL_AXES, _CORONAL_AXES = (1, 2), (0, 2)
"""The two axes of a vertebra's frame that lie in the image: (y, z) and (x, z)."""


def draw_spine(result: LocalizationResult) -> Image.Image | None:
    """Draw the midsagittal image along the canal at the left and the coronal one through the bodies at the right.

    A frame outlines the extent of each vertebra. It is dashed if the scan cuts the vertebra off.

    Parameters
    ----------
    result : LocalizationResult
        Vertebrae that `cspine.pipelines.localize.localize_study` returned.

    Returns
    -------
    Image or None
        RGB; None if no vertebra was localized.
    """
    if result.volume is None or not result.spine_map.vertebrae:
        return None
    centerline = SpineCenterline.from_spine_map(result.spine_map)
    sagittal = compile_curved(result.volume, centerline, _SETTINGS)
    images = (sagittal.images[0], coronal_image(result.volume, centerline, sagittal, _SETTINGS))
    side = sagittal.images.shape[1] * _MAGNIFICATION
    picture = Image.new("RGB", (2 * side, side + _FOOTER_HEIGHT), "black")
    for number, image in enumerate(images):
        magnified = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
        picture.paste(magnified.convert("RGB"), (number * side, 0))
    pen = ImageDraw.Draw(picture)
    for vertebra in result.spine_map.scanned_vertebrae:
        for number, axes in enumerate((_SAGITTAL_AXES, _CORONAL_AXES)):
            points = _project(sagittal, vertebra, axes, is_coronal=bool(number)) * _MAGNIFICATION + [number * side, 0]
            _draw_outline(pen, points, vertebra)
    footer = f"{RESEARCH_USE_ONLY} Left: sagittal; right: coronal."
    pen.text((12, side + 8), footer, "white", label_font(18))
    return picture


def write_spine_picture(result: LocalizationResult, path: Path) -> bool:
    """Write the picture as PNG, atomically.

    Returns
    -------
    bool
        False if no vertebra was localized, so that there is no picture.

    Raises
    ------
    DiskFullError, OutputError
        The file cannot be written.
    """
    picture = draw_spine(result)
    if picture is not None:
        write_bytes(path, encode_png(picture))
    return picture is not None


def _project(sagittal: SagittalSet, vertebra: Vertebra, axes: tuple[int, int], *, is_coronal: bool) -> Floats:
    """Return the corners of a vertebra's box and then its origin in an image, (5, 2) column and row."""
    low, high = vertebra.box_mm
    points_mm = np.zeros((5, 4))
    points_mm[:, 3] = 1.0
    for corner, (first, second) in enumerate(((low, low), (high, low), (high, high), (low, high))):
        points_mm[corner, axes[0]], points_mm[corner, axes[1]] = first[axes[0]], second[axes[1]]
    lateral_mm, row, column = sagittal.pixels_of((points_mm @ vertebra.frame_lps.T)[:, :3]).T
    if is_coronal:
        column = lateral_mm / sagittal.pixel_mm + (sagittal.images.shape[1] - 1) / 2
    return np.stack([column, row], axis=1) + 0.5


def _draw_outline(pen: ImageDraw.ImageDraw, points: Floats, vertebra: Vertebra) -> None:
    color = color_of(vertebra.level)
    for first, last in pairwise([*points[:4], points[0]]):
        _draw_line(pen, first, last, color, is_dashed=vertebra.coverage == "partial")
    column, row = points[4].tolist()
    pen.text(
        (column, row), vertebra.level_label, color, label_font(22), anchor="mm", stroke_width=3, stroke_fill="black"
    )


def _draw_line(pen: ImageDraw.ImageDraw, first: Floats, last: Floats, color: str, *, is_dashed: bool) -> None:
    n_dashes = max(int(np.linalg.norm(last - first) / _DASH_PIXELS), 1) if is_dashed else 1
    for number in range(0, n_dashes, 2):
        ends = [first + (last - first) * fraction / n_dashes for fraction in (number, number + 1)]
        pen.line([(float(x), float(y)) for x, y in ends], color, _LINE_WIDTH)
