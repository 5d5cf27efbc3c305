"""A series as one straight, even volume in Hounsfield units."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import highdicom
import numpy as np
import numpy.typing as npt

from cspine.errors import DicomError, GeometryError
from cspine.imaging.choice import HOUNSFIELD, choose_series
from cspine.imaging.codecs import NIFTI, transfer_syntax_name
from cspine.imaging.discovery import discover
from cspine.imaging.geometry import MAX_GAP_MM, STRAIGHT_DEG
from cspine.imaging.grid import Grid
from cspine.imaging.header import SliceHeader
from cspine.imaging.loadable import check_loadable
from cspine.imaging.pixels import AIR_HU
from cspine.imaging.read import read_planes
from cspine.imaging.series import Series
from cspine.progress import Progress, silent


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


def load_volume(
    source: str | Path | Series,
    *,
    rows: Range = None,
    slices: Range = None,
    step: int = 1,
    series_uid: str | None = None,
    max_gap_mm: float = MAX_GAP_MM,
    progress: Progress = silent,
) -> Volume:
    """Load one CT series as a volume.

    Slices are ordered by their position along the normal; a tilted gantry's sheared stack is made straight and
    uneven gaps are made even by linear interpolation, each said in the provenance.

    Parameters
    ----------
    source : str, Path or Series
        A path with one readable study, or a series of `discover`.
    rows : slice or (start, stop), optional
        The rows to keep; of slices that are made straight, rows of the canvas that holds them all, which is as many
        rows larger as they move.
    slices : slice or (start, stop), optional
        The slices to keep, counted along the normal; only these are decoded, or, where slices are resampled, those
        that they are made of. A slice may have a step of its own, which then counts instead of `step`.
    step : int
        Keep every `step`-th slice, row and column, without averaging; only JPEG 2000, which can be decoded at a
        fraction of its resolution, then gives its own low-pass at those pixels.
    series_uid : str, optional
        Of a path, read this series instead of the best.
    max_gap_mm : float
        The widest gap between slices that is bridged, in mm, where gaps are uneven.
    progress : Progress
        Told how many headers are read and slices decoded.

    Returns
    -------
    Volume
        int16 HU ``[k, j, i]`` with an affine to LPS mm; k grows along the slices' normal, which for axial slices
        is towards the head. Padding is -1024.

    Raises
    ------
    SourceError, ArchiveError, DicomError
        Nothing readable is there, or more than one study.
    GeometryError
        The slices do not form a volume: a gap is too wide (the place is named), or it is too large.
    DecodeError
        A file's pixels cannot be decoded.
    """
    if step < 1:
        raise GeometryError(f"step is {step}, but must be 1 or more")
    series = source if isinstance(source, Series) else _only_series(Path(source), series_uid, progress)
    grid = check_loadable(series, max_gap_mm=max_gap_mm)
    headers = [series.headers[index] for index in series.stack.order]
    keep = (_as_slices(slices, step), _as_slice(rows, step), slice(None, None, step))
    array = read_planes(headers, grid, keep, progress)
    if not array.size:
        raise GeometryError(f"{headers[0].file.name}: no slices or rows are left by the ranges asked for")
    affine = _crop_affine(grid.affine_lps, keep, grid.shape)
    used = headers[keep[0]] if grid.is_stack else headers
    return _volume(array, affine, series, used, said=[*_said(series, grid), *_doubts(array, headers)])


def _only_series(path: Path, series_uid: str | None, progress: Progress) -> Series:
    studies = discover(path, progress=progress).studies
    if len(studies) > 1:
        raise DicomError(f"{path}: holds {len(studies)} studies; give the folder of one of them")
    return choose_series(studies[0], series_uid=series_uid).chosen


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
