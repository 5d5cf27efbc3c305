"""Traits of an acquisition and a reconstruction: images that differ in one of them never form one stack."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.geometry import places
from cspine.dicom.grouping.copies import find_copies
from cspine.dicom.grouping.positions import extent_mm, is_stack, overlaps_mostly, positions_along_mm

FRAME_OF_REFERENCE: Final = "FrameOfReferenceUID"


@dataclass(frozen=True)
class _Kernel:
    """A reconstruction kernel, whose name may have several parts.

    Attributes
    ----------
    name : str
        Its parts, separated by blanks.
    """

    name: str

    def is_compatible(self, other: "_Kernel") -> bool:
        """Return whether one name begins with the parts of the other."""
        shorter, longer = sorted((self.name.split(), other.name.split()), key=len)
        return longer[: len(shorter)] == shorter


_TRAITS: Final[dict[str, Callable[[SliceHeader], Hashable]]] = {
    "Modality": lambda header: header.modality,
    "SOPClassUID": lambda header: header.sop_class_uid,
    "ImageType": lambda header: header.image_type or None,
    "ConvolutionKernel": lambda header: _Kernel(header.kernel) if header.kernel else None,
    "KVP": lambda header: header.kvp,
    "TemporalPositionIdentifier": lambda header: header.temporal_position,
    "NominalPercentageOfCardiacPhase": lambda header: header.cardiac_phase,
    "RescaleType": lambda header: header.rescale_type,
    "FilterType": lambda header: header.filter_type,
    "SeriesDescription": lambda header: header.series_description,
    "SeriesNumber": lambda header: header.series_number,
    FRAME_OF_REFERENCE: lambda header: header.frame_of_reference_uid,
}
"""Keyword of each trait to its value of an image, None where the image lacks it."""

_MAX_FEW_VALUES: Final = 8
"""Up to so many values of a trait are always taken as labels of stacks."""

_MIN_IMAGES_PER_VALUE: Final = 4
"""With fewer images for each of more values, a trait numbers the images and does not label stacks."""

_Label: TypeAlias = tuple[Hashable, ...]


@dataclass(frozen=True)
class TraitGroups:
    """Images by their traits.

    Attributes
    ----------
    groups : list of list of int
        Indices of the images of each group; each image is in one of them.
    differences : tuple of str
        Keywords of the traits in which groups differ.
    numbering : frozenset of str
        Keywords of traits that are new in nearly every image, and were ignored.
    """

    groups: list[list[int]]
    differences: tuple[str, ...]
    numbering: frozenset[str]


def group_by_traits(headers: Sequence[SliceHeader]) -> TraitGroups:
    """Group images of equal size, orientation and spacing by their traits.

    An image that lacks a trait, or declares less of its kernel, joins the group that it completes.

    Parameters
    ----------
    headers : sequence of SliceHeader
        The images; each has a position and an orientation.

    Returns
    -------
    TraitGroups
    """
    values = {keyword: [value(header) for header in headers] for keyword, value in _TRAITS.items()}
    numbering = frozenset(keyword for keyword, each in values.items() if is_numbering(each))
    used = [keyword for keyword in _TRAITS if keyword not in numbering]
    by_label: dict[_Label, list[int]] = defaultdict(list)
    for number, label in enumerate(zip(*(values[keyword] for keyword in used), strict=True)):
        by_label[label].append(number)
    merged: list[tuple[_Label, list[int]]] = []
    for label, members in sorted(by_label.items(), key=lambda item: -len(item[1])):
        index = _best_match(label, members, merged, headers) if merged else None
        if index is None:
            merged.append((label, members))
        else:
            merged[index] = (_join(merged[index][0], label), sorted((*merged[index][1], *members)))
    differences = [keyword for number, keyword in enumerate(used) if len({label[number] for label, _ in merged}) > 1]
    return TraitGroups([members for _, members in merged], tuple(differences), numbering)


def is_numbering(values: Sequence[Hashable]) -> bool:
    """Return whether values number the images one by one, instead of labeling the stacks that they belong to."""
    known = {value for value in values if value is not None}
    return len(known) > max(_MAX_FEW_VALUES, len(values) // _MIN_IMAGES_PER_VALUE)


def _best_match(
    label: _Label, members: list[int], groups: Sequence[tuple[_Label, list[int]]], headers: Sequence[SliceHeader]
) -> int | None:
    """Return the index of the group that images of a less complete label belong to; None where it is not certain."""
    ranks: dict[int, list[int]] = {0: [], 1: []}
    for index, (other_label, others) in enumerate(groups):
        if all(_is_compatible(one, other) for one, other in zip(label, other_label, strict=True)):
            rank = _rank_of_union(members, others, headers)
            if rank is not None:
                ranks[rank].append(index)
    best = ranks[0] or ranks[1]
    return best[0] if len(best) == 1 else None


def _rank_of_union(members: list[int], others: list[int], headers: Sequence[SliceHeader]) -> int | None:
    """Return 0 where two groups together are one stack, 1 where one continues the other, None where they overlap."""
    union = [headers[number] for number in (*others, *members)]
    along_mm = positions_along_mm(union)
    repeated = [indices for indices in places(along_mm) if len(indices) > 1]
    if repeated:
        copies = find_copies([[union[number] for number in indices] for indices in repeated])
        return 0 if all(first == 0 for of_place in copies for first in of_place) else None
    if is_stack(along_mm):
        return 0
    continues = not overlaps_mostly(extent_mm(along_mm[: len(others)]), along_mm[len(others) :])
    return 1 if continues else None


def _is_compatible(one: Hashable, other: Hashable) -> bool:
    """Return whether two values are equal, one of them is unknown, or one kernel begins with the other."""
    if one is None or other is None or one == other:
        return True
    return isinstance(one, _Kernel) and isinstance(other, _Kernel) and one.is_compatible(other)


def _join(label: _Label, other: _Label) -> _Label:
    return tuple(two if one is None else one for one, two in zip(label, other, strict=True))
