"""Slices whose files are complete in length and end in zeros, as after a copy that broke off.

Uncompressed pixels have no end mark, so such a file is read without an error: the rest of the slice is one value. It
is recognized by its neighbors, in which the anatomy goes on.
"""

from typing import Final

import highdicom
import numpy as np
import numpy.typing as npt

from cspine.core.typing import HounsfieldUnits, Indices
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.series import Series

_MIN_JUMP_FRACTION: Final = 0.05
"""Least difference of the blank rows of two neighboring slices, as a fraction of the rows: 26 of 512.

The blank rows of a masked scan, or of a round field of view, change less from slice to slice.
"""


def find_broken_copies(volume: highdicom.Volume, series: Series) -> list[SliceHeader]:
    """Return the slices that end in blank rows where their neighbors do not.

    Parameters
    ----------
    volume : highdicom.Volume
        The series in Hounsfield units, cropped or subsampled, on the slices' own rows and columns.
    series : Series
        Its headers.

    Returns
    -------
    list of SliceHeader
        Headers of the slices nearest to the planes concerned; none where the pixels are compressed, which have marks
        of their ends, or where slices are offset against each other.
    """
    if not series.stack.is_straight or any(header.pixel_data_length is None for header in series.headers):
        return []
    planes = np.flatnonzero(_has_jump(trailing_blank_rows(volume.array), volume.array.shape[1]))
    if not len(planes):
        return []
    headers = [series.headers[index] for index in series.stack.order]
    along_mm = np.array([header.position_mm for header in headers]) @ series.stack.normal
    centers = (volume.affine[:3, :1] * planes + volume.affine[:3, 3:]).T @ series.stack.normal
    nearest = np.abs(along_mm[None, :] - centers[:, None]).argmin(axis=1)
    return [headers[index] for index in np.unique(nearest)]


def describe_broken_copies(headers: list[SliceHeader]) -> tuple[str, ...]:
    """Return a sentence about slices of `find_broken_copies`, if there are any."""
    if not headers:
        return ()
    count, name = len(headers), headers[0].file.name
    verb = "file ends" if count == 1 else "files end"
    return (
        f"{count} {verb} in blank rows where the neighboring slices do not, first: {name}, as after a copy that broke "
        "off; copy the study again",
    )


def trailing_blank_rows(array: HounsfieldUnits) -> Indices:
    """Return how many rows at the end of each plane hold nothing but its last value, (planes,).

    >>> trailing_blank_rows(np.array([[[1, 2], [0, 0]], [[5, 5], [5, 5]]], np.int16)).tolist()
    [1, 2]
    """
    counts = np.zeros(len(array), np.intp)
    pending = np.arange(len(array))
    for row in range(array.shape[1] - 1, -1, -1):
        pending = pending[(array[pending, row] == array[pending, -1, -1][:, None]).all(axis=1)]
        if not len(pending):
            break
        counts[pending] += 1
    return counts


def _has_jump(counts: Indices, n_rows: int) -> npt.NDArray[np.bool_]:
    """Return which planes have many more blank rows than the last complete one, on the way from the most complete."""
    result = np.zeros(len(counts), np.bool_)
    start = int(counts.argmin())
    for way in (range(start, len(counts)), range(start, -1, -1)):
        complete = int(counts[start])
        for k in way:
            if counts[k] - complete > max(_MIN_JUMP_FRACTION * n_rows, 2):
                result[k] = True
            else:
                complete = int(counts[k])
    return result
