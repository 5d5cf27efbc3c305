"""Values of one vertebra on a lattice along the axes of the slices, from which slices are interpolated fast.

Slices of one stack are parallel, so that a lattice along their axes is interpolated axis by axis: two planes are
blended, then rows, then columns. The localizer's voxels are such a lattice where the slices lie along the patient's
axes. A field of saliency interpolates between the planes of three orientations, which costs too much for every pixel of
hundreds of slices. Its cells are 5 mm wide, so that a lattice of 1.5 mm holds it; the point of the strongest evidence
is a node of the lattice, where the maximum would otherwise be flattened.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.classification.saliency import EvidenceField
from cspine.core.processors import default_workers
from cspine.core.typing import Floats, Floats32
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.geometry import Stack
from cspine.spine.interpolation import interpolate_axis

_SALIENCY_SPACING_MM: Final = 1.5

_MIN_COSINE: Final = 1.0 - 1e-8
"""Of the angle between two axes that count as one: 0.03 mm over 200 mm."""


@dataclass(frozen=True)
class SliceLattice:
    """Values of one vertebra.

    Attributes
    ----------
    values : (planes, rows, columns) float32
        Saliency, or the probability that a voxel belongs to the vertebra; 0 to 1.
    low_mm : (3,)
        Coordinates of the first node along the axes of `axes_of`.
    axes : (3, 3)
        LPS unit vectors: the slices' normal, their direction down a column and their direction along a row.
    spacing_mm : float
        Distance between nodes.
    """

    values: Floats32
    low_mm: Floats
    axes: Floats
    spacing_mm: float = _SALIENCY_SPACING_MM

    @classmethod
    def of_voxels(cls, values: Floats32, affine_lps: Floats, stack: Stack) -> "SliceLattice | None":
        """Return cubic voxels as a lattice; None where their axes are not those of the slices.

        Parameters
        ----------
        values : (k, j, i) float32
            Values of the voxels.
        affine_lps : (4, 4)
            From ``[k, j, i, 1]`` to LPS mm.
        stack : Stack
            The slices.
        """
        axes = _axes_of(stack)
        sides_mm = np.linalg.norm(affine_lps[:3, :3], axis=0)
        cosines = axes @ affine_lps[:3, :3] / sides_mm
        order = np.abs(cosines).argmax(axis=1)
        signs = cosines[np.arange(3), order]
        if np.abs(signs).min() < _MIN_COSINE or np.ptp(sides_mm) > 0.0:
            return None
        first = np.zeros(3)
        for axis, sign in zip(order.tolist(), signs.tolist(), strict=True):
            first[axis] = 0.0 if sign > 0 else values.shape[axis] - 1
        low_mm = axes @ (affine_lps[:3, :3] @ first + affine_lps[:3, 3])
        flips = [slice(None, None, 1 if sign > 0 else -1) for sign in signs.tolist()]
        return cls(values.transpose(order.tolist())[tuple(flips)], low_mm, axes, float(sides_mm[0]))

    @classmethod
    def of_field(cls, field: EvidenceField, stack: Stack, node_lps_mm: Floats | None = None) -> "SliceLattice":
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
        axes = _axes_of(stack)
        settings, box = field.views.settings, field.views.box_lps
        half = np.maximum(np.array(settings.reach_mm) / 2, settings.half_mm)
        corners = np.array(np.meshgrid(*zip(-half, half, strict=True))).reshape(3, -1).T
        corners_mm = (corners @ box[:3, :3].T + box[:3, 3]) @ axes.T
        low, high = corners_mm.min(axis=0), corners_mm.max(axis=0)
        if node_lps_mm is not None:
            node = axes @ node_lps_mm
            low = node - np.ceil((node - low) / _SALIENCY_SPACING_MM) * _SALIENCY_SPACING_MM
        counts = np.ceil((high - low) / _SALIENCY_SPACING_MM).astype(int) + 1
        steps = [
            first + _SALIENCY_SPACING_MM * np.arange(count) for first, count in zip(low, counts.tolist(), strict=True)
        ]
        lps = sum(
            step.reshape([-1 if axis == number else 1 for axis in range(3)])[..., None] * axes[number]
            for number, step in enumerate(steps)
        )
        return cls(field.at(np.asarray(lps)), low, axes)

    @property
    def strongest(self) -> float:
        """The greatest value."""
        return float(self.values.max())

    @property
    def high_mm(self) -> Floats:
        """Coordinates of the last node, (3,)."""
        return np.asarray(self.low_mm + self.spacing_mm * (np.array(self.values.shape) - 1))

    def above(self, least: float) -> "SliceLattice":
        """Return the part of the lattice beyond which all interpolated values are below a limit.

        A value between nodes is no greater than the greatest of them, so that one node is kept around those that reach
        the limit. The whole lattice is returned if none does.
        """
        nodes = np.argwhere(self.values >= least)
        if not len(nodes):
            return self
        low, high = np.maximum(nodes.min(axis=0) - 1, 0), nodes.max(axis=0) + 2
        values = self.values[tuple(slice(first, last) for first, last in zip(low.tolist(), high.tolist(), strict=True))]
        return SliceLattice(values, self.low_mm + self.spacing_mm * low, self.axes, self.spacing_mm)

    def plane(self, position_lps_mm: Floats, rows_mm: Floats, columns_mm: Floats) -> Floats32 | None:
        """Return the values at the pixels of a slice.

        Parameters
        ----------
        position_lps_mm : (3,)
            The center of the slice's first pixel.
        rows_mm : (r,)
            Distances of rows from the first one, within the lattice (`pixels_within`).
        columns_mm : (c,)
            Distances of columns from the first one, within the lattice.

        Returns
        -------
        (r, c) float32 or None
            None where the slice lies beyond the lattice.
        """
        height, down, across = self.axes @ position_lps_mm - self.low_mm
        k = height / self.spacing_mm
        if not 0.0 <= k <= len(self.values) - 1:
            return None
        below = min(int(k), len(self.values) - 2)
        plane = (below + 1 - k) * self.values[below] + (k - below) * self.values[below + 1]
        rows = interpolate_axis(plane.astype(np.float32), 0, (rows_mm + down) / self.spacing_mm)
        return interpolate_axis(rows, 1, (columns_mm + across) / self.spacing_mm)


def saliency_lattices(
    fields: Mapping[str, EvidenceField], stack: Stack, nodes_lps_mm: Mapping[str, Floats]
) -> dict[str, SliceLattice]:
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
    with ThreadPoolExecutor(default_workers()) as threads:
        grids = threads.map(lambda level: SliceLattice.of_field(fields[level], stack, nodes_lps_mm.get(level)), fields)
        return dict(zip(fields, grids, strict=True))


def pixels_within(
    grid: SliceLattice, header: SliceHeader, stack: Stack, *, step: tuple[int, int] = (1, 1)
) -> tuple[range, range]:
    """Return the rows and the columns of a slice that a lattice covers; empty ranges where it covers none.

    Parameters
    ----------
    grid : SliceLattice
        The values of one vertebra.
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


def _axes_of(stack: Stack) -> Floats:
    return np.stack([stack.normal, stack.column_direction, stack.row_direction])
