"""How a vertebra fills its own frame on average: what tells how much of one a scan shows, whatever lies beyond it."""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from cspine.core.typing import Floats

Inside = Callable[[Floats], npt.NDArray[np.bool_]]

CELL_MM: Final = 5.0
"""Side of a cell: a vertebra fills about a hundred."""

_LEAST: Final = 0.1
"""Cells that are filled less on average belong to no ordinary vertebra."""

Cell = tuple[int, int, int, float]


class OccupancyTemplate(BaseModel):
    """How a vertebra fills the cells of its own frame."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cells: tuple[Cell, ...] = Field(
        min_length=1, max_length=4000, description="Number of each cell along x, y and z, and how much of it is bone."
    )

    def scanned_fraction(self, frame_lps: Floats, inside: Inside) -> float:
        """Return how much of the vertebra lies inside something.

        Parameters
        ----------
        frame_lps : (4, 4)
            From its frame to LPS mm.
        inside : callable
            Tells of places, (n, 3) LPS mm, which are inside.
        """
        values = np.array(self.cells, np.float64)
        places, bone = CELL_MM * (values[:, :3] + 0.5), values[:, 3]
        lps = places @ frame_lps[:3, :3].T + frame_lps[:3, 3]
        return float(bone[inside(lps)].sum() / bone.sum())


def mean_occupancy_template(vertebrae: list[Floats], voxel_mm3: float) -> OccupancyTemplate:
    """Return the mean of several vertebrae.

    Parameters
    ----------
    vertebrae : list of (n, 3)
        Where each one's voxels lie in its own frame, mm.
    voxel_mm3 : float
        Of one voxel.
    """
    low, high = (np.floor(edge / CELL_MM).astype(int) for edge in _edges(vertebrae))
    bone = np.zeros(high - low + 1)
    for places in vertebrae:
        np.add.at(bone, tuple((np.floor(places / CELL_MM).astype(int) - low).T), 1.0)
    filled = bone * voxel_mm3 / CELL_MM**3 / len(vertebrae)
    x, y, z = np.nonzero(filled >= _LEAST)
    numbers = (np.stack([x, y, z], axis=1) + low).tolist()
    return OccupancyTemplate(
        cells=tuple((*at, round(part, 2)) for at, part in zip(numbers, filled[x, y, z].tolist(), strict=True))
    )


def _edges(vertebrae: list[Floats]) -> tuple[Floats, Floats]:
    everything = np.concatenate(vertebrae)
    return everything.min(axis=0), everything.max(axis=0)
