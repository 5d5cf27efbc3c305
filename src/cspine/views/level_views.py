"""Level views: planes along a vertebra's own axes, at a fixed size and resolution, whatever those of the scan.

Each vertebra is shown by sagittal, coronal and axial views. A view is three neighboring planes of one orientation,
which become the channels of a network's input (2.5-D).
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field, model_validator

from cspine.core.anatomy import Level
from cspine.core.errors import InputError
from cspine.core.processors import default_workers
from cspine.core.settings import Settings
from cspine.core.typing import Floats, Floats32, Indices
from cspine.spine.spine_map import Vertebra
from cspine.views.bridged_gaps import BridgedGaps
from cspine.views.plane_sampling import IN_PLANE_AXES, NORMAL_AXIS, ROW_SIGN, mean_plane
from cspine.views.sagittal import encode_jpeg
from cspine.views.window import Window, to_gray, to_gray16

if TYPE_CHECKING:
    import highdicom

Plane = Literal["sagittal", "coronal", "axial"]
PLANES: Final[tuple[Plane, ...]] = get_args(Plane)
"""Orientations of planes, in the order in which views are stored."""

GrayPlanes = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""Planes of 8 or of 16 bits."""

CHANNELS: Final = 3
"""Neighboring planes that make one view."""

_BOX_CENTER_MM: Final[dict[Level, tuple[float, float, float]]] = {
    "C1": (0.0, 8.0, 0.0),
    "C2": (0.0, 17.0, 4.0),
    "C3": (0.0, 15.0, 0.0),
    "C4": (0.0, 15.0, 0.0),
    "C5": (0.0, 15.0, 0.0),
    "C6": (0.0, 17.0, -2.0),
    "C7": (0.0, 21.0, -3.0),
}
"""The center of each vertebra's box in its own frame: midway between the 5th and the 95th percentile of where bone ends
in 150 phantoms (the spinous process of C7 reaches 52 mm behind its origin)."""


class LevelViewSettings(Settings):
    """Number, extent, resolution, window and storage of the views of a vertebra."""

    sagittal: int = Field(5, ge=0, le=30, description="Sagittal views of each vertebra.")
    coronal: int = Field(5, ge=0, le=30, description="Coronal views of each vertebra.")
    axial: int = Field(5, ge=0, le=30, description="Axial views of each vertebra.")
    pixels: int = Field(112, ge=32, le=512, multiple_of=16, description="Rows and columns of a view.")
    pixel_mm: float = Field(0.6, gt=0.0, le=4.0, description="Side of a pixel; finer than a CT of the neck resolves.")
    slab_mm: float = Field(1.2, ge=0.0, le=10.0, description="Slab thickness that is averaged across a plane.")
    reach_mm: tuple[float, float, float] = Field(
        (60.0, 52.0, 36.0), description="Lengths over which sagittal, coronal and axial planes are spread evenly."
    )
    window: Window = Field(Window(), description="The intensity window.")
    storage: Literal["jpeg8", "png16"] = Field("jpeg8", description="JPEG of 8 bits, or lossless PNG of 16 bits.")
    jpeg_quality: int = Field(90, ge=50, le=100, description="JPEG quality on Pillow's scale.")

    @model_validator(mode="after")
    def _has_views(self) -> Self:
        if not self.n_views:
            raise ValueError("at least one of sagittal, coronal and axial must be more than 0")
        return self

    @property
    def max_gray(self) -> int:
        """The greatest gray value."""
        return 255 if self.storage == "jpeg8" else 65535

    @property
    def suffix(self) -> str:
        """The suffix of files of mosaics."""
        return ".jpg" if self.storage == "jpeg8" else ".16.png"

    @property
    def n_views(self) -> int:
        """The number of views of each vertebra."""
        return self.sagittal + self.coronal + self.axial

    @property
    def half_mm(self) -> float:
        """Half the side of a view, in mm."""
        return self.pixels * self.pixel_mm / 2

    @property
    def planes(self) -> tuple[tuple[Plane, float], ...]:
        """The orientation of each plane and its offset from the box's center in mm; three in a row make a view."""
        planes: list[tuple[Plane, float]] = []
        for orientation, reach in zip(PLANES, self.reach_mm, strict=True):
            count = CHANNELS * int(getattr(self, orientation))
            planes += [(orientation, reach * ((number + 0.5) / count - 0.5)) for number in range(count)]
        return tuple(planes)


@dataclass(frozen=True)
class LevelViews:
    """The planes through one vertebra.

    Attributes
    ----------
    level : str
        Name of the vertebra, C1 to C7.
    images : (planes, pixels, pixels) uint8, or uint16 if stored as PNG
        Row 0 is superior, in axial planes anterior; column 0 is anterior, in coronal and axial planes on the patient's
        right.
    box_lps : (4, 4)
        Affine from mm along the vertebra's axes, counted from the center of its box, to LPS mm.
    settings : LevelViewSettings
        How the planes were made.
    gaps : BridgedGaps or None
        Where they show what was interpolated across missing slices; None where nothing was.
    """

    level: Level
    images: GrayPlanes
    box_lps: Floats
    settings: LevelViewSettings
    gaps: BridgedGaps | None = None

    @property
    def views(self) -> GrayPlanes:
        """The planes grouped to views, (views, 3, pixels, pixels)."""
        return self.images.reshape(-1, CHANNELS, *self.images.shape[1:])

    def lps(self, plane: int, row: npt.ArrayLike, column: npt.ArrayLike) -> Floats:
        """Return the position of pixels.

        Parameters
        ----------
        plane : int
            Index of the plane in `images`.
        row, column : float or (...)
            Pixels, counted from the center of the first one.

        Returns
        -------
        (..., 3)
            LPS mm.
        """
        (orientation, offset_mm), settings = self.settings.planes[plane], self.settings
        row, column = np.asarray(row, float), np.asarray(column, float)
        center = (settings.pixels - 1) / 2
        across, down = IN_PLANE_AXES[orientation]
        box_mm = np.empty((*row.shape, 3))
        box_mm[..., NORMAL_AXIS[orientation]] = offset_mm
        box_mm[..., across] = (column - center) * settings.pixel_mm
        box_mm[..., down] = ROW_SIGN[orientation] * (row - center) * settings.pixel_mm
        return np.asarray(box_mm @ self.box_lps[:3, :3].T + self.box_lps[:3, 3])

    def plane_coordinates(self, orientation: Plane, lps_mm: Floats) -> Floats:
        """Return the coordinates of points in planes of an orientation.

        Parameters
        ----------
        orientation : str
            Orientation of the planes, one of `PLANES`.
        lps_mm : (..., 3)
            Points in LPS mm.

        Returns
        -------
        (..., 3)
            Offset from the box's center along the planes' normal in mm, row and column in pixels.
        """
        to_box = np.linalg.inv(self.box_lps)
        box_mm = lps_mm @ to_box[:3, :3].T + to_box[:3, 3]
        across, down = IN_PLANE_AXES[orientation]
        center, step = (self.settings.pixels - 1) / 2, self.settings.pixel_mm
        row, column = ROW_SIGN[orientation] * box_mm[..., down] / step + center, box_mm[..., across] / step + center
        return np.stack([box_mm[..., NORMAL_AXIS[orientation]], row, column], axis=-1)

    def compress(self) -> "LevelViews":
        """Return the views as they would be read from a compiled data set, after lossy compression."""
        return replace(self, images=split_mosaic(self.mosaic(), self.level, self.settings))

    def mosaic(self) -> bytes:
        """Return all planes as one encoded gray image, a row of tiles per orientation."""
        tiles = _tile(self.images, self.settings)
        if self.settings.storage == "jpeg8":
            return encode_jpeg(tiles.astype(np.uint8), self.settings.jpeg_quality)
        buffer = BytesIO()
        Image.fromarray(tiles).save(buffer, "PNG")
        return buffer.getvalue()


def view_indices(settings: LevelViewSettings, counts: tuple[int, int, int] | None = None) -> Indices:
    """Return the indices of a subset of the views.

    Parameters
    ----------
    settings : LevelViewSettings
        Which views there are.
    counts : (int, int, int), optional
        How many sagittal, coronal and axial views are chosen, evenly spread; all views where omitted.

    >>> view_indices(LevelViewSettings(), (1, 1, 1)).tolist()
    [2, 7, 12]
    """
    available = [int(getattr(settings, orientation)) for orientation in PLANES]
    chosen, start = [], 0
    for n_available, n_requested in zip(available, counts or available, strict=True):
        count = min(n_requested, n_available)
        chosen.append(start + ((np.arange(count) + 0.5) * n_available / max(count, 1)).astype(np.intp))
        start += n_available
    return np.concatenate(chosen)


def view_geometry(settings: LevelViewSettings) -> tuple[npt.NDArray[np.int64], Floats32]:
    """Return the orientation and the offset of each view.

    Returns
    -------
    orientations : (views,) int64
        Orientation of each view, as an index of `PLANES`.
    offsets_mm : (views,) float32
        How far each view's middle plane lies from the box's center.
    """
    middle_planes = settings.planes[CHANNELS // 2 :: CHANNELS]
    orientations = np.array([PLANES.index(orientation) for orientation, _ in middle_planes], np.int64)
    return orientations, np.array([offset for _, offset in middle_planes], np.float32)


def box_frame(vertebra: Vertebra, level: Level) -> Floats:
    """Return the affine from mm along a vertebra's axes, counted from the center of its box, to LPS mm, (4, 4)."""
    affine = vertebra.frame_lps.copy()
    affine[:3, 3] = (vertebra.frame_lps @ [*_BOX_CENTER_MM[level], 1.0])[:3]
    return affine


def compile_level(
    volume: "highdicom.Volume",
    level: Level,
    box_lps: Floats,
    settings: LevelViewSettings,
    *,
    inference_views: tuple[int, int, int] | None = None,
) -> LevelViews:
    """Reformat a volume to the views of one vertebra; black lies outside the scan.

    Parameters
    ----------
    volume : highdicom.Volume
        HU in any orientation.
    level : str
        Name of the vertebra, C1 to C7.
    box_lps : (4, 4)
        Affine of the box of the vertebra, from `box_frame`.
    settings : LevelViewSettings
        Number, extent, resolution and window of the views.
    inference_views : (int, int, int), optional
        Make only so many sagittal, coronal and axial views, as `view_indices` chooses them; the others stay black.
    """
    is_16_bit = settings.storage == "png16"
    planes = settings.planes
    shape = (len(planes), settings.pixels, settings.pixels)
    images: GrayPlanes = np.zeros(shape, np.uint16) if is_16_bit else np.zeros(shape, np.uint8)
    to_index = volume.inverse_affine @ box_lps

    def reformat(number: int) -> None:
        hu = mean_plane(volume.array, to_index, planes[number], settings)
        images[number] = to_gray16(hu, settings.window) if is_16_bit else to_gray(hu, settings.window)

    chosen = CHANNELS * view_indices(settings, inference_views)[:, None] + np.arange(CHANNELS)
    with ThreadPoolExecutor(default_workers()) as threads:
        list(threads.map(reformat, chosen.ravel().tolist()))
    return LevelViews(level, images, box_lps, settings)


def split_mosaic(data: bytes, name: str, settings: LevelViewSettings) -> GrayPlanes:
    """Decode a mosaic to its planes, (planes, pixels, pixels).

    Parameters
    ----------
    data : bytes
        Encoded mosaic that `LevelViews.mosaic` returned.
    name : str
        What errors call the mosaic, such as its path.
    settings : LevelViewSettings
        How the planes were made.

    Raises
    ------
    InputError
        The data are damaged, or a mosaic of other settings.
    """
    size, counts = settings.pixels, [count for count in _plane_counts(settings) if count]
    shape = (len(counts) * size, max(counts) * size)
    try:
        with Image.open(BytesIO(data)) as image:
            expected = {"jpeg8": ("JPEG", "L"), "png16": ("PNG", "I;16")}[settings.storage]
            if image.size != shape[::-1] or (image.format, image.mode) != expected:
                raise InputError(f"{name}: is no mosaic of {shape[1]} x {shape[0]} pixels; compile the study again")
            gray: npt.NDArray[Any] = np.asarray(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{name}: cannot be read as an image; delete its record and compile again") from error
    tiles = gray.reshape(len(counts), size, max(counts), size).swapaxes(1, 2)
    return np.concatenate([row[:count] for row, count in zip(tiles, counts, strict=True)])


def _plane_counts(settings: LevelViewSettings) -> list[int]:
    return [CHANNELS * int(getattr(settings, orientation)) for orientation in PLANES]


def _tile(images: GrayPlanes, settings: LevelViewSettings) -> GrayPlanes:
    """Lay planes out, a row of tiles per orientation.

    The sides of a tile are multiples of JPEG's blocks, so that no tile bleeds into another.
    """
    size, counts = settings.pixels, _plane_counts(settings)
    canvas: npt.NDArray[Any] = np.zeros((sum(count > 0 for count in counts), max(counts), size, size), images.dtype)
    start, row = 0, 0
    for count in counts:
        if count:
            canvas[row, :count] = images[start : start + count]
            start, row = start + count, row + 1
    return canvas.swapaxes(1, 2).reshape(canvas.shape[0] * size, -1)
