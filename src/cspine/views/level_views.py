"""Each vertebra through its own images: planes along its own axes, at a fixed size, whatever the scan's."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, Final, Literal, Self, get_args

import highdicom
import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field, model_validator
from scipy import ndimage

from cspine.core.anatomy import Level
from cspine.core.errors import InputError
from cspine.core.parallel import default_workers
from cspine.core.settings import Settings
from cspine.dicom.codec.pixels import AIR_HU
from cspine.spine.spine_map import Vertebra
from cspine.views.sagittal import encode_jpeg
from cspine.views.window import Window, to_fine_grey, to_grey

Plane = Literal["sagittal", "coronal", "axial"]
PLANES: Final[tuple[Plane, ...]] = get_args(Plane)

Grey = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

CHANNELS: Final = 3
"""Neighbouring planes that make one view."""

_CENTRE_MM: Final[dict[Level, tuple[float, float, float]]] = {
    "C1": (0.0, 8.0, 0.0),
    "C2": (0.0, 17.0, 4.0),
    "C3": (0.0, 15.0, 0.0),
    "C4": (0.0, 15.0, 0.0),
    "C5": (0.0, 15.0, 0.0),
    "C6": (0.0, 17.0, -2.0),
    "C7": (0.0, 21.0, -3.0),
}
"""The middle of each vertebra's box in its own frame: between the 5th and 95th percentile of where bone ends in 150
phantoms (C7's spinous process reaches 52 mm behind its origin)."""

_ACROSS: Final = {"sagittal": (1, 2), "coronal": (0, 2), "axial": (0, 1)}
"""The axes of the frame that a plane's columns and rows run along."""

_ACROSS_MM: Final = 0.6

_NORMAL: Final = {"sagittal": 0, "coronal": 1, "axial": 2}
_TOWARDS: Final = {"sagittal": -1.0, "coronal": -1.0, "axial": 1.0}
"""Rows run from the head down, of axial planes from front to back."""


class LevelViewSettings(Settings):
    """How a vertebra's views are made."""

    sagittal: int = Field(5, ge=0, le=30, description="Sagittal views of each vertebra.")
    coronal: int = Field(5, ge=0, le=30, description="Coronal views of each vertebra.")
    axial: int = Field(5, ge=0, le=30, description="Axial views of each vertebra.")
    pixels: int = Field(112, ge=32, le=512, multiple_of=16, description="Rows and columns of a view.")
    pixel_mm: float = Field(0.6, gt=0.0, le=4.0, description="Side of a pixel; finer than a CT of the neck resolves.")
    slab_mm: float = Field(1.2, ge=0.0, le=10.0, description="Thickness that is averaged across a plane.")
    reach_mm: tuple[float, float, float] = Field(
        (60.0, 52.0, 36.0), description="Over which sagittal, coronal and axial planes are spread, evenly."
    )
    window: Window = Field(Window(), description="What of the HU becomes grey.")
    storage: Literal["jpeg8", "png16"] = Field("jpeg8", description="JPEG of 8 bits, or PNG of 16 without loss.")
    jpeg_quality: int = Field(90, ge=50, le=100, description="JPEG quality, as Pillow counts it.")

    @model_validator(mode="after")
    def _some_view(self) -> Self:
        if not self.views:
            raise ValueError("at least one of sagittal, coronal and axial must be more than 0")
        return self

    @property
    def brightest(self) -> int:
        """The greatest grey value."""
        return 255 if self.storage == "jpeg8" else 65535

    @property
    def suffix(self) -> str:
        """How files of mosaics end."""
        return ".jpg" if self.storage == "jpeg8" else ".16.png"

    @property
    def views(self) -> int:
        """Views of each vertebra."""
        return self.sagittal + self.coronal + self.axial

    @property
    def half_mm(self) -> float:
        """From a view's middle to its edge."""
        return self.pixels * self.pixel_mm / 2

    @property
    def planes(self) -> tuple[tuple[Plane, float], ...]:
        """Each plane's kind and how far from the box's middle it lies, mm; three after each other make a view."""
        found: list[tuple[Plane, float]] = []
        for plane, reach in zip(PLANES, self.reach_mm, strict=True):
            count = CHANNELS * int(getattr(self, plane))
            found += [(plane, reach * ((number + 0.5) / count - 0.5)) for number in range(count)]
        return tuple(found)


@dataclass(frozen=True)
class LevelViews:
    """The planes through one vertebra.

    Attributes
    ----------
    level : str
        C1 to C7.
    images : (planes, pixels, pixels) uint8, or uint16 where they are stored so
        Row 0 at the head (of axial planes: in front), column 0 in front (of coronal and axial planes: on the
        patient's right).
    box_lps : (4, 4)
        From mm in the vertebra's frame, counted from its box's middle, to LPS mm.
    settings : LevelViewSettings
        How they were made.
    """

    level: Level
    images: Grey
    box_lps: npt.NDArray[np.float64]
    settings: LevelViewSettings

    @property
    def views(self) -> Grey:
        """The planes as views, (views, 3, pixels, pixels)."""
        return self.images.reshape(-1, CHANNELS, *self.images.shape[1:])

    def lps(self, plane: int, row: npt.ArrayLike, column: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return where pixels of a plane lie, (..., 3) in LPS mm."""
        kind, offset = self.settings.planes[plane]
        own = _places(kind, np.asarray([offset]), np.asarray(row, float), np.asarray(column, float), self.settings)
        return np.asarray(own[..., 0, :] @ self.box_lps[:3, :3].T + self.box_lps[:3, 3])

    def grid_places(self, kind: Plane, lps_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return where LPS mm, (..., 3), are seen in planes of a kind: (..., 3) mm off the middle, row, column."""
        back = np.linalg.inv(self.box_lps)
        own = lps_mm @ back[:3, :3].T + back[:3, 3]
        across, down = _ACROSS[kind]
        middle, step = (self.settings.pixels - 1) / 2, self.settings.pixel_mm
        row, column = _TOWARDS[kind] * own[..., down] / step + middle, own[..., across] / step + middle
        return np.stack([own[..., _NORMAL[kind]], row, column], axis=-1)

    def stored(self) -> "LevelViews":
        """Return the views as they come back from a compiled data set."""
        return replace(self, images=split_mosaic(self.mosaic(), self.level, self.settings))

    def mosaic(self) -> bytes:
        """Return all planes side by side as one grey image, a row of tiles for each kind."""
        tiles = _tiled(self.images, self.settings)
        if self.settings.storage == "jpeg8":
            return encode_jpeg(tiles.astype(np.uint8), self.settings.jpeg_quality)
        buffer = BytesIO()
        Image.fromarray(tiles).save(buffer, "PNG")
        return buffer.getvalue()


def view_numbers(settings: LevelViewSettings, counts: tuple[int, int, int] | None = None) -> npt.NDArray[np.intp]:
    """Return the numbers of views to look at: all, or so many of each kind, spread evenly.

    >>> view_numbers(LevelViewSettings(), (1, 1, 1)).tolist()
    [2, 7, 12]
    """
    available = [int(getattr(settings, plane)) for plane in PLANES]
    chosen, start = [], 0
    for there, wanted in zip(available, counts or available, strict=True):
        taken = min(wanted, there)
        chosen.append(start + ((np.arange(taken) + 0.5) * there / max(taken, 1)).astype(np.intp))
        start += there
    return np.concatenate(chosen)


def view_places(settings: LevelViewSettings) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return each view's kind, an index of `PLANES`, and how far its middle plane lies from the box's middle, mm."""
    middle = settings.planes[CHANNELS // 2 :: CHANNELS]
    planes = np.array([PLANES.index(plane) for plane, _ in middle], np.int64)
    return planes, np.array([offset for _, offset in middle], np.float32)


def box_frame(vertebra: Vertebra, level: Level) -> npt.NDArray[np.float64]:
    """Return the affine from mm in a vertebra's frame, counted from its box's middle, to LPS mm."""
    affine = vertebra.frame_lps.copy()
    affine[:3, 3] = (vertebra.frame_lps @ [*_CENTRE_MM[level], 1.0])[:3]
    return affine


def compile_level(
    volume: highdicom.Volume,
    level: Level,
    box_lps: npt.NDArray[np.float64],
    settings: LevelViewSettings,
    *,
    seen: tuple[int, int, int] | None = None,
) -> LevelViews:
    """Cut a vertebra's planes out of a volume.

    Parameters
    ----------
    volume : highdicom.Volume
        HU in any orientation.
    level : str
        C1 to C7.
    box_lps : (4, 4)
        Of `box_frame`.
    settings : LevelViewSettings
        Which planes, how large, which window.
    seen : (int, int, int), optional
        Of each kind so many views, as `view_numbers` chooses them; the others stay black.

    Returns
    -------
    LevelViews
        What lies outside the scan is black.
    """
    fine = settings.storage == "png16"
    shape = (len(settings.planes), settings.pixels, settings.pixels)
    images: Grey = np.zeros(shape, np.uint16) if fine else np.zeros(shape, np.uint8)
    to_index = volume.inverse_affine @ box_lps

    def cut(number: int) -> None:
        hu = _cut(volume.array, to_index, settings.planes[number], settings)
        images[number] = to_fine_grey(hu, settings.window) if fine else to_grey(hu, settings.window)

    chosen = CHANNELS * view_numbers(settings, seen)[:, None] + np.arange(CHANNELS)
    with ThreadPoolExecutor(default_workers()) as threads:
        list(threads.map(cut, chosen.ravel().tolist()))
    return LevelViews(level, images, box_lps, settings)


def _cut(
    hu: npt.NDArray[np.int16],
    to_index: npt.NDArray[np.float64],
    plane: tuple[Plane, float],
    settings: LevelViewSettings,
) -> npt.NDArray[np.float32]:
    """Return a plane's HU, averaged over its thickness."""
    shape = (settings.pixels, settings.pixels)
    total, part, layers = np.zeros(shape, np.float32), np.empty(shape, np.float32), 0
    for index in sampled_at(to_index, plane, settings):
        ndimage.map_coordinates(hu, index, output=part, order=1, mode="constant", cval=AIR_HU)
        total += part
        layers += 1
    return total / np.float32(layers)


def sampled_at(
    to_index: npt.NDArray[np.float64], plane: tuple[Plane, float], settings: LevelViewSettings
) -> Iterator[npt.NDArray[np.float64]]:
    """Yield where a plane is sampled, layer by layer across its thickness: (3, rows, columns) voxels.

    Parameters
    ----------
    to_index : (4, 4)
        From mm in the vertebra's box to voxels.
    plane : (str, float)
        Of `LevelViewSettings.planes`.
    settings : LevelViewSettings
        How views are made.
    """
    kind, offset = plane
    across, down = _ACROSS[kind]
    steps = (np.arange(settings.pixels) - (settings.pixels - 1) / 2) * settings.pixel_mm
    columns, rows = to_index[:3, across, None] * steps, _TOWARDS[kind] * to_index[:3, down, None] * steps
    flat = rows[:, :, None] + columns[:, None, :] + to_index[:3, 3, None, None]
    for more in _through(settings).tolist():
        yield flat + (to_index[:3, _NORMAL[kind]] * (offset + more))[:, None, None]


def _through(settings: LevelViewSettings) -> npt.NDArray[np.float64]:
    """Return how far before and behind a plane it is sampled, mm: about every 0.6."""
    count = int(np.clip(round(settings.slab_mm / _ACROSS_MM), 1, 8))
    return (np.arange(count) - (count - 1) / 2) * settings.slab_mm / count


def split_mosaic(data: bytes, name: str, settings: LevelViewSettings) -> Grey:
    """Return the planes of a mosaic, (planes, pixels, pixels).

    Raises
    ------
    InputError
        It is no such mosaic; `name` is named.
    """
    size, kinds = settings.pixels, [count for count in _counts(settings) if count]
    shape = (len(kinds) * size, max(kinds) * size)
    try:
        with Image.open(BytesIO(data)) as image:
            form = {"jpeg8": ("JPEG", "L"), "png16": ("PNG", "I;16")}[settings.storage]
            if image.size != shape[::-1] or (image.format, image.mode) != form:
                raise InputError(f"{name}: is no mosaic of {shape[1]} x {shape[0]} pixels; compile the study again")
            grey: npt.NDArray[Any] = np.asarray(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{name}: cannot be read as an image; delete its record and compile again") from error
    tiles = grey.reshape(len(kinds), size, max(kinds), size).swapaxes(1, 2)
    return np.concatenate([row[:count] for row, count in zip(tiles, kinds, strict=True)])


def _counts(settings: LevelViewSettings) -> list[int]:
    return [CHANNELS * int(getattr(settings, plane)) for plane in PLANES]


def _tiled(images: Grey, settings: LevelViewSettings) -> Grey:
    """Lay planes out, a row of tiles for each kind; a tile's sides are whole JPEG blocks, so none runs into another."""
    size, counts = settings.pixels, _counts(settings)
    canvas: npt.NDArray[Any] = np.zeros((sum(count > 0 for count in counts), max(counts), size, size), images.dtype)
    start, row = 0, 0
    for count in counts:
        if count:
            canvas[row, :count] = images[start : start + count]
            start, row = start + count, row + 1
    return canvas.swapaxes(1, 2).reshape(canvas.shape[0] * size, -1)


def _places(
    kind: Plane,
    offsets_mm: npt.NDArray[np.float64],
    row: npt.NDArray[np.float64],
    column: npt.NDArray[np.float64],
    settings: LevelViewSettings,
) -> npt.NDArray[np.float64]:
    """Return where pixels lie in the box, (..., offsets, 3) mm from its middle."""
    middle = (settings.pixels - 1) / 2
    across, down = _ACROSS[kind]
    own = np.empty((*row.shape, len(offsets_mm), 3))
    own[..., _NORMAL[kind]] = offsets_mm
    own[..., across] = ((column - middle) * settings.pixel_mm)[..., None]
    own[..., down] = (_TOWARDS[kind] * (row - middle) * settings.pixel_mm)[..., None]
    return own
