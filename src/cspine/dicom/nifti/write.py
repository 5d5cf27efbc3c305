"""Write label maps as NIfTI, in the form of the challenge's segmentations."""

import gzip
from pathlib import Path
from typing import Final

import numpy as np

from cspine.core.files import write_bytes
from cspine.core.typing import Floats, Labels
from cspine.dicom.nifti.files import nibabel_module

_HEADER_BYTES: Final = 352
"""Header of 348 bytes, and 4 bytes that say that no extension follows."""


def write_label_map(path: Path, labels: Labels, affine_lps: Floats) -> None:
    """Write a label map as sagittal slices, as the challenge does: readers must use the affine.

    Parameters
    ----------
    path : Path
        A .nii or .nii.gz.
    labels : (k, j, i) uint8
        The labels.
    affine_lps : (4, 4)
        From ``[k, j, i, 1]`` to LPS mm.

    Raises
    ------
    DiskFullError, OutputError
        The file cannot be written.
    MissingExtraError
        The extra ``nifti`` is not installed.
    """
    affine_lps = affine_lps[:, [2, 0, 1, 3]].copy()  # axes i, k, j
    spacing = np.linalg.norm(affine_lps[:3, :3], axis=0)
    affine_lps[:3, 3] += affine_lps[:3, 1] * (labels.shape[0] - 1)
    affine_lps[:3, 1] *= -1  # k descends from the head
    # The first axis of NIfTI varies fastest. Rows of the labels stay contiguous, which makes the copy fast.
    stored = np.ascontiguousarray(labels.transpose(1, 0, 2)[:, ::-1])
    header = nibabel_module().Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(stored.shape[::-1])
    header.set_zooms(spacing)
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_lps
    header.set_sform(to_ras, code=1)
    directions = affine_lps[:3, :3] / spacing
    if np.allclose(directions.T @ directions, np.eye(3), atol=1e-6):  # a qform cannot express a tilted gantry
        header.set_qform(to_ras, code=1)
    header.set_xyzt_units("mm")
    header["magic"], header["vox_offset"] = b"n+1", _HEADER_BYTES
    head = header.binaryblock.ljust(_HEADER_BYTES, b"\0")
    content = head + stored.tobytes()
    write_bytes(path, gzip.compress(content, 1, mtime=0) if path.suffix == ".gz" else content)
