"""The way the spine takes through a scan, and the sheets that follow it."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator

from cspine.core.errors import NotAssessableError
from cspine.core.typing import Floats
from cspine.spine.spine_map import SpineMap

_STEEPEST: Final = 0.5
"""Beyond the outermost vertebrae the spine goes on straight, aside by no more than this per mm of height."""

_LEAST_RISE_MM: Final = 4.0
"""Vertebrae below each other differ by more in height; one that does not was not found where it is."""

_ALONE_MM: Final = 20.0
"""From a vertebra that is alone the course runs straight up."""


@dataclass(frozen=True)
class SpineCenterline:
    """The canal's middle and the patient's left at each height.

    A sheet through the canal at height z runs backwards at a right angle to the vertebrae's left: it bends with a
    scoliosis and turns with a turned head, but keeps the spine's shape as seen from the side, so that lordosis and
    steps between vertebrae stay what they are.

    Attributes
    ----------
    z_mm : (n,)
        LPS z of the vertebrae, rising.
    canal_lps_mm, left_lps : (n, 3)
        The canal's middle and the unit vector to the left, there.
    """

    z_mm: Floats
    canal_lps_mm: Floats
    left_lps: Floats

    @classmethod
    def of(cls, spine: SpineMap) -> "SpineCenterline":
        """Lay a course through the vertebrae of a map.

        Raises
        ------
        NotAssessableError
            ``no-cervical-spine``: no vertebra was found.
        """
        if not spine.vertebrae:
            raise NotAssessableError("no-cervical-spine", "no vertebra was found in the scan")
        canal = np.array([vertebra.canal_lps_mm for vertebra in spine.vertebrae[::-1]]).reshape(-1, 3)
        left = np.array([vertebra.frame_lps[:3, 0] for vertebra in spine.vertebrae[::-1]]).reshape(-1, 3)
        keep: list[int] = []
        for number, z in enumerate(canal[:, 2].tolist()):
            if not keep or z > canal[keep[-1], 2] + _LEAST_RISE_MM:
                keep.append(number)
        canal, left = canal[keep], left[keep]
        if len(keep) == 1:
            canal, left = np.repeat(canal, 2, axis=0), np.repeat(left, 2, axis=0)
            canal[1, 2] += _ALONE_MM
        return cls(canal[:, 2], canal, left)

    def at(self, z_mm: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Return the canal's middle, the way to the left and the way back at some heights, each (n, 3).

        The way back is horizontal, both are unit vectors at right angles.
        """
        z = np.asarray(z_mm, dtype=np.float64)
        inner = np.clip(z, self.z_mm[0], self.z_mm[-1])
        canal = np.asarray(PchipInterpolator(self.z_mm, self.canal_lps_mm)(inner))
        rise = np.diff(self.canal_lps_mm[:, :2], axis=0) / np.diff(self.z_mm)[:, None]
        ends = np.clip(rise[[0, -1]], -_STEEPEST, _STEEPEST)
        canal[:, :2] += np.minimum(z - self.z_mm[0], 0)[:, None] * ends[0]
        canal[:, :2] += np.maximum(z - self.z_mm[-1], 0)[:, None] * ends[1]
        canal[:, 2] = z
        left = np.asarray(PchipInterpolator(self.z_mm, self.left_lps)(inner))
        left /= np.linalg.norm(left, axis=1, keepdims=True)
        back = np.stack([-left[:, 1], left[:, 0], np.zeros(len(z))], axis=1)
        return canal, left, back / np.linalg.norm(back, axis=1, keepdims=True)

    @property
    def middle_lps_mm(self) -> Floats:
        """The canal's mean place, (3,); the sheets' columns are counted from there."""
        return np.asarray(self.canal_lps_mm.mean(axis=0))

    def depth(self, canal: Floats) -> Floats:
        """Return how far back of the middle the canal lies, (n,), so that the spine keeps its shape in the sheets."""
        middle = self.middle_lps_mm
        back = self.at(middle[2:])[2][0]
        return np.asarray((canal - middle) @ back)

    def place(self, lps_mm: npt.ArrayLike) -> Floats:
        """Return where points lie on the sheets.

        Parameters
        ----------
        lps_mm : (n, 3)

        Returns
        -------
        (n, 3)
            How far left of the canal's sheet, how far back of `middle_lps_mm`, and the sheet's height z; mm.
        """
        points = np.asarray(lps_mm, dtype=np.float64).reshape(-1, 3)
        z = points[:, 2].copy()
        for _ in range(4):  # sheets beside the canal's are a little lower or higher where the neck leans
            canal, left, _ = self.at(z)
            aside = np.einsum("nk,nk->n", points - canal, left)
            z = points[:, 2] - aside * left[:, 2]
        canal, left, back = self.at(z)
        aside = np.einsum("nk,nk->n", points - canal, left)
        behind = np.einsum("nk,nk->n", points - canal, back) + self.depth(canal)
        return np.stack([aside, behind, z], axis=1)

    def lps(self, aside_mm: npt.ArrayLike, behind_mm: npt.ArrayLike, z_mm: npt.ArrayLike) -> Floats:
        """Return where places on the sheets lie, (n, 3) LPS mm; the inverse of `place`."""
        aside, behind, z = np.broadcast_arrays(
            np.atleast_1d(np.asarray(aside_mm, float)), np.asarray(behind_mm, float), np.asarray(z_mm, float)
        )
        canal, left, back = self.at(z)
        return np.asarray(canal + aside[:, None] * left + (behind - self.depth(canal))[:, None] * back)
