"""A neck's plan to voxels: bone in each vertebra's own window, blur, noise."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cspine.anatomy import SEGMENT_NUMBERS, Level
from cspine.phantom import neck
from cspine.phantom.fracture import Crack, draw_cracks
from cspine.phantom.labels import draw_levels
from cspine.phantom.settings import PhantomSettings
from cspine.phantom.shapes import Field, Points
from cspine.phantom.spine import STACK, Frame, SpinePlan, draw_spine
from cspine.phantom.vertebra import bone

CORTEX_MM: Final = 1.0
_WINDOW_MM: Final = np.array([[-40.0, -24.0, -28.0], [40.0, 58.0, 32.0]])
"""Corners of the box, in a vertebra's frame, that holds any of them."""


@dataclass(frozen=True)
class PhantomStudy:
    """One phantom study with its truth.

    Attributes
    ----------
    hu : (k, j, i) int16
        k from the feet to the head, j to the back, i to the left.
    affine_lps : (4, 4)
        From ``[k, j, i, 1]`` to LPS mm.
    labels : (k, j, i) uint8
        1-7 C1-C7, 8 T1, 9 T2, as the challenge numbers them.
    fracture : (k, j, i) uint8
        Number of the cracked vertebra where its crack runs.
    truth : dict
        Fractured levels; per fracture level, kind, width, displacement and place; per vertebra its centre.
    """

    hu: npt.NDArray[np.int16]
    affine_lps: npt.NDArray[np.float64]
    labels: npt.NDArray[np.uint8]
    fracture: npt.NDArray[np.uint8]
    truth: dict[str, Any]


@dataclass
class _Canvas:
    """The voxels while they are being drawn."""

    hu: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    fracture: npt.NDArray[np.uint8]
    axes: Points
    voxel_mm: float
    texture: npt.NDArray[np.float32]


def render_study(seed: int, index: int, settings: PhantomSettings) -> PhantomStudy:
    """Draw and scan one neck; the same for the same seed, index and settings.

    Parameters
    ----------
    seed, index : int
        Which study.
    settings : PhantomSettings
        Ranges to draw from.
    """
    rng = np.random.default_rng([seed, index])
    levels = draw_levels(rng, settings.prevalence)
    plan = draw_spine(rng, lateral_offset_mm=settings.lateral_offset_mm)
    cracks = {level: draw_cracks(level, settings, rng) for level in levels}
    affine, shape = _grid(plan, settings, rng)
    canvas = _canvas(plan, affine, shape, rng)
    _draw_skull(canvas, plan)
    for level in STACK:
        _draw_vertebra(canvas, plan, level, cracks.get(level, ()))  # type: ignore[call-overload]
    hu = _scan(canvas.hu, affine, settings, rng)
    truth = _truth(plan, cracks, canvas, affine)
    return PhantomStudy(hu, affine, canvas.labels, canvas.fracture, truth)


def _grid(
    plan: SpinePlan, settings: PhantomSettings, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float64], tuple[int, int, int]]:
    """Return affine and shape of a scan from T2 to the skull base."""
    field = rng.uniform(*settings.field_mm)
    pixel, spacing = field / settings.matrix, rng.uniform(*settings.slice_spacing_mm)
    bottom = plan.frames["T2"].centre_mm[2] - rng.uniform(0.0, 14.0)
    top = plan.frames["C1"].centre_mm[2] + rng.uniform(18.0, 40.0)
    count = int((top - bottom) / spacing) + 1
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = spacing, pixel, pixel, 1.0
    middle = plan.frames["C4"].centre_mm[1] - 12.0 + rng.uniform(-6.0, 6.0)
    affine[:3, 3] = np.round([-(field - pixel) / 2, middle - (field - pixel) / 2, bottom], 3)
    return affine, (count, settings.matrix, settings.matrix)


def _canvas(
    plan: SpinePlan, affine: npt.NDArray[np.float64], shape: tuple[int, int, int], rng: np.random.Generator
) -> _Canvas:
    z = (affine[2, 3] + affine[2, 0] * np.arange(shape[0], dtype=np.float32))[:, None, None]
    y = (affine[1, 3] + affine[1, 1] * np.arange(shape[1], dtype=np.float32))[None, :, None]
    x = (affine[0, 3] + affine[0, 2] * np.arange(shape[2], dtype=np.float32))[None, None, :]
    axes = (x.astype(np.float32), y.astype(np.float32), z.astype(np.float32))
    texture = ndimage.gaussian_filter(rng.standard_normal((48, 48, 48), dtype=np.float32), 0.8, mode="wrap")
    return _Canvas(
        hu=neck.soft_tissue(plan, axes),
        labels=np.zeros(shape, np.uint8),
        fracture=np.zeros(shape, np.uint8),
        axes=axes,
        voxel_mm=float(np.cbrt(affine[2, 0] * affine[1, 1] * affine[0, 2])),
        texture=texture / texture.std(),
    )


def _draw_skull(canvas: _Canvas, plan: SpinePlan) -> None:
    centre = plan.frames["C1"].centre_mm
    x, y, z = canvas.axes
    low = int(np.searchsorted(z.ravel(), centre[2] - 45.0))
    points = (
        (x - np.float32(centre[0])) / np.float32(plan.size),
        (y - np.float32(centre[1])) / np.float32(plan.size),
        (z[low:] - np.float32(centre[2])) / np.float32(plan.size),
    )
    part = canvas.hu[low:]
    _fill(part, neck.skull(points), canvas.voxel_mm, 1000.0, 500.0)
    _fill(part, neck.teeth(points), canvas.voxel_mm, 2200.0, 1800.0)


def _fill(hu: npt.NDArray[np.float32], distance: Field, voxel_mm: float, cortex: float, inside: float) -> None:
    share = np.clip(0.5 - distance / np.float32(voxel_mm), 0, 1)
    hu += share * (np.where(distance > -2.0, np.float32(cortex), np.float32(inside)) - hu)


def _draw_vertebra(canvas: _Canvas, plan: SpinePlan, level: str, cracks: tuple[Crack, ...]) -> None:
    """Draw one vertebra and the disc below it in the box that holds it."""
    frame = plan.frames[level]
    box = _window(canvas, frame, plan.size)
    if any(part.start >= part.stop for part in box):
        return
    points = _local_points(canvas, frame, plan.size, box)
    hu, labels = canvas.hu[box], canvas.labels[box]
    if level not in {"C1", "T2"}:
        _fill(hu, neck.disc(level, points) * np.float32(plan.size), canvas.voxel_mm, neck.DISC, neck.DISC)
    distance = bone(level, points)
    intact = distance
    for crack in cracks:
        distance, gap = _break(level, distance, intact, crack, points)
        canvas.fracture[box][gap] = SEGMENT_NUMBERS[level]
    distance = distance * np.float32(plan.size)
    share = np.clip(0.5 - distance / np.float32(canvas.voxel_mm), 0, 1)
    texture = canvas.texture[tuple(np.ix_(*[np.arange(s.start, s.stop) % 48 for s in box]))]
    inner = np.float32(plan.trabecular_hu) * (1 + np.float32(0.25) * texture)
    deep = np.clip((-distance - CORTEX_MM) / np.float32(0.6), 0, 1)
    hu += share * (np.float32(plan.cortex_hu) + deep * (inner - np.float32(plan.cortex_hu)) - hu)
    labels[distance < 0] = SEGMENT_NUMBERS[level]


def _break(
    level: str, distance: Field, intact: Field, crack: Crack, points: Points
) -> tuple[Field, npt.NDArray[np.bool_]]:
    """Move the fragment and open the gap; returns the distance to what is left and where the gap is."""
    within, side = crack.within(points), crack.side(points)
    moved: Points = tuple(p - np.float32(s) for p, s in zip(points, crack.shift_mm, strict=True))  # type: ignore[assignment]
    broken = np.where(within & (side > 0), bone(level, moved), distance)
    gap = within & (np.abs(side) < crack.width_mm / 2) & (intact < 0)
    opened = np.where(within, np.maximum(broken, np.float32(crack.width_mm / 2) - np.abs(side)), broken)
    return opened.astype(np.float32), gap


def _window(canvas: _Canvas, frame: Frame, size: float) -> tuple[slice, slice, slice]:
    """Return the box of voxels, as slices of k, j and i, that holds a vertebra."""
    corners = np.array(np.meshgrid(*_WINDOW_MM.T, indexing="ij")).reshape(3, -1) * size
    lps = frame.axes @ corners + frame.centre_mm[:, None]
    x, y, z = (axis.ravel() for axis in canvas.axes)
    bounds = [
        slice(int(np.searchsorted(axis, low)), int(np.searchsorted(axis, high)))
        for axis, low, high in zip((x, y, z), lps.min(axis=1), lps.max(axis=1), strict=True)
    ]
    return bounds[2], bounds[1], bounds[0]


def _local_points(canvas: _Canvas, frame: Frame, size: float, box: tuple[slice, slice, slice]) -> Points:
    """Return the voxels of a box in the vertebra's own frame, in mm of a neck of size 1."""
    x, y, z = canvas.axes
    offsets = [
        x[:, :, box[2]] - np.float32(frame.centre_mm[0]),
        y[:, box[1], :] - np.float32(frame.centre_mm[1]),
        z[box[0]] - np.float32(frame.centre_mm[2]),
    ]
    columns = (frame.axes / size).astype(np.float32)
    first, second, third = (sum(o * columns[row, axis] for row, o in enumerate(offsets)) for axis in range(3))
    return np.asarray(first), np.asarray(second), np.asarray(third)


def _scan(
    hu: npt.NDArray[np.float32], affine: npt.NDArray[np.float64], settings: PhantomSettings, rng: np.random.Generator
) -> npt.NDArray[np.int16]:
    """Blur within slices and add noise that is as fine as the blur leaves it."""
    pixel = float(affine[1, 1])
    sigma = rng.uniform(*settings.blur_mm) / pixel
    level = rng.uniform(*settings.noise_hu)
    noise = rng.standard_normal(hu.shape, dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, (0.0, 0.6, 0.6), mode="wrap")
    scanned = ndimage.gaussian_filter(hu, (0.0, sigma, sigma), mode="nearest")
    scanned += noise * np.float32(level / noise.std()) if level else 0.0
    return np.clip(np.rint(scanned), -1024, 3071).astype(np.int16)


def _truth(
    plan: SpinePlan, cracks: dict[Level, tuple[Crack, ...]], canvas: _Canvas, affine: npt.NDArray[np.float64]
) -> dict[str, Any]:
    fractures = [
        {
            "level": level,
            "kind": crack.kind,
            "width_mm": crack.width_mm * plan.size,
            "displacement_mm": float(np.linalg.norm(crack.shift_mm)) * plan.size,
            "centre_lps_mm": plan.frames[level].to_lps(crack.centre_mm * plan.size).tolist(),
        }
        for level, parts in cracks.items()
        for crack in parts
    ]
    top = affine[2, 3] + affine[2, 0] * (canvas.hu.shape[0] - 1)
    return {
        "levels": list(cracks),
        "fractures": fractures,
        "vertebrae": {level: frame.centre_mm.tolist() for level, frame in plan.frames.items()},
        "scanned_z_mm": [float(affine[2, 3]), float(top)],
    }
