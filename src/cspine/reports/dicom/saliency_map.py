"""The saliency of every voxel as a DICOM Parametric Map, for machines and for viewers that blend."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from highdicom import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence
from highdicom.pm import ParametricMap, RealWorldValueMapping
from pydicom.uid import JPEGLSLossless

from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.geometry import Stack
from cspine.reports.dicom import derived_series
from cspine.reports.dicom.codes import NO_UNITS, SALIENCY
from cspine.reports.dicom.report_context import ReportContext
from cspine.reports.dicom.slice_lattice import SliceLattice, pixels_within
from cspine.reports.dicom.source_images import SourceImages

_MAX_PIXEL_MM: Final = 1.0
"""Pixels are those of the slices, of which only every n-th row and column is kept as long as they are no coarser."""

_MIN_SALIENCY: Final = 0.02
"""Slices with less are omitted, and weaker pixels are 0."""

_MAX_VALUE: Final = 1000
"""Stored value of the greatest saliency; parametric maps have 16 bits."""


@dataclass(frozen=True)
class _Frame:
    """One slice's part of the map."""

    header: SliceHeader
    values: npt.NDArray[np.uint16]


def saliency_map(
    context: ReportContext, source: SourceImages, grids: Mapping[str, SliceLattice], stack: Stack
) -> ParametricMap | None:
    """Return the maximum of the saliency over all vertebrae, on the slices where it is not negligible.

    Stored values are 0 to 1000 and map to the network's uncalibrated score from 0 to 1.

    Parameters
    ----------
    context, source
        As of `cspine.reports.dicom.structured_report.structured_report`.
    grids : mapping of str to SliceLattice
        The saliency of each vertebra.
    stack : Stack
        The slices.

    Returns
    -------
    ParametricMap or None
        None where all saliency is negligible.
    """
    step = _step(stack)
    shown = {level: grid.above(_MIN_SALIENCY) for level, grid in grids.items() if grid.strongest >= _MIN_SALIENCY}
    frames, corner = _frames(source, shown, stack, step)
    if not frames:
        return None
    first = frames[0].header
    row_mm, column_mm = stack.pixel_spacing_mm
    offset_mm = corner[0] * row_mm * stack.column_direction + corner[1] * column_mm * stack.row_direction
    mapping = RealWorldValueMapping(
        lut_label="SALIENCY",
        lut_explanation="Uncalibrated score of a fracture",
        unit=NO_UNITS,
        value_range=(0, _MAX_VALUE),
        slope=1.0 / _MAX_VALUE,
        intercept=0.0,
        quantity_definition=SALIENCY,
    )
    datasets = (
        source.datasets if source.is_multi_frame else [source.dataset_of(f.header.sop_instance_uid) for f in frames]
    )
    parametric_map = ParametricMap(
        source_images=list(datasets),
        pixel_array=np.stack([frame.values for frame in frames]),
        pixel_measures=PixelMeasuresSequence(
            pixel_spacing=(row_mm * step[0], column_mm * step[1]),
            slice_thickness=first.slice_thickness_mm or stack.spacing_mm,
        ),
        plane_orientation=PlaneOrientationSequence("PATIENT", [*stack.row_direction, *stack.column_direction]),
        plane_positions=[
            PlanePositionSequence("PATIENT", (np.array(frame.header.position_mm) + offset_mm).tolist())
            for frame in frames
        ],
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        window_center=_MAX_VALUE / 2,
        window_width=_MAX_VALUE,
        transfer_syntax_uid=JPEGLSLossless,
        content_label="SALIENCY",
        content_description="Saliency: uncalibrated fracture score of each voxel",
        **context.series_attributes(derived_series.SALIENCY),
    )
    parametric_map.BodyPartExamined = "CSPINE"
    context.set_dimension_uid(parametric_map, derived_series.SALIENCY)
    return parametric_map


def _step(stack: Stack) -> tuple[int, int]:
    """Return every how many rows, and columns, are kept."""
    row_mm, column_mm = stack.pixel_spacing_mm
    return max(int(_MAX_PIXEL_MM / row_mm), 1), max(int(_MAX_PIXEL_MM / column_mm), 1)


def _frames(
    source: SourceImages, grids: Mapping[str, SliceLattice], stack: Stack, step: tuple[int, int]
) -> tuple[list[_Frame], tuple[int, int]]:
    """Return the slices of the map, and the row and the column of its first pixel."""
    headers = [header for header in source.headers if header is not None]
    covered = {
        (level, index): ranges
        for level, grid in grids.items()
        for index, header in enumerate(headers)
        if all(ranges := pixels_within(grid, header, stack, step=step))
    }
    if not covered:
        return [], (0, 0)
    corner = tuple(min(ranges[axis].start for ranges in covered.values()) for axis in (0, 1))
    size = tuple(
        (max(ranges[axis][-1] for ranges in covered.values()) - corner[axis]) // step[axis] + 1 for axis in (0, 1)
    )
    row_mm, column_mm = stack.pixel_spacing_mm
    frames = []
    for index, header in enumerate(headers):
        strongest = np.zeros(size, np.float32)
        for level, grid in grids.items():
            if (level, index) not in covered:
                continue
            rows, columns = covered[level, index]
            values = grid.plane(np.array(header.position_mm), row_mm * np.array(rows), column_mm * np.array(columns))
            if values is None:
                continue
            top, left = (rows.start - corner[0]) // step[0], (columns.start - corner[1]) // step[1]
            patch = strongest[top : top + len(rows), left : left + len(columns)]
            np.maximum(patch, values, out=patch)
        strongest[strongest < _MIN_SALIENCY] = 0.0
        if strongest.any():
            frames.append(_Frame(header, np.rint(np.clip(strongest, 0.0, 1.0) * _MAX_VALUE).astype(np.uint16)))
    return frames, (corner[0], corner[1])
