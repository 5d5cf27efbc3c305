"""What several pictures share: the font of labels, and encoding as PNG."""

from io import BytesIO

from PIL import Image, ImageFont


def label_font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's built-in font at a size in pixels, so that pictures need no font of the system."""
    return ImageFont.load_default(size)


def encode_png(image: Image.Image) -> bytes:
    """Return an image as PNG."""
    buffer = BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
