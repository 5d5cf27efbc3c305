"""What several pictures share: the font of labels, texts and rings that show on any background, encoding as PNG."""

from io import BytesIO
from typing import Final, Literal

from PIL import Image, ImageDraw, ImageFont

_BLACK, _WHITE = 0, 255

_CASING: Final = 2
"""Width, in pixels, of the black line around text and rings."""

Anchor = Literal["lt", "mm", "lm", "rm", "mt", "mb"]
"""Which point of a text is given, as Pillow names it: left, middle or right; top, middle or bottom."""


def label_font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's built-in font at a size in pixels, so that pictures need no font of the system."""
    return ImageFont.load_default(size)


def encode_png(image: Image.Image) -> bytes:
    """Return an image as PNG."""
    buffer = BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def draw_text(
    pen: ImageDraw.ImageDraw,
    point: tuple[float, float],
    text: str,
    size: int = 16,
    *,
    anchor: Anchor = "mm",
    gray: int = _WHITE,
) -> None:
    """Write text in a gray image, with a black outline.

    Parameters
    ----------
    pen : ImageDraw
        The pen of an image of mode ``L``.
    point : (float, float)
        Where the text is anchored, x and y in pixels.
    text : str
        One line.
    size : int
        Height of the font in pixels.
    anchor : str
        Which point of the text `point` is.
    gray : int
        Gray value, 0 to 255.
    """
    pen.text(point, text, gray, label_font(size), anchor=anchor, stroke_width=_CASING, stroke_fill=_BLACK)


def draw_ring(pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, *, gray: int = _WHITE) -> None:
    """Draw a ring with four ticks outside of it in a gray image; the center stays free, since it is what is looked at.

    Parameters
    ----------
    pen : ImageDraw
        The pen of an image of mode ``L``.
    x, y, radius : float
        Center and radius in pixels.
    gray : int
        Gray value, 0 to 255.
    """
    for color, width in ((_BLACK, 2 + 2 * _CASING), (gray, 2)):
        margin = radius + width / 2 - 1
        pen.ellipse((x - margin, y - margin, x + margin, y + margin), outline=color, width=width)
        for across, down in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            ends = [(x + across * reach, y + down * reach) for reach in (radius, 1.5 * radius)]
            pen.line(ends, color, width)
