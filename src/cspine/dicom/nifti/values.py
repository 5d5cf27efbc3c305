"""The values of a NIfTI volume, as Hounsfield units."""

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cspine.core.errors import DecodeError, DicomError
from cspine.core.typing import HounsfieldUnits
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.codec.pixels import PixelRegion
from cspine.dicom.hounsfield import AIR_HU
from cspine.dicom.nifti.files import open_nifti
from cspine.dicom.nifti.grid import read_grid
from cspine.dicom.sources import SourceFile


@dataclass(frozen=True)
class NiftiArray:
    """The stored values of a NIfTI volume, memory-mapped where the file is not compressed.

    Attributes
    ----------
    stored : (k, j, i) array
        Values as stored, before slope and intercept.
    slope, intercept : float
        HU is ``stored * slope + intercept``.
    """

    stored: npt.NDArray[Any]
    slope: float
    intercept: float


def read_nifti_array(file: SourceFile) -> NiftiArray:
    """Read the stored values of a NIfTI volume.

    Parameters
    ----------
    file
        As of `nifti_headers`.

    Raises
    ------
    DecodeError
        The file is truncated or damaged.
    """
    try:
        image = open_nifti(file)
        stored = np.asanyarray(image.dataobj.get_unscaled())
    except (DicomError, OSError, ValueError, EOFError, MemoryError, zlib.error) as error:
        raise DecodeError(f"{file.name}: its values cannot be read ({type(error).__name__}); copy it again") from error
    proxy = image.dataobj
    array = read_grid(file.name, image).reorient(stored.reshape(stored.shape[:3]))
    return NiftiArray(array, float(proxy.slope), float(proxy.inter))


def write_nifti_hu(volume: NiftiArray, header: SliceHeader, region: PixelRegion, out: HounsfieldUnits) -> None:
    """Write one slice as Hounsfield units, rounded and clipped to int16; NaN becomes `AIR_HU`.

    Parameters
    ----------
    volume : NiftiArray
        Stored values of the file, with slope and intercept.
    header : SliceHeader
        Header of the slice. Its pixel format has the slope and intercept by which the file's values become Hounsfield
        units, 1 and 0 unless `cspine.dicom.attenuation` has corrected them.
    region : PixelRegion
        Rows and columns to keep.
    out : int16 array of the region's shape
        Array to write to.
    """
    stored, pixels = region.crop(volume.stored[header.frame]), header.pixel_format
    if pixels.signed and stored.dtype.kind == "u":
        stored = stored.view(stored.dtype.str.replace("u", "i"))
    slope, intercept = volume.slope * pixels.slope, volume.intercept * pixels.slope + pixels.intercept
    if stored.dtype == np.int16 and slope == 1.0 and intercept == 0.0:
        np.copyto(out, stored)
        return
    values = stored.astype(np.float64) * slope + intercept
    limits = np.iinfo(np.int16)
    np.copyto(out, np.rint(np.clip(np.nan_to_num(values, nan=AIR_HU), limits.min, limits.max)), casting="unsafe")
