"""The saliency of one vertebra on a lattice along the axes of the slices, from which slices are interpolated fast.

A field interpolates between the planes of three orientations, which costs too much for every pixel of hundreds of
slices. Its cells are 5 mm wide, so that a lattice of 1.5 mm holds it; the point of the strongest evidence is a node of
the lattice, where the maximum would otherwise be flattened. Slices of one stack are parallel, so that the lattice is
interpolated axis by axis: two planes are blended, then rows, then columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.classification.saliency import EvidenceField
from cspine.core.typing import Floats, Floats32
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.geometry import Stack

_SPACING_MM: Final = 1.5


@dataclass(frozen=True)
class SaliencyGrid:
    """The saliency of one vertebra.

    Attributes
    ----------
    values : (planes, rows, columns) float32
        Saliency, 0 to 1.
    low_mm : (3,)
        Coordinates of the first node along the axes of `axes_of`.
    axes : (3, 3)
        LPS unit vectors: the slices' normal, their direction down a column and their direction along a row.
    """

    values: Floats32
    low_mm: Floats
    axes: Floats

    @classmethod
    def of(cls, field: EvidenceField, stack: Stack, node_lps_mm: Floats | None = None) -> "SaliencyGrid":
        """Evaluate a field.

        Parameters
        ----------
        field : EvidenceField
            The saliency around the vertebra.
        stack : Stack
            The slices.
        node_lps_mm : (3,), optional
            A point that becomes a node.
        """
        axes = np.stack([stack.normal, stack.column_direction, stack.row_direction])
        settings, box = field.views.settings, field.views.box_lps
        half = np.maximum(np.array(settings.reach_mm) / 2, settings.half_mm)
        corners = np.array(np.meshgrid(*zip(-half, half, strict=True))).reshape(3, -1).T
        corners_mm = (corners @ box[:3, :3].T + box[:3, 3]) @ axes.T
        low, high = corners_mm.min(axis=0), corners_mm.max(axis=0)
        if node_lps_mm is not None:
            node = axes @ node_lps_mm
            low = node - np.ceil((node - low) / _SPACING_MM) * _SPACING_MM
        counts = np.ceil((high - low) / _SPACING_MM).astype(int) + 1
        steps = [first + _SPACING_MM * np.arange(count) for first, count in zip(low, counts.tolist(), strict=True)]
        lps = sum(
            step.reshape([-1 if axis == number else 1 for axis in range(3)])[..., None] * axes[number]
            for number, step in enumerate(steps)
        )
        return cls(field.at(np.asarray(lps)), low, axes)

    @property
    def strongest(self) -> float:
        """The greatest saliency."""
        return float(self.values.max())

    @property
    def high_mm(self) -> Floats:
        """Coordinates of the last node, (3,)."""
        return np.asarray(self.low_mm + _SPACING_MM * (np.array(self.values.shape) - 1))

    def above(self, saliency: float) -> "SaliencyGrid":
        """Return the part of the lattice beyond which all interpolated values are below a saliency.

        A value between nodes is no greater than the greatest of them, so that one node is kept around those that reach it.
        The whole lattice is returned if none does.
        """
        nodes = np.argwhere(self.values >= saliency)
        if not len(nodes):
            return self
        low, high = np.maximum(nodes.min(axis=0) - 1, 0), nodes.max(axis=0) + 2
        values = self.values[tuple(slice(first, last) for first, last in zip(low.tolist(), high.tolist(), strict=True))]
        return SaliencyGrid(values, self.low_mm + _SPACING_MM * low, self.axes)

    def plane(self, position_lps_mm: Floats, rows_mm: Floats, columns_mm: Floats) -> Floats32 | None:
        """Return the saliency at the pixels of a slice.

        Parameters
        ----------
        position_lps_mm : (3,)
            The center of the slice's first pixel.
        rows_mm : (r,)
            Distances of rows from the first one.
        columns_mm : (c,)
            Distances of columns from the first one.

        Returns
        -------
        (r, c) float32 or None
            None where the slice lies beyond the lattice.
        """
        height, down, across = self.axes @ position_lps_mm - self.low_mm
        k = height / _SPACING_MM
        if not 0.0 <= k <= len(self.values) - 1:
            return None
        below = min(int(k), len(self.values) - 2)
        plane = (below + 1 - k) * self.values[below] + (k - below) * self.values[below + 1]
        row_weights = _weights((rows_mm + down) / _SPACING_MM, plane.shape[0])
        column_weights = _weights((columns_mm + across) / _SPACING_MM, plane.shape[1])
        return np.asarray(row_weights @ plane.astype(np.float32) @ column_weights.T, np.float32)


def saliency_grids(
    fields: Mapping[str, EvidenceField], stack: Stack, nodes_lps_mm: Mapping[str, Floats]
) -> dict[str, SaliencyGrid]:
    """Return the saliency of each vertebra, by level.

    Parameters
    ----------
    fields : mapping of str to EvidenceField
        Fields of `cspine.classification.prediction.NetworkPrediction`, by level.
    stack : Stack
        The slices.
    nodes_lps_mm : mapping of str to (3,)
        The point of the strongest evidence of each level that has one.
    """
    return {level: SaliencyGrid.of(field, stack, nodes_lps_mm.get(level)) for level, field in fields.items()}


def pixels_within(
    grid: SaliencyGrid, header: SliceHeader, stack: Stack, *, step: tuple[int, int] = (1, 1)
) -> tuple[range, range]:
    """Return the rows and the columns of a slice that a lattice covers; empty ranges where it covers none.

    Parameters
    ----------
    grid : SaliencyGrid
        The saliency of one vertebra.
    header : SliceHeader
        The slice.
    stack : Stack
        The slices.
    step : (int, int)
        Every how many rows, and columns.
    """
    position = grid.axes @ np.array(header.position_mm)
    ranges = []
    for axis, (spacing_mm, count, every) in enumerate(
        zip(stack.pixel_spacing_mm, (header.rows or 0, header.columns or 0), step, strict=True), start=1
    ):
        first = int(np.ceil((grid.low_mm[axis] - position[axis]) / spacing_mm))
        last = int(np.floor((grid.high_mm[axis] - position[axis]) / spacing_mm))
        ranges.append(range(-(-max(first, 0) // every) * every, min(last + 1, count), every))
    return ranges[0], ranges[1]


def _weights(index: Floats, count: int) -> Floats32:
    """Return the matrix, (index, count), of linear interpolation between nodes; 0 beyond the outermost."""
    distance = np.abs(index[:, None] - np.arange(count))
    return np.clip(1.0 - distance, 0.0, None).astype(np.float32)
