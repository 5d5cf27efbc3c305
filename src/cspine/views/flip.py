"""The left-right flip of level views, for augmentation in training and for test-time augmentation."""

from typing import Any, TypeVar

ArrayT = TypeVar("ArrayT", bound=Any)
"""A NumPy array or a PyTorch tensor."""


def flip_left_right(images: ArrayT, is_sagittal: Any) -> ArrayT:  # noqa: ANN401 - an array of the same library
    """Return level views, or maps of them, of the mirror image of the patient.

    Coronal and axial planes are reversed along their columns. A sagittal plane keeps its columns, because it is shown
    from the same side; the order of the neighboring planes that make its channels is reversed. The flip is its own
    inverse.

    Parameters
    ----------
    images : (levels, views, channels, rows, columns)
        NumPy array or PyTorch tensor; it is not changed.
    is_sagittal : (views,) bool
        Which of the views are sagittal; of the same library as `images`.

    >>> import numpy as np
    >>> views = np.arange(6).reshape(1, 2, 3, 1, 1) * np.array([1, 10])
    >>> flip_left_right(views, np.array([True, False]))[0, :, :, 0].tolist()
    [[[2, 20], [1, 10], [0, 0]], [[30, 3], [40, 4], [50, 5]]]
    """
    # Lists of indices, because PyTorch has no negative strides.
    columns = list(range(images.shape[-1]))[::-1]
    channels = list(range(images.shape[2]))[::-1]
    flipped: ArrayT = images[..., columns]
    flipped[:, is_sagittal] = images[:, is_sagittal][:, :, channels]
    return flipped


def flip_offsets(offsets_mm: ArrayT, is_sagittal: Any) -> ArrayT:  # noqa: ANN401 - an array of the same library
    """Return the offsets of views of the mirror image: those of sagittal views change their sign.

    Parameters
    ----------
    offsets_mm : (views,)
        How far each view lies from the center of the vertebra's box; NumPy array or PyTorch tensor.
    is_sagittal : (views,) bool
        Which of the views are sagittal; of the same library.
    """
    flipped: ArrayT = -offsets_mm
    flipped[~is_sagittal] = offsets_mm[~is_sagittal]
    return flipped
