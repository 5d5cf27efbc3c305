"""A volume to a handful of sagittal images: settings, geometry, and parallel planes around the traced spine."""

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field, model_validator

from cspine.core.settings import Settings
from cspine.core.typing import Floats, Grays
from cspine.spine.bone_trace import BoneTrace
from cspine.spine.centerline import SpineCenterline
from cspine.views.planes import PlaneSamples, mean_planes
from cspine.views.window import Window, to_gray

if TYPE_CHECKING:
    import highdicom

_MAX_SUBSAMPLES = 4
"""Samples per pixel and axis at most."""


class SagittalSettings(Settings):
    """Number, extent, resolution and window of the sagittal images."""

    count: int = Field(9, ge=1, le=99, description="Images per study.")
    width_mm: float = Field(
        48.0, ge=0.0, le=120.0, description="From the first image to the last; the subaxial arch is 45-55 mm wide."
    )
    field_mm: float = Field(
        192.0, ge=64.0, le=512.0, description="Side of the square field of view; it grows where more was scanned."
    )
    pixels: int = Field(256, ge=32, le=1024, description="Rows and columns of an image.")
    slab_mm: float = Field(2.0, ge=0.0, le=20.0, description="Slab thickness that is averaged across each plane.")
    window_centre_hu: float = Field(500.0, description="Center of the bone window.")
    window_width_hu: float = Field(2000.0, gt=0.0, description="Width of the bone window.")
    jpeg_quality: int = Field(90, ge=50, le=100, description="JPEG quality on Pillow's scale.")

    @model_validator(mode="after")
    def _images_differ(self) -> Self:
        if self.count > 1 and self.width_mm == 0.0:
            raise ValueError("several images need a width_mm above 0, or they would all be the same")
        return self

    @property
    def window(self) -> Window:
        """The intensity window."""
        return Window(centre_hu=self.window_centre_hu, width_hu=self.window_width_hu)

    @property
    def offsets_mm(self) -> Floats:
        """How far left of the spine's center each image lies, (count,), from the patient's right to the left."""
        if self.count == 1:
            return np.zeros(1)
        return np.linspace(-self.width_mm / 2, self.width_mm / 2, self.count)


@dataclass(frozen=True)
class SagittalSet:
    """The compiled sagittal images of one study.

    Attributes
    ----------
    images : (count, pixels, pixels) uint8
        Row 0 at the head, column 0 anterior, from the patient's right to the left; windowed to bone.
    x_lps_mm : (count,)
        LPS x of each image's plane; of curved images, at the centerline's mean position.
    offsets_mm : (count,)
        How far left of the spine's center each image lies.
    top_z_mm : float
        LPS z of the center of the first row.
    front_y_mm : float
        LPS y of the center of the first column; of curved images, at the centerline's mean position.
    pixel_mm : float
        Side of a pixel, the same in both directions.
    centerline : SpineCenterline or None
        What curved images are aligned to; None where they are parallel planes.
    """

    images: Grays
    x_lps_mm: Floats
    offsets_mm: Floats
    top_z_mm: float
    front_y_mm: float
    pixel_mm: float
    centerline: SpineCenterline | None = None

    def pixels_of(self, lps_mm: npt.ArrayLike) -> Floats:
        """Project points onto the images.

        Parameters
        ----------
        lps_mm
            As of `cspine.spine.centerline.SpineCenterline.to_plane`.

        Returns
        -------
        (n, 3)
            How far left of the spine's center in mm, row and column in pixels.
        """
        points = np.asarray(lps_mm, dtype=np.float64).reshape(-1, 3)
        if self.centerline is None:
            left, y, z = points[:, 0] - (self.x_lps_mm[0] - self.offsets_mm[0]), points[:, 1], points[:, 2]
        else:
            left, posterior, z = self.centerline.to_plane(points).T
            y = posterior + self.centerline.center_lps_mm[1]
        return np.stack([left, (self.top_z_mm - z) / self.pixel_mm, (y - self.front_y_mm) / self.pixel_mm], axis=1)

    def jpegs(self, quality: int) -> list[bytes]:
        """Return each image as a gray JPEG of a quality on Pillow's scale."""
        return [encode_jpeg(image, quality) for image in self.images]


@dataclass(frozen=True)
class PixelGrid:
    """The square grid of pixels that all sagittal images of a study share.

    Attributes
    ----------
    pixels : int
        Number of rows, and of columns.
    pixel_mm : float
        Side of a pixel.
    top_z_mm : float
        LPS z of the center of the first row.
    front_mm : float
        Position of the center of the first column on the axis from front to back.
    """

    pixels: int
    pixel_mm: float
    top_z_mm: float
    front_mm: float

    @classmethod
    def covering(cls, z_mm: tuple[float, float], settings: SagittalSettings, *, center_mm: float = 0.0) -> "PixelGrid":
        """Return the grid of the settings' field of view, enlarged where the scanned height exceeds it.

        Parameters
        ----------
        z_mm : (float, float)
            Lowest and highest LPS z that was scanned; the grid is centered between them.
        settings : SagittalSettings
            Field of view and number of pixels.
        center_mm : float
            Where the grid is centered on the axis from front to back.
        """
        low, high = z_mm
        side = max(settings.field_mm, high - low)
        pixel = side / settings.pixels
        half = (side - pixel) / 2
        return cls(settings.pixels, pixel, (low + high) / 2 + half, center_mm - half)

    def row_samples(self, volume: "highdicom.Volume") -> Floats:
        """Return the LPS z at which each row's pixels are sampled, (rows, samples)."""
        return self.top_z_mm - self._steps_mm - subsample_offsets_mm(self.pixel_mm, volume, axis=2)

    def column_samples(self, volume: "highdicom.Volume") -> Floats:
        """Return the positions from front to back at which each column's pixels are sampled, (columns, samples)."""
        return self.front_mm + self._steps_mm + subsample_offsets_mm(self.pixel_mm, volume, axis=1)

    @property
    def _steps_mm(self) -> Floats:
        return np.asarray(np.arange(self.pixels) * self.pixel_mm, np.float64)[:, None]


def compile_sagittal(volume: "highdicom.Volume", trace: BoneTrace, settings: SagittalSettings) -> SagittalSet:
    """Reformat a volume to parallel sagittal images around the spine.

    The planes are true sagittal planes of the patient (constant LPS x), whatever the orientation of the slices. Each
    pixel is the mean of the voxels that it covers, which prevents aliasing. Black lies outside the scan.

    Parameters
    ----------
    volume : highdicom.Volume
        HU ``[k, j, i]`` with an affine to LPS mm.
    trace : BoneTrace
        The course of the spine in the same volume, as `cspine.spine.bone_trace.trace_spine` returns it.
    settings : SagittalSettings
        Number, extent, resolution and window of the images.
    """
    center_x, center_y, _ = trace.center_lps_mm
    grid = PixelGrid.covering(trace.extent_z_mm, settings, center_mm=center_y)
    x = center_x + settings.offsets_mm
    samples = PlaneSamples(
        x=x[:, None] + subsample_offsets_mm(settings.slab_mm, volume, axis=0),
        y=grid.column_samples(volume),
        z=grid.row_samples(volume),
    )
    images = to_gray(mean_planes(volume, samples), settings.window)
    return SagittalSet(images, x, settings.offsets_mm, float(grid.top_z_mm), float(grid.front_mm), float(grid.pixel_mm))


def encode_jpeg(image: Grays, quality: int) -> bytes:
    """Return a gray image ``[row, column]`` as JPEG bytes; `quality` is on Pillow's scale."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def subsample_offsets_mm(length_mm: float, volume: "highdicom.Volume", *, axis: int) -> Floats:
    """Return where a length is sampled for averaging: about once per voxel, four times at most.

    Parameters
    ----------
    length_mm : float
        Side of a pixel, or thickness of a slab.
    volume : highdicom.Volume
        The volume whose HU are sampled.
    axis : int
        The LPS axis that the length runs along: 0, 1 or 2.

    Returns
    -------
    (samples,)
        Offsets from the center of the length, in mm.
    """
    voxel_mm = float(np.max(np.abs(volume.affine[axis, :3])))
    count = int(np.clip(round(length_mm / voxel_mm), 1, _MAX_SUBSAMPLES))
    return (np.arange(count) - (count - 1) / 2) * length_mm / count
