"""A spine with a scoliosis and a rotated head, as a map of vertebrae without any CT."""

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from cspine.core.typing import Floats
from cspine.spine.spine_map import SpineMap, Vertebra

HEIGHTS_MM = np.linspace(60.0, -60.0, 8)
CANAL_Y_MM = 5.0


def canal_x_mm(z_mm: npt.ArrayLike) -> Floats:
    """Return LPS x of the canal at heights: a scoliosis."""
    return np.asarray(12.0 * np.sin(np.asarray(z_mm) / 30.0))


def rotation_deg(z_mm: npt.ArrayLike) -> Floats:
    """Return the axial rotation of vertebrae at heights: a rotated head."""
    return np.asarray(0.25 * np.asarray(z_mm))


def beside_canal(left_mm: float, back_mm: float, z_mm: npt.ArrayLike) -> Floats:
    """Return points at a fixed distance left of and behind the canal, (n, 3) LPS mm."""
    angle, z = np.radians(rotation_deg(z_mm)), np.asarray(z_mm)
    x = canal_x_mm(z) + left_mm * np.cos(angle) - back_mm * np.sin(angle)
    return np.stack([x, CANAL_Y_MM + left_mm * np.sin(angle) + back_mm * np.cos(angle), z], axis=-1)


def scoliotic_spine() -> SpineMap:
    """Return the vertebrae C1 to T1 of that spine."""
    vertebrae = []
    for number, z in enumerate(HEIGHTS_MM.tolist()):
        level = f"C{number + 1}" if number < 7 else "T1"
        canal_posterior_mm = {"C1": 7.2, "C2": 14.8}.get(level, 14.4)
        frame = np.eye(4)
        frame[:3, :3] = Rotation.from_euler("z", float(rotation_deg(z)), degrees=True).as_matrix()
        frame[:3, 3] = np.array([float(canal_x_mm(z)), CANAL_Y_MM, z]) - canal_posterior_mm * frame[:3, 1]
        vertebrae.append(Vertebra(level, frame, frame[:3, 3], np.array([[-9, -9, -7], [9, 9, 7]]), 1.0, 1.0, 9000.0))
    return SpineMap(tuple(vertebrae))
