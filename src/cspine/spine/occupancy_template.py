"""Occupancy templates: how a vertebra of a level fills its own frame on average.

From the template and the frame alone follows which fraction of a vertebra lies inside the scan, also where the rest of
it was not scanned.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cspine.core.typing import Bools, Floats

Sample = Callable[[Floats], Floats]
"""Maps points, (n, 3) LPS mm, to Hounsfield units, (n,), nan outside the scan."""

BONE_WINDOW_HU: Final = (0.0, 500.0)
"""Attenuation is clipped to this range before it is compared: fat and air are alike, and so are cortex and metal."""

MIN_COMPARED_FRACTION: Final = 0.7
"""A template is compared where at least this fraction of its bone lies inside the scan."""

IsInside = Callable[[Floats], Bools]
"""Maps points, (n, 3) LPS mm, to whether each lies inside a region, (n,)."""

CELL_MM: Final = 5.0
"""Side of a cell; a vertebra fills about a hundred."""

_PARTS: Final = 2
"""Parts of a cell along each axis that are inside or outside a region: a cell is as high as a third of a body."""

_MIN_OCCUPANCY: Final = 0.1
"""Cells with a lower mean occupancy are left out: they are filled in few vertebrae only."""

_MIN_BOX_OCCUPANCY: Final = 0.3
"""Cells with a lower mean occupancy lie at the tips of processes, beyond those of most people."""

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

    def agreement(self, frame_lps: Floats, sample: Sample) -> float | None:
        """Return how well the attenuation around a frame agrees with the template, -1 to 1.

        It is the Pearson correlation between the occupancy of the cells, with one cell of margin on all sides, and the
        attenuation at their centers, clipped to `BONE_WINDOW_HU`.

        Parameters
        ----------
        frame_lps : (4, 4)
            Affine from the vertebra's frame to LPS mm; it may reverse axes.
        sample : callable
            Maps points, (n, 3) LPS mm, to HU, (n,), and to nan outside the scan.

        Returns
        -------
        float or None
            None where less than `MIN_COMPARED_FRACTION` of the template lies inside the scan.
        """
        return self.best_agreement(frame_lps, sample, np.zeros((1, 3)))

    def best_agreement(self, frame_lps: Floats, sample: Sample, shifts_mm: Floats) -> float | None:
        """Return the best agreement over shifts of the template, (n, 3) mm along the frame's axes; see `agreement`."""
        centers_mm, occupancy = self.grid
        turn, origin = frame_lps[:3, :3], frame_lps[:3, 3:]
        lps_mm = (turn @ shifts_mm.T)[:, :, None] + (turn @ centers_mm.T + origin)[:, None]
        hu = sample(lps_mm.reshape(3, -1).T).reshape(len(shifts_mm), -1)
        correlations = _correlations(hu, occupancy)
        return float(np.nanmax(correlations)) if np.isfinite(correlations).any() else None

    @cached_property
    def grid(self) -> tuple[Floats, Floats]:
        """Centers of all cells of the box around the template, (n, 3) mm, and their occupancy, (n,)."""
        values = np.array(self.cells, np.float64)
        index = values[:, :3].astype(np.intp)
        low, high = index.min(axis=0) - 1, index.max(axis=0) + 1
        occupancy = np.zeros(high - low + 1)
        occupancy[tuple((index - low).T)] = values[:, 3]
        cells = np.argwhere(np.ones(occupancy.shape, np.bool_)) + low
        return CELL_MM * (cells + 0.5), occupancy.reshape(-1)

    @cached_property
    def box_mm(self) -> tuple[Floats, Floats]:
        """Lower and upper corner, (3,) mm, of the box about cells filled by at least `_MIN_BOX_OCCUPANCY`."""
        values = np.array(self.cells, np.float64)
        cells = values[values[:, 3] >= min(_MIN_BOX_OCCUPANCY, values[:, 3].max()), :3]
        return CELL_MM * cells.min(axis=0), CELL_MM * (cells.max(axis=0) + 1.0)

    def scanned_fraction(self, frame_lps: Floats, is_inside: IsInside) -> float:
        """Return which fraction of a vertebra lies inside a region.

        Parameters
        ----------
        frame_lps : (4, 4)
            Affine from the vertebra's frame to LPS mm.
        is_inside : callable
            Maps points, (n, 3) LPS mm, to whether each is inside.
        """
        points_mm, occupancy = self._parts
        inside = is_inside(points_mm @ frame_lps[:3, :3].T + frame_lps[:3, 3]).reshape(len(occupancy), -1)
        return float(inside.mean(axis=1) @ occupancy / occupancy.sum())

    @cached_property
    def _parts(self) -> tuple[Floats, Floats]:
        """Centers of the parts of all cells, (n `_PARTS`^3, 3) mm, and the occupancy of each cell, (n,)."""
        values = np.array(self.cells, np.float64)
        within = (np.arange(_PARTS) + 0.5) / _PARTS
        parts = np.stack(np.meshgrid(within, within, within, indexing="ij"), axis=-1).reshape(-1, 3)
        return CELL_MM * (values[:, None, :3] + parts).reshape(-1, 3), values[:, 3]


def _correlations(hu: Floats, occupancy: Floats) -> Floats:
    """Return the correlation of each row of HU, (m, n), nan outside the scan, with the occupancy, (n,).

    Returns
    -------
    (m,)
        nan where too little was scanned.
    """
    bone = np.clip(hu, *BONE_WINDOW_HU)
    is_scanned = np.isfinite(bone)
    is_enough = is_scanned @ occupancy >= MIN_COMPARED_FRACTION * occupancy.sum()
    count = np.maximum(is_scanned.sum(axis=1), 1)
    bone -= (np.nansum(bone, axis=1) / count)[:, None]
    expected = np.where(is_scanned, occupancy - (is_scanned @ occupancy / count)[:, None], 0.0)
    bone[~is_scanned] = 0.0
    norm = np.sqrt((bone**2).sum(axis=1) * (expected**2).sum(axis=1))
    product = (bone * expected).sum(axis=1)
    correlation = np.divide(product, norm, out=np.zeros(len(hu)), where=norm > 0)
    return np.where(is_enough, correlation, np.nan)


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
