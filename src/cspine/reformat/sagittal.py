"""A volume to a handful of sagittal images: the notebook's idea, with the geometry put right."""

from dataclasses import dataclass
from io import BytesIO
from typing import Self

import highdicom
import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field, model_validator

from cspine.reformat.planes import PlaneSamples, mean_planes
from cspine.reformat.spine import SpineCurve
from cspine.settings import Settings


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
        The LPS x at which each image's plane lies.
    top_z_mm, front_y_mm : float
        LPS z of the first row's centre, LPS y of the first column's centre.
    pixel_mm : float
        Side of a pixel, the same in both directions.
    """

    images: npt.NDArray[np.uint8]
    x_lps_mm: npt.NDArray[np.float64]
    top_z_mm: float
    front_y_mm: float
    pixel_mm: float

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
    along_x = _sub_samples(settings.slab_mm, volume, axis=0)
    along_y, along_z = _sub_samples(pixel, volume, axis=1), _sub_samples(pixel, volume, axis=2)
    steps = np.arange(settings.pixels) * pixel
    samples = PlaneSamples(x=x[:, None] + along_x, y=front + steps[:, None] + along_y, z=top - steps[:, None] - along_z)
    images = _window(mean_planes(volume, samples), settings)
    return SagittalSet(images, x, float(top), float(front), float(pixel))


def encode_jpeg(image: npt.NDArray[np.uint8], quality: int) -> bytes:
    """Return a grey image ``[row, column]`` as JPEG bytes."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def _sub_samples(length_mm: float, volume: highdicom.Volume, *, axis: int) -> npt.NDArray[np.float64]:
    """Return where to sample within a length centred on 0, about once per voxel along an LPS axis, four at most."""
    voxel = float(np.max(np.abs(volume.affine[axis, :3])))
    count = int(np.clip(round(length_mm / voxel), 1, 4))
    return (np.arange(count) - (count - 1) / 2) * length_mm / count


def _window(hu: npt.NDArray[np.floating], settings: SagittalSettings) -> npt.NDArray[np.uint8]:
    """Map the window linearly to 0..255, as DICOM's LINEAR_EXACT does (PS3.3 C.11.2.1.3.2)."""
    grey = (hu - settings.window_centre_hu) / settings.window_width_hu + 0.5
    levels: npt.NDArray[np.uint8] = np.rint(np.clip(grey, 0.0, 1.0) * 255.0).astype(np.uint8)
    return levels
