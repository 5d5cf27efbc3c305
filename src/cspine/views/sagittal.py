"""A volume to a handful of sagittal images: the notebook's idea, with the geometry put right."""

from dataclasses import dataclass
from io import BytesIO
from typing import Self

import highdicom
import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field, model_validator

from cspine.core.settings import Settings
from cspine.spine.bone_trace import SpineCurve
from cspine.spine.centerline import SpineCenterline
from cspine.views.planes import PlaneSamples, mean_planes
from cspine.views.window import Window, to_grey


class SagittalSettings(Settings):
    """How the sagittal images are made."""

    count: int = Field(9, ge=1, le=99, description="Images per study.")
    width_mm: float = Field(
        48.0, ge=0.0, le=120.0, description="From the first image to the last; the subaxial arch is 45-55 mm wide."
    )
    field_mm: float = Field(
        192.0, ge=64.0, le=512.0, description="Side of the square each image shows; it grows where more was scanned."
    )
    pixels: int = Field(256, ge=32, le=1024, description="Rows and columns of an image.")
    slab_mm: float = Field(2.0, ge=0.0, le=20.0, description="Thickness that is averaged across each image's plane.")
    window_centre_hu: float = Field(500.0, description="Centre of the bone window.")
    window_width_hu: float = Field(2000.0, gt=0.0, description="Width of the bone window.")
    jpeg_quality: int = Field(90, ge=50, le=100, description="JPEG quality, as Pillow counts it.")

    @model_validator(mode="after")
    def _one_image_is_central(self) -> Self:
        if self.count > 1 and self.width_mm == 0.0:
            raise ValueError("several images need a width_mm above 0, or they would all be the same")
        return self

    @property
    def window(self) -> Window:
        """What of the HU becomes grey."""
        return Window(centre_hu=self.window_centre_hu, width_hu=self.window_width_hu)

    @property
    def offsets_mm(self) -> npt.NDArray[np.float64]:
        """Where the images lie from the spine's centre, from the patient's right to the left."""
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
        The LPS x at which each image's plane lies; of curved images, amid the spine.
    offsets_mm : (count,)
        How far left of the spine's middle each image lies.
    top_z_mm, front_y_mm : float
        LPS z of the first row's centre, LPS y of the first column's centre; of curved images, amid the spine.
    pixel_mm : float
        Side of a pixel, the same in both directions.
    course : SpineCenterline or None
        What curved images follow; None where they are planes.
    """

    images: npt.NDArray[np.uint8]
    x_lps_mm: npt.NDArray[np.float64]
    offsets_mm: npt.NDArray[np.float64]
    top_z_mm: float
    front_y_mm: float
    pixel_mm: float
    course: SpineCenterline | None = None

    def pixels_of(self, lps_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return where points, (n, 3) in LPS mm, are seen: (n, 3) mm left of the middle image, row, column."""
        points = np.asarray(lps_mm, dtype=np.float64).reshape(-1, 3)
        if self.course is None:
            aside, y, z = points[:, 0] - (self.x_lps_mm[0] - self.offsets_mm[0]), points[:, 1], points[:, 2]
        else:
            aside, behind, z = self.course.place(points).T
            y = behind + self.course.middle_lps_mm[1]
        return np.stack([aside, (self.top_z_mm - z) / self.pixel_mm, (y - self.front_y_mm) / self.pixel_mm], axis=1)

    def jpegs(self, quality: int) -> list[bytes]:
        """Return each image as a grey JPEG."""
        return [encode_jpeg(image, quality) for image in self.images]


def compile_sagittal(volume: highdicom.Volume, spine: SpineCurve, settings: SagittalSettings) -> SagittalSet:
    """Reformat a volume into sagittal images around the spine.

    The planes are true sagittal planes of the patient (constant LPS x), whatever the slices' orientation. Each pixel
    is the mean of the voxels that it covers, so that nothing aliases.

    Parameters
    ----------
    volume : highdicom.Volume
        HU ``[k, j, i]`` with an affine to LPS mm.
    spine : SpineCurve
        Of the same volume.
    settings : SagittalSettings
        Number, spread, size and window.

    Returns
    -------
    SagittalSet
        What lies outside the scan is black.
    """
    centre_x, centre_y, centre_z = spine.centre_lps_mm
    side = max(settings.field_mm, spine.extent_z_mm[1] - spine.extent_z_mm[0])
    pixel = side / settings.pixels
    x = centre_x + settings.offsets_mm
    top, front = centre_z + (side - pixel) / 2, centre_y - (side - pixel) / 2
    along_x = sub_samples(settings.slab_mm, volume, axis=0)
    along_y, along_z = sub_samples(pixel, volume, axis=1), sub_samples(pixel, volume, axis=2)
    steps = np.arange(settings.pixels) * pixel
    samples = PlaneSamples(x=x[:, None] + along_x, y=front + steps[:, None] + along_y, z=top - steps[:, None] - along_z)
    images = to_grey(mean_planes(volume, samples), settings.window)
    return SagittalSet(images, x, settings.offsets_mm, float(top), float(front), float(pixel))


def encode_jpeg(image: npt.NDArray[np.uint8], quality: int) -> bytes:
    """Return a grey image ``[row, column]`` as JPEG bytes."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def sub_samples(length_mm: float, volume: highdicom.Volume, *, axis: int) -> npt.NDArray[np.float64]:
    """Return where to sample within a length centred on 0, about once per voxel along an LPS axis, four at most."""
    voxel = float(np.max(np.abs(volume.affine[axis, :3])))
    count = int(np.clip(round(length_mm / voxel), 1, 4))
    return (np.arange(count) - (count - 1) / 2) * length_mm / count


def scanned_heights(volume: highdicom.Volume) -> tuple[float, float]:
    """Return the lowest and the highest LPS z that was scanned, half a slice beyond the outermost included."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in volume.spatial_shape], indexing="ij")).reshape(3, -1)
    z = volume.affine[2, :3] @ corners + volume.affine[2, 3]
    half = 0.5 * float(np.abs(volume.affine[2, :3]).max())
    return float(z.min()) - half, float(z.max()) + half
