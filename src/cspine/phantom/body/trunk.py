"""The trunk: how wide and deep skin, rib cage and belly are at each vertebra."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from cspine.phantom.body.plan import BodyPlan
from cspine.phantom.geometry.loft import Loft, loft

_CAGE_BEHIND_CANAL_MM: Final = {"T2": 18.0, "T3": 25.0}
"""How far the ribs reach behind the center of the spinal canal; 30 mm further down."""

_CAGE_WIDTH: Final = {"T2": 0.46, "T3": 0.6, "T4": 0.72, "T6": 0.88, "T8": 0.97, "T10": 1.0, "T12": 0.97}
"""Width of the rib cage at the height of each vertebra, relative to the widest; ribs drop toward the side."""

_NOTCH_MM: Final = 54.0
"""How far the jugular notch lies in front of the spine, between T2 and T3."""

_SETTLING: Final = 0.6
_MAX_SETTLING_MM: Final = 20.0
"""How much of the distance to the table the flesh of the back closes by its weight, and how much at most."""

_BELLY_LEVELS: Final = ("L2", "L4")

_BELLY_HOLLOW_MM: Final = {"L2": 28.0, "L4": 42.0}
"""How far the belly of slim people lies behind the margin of the ribs."""

_WALL_MM: Final = 16.0
"""Thickness of the muscles of the belly wall."""


@dataclass(frozen=True)
class Trunk:
    """Measures of the trunk of a body, in LPS mm.

    Attributes
    ----------
    plan : BodyPlan
        The body.
    """

    plan: BodyPlan

    @property
    def girth(self) -> float:
        """Girth, 0 (slim) to 1 (heavy)."""
        return self.plan.person.girth

    @property
    def fat_mm(self) -> float:
        """Thickness of the fat under the skin of belly and hips."""
        return (6.0 + 38.0 * float(self.girth**1.5)) * self.plan.person.scale

    def cage(self, level: str) -> tuple[float, float, float, float, float]:
        """Return the cross-section of the rib cage at a thoracic vertebra; see `loft`."""
        z, x, canal_y = self._at(level)
        scale = self.plan.person.scale
        back = canal_y + _CAGE_BEHIND_CANAL_MM.get(level, 30.0) * scale
        return z, x, self.sternum_y(z), back, self.plan.chest_half_width_mm * _CAGE_WIDTH[level]

    def sternum_y(self, z_mm: float) -> float:
        """Return the y of the sternum, or of its prolongation, at a height."""
        front, (low_z, _, low_y) = self.plan.layout.front, self._at("T8")
        notch = 0.5 * (front["T2"] + front["T3"])
        notch_y = float(notch[1]) - _NOTCH_MM * self.plan.person.scale
        back = low_y + 30.0 * self.plan.person.scale
        slope = (back - 2 * self.plan.chest_half_depth_mm - notch_y) / (low_z - float(notch[2]))
        return notch_y + slope * (max(z_mm, low_z - 40.0) - float(notch[2]))

    def belly(self, level: str) -> tuple[float, float, float, float, float]:
        """Return the cross-section of the skin at a lumbar vertebra or the sacrum; see `loft`."""
        z, x, canal_y = self._at(level)
        scale = self.plan.person.scale
        front = float(self.plan.layout.front[level][1])
        depth = (76.0 + 110.0 * float(self.girth**1.4)) * scale
        front = min(front - depth, self.cage("T12")[2] + _BELLY_HOLLOW_MM[level] * scale)
        width = self.plan.chest_half_width_mm * 0.9 + self.fat_mm
        return z, x, front, self._back(canal_y), width

    @property
    def hips(self) -> tuple[float, float, float, float, float]:
        """Cross-section of the skin at the joints of the hips; see `loft`."""
        plan, scale = self.plan, self.plan.person.scale
        x, y, z = (0.5 * (plan.hips["right"] + plan.hips["left"])).tolist()
        half = 0.5 * abs(float(plan.hips["left"][0] - plan.hips["right"][0]))
        width = half + (62.0 + 12.0 * scale) * scale + 0.7 * self.fat_mm
        return z, x, y - (85.0 + 45.0 * self.girth) * scale, self._back(y + 80.0), width

    @property
    def _sacrum(self) -> tuple[float, float, float, float, float]:
        """Cross-section of the skin at the sacrum: that at the hips."""
        return float(self.plan.layout.front["S1"][2]), *self.hips[1:]

    @cached_property
    def skin(self) -> Loft:
        """The skin from C7 to the hips."""
        scale = self.plan.person.scale
        pad = (9.0 + 16.0 * self.girth) * scale
        z, x, canal_y = self._at("C7")
        stations = [(z, x, canal_y - 40.0 * scale, canal_y + 42.0 * scale, 50.0 * scale)]
        for level in ("T2", "T3", "T4", "T6", "T8", "T10", "T12"):
            z, x, front, back, width = self.cage(level)
            stations.append((z, x, front - pad, max(self._back(self._at(level)[2]), back + 5.0), width + 1.4 * pad))
        stations += [self.belly(level) for level in _BELLY_LEVELS]
        z, x, front, back, width = self.hips
        stations += [self._sacrum, self.hips, (z - 90.0 * scale, x, front, back, width)]
        return loft(stations, 0.55)

    @cached_property
    def wall(self) -> Loft:
        """The muscles of the belly wall with all within, from T12 to the thighs."""
        fat, scale = self.fat_mm, self.plan.person.scale
        z, x, front, back, width = self.cage("T12")
        stations = [(z, x, front, back - 4.0, width)]
        for z, x, front, back, width in (*map(self.belly, _BELLY_LEVELS), self._sacrum, self.hips):
            stations.append((z, x, front + fat, back - 0.4 * fat, width - fat))
        z, x, front, back, width = stations[-1]
        stations.append((z - 85.0 * scale, x, front + 6.0, back - 10.0, width - 6.0))
        return loft(stations, 0.4)

    @cached_property
    def cavity(self) -> Loft:
        """The cavity of belly and pelvis, in front of the spine."""
        scale, spine, hips = self.plan.person.scale, self.plan.layout.front, self.hips
        stations = []
        for level in ("T10", "T12"):
            z, x, front, _, width = self.cage(level)
            stations.append((z, x, front + 0.7 * _WALL_MM, float(spine[level][1]) + 6.0, width - _WALL_MM * scale))
        for level in _BELLY_LEVELS:
            z, x, front, _, width = self.belly(level)
            wall = self.fat_mm + _WALL_MM * scale
            stations.append((z, x, front + wall - 5.0, float(spine[level][1]) + 6.0, width - wall))
        z, x, front, _, width = hips
        wall, back = self.fat_mm + _WALL_MM * scale, float(spine["S1"][1])
        stations += [(height, x, front + wall - 5.0, back, width - wall) for height in (self._sacrum[0], z)]
        stations.append((z - 40.0 * scale, x, front + wall + 15.0, back - 20.0, 0.6 * (width - wall)))
        return loft(stations, 0.4)

    def _at(self, level: str) -> tuple[float, float, float]:
        x, y, z = self.plan.layout.canal[level].tolist()
        return z, x, y

    def _back(self, canal_y: float) -> float:
        """Return the y of the skin of the back behind a point of the canal: on the table, or hollow above it."""
        natural = canal_y + (52.0 + 25.0 * self.girth) * self.plan.person.scale
        gap = self.plan.table_y_mm - natural
        return natural + min(float(np.clip(_SETTLING * gap, 0.0, _MAX_SETTLING_MM)), gap)
