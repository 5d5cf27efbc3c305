"""Downscaling of compiled images to the size of a network's input."""

import numpy as np
from PIL import Image

from cspine.core.typing import Grays


def downscale(image: Grays, size: int) -> Grays:
    """Return a gray image with ``size`` rows and columns, averaged over the area of each new pixel."""
    if image.shape == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BOX))
