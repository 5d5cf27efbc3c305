"""NIfTI volumes as series: one header for each slice, positioned by the file's affine.

NIfTI uses RAS+ coordinates and any order of axes. The array is permuted and flipped to the nearest orientation of an
axial CT, ``[k to the head, j to the back, i to the left]``; nothing is resampled.
"""

import numpy as np

from cspine.core.errors import DicomError
from cspine.core.typing import Floats
from cspine.dicom.codec.codecs import NIFTI
from cspine.dicom.codec.header import SliceHeader, make_pixel_format
from cspine.dicom.nifti.files import open_nifti
from cspine.dicom.nifti.grid import read_grid
from cspine.dicom.nifti.labels import check_is_scan
from cspine.dicom.nifti.names import nifti_stem
from cspine.dicom.sources import SourceFile


def nifti_headers(file: SourceFile) -> tuple[SliceHeader, ...]:
    """Return one header for each axial slice of a NIfTI volume.

    Parameters
    ----------
    file : SourceFile
        A .nii or .nii.gz file.

    Returns
    -------
    tuple of SliceHeader
        Sorted toward the head. What NIfTI does not hold, such as the modality, is None.

    Raises
    ------
    DicomError
        The file is damaged, is not a volume of gray values, holds labels, or has no affine to LPS mm.
    """
    image = open_nifti(file)
    grid = read_grid(file.name, image)
    if not (np.issubdtype(image.get_data_dtype(), np.integer) or np.issubdtype(image.get_data_dtype(), np.floating)):
        raise DicomError(f"{file.name}: holds {image.get_data_dtype()} values, not gray ones; export Hounsfield units")
    count, rows, columns = grid.shape
    step_j, step_i = grid.affine_lps[:3, 1], grid.affine_lps[:3, 2]
    spacing = float(np.linalg.norm(step_j)), float(np.linalg.norm(step_i))
    orientation = (*(step_i / spacing[1]).tolist(), *(step_j / spacing[0]).tolist())
    check_is_scan(file, image)
    pixels = make_pixel_format(
        16,
        16,
        15,
        signed=not np.issubdtype(image.get_data_dtype(), np.unsignedinteger),
        rescale=(1.0, 0.0),
        padding=None,
    )
    stem = nifti_stem(file.name)
    return tuple(
        SliceHeader(
            file=file,
            study_instance_uid=stem,
            series_instance_uid=stem,
            sop_instance_uid="",
            patient_id=None,
            sop_class_uid=None,
            modality=None,
            image_type=(),
            frame_of_reference_uid=None,
            series_number=None,
            acquisition_number=None,
            instance_number=k + 1,
            transfer_syntax_uid=NIFTI,
            rows=rows,
            columns=columns,
            frame=k,
            frames=count,
            samples_per_pixel=1,
            photometric_interpretation=None,
            pixel_spacing_mm=spacing,
            position_mm=_slice_position(grid.affine_lps, k),
            orientation=orientation,
            slice_thickness_mm=None,
            gantry_tilt_deg=None,
            kernel=None,
            manufacturer=None,
            rescale_type=None,
            pixel_format=pixels,
            pixel_data_offset=None,
            pixel_data_length=None,
            missing=(),
            warnings=grid.warnings,
        )
        for k in range(count)
    )


def _slice_position(affine: Floats, k: int) -> tuple[float, float, float]:
    x, y, z = (affine[:3, 3] + affine[:3, 0] * k).tolist()
    return x, y, z
