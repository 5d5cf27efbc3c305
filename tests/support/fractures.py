"""One neck, and plain fractures of it."""

from functools import cache
from typing import Final

import numpy as np

from cspine.core.anatomy import Level
from cspine.phantom import PhantomSettings
from cspine.phantom.anatomy.neck import Neck, draw_neck
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.fractures.fractured_bone import FracturedBone, sample_fractured_bone
from cspine.phantom.fractures.sampling import draw_fractures
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.geometry.points import vector

WIDE: Final = PhantomSettings(fracture_width_mm=(1.2, 1.5), displacement_mm=(1.0, 3.0), bone_loss_fraction=0.0)
"""Fractures wide enough for a grid of `STEP_MM`."""

STEP_MM: Final = 0.5


@cache
def intact_neck() -> Neck:
    """Return a neck without fractures."""
    return draw_neck(np.random.default_rng(9))


def grid_around(level: Level) -> Grid:
    """Return a grid about a vertebra, along the axes of the patient."""
    origin = intact_neck().frames[level].center_mm + vector(-40.0, -25.0, -28.0)
    return Grid.aligned(origin, STEP_MM, (int(60 / STEP_MM), int(85 / STEP_MM), int(80 / STEP_MM)))


def plain_fracture(level: Level, fracture_type: str) -> tuple[Fracture, ...]:
    """Return a fracture of a type that is displaced, and impacted only where the type always is."""
    rng, is_impacted = np.random.default_rng(4), fracture_type == "body compression"
    while True:
        surfaces = draw_fractures(level, intact_neck().person, WIDE, rng, fracture_type=fracture_type)
        is_displaced = bool(np.linalg.norm(surfaces[0].translation_mm) > 0.8)
        if bool(surfaces[0].height_loss_mm) == is_impacted and (is_impacted or is_displaced):
            return surfaces


def sample_vertebra(level: Level, fractures: tuple[Fracture, ...]) -> tuple[FracturedBone, Grid]:
    """Return a vertebra with fractures on the grid about it, and the grid in the frame of the vertebra."""
    grid = grid_around(level).in_frame(intact_neck().frames[level].affine)
    return sample_fractured_bone(intact_neck().vertebra_parts(level), grid, fractures), grid


def line_across(fracture: Fracture, *, before_mm: float, count: int, step_mm: float = 0.02) -> Grid:
    """Return a line of points along the normal of a fracture, beginning before its center."""
    affine = np.eye(4)
    affine[:3, 0] = fracture.normal * step_mm
    affine[:3, 3] = fracture.center_mm - before_mm * fracture.normal
    affine[:3, 1:3] = np.linalg.svd(fracture.normal[None])[2][1:].T  # any two directions across
    return Grid(affine, (count, 1, 1))
