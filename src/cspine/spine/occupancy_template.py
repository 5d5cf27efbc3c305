"""Occupancy templates: how a vertebra of a level fills its own frame on average.

From the template and the frame alone follows which fraction of a vertebra lies inside the scan, also where the rest of
it was not scanned.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cspine.core.typing import Bools, Floats

IsInside = Callable[[Floats], Bools]
"""Maps points, (n, 3) LPS mm, to whether each lies inside a region, (n,)."""

CELL_MM: Final = 5.0
"""Side of a cell; a vertebra fills about a hundred."""

_MIN_OCCUPANCY: Final = 0.1
"""Cells with a lower mean occupancy are left out: they are filled in few vertebrae only."""

Cell = tuple[int, int, int, float]
"""Index of a cell along x, y and z of the frame, and its mean occupancy."""


class OccupancyTemplate(BaseModel):
    """Mean occupancy of the cells of a vertebra's own frame."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    cells: tuple[Cell, ...] = Field(
        min_length=1,
        max_length=4000,
        description="Index of each cell along x, y and z, and the fraction of it that is bone.",
    )

    def scanned_fraction(self, frame_lps: Floats, is_inside: IsInside) -> float:
        """Return which fraction of a vertebra lies inside a region.

        Parameters
        ----------
        frame_lps : (4, 4)
            Affine from the vertebra's frame to LPS mm.
        is_inside : callable
            Maps points, (n, 3) LPS mm, to whether each is inside.
        """
        values = np.array(self.cells, np.float64)
        centers_mm, occupancy = CELL_MM * (values[:, :3] + 0.5), values[:, 3]
        lps = centers_mm @ frame_lps[:3, :3].T + frame_lps[:3, 3]
        return float(occupancy[is_inside(lps)].sum() / occupancy.sum())


def mean_occupancy_template(vertebrae: list[Floats], voxel_mm3: float) -> OccupancyTemplate:
    """Return the mean occupancy of several vertebrae of one level.

    Parameters
    ----------
    vertebrae : list of (n, 3)
        The centers of each vertebra's voxels in its own frame, in mm.
    voxel_mm3 : float
        Volume of one voxel.
    """
    points_mm = np.concatenate(vertebrae)
    low, high = (np.floor(edge / CELL_MM).astype(int) for edge in (points_mm.min(axis=0), points_mm.max(axis=0)))
    n_voxels = np.zeros(high - low + 1)
    for vertebra in vertebrae:
        np.add.at(n_voxels, tuple((np.floor(vertebra / CELL_MM).astype(int) - low).T), 1.0)
    occupancy = n_voxels * voxel_mm3 / CELL_MM**3 / len(vertebrae)
    x, y, z = np.nonzero(occupancy >= _MIN_OCCUPANCY)
    indices = (np.stack([x, y, z], axis=1) + low).tolist()
    return OccupancyTemplate(
        cells=tuple(
            (*index, round(fraction, 2)) for index, fraction in zip(indices, occupancy[x, y, z].tolist(), strict=True)
        )
    )
