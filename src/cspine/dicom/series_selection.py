"""Which of a study's series to read for bone, and why."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cspine.core.errors import DicomError, InputError
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.geometry import plane_name
from cspine.dicom.series import Series, Study

MIN_SLICES: Final = 10
"""A series with fewer slices is a localizer, a single image or a left-over, and no volume to look for bones in."""

THIN_MM: Final = 1.5
"""Slices this far apart or less count as thin; the challenge's are 0.5 to 1.0 mm."""

_SHARP_KERNEL: Final = re.compile(
    r"bone|edge|lung|sharp|detail"  # GE, and plain words
    r"|^[bhj][a-z]?\s?[5-9]\d|^[qbh]r\s?[5-9]\d"  # Siemens: B60-B90, H60, Br59, Hr64, J70h
    r"|^y[a-d]$|^[de]$"  # Philips: YA-YD, D, E
    r"|^fc[38]\d",  # Canon/Toshiba: FC30-39 bone, FC80-89 high resolution
    re.IGNORECASE,
)


HOUNSFIELD: Final = frozenset({None, "HU", "US", "HU_MOD"})
"""RescaleType of series that are read: Hounsfield units, those of a virtual energy, and not told."""

_MODALITIES: Final = frozenset(
    {
        "CR",
        "DX",
        "MG",
        "MR",
        "NM",
        "OT",
        "PR",
        "PT",
        "RF",
        "RTDOSE",
        "RTIMAGE",
        "RTSTRUCT",
        "SC",
        "SEG",
        "SR",
        "US",
        "XA",
    }
)
"""Those that a message may quote; other text in their place may be anything."""


@dataclass(frozen=True)
class Rejection:
    """A series that is not read, and why."""

    series: Series
    reason: str


@dataclass(frozen=True)
class SeriesSelection:
    """The series to read, why, and why not the others."""

    selected: Series
    reasons: tuple[str, ...]
    rejected: tuple[Rejection, ...]


def select_series(study: Study, *, series_uid: str | None = None) -> SeriesSelection:
    """Choose the series to look for bones in.

    A series must be CT, have a place in space, at least `MIN_SLICES` slices and run axially. Of those, original
    images come before derived ones and primary before secondary, thin slices before thick, a sharp kernel before a
    soft one, then finer slices, then the longer coverage.

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
    reasons = describe_series(chosen) if series_uid is None else ("asked for by its UID", *describe_series(chosen))
    rejected += [Rejection(series, _ranking_reason(chosen, series)) for _, series in candidates[1:]]
    return SeriesSelection(chosen, reasons, tuple(rejected))


def describe_series(series: Series) -> tuple[str, ...]:
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
        "SECONDARY" in first.image_type,
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
    other = _why_not_hounsfield(first)
    if other is not None:
        return other
    if first.frames > 1 and first.position_mm is None:
        return "frames of a multi-frame image that nothing places in space"
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


def _why_not_hounsfield(first: SliceHeader) -> str | None:
    if first.modality not in {None, "CT"}:
        return f"modality is {first.modality}, not CT" if first.modality in _MODALITIES else "modality is not CT"
    if first.rescale_type not in HOUNSFIELD:
        return "RescaleType is not HU: its values are no Hounsfield units"
    return None


def _ranking_reason(chosen: Series, other: Series) -> str:
    """Say in which respect a readable series is the worse one."""
    best, rest = chosen.stack, other.stack
    if "DERIVED" in other.headers[0].image_type and "DERIVED" not in chosen.headers[0].image_type:
        return "derived images"
    if "SECONDARY" in other.headers[0].image_type and "SECONDARY" not in chosen.headers[0].image_type:
        return "secondary images"
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
