"""Frames as pictures for people, by a window (PS3.18, 8.3.5)."""

import io
import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import Dataset
from pydicom.multival import MultiValue

from cspine.core.errors import DecodeError
from cspine.server.web.dicomweb.frames import PixelFile
from cspine.server.web.errors import HttpError
from cspine.views.window import Window, to_gray

_MAX_SIDE: Final = 4096

PictureFormat = Literal["jpeg", "png"]


@dataclass(frozen=True)
class Rendering:
    """How a frame is drawn.

    Attributes
    ----------
    picture_format : str
        ``jpeg`` or ``png``.
    window : tuple of float, optional
        Center and width; those of the object where omitted, and the bone window where it has none.
    size : tuple of int, optional
        Largest width and height, pixels.
    quality : int
        Quality of JPEG, 1 to 100.
    """

    picture_format: PictureFormat = "jpeg"
    window: tuple[float, float] | None = None
    size: tuple[int, int] | None = None
    quality: int = 90


def parse_window(text: str | None) -> tuple[float, float] | None:
    """Return center and width of the parameter ``window``: ``center,width,function``.

    >>> parse_window("500,2000,linear")
    (500.0, 2000.0)

    Raises
    ------
    HttpError
        400: it holds no finite numbers, or a width of 0.
    """
    if text is None:
        return None
    try:
        center, width = (float(part) for part in text.split(",")[:2])
    except ValueError as error:
        raise HttpError(400, "window: give center,width,linear") from error
    if not math.isfinite(center) or not 0.0 < width < math.inf:
        raise HttpError(400, "window: give finite numbers, and a width above 0")
    return center, width


def parse_viewport(text: str | None) -> tuple[int, int] | None:
    """Return width and height of the parameter ``viewport``.

    >>> parse_viewport("256,256")
    (256, 256)

    Raises
    ------
    HttpError
        400: it holds no whole numbers, or those of a picture that is too large.
    """
    if text is None:
        return None
    parts = text.split(",")[:2]
    if len(parts) < 2 or not all(part.isascii() and part.isdigit() and len(part) <= 4 for part in parts):
        raise HttpError(400, "viewport: give width,height in pixels")
    width, height = (int(part) for part in parts)
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        raise HttpError(400, f"viewport: give 1 to {_MAX_SIDE} pixels")
    return width, height


def render(pixels: PixelFile, index: int, rendering: Rendering) -> bytes:
    """Return a frame as a picture.

    Raises
    ------
    DecodeError
        The frame cannot be decoded, or shows nothing that a picture can.
    """
    values = pixels.decode(index)
    picture = _draw_color(values) if values.ndim == 3 else _draw_gray(values, pixels.dataset, rendering.window)
    if rendering.size is not None:
        picture.thumbnail(rendering.size)
    stream = io.BytesIO()
    if rendering.picture_format == "png":
        picture.save(stream, "PNG", compress_level=3)
    else:
        picture.save(stream, "JPEG", quality=rendering.quality)
    return stream.getvalue()


def _draw_color(values: npt.NDArray[Any]) -> Image.Image:
    if values.dtype != np.uint8 or values.shape[2] != 3:
        raise DecodeError("the frame has colors that are not drawn; ask for it as stored")
    return Image.fromarray(values)


def _draw_gray(values: npt.NDArray[Any], dataset: Dataset, window: tuple[float, float] | None) -> Image.Image:
    rescaled = values.astype(np.float32) * _number(dataset, "RescaleSlope", 1.0)
    rescaled += _number(dataset, "RescaleIntercept", 0.0)
    if dataset.get("Modality") == "CT":
        own: tuple[float, float] = (Window().centre_hu, Window().width_hu)
    else:
        low, high = float(rescaled.min()), float(rescaled.max())
        own = (low + high) / 2.0, max(high - low, 1.0)
    center, width = window or (_number(dataset, "WindowCenter", own[0]), _number(dataset, "WindowWidth", own[1]))
    gray = to_gray(np.nan_to_num(rescaled), Window(centre_hu=center, width_hu=width if width > 0.0 else own[1]))
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        gray = (255 - gray).astype(np.uint8)
    return Image.fromarray(gray)


def _number(dataset: Dataset, name: str, default: float) -> float:
    """Return the first number of an element, or the default where it holds none."""
    try:
        value: Any = dataset.get(name)
        number = float(value[0] if isinstance(value, MultiValue) else value)
    except Exception:  # noqa: BLE001 - pydicom raises whatever an invalid value leads it to
        return default
    return number if math.isfinite(number) else default
