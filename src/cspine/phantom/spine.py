"""The plan of one neck: where each vertebra stands, how it is turned, and how large the neck is."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from cspine.phantom.vertebra import HEIGHTS

STACK: Final = ("T2", "T1", "C7", "C6", "C5", "C4", "C3", "C2", "C1")
"""From the feet up."""

_PITCH_DEG: Final = dict(zip(STACK, (-24.0, -22.0, -18.0, -11.0, -5.0, 0.0, 4.0, 6.0, 4.0), strict=True))
"""How each vertebra leans back in a common lordosis: lower ones forward, upper ones upright."""


@dataclass(frozen=True)
class Frame:
    """Where a vertebra stands.

    Attributes
    ----------
    centre_mm : (3,)
        LPS.
    axes : (3, 3)
        Columns are the vertebra's own x, y and z as LPS unit vectors.
    """

    centre_mm: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float64]

    def to_lps(self, local: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the LPS place of a place in the vertebra's frame."""
        return np.asarray(self.centre_mm + self.axes @ np.asarray(local, dtype=np.float64))


@dataclass(frozen=True)
class SpinePlan:
    """One neck, without its fractures."""

    frames: dict[str, Frame]
    size: float
    cortex_hu: float
    trabecular_hu: float
    neck_radius_mm: float


def draw_spine(rng: np.random.Generator, *, lateral_offset_mm: float) -> SpinePlan:
    """Draw a neck: size, posture, turn, lateral place and bone density."""
    size = float(np.clip(rng.normal(1.0, 0.06), 0.85, 1.15))
    lordosis = rng.uniform(0.2, 1.4)
    turn, roll = np.radians(rng.normal(0.0, 6.0)), np.radians(rng.normal(0.0, 3.0))
    disc = rng.uniform(3.8, 5.6)
    place = np.array([rng.uniform(-1, 1) * lateral_offset_mm, rng.uniform(5.0, 20.0), 0.0])
    frames: dict[str, Frame] = {}
    for number, level in enumerate(STACK):
        pitch = np.radians(_PITCH_DEG[level] * lordosis + rng.normal(0.0, 1.5))
        twist = turn * max(0, number - 2) / 6
        axes = Rotation.from_euler("ZYX", [twist, roll, -pitch]).as_matrix()
        if number:
            below = STACK[number - 1]
            step = (HEIGHTS[below] + HEIGHTS[level]) / 2 + (
                disc if level not in {"C1", "C2"} else 4.0 + (level == "C1")
            )
            mean_axis = frames[below].axes[:, 2] + axes[:, 2]
            place = place + mean_axis / np.linalg.norm(mean_axis) * step * size
        frames[level] = Frame(place, axes)
    return SpinePlan(
        frames=frames,
        size=size,
        cortex_hu=float(rng.uniform(750, 1250)),
        trabecular_hu=float(rng.uniform(190, 380)),
        neck_radius_mm=float(rng.uniform(56, 68)) * size,
    )
