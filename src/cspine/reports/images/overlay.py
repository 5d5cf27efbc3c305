"""Overlays of images: outlines and names of vertebrae, and saliency maps."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from cspine.classification.prediction import EvidencePicture
from cspine.core.anatomy import color_of
from cspine.core.typing import Floats, Floats32, Grays
from cspine.reports.images.drawing import encode_png
from cspine.spine.spine_map import SpineMap, Vertebra
from cspine.views.sagittal import SagittalSet, encode_jpeg

MAGNIFICATION: Final = 2
"""Pixels of the picture per pixel of the view."""

_SALIENCY_RGB: Final = (255.0, 60.0, 0.0)

_MAX_OPACITY: Final = 0.55
"""Opacity of the strongest saliency; the image remains visible below it."""

_N_OPACITIES: Final = 32
"""Distinct opacities; few, so that the PNG is small."""

_JPEG_QUALITY: Final = 85

_MAX_LABEL_OFFSET_MM: Final = 12.0
"""A vertebra is outlined on the sagittal images within this distance of its center."""


SIDES: Final = {"sagittal": ("A", "P"), "coronal": ("R", "L"), "axial": ("R", "L")}
"""Sides of the patient at the left and the right edge of a level view, in the radiological convention."""


@dataclass(frozen=True)
class VertebraOutline:
    """A vertebra's frame on a sagittal image.

    Attributes
    ----------
    level : str
        C1 to C7, T1 and so on.
    label : str
        The level with its alternatives, such as ``C6 (or C7)``.
    color : str
        The color of the level, as ``#RRGGBB``.
    x, y : float
        Where the name is written, in pixels of the image.
    corners : tuple of (float, float)
        The four corners of the frame, x and y in pixels of the image.
    is_partial : bool
        Whether the scan cuts the vertebra off.
    """

    level: str
    label: str
    color: str
    x: float
    y: float
    corners: tuple[tuple[float, float], ...]
    is_partial: bool

    @property
    def svg_points(self) -> str:
        """The corners, as the ``points`` attribute of an SVG polygon takes them."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.corners)


def vertebra_outlines(sagittal: SagittalSet, spine: SpineMap) -> list[list[VertebraOutline]]:
    """Return the outlines of the vertebrae near each sagittal image.

    Parameters
    ----------
    sagittal : SagittalSet
        Sagittal images on which the vertebrae are drawn.
    spine : SpineMap
        Frames and levels of the localized vertebrae.
    """
    vertebrae = spine.scanned_vertebrae
    if not vertebrae:
        return [[] for _ in sagittal.images]
    projected = sagittal.pixels_of(np.vstack([_center_and_corners(each) for each in vertebrae]))
    projected = projected.reshape(len(vertebrae), -1, 3)
    outlines = [_outline(vertebra, points[:, 1:]) for vertebra, points in zip(vertebrae, projected, strict=True)]
    distance_mm = np.abs(projected[:, 0, 0] - sagittal.offsets_mm[:, None])
    return [
        [outline for outline, is_near in zip(outlines, near, strict=True) if is_near]
        for near in (distance_mm <= _MAX_LABEL_OFFSET_MM).tolist()
    ]


def _center_and_corners(vertebra: Vertebra) -> Floats:
    """Return the center of a vertebra's frame and its four corners in the plane from front to back, (5, 3) LPS mm."""
    low, high = vertebra.box_mm
    corners = [[0, low[1], low[2]], [0, high[1], low[2]], [0, high[1], high[2]], [0, low[1], high[2]]]
    points_mm = np.vstack([np.zeros(3), np.array(corners)])
    return np.asarray(points_mm @ vertebra.frame_lps[:3, :3].T + vertebra.frame_lps[:3, 3])


def _outline(vertebra: Vertebra, pixels: Floats) -> VertebraOutline:
    """Return a vertebra's outline from the rows and columns of its center and corners, (5, 2)."""
    center, *frame = (pixels[:, ::-1] + 0.5).tolist()
    return VertebraOutline(
        level=vertebra.level,
        label=vertebra.level_label,
        color=color_of(vertebra.level),
        x=center[0],
        y=center[1],
        corners=tuple((x, y) for x, y in frame),
        is_partial=vertebra.coverage == "partial",
    )


def describe_offset(offset_mm: float) -> str:
    """Return the position of a sagittal image relative to the midline, in the patient's left and right.

    >>> describe_offset(-12.0), describe_offset(0.0)
    ('12 mm right', 'midline')
    """
    if abs(offset_mm) < 0.5:
        return "midline"
    return f"{abs(offset_mm):.0f} mm {'left' if offset_mm > 0 else 'right'}"


def view_jpeg(picture: EvidencePicture) -> bytes:
    """Return the view that the network evaluated, magnified, as gray JPEG."""
    return encode_jpeg(np.asarray(magnified_view(picture.image)), _JPEG_QUALITY)


def saliency_png(picture: EvidencePicture) -> bytes:
    """Return the saliency map of a view as a red layer of the size of `view_jpeg`, opaque where it is strong; PNG."""
    return encode_png(saliency_layer(picture.strength, picture.image.shape))


def magnified_view(gray: Grays) -> Image.Image:
    """Return a view, (rows, columns) uint8, magnified."""
    return Image.fromarray(gray).resize(_size(gray.shape), Image.Resampling.BICUBIC)


def saliency_layer(strength: Floats32, shape: tuple[int, ...]) -> Image.Image:
    """Return a saliency map as a red layer, opaque where it is strong.

    Parameters
    ----------
    strength : (rows / 8, columns / 8)
        The saliency map, 0 to 1.
    shape : (int, int)
        Rows and columns of the view; the layer has the size of `magnified_view`.
    """
    saliency = Image.fromarray(strength.astype(np.float32)).resize(_size(shape), Image.Resampling.BICUBIC)
    steps = np.rint(np.clip(np.asarray(saliency), 0.0, 1.0) * _MAX_OPACITY * _N_OPACITIES)
    alpha = steps * (255 / _N_OPACITIES)
    layers = [np.full_like(alpha, value) for value in _SALIENCY_RGB]
    return Image.fromarray(np.stack([*layers, alpha], axis=-1).astype(np.uint8))


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    rows, columns = shape
    return MAGNIFICATION * columns, MAGNIFICATION * rows
