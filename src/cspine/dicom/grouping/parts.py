"""Divide the images of one series UID into parts: one size, orientation, spacing, acquisition and reconstruction."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.geometry import MAX_ORIENTATION_JITTER_DEG, orientation_jitter_deg
from cspine.dicom.grouping.positions import extent_mm, is_stack, overlaps_mostly, positions_along_mm
from cspine.dicom.grouping.stacks import is_interleaved, separate
from cspine.dicom.grouping.traits import FRAME_OF_REFERENCE, group_by_traits
from cspine.dicom.series import SkippedFile

HEADER_TOLERANCE: Final = 2e-3
"""Direction cosines and pixel spacings (mm) that differ less are equal: 0.1 degrees, 1 mm over 512 pixels."""

MAX_PARTS: Final = 200
"""Most groups of images of equal size and geometry in one series; real series have a few."""

_MAX_JITTER: Final = 0.035
"""Direction cosines of slices of one stack differ less, even if every slice writes its own: 2 degrees."""

_MAX_ORIENTATIONS: Final = 4
"""Up to so many orientations are those of stacks; more of them, one for few slices each, are one that is not exact."""

_ORIENTATION: Final = "ImageOrientationPatient"

_THICKNESS_TOLERANCE: Final = 0.1
"""Slice thicknesses that differ by a smaller fraction are equal."""


@dataclass(frozen=True)
class Part:
    """Images of one series UID that may form one stack.

    Attributes
    ----------
    headers : list of SliceHeader
        The images, in the files' order.
    warnings : tuple of str
        Sentences about images that were kept apart or left out.
    """

    headers: list[SliceHeader]
    warnings: tuple[str, ...] = ()


def divide_series(headers: Sequence[SliceHeader]) -> tuple[list[Part], list[SkippedFile]]:
    """Divide the images of one series UID into parts.

    Parameters
    ----------
    headers : sequence of SliceHeader
        The images, in the files' order.

    Returns
    -------
    parts : list of Part
        At least one, in the order of their first images.
    excess : list of SkippedFile
        Files that belong to no part: those beyond `MAX_PARTS`, and those that cannot be placed beside others that can.
    """
    clusters, excess = _by_geometry(headers)
    clusters, unplaced = _without_unplaced(clusters)
    parts: list[Part] = []
    differing = _beside_each_other(clusters)
    for number, cluster in enumerate(clusters):
        if not _is_placed(cluster[0]) or len(cluster) == 1 or not all(map(_is_placed, cluster)):
            divided = [Part(cluster)]
        else:
            divided = _by_orientation(cluster)
        left_out = tuple(_left_out_warning(each) for each in unplaced.get(number, ()))
        if number in differing:
            left_out += (
                f"its series holds other slices between these, of another {differing[number]}; they are kept apart",
            )
        parts += [Part(part.headers, (*part.warnings, *left_out)) for part in divided]
    excess += [
        SkippedFile(header.file.name, f"{_lacking(header)} is missing, so that the image cannot be placed in space")
        for each in unplaced.values()
        for left in each
        for header in left
        if header.frames == 1
    ]
    order = {id(header): number for number, header in enumerate(headers)}
    return sorted(parts, key=lambda part: order[id(part.headers[0])]), excess


# --- size and spacing ------------------------------------------------------------------------------------------------


def _by_geometry(headers: Iterable[SliceHeader]) -> tuple[list[list[SliceHeader]], list[SkippedFile]]:
    """Cluster images by size, spacing and orientation, within a tolerance, since writers round them."""
    clusters: list[list[SliceHeader]] = []
    excess: list[SkippedFile] = []
    cluster_of: dict[object, list[SliceHeader] | None] = {}
    for header in headers:
        key = (*_exact_key(header), header.pixel_spacing_mm, header.orientation)
        if key not in cluster_of:
            cluster = next((each for each in clusters if _is_alike(each[0], header)), None)
            if cluster is None and len(clusters) < MAX_PARTS:
                cluster = []
                clusters.append(cluster)
            cluster_of[key] = cluster
        cluster = cluster_of[key]
        if cluster is None:
            excess.append(SkippedFile(header.file.name, f"its series holds images of more than {MAX_PARTS} geometries"))
        else:
            cluster.append(header)
    return clusters, excess


def _exact_key(header: SliceHeader) -> tuple[object, ...]:
    return (header.rows, header.columns, header.frames > 1, _is_scout(header), header.position_mm is None)


def _is_alike(one: SliceHeader, other: SliceHeader) -> bool:
    return (
        _exact_key(one) == _exact_key(other)
        and _is_close(one.pixel_spacing_mm, other.pixel_spacing_mm, HEADER_TOLERANCE)
        and _is_close(one.orientation, other.orientation, _MAX_JITTER)
    )


def _is_close(one: tuple[float, ...] | None, other: tuple[float, ...] | None, tolerance: float) -> bool:
    if one is None or other is None:
        return one is other
    return all(abs(a - b) < tolerance for a, b in zip(one, other, strict=True))


def _beside_each_other(clusters: Sequence[list[SliceHeader]]) -> dict[int, str]:
    """Return in what clusters of parallel slices differ that lie at the same places as those of the largest one."""
    placed = [n for n, each in enumerate(clusters) if all(map(_is_placed, each)) and not _is_scout(each[0])]
    differing: dict[int, str] = {}
    if len(placed) < 2:
        return differing
    largest = max(placed, key=lambda number: len(clusters[number]))
    one = clusters[largest][0]
    for number in placed:
        other = clusters[number][0]
        if number == largest or not _is_close(one.orientation, other.orientation, _MAX_JITTER):
            continue
        along_mm = positions_along_mm([*clusters[largest], *clusters[number]])
        n_largest = len(clusters[largest])
        if overlaps_mostly(extent_mm(along_mm[:n_largest]), along_mm[n_largest:]):
            is_size = (one.rows, one.columns) != (other.rows, other.columns)
            differing[number] = differing[largest] = "size" if is_size else "PixelSpacing"
    return differing


def _is_scout(header: SliceHeader) -> bool:
    return "LOCALIZER" in header.image_type


# --- images that cannot be placed ------------------------------------------------------------------------------------


def _is_placed(header: SliceHeader) -> bool:
    return None not in {header.position_mm, header.orientation, header.pixel_spacing_mm}


def _lacking(header: SliceHeader) -> str:
    if header.position_mm is None:
        return "ImagePositionPatient"
    return _ORIENTATION if header.orientation is None else "PixelSpacing"


def _without_unplaced(
    clusters: list[list[SliceHeader]],
) -> tuple[list[list[SliceHeader]], dict[int, list[list[SliceHeader]]]]:
    """Take out images that lack a position, an orientation or a spacing and otherwise are like others that have it.

    Where fewer images have it than lack it, all of them stay together, and the series states what is missing.
    """
    placed = [cluster for cluster in clusters if _is_placed(cluster[0])]
    rest = [cluster for cluster in clusters if not _is_placed(cluster[0])]
    unplaced: dict[int, list[list[SliceHeader]]] = defaultdict(list)
    for cluster in rest:
        number = next((n for n, other in enumerate(placed) if _is_alike_but_unplaced(cluster[0], other[0])), None)
        if number is None:
            placed.append(cluster)
        elif len(cluster) > len(placed[number]):
            placed[number] = [*cluster, *placed[number]]
        else:
            unplaced[number].append(cluster)
    return placed, unplaced


def _is_alike_but_unplaced(unplaced: SliceHeader, placed: SliceHeader) -> bool:
    return (
        _is_placed(placed)
        and _exact_key(unplaced)[:-1] == _exact_key(placed)[:-1]
        and (unplaced.modality, unplaced.sop_class_uid, unplaced.image_type)
        == (placed.modality, placed.sop_class_uid, placed.image_type)
        and (unplaced.pixel_spacing_mm is None or unplaced.pixel_spacing_mm == placed.pixel_spacing_mm)
    )


def _left_out_warning(headers: Sequence[SliceHeader]) -> str:
    name, count = headers[0].file.name, len(headers)
    if count == 1:
        return f"{name} is left out, because {_lacking(headers[0])} is missing from it"
    return (
        f"{name} and {count - 1} more of its series are left out, because {_lacking(headers[0])} is missing from them"
    )


# --- orientation -----------------------------------------------------------------------------------------------------


def _by_orientation(headers: list[SliceHeader]) -> list[Part]:
    clusters = _orientation_clusters(headers)
    parts = [part for cluster in clusters for part in _by_trait(cluster)]
    if len(clusters) == 1:
        return parts
    return [Part(p.headers, (*p.warnings, *apart_warning(p.headers, len(clusters), [_ORIENTATION]))) for p in parts]


def _orientation_clusters(headers: list[SliceHeader]) -> list[list[SliceHeader]]:
    """Divide images of about one orientation, unless every slice of one stack writes its own direction cosines."""
    orientations = {header.orientation for header in headers}
    if len(orientations) == 1:
        return [headers]
    clusters: list[list[SliceHeader]] = []
    for header in headers:
        alike = (each for each in clusters if _is_close(each[0].orientation, header.orientation, HEADER_TOLERANCE))
        cluster = next(alike, None)
        if cluster is None:
            clusters.append([header])
        else:
            cluster.append(header)
    if len(clusters) == 1:
        return clusters
    jitter_deg = float(orientation_jitter_deg(np.array([header.orientation for header in headers])).max())
    if jitter_deg <= MAX_ORIENTATION_JITTER_DEG and is_stack(positions_along_mm(headers)):
        return [headers]
    is_jitter = len(orientations) > max(_MAX_ORIENTATIONS, len(headers) // 4) or len(clusters) > MAX_PARTS
    return [headers] if is_jitter else clusters


# --- acquisition and reconstruction ----------------------------------------------------------------------------------


def _by_trait(headers: list[SliceHeader]) -> list[Part]:
    by_traits = group_by_traits(headers)
    stacks: list[list[SliceHeader]] = []
    names = list(by_traits.differences)
    for members in by_traits.groups:
        by_thickness = _by_thickness([headers[number] for number in members])
        names += ["SliceThickness"] * (len(by_thickness) > 1)
        for same in by_thickness:
            separation = separate(same)
            stacks += [[same[number] for number in stack] for stack in separation.stacks]
            names += separation.attributes
    warnings = []
    if FRAME_OF_REFERENCE in by_traits.numbering:
        warnings.append(
            f"each file carries a frame of reference of its own; {len(headers)} files were put together by position"
        )
    return [Part(stack, (*warnings, *apart_warning(stack, len(stacks), names))) for stack in stacks]


def _by_thickness(headers: list[SliceHeader]) -> list[list[SliceHeader]]:
    """Divide images whose slices of different thickness lie between each other's."""
    known = [header.slice_thickness_mm for header in headers]
    if len(set(known)) == 1 or None in known:
        return [headers]
    thickness = np.array(known, dtype=np.float64)
    order = np.argsort(thickness, kind="stable")
    is_next = np.diff(thickness[order]) > _THICKNESS_TOLERANCE * thickness[order][1:]
    classes = [sorted(each.tolist()) for each in np.split(order, np.flatnonzero(is_next) + 1)]
    if not is_interleaved(classes, positions_along_mm(headers)):
        return [headers]
    return [[headers[number] for number in each] for each in classes]


def apart_warning(stack: Sequence[SliceHeader], count: int, names: Sequence[str]) -> tuple[str, ...]:
    """Return the sentence about a stack that is one of several of a series; none where it is the only one.

    Parameters
    ----------
    stack : sequence of SliceHeader
        Images of the stack.
    count : int
        Number of stacks.
    names : sequence of str
        Names of the attributes in which the stacks differ.
    """
    if count == 1:
        return ()
    return (
        f"its series holds {count} stacks that differ in {' and '.join(dict.fromkeys(names))}; they are kept apart, "
        f"and this one has {len(stack)} slice{'s' * (len(stack) > 1)}",
    )
