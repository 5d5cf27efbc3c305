"""Select the series of a study to read for bone, with the reasons for it and against the others.

Headers rank the readable series; what they show is not known from headers. `cspine.localization.series_choice` looks
into the best of them, and moves on to the next where one cannot be read.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cspine.core.errors import DicomError, InputError
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.hounsfield import HOUNSFIELD_RESCALE_TYPES
from cspine.dicom.limits import MAX_SLICE_SPACING_MM, exceeds_mm
from cspine.dicom.ranking.criteria import (
    is_axial,
    is_over_limit,
    is_sharp,
    rank,
    ranking_reason,
    slice_extent_mm,
    slice_plane,
)
from cspine.dicom.ranking.image_type import is_virtual, not_slices_reason
from cspine.dicom.ranking.sop_class import other_kind
from cspine.dicom.ranking.species import is_of_animal
from cspine.dicom.series import Series, Study

MIN_SLICES: Final = 10
"""A series with fewer slices is a scout image, a single image or a remnant, and not a volume."""

ANOTHER_SERIES_REQUESTED: Final = "another series was requested"
"""Reason against all other series where one is requested by its UID."""

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
    alternatives : tuple of Series
        Those of the rejected series that could be read instead, best first.
    warnings : tuple of str
        Sentences about the choice that belong into the findings.
    """

    selected: Series
    reasons: tuple[str, ...]
    rejected: tuple[Rejection, ...]
    alternatives: tuple[Series, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def candidates(self) -> tuple[Series, ...]:
        """The selected series and its alternatives, best first."""
        return (self.selected, *self.alternatives)

    def reordered(
        self,
        candidates: Sequence[Series],
        *,
        reasons: Sequence[str] = (),
        against: Sequence[Rejection] = (),
        warnings: Sequence[str] = (),
    ) -> "SeriesSelection":
        """Return the selection of the first of other candidates.

        Parameters
        ----------
        candidates : sequence of Series
            Some or all of `candidates`, best first; the others cannot be read.
        reasons : sequence of str
            Further reasons for the first one.
        against : sequence of Rejection
            Reasons against others that are not in the headers; every candidate that cannot be read needs one.
        warnings : sequence of str
            Further sentences for the findings.
        """
        selected, *alternatives = candidates
        unread = [rejection for rejection in self.rejected if not _is_among(rejection.series, self.candidates)]
        explained = [rejection.series for rejection in against]
        by_header = [
            Rejection(series, ranking_reason(selected, series))
            for series in alternatives
            if not _is_among(series, explained)
        ]
        return SeriesSelection(
            selected,
            (*describe_series(selected), *reasons),
            (*unread, *against, *by_header),
            tuple(alternatives),
            (*self.warnings, *warnings),
        )

    def without_selected(self, error: Exception) -> "SeriesSelection | None":
        """Return the selection of the next candidate, because the selected one cannot be read; None without one."""
        if not self.alternatives:
            return None
        return self.reordered(
            self.alternatives,
            reasons=["read instead of one that cannot be read"],
            against=[Rejection(self.selected, f"cannot be read: {error}")],
            warnings=[f"the series that ranks first cannot be read, so that another one was: {error}"],
        )


def select_series(study: Study, *, series_uid: str | None = None) -> SeriesSelection:
    """Select the series to read for bone, by headers alone.

    A series must be CT in Hounsfield units, have a position in space and at least `MIN_SLICES` slices, and show slices
    and not projections, screenshots or maps of another quantity. Of those, series are ranked by
    `cspine.dicom.ranking.criteria.CRITERIA`: slices that are not too thick, thin slices, measured before virtual
    images, axial slices, a narrow field of view, a sharp kernel, original before derived images, smaller spacing,
    longer coverage.

    Parameters
    ----------
    study : Study
        The study to select from.
    series_uid : str, optional
        SeriesInstanceUID of the requested series, which then may show projections or maps, too.

    Returns
    -------
    SeriesSelection
        With the other readable series as its `alternatives`.

    Raises
    ------
    DicomError
        No series can be read; the message gives each one's reason.
    """
    candidates: list[Series] = []
    rejected: list[Rejection] = []
    for series in study.series:
        if series_uid is not None and series.series_instance_uid != series_uid:
            rejected.append(Rejection(series, ANOTHER_SERIES_REQUESTED))
            continue
        reason = _rejection_reason(series, is_requested=series_uid is not None)
        if reason is None:
            candidates.append(series)
        else:
            rejected.append(Rejection(series, reason))
    if not candidates:
        raise DicomError(_no_series_message(study, rejected, series_uid))
    selected, *alternatives = sorted(candidates, key=rank)
    reasons = describe_series(selected)
    if series_uid is not None:
        reasons = ("requested by its UID", *reasons)
    rejected += [Rejection(series, ranking_reason(selected, series)) for series in alternatives]
    return SeriesSelection(selected, reasons, tuple(rejected), tuple(alternatives))


def describe_series(series: Series) -> tuple[str, ...]:
    """Describe the number, plane and spacing of a series' slices, its length, and its kernel if known."""
    stack = series.stack
    facts = [f"{len(stack.order)} {slice_plane(series)} slices {stack.spacing_mm:.2f} mm apart"]
    if not is_axial(series):
        facts[0] += "; reformatted"
    facts.append(f"{stack.along_mm[-1] + stack.spacing_mm:.0f} mm long")
    kernel = series.headers[0].kernel
    if kernel:
        facts.append(f"{'sharp' if is_sharp(kernel) else 'soft'} kernel {kernel}")
    not_slices = not_slices_reason(series.headers[0])
    if not_slices:
        facts.append(not_slices)
    return tuple(facts)


def describe_doubts(series: Series) -> tuple[str, ...]:
    """Describe by headers what about a series' images makes fractures hard to see, or look unlike themselves."""
    first, doubts = series.headers[0], []
    if not_slices := not_slices_reason(first):
        doubts.append(f"the series shows {not_slices}; read because it was requested")
    if is_virtual(first):
        doubts.append("values are those of a virtual energy or material (DICOM: ImageType, RescaleType)")
    thickness_mm = slice_extent_mm(series)
    if exceeds_mm(thickness_mm, MAX_SLICE_SPACING_MM) and not is_over_limit(series):
        doubts.append(
            f"slices are {thickness_mm:.1f} mm thick; fractures hide in slices over {MAX_SLICE_SPACING_MM:.0f} mm"
        )
    return tuple(doubts)


def _is_among(series: Series, others: Iterable[Series]) -> bool:
    """Return whether a series is one of others, without comparing their headers."""
    return any(series is other for other in others)


def _rejection_reason(series: Series, *, is_requested: bool) -> str | None:
    """Return why a series cannot be read at all; None if it can."""
    first = series.headers[0]
    reason = _not_hounsfield_reason(first)
    if reason is not None:
        return reason
    if first.frames > 1 and first.position_mm is None:
        return "frames of a multi-frame image without a position in space"
    if first.samples_per_pixel != 1 or first.photometric_interpretation == "PALETTE COLOR":
        return "color images"
    if is_of_animal(first):
        return "images of an animal (DICOM: PatientSpeciesDescription, AnatomicalOrientationType)"
    if "LOCALIZER" in first.image_type:
        return "a scout image (DICOM: LOCALIZER)"
    try:
        stack = series.stack
    except InputError as error:
        return str(error)
    if len(stack.order) < MIN_SLICES:
        return f"only {len(stack.order)} slice{'s' * (len(stack.order) > 1)}, at least {MIN_SLICES} are needed"
    return None if is_requested else not_slices_reason(first)


def _not_hounsfield_reason(first: SliceHeader) -> str | None:
    if first.modality not in {None, "CT"}:
        return f"modality is {first.modality}, not CT" if first.modality in _MODALITIES else "modality is not CT"
    kind = other_kind(first.sop_class_uid, has_modality=first.modality is not None)
    if kind is not None:
        return f"its SOP class is {kind}, not CT"
    if first.rescale_type not in HOUNSFIELD_RESCALE_TYPES:
        return "RescaleType is not HU: its values are not Hounsfield units"
    return None


def _no_series_message(study: Study, rejected: Iterable[Rejection], series_uid: str | None) -> str:
    name = study.series[0].headers[0].file.name
    if series_uid is not None and all(s.series_instance_uid != series_uid for s in study.series):
        return f"{name}: its study has no series {series_uid}; `cspine inspect` lists the series"
    reasons = Counter(rejection.reason for rejection in rejected)
    listed = "; ".join(f"{count} series: {reason}" if count > 1 else reason for reason, count in reasons.items())
    return f"study {study.study_instance_uid or 'without UID'}: no series to read ({listed})"
