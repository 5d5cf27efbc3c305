"""Territories: which bone of a scan belongs to which vertebra, on the scan's own voxels.

The registered mean vertebrae overlap at joints where a patient differs from the mean. Their insides are seeds, from
which a watershed (image foresting transform of Falcao, Stolfi and Lotufo 2004) grows along the bone; joint spaces are
darker, so that borders lie there. Arches have no seeds where bone leads to them: in a bent neck, laminae and spinous
processes lie up to a level away from those of the mean vertebra, but each hangs on its own.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse
from scipy.sparse.csgraph import dijkstra

from cspine.core.anatomy import SEGMENT_NUMBERS
from cspine.core.typing import Bools, Floats, Floats32, HounsfieldUnits, Labels
from cspine.insertion.registration import RegisteredVertebra, mean_parts, skull_base_parts
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.geometry.parts import sample_distance

MIN_BONE_HU: Final = 190.0
"""Smoothed voxels above are bone: half way from muscle to trabecular bone of adults."""

OTHER_BONE: Final = 255
"""Label of bone of no vertebra, such as the skull, and of all else that is as dense."""

_SMOOTHING_MM: Final = 0.5
_FAR_MM: Final = 5.5
"""Bone that lies further from every registered vertebra is a seed of `OTHER_BONE`."""

_MAX_GROWTH_MM: Final = 4.0
"""Distance from a registered vertebra up to which bone may belong to it; that of arches up to `_FAR_MM`."""

_CONTESTED_MM: Final = 1.5
"""Bone that is nearer to one registered vertebra than to all others by more than this belongs to it, but in arches."""

_SEED_DEPTH_MM: Final = 1.0
"""Depth inside a registered vertebra, and outside of all others, from which on bone is a seed."""

_ARCH_MM: Final = 19.0
"""Bone further behind the origin of its vertebra than this is lamina or spinous process."""

_CANAL_HALF_MM, _CANAL_MM = 15.0, 11.0
"""So is bone behind the vertebral canal: nearer to the midline than the first value, and further behind than the
second one."""

_DARK_HU: Final = (MIN_BONE_HU, 350.0)
_DARK_FACTOR: Final = 20.0
"""Smoothed bone below the second value is as dark as a joint that blur has closed; a way through bone as dark as the
first one counts 21 times."""

_MAX_CORTEX_MM: Final = 3.0
"""Distance over which bone at the border of the watershed is added to the nearest territory."""

_CLOSING_MM: Final = 1.0
_MAX_OUTSIDE_MM: Final = 0.5
"""Marrow spaces up to twice this wide are filled, and those that a slice shows closed where they lie in the registered
vertebra, or this close to it: the vertebral canal and the transverse foramina are closed in some slices, too."""

_CORE_DEPTH_MM: Final = 2.5
_MIN_MARROW_HU: Final = 70.0
"""Depth in a registered vertebra from which on all is its marrow that is as dense as this."""

_GRAY_LIMITS_HU: Final = (0.0, 1200.0)
"""Attenuation is clipped to this range before the watershed."""

_BACKGROUND: Final = -1
"""Seed of what is no bone: the watershed floods it last."""


def find_territories(hu: HounsfieldUnits | Floats32, grid: Grid, vertebrae: Mapping[str, RegisteredVertebra]) -> Labels:
    """Find which bone of a part of a scan belongs to which vertebra.

    Parameters
    ----------
    hu : (k, j, i)
        Hounsfield units.
    grid : Grid
        Their voxels, in LPS mm.
    vertebrae : dict
        Registered vertebrae by level.

    Returns
    -------
    (k, j, i) uint8
        `SEGMENT_NUMBERS` of the vertebra whose bone a voxel is, its marrow included; `OTHER_BONE` for other bone.
    """
    spacing_mm = grid.spacing_mm
    smooth = ndimage.gaussian_filter(hu.astype(np.float32), _SMOOTHING_MM / spacing_mm)
    bone = smooth > MIN_BONE_HU
    nearest, first, second, is_arch = _nearest_vertebrae(grid, vertebrae)
    seeds = np.zeros(bone.shape, np.int16)
    is_sure = bone & (first < -_SEED_DEPTH_MM) & (second > 0)
    is_root = is_sure & ~is_arch
    seeds[is_root] = nearest[is_root]
    owners = _follow_bone(bone & (first < _FAR_MM), smooth, seeds, spacing_mm)
    seeds[is_sure & (owners == 0)] = nearest[is_sure & (owners == 0)]  # of an arch that hangs on nothing
    is_led = is_arch & (owners > 0)
    seeds[is_led] = owners[is_led]
    seeds[bone & (first > _FAR_MM)] = OTHER_BONE
    seeds[~bone] = _BACKGROUND
    low, high = _GRAY_LIMITS_HU
    gray = np.asarray((np.clip(smooth, low, high) - low) * (255 / (high - low)), np.uint8)
    grown = ndimage.watershed_ift(gray, seeds, structure=ndimage.generate_binary_structure(3, 1))
    labels = np.where(bone & (grown > 0), grown, 0).astype(np.uint8)
    labels = _with_cortex(labels, bone, spacing_mm)
    is_clear = (labels > 0) & (second - first > _CONTESTED_MM) & ~is_arch
    labels[is_clear] = nearest[is_clear]
    labels[bone & (first > _MAX_GROWTH_MM) & ~is_led] = OTHER_BONE
    owner = np.where(is_arch, _nearest_label(labels, spacing_mm)[0], nearest)
    inside = (first < -_CORE_DEPTH_MM) & (smooth > _MIN_MARROW_HU)
    marrow = np.where(first < _MAX_OUTSIDE_MM, owner, np.uint8(0))
    return _with_marrow(labels, np.where(inside, owner, np.uint8(0)), marrow, spacing_mm)


def _nearest_label(labels: Labels, spacing_mm: Floats) -> tuple[Labels, Floats]:
    """Return the label of the nearest voxel that has one, and the distance from it in mm."""
    distance, index = ndimage.distance_transform_edt(labels == 0, spacing_mm, return_indices=True)
    return labels[tuple(index)], distance


def _follow_bone(bone: Bools, smooth: Floats32, seeds: npt.NDArray[np.int16], spacing_mm: Floats) -> Labels:
    """Return for each voxel of bone the label of the seed that the shortest way along the bone leads to; 0 for none.

    Ways through dark bone, as across a joint that is half closed, count as longer (Dijkstra's algorithm).

    Parameters
    ----------
    bone : (k, j, i) bool
        Where ways may run.
    smooth : (k, j, i)
        Smoothed HU.
    seeds : (k, j, i) int16
        Labels where they are positive.
    spacing_mm : (3,)
        Voxel spacing.
    """
    number = np.cumsum(bone, dtype=np.int32).reshape(bone.shape) - 1
    low, high = _DARK_HU
    slowness = 1 + _DARK_FACTOR * np.clip((high - smooth) / (high - low), 0.0, 1.0)
    starts, ends, lengths = [], [], []
    for axis, step_mm in enumerate(spacing_mm.tolist()):
        one = tuple(slice(None, -1) if each == axis else slice(None) for each in range(3))
        other = tuple(slice(1, None) if each == axis else slice(None) for each in range(3))
        both = bone[one] & bone[other]
        starts.append(number[one][both])
        ends.append(number[other][both])
        lengths.append(step_mm * np.maximum(slowness[one], slowness[other])[both])
    count = int(bone.sum())
    edges = np.concatenate(lengths), (np.concatenate(starts), np.concatenate(ends))
    graph = sparse.csr_array(edges, shape=(count, count))
    labels = seeds[bone]
    sources = np.flatnonzero(labels > 0)
    owners = np.zeros(bone.shape, np.uint8)
    if len(sources):
        _, _, nearest = dijkstra(graph, directed=False, indices=sources, return_predecessors=True, min_only=True)
        owners[bone] = np.where(nearest >= 0, labels[np.maximum(nearest, 0)], 0)
    return owners


def _nearest_vertebrae(
    grid: Grid, vertebrae: Mapping[str, RegisteredVertebra]
) -> tuple[Labels, Floats32, Floats32, Bools]:
    """Return what the registered vertebrae say of each voxel.

    Returns
    -------
    nearest : (k, j, i) uint8
        Number of the nearest vertebra.
    first, second : (k, j, i) float32
        Distance from it, and from the second, in mm.
    is_arch : (k, j, i) bool
        Whether the nearest one has its laminae and spinous process there.
    """
    far = np.float32(_FAR_MM + 1.0)
    first, second = np.full(grid.shape, far), np.full(grid.shape, far)
    nearest, is_arch = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.bool_)
    pieces = [(SEGMENT_NUMBERS[level], mean_parts(level), each) for level, each in vertebrae.items()]
    if "C1" in vertebrae:
        pieces.append((OTHER_BONE, skull_base_parts(), vertebrae["C1"]))
    for number, parts, vertebra in pieces:
        window = grid.window(vertebra.box_lps_mm(float(far)))
        if window is None:
            continue
        local = grid.crop(window).in_frame(vertebra.scaled_frame_lps)
        distance = sample_distance(parts, local, truncation_mm=float(far))
        is_nearest = distance < first[window]
        second[window] = np.where(is_nearest, first[window], np.minimum(second[window], distance))
        nearest[window][is_nearest] = number
        x, y, _ = local.points().coordinates((0.0, 0.0, 0.0))
        behind = (y > _ARCH_MM) | ((np.abs(x) < _CANAL_HALF_MM) & (y > _CANAL_MM))
        behind = np.broadcast_to(behind & (number != OTHER_BONE), distance.shape)
        is_arch[window][is_nearest] = behind[is_nearest]
        np.minimum(first[window], distance, out=first[window])
    return nearest, first, second, is_arch


def _with_cortex(labels: Labels, bone: Bools, spacing_mm: Floats) -> Labels:
    """Return the labels with bone that the background has flooded: it belongs to the nearest bone with a label."""
    nearest, distance = _nearest_label(labels, spacing_mm)
    nearest = np.where(distance < _MAX_CORTEX_MM, nearest, np.uint8(OTHER_BONE))
    return np.where(bone & (labels == 0), nearest, labels)


def _with_marrow(labels: Labels, core: Labels, marrow: Labels, spacing_mm: Floats) -> Labels:
    """Return the labels with the marrow of each vertebra, in place: its core, and what a closing of its bone fills.

    Holes of slices are filled where `marrow` has the number of the vertebra.
    """
    pad = np.ceil(2 * _CLOSING_MM / spacing_mm).astype(int).tolist()
    boxes: Sequence[tuple[slice, ...] | None] = ndimage.find_objects(labels, max(SEGMENT_NUMBERS.values()))
    for number, box in enumerate(boxes, start=1):
        if box is None:
            continue
        window = tuple(
            slice(max(part.start - n, 0), min(part.stop + n, size))
            for part, n, size in zip(box, pad, labels.shape, strict=True)
        )
        part = labels[window]
        closed = _closed((part == number) | (core[window] == number), marrow[window] == number, spacing_mm)
        part[(part == 0) & closed] = number
    return labels


def _closed(mask: Bools, marrow: Bools, spacing_mm: Floats) -> Bools:
    """Return a morphological closing by a ball, with holes in slices filled where there may be marrow."""
    grown = ndimage.distance_transform_edt(~mask, spacing_mm) <= _CLOSING_MM
    closed = mask | (ndimage.distance_transform_edt(grown, spacing_mm) > _CLOSING_MM)
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in closed])
    return np.asarray(closed | (filled & marrow))
