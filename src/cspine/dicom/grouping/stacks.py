"""Separate the images of one series into stacks: no place twice, one acquisition, one reconstruction.

Most series are one stack, which their positions show. Where places repeat, copies are told from other images by their
pixels; other images are separated by an attribute that divides them into stacks without repeats. Where no attribute
does, the images stay together, and `volume_checks` refuses them.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from cspine.core.typing import Floats, Indices
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.geometry import POSITION_TOLERANCE_MM, places
from cspine.dicom.grouping.attributes import Attribute, read_attributes
from cspine.dicom.grouping.copies import find_copies
from cspine.dicom.grouping.positions import extent_mm, is_stack, overlaps_mostly, positions_along_mm

MAX_ACQUISITIONS: Final = 50
"""A series with more acquisition numbers counts something else by them, such as table positions."""

MIN_INTERLEAVED_SLICES: Final = 3
"""Fewest slices of each of two stacks whose slices lie between each other's at uneven distances."""

MAX_INTERLEAVED: Final = 4
"""Most stacks whose slices lie between each other's at uneven distances."""

_MAX_DEPTH: Final = 4
"""Most attributes in turn by which a series is separated, such as phase, then energy."""

Members: TypeAlias = list[int]
"""Indices of the images of one stack."""


@dataclass(frozen=True)
class Separation:
    """The stacks of a group of images.

    Attributes
    ----------
    stacks : list of list of int
        Indices of the images of each stack; each image is in one of them.
    attributes : tuple of str
        Names of the attributes by which they were separated; empty for one stack.
    """

    stacks: list[Members]
    attributes: tuple[str, ...] = ()


def separate(headers: Sequence[SliceHeader]) -> Separation:
    """Separate images of equal size, orientation and spacing into stacks.

    Parameters
    ----------
    headers : sequence of SliceHeader
        The images; each has a position and an orientation.

    Returns
    -------
    Separation
    """
    together = Separation([list(range(len(headers)))])
    along_mm = positions_along_mm(headers)
    at_places = places(along_mm)
    if len(at_places) == len(headers):
        if len(headers) < 2 * MIN_INTERLEAVED_SLICES or is_stack(along_mm):
            return together
        return _separate_by_acquisition(headers, along_mm) or _separate_interleaved(headers, along_mm) or together
    if len(at_places) == 1:
        return together  # positions were lost: nothing can be told
    copies = _copies(headers, at_places)
    firsts = [number for number in range(len(headers)) if number not in copies]
    distinct_mm = along_mm[firsts]
    if len(firsts) == len(at_places) and (len(firsts) < 2 * MIN_INTERLEAVED_SLICES or is_stack(distinct_mm)):
        return together
    kept = [headers[number] for number in firsts]
    if len(firsts) == len(at_places):
        found = _separate_by_acquisition(kept, distinct_mm) or _separate_interleaved(kept, distinct_mm)
    else:
        found = _separate_repeats(kept, distinct_mm)
    return together if found is None else _with_copies(found, firsts, copies)


def _copies(headers: Sequence[SliceHeader], at_places: Iterable[Indices]) -> dict[int, int]:
    """Return the index of each copy with that of the image that it copies."""
    repeated = [sorted(indices.tolist()) for indices in at_places if len(indices) > 1]
    firsts = find_copies([[headers[number] for number in numbers] for numbers in repeated])
    return {
        number: numbers[first]
        for numbers, of_place in zip(repeated, firsts, strict=True)
        for number, first in zip(numbers, of_place, strict=True)
        if numbers[first] != number
    }


def _with_copies(found: Separation, firsts: Sequence[int], copies: dict[int, int]) -> Separation:
    """Return a separation of the first images with each copy in the stack of its first image."""
    of = defaultdict(list)
    for copy, first in copies.items():
        of[first].append(copy)
    stacks = [sorted(n for member in stack for n in (firsts[member], *of[firsts[member]])) for stack in found.stacks]
    return Separation(stacks, found.attributes)


def _separate_repeats(headers: Sequence[SliceHeader], along_mm: Floats) -> Separation | None:
    """Separate images that lie at one place with different pixels; None where no attribute tells them apart."""
    found = _separate_by_acquisition(headers, along_mm)
    if found is not None and all(is_stack(along_mm[stack], along_mm) for stack in found.stacks):
        return found
    attributes = list(read_attributes(headers))
    return _divide(attributes, along_mm, np.arange(len(headers)), _MAX_DEPTH)


def _divide(attributes: Sequence[Attribute], along_mm: Floats, members: Indices, depth: int) -> Separation | None:
    """Divide images by the first attribute that leaves no place twice, or else by one that leaves fewer."""
    multiplicity = _multiplicity(along_mm[members])
    partial: tuple[Attribute, list[Indices]] | None = None
    for attribute in attributes:
        classes = _classes(attribute, along_mm, members, multiplicity)
        if classes is None:
            continue
        if not attribute.is_named and min(map(len, classes)) < MIN_INTERLEAVED_SLICES:
            continue
        left = max(_multiplicity(along_mm[each]) for each in classes)
        if left == 1 and all(_is_stack(along_mm, each, members) for each in classes):
            return Separation([each.tolist() for each in classes], (attribute.name,))
        if partial is None and 1 < left < multiplicity and all(_is_stack(along_mm, each, members) for each in classes):
            partial = attribute, classes
    if partial is None or depth == 0:
        return None
    stacks: list[Members] = []
    names = [partial[0].name]
    for each in partial[1]:
        found = _divide(attributes, along_mm, each, depth - 1) if _multiplicity(along_mm[each]) > 1 else None
        stacks += [each.tolist()] if found is None else found.stacks
        names += [name for name in (found.attributes if found else ()) if name not in names]
    return Separation(stacks, tuple(names))


def _classes(attribute: Attribute, along_mm: Floats, members: Indices, multiplicity: int) -> list[Indices] | None:
    """Return the images of each value of an attribute, or of each run in time; None where there are too many."""
    if attribute.is_order:
        return _runs([attribute.labels[number] for number in members], along_mm, members, multiplicity)
    classes: dict[Hashable, Members] = defaultdict(list)
    for number in members.tolist():
        classes[attribute.labels[number]].append(number)
    if not 1 < len(classes) <= 2 * multiplicity + 2:
        return None
    if sum(len(each) < MIN_INTERLEAVED_SLICES for each in classes.values()) > multiplicity:
        return None
    return [np.array(each, dtype=np.intp) for each in classes.values()]


def _runs(numbers: Sequence[Hashable], along_mm: Floats, members: Indices, count: int) -> list[Indices] | None:
    """Cut images that are ordered by time or number into runs, at the widest pauses or jumps between them.

    The runs of repeated scans are apart in time. Numbers have no pauses: there the position jumps back to the start.
    """
    values = np.array([np.nan if number is None else number for number in numbers], dtype=np.float64)
    if np.isnan(values).any() or count < 2:
        return None
    order = np.lexsort((along_mm[members], values))
    pauses = np.diff(values[order])
    if np.all(pauses == 1.0):
        steps = np.abs(np.diff(along_mm[members][order]))
        pauses = np.abs(steps - np.median(steps))
    cuts = np.sort(np.argsort(-pauses, kind="stable")[: count - 1]) + 1
    widest_inside = np.delete(pauses, cuts - 1).max(initial=0.0)
    if pauses[cuts - 1].min() <= widest_inside:
        return None
    return [members[part] for part in np.split(order, cuts)]


def _is_stack(along_mm: Floats, members: Indices, union: Indices) -> bool:
    """Return whether the places of some images of a union form one stack."""
    first_mm = along_mm[members][[indices[0] for indices in places(along_mm[members])]]
    return is_stack(first_mm, along_mm[union])


def _multiplicity(along_mm: Floats) -> int:
    """Return the most images at one place."""
    return max(len(indices) for indices in places(along_mm))


def _separate_by_acquisition(headers: Sequence[SliceHeader], along_mm: Floats) -> Separation | None:
    """Separate repeated scans of one region, such as a second phase or a repeat after motion, by AcquisitionNumber.

    Acquisitions that continue each other stay together: each joins the first stack that does not overlap most of it.
    """
    numbers = {header.acquisition_number for header in headers}
    if not 1 < len(numbers) <= MAX_ACQUISITIONS or None in numbers:
        return None
    stacks: list[tuple[Members, list[tuple[float, float]]]] = []  # images, and extents of their acquisitions
    for acquisition in sorted(number for number in numbers if number is not None):
        members = [number for number, header in enumerate(headers) if header.acquisition_number == acquisition]
        along = along_mm[members]
        stack = next((each for each in stacks if not any(overlaps_mostly(extent, along) for extent in each[1])), None)
        if stack is None:
            stack = ([], [])
            stacks.append(stack)
        stack[0].extend(members)
        stack[1].append(extent_mm(along))
    found: list[Members] = []
    overlapping: list[Members] = []
    for members, extents in stacks:
        rest = _overlapping(members, extents, headers, along_mm)
        found.append([number for number in members if number not in rest])
        overlapping += [sorted(rest)] if rest else []
    if len(found) + len(overlapping) == 1:
        return None
    return Separation([sorted(members) for members in (*found, *overlapping)], ("AcquisitionNumber",))


def _overlapping(
    stack: Members, extents: Sequence[tuple[float, float]], headers: Sequence[SliceHeader], along_mm: Floats
) -> set[int]:
    """Return the images that lie within an earlier acquisition of their stack, of which they repeat the end."""
    acquisitions = list(dict.fromkeys(headers[number].acquisition_number for number in stack))
    return {
        number
        for number in stack
        for low, high in extents[: acquisitions.index(headers[number].acquisition_number)]
        if low - POSITION_TOLERANCE_MM < along_mm[number] < high + POSITION_TOLERANCE_MM
    }


def _separate_interleaved(headers: Sequence[SliceHeader], along_mm: Floats) -> Separation | None:
    """Separate stacks whose slices lie between each other's at uneven distances, such as those of another increment."""
    for attribute in read_attributes(headers):
        if attribute.is_order:
            continue
        classes: dict[Hashable, Members] = defaultdict(list)
        for number, label in enumerate(attribute.labels):
            classes[label].append(number)
        if is_interleaved(list(classes.values()), along_mm):
            return Separation(list(classes.values()), (attribute.name,))
    return None


def is_interleaved(classes: Sequence[Sequence[int]], along_mm: Floats) -> bool:
    """Return whether classes of images are a few even stacks that lie over each other.

    Parameters
    ----------
    classes : sequence of sequences of int
        Indices of the images of each class.
    along_mm : (n,) float array
        Positions of all images along their normal.
    """
    if not 1 < len(classes) <= MAX_INTERLEAVED or min(map(len, classes)) < MIN_INTERLEAVED_SLICES:
        return False
    if not all(is_stack(along_mm[list(each)]) for each in classes):
        return False
    widest = max(classes, key=lambda each: np.ptp(along_mm[list(each)]))
    extent = extent_mm(along_mm[list(widest)])
    return all(overlaps_mostly(extent, along_mm[list(each)]) for each in classes if each is not widest)
