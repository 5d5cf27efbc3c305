"""Open a study: the one way from a path, a study or a series to a volume in Hounsfield units.

Every use case goes through the same four steps, so that all of them read the same series under the same limits:

1. `open_series` **discovers** the studies of a path from their headers (`cspine.dicom.discovery`), and
2. **selects** the series to read, with the reasons for it and against the others (`cspine.dicom.series_selection`).
   The result is a `LoadPlan`. Of several readable series, that is the first by header; where a localizer is at hand,
   `cspine.localization.series_choice` retargets the plan to the one that shows most of the neck.
3. `LoadPlan.check` **checks**, still from headers alone, that the slices form one volume within the limits of a
   `LoadPolicy`: slice spacing, gaps between slices, size in memory (`cspine.dicom.volume_checks`).
4. `LoadPlan.load` **decodes** the pixels and resamples slices that are tilted or unevenly spaced
   (`cspine.dicom.volume`).

Steps 1 to 3 take milliseconds and touch no pixels, so a study that cannot be read is rejected before anything is
decoded. `read_first` moves on to the next series where one cannot be decoded. `load_volume` does all four in one call:

    volume = load_volume("study/")

    plan = open_series("study/", LoadPolicy(max_slice_spacing_mm=3.0))
    print(plan.selection.reasons)
    coarse = plan.load(step=4)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from cspine.core.errors import DicomError, GeometryError, InputError, NotAssessableError, is_memory_error
from cspine.core.progress import Progress, silent
from cspine.dicom.discovery import discover
from cspine.dicom.files.broken_copies import describe_broken_copies, find_broken_copies
from cspine.dicom.grid import Grid
from cspine.dicom.limits import MAX_GAP_MM, MAX_SLICE_SPACING_MM, exceeds_mm
from cspine.dicom.series import Series, SkippedFile, Study
from cspine.dicom.series_selection import SeriesSelection, describe_doubts, describe_series, select_series
from cspine.dicom.study_collection import StudySource
from cspine.dicom.volume import Range, Volume, read_volume
from cspine.dicom.volume_checks import check_loadable

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class LoadPolicy:
    """Which series of a study to read, and the limits it has to meet.

    Attributes
    ----------
    series_uid : str or None
        SeriesInstanceUID of the series to read; None selects the best one.
    max_gap_mm : float
        Largest gap between slices that is interpolated where gaps are uneven, in mm.
    max_slice_spacing_mm : float or None
        Largest slice spacing that is accepted, in mm; None accepts any.
    """

    series_uid: str | None = None
    max_gap_mm: float = MAX_GAP_MM
    max_slice_spacing_mm: float | None = None


@dataclass(frozen=True)
class LoadPlan:
    """The selected series of a study, ready to be checked and loaded.

    Attributes
    ----------
    selection : SeriesSelection
        The selected series, with the reasons for it and against the others.
    policy : LoadPolicy
        The limits that `check` applies.
    study_warnings : tuple of str
        `Study.warnings` of the study that the series was selected from.
    lost_files : tuple of SkippedFile
        Its files that most likely held slices and could not be read.
    """

    selection: SeriesSelection
    policy: LoadPolicy
    study_warnings: tuple[str, ...] = ()
    lost_files: tuple[SkippedFile, ...] = ()

    @property
    def series(self) -> Series:
        """The selected series."""
        return self.selection.selected

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about the study's and the series' files, known before a pixel is decoded."""
        series = self.series
        return (*self.study_warnings, *series.warnings, *self.selection.warnings, *describe_doubts(series))

    @property
    def is_only_choice(self) -> bool:
        """Whether no other series of the study can be read instead."""
        return not self.selection.alternatives

    def retargeted(self, selection: SeriesSelection) -> "LoadPlan":
        """Return the plan of another selection of the same study."""
        return replace(self, selection=selection)

    @cached_property
    def grid(self) -> Grid:
        """The voxel grid that the series is resampled to; raises as `check` does."""
        limit = self.policy.max_slice_spacing_mm
        if limit is not None:  # before the gaps: the missing slices of a thick series would not make it assessable
            check_slice_spacing(self.series.stack.spacing_mm, limit_mm=limit)
        try:
            return check_loadable(self.series, max_gap_mm=self.policy.max_gap_mm)
        except GeometryError as error:
            if not self.lost_files:
                raise
            count, first = len(self.lost_files), self.lost_files[0]
            raise GeometryError(
                f"{error} ({count} file{'s' * (count > 1)} of the study could not be read, first: {first.name}: "
                f"{first.reason})"
            ) from error

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
        """Check the series and decode it to a volume.

        Parameters
        ----------
        rows, slices, step, progress
            As in `load_volume`.

        Returns
        -------
        Volume
            int16 HU ``[k, j, i]`` with an affine to LPS mm, as in `load_volume`.

        Raises
        ------
        NotAssessableError, DicomError, GeometryError
            As in `check`, or the requested ranges are empty.
        DecodeError
            The pixels of a file cannot be decoded.
        """
        if step < 1:
            raise GeometryError(f"step is {step}, but must be 1 or more")
        volume = read_volume(self.series, self.grid, rows=rows, slices=slices, step=step, progress=progress)
        if volume.provenance is not None and (broken := find_broken_copies(volume, self.series)):
            repairs = (*describe_broken_copies(broken), *volume.provenance.repairs)
            volume.provenance = replace(volume.provenance, repairs=repairs)
        return volume


def open_series(
    source: str | Path | StudySource | Study | Series,
    policy: LoadPolicy = LoadPolicy(),
    *,
    progress: Progress = silent,
) -> LoadPlan:
    """Discover the series of a study and select the one to read.

    Only headers are read. Nothing is checked against the policy's limits until `LoadPlan.check` or `LoadPlan.load`,
    so that the selection and its reasons can be reported for a study that cannot be loaded, too.

    Parameters
    ----------
    source : str, Path, StudySource, Study or Series
        A path that holds one study, a study of a collection, or a study or series of `cspine.dicom.discover`.
        A series is taken as it is, without selection.
    policy : LoadPolicy
        Which series is requested, and the limits that the plan applies later.
    progress : Progress
        Called with the number of headers read.

    Returns
    -------
    LoadPlan
        The selected series with its reasons.

    Raises
    ------
    SourceError, ArchiveError
        The path holds nothing that can be read.
    DicomError
        The path holds several studies, or no series of the study can be read; the message gives each one's reason.
    """
    if isinstance(source, Series):
        return LoadPlan(SeriesSelection(source, describe_series(source), ()), policy)
    if isinstance(source, StudySource):
        source = source.open(progress=progress)
    if isinstance(source, (str, Path)):
        source = _only_study(discover(source, progress=progress).studies, source)
    selection = select_series(source, series_uid=policy.series_uid)
    return _first_loadable(LoadPlan(selection, policy, source.warnings, source.lost_files))


def read_first(plan: LoadPlan, read: Callable[[LoadPlan], _Result]) -> tuple[LoadPlan, _Result]:
    """Read the selected series of a study, or where it cannot be read the next one that can.

    Parameters
    ----------
    plan : LoadPlan
        The selected series, and its alternatives.
    read : callable
        Loads the series of a plan; raises `InputError` where it cannot.

    Returns
    -------
    plan : LoadPlan
        The plan that was read; its selection states what could not be.
    result
        What `read` returned of it.

    Raises
    ------
    InputError
        No series can be read; the error is that of the selected one. Or memory ran out, which is no fault of a series.
    NotAssessableError
        The selected series can be read, but not assessed.
    """
    attempt: LoadPlan | None = plan
    first_error: InputError | None = None
    while attempt is not None:
        try:
            return attempt, read(attempt)
        except InputError as error:
            if is_memory_error(error):  # with more memory it may be readable, and better than the next one
                raise
            first_error = first_error or error
            selection = attempt.selection.without_selected(error)
            attempt = None if selection is None else attempt.retargeted(selection)
        except NotAssessableError:
            if first_error is None:
                raise
            break  # of two problems, that of the better series has the remedy
    raise first_error or AssertionError("unreachable")


def _first_loadable(plan: LoadPlan) -> LoadPlan:
    """Return the plan of the first series that forms a volume by its headers; the plan itself where none does."""
    if plan.is_only_choice:
        return plan
    try:
        return read_first(plan, LoadPlan.check)[0]
    except (InputError, NotAssessableError):
        return plan


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

    Slices are sorted by their position along the slice normal. The sheared stack of a tilted gantry is resampled to
    a straight one, and uneven gaps to even ones, both by linear interpolation; each is recorded in the volume's
    provenance.

    Parameters
    ----------
    source : str, Path or Series
        A path that holds one readable study, or a series of `cspine.dicom.discover`.
    rows : slice or (start, stop), optional
        Rows to keep. Where slices are resampled in-plane, these are rows of the canvas that holds all slices, which
        has as many more rows as the slices shift.
    slices : slice or (start, stop), optional
        Slices to keep, counted along the normal. Only these are decoded, or, where slices are resampled, those that
        they are interpolated from. A slice object may have a step, which then replaces `step` along this axis.
    step : int
        Keep every `step`-th slice, row and column, without averaging. JPEG 2000 can be decoded at a fraction of its
        resolution, and then gives the wavelet's low-pass at those pixels.
    series_uid : str, optional
        SeriesInstanceUID of the series to read, instead of the best one of the path.
    max_gap_mm : float
        Largest gap between slices that is interpolated where gaps are uneven, in mm.
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
        The path holds nothing that can be read, or more than one study.
    GeometryError
        The slices do not form a volume: a gap is too wide (the message names its files), or the volume is too large.
    DecodeError
        The pixels of a file cannot be decoded.
    """
    plan = open_series(source, LoadPolicy(series_uid=series_uid, max_gap_mm=max_gap_mm), progress=progress)
    volume = plan.load(rows=rows, slices=slices, step=step, progress=progress)
    if volume.provenance is not None:
        repairs = (*plan.study_warnings, *volume.provenance.repairs)
        volume.provenance = replace(volume.provenance, repairs=repairs)
    return volume


def check_slice_spacing(spacing_mm: float, *, limit_mm: float = MAX_SLICE_SPACING_MM) -> None:
    """Reject slices so far apart that a fracture may lie between them.

    Parameters
    ----------
    spacing_mm : float
        Distance between neighboring slices, in mm.
    limit_mm : float
        Largest distance that is accepted, in mm.

    Raises
    ------
    NotAssessableError
        ``too-thick``: the distance exceeds the limit.
    """
    if exceeds_mm(spacing_mm, limit_mm):
        digits = 1 if round(spacing_mm, 1) > limit_mm else 2
        raise NotAssessableError(
            "too-thick",
            f"the best series has slices {spacing_mm:.{digits}f} mm apart; at most {limit_mm:.0f} mm can be assessed, "
            "send the thin reconstruction",
        )


def _only_study(studies: Sequence[Study], source: str | Path) -> Study:
    if len(studies) > 1:
        raise DicomError(f"{source}: holds {len(studies)} studies; give the folder of one of them")
    return studies[0]
