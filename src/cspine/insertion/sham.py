"""Shams: the resampling of a virtual fracture with nothing broken, so that its trace does not tell a fracture."""

from typing import Final

import numpy as np

from cspine.insertion.breaking import restored_noise, surface_shift_mm
from cspine.insertion.scene import MIN_SHIFT, Optics, Resampler, Scene, distance_mm, voxel_index
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.geometry.distance_fields import smoothstep

_SHIFT_VOXELS: Final = (0.25, 0.75)
"""Range of the shift along each axis: fractions of a voxel, where resampling loses most."""

_MAX_SHIFT_MM: Final = 0.6
_FADE_MM: Final = 9.0
"""Largest shift, and the distance over which it falls to 0: bone is bent by less than can be seen."""


def disturb(scene: Scene, surface: Fracture, optics: Optics, rng: np.random.Generator) -> Scene | None:
    """Return a scene that was resampled where a fracture would have been, without a break.

    Parameters
    ----------
    scene : Scene
        The scan about the vertebra.
    surface : Fracture
        The surface that a fracture would have; its fragment's region is shifted by a fraction of a voxel.
    optics, rng
        As of `cspine.insertion.breaking.break_bone`.

    Returns
    -------
    Scene or None
        None where there is no bone at the surface.
    """
    window = scene.window(surface.bounding_box(), _FADE_MM + surface_shift_mm(surface) + 2.0)
    if window is None:
        return None
    part = scene.crop(window)
    points = part.local.points()
    region = part.own & surface.contains(points) & (surface.surface_distance(points) > 0)
    if not region.any():
        return None
    weight = 1 - smoothstep(distance_mm(region, part.grid.spacing_mm), 0.0, _FADE_MM)
    border = np.ones(part.hu.shape, np.bool_)
    border[1:-1, 1:-1, 1:-1] = False
    weight *= smoothstep(distance_mm(border, part.grid.spacing_mm), 0.0, _FADE_MM / 2)
    shift = rng.uniform(*_SHIFT_VOXELS, 3) * rng.choice((-1.0, 1.0), 3)
    length_mm = float(np.linalg.norm(shift * part.grid.spacing_mm))
    shift *= min(1.0, _MAX_SHIFT_MM / length_mm)
    index = voxel_index(part.hu.shape)
    before = index - shift.astype(np.float32)[:, None, None, None] * weight
    hu = Resampler(part.hu).sample(before)
    hu += restored_noise(((np.ones_like(hu), before),), np.zeros_like(hu), optics, rng)
    return scene.pasted(window, part.changed(hu, np.abs(before - index).max(axis=0) > MIN_SHIFT))
