"""The scan's voxels around the vertebrae, by which masks follow the bone more finely than the localizer's voxels."""

from dataclasses import dataclass
from typing import Final

import highdicom
import numpy as np

from cspine.core.typing import Floats, HounsfieldUnits
from cspine.spine.spine_map import VertebraLabelMap

_MARGIN: Final = 1
"""Voxels of the label map around those of vertebrae: interpolated probabilities are 0 beyond."""


@dataclass(frozen=True)
class BoneCrop:
    """A box of a volume that holds all vertebrae of a label map.

    Attributes
    ----------
    hu : (k, j, i) int16
        A copy, so that the volume's memory is freed.
    first : (int, int, int)
        Index of its first voxel in the volume.
    """

    hu: HounsfieldUnits
    first: tuple[int, int, int]

    @classmethod
    def of(cls, volume: highdicom.Volume, label_map: VertebraLabelMap) -> "BoneCrop | None":
        """Return the box of a volume; None where no vertebra lies in it.

        Parameters
        ----------
        volume : highdicom.Volume
            The scan that was localized.
        label_map : VertebraLabelMap
            Segmentation by the localizer.
        """
        voxels = np.argwhere(label_map.probability > 0.0)
        if not len(voxels):
            return None
        ends = voxels.min(axis=0) - _MARGIN, voxels.max(axis=0) + _MARGIN
        corners: Floats = np.array(np.meshgrid(*zip(*ends, strict=True)), float).reshape(3, -1)
        to_volume = volume.inverse_affine @ label_map.affine_lps
        indices = to_volume[:3, :3] @ corners + to_volume[:3, 3:]
        low = np.maximum(np.floor(indices.min(axis=1)), 0).astype(int)
        high = np.minimum(np.ceil(indices.max(axis=1)) + 1, volume.spatial_shape).astype(int)
        if (high <= low).any():
            return None
        box = tuple(slice(first, last) for first, last in zip(low.tolist(), high.tolist(), strict=True))
        first, second, third = low.tolist()
        return cls(volume.array[box].copy(), (first, second, third))

    def plane(self, k: int, rows: slice, columns: slice) -> HounsfieldUnits | None:
        """Return a rectangle of the volume's k-th plane; None where it does not lie within the box.

        Parameters
        ----------
        k : int
            Index of the plane in the volume.
        rows, columns : slice
            The rectangle, in the volume's indices.
        """
        first_k, first_row, first_column = self.first
        if not 0 <= k - first_k < len(self.hu):
            return None
        part = self.hu[k - first_k, max(rows.start - first_row, 0) : max(rows.stop - first_row, 0)]
        part = part[:, max(columns.start - first_column, 0) : max(columns.stop - first_column, 0)]
        is_within = part.shape == (rows.stop - rows.start, columns.stop - columns.start)
        return part if is_within else None
