"""Select the series of a study to read for bone, with the reasons for it and against the others."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cspine.core.errors import DicomError, InputError
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.geometry import plane_name
from cspine.dicom.hounsfield import HOUNSFIELD_RESCALE_TYPES
from cspine.dicom.series import Series, Study

MIN_SLICES: Final = 10
"""A series with fewer slices is a scout image, a single image or a remnant, and not a volume."""

MAX_THIN_SPACING_MM: Final = 1.5
"""Largest slice spacing that counts as thin; the challenge's studies have 0.5 to 1.0 mm."""

ANOTHER_SERIES_REQUESTED: Final = "another series was requested"
"""Reason against all other series where one is requested by its UID."""

_SHARP_KERNEL: Final = re.compile(
    r"bone|edge|lung|sharp|detail"  # GE, and descriptive names
    r"|^[bhj][a-z]?\s?[5-9]\d|^[qbh]r\s?[5-9]\d"  # Siemens: B60-B90, H60, Br59, Hr64, J70h
    r"|^y[a-d]$|^[de]$"  # Philips: YA-YD, D, E
    r"|^fc[38]\d",  # Canon/Toshiba: FC30-39 bone, FC80-89 high resolution
    re.IGNORECASE,
)

_MODALITIES: Final = frozenset(
    ("CR", "DX", "MG", "MR", "NM", "OT", "PR", "PT", "RF", "RTDOSE", "RTIMAGE", "RTSTRUCT", "SC", "SEG", "SR", "US",
     "XA")
)  # fmt: skip
"""Modalities that a message may quote; other text in their place may be personal."""


@dataclass(frozen=True)
class Rejection:
    """A series that is not read.

    Attributes
    ----------
    series : Series
        The series that is not read.
    reason : str
        Why it is not read.
    """

    series: Series
    reason: str


@dataclass(frozen=True)
class SeriesSelection:
    """The series of a study to read.

    Attributes
    ----------
    selected : Series
        The series to read.
    reasons : tuple of str
        Facts for it: number and spacing of slices, length, kernel.
    rejected : tuple of Rejection
        The other series, each with its reason.
    """

    selected: Series
    reasons: tuple[str, ...]
    rejected: tuple[Rejection, ...]


def select_series(study: Study, *, series_uid: str | None = None) -> SeriesSelection:
    """Select the series to read for bone.

    A series must be CT in Hounsfield units, have a position in space, at least `MIN_SLICES` slices, and run axially.
    Of those, series are ranked by: original before derived, primary before secondary, thin slices before thick, a
    sharp kernel before a soft one, smaller slice spacing, longer coverage.

    Parameters
    ----------
    study : Study
        The study to select from.
    series_uid : str, optional
        SeriesInstanceUID of the requested series, which then need not be axial.

    Returns
    -------
    SeriesSelection

    Raises
    ------
    DicomError
        No series can be read; the message gives each one's reason.
    """
    candidates: list[tuple[tuple[object, ...], Series]] = []
    rejected: list[Rejection] = []
    for series in study.series:
        if series_uid is not None and series.series_instance_uid != series_uid:
            rejected.append(Rejection(series, ANOTHER_SERIES_REQUESTED))
            continue
        reason = _rejection_reason(series, is_requested=series_uid is not None)
        if reason is None:
            candidates.append((_rank(series), series))
        else:
            rejected.append(Rejection(series, reason))
    if not candidates:
        raise DicomError(_no_series_message(study, rejected, series_uid))
    candidates.sort(key=lambda candidate: candidate[0])
    selected = candidates[0][1]
    reasons = describe_series(selected)
    if series_uid is not None:
        reasons = ("requested by its UID", *reasons)
    rejected += [Rejection(series, _ranking_reason(selected, series)) for _, series in candidates[1:]]
    return SeriesSelection(selected, reasons, tuple(rejected))


def describe_series(series: Series) -> tuple[str, ...]:
    """Describe the number and spacing of a series' slices, its length, and its kernel if known."""
    stack = series.stack
    facts = [f"{len(stack.order)} {plane_name(stack.normal)} slices {stack.spacing_mm:.2f} mm apart"]
    facts.append(f"{stack.along_mm[-1] + stack.spacing_mm:.0f} mm long")
    kernel = series.headers[0].kernel
    if kernel:
        facts.append(f"{'sharp' if is_sharp(kernel) else 'soft'} kernel {kernel}")
    return tuple(facts)


def is_sharp(kernel: str | None) -> bool:
    """Return whether a ConvolutionKernel is known to be a sharp one, made for bone or lung.

    >>> is_sharp("B70f"), is_sharp("BONEPLUS"), is_sharp("STANDARD")
    (True, True, False)
    """
    return bool(kernel and any(_SHARP_KERNEL.search(part) for part in kernel.split()))


def _rank(series: Series) -> tuple[object, ...]:
    """Return the sort key of a candidate, best first; the UID makes the order deterministic."""
    stack, first = series.stack, series.headers[0]
    return (
        "DERIVED" in first.image_type,
        "SECONDARY" in first.image_type,
        stack.spacing_mm > MAX_THIN_SPACING_MM,
        not is_sharp(first.kernel),
        round(stack.spacing_mm, 2),
        -round(float(stack.along_mm[-1])),
        series.series_instance_uid,
        series.part,
    )


def _rejection_reason(series: Series, *, is_requested: bool) -> str | None:
    """Return why a series cannot be read at all; None if it can."""
    first = series.headers[0]
    reason = _not_hounsfield_reason(first)
    if reason is not None:
        return reason
    if first.frames > 1 and first.position_mm is None:
        return "frames of a multi-frame image without a position in space"
    if first.samples_per_pixel != 1:
        return "color images"
    if "LOCALIZER" in first.image_type:
        return "a scout image (DICOM: LOCALIZER)"
    try:
        stack = series.stack
    except InputError as error:
        return str(error)
    if len(stack.order) < MIN_SLICES:
        return f"only {len(stack.order)} slice{'s' * (len(stack.order) > 1)}, at least {MIN_SLICES} are needed"
    plane = plane_name(stack.normal)
    if plane != "axial" and not is_requested:
        return f"{plane} slices, which are reformatted from axial ones"
    return None


def _not_hounsfield_reason(first: SliceHeader) -> str | None:
    if first.modality not in {None, "CT"}:
        return f"modality is {first.modality}, not CT" if first.modality in _MODALITIES else "modality is not CT"
    if first.rescale_type not in HOUNSFIELD_RESCALE_TYPES:
        return "RescaleType is not HU: its values are not Hounsfield units"
    return None


def _ranking_reason(selected: Series, other: Series) -> str:
    """Return the criterion by which a readable series ranks below the selected one."""
    best, rest = selected.stack, other.stack
    if "DERIVED" in other.headers[0].image_type and "DERIVED" not in selected.headers[0].image_type:
        return "derived images"
    if "SECONDARY" in other.headers[0].image_type and "SECONDARY" not in selected.headers[0].image_type:
        return "secondary images"
    if round(rest.spacing_mm, 2) > round(best.spacing_mm, 2):
        return f"slices {rest.spacing_mm:.2f} mm apart, coarser than the selected {best.spacing_mm:.2f} mm"
    if is_sharp(selected.headers[0].kernel) and not is_sharp(other.headers[0].kernel):
        return f"kernel {other.headers[0].kernel or 'unknown'} is softer"
    if rest.along_mm[-1] < best.along_mm[-1]:
        return f"covers {rest.along_mm[-1]:.0f} mm, less than the selected {best.along_mm[-1]:.0f} mm"
    return "equal to the selected one; the first by UID was selected"


def _no_series_message(study: Study, rejected: Iterable[Rejection], series_uid: str | None) -> str:
    name = study.series[0].headers[0].file.name
    if series_uid is not None and all(s.series_instance_uid != series_uid for s in study.series):
        return f"{name}: its study has no series {series_uid}; `cspine inspect` lists the series"
    reasons = Counter(rejection.reason for rejection in rejected)
    listed = "; ".join(f"{count} series: {reason}" if count > 1 else reason for reason, count in reasons.items())
    return f"study {study.study_instance_uid or 'without UID'}: no series to read ({listed})"
