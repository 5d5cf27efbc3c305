"""Fractures: where a vertebra breaks, how wide, and how far the fragment is moved."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cspine.anatomy import Level
from cspine.phantom.settings import PhantomSettings
from cspine.phantom.shapes import Field, Points, Vector
from cspine.phantom.vertebra import BUILDS


@dataclass(frozen=True)
class Crack:
    """One broken surface through a part of a vertebra, in the vertebra's frame.

    Attributes
    ----------
    centre_mm, normal : (3,)
        A point of the surface, and its unit normal towards the fragment.
    reach_mm : float
        Radius of the ball around the centre in which bone is broken.
    width_mm : float
        How wide the gap is.
    shift_mm : (3,)
        How far the fragment on the normal's side is moved.
    waves : (3, 4)
        Amplitude in mm, wave number in 1/mm, phase and direction angle of the surface's roughness.
    """

    kind: str
    centre_mm: npt.NDArray[np.float64]
    normal: npt.NDArray[np.float64]
    reach_mm: float
    width_mm: float
    shift_mm: npt.NDArray[np.float64]
    waves: npt.NDArray[np.float64]

    def side(self, points: Points) -> Field:
        """Return the distance from the rough surface, positive on the fragment's side."""
        offsets = [p - np.float32(c) for p, c in zip(points, self.centre_mm, strict=True)]
        flat = sum(o * np.float32(n) for o, n in zip(offsets, self.normal, strict=True))
        across, up = _in_plane(self.normal)
        u = sum(o * np.float32(a) for o, a in zip(offsets, across, strict=True))
        v = sum(o * np.float32(a) for o, a in zip(offsets, up, strict=True))
        rough = sum(
            np.float32(amplitude) * np.sin(np.float32(number) * (np.cos(angle) * u + np.sin(angle) * v) + phase)
            for amplitude, number, phase, angle in self.waves
        )
        return np.asarray(flat + rough, np.float32)

    def within(self, points: Points) -> npt.NDArray[np.bool_]:
        """Tell which points lie in the ball that is broken."""
        square = sum((p - np.float32(c)) ** 2 for p, c in zip(points, self.centre_mm, strict=True))
        return np.asarray(square < np.float32(self.reach_mm**2))


@dataclass(frozen=True)
class Site:
    """Where a kind of fracture runs: for one side where `paired` is False and x is not 0, else for both."""

    kind: str
    share: float
    centre: Vector
    normal: Vector
    reach_mm: float
    paired: bool = False


_ATLAS: Final = (
    Site("posterior arch", 0.35, (10.0, 21.0, -1.0), (0.9, -0.45, 0.0), 6.0),
    Site("anterior arch", 0.20, (7.0, -11.5, 0.0), (1.0, 0.3, 0.0), 6.0),
    Site("Jefferson burst", 0.30, (10.0, 21.0, -1.0), (0.9, -0.45, 0.0), 6.0, paired=True),
    Site("lateral mass", 0.15, (17.5, 1.0, 0.0), (0.7, 0.7, 0.0), 9.5),
)
_AXIS: Final = (
    Site("dens type II", 0.54, (0.0, -1.0, 10.5), (0.0, 0.25, 0.97), 8.0),
    Site("dens type III", 0.23, (0.0, 0.0, 4.0), (0.0, 0.2, 0.98), 12.0),
    Site("hangman", 0.23, (14.0, 7.0, -1.0), (0.5, 0.86, 0.0), 7.0, paired=True),
)
"""Dens and hangman shares as in the design notes; the rest of C2 is left out here."""


def _subaxial(level: Level) -> tuple[Site, ...]:
    build = BUILDS[level]
    width, depth = build.width / 2, build.depth / 2
    arch = depth + 17.5
    return (
        Site("body compression", 0.20, (0.0, -2.0, build.height / 4), (0.0, -0.25, 0.97), 13.0),
        Site("body burst", 0.10, (0.0, 0.0, 0.0), (0.95, 0.1, 0.3), 13.0),
        Site("teardrop", 0.10, (0.0, -depth + 4.0, -build.height / 2 + 3.5), (0.0, -0.75, -0.66), 8.5),
        Site("facet", 0.20, (width + 8.0, 11.0, 0.0), (0.0, 0.45, 0.9), 8.5),
        Site("lamina", 0.15, (width * 0.6, arch - 4.5, -2.0), (-0.75, 0.66, 0.0), 6.0),
        Site("pedicle", 0.07, (width + 3.0, 8.0, 0.3), (0.9, 0.4, 0.0), 5.5),
        Site(
            "spinous process",
            0.13,
            (0.0, arch + build.spinous * 0.45, -3.0 - build.spinous_drop * 0.45),
            (0.0, 0.9, -0.4),
            8.0,
        ),
        Site("transverse process", 0.05, (width + 9.5, 2.6, -1.6), (0.95, 0.3, 0.0), 5.5),
    )


def draw_cracks(level: Level, settings: PhantomSettings, rng: np.random.Generator) -> tuple[Crack, ...]:
    """Draw one fracture of a level: one crack, or two for the paired kinds."""
    sites = {"C1": _ATLAS, "C2": _AXIS}.get(level) or _subaxial(level)
    site = sites[rng.choice(len(sites), p=[s.share for s in sites])]
    first_side = 1.0 if site.centre[0] == 0.0 else float(rng.choice([-1.0, 1.0]))
    return tuple(_crack(site, side, settings, rng) for side in ((1.0, -1.0) if site.paired else (first_side,)))


def _crack(site: Site, side: float, settings: PhantomSettings, rng: np.random.Generator) -> Crack:
    mirror = np.array([side, 1.0, 1.0])
    normal = np.asarray(site.normal) * mirror + rng.normal(0.0, 0.12, 3)
    normal /= np.linalg.norm(normal)
    width = rng.uniform(*settings.gap_mm)
    slide = rng.normal(0.0, 1.0, 3)
    slide -= (slide @ normal) * normal
    shift = slide / np.linalg.norm(slide) * rng.uniform(*settings.displacement_mm) + normal * width / 2
    waves = np.column_stack(
        [rng.uniform(0.15, 0.6, 3), rng.uniform(0.2, 1.2, 3), rng.uniform(0, 2 * np.pi, 3), rng.uniform(0, np.pi, 3)]
    )
    centre = np.asarray(site.centre) * mirror + rng.normal(0.0, 0.5, 3)
    return Crack(site.kind, centre, normal, site.reach_mm, float(width), shift, waves)


def _in_plane(normal: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return two unit vectors that span the plane with this normal."""
    helper = np.eye(3)[int(np.argmin(np.abs(normal)))]
    across = np.cross(normal, helper)
    across /= np.linalg.norm(across)
    return across, np.cross(normal, across)
