"""NIfTI files that hold labels and not a scan: segmentations lie beside the scans in most data sets."""

import re
from typing import Any, Final

import numpy as np

from cspine.core.errors import DicomError
from cspine.dicom.sources import SourceFile

_INTENT_LABEL: Final = 1002
"""Intent code of the standard for label maps."""

_LABEL_FOLDER: Final = re.compile(r"seg(mentation)?s?|labels?(tr|ts|va)?|masks?(tr|ts|va)?|derivatives", re.IGNORECASE)
"""Folders of labels: TotalSegmentator, nnU-Net, BIDS and the challenge."""

_LABEL_NAME: Final = re.compile(r"(^|[-_. ])(d?seg|probseg|segmentations?|labels?|masks?|msk)([-_. ]|$)", re.IGNORECASE)
"""File names of labels: BIDS' ``_dseg`` and ``_mask``, VerSe's ``_seg-vert_msk``, and common ones."""

_MAX_LABEL: Final = 255
_N_PLANES: Final = 3
_MIN_EQUAL_NEIGHBORS: Final = 0.9
"""Fraction of neighboring voxels with one value; in a scan it is small wherever there is no padding."""


class LabelMapError(DicomError):
    """A file holds labels and not a scan."""


def check_is_scan(file: SourceFile, image: Any) -> None:  # noqa: ANN401 - nibabel has no types
    """Raise if a file holds labels: by its intent code, or by its name and its values.

    Parameters
    ----------
    file : SourceFile
        The file.
    image : nibabel image
        The file as nibabel opened it. Values are read only where the name is that of labels and the type allows a scan.

    Raises
    ------
    LabelMapError
        The file holds labels.
    """
    if int(image.header["intent_code"]) == _INTENT_LABEL:
        raise LabelMapError(f"{file.name}: is a label map by its intent code; give the CT")
    if _is_named_as_labels(file.name) and _holds_labels(image):
        raise LabelMapError(f"{file.name}: is a label map by its name and values; give the CT")


def _is_named_as_labels(name: str) -> bool:
    *folders, base = name.split("/")
    is_in_folder = any(_LABEL_FOLDER.fullmatch(folder) for folder in folders)
    return is_in_folder or _LABEL_NAME.search(base[: base.lower().rindex(".nii")]) is not None


def _holds_labels(image: Any) -> bool:  # noqa: ANN401 - nibabel has no types
    """Return whether values are few whole numbers from 0 on, in one piece each; a scan has air below 0, and noise."""
    dtype = image.get_data_dtype()
    if dtype == np.uint8:  # even a scan of 8 bits is none that can be read without knowing its window
        return True
    try:
        count = image.shape[2]
        planes = [
            np.asarray(image.dataobj[:, :, k]) for k in np.linspace(0, count - 1, _N_PLANES + 2).astype(int)[1:-1]
        ]
    except Exception:  # noqa: BLE001 - nibabel raises errors of any type on damaged files; loading names them
        return False
    values = np.stack(planes)
    if not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values) or not np.all(np.isfinite(values)):
        return False
    if values.min() < 0 or values.max() > _MAX_LABEL or np.any(values != np.rint(values)):
        return False
    return bool(np.mean(values[:, 1:] == values[:, :-1]) >= _MIN_EQUAL_NEIGHBORS)
