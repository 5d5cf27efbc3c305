"""Which studies and series a path holds, and which series to read for bone."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from cspine.errors import ArchiveError, DicomError, GeometryError, InputError, SourceError
from cspine.imaging.geometry import Stack, plane_name, stack_slices
from cspine.imaging.header import SliceHeader, quiet, read_header
from cspine.imaging.source import SourceFile, list_files
from cspine.progress import Progress, silent

MIN_SLICES: Final = 10
"""A series with fewer slices is a localizer, a single image or a left-over, and no volume to look for bones in."""

THIN_MM: Final = 1.5
"""Slices this far apart or less count as thin; the challenge's are 0.5 to 1.0 mm."""

SAME_DIRECTION: Final = 2e-3
"""Direction cosines and pixel spacings (mm) that differ less are the same: 0.1 degrees, 1 mm over 512 pixels."""

_SHARP_KERNEL: Final = re.compile(
    r"bone|edge|lung|sharp|detail"  # GE, and plain words
    r"|^[bhj][a-z]?\s?[5-9]\d|^[qbh]r\s?[5-9]\d"  # Siemens: B60-B90, H60, Br59, Hr64, J70h
    r"|^y[a-d]$|^[de]$"  # Philips: YA-YD, D, E
    r"|^fc[38]\d",  # Canon/Toshiba: FC30-39 bone, FC80-89 high resolution
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Skipped:
    """A file that is not read, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Series:
    """The images of one series that share size, orientation and pixel spacing.

    Attributes
    ----------
    headers : tuple of SliceHeader
        In the order of their names; place in space is told by `stack`.
    part : int
        0, or the number of the part where one series holds images of several kinds.
    """

    study_instance_uid: str
    series_instance_uid: str
    headers: tuple[SliceHeader, ...] = field(repr=False)
    part: int = 0

    @cached_property
    def stack(self) -> Stack:
        """How the slices lie in space.

        Raises
        ------
        DicomError
            Position, orientation or pixel spacing is missing.
        GeometryError
            The directions or spacings are not those of a stack of slices.
        """
        first = self.headers[0]
        for tag, value in (
            ("PixelSpacing", first.pixel_spacing_mm),
            ("ImageOrientationPatient", first.orientation),
            ("ImagePositionPatient", all(header.position_mm for header in self.headers) or None),
            ("Rows and Columns", (first.rows and first.columns) or None),
        ):
            if value is None:
                raise DicomError(
                    f"{first.file.name}: {tag} is missing, so the image cannot be placed in space; export the "
                    "original series"
                )
        try:
            return stack_slices(
                np.array([header.position_mm for header in self.headers]),
                np.array(first.orientation),
                first.pixel_spacing_mm or (1.0, 1.0),
            )
        except GeometryError as error:
            raise GeometryError(f"{first.file.name}: {error}") from error

    @property
    def bytes(self) -> int:
        """Size of all its files."""
        return sum(header.file.size for header in self.headers)


@dataclass(frozen=True)
class Study:
    """One study's series."""

    study_instance_uid: str
    series: tuple[Series, ...]

    @property
    def patient_id(self) -> str | None:
        """The PatientID in its files: personal, to be hashed before it goes anywhere."""
        return next((h.patient_id for s in self.series for h in s.headers if h.patient_id), None)


@dataclass(frozen=True)
class Discovery:
    """What a path holds."""

    studies: tuple[Study, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class Rejection:
    """A series that is not read, and why."""

    series: Series
    reason: str


@dataclass(frozen=True)
class SeriesChoice:
    """The series to read, why, and why not the others."""

    chosen: Series
    reasons: tuple[str, ...]
    rejected: tuple[Rejection, ...]


def discover(path: str | Path, *, progress: Progress = silent) -> Discovery:
    """Find the studies and series at `path`, reading headers only.

    Parameters
    ----------
    path : str or Path
        A file, a folder of any depth, or a zip.
    progress : Progress
        Told how many files are read.

    Returns
    -------
    Discovery
        At least one study; files that are no DICOM images are listed as skipped, with the reason.

    Raises
    ------
    SourceError
        Nothing there is DICOM; the sentence says what is there instead.
    ArchiveError
        A zip is unsafe or damaged.
    """
    path = Path(path)
    return discover_files(list_files(path), origin=str(path), progress=progress)


def discover_files(files: Sequence[SourceFile], *, origin: str, progress: Progress = silent) -> Discovery:
    """Do what `discover` does for files already listed; `origin` names them in errors."""
    headers: list[SliceHeader] = []
    skipped: list[Skipped] = []
    with quiet():
        for done, file in enumerate(files):
            progress("headers", done, len(files))
            try:
                headers.append(read_header(file))
            except ArchiveError:
                raise
            except InputError as error:
                skipped.append(Skipped(file.name, _reason(file, error)))
    progress("headers", len(files), len(files))
    if not headers:
        count = "the only file" if len(files) == 1 else f"none of the {len(files):,} files"
        verb = "is not" if len(files) == 1 else "is"
        raise SourceError(f"{origin}: {count} {verb} readable DICOM, first: {skipped[0].name}: {skipped[0].reason}")
    return Discovery(_group(headers), tuple(skipped))


def choose_series(study: Study, *, series_uid: str | None = None) -> SeriesChoice:
    """Choose the series to look for bones in.

    A series must be CT, have a place in space, at least `MIN_SLICES` slices and run axially. Of those, original
    images come before derived ones, thin slices before thick, a sharp kernel before a soft one, then finer slices,
    then the longer coverage.

    Parameters
    ----------
    study : Study
        Whose series to choose from.
    series_uid : str, optional
        Choose this one.

    Returns
    -------
    SeriesChoice

    Raises
    ------
    DicomError
        No series can be read; the sentence gives each one's reason.
    """
    candidates: list[tuple[tuple[object, ...], Series]] = []
    rejected: list[Rejection] = []
    for series in study.series:
        if series_uid is not None and series.series_instance_uid != series_uid:
            rejected.append(Rejection(series, "another series was asked for"))
            continue
        reason = _why_not(series, asked=series_uid is not None)
        if reason is None:
            candidates.append((_rank(series), series))
        else:
            rejected.append(Rejection(series, reason))
    if not candidates:
        raise DicomError(_nothing_to_read(study, rejected, series_uid))
    candidates.sort(key=lambda candidate: candidate[0])
    chosen = candidates[0][1]
    reasons = describe_choice(chosen) if series_uid is None else ("asked for by its UID", *describe_choice(chosen))
    rejected += [Rejection(series, _why_second(chosen, series)) for _, series in candidates[1:]]
    return SeriesChoice(chosen, reasons, tuple(rejected))


def describe_choice(series: Series) -> tuple[str, ...]:
    """Return what speaks for a series, for people."""
    stack = series.stack
    facts = [f"{len(stack.order)} {plane_name(stack.normal)} slices {stack.spacing_mm:.2f} mm apart"]
    facts.append(f"{stack.along_mm[-1] + stack.spacing_mm:.0f} mm long")
    kernel = series.headers[0].kernel
    if kernel:
        facts.append(f"{'sharp' if is_sharp(kernel) else 'soft'} kernel {kernel}")
    return tuple(facts)


def is_sharp(kernel: str | None) -> bool:
    """Tell whether a ConvolutionKernel's name is known to be one made for bone or lung.

    >>> is_sharp("B70f"), is_sharp("BONEPLUS"), is_sharp("STANDARD")
    (True, True, False)
    """
    return bool(kernel and any(_SHARP_KERNEL.search(part) for part in kernel.split()))


def _rank(series: Series) -> tuple[object, ...]:
    """Return what candidates are sorted by, best first; the UID makes the order certain."""
    stack, first = series.stack, series.headers[0]
    return (
        "DERIVED" in first.image_type,
        stack.spacing_mm > THIN_MM,
        not is_sharp(first.kernel),
        round(stack.spacing_mm, 2),
        -round(float(stack.along_mm[-1])),
        series.series_instance_uid,
        series.part,
    )


def _why_not(series: Series, *, asked: bool) -> str | None:
    """Return why a series cannot be read at all, or None."""
    first = series.headers[0]
    if first.modality not in {None, "CT"}:
        return f"modality is {first.modality}, not CT"
    if first.frames > 1:
        return "enhanced multi-frame images are not read; export single-frame CT"
    if first.samples_per_pixel != 1:
        return "colour images"
    if "LOCALIZER" in first.image_type:
        return "a localizer"
    try:
        stack = series.stack
    except InputError as error:
        return str(error)
    if len(stack.order) < MIN_SLICES:
        return f"only {len(stack.order)} slice{'s' * (len(stack.order) > 1)}, at least {MIN_SLICES} are needed"
    plane = plane_name(stack.normal)
    if plane != "axial" and not asked:
        return f"{plane} slices, a reformat is made from axial ones"
    return None


def _why_second(chosen: Series, other: Series) -> str:
    """Say in which respect a readable series is the worse one."""
    best, rest = chosen.stack, other.stack
    if "DERIVED" in other.headers[0].image_type and "DERIVED" not in chosen.headers[0].image_type:
        return "derived images"
    if round(rest.spacing_mm, 2) > round(best.spacing_mm, 2):
        return f"slices {rest.spacing_mm:.2f} mm apart, coarser than the chosen {best.spacing_mm:.2f} mm"
    if is_sharp(chosen.headers[0].kernel) and not is_sharp(other.headers[0].kernel):
        return f"kernel {other.headers[0].kernel or 'unknown'} is softer"
    if rest.along_mm[-1] < best.along_mm[-1]:
        return f"covers {rest.along_mm[-1]:.0f} mm, less than the chosen {best.along_mm[-1]:.0f} mm"
    return "as good as the chosen one; the first by its UID was taken"


def _nothing_to_read(study: Study, rejected: Iterable[Rejection], series_uid: str | None) -> str:
    name = study.series[0].headers[0].file.name
    if series_uid is not None and all(s.series_instance_uid != series_uid for s in study.series):
        return f"{name}: its study has no series {series_uid}; `cspine inspect` lists the series"
    reasons = Counter(rejection.reason for rejection in rejected)
    listed = "; ".join(f"{count} series: {reason}" if count > 1 else reason for reason, count in reasons.items())
    return f"study {study.study_instance_uid or 'without UID'}: no series to read ({listed})"


def _group(headers: Iterable[SliceHeader]) -> tuple[Study, ...]:
    """Sort headers into studies, series, and parts of one size, orientation and spacing."""
    studies: dict[str, dict[str, list[list[SliceHeader]]]] = defaultdict(lambda: defaultdict(list))
    for header in headers:
        parts = studies[header.study_instance_uid][header.series_instance_uid]
        part = next((part for part in parts if _alike(part[0], header)), None)
        if part is None:
            parts.append([header])
        else:
            part.append(header)
    return tuple(
        Study(
            study_uid,
            tuple(
                Series(study_uid, series_uid, tuple(part), number)
                for series_uid, parts in series.items()
                for number, part in enumerate(parts)
            ),
        )
        for study_uid, series in studies.items()
    )


def _alike(one: SliceHeader, other: SliceHeader) -> bool:
    """Tell whether two images may be of one volume; numbers are compared with a tolerance, as writers round."""
    return (
        (one.rows, one.columns, one.frames > 1) == (other.rows, other.columns, other.frames > 1)
        and ("LOCALIZER" in one.image_type) == ("LOCALIZER" in other.image_type)
        and _close(one.pixel_spacing_mm, other.pixel_spacing_mm)
        and _close(one.orientation, other.orientation)
    )


def _close(one: tuple[float, ...] | None, other: tuple[float, ...] | None) -> bool:
    if one is None or other is None:
        return one is other
    return all(abs(a - b) < SAME_DIRECTION for a, b in zip(one, other, strict=True))


def _reason(file: SourceFile, error: InputError) -> str:
    return str(error).removeprefix(f"{file.name}: ")
