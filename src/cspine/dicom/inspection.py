"""Inspection: a report of the studies and series that a path holds, and of what would be read of them by headers.

Of several readable series, `cspine.localization.series_choice` reads the one that shows most of the neck; what series
show is not in their headers, so that the report gives the ranking by header only.
"""

from collections import Counter
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from cspine.core.errors import InputError
from cspine.core.progress import Progress, silent
from cspine.core.typing import Floats
from cspine.dicom.codec.codecs import transfer_syntax_name
from cspine.dicom.discovery import discover
from cspine.dicom.geometry import Stack, plane_name
from cspine.dicom.limits import MAX_GAP_MM
from cspine.dicom.loading import LoadPolicy, open_series
from cspine.dicom.series import Series, Study
from cspine.dicom.series_selection import ANOTHER_SERIES_REQUESTED, select_series


class _Report(BaseModel):
    """Base of the parts of an inspection report: immutable, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class GeometryReport(_Report):
    """Geometry of the slices of a series."""

    plane: str
    rows: int
    columns: int
    pixel_spacing_mm: tuple[float, float] = Field(description="Distance between rows, and between columns, in mm.")
    slice_spacing_mm: float = Field(description="Median gap along the normal, in mm.")
    smallest_gap_mm: float
    widest_gap_mm: float
    length_mm: float = Field(description="From the first slice to the far side of the last, in mm.")
    tilt_deg: float = Field(description="Gantry tilt by the slices' positions, not by its tag.")
    is_even: bool
    duplicates: int
    row_direction_lps: tuple[float, float, float]
    column_direction_lps: tuple[float, float, float]


class SeriesReport(_Report):
    """One series, or one part of a series that holds several stacks of images."""

    series_instance_uid: str
    part: int
    slices: int
    bytes: int
    modality: str | None
    kernel: str | None
    manufacturer: str | None
    slice_thickness_mm: float | None
    transfer_syntaxes: dict[str, int] = Field(description="Name of the transfer syntax to number of images.")
    missing: dict[str, int] = Field(description="Tag to number of images that lack it.")
    geometry: GeometryReport | None
    selected: bool
    reasons: tuple[str, ...] = Field(description="Why the series would be read, or why not.")
    problem: str | None = Field(None, description="Why the selected series cannot be loaded, or null.")


class StudyReport(_Report):
    """One study and its series."""

    study_instance_uid: str
    readable: bool
    reason: str | None = Field(description="Why no series would be read, or null.")
    candidates: int = Field(
        description="Number of series that could be read. The selected one ranks first by its headers; of several, "
        "predict, localize and compile read the one that shows most of the neck."
    )
    series: tuple[SeriesReport, ...]


class InspectionReport(_Report):
    """The studies at a path."""

    path: str
    studies: tuple[StudyReport, ...]
    skipped: dict[str, int] = Field(description="Reason why files were skipped to their number.")
    first_skipped: tuple[str, ...] = Field(description="Names of the first three skipped files.")

    @property
    def all_readable(self) -> bool:
        """Whether every study could be loaded."""
        return all(study.readable for study in self.studies)


def inspect(
    path: str | Path,
    *,
    series_uid: str | None = None,
    max_gap_mm: float = MAX_GAP_MM,
    progress: Progress = silent,
) -> InspectionReport:
    """Report what a path holds and which series would be read, from headers alone.

    Parameters
    ----------
    path : str or Path
        A file, a folder of any depth, or a zip.
    series_uid : str, optional
        SeriesInstanceUID of a requested series, instead of the best one.
    max_gap_mm : float
        Largest gap between slices that would be interpolated, in mm.
    progress : Progress
        Called with the number of headers read.

    Returns
    -------
    InspectionReport

    Raises
    ------
    SourceError, ArchiveError
        The path holds nothing that can be read.
    """
    discovery = discover(path, progress=progress)
    return InspectionReport(
        path=str(path),
        studies=tuple(_study(study, series_uid, max_gap_mm) for study in discovery.studies),
        skipped=dict(Counter(skipped.reason for skipped in discovery.skipped)),
        first_skipped=tuple(skipped.name for skipped in discovery.skipped[:3]),
    )


def _study(study: Study, series_uid: str | None, max_gap_mm: float) -> StudyReport:
    problem = None
    try:
        plan = open_series(study, LoadPolicy(series_uid, max_gap_mm))
        selection = plan.selection
    except InputError as error:
        reasons = {id(series): (_rejection_reason(study, series, series_uid),) for series in study.series}
        return StudyReport(
            study_instance_uid=study.study_instance_uid,
            readable=False,
            reason=str(error),
            candidates=0,
            series=tuple(_series(series, reasons[id(series)], selected=False) for series in study.series),
        )
    try:
        plan.check()
    except InputError as error:
        problem = str(error)
    rejected = {id(rejection.series): (rejection.reason,) for rejection in selection.rejected}
    return StudyReport(
        study_instance_uid=study.study_instance_uid,
        readable=problem is None,
        reason=problem,
        candidates=len(selection.candidates),
        series=tuple(
            _series(series, selection.reasons, selected=True, problem=problem)
            if series is selection.selected
            else _series(series, rejected[id(series)], selected=False)
            for series in study.series
        ),
    )


def _rejection_reason(study: Study, series: Series, series_uid: str | None) -> str:
    """Return the reason against one series, by selecting from it alone."""
    if series_uid not in {None, series.series_instance_uid}:
        return ANOTHER_SERIES_REQUESTED
    try:
        select_series(Study(study.study_instance_uid, (series,)), series_uid=series_uid)
    except InputError as error:
        return str(error).split("no series to read (", 1)[-1].removesuffix(")")
    raise AssertionError("a series is readable alone but not beside others")  # pragma: no cover


def _series(series: Series, reasons: tuple[str, ...], *, selected: bool, problem: str | None = None) -> SeriesReport:
    first = series.headers[0]
    try:
        geometry = _geometry(series, series.stack)
    except InputError:
        geometry = None
    return SeriesReport(
        series_instance_uid=series.series_instance_uid,
        part=series.part,
        slices=len(series.headers),
        bytes=series.bytes,
        modality=first.modality,
        kernel=first.kernel,
        manufacturer=first.manufacturer,
        slice_thickness_mm=first.slice_thickness_mm,
        transfer_syntaxes=dict(Counter(transfer_syntax_name(h.transfer_syntax_uid) for h in series.headers)),
        missing=dict(Counter(tag for header in series.headers for tag in header.missing)),
        geometry=geometry,
        selected=selected,
        reasons=reasons,
        problem=problem,
    )


def _geometry(series: Series, stack: Stack) -> GeometryReport:
    first = series.headers[0]
    gaps = stack.gaps_mm
    return GeometryReport(
        plane=plane_name(stack.normal),
        rows=first.rows or 0,
        columns=first.columns or 0,
        pixel_spacing_mm=stack.pixel_spacing_mm,
        slice_spacing_mm=stack.spacing_mm,
        smallest_gap_mm=float(gaps.min()) if len(gaps) else 0.0,
        widest_gap_mm=float(gaps.max()) if len(gaps) else 0.0,
        length_mm=float(stack.along_mm[-1] + stack.spacing_mm),
        tilt_deg=stack.tilt_deg,
        is_even=stack.is_even,
        duplicates=len(stack.duplicates),
        row_direction_lps=_vector(stack.row_direction),
        column_direction_lps=_vector(stack.column_direction),
    )


def _vector(values: Floats) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z
