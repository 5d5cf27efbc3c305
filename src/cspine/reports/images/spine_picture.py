"""A picture of the spine from the side and from the front, with each vertebra named."""

from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cspine.core.anatomy import RESEARCH_USE_ONLY, colour_of
from cspine.core.files import write_bytes
from cspine.core.typing import Floats
from cspine.localization.result import LocalizationResult
from cspine.spine.centerline import SpineCenterline
from cspine.spine.spine_map import Vertebra
from cspine.views.curved import compile_curved, coronal_sheet
from cspine.views.sagittal import SagittalSet, SagittalSettings

_SCALE: Final = 3
"""Pixels of the picture for one of the image."""

_SETTINGS: Final = SagittalSettings(count=1, slab_mm=3.0)

_LINE: Final = 2
_BAND: Final = 40
"""Height of the line of text below."""

_SIDE, _FRONT = (1, 2), (0, 2)
"""Axes of a vertebra's frame that are seen from the side and from the front."""


def draw_spine(location: LocalizationResult) -> Image.Image | None:
    """Return the picture; None where no vertebra was found.

    Left the midsagittal sheet along the canal, right the coronal one through the bodies. A frame stands for what a
    vertebra fills; broken lines say that the scan cuts it off.

    Parameters
    ----------
    location : Location
        Of `cspine.pipelines.localize.localize_study`.
    """
    if location.volume is None or not location.found.vertebrae:
        return None
    course = SpineCenterline.of(location.found)
    sagittal = compile_curved(location.volume, course, _SETTINGS)
    sheets = (sagittal.images[0], coronal_sheet(location.volume, course, sagittal, _SETTINGS))
    count = sagittal.images.shape[1]
    side = count * _SCALE
    picture = Image.new("RGB", (2 * side, side + _BAND), "black")
    for number, sheet in enumerate(sheets):
        large = Image.fromarray(sheet).resize((side, side), Image.Resampling.BICUBIC)
        picture.paste(large.convert("RGB"), (number * side, 0))
    pen = ImageDraw.Draw(picture)
    for vertebra in location.found.shown:
        for number, axes in enumerate((_SIDE, _FRONT)):
            seen = _seen(sagittal, vertebra, axes, from_front=bool(number)) * _SCALE + [number * side, 0]
            _outline(pen, seen, vertebra)
    pen.text((12, side + 8), f"{RESEARCH_USE_ONLY} Left: from the side; right: from the front.", "white", _font(18))
    return picture


def spine_png(location: LocalizationResult) -> bytes | None:
    """Return `draw_spine`'s picture as PNG."""
    picture = draw_spine(location)
    if picture is None:
        return None
    buffer = BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def write_spine_picture(location: LocalizationResult, path: Path) -> bool:
    """Write the picture, atomically, and tell whether there was any; raises DiskFullError or OutputError."""
    data = spine_png(location)
    if data is not None:
        write_bytes(path, data)
    return data is not None


def _seen(sagittal: SagittalSet, vertebra: Vertebra, axes: tuple[int, int], *, from_front: bool) -> Floats:
    """Return where the corners of a vertebra's box and then its origin are seen, (5, 2) column and row."""
    low, high = vertebra.box_mm
    own = np.zeros((5, 4))
    own[:, 3] = 1.0
    for corner, (first, second) in enumerate(((low, low), (high, low), (high, high), (low, high))):
        own[corner, axes[0]], own[corner, axes[1]] = first[axes[0]], second[axes[1]]
    aside, row, column = sagittal.pixels_of((own @ vertebra.frame_lps.T)[:, :3]).T
    if from_front:
        column = aside / sagittal.pixel_mm + (sagittal.images.shape[1] - 1) / 2
    return np.stack([column, row], axis=1) + 0.5


def _outline(pen: ImageDraw.ImageDraw, seen: Floats, vertebra: Vertebra) -> None:
    colour = colour_of(vertebra.level)
    for start, end in pairwise([*seen[:4], seen[0]]):
        _line(pen, start, end, colour, broken=vertebra.coverage == "partial")
    column, row = seen[4].tolist()
    pen.text((column, row), vertebra.level, colour, _font(22), anchor="mm", stroke_width=3, stroke_fill="black")


def _line(pen: ImageDraw.ImageDraw, start: Floats, end: Floats, colour: str, *, broken: bool) -> None:
    parts = max(int(np.linalg.norm(end - start) / 6), 1) if broken else 1
    for number in range(0, parts, 2):
        ends = [start + (end - start) * share / parts for share in (number, number + 1)]
        pen.line([(float(x), float(y)) for x, y in ends], colour, _LINE)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
