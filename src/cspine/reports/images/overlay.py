"""What is drawn over images: names and frames of vertebrae, and what speaks for a fracture."""

from io import BytesIO
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from cspine.classification.prediction import EvidencePicture
from cspine.core.anatomy import colour_of
from cspine.spine.spine_map import SpineMap
from cspine.views.sagittal import SagittalSet, encode_jpeg

_ENLARGED: Final = 2
"""Pixels of the picture for one of the view."""

_WARM: Final = (255.0, 60.0, 0.0)
_MOST: Final = 0.55
"""The image shines through the strongest evidence."""

_LEVELS: Final = 32
"""Steps of opacity: few, so that the picture is small."""

_QUALITY: Final = 85

_NEAR_MM: Final = 12.0
"""Vertebrae are named on images that pass this near their middle."""


def marks(sagittal: SagittalSet, spine: SpineMap, image: int) -> list[dict[str, Any]]:
    """Return the vertebrae to be marked on a sagittal image: name, colour, place of the name, corners of the frame.

    Places are in pixels of the image; corners are text for SVG, and numbers.
    """
    found = []
    for vertebra in spine.shown:
        low, high = vertebra.box_mm
        corners = np.array([[0, low[1], low[2]], [0, high[1], low[2]], [0, high[1], high[2]], [0, low[1], high[2]]])
        own = np.vstack([np.zeros(3), corners])
        lps = own @ vertebra.frame_lps[:3, :3].T + vertebra.frame_lps[:3, 3]
        aside, rows, columns = sagittal.pixels_of(lps).T
        if abs(aside[0] - sagittal.offsets_mm[image]) > _NEAR_MM:
            continue
        places = np.stack([columns, rows], axis=1) + 0.5
        found.append(
            {
                "name": vertebra.level,
                "colour": colour_of(vertebra.level),
                "x": float(places[0, 0]),
                "y": float(places[0, 1]),
                "corners": " ".join(f"{x:.1f},{y:.1f}" for x, y in places[1:]),
                "places": places[1:].tolist(),
                "partial": vertebra.coverage == "partial",
            }
        )
    return found


def place_of(offset_mm: float) -> str:
    """Say where an image lies from the midline, as the patient would: LPS x grows to the left.

    >>> place_of(-12.0), place_of(0.0)
    ('12 mm right', 'midline')
    """
    if abs(offset_mm) < 0.5:
        return "midline"
    return f"{abs(offset_mm):.0f} mm {'left' if offset_mm > 0 else 'right'}"


def view_jpeg(picture: EvidencePicture) -> bytes:
    """Return a view as it was looked at, as JPEG, twice as large."""
    size = tuple(_ENLARGED * side for side in picture.image.shape[::-1])
    return encode_jpeg(np.asarray(Image.fromarray(picture.image).resize(size, Image.Resampling.BICUBIC)), _QUALITY)


def evidence_png(picture: EvidencePicture) -> bytes:
    """Return a view's evidence, to be laid over it: red, the more opaque the stronger; PNG, as large as `view_jpeg`."""
    size = tuple(_ENLARGED * side for side in picture.image.shape[::-1])
    strength = Image.fromarray(picture.strength.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    opaque = np.rint(np.clip(np.asarray(strength), 0.0, 1.0) * _MOST * _LEVELS) * (255 / _LEVELS)
    layers = [np.full_like(opaque, colour) for colour in _WARM]
    return _png(np.stack([*layers, opaque], axis=-1).astype(np.uint8))


def _png(image: npt.NDArray[np.uint8]) -> bytes:
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
