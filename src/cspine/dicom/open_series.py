"""Open a study: find its series, select one, check that it forms a volume, load it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from cspine.core.errors import DicomError, GeometryError, NotAssessableError
from cspine.core.progress import Progress, silent
from cspine.dicom.discovery import discover
from cspine.dicom.geometry import MAX_GAP_MM
from cspine.dicom.grid import Grid
from cspine.dicom.series import Series, Study
from cspine.dicom.series_selection import SeriesSelection, describe_series, select_series
from cspine.dicom.study_collection import StudySource
from cspine.dicom.volume import Range, Volume, read_volume
from cspine.dicom.volume_checks import check_loadable

MAX_SLICE_SPACING_MM: Final = 3.0
"""Largest slice spacing at which fractures are assessed; the challenge's studies have at most 1 mm."""


@dataclass(frozen=True)
class LoadPolicy:
    """Which series of a study is read, and within which limits.

    Attributes
    ----------
    series_uid : str or None
        Read the series with this SeriesInstanceUID; the best one where None.
    max_gap_mm : float
        Largest gap between slices that is interpolated where gaps are uneven, in mm.
    max_slice_spacing_mm : float or None
        Largest slice spacing that is accepted, in mm; any where None.
    """

    series_uid: str | None = None
    max_gap_mm: float = MAX_GAP_MM
    max_slice_spacing_mm: float | None = None


@dataclass(frozen=True)
class LoadPlan:
    """The selected series of a study, ready to be checked and loaded.

    Attributes
    ----------
    selection : SeriesChoice
        The selected series, with the reasons for it and against the others.
    policy : LoadPolicy
        The limits that `check` applies.
    """

    selection: SeriesSelection
    policy: LoadPolicy

    @property
    def series(self) -> Series:
        """The selected series."""
        return self.selection.selected

    @cached_property
    def grid(self) -> Grid:
        """The voxel grid that the series is resampled to; raises as `check` does."""
        limit = self.policy.max_slice_spacing_mm
        if limit is not None:  # before the gaps: missing slices of a thick series would be asked for in vain
            check_slice_spacing(self.series.stack.spacing_mm, limit_mm=limit)
        return check_loadable(self.series, max_gap_mm=self.policy.max_gap_mm)

    def check(self) -> None:
        """Check from the headers alone that the series forms a volume within the policy's limits.

        Raises
        ------
        NotAssessableError
            ``too-thick``: the slice spacing exceeds the policy's limit.
        DicomError
            Position, orientation or pixel spacing is missing.
        GeometryError
            A gap is too wide, or the volume is too large.
        """
        _ = self.grid

    def load(self, *, rows: Range = None, slices: Range = None, step: int = 1, progress: Progress = silent) -> Volume:
        """Decode the series to a volume; parameters are those of `load_volume`, errors those of `check` and decoding.

        Raises
        ------
        DecodeError
            The pixels of a file cannot be decoded.
        """
        if step < 1:
            raise GeometryError(f"step is {step}, but must be 1 or more")
        return read_volume(self.series, self.grid, rows=rows, slices=slices, step=step, progress=progress)


def open_series(
    source: str | Path | StudySource | Study | Series,
    policy: LoadPolicy = LoadPolicy(),  # noqa: B008 - immutable
    *,
    progress: Progress = silent,
) -> LoadPlan:
    """Find the series of a study and select the one to read; pixels are not touched.

    Parameters
    ----------
    source : str, Path, StudySource, Study or Series
        A path with one study, a study, or one of its series.
    policy : LoadPolicy
        Which series is wanted, and the limits that `LoadPlan.check` applies.
    progress : Progress
        Called with the number of headers read.

    Returns
    -------
    LoadPlan

    Raises
    ------
    SourceError, ArchiveError
        There is nothing readable.
    DicomError
        There are several studies, or none of the study's series can be read; the message gives each one's reason.
    """
    if isinstance(source, Series):
        return LoadPlan(SeriesSelection(source, describe_series(source), ()), policy)
    if isinstance(source, StudySource):
        source = source.open(progress=progress)
    if isinstance(source, (str, Path)):
        source = _only_study(discover(source, progress=progress).studies, source)
    return LoadPlan(select_series(source, series_uid=policy.series_uid), policy)


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

    Slices are ordered by their position along the normal. The sheared stack of a tilted gantry is resampled straight
    and uneven gaps are made even by linear interpolation; each is recorded in the volume's provenance.

    Parameters
    ----------
    source : str, Path or Series
        A path with one readable study, or a series of `cspine.dicom.discover`.
    rows : slice or (start, stop), optional
        The rows to keep; of slices that are resampled straight, rows of the canvas that holds them all, which is as
        many rows larger as the slices shift.
    slices : slice or (start, stop), optional
        The slices to keep, counted along the normal. Only these are decoded, or, where slices are resampled, those
        that they are interpolated from. A slice may have a step of its own, which then replaces `step`.
    step : int
        Keep every `step`-th slice, row and column, without averaging. JPEG 2000, which can be decoded at a fraction of
        its resolution, gives its own low-pass at those pixels.
    series_uid : str, optional
        Of a path, read the series with this SeriesInstanceUID instead of the best one.
    max_gap_mm : float
        Largest gap between slices that is interpolated, in mm, where gaps are uneven.
    progress : Progress
        Called with the number of headers read and of slices decoded.

    Returns
    -------
    Volume
        int16 HU ``[k, j, i]`` with an affine to LPS mm. k grows along the slice normal, which for axial slices points
        to the head. Padding is -1024.

    Raises
    ------
    SourceError, ArchiveError, DicomError
        There is nothing readable, or more than one study.
    GeometryError
        The slices do not form a volume: a gap is too wide (the place is named), or it is too large.
    DecodeError
        The pixels of a file cannot be decoded.
    """
    plan = open_series(source, LoadPolicy(series_uid=series_uid, max_gap_mm=max_gap_mm), progress=progress)
    return plan.load(rows=rows, slices=slices, step=step, progress=progress)


def check_slice_spacing(spacing_mm: float, *, limit_mm: float = MAX_SLICE_SPACING_MM) -> None:
    """Reject slices so far apart that fractures may lie between them.

    Parameters
    ----------
    spacing_mm : float
        Distance between neighbouring slices, in mm.
    limit_mm : float
        The largest that is accepted, in mm.

    Raises
    ------
    NotAssessableError
        ``too-thick``.
    """
    if spacing_mm > limit_mm:
        raise NotAssessableError(
            "too-thick",
            f"the best series has slices {spacing_mm:.1f} mm apart; at most {limit_mm:.0f} mm can be assessed, "
            "send the thin reconstruction",
        )


def _only_study(studies: Sequence[Study], source: str | Path) -> Study:
    if len(studies) > 1:
        raise DicomError(f"{source}: holds {len(studies)} studies; give the folder of one of them")
    return studies[0]
