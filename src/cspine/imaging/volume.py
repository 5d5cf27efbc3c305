"""A series as one straight, even volume in Hounsfield units."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import highdicom
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cspine.errors import DecodeError, DicomError, GeometryError
from cspine.imaging.decode import AIR_HU, decode_slice, transfer_syntax_name
from cspine.imaging.geometry import MAX_GAP_MM, Stack
from cspine.imaging.header import SliceHeader, quiet
from cspine.imaging.series import Series, choose_series, discover
from cspine.progress import Progress, silent
from cspine.scale import default_workers

MAX_VOLUME_BYTES: Final = 8 * 2**30
"""A larger volume is refused before memory is asked for; the challenge's largest is 1.3 GB."""


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


def load_volume(
    source: str | Path | Series,
    *,
    rows: Range = None,
    slices: Range = None,
    step: int = 1,
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
        The image rows to keep.
    slices : slice or (start, stop), optional
        The slices to keep, counted along the normal; of an even, straight stack only these are decoded.
    step : int
        Keep every `step`-th slice, row and column, without averaging.
    max_gap_mm : float
        The widest gap between slices that is bridged, in mm, where gaps are uneven.
    progress : Progress
        Told how many slices are decoded.

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
    series = source if isinstance(source, Series) else _only_series(Path(source))
    check_loadable(series, max_gap_mm=max_gap_mm)
    keep = (_as_slice(slices, step), _as_slice(rows, step), slice(None, None, step))
    stack = series.stack
    load = _load_as_it_is if stack.is_straight and stack.is_even else _load_resampled
    return load(series, keep, progress)


def _load_as_it_is(series: Series, keep: _Kept, progress: Progress) -> Volume:
    """Decode the slices asked for and no others."""
    stack = series.stack
    headers = [series.headers[index] for index in stack.order]
    used = headers[keep[0]]
    array = _decode(used, keep[1], keep[2], progress)
    affine = _crop_affine(stack.affine_lps(), keep, (len(headers), headers[0].rows or 0))
    return _volume(array, affine, series, used, _said_duplicates(series))


def _load_resampled(series: Series, keep: _Kept, progress: Progress) -> Volume:
    """Decode all slices, make them straight and even, and keep what is asked for."""
    headers = [series.headers[index] for index in series.stack.order]
    full = _decode(headers, slice(None), slice(None), progress)
    full, affine, said = _straighten(full, series.stack)
    affine = _crop_affine(affine, keep, (full.shape[0], full.shape[1]))
    return _volume(full[keep], affine, series, headers, [*_said_duplicates(series), *said])


def check_loadable(series: Series, *, max_gap_mm: float = MAX_GAP_MM) -> None:
    """Hold, from the headers alone, that a series can be made a volume.

    Raises
    ------
    DicomError
        What places the slices is missing.
    GeometryError
        A gap is too wide, or the volume too large.
    """
    stack = series.stack
    _check_size(series, stack)
    _check_gaps(series, stack, max_gap_mm)


def _only_series(path: Path) -> Series:
    studies = discover(path).studies
    if len(studies) > 1:
        raise DicomError(f"{path}: holds {len(studies)} studies; give the folder of one of them")
    return choose_series(studies[0]).chosen


def _volume(
    array: npt.NDArray[np.int16],
    affine: npt.NDArray[np.float64],
    series: Series,
    used: list[SliceHeader],
    repairs: Iterable[str],
) -> Volume:
    if not array.size:
        raise GeometryError(f"{series.headers[0].file.name}: no slices or rows are left by the ranges asked for")
    frame_of_reference = series.headers[0].frame_of_reference_uid
    volume = Volume(array, affine, "PATIENT", frame_of_reference_uid=frame_of_reference)
    volume.provenance = Provenance(
        study_instance_uid=series.study_instance_uid,
        series_instance_uid=series.series_instance_uid,
        sop_instance_uids=tuple(header.sop_instance_uid for header in used),
        transfer_syntaxes=tuple(sorted({transfer_syntax_name(header.transfer_syntax_uid) for header in used})),
        bytes_read=sum(header.file.size for header in used),
        repairs=tuple(repairs),
    )
    return volume


def _check_size(series: Series, stack: Stack) -> None:
    first = series.headers[0]
    size = len(stack.order) * (first.rows or 0) * (first.columns or 0) * 2
    if size > MAX_VOLUME_BYTES:
        raise GeometryError(
            f"{first.file.name}: its series would take {size / 2**30:.1f} GiB, at most "
            f"{MAX_VOLUME_BYTES / 2**30:.0f} GiB are loaded; send fewer or smaller slices"
        )


def _check_gaps(series: Series, stack: Stack, max_gap_mm: float) -> None:
    if len(stack.order) < 2 or stack.is_even:
        return
    place, gap = stack.widest_gap()
    if gap > max_gap_mm:
        names = [series.headers[stack.order[k]].file.name for k in (place, place + 1)]
        raise GeometryError(
            f"{names[0]} and {names[1]}: a {gap:.1f} mm gap between them where slices are {stack.spacing_mm:.1f} mm "
            f"apart, at most {max_gap_mm:.1f} mm is bridged; send the missing slices or pass --max-gap-mm {gap:.1f}"
        )


def _said_duplicates(series: Series) -> list[str]:
    """Return a sentence about slices left out because another lies at the same place; none where there are none."""
    duplicates = series.stack.duplicates
    if not duplicates:
        return []
    left_out, kept = (series.headers[index].file.name for index in duplicates[0])
    count = len(duplicates)
    return [f"{count} duplicate slice{'s' * (count > 1)} left out, first: {left_out} lies where {kept} does"]


def _as_slice(kept: Range, step: int) -> slice:
    if kept is None:
        return slice(None, None, step)
    if isinstance(kept, tuple):
        return slice(kept[0], kept[1], step)
    if kept.step not in {None, 1}:
        raise GeometryError("a range has a step of its own; use load_volume's step")
    return slice(kept.start, kept.stop, step)


def _crop_affine(affine: npt.NDArray[np.float64], keep: _Kept, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return the affine of what is kept: its origin moves, its steps grow."""
    start = np.array([keep[0].indices(shape[0])[0], keep[1].indices(shape[1])[0], 0.0, 1.0])
    cropped = affine.copy()
    cropped[:3, 3] = (affine @ start)[:3]
    cropped[:3, :3] *= keep[0].step or 1
    return cropped


def _decode(headers: list[SliceHeader], keep_j: slice, keep_i: slice, progress: Progress) -> npt.NDArray[np.int16]:
    """Decode slices in several threads into one array that is allocated once."""
    if not headers:
        return np.empty((0, 0, 0), np.int16)
    rows, columns = range(headers[0].rows or 0)[keep_j], range(headers[0].columns or 0)[keep_i]
    array = np.empty((len(headers), len(rows), len(columns)), np.int16)

    def decode_into(k: int) -> None:
        array[k] = decode_slice(headers[k])[keep_j, keep_i]

    progress("decode", 0, len(headers))
    with quiet(), ThreadPoolExecutor(min(default_workers(), 8)) as threads:
        jobs = [threads.submit(decode_into, k) for k in range(len(headers))]
        try:
            for done, job in enumerate(jobs, start=1):
                job.result()
                progress("decode", done, len(headers))
        except DecodeError:
            threads.shutdown(cancel_futures=True)
            raise
    return array


def _straighten(
    array: npt.NDArray[np.int16], stack: Stack
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float64], list[str]]:
    """Resample a sheared or uneven stack onto a straight, even grid; returns array, affine and what was done."""
    said: list[str] = []
    origin = (0.0, 0.0)
    if not stack.is_straight:
        array, origin = _unshear(array, stack)
        said.append(f"tilted by {stack.tilt_deg:.1f} degrees; resampled straight")
    if stack.is_even:
        return array, stack.affine_lps(drift_origin_mm=origin), said
    count = round(float(stack.along_mm[-1]) / stack.spacing_mm) + 1
    spacing = float(stack.along_mm[-1]) / (count - 1)
    place, gap = stack.widest_gap()
    said.append(f"gaps from {stack.gaps_mm.min():.2f} to {gap:.2f} mm (widest after slice {place + 1}); made even")
    at = np.interp(np.arange(count) * spacing, stack.along_mm, np.arange(len(stack.along_mm)))
    even = np.empty((count, *array.shape[1:]), np.int16)
    for k, place_k in enumerate(at):
        below = min(int(place_k), len(array) - 2)
        part = place_k - below
        even[k] = np.rint((1.0 - part) * array[below] + part * array[below + 1])
    return even, stack.affine_lps(spacing, origin), said


def _unshear(array: npt.NDArray[np.int16], stack: Stack) -> tuple[npt.NDArray[np.int16], tuple[float, float]]:
    """Shift every slice in its plane to where it lies, on a canvas that holds them all."""
    row_mm, column_mm = stack.pixel_spacing_mm
    shift = stack.drift_mm[:, ::-1] / (row_mm, column_mm)  # [k] -> (j, i) in pixels
    low = np.floor(shift.min(axis=0))
    margin = np.ceil(shift.max(axis=0) - low).astype(int)
    count, height, width = array.shape
    straight = np.full((count, height + int(margin[0]), width + int(margin[1])), AIR_HU, np.int16)
    for k in range(count):
        padded = np.full(straight.shape[1:], AIR_HU, np.int16)
        padded[:height, :width] = array[k]
        ndimage.shift(padded, shift[k] - low, output=straight[k], order=1, mode="constant", cval=AIR_HU)
    return straight, (float(low[1] * column_mm), float(low[0] * row_mm))
