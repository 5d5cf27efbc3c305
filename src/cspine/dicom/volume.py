"""A series as one straight, even volume in Hounsfield units."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import highdicom
import numpy as np
import numpy.typing as npt

from cspine.core.errors import GeometryError
from cspine.core.progress import Progress, silent
from cspine.dicom.codec.codecs import NIFTI, transfer_syntax_name
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.codec.pixels import AIR_HU
from cspine.dicom.geometry import STRAIGHT_DEG
from cspine.dicom.grid import Grid
from cspine.dicom.read_planes import read_planes
from cspine.dicom.series import Series
from cspine.dicom.series_selection import HOUNSFIELD


@dataclass(frozen=True)
class Provenance:
    """Where a volume comes from and what was done to it.

    Attributes
    ----------
    sop_instance_uids : tuple of str
        The slices read, in the volume's order; one per slice unless the stack was resampled.
    repairs : tuple of str
        A sentence for everything that is not as the files have it.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uids: tuple[str, ...]
    transfer_syntaxes: tuple[str, ...]
    bytes_read: int
    repairs: tuple[str, ...]


class Volume(highdicom.Volume):
    """A `highdicom.Volume` of int16 HU, indices ``[k, j, i]``, that knows where it comes from.

    Volumes derived from it (cropped, flipped) no longer carry the provenance.
    """

    provenance: Provenance | None = None


Range = slice | tuple[int, int] | None
_Kept = tuple[slice, slice, slice]

DENSE_HU: Final = -500
"""A scan that shows no air below this may not hold Hounsfield units; asked where nothing declares that it does."""


def read_volume(
    series: Series, grid: Grid, *, rows: Range = None, slices: Range = None, step: int = 1, progress: Progress = silent
) -> Volume:
    """Decode a series to a volume; parameters and result are those of `cspine.dicom.load_volume`.

    Parameters
    ----------
    series : Series
        What to decode.
    grid : Grid
        The voxel grid of `cspine.dicom.volume_checks.check_loadable`.
    rows, slices, step, progress
        As of `cspine.dicom.load_volume`.

    Raises
    ------
    GeometryError
        The ranges leave nothing to read.
    DecodeError
        The pixels of a file cannot be decoded.
    """
    headers = [series.headers[index] for index in series.stack.order]
    keep = (_as_slices(slices, step), _as_slice(rows, step), slice(None, None, step))
    array = read_planes(headers, grid, keep, progress)
    if not array.size:
        raise GeometryError(f"{headers[0].file.name}: no slices or rows are left by the ranges asked for")
    affine = _crop_affine(grid.affine_lps, keep, grid.shape)
    used = headers[keep[0]] if grid.is_stack else headers
    return _volume(array, affine, series, used, said=[*_said(series, grid), *_doubts(array, headers)])


def _volume(
    array: npt.NDArray[np.int16],
    affine: npt.NDArray[np.float64],
    series: Series,
    used: list[SliceHeader],
    *,
    said: Iterable[str],
) -> Volume:
    frame_of_reference = series.headers[0].frame_of_reference_uid
    volume = Volume(array, affine, "PATIENT", frame_of_reference_uid=frame_of_reference)
    volume.provenance = Provenance(
        study_instance_uid=series.study_instance_uid,
        series_instance_uid=series.series_instance_uid,
        sop_instance_uids=tuple(header.sop_instance_uid for header in used),
        transfer_syntaxes=tuple(sorted({transfer_syntax_name(header.transfer_syntax_uid) for header in used})),
        bytes_read=sum(file.size for file in {header.file for header in used}),
        repairs=tuple(said),
    )
    return volume


def _said(series: Series, grid: Grid) -> list[str]:
    """Return a sentence for everything in which the volume is not as the files have it."""
    stack, said = series.stack, _said_duplicates(series)
    if grid.shift is not None:
        place, jump = stack.widest_jump()
        if jump > min(stack.pixel_spacing_mm):
            after = series.headers[stack.order[place]].file.name
            said.append(f"the field of view moves by {jump:.1f} mm after {after}; slices put where they lie")
        if stack.tilt_deg > STRAIGHT_DEG or jump <= min(stack.pixel_spacing_mm):
            said.append(f"tilted by {stack.tilt_deg:.1f} degrees; resampled straight")
    if not stack.is_even:
        place, gap = stack.widest_gap()
        said.append(f"gaps from {stack.gaps_mm.min():.2f} to {gap:.2f} mm (widest after slice {place + 1}); made even")
    return said


def _said_duplicates(series: Series) -> list[str]:
    """Return a sentence about slices left out because another lies at the same place; none where there are none."""
    duplicates = series.stack.duplicates
    if not duplicates:
        return []
    left_out, kept = (series.headers[index].file.name for index in duplicates[0])
    count = len(duplicates)
    return [f"{count} duplicate slice{'s' * (count > 1)} left out, first: {left_out} lies where {kept} does"]


def _doubts(array: npt.NDArray[np.int16], headers: list[SliceHeader]) -> list[str]:
    """Say what about the values may not be as taken."""
    first, said = headers[0], []
    if first.transfer_syntax_uid == NIFTI:
        said.append("NIfTI does not tell what its values mean; taken as Hounsfield units")
    elif any("RescaleIntercept" in header.missing for header in headers):
        said.append("RescaleIntercept is missing; stored values taken as Hounsfield units")
    if any(header.rescale_type not in HOUNSFIELD - {"HU_MOD"} for header in headers):
        said.append("RescaleType is not HU; values taken as Hounsfield units")
    lowest = int(array[:: max(len(array) // 16, 1), ::4, ::4].min()) if said else AIR_HU
    if lowest > DENSE_HU:
        said.append(f"the lowest value is {lowest}, where air should be -1000: these may not be Hounsfield units")
    tag = first.gantry_tilt_deg
    if tag is not None and abs(tag) > 1.0 and _is_upright(headers):
        said.append(f"GantryDetectorTilt is {tag:.1f} degrees, but the slices lie straight; positions count")
    return said


def _is_upright(headers: list[SliceHeader]) -> bool:
    """Tell whether slices are exactly axial by their direction cosines."""
    orientation = headers[0].orientation or ()
    return all(abs(abs(cosine) - round(abs(cosine))) < 1e-4 for cosine in orientation)


def _as_slice(kept: Range, step: int) -> slice:
    if kept is None:
        return slice(None, None, step)
    if isinstance(kept, tuple):
        return slice(kept[0], kept[1], step)
    if kept.step not in {None, 1}:
        raise GeometryError("a range of rows has a step of its own; use load_volume's step")
    return slice(kept.start, kept.stop, step)


def _as_slices(kept: Range, step: int) -> slice:
    if not isinstance(kept, slice) or kept.step is None:
        return _as_slice(kept, step)
    if kept.step < 1:
        raise GeometryError(f"the slices' step is {kept.step}, but must be 1 or more")
    return kept


def _crop_affine(affine: npt.NDArray[np.float64], keep: _Kept, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Return the affine of what is kept: its origin moves, its steps grow."""
    start = np.array([keep[0].indices(shape[0])[0], keep[1].indices(shape[1])[0], 0.0, 1.0])
    cropped = affine.copy()
    cropped[:3, 3] = (affine @ start)[:3]
    cropped[:3, :3] *= [part.step or 1 for part in keep]
    return cropped
