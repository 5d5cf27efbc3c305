"""What surrounds the vertebrae: skin, fat, muscle, airway, cord, discs, skull base, jaw and teeth."""

import numpy as np
import numpy.typing as npt

from cspine.phantom.shapes import Field, Points, capsule, drum, ellipsoid
from cspine.phantom.spine import STACK, SpinePlan
from cspine.phantom.vertebra import BUILDS, HEIGHTS

AIR, FAT, MUSCLE, CORD, CSF, DISC = -1000.0, -90.0, 50.0, 38.0, 15.0, 90.0
"""HU of soft tissue; the design notes' ranges' middles."""

Hu = npt.NDArray[np.float32]


def soft_tissue(plan: SpinePlan, points: Points) -> Hu:
    """Return HU of everything but bone.

    Parameters
    ----------
    plan : SpinePlan
        Whose neck.
    points : three arrays
        LPS in mm: x of shape (1, 1, i), y (1, j, 1), z (k, 1, 1).
    """
    x, y, z = points
    heights = np.array([plan.frames[level].centre_mm[2] for level in STACK])
    spine_x = np.interp(z, heights, [plan.frames[level].centre_mm[0] for level in STACK]).astype(np.float32)
    spine_y = np.interp(z, heights, [plan.frames[level].centre_mm[1] for level in STACK]).astype(np.float32)
    shoulder, chin = heights[1] + 25.0, plan.frames["C3"].centre_mm[2]
    wide = plan.neck_radius_mm + 2.2 * np.maximum(shoulder - z, 0) + 0.25 * np.maximum(z - chin, 0)
    deep = plan.neck_radius_mm + 0.3 * np.maximum(shoulder - z, 0) + 0.6 * np.maximum(z - chin, 0)
    front = spine_y - 6.0 - 0.25 * np.maximum(z - chin, 0)
    reach = np.sqrt(((x - spine_x) / wide) ** 2 + ((y - front) / deep) ** 2)
    skin = (1 - reach) * plan.neck_radius_mm  # mm below the skin, roughly
    hu = np.where(skin > 8.0, MUSCLE, np.where(skin > 2.0, FAT, 20.0)).astype(np.float32)
    hu[skin < 0] = AIR
    airway = np.sqrt(((x - spine_x) / 9.0) ** 2 + ((y - spine_y + 24.0) / 7.0) ** 2)
    hu[np.broadcast_to((airway < 1) & (z < plan.frames["C1"].centre_mm[2] + 5.0), hu.shape)] = AIR
    canal = np.sqrt(((x - spine_x) / 9.0) ** 2 + ((y - spine_y - 15.0) / 6.5) ** 2)
    hu[np.broadcast_to(canal < 1, hu.shape)] = CSF
    hu[np.broadcast_to(canal < 0.6, hu.shape)] = CORD
    return hu


def disc(level: str, points: Points) -> Field:
    """Return the signed distance to the disc below a vertebra of the C3 kind or C2, in that vertebra's frame."""
    height = HEIGHTS[level]
    build = BUILDS.get(level, BUILDS["C3"])
    bottom = height / 2 + (1.0 if level == "C2" else 0.0)
    return drum(points, (0.0, 0.0, -bottom - 2.4), (build.width / 2, build.depth / 2), 5.2, 0.0)


def skull(points: Points) -> Field:
    """Return the signed distance to skull base, condyles and jaw, in LPS shifted so that C1 is the origin."""
    x, y, _ = points
    outer = ellipsoid(points, (0.0, -8.0, 82.0), (72.0, 92.0, 74.0))
    shell = np.abs(outer + 3.0) - 3.0
    magnum = np.hypot(x, (y - 8.0) * 0.85) - 15.0
    parts = [np.maximum(shell, -magnum), capsule(points, (0.0, -12.0, 14.0), (0.0, -34.0, 40.0), 6.0)]
    for side in (-1.0, 1.0):
        parts += [
            ellipsoid(points, (side * 16.5, 1.0, 12.5), (6.0, 9.0, 5.0)),
            capsule(points, (side * 46.0, -20.0, 10.0), (side * 44.0, -28.0, -22.0), 5.0),
            capsule(points, (side * 44.0, -28.0, -22.0), (side * 22.0, -78.0, -34.0), 5.5),
            capsule(points, (side * 22.0, -78.0, -34.0), (0.0, -86.0, -35.0), 6.0),
        ]
    return np.asarray(np.minimum.reduce(np.broadcast_arrays(*parts)), np.float32)


def teeth(points: Points) -> Field:
    """Return the signed distance to both rows of teeth, in the frame of `skull`."""
    x, y, z = points
    arch = np.abs(np.hypot(x / 26.0, (y + 48.0) / 36.0) - 1.0) * 26.0 - 4.0
    rows = np.abs(np.abs(z + 20.0) - 6.0) - 4.5
    return np.asarray(np.maximum(np.maximum(arch, rows), y + 52.0), np.float32)
