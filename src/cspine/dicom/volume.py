"""Decode a series to one straight, even volume in Hounsfield units, with its provenance."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import highdicom
import numpy as np

from cspine.core.errors import GeometryError
from cspine.core.progress import Progress, silent
from cspine.core.typing import Floats, HounsfieldUnits
from cspine.dicom.attenuation.check import check_attenuation
from cspine.dicom.codec.codecs import NIFTI, transfer_syntax_name
from cspine.dicom.codec.frames import FrameCache
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.geometry import MAX_STRAIGHT_TILT_DEG
from cspine.dicom.grid import Grid
from cspine.dicom.hounsfield import AIR_HU, HOUNSFIELD_RESCALE_TYPES, MAX_AIR_HU
from cspine.dicom.read_planes import DecodedPlanes, read_planes
from cspine.dicom.series import Series


@dataclass(frozen=True)
class Provenance:
    """The files that a volume was made from, and how it differs from them.

    Attributes
    ----------
    study_instance_uid, series_instance_uid : str
        UIDs of the series.
    sop_instance_uids : tuple of str
        SOPInstanceUIDs of the slices read, in the volume's order; one per plane unless the stack was resampled.
    transfer_syntaxes : tuple of str
        Names of the files' transfer syntaxes.
    bytes_read : int
        Size of the files, in bytes.
    repairs : tuple of str
        One sentence for each resampling, removed duplicate or doubtful assumption.
    bridged_planes : tuple of int
        Indices of the volume's planes that were interpolated across missing slices, rising.
    pixel_digest : str
        Hash of the decoded slices, in order: the same for the same values in HU, whatever the transfer syntax.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uids: tuple[str, ...]
    transfer_syntaxes: tuple[str, ...]
    bytes_read: int
    repairs: tuple[str, ...]
    bridged_planes: tuple[int, ...] = ()
    pixel_digest: str = ""


class Volume(highdicom.Volume):
    """A `highdicom.Volume` of int16 HU, indices ``[k, j, i]``, with its provenance.

    Volumes derived from it, such as cropped or flipped ones, carry neither provenance nor series.

    Attributes
    ----------
    provenance : Provenance or None
        The files it was made from.
    series : Series or None
        The series it was made from, by whose headers single slices are Hounsfield units, too.
    """

    provenance: Provenance | None = None
    series: Series | None = None


MAX_JUMP_HU: Final = 700.0
"""Largest difference of the means of neighboring planes; it is below 350 in the real CT measured, crops included."""

Range = slice | tuple[int, int] | None
"""A range of rows or slices to keep, as a slice or (start, stop); all of them where None."""

_Kept = tuple[slice, slice, slice]


def read_volume(
    series: Series, grid: Grid, *, rows: Range = None, slices: Range = None, step: int = 1, progress: Progress = silent
) -> Volume:
    """Decode a series to a volume.

    Parameters
    ----------
    series : Series
        The series to decode.
    grid : Grid
        The voxel grid of `cspine.dicom.volume_checks.check_loadable`.
    rows, slices, step, progress
        As in `cspine.dicom.load_volume`.

    Returns
    -------
    Volume
        As of `cspine.dicom.load_volume`.

    Raises
    ------
    GeometryError
        The requested ranges are empty.
    DecodeError
        The pixels of a file cannot be decoded.
    NotHounsfieldError
        The values are certainly not Hounsfield units.
    """
    cache = FrameCache()
    checked = check_attenuation([series.headers[index] for index in series.stack.order], cache)
    headers = checked.headers
    keep = (_as_slices(slices, step), _as_slice(rows, step), slice(None, None, step))
    planes = read_planes(headers, grid, keep, progress, cache)
    array = planes.hu
    if not array.size:
        raise GeometryError(f"{headers[0].file.name}: the requested ranges of slices and rows are empty; widen them")
    affine = _crop_affine(grid.affine_lps, keep, grid.shape)
    sources = headers[keep[0]] if grid.is_stack else headers
    repairs = [
        *_describe_repairs(series, grid),
        *_describe_doubts(array, headers, is_corrected=bool(checked.repairs)),
        *checked.repairs,
        *_describe_overflow(cache, headers),
        *_describe_jumps(array),
    ]
    bridged = np.flatnonzero(grid.is_bridged[keep[0]]).tolist()
    volume = _make_volume(planes, affine, series, sources, repairs=repairs, bridged_planes=bridged)
    if checked.repairs:
        corrected = dict(zip(series.stack.order.tolist(), headers, strict=True))
        volume.series = replace(
            series, headers=tuple(corrected.get(index, header) for index, header in enumerate(series.headers))
        )
    return volume


def _make_volume(
    planes: DecodedPlanes,
    affine: Floats,
    series: Series,
    sources: list[SliceHeader],
    *,
    repairs: Iterable[str],
    bridged_planes: Iterable[int],
) -> Volume:
    frame_of_reference = series.headers[0].frame_of_reference_uid
    volume = Volume(planes.hu, affine, "PATIENT", frame_of_reference_uid=frame_of_reference)
    volume.series = series
    volume.provenance = Provenance(
        study_instance_uid=series.study_instance_uid,
        series_instance_uid=series.series_instance_uid,
        sop_instance_uids=tuple(header.sop_instance_uid for header in sources),
        transfer_syntaxes=tuple(sorted({transfer_syntax_name(header.transfer_syntax_uid) for header in sources})),
        bytes_read=sum(file.size for file in {header.file for header in sources}),
        repairs=tuple(repairs),
        bridged_planes=tuple(bridged_planes),
        pixel_digest=planes.digest,
    )
    return volume


def _describe_repairs(series: Series, grid: Grid) -> list[str]:
    """Return a sentence for each way in which the volume's geometry differs from the files'."""
    stack, repairs = series.stack, _describe_duplicates(series)
    if grid.shift_px is not None:
        index, jump_mm = stack.widest_jump()
        if jump_mm > min(stack.pixel_spacing_mm):
            name = series.headers[stack.order[index]].file.name
            repairs.append(f"the field of view moves by {jump_mm:.1f} mm after {name}; slices moved to their positions")
        if stack.tilt_deg > MAX_STRAIGHT_TILT_DEG or jump_mm <= min(stack.pixel_spacing_mm):
            repairs.append(f"tilted by {stack.tilt_deg:.1f} degrees; resampled straight")
    if not stack.is_even:
        index, gap_mm = stack.widest_gap()
        repairs.append(
            f"gaps from {stack.gaps_mm.min():.2f} to {gap_mm:.2f} mm (widest after slice {index + 1}); resampled evenly"
        )
    return repairs


def _describe_duplicates(series: Series) -> list[str]:
    """Return a sentence about slices removed because another one has the same position, if there are any."""
    duplicates = series.stack.duplicates
    if not duplicates:
        return []
    removed, kept = (series.headers[index].file.name for index in duplicates[0])
    count = len(duplicates)
    return [f"{count} duplicate slice{'s' * (count > 1)} removed, first: {removed} lies where {kept} does"]


def _describe_overflow(cache: FrameCache, headers: list[SliceHeader]) -> list[str]:
    """Return a sentence about files whose values exceed the bits that they declare, if there are any."""
    names = [header.file.name for header in headers if header.file.name in cache.overflowing]
    if not names:
        return []
    bits = next(header.pixel_format.bits_stored for header in headers if header.file.name == names[0])
    return [
        f"files set bits above the {bits} of BitsStored ({len(set(names))}, first: {names[0]}); these bits were "
        "cleared, so that values are too low where they are not those of an overlay, such as in metal"
    ]


def _describe_jumps(array: HounsfieldUnits) -> list[str]:
    """Return a sentence about a plane whose values are far from its neighbor's, if there is one."""
    means = array[:, ::8, ::8].mean(axis=(1, 2), dtype=np.float64)
    jumps = np.abs(np.diff(means))
    if not len(jumps) or jumps.max() < MAX_JUMP_HU:
        return []
    k = int(jumps.argmax())
    return [
        f"values jump by {jumps[k]:.0f} on average from slice {k + 1} to {k + 2}: some slices may not be in Hounsfield "
        "units"
    ]


def _describe_doubts(array: HounsfieldUnits, headers: list[SliceHeader], *, is_corrected: bool) -> list[str]:
    """Return a sentence for each assumption about values or tilt that the headers do not confirm."""
    first, doubts = headers[0], []
    if is_corrected:
        pass  # the correction's own sentence says what was taken
    elif first.transfer_syntax_uid == NIFTI:
        doubts.append("NIfTI does not declare the unit of its values; taken as Hounsfield units")
    elif any("RescaleIntercept" in header.missing for header in headers):
        doubts.append("RescaleIntercept is missing; stored values taken as Hounsfield units")
    if any(header.rescale_type not in HOUNSFIELD_RESCALE_TYPES - {"HU_MOD"} for header in headers):
        doubts.append("RescaleType is not HU; values taken as Hounsfield units")
    lowest = int(array[:: max(len(array) // 16, 1), ::4, ::4].min()) if doubts else AIR_HU
    if lowest > MAX_AIR_HU:
        doubts.append(f"the lowest value is {lowest}, where air should be -1000: these may not be Hounsfield units")
    tag = first.gantry_tilt_deg
    if tag is not None and abs(tag) > 1.0 and _is_orthogonal(headers):
        doubts.append(f"GantryDetectorTilt is {tag:.1f} degrees, but the slices lie straight; positions were used")
    return doubts


def _is_orthogonal(headers: list[SliceHeader]) -> bool:
    """Return whether slices run exactly along the patient's axes, by their direction cosines."""
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


def _crop_affine(affine: Floats, keep: _Kept, shape: tuple[int, ...]) -> Floats:
    """Return the affine of the kept voxels: the origin moves to the first one, and the axes scale by the step."""
    start = np.array([keep[0].indices(shape[0])[0], keep[1].indices(shape[1])[0], 0.0, 1.0])
    cropped = affine.copy()
    cropped[:3, 3] = (affine @ start)[:3]
    cropped[:3, :3] *= [part.step or 1 for part in keep]
    return cropped
