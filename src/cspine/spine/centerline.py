"""The centerline of the vertebral canal, and curved planes along it (curved planar reformation)."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cspine.core.errors import NotAssessableError
from cspine.core.typing import Floats
from cspine.spine.interpolation import interpolate_monotone
from cspine.spine.spine_map import SpineMap

_MAX_END_SLOPE: Final = 0.5
"""Beyond the outermost vertebrae the centerline is straight, and moves sideways by at most this many mm per mm of
height."""

_MIN_RISE_MM: Final = 4.0
"""Least difference in height between successive vertebrae; one that rises less was not localized rightly."""

_SINGLE_VERTEBRA_RISE_MM: Final = 20.0
"""From a single vertebra the centerline continues straight up; its second point lies this far above."""

_HEIGHT_ITERATIONS: Final = 4
"""Fixed-point iterations for the height of the plane row that a point lies on."""


@dataclass(frozen=True)
class SpineCenterline:
    """The center of the vertebral canal and the patient's left as functions of height.

    A curved plane extends backwards from the canal at a right angle to the vertebrae's left. It bends with a scoliosis
    and turns with a rotated head, but keeps the shape of the spine as seen from the side, so that lordosis and steps
    between vertebrae are preserved.

    Attributes
    ----------
    z_mm : (n,)
        LPS z of the vertebrae, rising.
    canal_lps_mm : (n, 3)
        The center of the canal at those heights.
    left_lps : (n, 3)
        The unit vector to the vertebra's left at those heights.
    """

    z_mm: Floats
    canal_lps_mm: Floats
    left_lps: Floats

    @classmethod
    def from_spine_map(cls, spine: SpineMap) -> "SpineCenterline":
        """Interpolate a centerline through localized vertebrae.

        Raises
        ------
        NotAssessableError
            ``no-cervical-spine``: no vertebra was localized.
        """
        if not spine.vertebrae:
            raise NotAssessableError("no-cervical-spine", "no vertebra was found in the scan")
        canal = np.array([vertebra.canal_lps_mm for vertebra in spine.vertebrae[::-1]]).reshape(-1, 3)
        left = np.array([vertebra.frame_lps[:3, 0] for vertebra in spine.vertebrae[::-1]]).reshape(-1, 3)
        keep: list[int] = []
        for number, z in enumerate(canal[:, 2].tolist()):
            if not keep or z > canal[keep[-1], 2] + _MIN_RISE_MM:
                keep.append(number)
        canal, left = canal[keep], left[keep]
        if len(keep) == 1:
            canal, left = np.repeat(canal, 2, axis=0), np.repeat(left, 2, axis=0)
            canal[1, 2] += _SINGLE_VERTEBRA_RISE_MM
        return cls(canal[:, 2], canal, left)

    def at(self, z_mm: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Evaluate the centerline at heights.

        Parameters
        ----------
        z_mm : (n,)
            Heights at which the canal is interpolated, LPS z in mm.

        Returns
        -------
        canal : (n, 3)
            The center of the canal, LPS mm.
        left, back : (n, 3)
            Orthogonal unit vectors to the left and to the back; the latter is horizontal.
        """
        z = np.asarray(z_mm, dtype=np.float64)
        inner = np.clip(z, self.z_mm[0], self.z_mm[-1])
        canal = interpolate_monotone(self.z_mm, self.canal_lps_mm, inner)
        slope = np.diff(self.canal_lps_mm[:, :2], axis=0) / np.diff(self.z_mm)[:, None]
        ends = np.clip(slope[[0, -1]], -_MAX_END_SLOPE, _MAX_END_SLOPE)
        canal[:, :2] += np.minimum(z - self.z_mm[0], 0)[:, None] * ends[0]
        canal[:, :2] += np.maximum(z - self.z_mm[-1], 0)[:, None] * ends[1]
        canal[:, 2] = z
        left = interpolate_monotone(self.z_mm, self.left_lps, inner)
        left /= np.linalg.norm(left, axis=1, keepdims=True)
        back = np.stack([-left[:, 1], left[:, 0], np.zeros(len(z))], axis=1)
        return canal, left, back / np.linalg.norm(back, axis=1, keepdims=True)

    @property
    def center_lps_mm(self) -> Floats:
        """The mean canal position, (3,); the origin of the curved planes' columns."""
        return np.asarray(self.canal_lps_mm.mean(axis=0))

    def posterior_offset_mm(self, canal_lps_mm: Floats) -> Floats:
        """Return how far behind `center_lps_mm` points of the canal lie, (n, 3) to (n,).

        Rows of a curved plane are shifted by it, so that the plane keeps the spine's shape as seen from the side.
        """
        center = self.center_lps_mm
        back = self.at(center[2:])[2][0]
        return np.asarray((canal_lps_mm - center) @ back)

    def to_plane(self, lps_mm: npt.ArrayLike) -> Floats:
        """Return the coordinates of points in the system of the curved planes.

        Parameters
        ----------
        lps_mm : (n, 3)
            Points in LPS mm.

        Returns
        -------
        (n, 3)
            How far left of the canal's plane, how far behind `center_lps_mm`, and the height z of the row; in mm.
        """
        points = np.asarray(lps_mm, dtype=np.float64).reshape(-1, 3)
        z = points[:, 2].copy()
        for _ in range(_HEIGHT_ITERATIONS):  # beside the canal, rows are lower or higher where the neck leans
            canal, left, _ = self.at(z)
            lateral = np.einsum("nk,nk->n", points - canal, left)
            z = points[:, 2] - lateral * left[:, 2]
        canal, left, back = self.at(z)
        lateral = np.einsum("nk,nk->n", points - canal, left)
        posterior = np.einsum("nk,nk->n", points - canal, back) + self.posterior_offset_mm(canal)
        return np.stack([lateral, posterior, z], axis=1)

    def to_lps(self, left_mm: npt.ArrayLike, posterior_mm: npt.ArrayLike, z_mm: npt.ArrayLike) -> Floats:
        """Return the LPS position of curved-plane coordinates, (n, 3) mm; the inverse of `to_plane`.

        Parameters
        ----------
        left_mm, posterior_mm, z_mm : float or (n,)
            The three coordinates that `to_plane` returns; they are broadcast against each other.
        """
        lateral, posterior, z = np.broadcast_arrays(
            np.atleast_1d(np.asarray(left_mm, float)), np.asarray(posterior_mm, float), np.asarray(z_mm, float)
        )
        canal, left, back = self.at(z)
        posterior = posterior - self.posterior_offset_mm(canal)
        return np.asarray(canal + lateral[:, None] * left + posterior[:, None] * back)
